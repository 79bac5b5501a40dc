use super::quoted;
use crate::config::Section;
use crate::model::{ActionName, OptionDoc};
use crate::recover::{Action, ActionKind, Order, Tools};
use async_trait::async_trait;
use futures_util::StreamExt;
use std::sync::Arc;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, MatchRule, MessageStream, Proxy, connection, message};

/// The D-Bus name of systemd, its object and the interface (`org.freedesktop.systemd1(5)`).
const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// Ends of other jobs that may wait here between an order and its answer.
const QUEUE: usize = 1024;
/// What a name of a unit ends with (`systemd.unit(5)`).
const SUFFIXES: &[&str] = &[
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
/// Said where polkit refuses.
const DENIED: &str = "the daemon's user may not manage this unit: a polkit rule for \
                      org.freedesktop.systemd1.manage-units allows it";

/// A unit of the system's systemd.
pub const KIND: ActionKind = ActionKind {
    name: "systemd_unit",
    summary: "a unit of systemd on this machine, over D-Bus",
    options: &[OptionDoc::new(
        "systemd_unit",
        "string",
        "required",
        "the unit; restart restarts it, recreate stops and then starts it",
    )],
    actions: &[ActionName::Restart, ActionName::Recreate],
    example: r#"[check.recover]
action = "restart"
systemd_unit = "shop-api.service"
"#,
    parse,
};

#[derive(Debug)]
struct Unit {
    name: String,
    /// The bus, where it is not the system's.
    bus: Option<String>,
}

fn parse(section: &mut Section<'_>) -> Option<Arc<dyn Action>> {
    let name = section.required_built("systemd_unit", |name: String| {
        let known = name
            .rsplit_once('.')
            .is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix));
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if !name.chars().all(plain) {
            Err(format!("`{name}` cannot be the name of a unit"))
        } else if known {
            Ok(name)
        } else {
            Err(format!("`{name}` is not the whole name of a unit (such as shop-api.service)"))
        }
    })?;
    Some(Arc::new(Unit { name, bus: None }))
}

#[async_trait]
impl Action for Unit {
    fn describe(&self, order: &Order) -> String {
        let way = match order.action {
            ActionName::Recreate => "stop and start",
            _ => "restart",
        };
        format!("{way} the unit {}", self.name)
    }

    async fn run(&self, _tools: &Tools, order: &Order) -> Result<String, String> {
        let mut systemd = Systemd::reach(self.bus.as_deref())
            .await
            .map_err(|error| format!("cannot reach systemd over D-Bus: {}", self.why(&error)))?;
        let steps: &[(&str, &str)] = match order.action {
            ActionName::Recreate => &[("StopUnit", "stop"), ("StartUnit", "start")],
            _ => &[("RestartUnit", "restart")],
        };
        for (method, word) in steps {
            let result = systemd
                .run_job(method, &self.name)
                .await
                .map_err(|error| format!("cannot {word} {}: {}", self.name, self.why(&error)))?;
            if result != "done" {
                let result = quoted(&result);
                return Err(format!(
                    "the job to {word} {} ended with `{result}`: {}",
                    self.name,
                    meaning(&result)
                ));
            }
        }
        Ok(match order.action {
            ActionName::Recreate => format!("stopped and started the unit {}", self.name),
            _ => format!("restarted the unit {}", self.name),
        })
    }
}

impl Unit {
    /// An error in words that say what to do.
    fn why(&self, error: &zbus::Error) -> String {
        let zbus::Error::MethodError(name, detail, _) = error else {
            return quoted(&error.to_string());
        };
        let detail = quoted(detail.as_deref().unwrap_or_default());
        match name.as_str() {
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
                format!("{detail} ({DENIED})")
            }
            "org.freedesktop.systemd1.NoSuchUnit" => {
                format!("{detail} (is the name right? `systemctl status {}`)", self.name)
            }
            "org.freedesktop.DBus.Error.ServiceUnknown" => {
                format!("{detail} (is this machine run by systemd?)")
            }
            other => format!("{other}: {detail}"),
        }
    }
}

/// What the result of a job means (`JobRemoved` in `org.freedesktop.systemd1(5)`).
fn meaning(result: &str) -> &'static str {
    match result {
        "failed" => "the unit did not come up; its journal says why",
        "timeout" => "the unit took longer than systemd lets it",
        "canceled" => "another job took its place",
        "dependency" => "something that the unit requires failed",
        "skipped" | "assert" => "a condition of the unit does not hold",
        _ => "systemd did not carry it out",
    }
}

/// A connection to systemd that hears of every job's end.
struct Systemd {
    bus: Connection,
    ends: MessageStream,
}

impl Systemd {
    async fn reach(address: Option<&str>) -> zbus::Result<Self> {
        let bus = match address {
            Some(address) => connection::Builder::address(address)?,
            None => connection::Builder::system()?,
        };
        let bus = bus.build().await?;
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(SYSTEMD)?
            .path(OBJECT)?
            .interface(MANAGER)?
            .member("JobRemoved")?
            .build();
        // Before the order, since a job may be over before its answer is read.
        let ends = MessageStream::for_match_rule(rule, &bus, Some(QUEUE)).await?;
        Ok(Self { bus, ends })
    }

    /// Orders a job for `unit`, waits for its end and gives its result.
    async fn run_job(&mut self, method: &str, unit: &str) -> zbus::Result<String> {
        let manager = Proxy::new(&self.bus, SYSTEMD, OBJECT, MANAGER).await?;
        let job: OwnedObjectPath = manager.call(method, &(unit, "replace")).await?;
        while let Some(signal) = self.ends.next().await {
            let signal = signal?;
            let body = signal.body();
            let (_, ended, _, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize()?;
            if ended == *job {
                return Ok(result.to_owned());
            }
        }
        Err(zbus::Error::Failure("the connection ended before the job did".to_owned()))
    }
}

#[cfg(test)]
mod tests;
