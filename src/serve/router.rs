use super::access::{AddressLimit, Need, Visitor};
use super::audit::Entry;
use super::key::Scope;
use super::page::Pages;
use super::problem::{Problem, shown};
use super::{Api, DaemonStatus, RUN_BOUND, Settings};
use super::{
    act, alertmanager, announcements, badge, checks, feed, history, incidents, keys, metrics,
    notices, openapi, page, ping, reload, report, silences, status, tagged,
};
use crate::config::Origins;
use crate::model::{CheckView, Incident};
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The longest that an answer may take, where a path has no bound of its own.
const ANSWER_BOUND: Duration = Duration::from_secs(30);
/// The longest that a request's body may take to arrive.
const BODY_BOUND: Duration = Duration::from_secs(30);
/// The largest body of a request.
const BODY_BYTES: usize = 64 * 1024;
/// The largest body of what programs send in: Prometheus sends up to 64 alerts at a time.
const PUSHED_BYTES: usize = 4 * 1024 * 1024;
/// How many strangers' addresses the rate limit remembers at a time.
const ADDRESSES: usize = 10_000;

/// Headers of every answer; what an answer sets itself stays.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What a handler gives.
pub(super) type Answer = Result<Response, Problem>;

/// Where a request came from, put on it by the listener.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A machine.
    Address(IpAddr),
    /// The Unix socket.
    Socket,
}

/// Whether the connection to here is by TLS, put on a request by the listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted(pub(super) bool);

/// What all handlers share.
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) pages: Pages,
    pub(super) forms: act::Forms,
    pub(super) badges: badge::Badges,
    pub(super) board: announcements::Board,
    pub(super) public: page::Public,
    /// The sessions that were ended.
    pub(super) ended: page::Ended,
    /// Cancelled once the daemon stops, so that streams end.
    pub(super) stop: CancellationToken,
    limit: AddressLimit,
}

impl Shared {
    /// The incidents that are open now, newest first.
    pub(super) fn open_incidents(&self) -> Vec<Incident> {
        self.open_incidents_of(&self.api.board.all(), &self.api.control.daemon())
            .into_iter()
            .cloned()
            .collect()
    }

    /// The same by reference, for those who have the checks and the daemon's word at hand.
    pub(super) fn open_incidents_of<'a>(
        &self,
        checks: &'a [Arc<CheckView>],
        daemon: &'a DaemonStatus,
    ) -> Vec<&'a Incident> {
        let of_checks = checks.iter().filter_map(|check| check.state.incident.as_deref());
        let own = daemon.other_incidents.iter().map(|incident| &**incident);
        let mut open: Vec<&Incident> = of_checks.chain(own).collect();
        open.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        open
    }
}

/// All paths, with who may have them.
pub(super) fn router(api: Api, stop: CancellationToken) -> Result<Router, minijinja::Error> {
    let limit = AddressLimit::remembering(ADDRESSES);
    let (pages, forms) = (Pages::new()?, act::Forms::new()?);
    let badges = badge::Badges::new()?;
    let cross_origin = cross_origin(Arc::clone(&api.settings));
    let shared = Arc::new(Shared {
        api,
        pages,
        forms,
        badges,
        board: announcements::Board::default(),
        public: page::Public::default(),
        ended: page::Ended::default(),
        stop,
        limit,
    });
    let guarded = |routes: Router<Arc<Shared>>, need, bound| {
        let guard = Guard { shared: Arc::clone(&shared), need, bound };
        routes.route_layer(from_fn_with_state(guard, admit))
    };
    let public = Router::new()
        .route("/", get(page::overview))
        .merge(page::of_checks())
        .route("/status", get(page::public))
        .route("/status.json", get(page::summary))
        .route("/status.atom", get(page::atom))
        .route("/status.rss", get(page::rss))
        .route("/badge/{name}/{file}", get(badge::badge))
        .route_layer(from_fn(tagged::tag));
    let read = Router::new()
        .route("/ready", get(status::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::serve))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/checks", get(checks::list))
        .route("/api/v1/checks/{name}", get(checks::one))
        .route("/api/v1/checks/{name}/results", get(checks::results))
        .route("/api/v1/checks/{name}/uptime", get(history::uptime))
        .route("/api/v1/checks/{name}/latency", get(history::latency))
        .route("/api/v1/checks/{name}/heat", get(history::heat))
        .route("/api/v1/checks/{name}/export", get(history::export))
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::one))
        .route("/api/v1/silences", get(silences::list))
        .route("/api/v1/silences/{id}", get(silences::one))
        .route("/api/v1/notices", get(notices::list))
        .route("/api/v1/report", get(report::report))
        .route("/api/v1/announcements", get(announcements::list))
        .route("/api/v1/announcements/{id}", get(announcements::one))
        .route_layer(from_fn(tagged::tag))
        .route("/api/v1/events", get(feed::events));
    let run = Router::new().route("/api/v1/checks/{name}/run", post(checks::run));
    let taken_on = post(incidents::acknowledge).delete(incidents::unacknowledge);
    let operate = Router::new()
        .route("/api/v1/keys", get(keys::list))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/checks/{name}/pause", post(checks::pause))
        .route("/api/v1/checks/{name}/resume", post(checks::resume))
        .route("/api/v1/incidents/{id}/ack", taken_on)
        .route("/api/v1/incidents/{id}/snooze", post(incidents::snooze))
        .route("/api/v1/silences", post(silences::add))
        .route("/api/v1/silences/{id}", delete(silences::expire))
        .route("/api/v1/notices/{id}/retry", post(notices::retry))
        .route("/api/v1/announcements", post(announcements::add))
        .route("/api/v1/announcements/{id}", patch(announcements::change))
        .route("/api/v1/announcements/{id}", delete(announcements::remove));
    let links = Router::new().route("/act/{token}", get(act::ask).post(act::act));
    let reading_v2 = alertmanager::reading().route_layer(from_fn(tagged::tag));
    Ok(Router::new()
        .route("/assets/{file}", get(page::asset))
        .merge(guarded(public, Need::Page, ANSWER_BOUND))
        .merge(guarded(read, Need::Scope(Scope::Read), ANSWER_BOUND))
        .merge(guarded(run, Need::Scope(Scope::Operate), RUN_BOUND))
        .merge(guarded(operate, Need::Scope(Scope::Operate), ANSWER_BOUND))
        .merge(guarded(reading_v2, Need::Scope(Scope::Read), ANSWER_BOUND))
        .merge(guarded(alertmanager::pushing(), Need::Scope(Scope::Push), ANSWER_BOUND))
        .merge(guarded(alertmanager::operating(), Need::Scope(Scope::Operate), ANSWER_BOUND))
        .merge(guarded(links, Need::Link, ANSWER_BOUND))
        .merge(guarded(page::pages().route_layer(from_fn(tagged::tag)), Need::Page, ANSWER_BOUND))
        .merge(guarded(
            page::private_pages().route_layer(from_fn(tagged::tag)),
            Need::Scope(Scope::Read),
            ANSWER_BOUND,
        ))
        .merge(guarded(page::door(), Need::SignIn, ANSWER_BOUND))
        .merge(guarded(page::way_out(), Need::Form(None), ANSWER_BOUND))
        .merge(guarded(page::deeds(), Need::Form(Some(Scope::Operate)), RUN_BOUND))
        .merge(ping::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&shared), meet))
        .layer(from_fn_with_state(Arc::clone(&shared), page::humane))
        // Whoever asks whether the process lives needs no key and is not counted.
        .route("/health", get(status::health))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(finish))
        .layer(cross_origin)
        .layer(compression())
        .with_state(shared))
}

/// Lets the scripts of those web pages read that the configuration of the moment names.
fn cross_origin(settings: Arc<ArcSwap<Settings>>) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, _: &http::request::Parts| match (
        &settings.load().allow_origins,
        origin.to_str(),
    ) {
        (Origins::Any, _) => true,
        (Origins::These(origins), Ok(origin)) => origins.iter().any(|known| known == origin),
        _ => false,
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .max_age(Duration::from_secs(3600))
}

/// Compresses what is worth it. A stream of events would be held back by it.
fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(1024).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it)
}

/// `value` as an answer.
pub(super) fn json<T: Serialize>(value: &T) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `value`, which was made just now and is found at `place` from now on.
pub(super) fn created<T: Serialize>(value: &T, place: &str) -> Answer {
    let mut response = json(value)?;
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Finds out who sends the request, and counts strangers.
async fn meet(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if holds_zero(request.uri()) {
        return Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-address",
            "The address cannot be read",
            "It holds a zero character (`%00`).",
        )
        .into_response();
    }
    // Without a peer's address nobody is let in as local.
    let nobody = Peer::Address(IpAddr::from([0, 0, 0, 0]));
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(nobody);
    let settings = shared.api.settings.load_full();
    let headers = request.headers();
    let mut visitor = Visitor::from(peer, headers, &settings.trusted_proxies);
    let now = shared.api.clock.wall();
    let known = visitor.identify(headers, &settings.keys, now);
    visitor.said = page::Said::read(headers);
    visitor.secure |= request.extensions().get::<Encrypted>().is_some_and(|tls| tls.0);
    let (links, keys) = (&shared.api.links, &settings.keys);
    visitor.session = page::SignedIn::read(headers, links, keys, &shared.ended, now);
    if let Some(session) = &visitor.session {
        session.key.note_use(now);
    }
    // Whoever sends a wrong key is counted as well, so that nobody can try many.
    let is_stranger = !visitor.local && visitor.key.is_none() && visitor.session.is_none();
    let counted = if is_stranger { shared.limit.count(visitor.address) } else { Ok(()) };
    request.extensions_mut().insert(visitor.clone());
    let mut response = match counted.and(known) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    response.extensions_mut().insert(visitor);
    response
}

/// Whether an address of this API holds what nothing here is called, and no database takes in a text.
/// Addresses that others define are not looked at: they ask no database, and a ping must not be lost
/// for what its query says.
fn holds_zero(uri: &Uri) -> bool {
    let is_others = ["/ping/", "/api/v2/"].iter().any(|start| uri.path().starts_with(start));
    !is_others && uri.path_and_query().is_some_and(|asked| asked.as_str().contains("%00"))
}

/// Refuses a form that no page of this daemon sent: the browser says that it is another's, or it
/// lacks what only the pages of its session hold.
fn check_form(
    visitor: &Visitor,
    need: Need,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Problem> {
    let refuse = |detail: &str| {
        let title = "This form is not from here";
        Err(Problem::new(StatusCode::FORBIDDEN, "foreign-form", title, detail))
    };
    if matches!(need, Need::SignIn | Need::Form(_)) && !Visitor::is_same_origin(headers) {
        return refuse("A page of another site sent it. Nothing was done.");
    }
    if let Need::Form(_) = need {
        let form = page::Form::read(body);
        let token = form.one("csrf").unwrap_or("");
        if !visitor.session.as_ref().is_some_and(|session| session.is_of_form(token)) {
            return refuse(
                "It lacks the token of your session: load the page again, and repeat it.",
            );
        }
    }
    Ok(())
}

async fn take_in(body: Body, need: Need) -> Result<Bytes, Problem> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    let most = if need == Need::Scope(Scope::Push) { PUSHED_BYTES } else { BODY_BYTES };
    match tokio::time::timeout(BODY_BOUND, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The request's body is too large",
            format!("A body may have up to {most} bytes."),
        )),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-body",
            "The request's body cannot be read",
            "The body broke off or is not well-formed.",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            "The request's body did not arrive in time",
            format!("It may take up to {BODY_BOUND:?}."),
        )),
    }
}

#[derive(Clone)]
struct Guard {
    shared: Arc<Shared>,
    need: Need,
    bound: Duration,
}

/// Lets those in who may have what they ask for, and only then takes in what they send. Bounds
/// the time of both.
async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Answer {
    let Some(visitor) = request.extensions().get::<Visitor>().cloned() else {
        return Err(Problem::internal());
    };
    let may = visitor.may(guard.need, guard.shared.api.settings.load().public_status);
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let entry = writes.then(|| Entry::new(visitor, guard.need, &request));
    if let Err(refusal) = may {
        entry.inspect(|entry| entry.write(b"", refusal.status));
        return Err(refusal);
    }
    let (parts, body) = request.into_parts();
    let body = take_in(body, guard.need).await?;
    if let Some(entry) = &entry
        && let Err(refusal) = check_form(entry.visitor(), guard.need, &parts.headers, &body)
    {
        entry.write(&body, refusal.status);
        return Err(refusal);
    }
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let answer = tokio::time::timeout(guard.bound, next.run(request)).await;
    let answer = answer.map_err(|_| {
        let detail = format!("The answer was not there after {:?}.", guard.bound);
        Problem::unavailable("too-slow", detail)
    });
    let status = answer.as_ref().map_or_else(|problem| problem.status, Response::status);
    entry.inspect(|entry| entry.write(&body, status));
    answer
}

/// Adds the headers that every answer has.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn unknown_path(uri: Uri) -> Problem {
    let path = shown(uri.path());
    Problem::not_found(format!("There is nothing at `{path}`. The API is under /api/v1."))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This method does nothing here",
        format!("`{}` does not take {}.", shown(uri.path()), shown(method.as_str())),
    )
}
