//! From TOML files to a plan, or to all problems with their places.

mod interpolate;
mod problem;
mod section;

pub use interpolate::Interpolator;
pub use problem::{Level, Place, Problem, Problems, SourceFile, nearest};
pub use section::{Section, parse_duration};
