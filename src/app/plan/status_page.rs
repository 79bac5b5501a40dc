//! What the public status page shows.

use super::PlannedCheck;
use crate::config::{RawCheck, StatusPageSettings};
use crate::model::Name;
use crate::serve::{PublicCheck, StatusPage};
use chrono_tz::Tz;
use url::Url;

/// What one check says of itself to everybody; none if it is not public.
pub(super) fn shown_name(raw: &RawCheck<'_>) -> Option<String> {
    let name = raw.name.as_ref().filter(|_| raw.public)?;
    Some(raw.public_name.clone().unwrap_or_else(|| name.to_string()))
}

/// The page of these checks.
pub(super) fn build_status_page(
    raw: StatusPageSettings,
    daemon: &Name,
    url: Option<Url>,
    zone: Tz,
    checks: &[PlannedCheck],
) -> StatusPage {
    let public = |check: &PlannedCheck| {
        let shown = check.public.clone()?;
        Some(PublicCheck { name: check.name.clone(), shown })
    };
    StatusPage {
        title: raw.title.unwrap_or_else(|| daemon.to_string()),
        description: raw.description,
        group_by: raw.group_by,
        url,
        zone,
        checks: checks.iter().filter_map(public).collect(),
    }
}
