//! What several channels share.
