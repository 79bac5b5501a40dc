use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

/// A child process whose output goes to a file, and which ends with its owner.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// What asks it to end at once.
    ending: Signal,
}

impl Process {
    /// Starts `command`. Its output is appended to `log`, and shown if the test fails.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start {name} ({:?}): {error}. `scripts/test` finds or installs it.",
                    command.get_program()
                )
            });
        Self { name: name.to_owned(), child, log: log.to_owned(), ending: Signal::KILL }
    }

    /// The same, ended by another signal than SIGKILL when it is dropped.
    pub fn ended_by(mut self, ending: Signal) -> Self {
        self.ending = ending;
        self
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Stops it and all its descendants in their tracks: connections are taken by the kernel and
    /// never answered.
    pub fn stall(&self) {
        for id in family(self.child.id()) {
            send(id, Signal::STOP);
        }
    }

    /// Lets it go on after [`Process::stall`].
    pub fn resume(&self) {
        for id in family(self.child.id()) {
            send(id, Signal::CONT);
        }
    }

    /// The process ids of its descendants.
    pub fn children(&self) -> Vec<u32> {
        family(self.child.id()).split_off(1)
    }

    /// Its exit status once it has one, waiting up to `within`.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if start.elapsed() > within {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, without a chance to tidy up if it is slow.
    pub fn end(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        self.resume();
        self.signal(self.ending);
        if self.wait(Duration::from_secs(5)).is_none() {
            self.signal(Signal::KILL);
            self.child.wait().ok();
        }
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// The process of a server that a story may end and start again.
#[derive(Debug, Default)]
pub struct Service(Option<Process>);

impl Service {
    /// Goes on with `process`.
    pub fn run(&mut self, process: Process) {
        self.0 = Some(process);
    }

    /// The process, which must be there.
    pub fn process(&self) -> &Process {
        self.0.as_ref().expect("a server that was started")
    }

    /// Ends it, with all its connections.
    pub fn stop(&mut self) {
        self.0 = None;
    }

    /// Lets it take connections and never answer.
    pub fn stall(&self) {
        self.process().stall();
    }

    /// Undoes [`Service::stall`].
    pub fn resume(&self) {
        self.process().resume();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let from = lines.len().saturating_sub(60);
            eprintln!("---- {} ----\n{}", self.name, lines[from..].join("\n"));
        }
    }
}

pub(super) fn send(id: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).ok();
}

fn family(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    all
}
