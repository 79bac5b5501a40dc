//! Watchbell runs checks on schedules, keeps their history, and tells people, once, when
//! something breaks and when it is well again.
//!
//! The modules stand in the order in which the data goes through them.

#![forbid(unsafe_code)]

pub mod clock;
pub mod model;
pub mod process;

pub mod condition;
pub mod config;

pub mod schedule;

pub mod check;

pub mod judge;

pub mod record;

pub mod incident;

pub mod route;

pub mod limit;

pub mod render;

pub mod deliver;

pub mod recover;

pub mod report;

pub mod serve;

pub mod chat;

pub mod app;
pub mod cli;
