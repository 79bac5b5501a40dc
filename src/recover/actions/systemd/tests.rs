use super::{KIND, Unit};
use crate::model::ActionName;
use crate::recover::Action;
use crate::recover::actions::testing::{order, read, tools};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

/// A bus of one's own, which ends with the test.
struct Bus {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Bus {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\
             <busconfig><type>system</type><listen>unix:path={}/bus</listen>\
             <auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/>\
             <allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"false\"/>\
             <allow receive_sender=\"*\"/></policy></busconfig>",
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned(), _folder: folder }
    }

    fn unit(&self, name: &str) -> Unit {
        Unit { name: name.to_owned(), bus: Some(self.address.clone()) }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What systemd says where it refuses.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refusal {
    #[zbus(error)]
    Other(zbus::Error),
    NoSuchUnit(String),
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.DBus.Error")]
enum Denial {
    #[zbus(error)]
    Other(zbus::Error),
    AccessDenied(String),
    InteractiveAuthorizationRequired(String),
}

/// An imitation of systemd's manager: each method ends its job at once, with the result that the
/// unit's name tells, and before its answer, which is the hardest case.
struct Manager {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    async fn job(
        &self,
        what: &str,
        unit: &str,
        mode: &str,
        emitter: &SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Refusal> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(format!("{what} {unit} {mode}"));
            u32::try_from(calls.len()).unwrap()
        };
        let path = |number: u32| {
            ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{number}")).unwrap()
        };
        if unit == "nowhere.service" {
            return Err(Refusal::NoSuchUnit(format!("Unit {unit} not found.")));
        }
        let result = unit.split('.').next().unwrap();
        let result = if result == "shop-api" { "done" } else { result };
        Self::job_removed(emitter, 99, path(99), "other.service", "failed").await?;
        Self::job_removed(emitter, number, path(number), unit, result).await?;
        Ok(path(number).into())
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn restart_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job("restart", &unit, &mode, &emitter).await
    }

    async fn stop_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job("stop", &unit, &mode, &emitter).await
    }

    async fn start_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.job("start", &unit, &mode, &emitter).await
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// An imitation of the manager behind polkit, which lets nobody do anything.
struct Guarded;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Guarded {
    fn restart_unit(&self, unit: String, _mode: String) -> Result<OwnedObjectPath, Denial> {
        match &*unit {
            "shop-api.service" => Err(Denial::AccessDenied("Permission denied".to_owned())),
            _ => Err(Denial::InteractiveAuthorizationRequired(
                "Interactive authentication required.".to_owned(),
            )),
        }
    }
}

async fn serve<I: zbus::object_server::Interface>(bus: &Bus, manager: I) -> zbus::Connection {
    zbus::connection::Builder::address(&*bus.address)
        .unwrap()
        .name(super::SYSTEMD)
        .unwrap()
        .serve_at(super::OBJECT, manager)
        .unwrap()
        .build()
        .await
        .unwrap()
}

async fn run(bus: &Bus, unit: &str, what: ActionName) -> Result<String, String> {
    bus.unit(unit).run(&tools(), &order(what)).await
}

#[tokio::test]
async fn a_unit_is_restarted_and_the_end_of_the_job_is_waited_for() {
    let bus = Bus::start();
    let calls = Arc::<Mutex<Vec<String>>>::default();
    let _systemd = serve(&bus, Manager { calls: Arc::clone(&calls) }).await;
    let said = run(&bus, "shop-api.service", ActionName::Restart).await;
    assert_eq!(said.as_deref(), Ok("restarted the unit shop-api.service"));
    let said = run(&bus, "shop-api.service", ActionName::Recreate).await;
    assert_eq!(said.as_deref(), Ok("stopped and started the unit shop-api.service"));
    let expected =
        ["restart", "stop", "start"].map(|what| format!("{what} shop-api.service replace"));
    assert_eq!(*calls.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_job_that_does_not_end_well_is_a_failure_with_its_meaning() {
    let bus = Bus::start();
    let calls = Arc::<Mutex<Vec<String>>>::default();
    let _systemd = serve(&bus, Manager { calls: Arc::clone(&calls) }).await;
    for (unit, expected) in [
        (
            "failed.service",
            "the job to restart failed.service ended with `failed`: the unit did not come up; its \
             journal says why",
        ),
        (
            "timeout.service",
            "the job to restart timeout.service ended with `timeout`: the unit took longer than \
             systemd lets it",
        ),
        (
            "nowhere.service",
            "cannot restart nowhere.service: Unit nowhere.service not found. (is the name right? \
             `systemctl status nowhere.service`)",
        ),
    ] {
        assert_eq!(run(&bus, unit, ActionName::Restart).await, Err(expected.to_owned()));
    }
    calls.lock().unwrap().clear();
    let said = run(&bus, "canceled.service", ActionName::Recreate).await.unwrap_err();
    assert!(said.starts_with("the job to stop canceled.service ended"), "{said}");
    assert_eq!(calls.lock().unwrap().len(), 1, "what could not be stopped is not started");
}

#[tokio::test]
async fn a_denial_says_what_allows_it() {
    let bus = Bus::start();
    let _systemd = serve(&bus, Guarded).await;
    for (unit, said) in [
        ("shop-api.service", "Permission denied"),
        ("other.service", "Interactive authentication required."),
    ] {
        let expected = format!(
            "cannot restart {unit}: {said} (the daemon's user may not manage this unit: a polkit \
             rule for org.freedesktop.systemd1.manage-units allows it)"
        );
        assert_eq!(run(&bus, unit, ActionName::Restart).await, Err(expected));
    }
}

#[tokio::test]
async fn a_machine_without_systemd_or_without_a_bus_is_told() {
    let bus = Bus::start();
    let said = run(&bus, "shop-api.service", ActionName::Restart).await.unwrap_err();
    assert!(said.contains("(is this machine run by systemd?)"), "{said}");
    let nowhere = Some("unix:path=/nowhere/bus".to_owned());
    let unit = Unit { name: "shop-api.service".to_owned(), bus: nowhere };
    let said = unit.run(&tools(), &order(ActionName::Restart)).await.unwrap_err();
    assert!(said.starts_with("cannot reach systemd over D-Bus: "), "{said}");
}

#[test]
fn a_unit_has_its_whole_name() {
    let problems = ["shop-api", ".service", "shop api.service", "shop.servce"]
        .map(|name| read(&KIND, &format!("systemd_unit = \"{name}\"")).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    a.toml:1:16: systemd_unit: `shop-api` is not the whole name of a unit (such as shop-api.service)
    a.toml:1:16: systemd_unit: `.service` is not the whole name of a unit (such as shop-api.service)
    a.toml:1:16: systemd_unit: `shop api.service` cannot be the name of a unit
    a.toml:1:16: systemd_unit: `shop.servce` is not the whole name of a unit (such as shop-api.service)
    ");
    for name in ["getty@tty1.service", "var-lib-x.mount", "dev-disk-by\\\\x2dlabel.device"] {
        assert_eq!(read(&KIND, &format!("systemd_unit = \"{name}\"")).1, "", "{name}");
    }
}
