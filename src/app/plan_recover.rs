//! `[check.recover]` into what can be carried out.

use crate::config::{Problems, RawRecovery, RecoverySettings};
use crate::recover::plan::RecoveryPolicy;
use crate::recover::{Action, actions};
use std::sync::Arc;
use std::time::Duration;

/// How a check is got going again.
#[derive(Debug)]
pub struct PlannedRecovery {
    /// When it is tried, and how often.
    pub policy: RecoveryPolicy,
    /// What is done; where `policy.dry_run` holds, it only says so.
    pub action: Arc<dyn Action>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// Puts `raw` together with the way that it chooses; `None` means that there is a problem.
pub(super) fn build_recovery(
    raw: RawRecovery<'_>,
    settings: RecoverySettings,
    problems: &mut Problems,
) -> Option<Arc<PlannedRecovery>> {
    let mut table = raw.table;
    let way = raw.way.and_then(actions::find);
    let built = way.and_then(|way| (way.parse)(&mut table));
    if let (Some(way), Some(action)) = (way, raw.action)
        && !way.actions.contains(&action)
    {
        let can: Vec<&str> = way.actions.iter().map(|action| action.as_str()).collect();
        let problem = raw.action_place.error(format!(
            "`{}` cannot {action}; it can {}",
            way.name,
            can.join(" or ")
        ));
        let others = actions::ALL.iter().filter(|other| other.actions.contains(&action));
        let others: Vec<String> = others.map(|other| format!("`{}`", other.name)).collect();
        table.report(problem.hint(format!("use {}", others.join(" or "))));
    }
    table.finish(problems);
    let dry_run = raw.dry_run || settings.dry_run;
    let action = built?;
    Some(Arc::new(PlannedRecovery {
        policy: RecoveryPolicy {
            action: raw.action?,
            max_attempts: raw.max_attempts,
            window: raw.window,
            cooldown: raw.cooldown,
            dry_run,
        },
        action: if dry_run { actions::dry_run(action) } else { action },
        timeout: raw.timeout,
    }))
}

#[cfg(test)]
mod tests {
    use super::{PlannedRecovery, build_recovery};
    use crate::config::{Interpolator, Problems, RecoverySettings, Section, SourceFile};
    use crate::recover::actions;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    /// Reads one check with `recover` in its table, and gives what was built and the problems.
    fn read(recover: &str, settings: RecoverySettings) -> (Option<Arc<PlannedRecovery>>, String) {
        let text = format!(
            "[[check]]\nname = \"a\"\n[check.tcp]\naddress = \"a:1\"\n[check.recover]\n{recover}"
        );
        let file = SourceFile::in_memory("a.toml", &text);
        let base = Path::new("/etc/watchbell");
        let interpolator = Interpolator::new(base);
        let mut problems = Problems::default();
        let mut root = Section::root(&file, base, &interpolator, &mut problems);
        let ways: Vec<&'static str> = actions::ALL.iter().map(|way| way.name).collect();
        let mut checks = crate::config::read_checks(&mut root, &["tcp"], &ways);
        root.finish(&mut problems);
        let raw = checks.remove(0).recover.expect("a table");
        let built = build_recovery(raw, settings, &mut problems);
        let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
        (built, lines.join("\n"))
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let text = "action = \"restart\"\nsystemd_unit = \"shop-api.service\"";
        let (built, problems) = read(text, RecoverySettings::default());
        assert_eq!(problems, "");
        let built = built.unwrap();
        let policy = &built.policy;
        assert_eq!((policy.max_attempts, policy.dry_run), (3, false));
        assert_eq!(policy.window, Duration::from_secs(3600));
        assert_eq!(policy.cooldown, Duration::from_secs(300));
        assert_eq!(built.timeout, Duration::from_secs(60));
    }

    #[test]
    fn a_dry_run_of_the_daemon_is_one_of_every_check() {
        let text = "action = \"restart\"\ncommand = [\"true\"]";
        let settings = RecoverySettings { dry_run: true, ..RecoverySettings::default() };
        let built = read(text, settings).0.unwrap();
        assert!(built.policy.dry_run && format!("{:?}", built.action).contains("DryRun"));
        let own = read(&format!("{text}\ndry_run = true"), RecoverySettings::default()).0.unwrap();
        assert!(own.policy.dry_run && format!("{:?}", own.action).contains("DryRun"));
    }

    #[test]
    fn problems_say_what_to_do() {
        let problems = [
            "",
            "action = \"restrat\"\nsystemd_unit = \"shop-api\"\nmax_attempts = 0",
            "action = \"failover\"\nsystemd_unit = \"shop-api.service\"",
            "action = \"scale_up\"\ndocker = \"shop/api\"\ntimeout = \"0s\"",
            "action = \"restart\"\ndocker = \"shop\"\ncommand = [\"true\"]",
            "action = \"restart\"\ncommand = []\nmax_atempts = 2",
            "action = \"restart\"\ncommand = [\"true\"]\ndocker_socket = \"/run/docker.sock\"",
            "action = \"restart\"\nwebhook = { method = \"GET\", hedaers = {} }",
            "action = \"restart\"\nwebhook = \"https://a.example\"",
            "action = \"restart\"\ncommand = [\"true\"]\ncooldown = \"20m\"",
        ]
        .map(|text| read(text, RecoverySettings::default()).1);
        insta::assert_snapshot!(problems.join("\n\n"), @r"
        a.toml:5:1: check.recover.action: is missing
        a.toml:5:1: check.recover: does not say how (add one of `systemd_unit`, `command`, `docker`, `webhook`)

        a.toml:6:10: check.recover.action: there is no action `restrat`; did you mean `restart`?
        a.toml:7:16: check.recover.systemd_unit: `shop-api` is not the whole name of a unit (such as shop-api.service)
        a.toml:8:16: check.recover.max_attempts: must be at least 1

        a.toml:6:10: check.recover.action: `systemd_unit` cannot failover; it can restart or recreate (use `command` or `webhook`)

        a.toml:6:10: check.recover.action: `docker` cannot scale_up; it can restart or recreate (use `command` or `webhook`)
        a.toml:7:10: check.recover.docker: `shop/api` cannot be the name of a container
        a.toml:8:11: check.recover.timeout: must be longer than nothing

        a.toml:7:10: check.recover.docker: there is `command` already

        a.toml:7:11: check.recover.command: is empty; it names a program and its arguments
        a.toml:8:1: check.recover.max_atempts: unknown key (did you mean `max_attempts`?)

        a.toml:8:1: check.recover.docker_socket: unknown key (known keys: action, max_attempts, cooldown, window, timeout, dry_run, systemd_unit, command, docker, webhook)

        a.toml:7:11: check.recover.webhook.url: is missing
        a.toml:7:22: check.recover.webhook.method: `GET` does not order anything (use POST, PUT, PATCH or DELETE)
        a.toml:7:29: check.recover.webhook.hedaers: unknown key (did you mean `headers`?)

        a.toml:7:11: check.recover.webhook: must be a table, not string

        a.toml:5:1: warning: check.recover.window: 3 attempts with a cooldown of 20m are not over within 1h: they are never spent, and nobody is told that they do not help (make `window` longer)
        ");
    }
}
