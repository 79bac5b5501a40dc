//! From TOML files to settings, or to all problems with their places.

mod checks;
mod daemon;
mod interpolate;
mod problem;
mod recover;
mod section;

pub use checks::{RawCheck, RawSchedule, read_check_files, read_checks, read_file};
pub use daemon::{
    ApiSettings, History, KeyMaterial, Rate, RawChannel, RawKey, RawRoute, Settings, read_settings,
};
pub use interpolate::{Interpolator, PLACEHOLDER_HOST};
pub use problem::{Level, Place, Problem, Problems, SourceFile};
pub use recover::{RawRecovery, RecoverySettings};
pub use section::{Section, parse_duration};
