//! Watchbell runs checks on schedules, keeps their history, and tells people, once, when
//! something breaks and when it is well again.
//!
//! The modules stand in the order in which the data goes through them.

#![forbid(unsafe_code)]

pub mod model;

pub mod clock;
pub mod condition;
pub mod config;

pub mod check;

pub mod judge;

pub mod record;

pub mod deliver;
