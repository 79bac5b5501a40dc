use super::perf::{Perf, Range};
use super::{KIND, plugin};
use crate::check::testing::{ask, check, error, fact, facts, observe, parse, problems, run};
use crate::condition::{Condition, Outcome, Scope, Seen, Variable};
use crate::model::{Facts, Observation, Status, Verdict};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Runs a script with the shell.
async fn script(text: &str) -> (Observation, Verdict) {
    let exec = check(&KIND, &format!("command = ['sh', '-c', '''{text}''']"));
    let seen = observe(&*exec).await;
    let verdict = exec.sense(&seen);
    (seen, verdict)
}

/// The performance data of a line.
fn perf(line: &str) -> Perf {
    let mut perf = Perf::default();
    perf.read(line);
    perf
}

#[tokio::test]
async fn the_exit_status_alone_says_how_things_are() {
    use Status::{Degraded, Down, Unknown, Up};
    for (text, status, reason) in [
        ("echo CRITICAL - not so; exit 0", Up, ""),
        ("echo WARNING - slow; exit 1", Degraded, "WARNING - slow"),
        ("echo CRITICAL - gone; exit 2", Down, "CRITICAL - gone"),
        ("echo UNKNOWN - what; exit 3", Unknown, "UNKNOWN - what"),
        ("echo hm; exit 4", Unknown, "exit status 4: hm"),
        ("echo hm; exit 255", Unknown, "exit status 255: hm"),
        ("exit 2", Down, "exit status 2, without a word"),
        ("exit 77", Unknown, "exit status 77"),
        ("echo no socket >&2; exit 2", Down, "no socket"),
        ("echo; echo second line; exit 1", Degraded, "second line"),
        ("echo \"OK | a=1\" ; exit 1", Degraded, "OK"),
        ("echo half; kill -9 $$", Unknown, "ended by signal 9 (SIGKILL): half"),
    ] {
        let (seen, verdict) = script(text).await;
        assert_eq!(error(&seen), "no error", "{text}");
        assert_eq!(verdict.status, status, "{text}");
        assert_eq!(verdict.reasons.join(""), reason, "{text}");
    }
}

#[tokio::test]
async fn the_end_of_the_program_is_a_fact() {
    let (seen, _) = script("echo no >&2; exit 3").await;
    assert_eq!((fact(&seen, "exit_code"), fact(&seen, "signal")), (json!(3), json!("absent")));
    assert_eq!((fact(&seen, "output"), fact(&seen, "stderr")), (json!(""), json!("no\n")));
    let (seen, _) = script("kill -TERM $$").await;
    assert_eq!((fact(&seen, "exit_code"), fact(&seen, "signal")), (json!("absent"), json!(15)));
}

#[tokio::test]
async fn without_the_program_nobody_can_say_how_things_are() {
    for (table, words) in [
        ("command = ['/nowhere/check_x']", "cannot run /nowhere/check_x: there is no such program"),
        ("command = ['/etc/passwd']", "cannot run /etc/passwd: permission denied"),
        ("command = ['./check_x']", "cannot run /nonexistent/./check_x: there is no such program"),
        (
            "command = ['true']\ndirectory = 'plugins'",
            "cannot run true: there is no folder /nonexistent/plugins",
        ),
    ] {
        let exec = check(&KIND, table);
        let seen = observe(&*exec).await;
        let verdict = exec.sense(&seen);
        assert_eq!(verdict.status, Status::Unknown);
        assert_eq!(verdict.reasons, [words]);
    }
}

#[tokio::test]
async fn a_plugin_finds_its_variables_folder_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let table = format!(
        "command = ['sh', '-c', 'echo \"$A $PWD\"; echo 0123456789']\ndirectory = '{}'\n\
         env = {{ A = 'short' }}\nmax_output = {}",
        folder.display(),
        folder.display().to_string().len() + 11
    );
    let seen = ask(&KIND, &table).await;
    assert_eq!(fact(&seen, "output"), json!(format!("short {}", folder.display())));
    assert_eq!(fact(&seen, "long_output"), json!("absent"), "half a word is none");
}

#[tokio::test]
async fn a_secret_of_the_environment_is_hidden_where_it_is_printed() {
    let table = "command = ['sh', '-c', 'echo bad $P; echo $P; echo $P >&2; exit 2']\n\
                 env = { P = 'hunter2-hunter2' }";
    let exec = check(&KIND, table);
    let seen = observe(&*exec).await;
    let told = format!("{seen:?} {:?} {exec:?}", exec.sense(&seen));
    assert!(told.contains("bad [secret]") && !told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn all_lines_are_read_as_the_protocol_says() {
    let (seen, _) = script(
        "echo \"DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\"\n\
         echo \"/ 15272 MB (77%);\"\n\
         echo \"/boot 68 MB (69%);\"\n\
         echo \"/home 69357 MB (27%);\"\n\
         echo \"/var/log 819 MB (84%); | /boot=68MB;88;93;0;98\"\n\
         echo \"/home=69357MB;253404;253409;0;253414\"\n\
         echo \"/var/log=818MB;970;975;0;980\"",
    )
    .await;
    assert_eq!(fact(&seen, "output"), json!("DISK OK - free space: / 3326 MB (56%);"));
    assert_eq!(
        fact(&seen, "long_output"),
        json!(
            "/ 15272 MB (77%);\n/boot 68 MB (69%);\n/home 69357 MB (27%);\n/var/log 819 MB (84%);"
        )
    );
    let perf = fact(&seen, "perf");
    let labels: Vec<&String> = perf.as_object().unwrap().keys().collect();
    assert_eq!(labels, ["/", "/boot", "/home", "/var/log"]);
    assert_eq!(
        perf["/"],
        json!({"value": 2643.0, "unit": "MB", "warn": "5948", "crit": "5958",
               "min": 0.0, "max": 5968.0})
    );
    assert_eq!(fact(&seen, "perf_alerts"), json!({}));
    assert_eq!(fact(&seen, "perf_unread"), json!("absent"));
}

#[test]
fn text_and_data_are_told_apart() {
    let said = |printed: &str| {
        let said = plugin::read(printed);
        (said.text, said.long, said.perf.json.as_object().unwrap().len())
    };
    let check = |printed: &str, text: &str, long: &str, items: usize| {
        assert_eq!(said(printed), (text.to_owned(), long.to_owned(), items), "{printed:?}");
    };
    check("", "", "", 0);
    check("OK", "OK", "", 0);
    check("OK\r\nmore\r\n", "OK", "more", 0);
    check("OK|a=1", "OK", "", 1);
    check("|a=1", "", "", 1);
    check("OK |", "OK", "", 0);
    check("OK | a=1 b=2\n", "OK", "", 2);
    check("OK | a=1\nlong\n\nlonger | b=2\nc=3 d=4\n", "OK", "long\n\nlonger", 4);
    check("OK\n| b=2\nc=3\nno data", "OK", "", 2);
    check("OK | a=1 | b=2", "OK", "", 2);
    check("täst \u{fffd} | ä=1", "täst \u{fffd}", "", 1);
}

#[test]
fn an_output_that_was_cut_ends_with_a_whole_word() {
    assert_eq!(plugin::whole_words("OK | a=1 b=12", false), "OK | a=1 b=12");
    assert_eq!(plugin::whole_words("OK | a=1 b=12", true), "OK | a=1");
    assert_eq!(plugin::whole_words("OK|a=12", true), "OK");
    assert_eq!(plugin::whole_words("OKAY", true), "OKAY");
}

#[test]
fn performance_data_has_a_value_a_unit_ranges_and_bounds() {
    let entry = |value: Json, unit: &str| json!({"value": value, "unit": unit, "warn": null, "crit": null, "min": null, "max": null});
    let check = |item: &str, label: &str, expected: Json| {
        let perf = perf(item);
        assert_eq!(perf.json, json!({ label: expected }), "{item}");
        assert!(perf.unread.is_empty(), "{item}: {:?}", perf.unread);
    };
    check("time=0.002722s", "time", entry(json!(0.002722), "s"));
    for unit in ["", "s", "us", "ms", "%", "B", "KB", "MB", "GB", "TB", "c", "µs", "req/s", "EB"] {
        check(&format!("a=12{unit}"), "a", entry(json!(12.0), unit));
    }
    check("a=-1.5e-3", "a", entry(json!(-0.0015), ""));
    check("a=+.5E", "a", entry(json!(0.5), "E"));
    check("a=5.", "a", entry(json!(5.0), ""));
    check("a=U", "a", entry(Json::Null, ""));
    check("a=U;;;;", "a", entry(Json::Null, ""));
    check("'free space'=1", "free space", entry(json!(1.0), ""));
    check("'it''s'=1", "it's", entry(json!(1.0), ""));
    check("'C:\\ %'=1%", "C:\\ %", entry(json!(1.0), "%"));
    check("a=1;", "a", entry(json!(1.0), ""));
    check("a=1;;;;", "a", entry(json!(1.0), ""));
    check(
        "load1=0.010;5.000;10.000;0;",
        "load1",
        json!({"value": 0.01, "unit": "", "warn": "5.000", "crit": "10.000", "min": 0.0, "max": null}),
    );
    check(
        "a=7;@10:20;~:5;-1;1e3",
        "a",
        json!({"value": 7.0, "unit": "", "warn": "@10:20", "crit": "~:5",
               "min": -1.0, "max": 1000.0}),
    );
}

#[test]
fn items_are_separated_by_spaces_outside_of_quotes() {
    let labels = |line: &str| {
        let perf = perf(line);
        let labels = perf.json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        (labels.join(","), perf.unread.join(","))
    };
    let check = |line: &str, read: &str, unread: &str| {
        assert_eq!(labels(line), (read.to_owned(), unread.to_owned()), "{line}");
    };
    check("a=1 b=2", "a,b", "");
    check("  a=1\t\tb=2  ", "a,b", "");
    check("'a b'=1 'c=d'=2 e=3", "a b,e", "'c=d'=2");
    check("a=1 junk b=2", "a,b", "junk");
    check("a= b=2", "b", "a=");
    check("=1 ''=2 b=2", "b", "=1,''=2");
    check("a=1,5 b=2", "b", "a=1,5");
    check(
        "a=1x2 b=U1 c=0x10 d=inf e=nan f=1e999 g=- h=. i=2",
        "i",
        "a=1x2,b=U1,c=0x10,d=inf,e=nan,f=1e999,g=-,h=.",
    );
    check("'open=1 b=2", "b", "'open=1");
    check("o'clock=1 b=2", "b", "o'clock=1");
    // What is wrong beside the value costs only itself.
    check("a=1;80%;x;1;2;3 b=2", "a,b", "a=1;80%;x;1;2;3");
    // Said twice, the later counts.
    assert_eq!(perf("a=1 a=2").json["a"]["value"], json!(2.0));
}

#[test]
fn a_range_alerts_outside_of_it_or_with_an_at_inside() {
    let check = |text: &str, alerting: &[f64], fine: &[f64]| {
        let range = Range::read(text).unwrap_or_else(|| panic!("{text}"));
        for value in alerting {
            assert!(range.alerts(*value), "{text} {value}");
        }
        for value in fine {
            assert!(!range.alerts(*value), "{text} {value}");
        }
    };
    check("10", &[-0.1, 10.1], &[0.0, 5.0, 10.0]);
    check("10:", &[9.9, -1.0], &[10.0, 1e9]);
    check("~:10", &[10.1], &[10.0, -1e9]);
    check("10:20", &[9.9, 20.1], &[10.0, 20.0]);
    check("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]);
    check("@10", &[0.0, 10.0], &[-0.1, 10.1]);
    check(":10", &[-0.1, 10.1], &[0.0, 10.0]);
    check("-5:-1", &[0.0], &[-5.0, -1.0]);
    check("~:", &[], &[-1e9, 1e9]);
    check("5:5", &[4.9, 5.1], &[5.0]);
    for junk in ["", "@", "~", "20:10", "10:20x", "x", "10 ", "10:20:30", "80%", "10,5", ":~"] {
        assert_eq!(Range::read(junk), None, "{junk}");
    }
}

#[test]
fn critical_is_looked_at_before_warning() {
    let alerts = |item: &str| perf(item).alerts;
    assert_eq!(alerts("a=5;4;8"), json!({"a": "warning"}));
    assert_eq!(alerts("a=9;4;8"), json!({"a": "critical"}));
    assert_eq!(alerts("a=3;4;8"), json!({}));
    assert_eq!(alerts("a=U;4;8"), json!({}));
    assert_eq!(alerts("a=9;4;8 a=3;4;8"), json!({}));
}

#[test]
fn performance_data_finds_only_so_much_room() {
    let many: String = (0..10_000).map(|index| format!("a{index}=1 ")).collect();
    let perf = perf(&many);
    assert!(perf.json.to_string().len() <= 16 * 1024);
    assert!(perf.json.as_object().unwrap().len() > 100);
    assert!(perf.unread.join(" ").len() <= 4096);
}

struct Sight(Facts);

impl Scope for Sight {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        self.0.get(name).map(Seen::from)
    }
}

#[tokio::test]
async fn conditions_look_into_the_performance_data() {
    let table = "command = ['printf', \"OK | load1=4.5;4;8 'free space'=3MB unknown=U\"]";
    let sight = Sight(facts(&*check(&KIND, table)).await);
    let known: Vec<Variable<'_>> =
        KIND.all_facts().map(|fact| Variable { name: fact.name, ty: fact.ty }).collect();
    for (source, holds) in [
        ("perf['load1'].value > 4.0", true),
        ("perf['load1'].value > 5", false),
        ("perf.load1.value == 4.5 && perf.load1.warn == '4'", true),
        ("perf['free space'].unit == 'MB'", true),
        ("perf['free space'].max == null", true),
        ("has(perf.load15)", false),
        ("'load1' in perf && 'load1' in perf_alerts", true),
        ("perf_alerts['load1'] == 'warning'", true),
        ("perf.all(label, perf[label].value == null || perf[label].value < 10.0)", true),
        ("size(perf_alerts) == 0", false),
        ("exit_code == 0 && output.startsWith('OK')", true),
    ] {
        let condition = Condition::compile(source, &known, &[]).expect(source);
        let expected = if holds { Outcome::Holds } else { Outcome::Fails };
        assert_eq!(condition.evaluate(&sight), expected, "{source}");
    }
    // A value that the plugin does not know cannot be compared, which is told.
    let condition = Condition::compile("perf['unknown'].value > 4.0", &known, &[]).unwrap();
    assert!(matches!(condition.evaluate(&sight), Outcome::Broken(_)));
}

#[tokio::test]
async fn hostile_programs_stay_within_time_and_bounds() {
    for text in [
        "yes",
        "trap \"\" TERM INT; while :; do sleep 1; done",
        "setsid sleep 5 & sleep 600 & sleep 600",
        "cat /dev/zero >&2",
    ] {
        let exec = check(&KIND, &format!("command = ['sh', '-c', '''{text}''']"));
        let patience = Duration::from_millis(200);
        let ended = tokio::time::timeout(patience, exec.run(&run())).await;
        assert!(ended.is_err(), "{text}: {ended:?}");
    }
    let (seen, verdict) = script("sleep 600 & setsid sleep 5 & echo left; exit 1").await;
    assert_eq!(verdict.reasons, ["left"]);
    assert_eq!(fact(&seen, "exit_code"), json!(1));
    let (seen, _) = script("head -c 20000000 /dev/zero; exit 2").await;
    assert_eq!(fact(&seen, "exit_code"), json!(2));
    assert_eq!(fact(&seen, "output").as_str().map(str::len), Some(4096));
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    for (table, problem) in [
        ("", "command: is missing"),
        ("command = []", "command: is empty; it names a program and its arguments"),
        ("command = ['']", "command: is empty"),
        ("command = 'check_x -w 1'", "command: invalid type"),
        ("command = ['a']\nmax_output = 0", "max_output: must be from 1 to 1048576"),
        ("command = ['a']\nmax_output = 9999999", "max_output: must be from 1 to 1048576"),
        ("command = ['a']\nenv = { 'A=B' = 'c' }", "env: `A=B` cannot be a variable"),
        ("command = ['a']\nenv = { A = 1 }", "env: invalid type"),
        ("command = ['a']\nshell = true", "shell: unknown key"),
    ] {
        let found = problems(&KIND, table);
        assert!(found.contains(problem), "{table}: {found}");
    }
    assert!(parse(&KIND, "command = ['a', '-w', '1']").is_ok());
}

proptest! {
    #[test]
    fn any_output_is_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let said = plugin::read(&String::from_utf8_lossy(&bytes));
        prop_assert!(said.perf.json.to_string().len() <= 16 * 1024);
    }

    #[test]
    fn any_performance_data_is_read_within_bounds(
        line in "([a-c' =;|.:@~0-9U%-]|\\PC|\n){0,300}",
    ) {
        let said = plugin::read(&line);
        let alerts = said.perf.alerts.as_object().unwrap();
        prop_assert!(alerts.len() <= said.perf.json.as_object().unwrap().len());
        prop_assert!(said.perf.unread.join(" ").len() <= 4096);
    }

    #[test]
    fn what_is_written_by_the_rules_is_read_back(
        label in "[a-z '/]{0,10}[a-z]", value in -1e12..1e12f64, warn in 0..1000_u16, max in 0..1000_u16,
    ) {
        let item = format!("'{}'={value}MB;{warn};;;{max}", label.replace('\'', "''"));
        let perf = perf(&item);
        prop_assert_eq!(&perf.json[&label]["value"], &json!(value));
        prop_assert_eq!(&perf.json[&label]["warn"], &json!(warn.to_string()));
        prop_assert_eq!(&perf.json[&label]["max"], &json!(f64::from(max)));
        prop_assert!(perf.unread.is_empty());
    }
}
