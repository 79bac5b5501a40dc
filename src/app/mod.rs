//! Assembles the parts, reloads them, starts and stops it all. Here the verbs meet.

pub mod plan;
