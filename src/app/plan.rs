//! From configuration files to a plan that can run, or to all problems at once.

mod heartbeats;
mod judges;
mod names;
mod routes;
mod status_page;

pub use super::plan_recover::PlannedRecovery;
pub use heartbeats::{PlannedHeartbeat, PlannedPings, create};
pub use judges::Judges;

use super::plan_recover::build_recovery;
use crate::check::{Check, Kind, kinds as check_kinds};
use crate::clock::{Clock as _, System};
use crate::config::{
    self, ApiSettings, History, Interpolator, Keep, KeyMaterial, OwnLimits, Place, Problem,
    Problems, RawChannel, RawCheck, RawKey, RawSchedule, RecoverySettings, Section, Settings,
    TlsFiles,
};
use crate::deliver::mailbox::Terms;
use crate::deliver::{Channel, ChannelKind, kinds as channel_kinds};
use crate::incident::Policy;
use crate::judge::{Judge, Which};
use crate::model::{Name, Secret};
use crate::record::query::Reach;
use crate::recover::actions as ways;
use crate::render::Renderer;
use crate::route::{Routes, Windows};
use crate::schedule::Cadence;
use crate::serve::{self, ApiKey, Certificate, Keys, Scope, Spans, StatusPage};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// All that the configuration says, ready to run.
#[derive(Debug)]
pub struct Plan {
    /// The name of the daemon, which alerts show.
    pub name: Name,
    /// The zone of times in alerts.
    pub time_zone: Tz,
    /// Where people reach the daemon's pages, for links in alerts.
    pub public_url: Option<Url>,
    /// What is requested each minute while all is well.
    pub heartbeat_url: Option<Secret>,
    /// Checks that may run at the same time.
    pub max_in_flight: usize,
    /// From when on the daemon says something of itself.
    pub own_limits: OwnLimits,
    /// Whether changed files are taken without being asked.
    pub watch: bool,
    /// Where history is kept, and how long.
    pub history: History,
    /// The status API.
    pub api: PlannedApi,
    /// What the public status page shows.
    pub status_page: Arc<StatusPage>,
    /// What all recovery actions have in common.
    pub recovery: RecoverySettings,
    /// The checks, by name.
    pub checks: Vec<PlannedCheck>,
    /// The channels; the console where none is configured.
    pub channels: Vec<PlannedChannel>,
    /// The folder of templates that replace those that ship; it may not be there.
    pub templates: PathBuf,
    /// Who hears what.
    pub routes: Arc<Routes>,
    /// When it is known that things fail.
    pub maintenance: Arc<Windows>,
    /// What probably does not do what was meant.
    pub warnings: Vec<Problem>,
}

/// The status API.
#[derive(Debug)]
pub struct PlannedApi {
    /// Its table as it was read, but for the raw keys.
    pub settings: ApiSettings,
    /// Who may do what.
    pub keys: Keys,
    /// Who may ping by slug, and what a ping may make.
    pub pings: PlannedPings,
}

impl Plan {
    /// What a reload may change of the API.
    pub fn api_settings(&self) -> serve::Settings {
        let Keep { minute, hourly, .. } = self.history.keep;
        serve::Settings {
            keys: self.api.keys.clone(),
            public_status: self.api.settings.public_status,
            trusted_proxies: self.api.settings.trusted_proxies.clone(),
            allow_origins: self.api.settings.allow_origins.clone(),
            status_page: Arc::clone(&self.status_page),
            spans: Spans { zone: self.time_zone, reach: Reach { minute, hour: hourly } },
        }
    }
}

/// A check that is ready to run.
#[derive(Debug)]
pub struct PlannedCheck {
    /// Its name.
    pub name: Name,
    /// The name whose past it takes over, if that is no longer there under its own.
    pub renamed_from: Option<Name>,
    /// Its kind.
    pub kind: &'static Kind,
    /// What observes.
    pub check: Box<dyn Check>,
    /// What forms the opinion.
    pub judge: Arc<Judge>,
    /// When it runs.
    pub cadence: Cadence,
    /// How long one run may take.
    pub timeout: Duration,
    /// Time between runs while bad and not confirmed.
    pub retry_every: Duration,
    /// When its badness is an incident.
    pub policy: Policy,
    /// The checks that it stands on.
    pub depends_on: Vec<Name>,
    /// What the public status page calls it; `None` if that does not show it.
    pub public: Option<String>,
    /// How it is got going again; `None` if it only alerts.
    pub recover: Option<Arc<PlannedRecovery>>,
    /// When it is to be pinged, and how; none if it runs by itself.
    pub heartbeat: Option<PlannedHeartbeat>,
    /// The file that it stands in; none where a ping made it.
    pub source: Option<Arc<config::SourceFile>>,
    /// The same for equal tables whose files hold the same: an equal check is kept as it is over a
    /// reload.
    pub fingerprint: [u8; 32],
}

/// A channel that is ready to deliver.
#[derive(Debug)]
pub struct PlannedChannel {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: &'static ChannelKind,
    /// What delivers.
    pub channel: Arc<dyn Channel>,
    /// What puts notices into words.
    pub renderer: Arc<Renderer>,
    /// What it allows.
    pub terms: Terms,
    /// How long one try may take.
    pub timeout: Duration,
    /// The channel that is told once this one has failed for long.
    pub fallback: Option<Name>,
}

/// How the configuration is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Put a placeholder in the place of each secret, so that a machine without them can validate.
    pub without_secrets: bool,
}

/// Reads `daemon.toml` at `path` with everything that it refers to.
///
/// # Errors
/// All problems, of which at least one is an error, in the order of files and lines.
pub fn load(path: &Path, options: LoadOptions) -> Result<Plan, Vec<Problem>> {
    load_noting(path, options, &mut BTreeSet::new(), &mut Judges::default())
}

/// The same, with the files and folders that bear on it, also where something is wrong with them;
/// `judges` remembers what was compiled from one time to the next.
///
/// # Errors
/// As [`load`].
pub fn load_noting(
    path: &Path,
    options: LoadOptions,
    files: &mut BTreeSet<PathBuf>,
    judges: &mut Judges,
) -> Result<Plan, Vec<Problem>> {
    let mut problems = Problems::default();
    problems.reads(path);
    let plan = read(path, options, judges, &mut problems);
    files.clone_from(problems.files());
    let failed = problems.has_errors();
    let problems = problems.sorted();
    match plan {
        Some(plan) if !failed => {
            judges.settle();
            Ok(Plan { warnings: problems, ..plan })
        }
        _ => Err(problems),
    }
}

/// What `daemon.toml` at `path` says of the API, whatever else is wrong with it.
pub fn api_settings(path: &Path) -> Option<ApiSettings> {
    let mut ignored = Problems::default();
    let file = config::read_file(path, &mut ignored)?;
    let base = base_of(path);
    let interpolator = Interpolator::new(base).without_secrets();
    let mut root = Section::root(&file, base, &interpolator, &mut ignored);
    Some(config::read_settings(&mut root, base, &[]).api)
}

/// What `[history]` says in `daemon.toml` at `path`, whatever is wrong with the rest.
///
/// # Errors
/// What is wrong with that table, or with the file as a whole.
pub fn history(path: &Path) -> Result<History, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(file) = config::read_file(path, &mut problems) else {
        return Err(problems.sorted());
    };
    let base = base_of(path);
    let interpolator = Interpolator::new(base);
    let mut root = Section::root(&file, base, &interpolator, &mut problems);
    let settings = config::read_settings(&mut root, &state_folder(base), &[]);
    root.finish(&mut problems);
    let concerns = |problem: &Problem| {
        let table = problem.key.split('.').next().unwrap_or_default();
        problem.level == config::Level::Error && matches!(table, "" | "history")
    };
    let problems: Vec<Problem> = problems.sorted().into_iter().filter(concerns).collect();
    if problems.is_empty() { Ok(settings.history) } else { Err(problems) }
}

/// The folder that relative paths in a file are relative to.
fn base_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The folder of a relative store: `$STATE_DIRECTORY`, else that of `daemon.toml`.
fn state_folder(base: &Path) -> PathBuf {
    match std::env::var("STATE_DIRECTORY") {
        // systemd lists several folders with colons; the first is ours.
        Ok(folders) if !folders.is_empty() => {
            PathBuf::from(folders.split(':').next().unwrap_or_default())
        }
        _ => base.to_owned(),
    }
}

fn read(
    path: &Path,
    options: LoadOptions,
    judges: &mut Judges,
    problems: &mut Problems,
) -> Option<Plan> {
    let file = config::read_file(path, problems)?;
    let base = base_of(path);
    let interpolator = Interpolator::new(base);
    let interpolator =
        if options.without_secrets { interpolator.without_secrets() } else { interpolator };
    let mut root = Section::root(&file, base, &interpolator, problems);
    let kinds: Vec<&'static str> = channel_kinds::ALL.iter().map(|kind| kind.name).collect();
    let settings = config::read_settings(&mut root, &state_folder(base), &kinds);
    root.finish(problems);

    let Settings { channels, routes, maintenance, templates, checks: folder, api, .. } = settings;
    let zone = settings.time_zone;
    problems.reads(&templates);
    let api = build_api(api, options.without_secrets, problems);
    let channels = build_channels(channels, &templates, problems);
    let routes = routes::build_routes(routes, &channels, zone, problems);
    let now = System::start().wall();
    let maintenance = routes::build_maintenance(maintenance, zone, now, problems);
    let surroundings = Surroundings { time_zone: zone, recovery: settings.recovery };
    let checks = read_checks(&folder, &interpolator, surroundings, judges, problems);
    heartbeats::check_addresses(&checks, &api.pings, problems);
    let url = settings.public_url.clone();
    let page = settings.status_page;
    let page = status_page::build_status_page(page, &settings.name, url, zone, &checks);
    Some(Plan {
        name: settings.name,
        time_zone: zone,
        public_url: settings.public_url,
        heartbeat_url: settings.heartbeat_url,
        max_in_flight: settings.max_in_flight,
        own_limits: settings.own_limits,
        watch: settings.watch,
        history: settings.history,
        api,
        status_page: Arc::new(page),
        recovery: settings.recovery,
        checks,
        channels,
        templates,
        routes: Arc::new(routes),
        maintenance: Arc::new(maintenance),
        warnings: Vec::new(),
    })
}

/// On a `dry` machine the files of the certificate need not be there.
fn build_api(mut settings: ApiSettings, dry: bool, problems: &mut Problems) -> PlannedApi {
    let pings = PlannedPings::of(&settings);
    let raw_keys = std::mem::take(&mut settings.keys);
    let keys = raw_keys.into_iter().filter_map(|raw| build_key(raw, problems)).collect::<Vec<_>>();
    if let Some(TlsFiles { cert_file, key_file, place }) = settings.tls.as_ref().filter(|_| !dry)
        && let Err(error) = Certificate::read(cert_file, key_file)
    {
        problems.push(place.error(format!("cannot be used: {error}")));
    }
    PlannedApi { settings, keys: Keys::new(keys), pings }
}

fn build_key(raw: RawKey, problems: &mut Problems) -> Option<ApiKey> {
    let mut scopes = Vec::new();
    for (word, place) in &raw.scopes {
        match Scope::from_word(word) {
            Some(scope) => scopes.push(scope),
            None => {
                let problem = place.error(format!("there is no scope `{word}`"));
                problems.push(problem.hint("the scopes are read, operate and push"));
            }
        }
    }
    let key = match &raw.key {
        KeyMaterial::Plain(plain) => {
            if plain.expose().len() < ApiKey::SHORTEST {
                problems.push(raw.place.warning(format!(
                    "the key `{}` is short; a good one has at least {} characters",
                    raw.name,
                    ApiKey::SHORTEST
                )));
            }
            ApiKey::from_plain(raw.name, plain.expose(), scopes)
        }
        KeyMaterial::Hash(hash) if hash.contains(config::PLACEHOLDER_HOST) => return None,
        KeyMaterial::Hash(hash) => ApiKey::from_hash(raw.name, hash, scopes),
    };
    match key {
        Ok(mut key) => {
            key.expires = raw.expires;
            if key.is_over(System::start().wall()) {
                let over = format!("the key `{}` has expired, so it opens nothing", key.name);
                problems.push(raw.place.warning(over));
            }
            Some(key)
        }
        Err(error) => {
            problems.push(raw.place.error(error.to_string()));
            None
        }
    }
}

fn build_channels(
    raw: Vec<RawChannel<'_>>,
    templates: &Path,
    problems: &mut Problems,
) -> Vec<PlannedChannel> {
    if raw.is_empty() {
        return console(problems).into_iter().collect();
    }
    raw.into_iter().filter_map(|raw| build_channel(raw, templates, problems)).collect()
}

/// With no channel at all, alerts go to the console, and nothing limits them.
fn console(problems: &mut Problems) -> Option<PlannedChannel> {
    let kind = channel_kinds::find("console")?;
    let file = config::SourceFile::in_memory("(built in)", "");
    let interpolator = Interpolator::new(Path::new("."));
    let mut section = Section::root(&file, Path::new("."), &interpolator, problems);
    let channel = (kind.parse)(&mut section)?;
    let renderer = Renderer::compile(kind.name, kind.template, kind.format).ok()?;
    Some(PlannedChannel {
        name: "console".into(),
        kind,
        channel: channel.into(),
        renderer: Arc::new(renderer),
        terms: Terms {
            count: 1000,
            per: Duration::from_secs(60),
            cooldown: Duration::ZERO,
            fallback_after: None,
        },
        timeout: Duration::from_secs(10),
        fallback: None,
    })
}

fn build_channel(
    mut raw: RawChannel<'_>,
    templates: &Path,
    problems: &mut Problems,
) -> Option<PlannedChannel> {
    let kind = channel_kinds::find(raw.kind)?;
    raw.table.set_templates(templates);
    if kind.options.iter().all(|option| option.name != "update") {
        let why = "this channel cannot change what it has sent (slack as a bot, discord and \
                   telegram can)";
        raw.table.not_there_yet("update", why);
    }
    raw.table.set_owner(raw.name.as_deref().unwrap_or_default());
    let channel = (kind.parse)(&mut raw.table);
    raw.table.finish(problems);
    let renderer = build_renderer(kind, raw.template.as_deref(), templates, &raw.place, problems);
    Some(PlannedChannel {
        name: raw.name?,
        kind,
        channel: channel?.into(),
        renderer: Arc::new(renderer?),
        terms: Terms {
            count: raw.rate_limit.count,
            per: raw.rate_limit.per,
            cooldown: raw.cooldown,
            fallback_after: raw.fallback.is_some().then_some(raw.fallback_after),
        },
        timeout: raw.timeout,
        fallback: raw.fallback.map(|(name, _)| name),
    })
}

/// The channel's own template, else the one of its kind in the templates folder, else the one
/// that ships.
fn build_renderer(
    kind: &'static ChannelKind,
    own: Option<&Path>,
    templates: &Path,
    place: &Place,
    problems: &mut Problems,
) -> Option<Renderer> {
    let in_folder = templates.join(format!("{}.jinja", kind.name));
    let file = match own {
        Some(own) => Some(own.to_owned()),
        None => in_folder.exists().then_some(in_folder),
    };
    let Some(file) = file else {
        return match Renderer::compile(kind.name, kind.template, kind.format) {
            Ok(renderer) => Some(renderer),
            Err(error) => {
                problems.push(place.error(format!("the template that ships is broken: {error}")));
                None
            }
        };
    };
    problems.reads(&file);
    let source = match std::fs::read_to_string(&file) {
        Ok(source) => source,
        Err(error) => {
            let message = format!("cannot read the template {}: {error}", file.display());
            problems.push(place.error(message));
            return None;
        }
    };
    match Renderer::compile(&file.to_string_lossy(), &source, kind.format) {
        Ok(renderer) => Some(renderer),
        Err(error) => {
            problems.push(place.error(format!("the template cannot be used: {error}")));
            None
        }
    }
}

fn condition_problem(
    place: &Place,
    source: &str,
    problem: &crate::condition::ConditionProblem,
) -> Problem {
    let problem_at = place.error(format!("`{source}`: {}", problem.message));
    match &problem.hint {
        Some(hint) => problem_at.hint(hint.clone()),
        None => problem_at,
    }
}

/// What `daemon.toml` says that bears on checks.
#[derive(Clone, Copy)]
struct Surroundings {
    time_zone: Tz,
    recovery: RecoverySettings,
}

fn read_checks(
    folder: &Path,
    interpolator: &Interpolator,
    surroundings: Surroundings,
    judges: &mut Judges,
    problems: &mut Problems,
) -> Vec<PlannedCheck> {
    let kinds: Vec<&'static str> = check_kinds::ALL.iter().map(|kind| kind.name).collect();
    let ways: Vec<&'static str> = ways::ALL.iter().map(|way| way.name).collect();
    let files = config::read_check_files(folder, problems);
    let mut raw_checks = Vec::new();
    for file in &files {
        let base = file.path.parent().unwrap_or(folder);
        let mut root = Section::root(file, base, interpolator, problems);
        raw_checks.extend(config::read_checks(&mut root, &kinds, &ways));
        root.finish(problems);
    }
    if raw_checks.is_empty() && !problems.has_errors() {
        let hint = "each `[[check]]` in a file `*.toml` of this folder is one";
        problems.file_warning(folder, "there is no check: nothing is watched", hint);
    }
    names::check(&raw_checks, problems);
    let checks = raw_checks.into_iter();
    checks.filter_map(|raw| build_check(raw, surroundings, judges, problems)).collect()
}

fn build_check(
    raw: RawCheck<'_>,
    surroundings: Surroundings,
    judges: &mut Judges,
    problems: &mut Problems,
) -> Option<PlannedCheck> {
    let public = status_page::shown_name(&raw);
    let schedule = raw.schedule.map(|schedule| match schedule {
        RawSchedule::Every(interval, place) => {
            (placed(Cadence::every(interval), &place, problems), interval)
        }
        RawSchedule::Cron { line, time_zone: own, place } => {
            let cadence = Cadence::cron(&line, own.unwrap_or(surroundings.time_zone));
            (placed(cadence, &place, problems), Duration::from_secs(60))
        }
    });
    let recovery = surroundings.recovery;
    let recover = raw.recover.map(|recover| build_recovery(recover, recovery, problems));
    let (kind, mut table) = raw.kind?;
    let kind = check_kinds::find(kind)?;
    let check = (kind.parse)(&mut table);
    let fingerprint = Sha256::new().chain_update(raw.fingerprint).chain_update(table.contents());
    table.finish(problems);
    let judge = build_judge(kind, &raw.expect, &raw.degraded_if, judges, problems);
    if kind.name == check_kinds::heartbeat::KIND.name {
        heartbeats::refuse_keys_of_runs(
            &raw.given,
            (raw.confirm_after, raw.recover_after),
            problems,
        );
    }
    let pushed = check.as_deref().and_then(Check::heartbeat);
    let pushed =
        pushed.map(|beat| heartbeats::build_heartbeat(beat, surroundings.time_zone, problems));
    let (heartbeat, schedule) = match pushed {
        Some(built) => {
            let (cadence, heartbeat) = built?;
            (Some(heartbeat), Some((Some(cadence), Duration::MAX)))
        }
        None => (None, schedule),
    };
    let (cadence, interval) = schedule?;
    let name = raw.name?;
    let policy = Policy {
        check: name.clone(),
        kind: kind.name.to_owned(),
        confirm_after: raw.confirm_after,
        recover_after: raw.recover_after,
        lasting: raw.lasting,
        unknown_after: raw.unknown_after.of(interval),
        flapping: raw.flapping,
        severity: raw.severity,
        labels: Arc::new(raw.labels),
        runbook: raw.runbook,
    };
    let policy = if heartbeat.is_some() { heartbeats::at_once(policy) } else { policy };
    Some(PlannedCheck {
        name,
        renamed_from: raw.renamed_from.map(|(name, _)| name),
        kind,
        check: check?,
        judge: judge?,
        cadence: cadence?,
        timeout: raw.timeout,
        retry_every: raw.retry_every.unwrap_or(interval),
        policy,
        depends_on: raw.depends_on.into_iter().map(|(name, _)| name.into()).collect(),
        public,
        recover: match recover {
            Some(recover) => Some(recover?),
            None => None,
        },
        heartbeat,
        source: Some(raw.place.file),
        fingerprint: fingerprint.finalize().into(),
    })
}

fn placed<T>(result: Result<T, String>, place: &Place, problems: &mut Problems) -> Option<T> {
    result.map_err(|message| problems.push(place.error(message))).ok()
}

fn build_judge(
    kind: &'static Kind,
    expect: &[(String, Place)],
    degraded_if: &[(String, Place)],
    judges: &mut Judges,
    problems: &mut Problems,
) -> Option<Arc<Judge>> {
    let sources = |list: &[(String, Place)]| -> Vec<String> {
        list.iter().map(|(source, _)| source.clone()).collect()
    };
    match judges.get(kind, sources(expect), sources(degraded_if)) {
        Ok(judge) => Some(judge),
        Err(found) => {
            for found in found {
                let (source, place) = match found.which {
                    Which::Expect(index) => &expect[index],
                    Which::DegradedIf(index) => &degraded_if[index],
                };
                problems.push(condition_problem(place, source, &found.problem));
            }
            None
        }
    }
}
