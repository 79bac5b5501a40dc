//! From TOML files to settings, or to all problems with their places.

mod api;
mod checks;
mod daemon;
pub mod docs;
mod fingerprint;
mod interpolate;
mod own;
mod problem;
mod recover;
mod routes;
mod section;
mod shown;
mod status_page;

pub use api::{ApiSettings, CreatedHeartbeats, KeyMaterial, Origins, RawKey, TlsFiles};
pub use checks::{
    RawCheck, RawSchedule, UnknownAfter, is_hidden, read_check_files, read_checks, read_file,
};
pub use daemon::{
    History, Keep, Rate, RawChannel, Settings, StoreAddress, parse_zone, read_settings,
};
pub use interpolate::{Interpolator, PLACEHOLDER_HOST};
pub use own::OwnLimits;
pub use problem::{Level, Place, Problem, Problems, SourceFile};
pub use recover::{RawRecovery, RecoverySettings};
pub use routes::{RawEscalation, RawMaintenance, RawRoute, RawTimes};
#[cfg(test)]
pub(crate) use section::WITNESSED;
pub use section::{Loose, Section, parse_duration};
pub use shown::shown_check;
pub use status_page::StatusPageSettings;
