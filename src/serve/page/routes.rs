//! The paths of the pages, and of the forms on them, with what each asks of those who want it.

use super::super::router::Shared;
use super::{forms, incident, notices, postmortem, session};
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// What everybody may see where the pages are public.
pub(in crate::serve) fn pages() -> Router<Arc<Shared>> {
    Router::new()
        .route("/incidents", get(incident::list))
        .route("/incidents/{id}", get(incident::one))
        .route("/incidents/{id}/postmortem.md", get(postmortem::postmortem))
}

/// What only those see who may read everything: it names people's addresses.
pub(in crate::serve) fn private_pages() -> Router<Arc<Shared>> {
    Router::new().route("/notices", get(notices::list))
}

/// Where a session begins.
pub(in crate::serve) fn door() -> Router<Arc<Shared>> {
    Router::new().route("/sign-in", get(session::ask).post(session::sign_in))
}

/// Where a session ends.
pub(in crate::serve) fn way_out() -> Router<Arc<Shared>> {
    Router::new().route("/sign-out", post(session::sign_out))
}

/// The forms by which people act.
pub(in crate::serve) fn deeds() -> Router<Arc<Shared>> {
    Router::new()
        .route("/checks/{name}/run", post(forms::run))
        .route("/checks/{name}/pause", post(forms::pause))
        .route("/checks/{name}/resume", post(forms::resume))
        .route("/checks/{name}/silence", post(forms::silence_check))
        .route("/incidents/{id}/ack", post(forms::acknowledge))
        .route("/incidents/{id}/unack", post(forms::unacknowledge))
        .route("/incidents/{id}/snooze", post(forms::snooze))
        .route("/incidents/{id}/silence", post(forms::silence_incident))
        .route("/silences/{id}/expire", post(forms::expire_silence))
        .route("/notices/{id}/retry", post(forms::retry))
}
