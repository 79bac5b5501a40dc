//! When a check is due: [`plan`] says it, without reading any clock, and [`run`] sees to it.

pub mod plan;
pub mod run;

pub use plan::Cadence;
pub use run::{Finished, Job, Scheduler, Task, spawn};
