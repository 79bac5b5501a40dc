use super::api::{ApiSettings, read_api};
use super::own::{OwnLimits, read_own_limits};
use super::problem::Place;
use super::recover::{RecoverySettings, read_recovery_settings};
use super::routes::{RawMaintenance, RawRoute, read_maintenance, read_routes};
use super::section::Section;
use super::status_page::{StatusPageSettings, read_status_page};
use crate::model::{Name, Secret, did_you_mean, name_problem};
use chrono_tz::Tz;
use sqlx::postgres::PgConnectOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What `daemon.toml` says, less the channels' own tables, which their kinds read.
#[derive(Debug)]
pub struct Settings<'i> {
    /// The name that alerts show.
    pub name: Name,
    /// The zone of cron lines that name none.
    pub time_zone: Tz,
    /// Where people reach the daemon's pages, for links in alerts; none where they cannot.
    pub public_url: Option<Url>,
    /// What is requested each minute while all is well, by http or https.
    pub heartbeat_url: Option<Secret>,
    /// The folder of check files.
    pub checks: PathBuf,
    /// The folder of templates that replace those that ship; it may be absent.
    pub templates: PathBuf,
    /// Checks that may run at the same time.
    pub max_in_flight: usize,
    /// From when on the daemon says something of itself.
    pub own_limits: OwnLimits,
    /// Whether changed files are taken without being asked.
    pub watch: bool,
    /// Where history is kept, and how long.
    pub history: History,
    /// The status API.
    pub api: ApiSettings,
    /// What the public status page says.
    pub status_page: StatusPageSettings,
    /// What all recovery actions have in common.
    pub recovery: RecoverySettings,
    /// The places that notices go to.
    pub channels: Vec<RawChannel<'i>>,
    /// Who hears what; the first match wins.
    pub routes: Vec<RawRoute>,
    /// When it is known that things fail.
    pub maintenance: Vec<RawMaintenance>,
}

/// Where history is kept, and how long.
#[derive(Debug)]
pub struct History {
    /// Where it is.
    pub store: StoreAddress,
    /// The folder of what the daemon keeps in files.
    pub state_folder: PathBuf,
    /// How long what is kept.
    pub keep: Keep,
}

impl History {
    /// A file that stands beside the store, with its name and this ending.
    pub fn beside(&self, ending: &str) -> PathBuf {
        let mut path = match &self.store {
            StoreAddress::Sqlite(path) => path.clone().into_os_string(),
            StoreAddress::Postgres(_) => self.state_folder.join("watchbell").into_os_string(),
        };
        path.push(ending);
        PathBuf::from(path)
    }
}

/// Where history is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this file; a relative one is already resolved.
    Sqlite(PathBuf),
    /// In the database at this address, which is a usable one.
    Postgres(Secret),
}

impl StoreAddress {
    /// Reads an address as `store` has it; `folder` is that of a relative SQLite path.
    ///
    /// # Errors
    /// What is wrong with it, without any of it: it may hold a password.
    pub fn parse(address: Secret, folder: &Path) -> Result<Self, String> {
        match address.expose().split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Self::Sqlite(folder.join(path)))
            }
            Some(("postgres" | "postgresql", _)) => {
                // What the parser says may quote a part of the address, and so a password.
                let usable = address.expose().parse::<PgConnectOptions>().is_ok();
                let looks = "is no address of a PostgreSQL database (such as \
                             postgres://watchbell:password@host/watchbell)";
                usable.then_some(Self::Postgres(address)).ok_or_else(|| looks.to_owned())
            }
            _ => {
                Err("is not a store (such as sqlite:watchbell.db or postgres://user@host/database)"
                    .to_owned())
            }
        }
    }
}

/// How long what is kept of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Single results.
    pub raw: Duration,
    /// Roll-ups by minute.
    pub minute: Duration,
    /// Roll-ups by hour.
    pub hourly: Duration,
    /// Roll-ups by day.
    pub daily: Duration,
    /// Resolved incidents with their notices.
    pub incidents: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            raw: DAY * 14,
            minute: DAY * 30,
            hourly: DAY * 400,
            daily: DAY * 3650,
            incidents: DAY * 400,
        }
    }
}

/// One `[[channel]]`, with the table of its kind still to be read: also where something else is
/// wrong with it, so that all problems come at once.
#[derive(Debug)]
pub struct RawChannel<'i> {
    /// Its name, if it has a proper one.
    pub name: Option<Name>,
    /// Messages that it may accept in a span of time, in any such span.
    pub rate_limit: Rate,
    /// Quiet time after an opening about the same check.
    pub cooldown: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// The channel that is told once this one has failed for long; one that there is.
    pub fallback: Option<(Name, Place)>,
    /// How long this one must have failed for that.
    pub fallback_after: Duration,
    /// A template of its own, in place of its kind's.
    pub template: Option<PathBuf>,
    /// The kind and its table.
    pub kind: &'static str,
    /// The table of its kind.
    pub table: Section<'i>,
    /// For problems that show later.
    pub place: Place,
}

/// So many in such a span: `10/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// Reads `10/h`, `5/m`, `1/s`, `100/d` or a span of several units such as `3/10m`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate (such as 10/h, 5/m or 3/10m)");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let unit_only = per.chars().all(char::is_alphabetic);
        let per = if unit_only { format!("1{per}") } else { per.to_owned() };
        let per = humantime::parse_duration(&per).map_err(|_| wrong())?;
        if count == 0 || per.is_zero() {
            return Err(format!("`{text}` would let nothing through"));
        }
        Ok(Self { count, per })
    }
}

/// Reads the root table of `daemon.toml`.
///
/// `state_folder` is where a relative SQLite path lies.
pub fn read_settings<'i>(
    root: &mut Section<'i>,
    state_folder: &Path,
    channel_kinds: &[&'static str],
) -> Settings<'i> {
    let base = root.base().to_owned();
    let mut settings = Settings {
        name: Arc::from("watchbell"),
        time_zone: Tz::UTC,
        public_url: None,
        heartbeat_url: None,
        checks: base.join("checks.d"),
        templates: base.join("alert-templates"),
        max_in_flight: 1000,
        own_limits: OwnLimits::default(),
        watch: false,
        history: History {
            store: StoreAddress::Sqlite(state_folder.join("watchbell.db")),
            state_folder: state_folder.to_owned(),
            keep: Keep::default(),
        },
        api: ApiSettings::default(),
        status_page: StatusPageSettings::default(),
        recovery: RecoverySettings::default(),
        channels: Vec::new(),
        routes: Vec::new(),
        maintenance: Vec::new(),
    };
    if let Some(mut daemon) = root.table("daemon") {
        read_daemon(&mut daemon, &mut settings);
        root.finish_child(daemon);
    }
    if let Some(mut history) = root.table("history") {
        read_history(&mut history, &mut settings.history, state_folder);
        root.finish_child(history);
    }
    if let Some(mut api) = root.table("api") {
        read_api(&mut api, &mut settings.api);
        root.finish_child(api);
    }
    if let Some(mut page) = root.table("status_page") {
        settings.status_page = read_status_page(&mut page);
        root.finish_child(page);
    }
    if let Some(mut recovery) = root.table("recovery") {
        settings.recovery = read_recovery_settings(&mut recovery);
        root.finish_child(recovery);
    }
    let mut names: Vec<Name> = Vec::new();
    for mut table in root.tables("channel") {
        let place = table.place_of("name");
        let name = read_name(&mut table);
        if let Some(name) = &name {
            if names.contains(name) {
                table.error_at(&place, format!("a channel `{name}` exists already"));
            }
            names.push(name.clone());
        }
        settings.channels.extend(read_channel(&mut table, name, place, channel_kinds));
        root.finish_child(table);
    }
    settings.routes = read_routes(root, &names);
    settings.maintenance = read_maintenance(root);
    check_fallbacks(root, &settings.channels, &names);
    settings
}

fn read_daemon(table: &mut Section<'_>, settings: &mut Settings<'_>) {
    if let Some(name) = table.optional::<String>("name") {
        settings.name = name.into();
    }
    if let Some(zone) = table.built("time_zone", |name: String| parse_zone(&name)) {
        settings.time_zone = zone;
    }
    settings.heartbeat_url =
        table.built("heartbeat_url", |address: Secret| match Url::parse(address.expose()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(address),
            _ => Err("is no address of the web (such as https://hc-ping.com/UUID)".to_owned()),
        });
    settings.public_url = table.url("public_url", &["https", "http"]);
    if let Some(checks) = table.path("checks") {
        settings.checks = checks;
    }
    if let Some(templates) = table.path("templates") {
        settings.templates = templates;
    }
    if let Some(limit) = table.built("max_in_flight", |limit: usize| {
        if limit == 0 { Err("must be at least 1".to_owned()) } else { Ok(limit) }
    }) {
        settings.max_in_flight = limit;
    }
    settings.watch = table.or("watch", false);
    if let Some(mut own) = table.table("own_incidents") {
        settings.own_limits = read_own_limits(&mut own);
        table.finish_child(own);
    }
}

/// Reads an IANA time zone name.
pub fn parse_zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        match did_you_mean(name, names) {
            Some(question) => format!("`{name}` is not a time zone; {question}"),
            None => format!("`{name}` is not a time zone (an IANA name such as Europe/Berlin)"),
        }
    })
}

fn read_history(table: &mut Section<'_>, history: &mut History, state_folder: &Path) {
    if let Some(store) = table.built("store", |url: Secret| StoreAddress::parse(url, state_folder))
    {
        history.store = store;
    }
    if let Some(mut keep) = table.table("keep") {
        let Keep { raw, minute, hourly, daily, incidents } = &mut history.keep;
        for (key, span) in [
            ("raw", raw),
            ("minute", minute),
            ("hourly", hourly),
            ("daily", daily),
            ("incidents", incidents),
        ] {
            if let Some(given) = keep.duration(key) {
                *span = given;
            }
        }
        table.finish_child(keep);
    }
}

fn read_channel<'i>(
    table: &mut Section<'i>,
    name: Option<Name>,
    place: Place,
    channel_kinds: &[&'static str],
) -> Option<RawChannel<'i>> {
    let rate_limit = table
        .built("rate_limit", |text: String| Rate::parse(&text))
        .unwrap_or(Rate { count: 10, per: Duration::from_secs(3600) });
    let cooldown = table.duration("cooldown").unwrap_or(Duration::from_secs(30 * 60));
    let timeout = table.duration("timeout").unwrap_or(Duration::from_secs(10));
    let template = table.path("template");
    let fallback_place = table.place_of("fallback");
    let fallback = table.optional::<String>("fallback");
    let kinds = "it stands in the kind's table: [channel.slack], [channel.discord] or \
                 [channel.telegram]";
    table.not_there_yet("update", kinds);
    let after_place = table.place_of("fallback_after");
    let fallback_after = table.duration("fallback_after");
    if fallback.is_none() && fallback_after.is_some() {
        table.report(after_place.warning("has no effect without `fallback`"));
    }
    let (kind, kind_table) = table.kind_table(channel_kinds)?;
    Some(RawChannel {
        name,
        rate_limit,
        cooldown,
        timeout,
        fallback: fallback.map(|name| (name.into(), fallback_place)),
        fallback_after: fallback_after.unwrap_or(Duration::from_secs(5 * 60)),
        template,
        kind,
        table: kind_table,
        place,
    })
}

/// Takes `name`, which must be there and fit into a URL, a label and a file name.
pub fn read_name(table: &mut Section<'_>) -> Option<Name> {
    table.required_built("name", |name: String| match name_problem(&name) {
        None => Ok(Name::from(name)),
        Some(problem) => Err(format!("`{name}` cannot be a name: {problem}")),
    })
}

/// A fallback that there is not, or one that leads back to where it started, is an error.
fn check_fallbacks(root: &mut Section<'_>, channels: &[RawChannel<'_>], names: &[Name]) {
    let fallback_of = |name: &Name| {
        let channel = channels.iter().find(|channel| channel.name.as_ref() == Some(name))?;
        channel.fallback.as_ref().map(|(fallback, _)| fallback)
    };
    let mut in_circles: Vec<&Name> = Vec::new();
    for channel in channels {
        let (Some(name), Some((fallback, place))) = (&channel.name, &channel.fallback) else {
            continue;
        };
        if !names.contains(fallback) {
            let problem = place.error(format!("there is no channel `{fallback}`"));
            root.report(problem.did_you_mean(fallback, names.iter().map(|name| &**name)));
            continue;
        }
        let mut way = vec![name];
        let mut at = fallback;
        while let Some(next) = fallback_of(at).filter(|_| !way.contains(&at)) {
            way.push(at);
            at = next;
        }
        // Each circle is one mistake.
        if at == name && !in_circles.contains(&name) {
            let words: Vec<&str> = way.iter().chain([&name]).map(|name| &***name).collect();
            let circle = format!("the fallback goes in a circle: {}", words.join(" -> "));
            root.report(place.error(circle));
            in_circles.extend(way);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    use std::time::Duration;

    #[test]
    fn rates_are_a_count_in_a_span() {
        let rate = |count, secs| Ok(Rate { count, per: Duration::from_secs(secs) });
        assert_eq!(Rate::parse("10/h"), rate(10, 3600));
        assert_eq!(Rate::parse("5 / m"), rate(5, 60));
        assert_eq!(Rate::parse("3/10m"), rate(3, 600));
        for wrong in ["10", "ten/h", "10/parsec", "0/h", "-1/h", "/h", "10/"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
