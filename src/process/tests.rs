use super::{Call, CannotRun, Ended, Leftovers, Program, run};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

const CALL: Call<'_> = Call {
    stdin: &[],
    environment: &[],
    max_stdout: 4096,
    max_stderr: 4096,
    leftovers: Leftovers::Kill,
};

fn program(words: &[&str]) -> Program {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Program::new(words, Path::new("/")).unwrap()
}

fn shell(script: &str) -> Program {
    program(&["sh", "-c", script])
}

async fn soon(program: &Program, call: Call<'_>) -> Result<Ended, CannotRun> {
    tokio::time::timeout(Duration::from_secs(20), run(program, call)).await.expect("an end")
}

async fn said(script: &str) -> String {
    soon(&shell(script), CALL).await.unwrap().stdout.text()
}

/// Waits until `probe` gives something.
async fn until<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match probe() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("in time")
}

fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// The process ids that scripts wrote into `file`, once there are so many.
async fn pids(file: &Path, count: usize) -> Vec<u32> {
    until(|| {
        let text = std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))?;
        let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        (pids.len() == count).then_some(pids)
    })
    .await
}

#[tokio::test]
async fn an_end_tells_the_exit_status_and_what_was_said() {
    let ended = soon(&shell("echo out; echo err >&2; exit 3"), CALL).await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!((ended.stdout.text(), ended.stderr.text()), ("out\n".into(), "err\n".into()));
    assert!(!ended.stdout.cut && !ended.stderr.cut);
    let ended = soon(&shell("kill -SEGV $$"), CALL).await.unwrap();
    assert_eq!((ended.status.code(), ended.status.signal()), (None, Some(11)));
    assert_eq!(said("printf 'a\\377b'").await, "a\u{fffd}b");
}

#[tokio::test]
async fn no_shell_looks_at_the_arguments() {
    let ended = soon(&program(&["echo", "$HOME; *", "`id`"]), CALL).await.unwrap();
    assert_eq!(ended.stdout.text(), "$HOME; * `id`\n");
}

#[tokio::test]
async fn input_environment_and_folder_reach_the_program() {
    assert_eq!(said("cat; echo end").await, "end\n");
    let call = Call { stdin: b"hello", environment: &[("B", "two")], ..CALL };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let program = shell("cat; echo \" $A $B $PWD\"")
        .with_environment(vec![("A".into(), "one".into())])
        .in_directory(folder.clone());
    let ended = soon(&program, call).await.unwrap();
    assert_eq!(ended.stdout.text(), format!("hello one two {}\n", folder.display()));
    // More than a pipe holds, to a program that does not read it.
    let input = vec![b'x'; 1_000_000];
    let ended = soon(&shell("exit 4"), Call { stdin: &input, ..CALL }).await.unwrap();
    assert_eq!(ended.status.code(), Some(4));
}

#[tokio::test]
async fn what_is_said_is_kept_up_to_a_bound_and_the_rest_read() {
    let noisy = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 5");
    let call = Call { max_stdout: 1000, max_stderr: 10, ..CALL };
    let ended = soon(&noisy, call).await.unwrap();
    assert_eq!(ended.status.code(), Some(5));
    assert_eq!((ended.stdout.bytes.len(), ended.stderr.bytes.len()), (1000, 10));
    assert!(ended.stdout.cut && ended.stderr.cut);
    let call = Call { max_stdout: 3, max_stderr: 0, ..CALL };
    let ended = soon(&shell("printf abc; echo err >&2"), call).await.unwrap();
    assert_eq!((ended.stdout.text(), ended.stdout.cut), ("abc".into(), false));
    assert_eq!(ended.stderr, super::Output::default());
}

#[tokio::test]
async fn all_that_a_program_wrote_before_its_end_is_there() {
    for _ in 0..20 {
        let call = Call { max_stdout: 100_000, ..CALL };
        let ended = soon(&program(&["head", "-c", "60000", "/dev/zero"]), call).await.unwrap();
        assert_eq!(ended.stdout.bytes.len(), 60_000);
    }
}

#[tokio::test]
async fn children_left_behind_with_open_pipes_are_killed_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; echo done", file.display());
    assert_eq!(said(&script).await, "done\n");
    let child = pids(&file, 1).await[0];
    until(|| is_gone(child).then_some(())).await;
    // One that left the group is out of reach, but holds nothing up either.
    assert_eq!(said("setsid sleep 3 & echo done").await, "done\n");
    assert!(said("setsid timeout 3 yes & sleep 0.1; echo done").await.len() <= 4096);
}

#[tokio::test]
async fn children_left_behind_go_on_where_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let (go, done) = (folder.path().join("go"), folder.path().join("done"));
    let wait = format!("while ! [ -e {} ]; do sleep 0.01; done", go.display());
    let script = format!("({wait}; touch {}) & echo started", done.display());
    let call = Call { leftovers: Leftovers::Leave, ..CALL };
    let ended = soon(&shell(&script), call).await.unwrap();
    assert_eq!(ended.stdout.text(), "started\n");
    std::fs::write(go, "").unwrap();
    until(|| done.exists().then_some(())).await;
}

#[tokio::test]
async fn whoever_stops_waiting_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let pid = format!(">> {}", file.display());
    // Neither hears a polite signal; the child has the pipes as well.
    let stubborn = format!("trap '' TERM INT HUP; echo $$ {pid}; while :; do sleep 1; done");
    let script = format!("({}) & {stubborn}", stubborn.replace("$$", "$(sh -c 'echo $PPID')"));
    for leftovers in [Leftovers::Kill, Leftovers::Leave] {
        let _ = std::fs::remove_file(&file);
        let program = shell(&script);
        let found = tokio::select! {
            ended = run(&program, Call { leftovers, ..CALL }) => panic!("{ended:?}"),
            found = pids(&file, 2) => found,
        };
        for pid in found {
            until(|| is_gone(pid).then_some(())).await;
        }
    }
}

#[tokio::test]
async fn an_endless_speaker_is_killed_with_its_memory_bounded() {
    let call = Call { max_stdout: 100, ..CALL };
    let endless = program(&["yes"]);
    let waited = tokio::time::timeout(Duration::from_millis(300), run(&endless, call)).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn nothing_is_left_of_programs_that_ended() {
    let ours = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let children = tasks.filter_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children")).ok()?;
            Some(children.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        });
        children.flatten().filter(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.is_ok_and(|line| line.contains("watchbell-leftover"))
        })
    };
    for _ in 0..10 {
        let mut program = program(&["sh", "-c", "exec sleep $1", "watchbell-leftover"]);
        program.arguments.push("0".into());
        soon(&program, CALL).await.unwrap();
    }
    assert_eq!(ours().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    async fn check(program: &Program, why: &str) {
        let error = soon(program, CALL).await.expect_err("no start").to_string();
        assert_eq!(error, format!("cannot run {}: {why}", program.path().display()));
    }
    check(&program(&["watchbell-no-such-program"]), "there is no such program").await;
    check(&program(&["/nowhere/plugin"]), "there is no such program").await;
    check(&program(&["/etc/passwd"]), "permission denied").await;
    let gone = program(&["true"]).in_directory("/nowhere".into());
    check(&gone, "there is no folder /nowhere").await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/nowhere/python\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = program(&[&script.display().to_string()]);
    check(&script, "the interpreter that its first line names is not there").await;
}

#[test]
fn a_command_names_a_program() {
    let problem = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Program::new(words, Path::new("/base")).map(|program| program.path)
    };
    assert_eq!(problem(&["a"]), Ok("a".into()));
    assert_eq!(problem(&["./a"]), Ok("/base/./a".into()));
    assert_eq!(problem(&["/a", "b"]), Ok("/a".into()));
    for words in [&[][..], &[""]] {
        assert_eq!(problem(words), Err("is empty; it names a program and its arguments".into()));
    }
    assert!(problem(&["a", "b\0"]).is_err());
}

#[test]
fn debug_output_shows_neither_arguments_nor_variables() {
    let program = program(&["a", "hunter2"]).with_environment(vec![("B".into(), "hunter3".into())]);
    assert!(!format!("{program:?}").contains("hunter"));
}
