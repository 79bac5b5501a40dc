//! When a check is due: [`plan`] says it, without reading any clock, and [`run`] sees to it.

pub mod plan;
pub mod run;
