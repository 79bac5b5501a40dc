//! Running other programs: without a shell, bounded in what is kept of their words, and never
//! outliving whoever wanted them.

#[cfg(test)]
mod tests;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A program with its arguments, ready to be run again and again.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
}

impl Program {
    /// The program that the first of `words` names, with the others as its arguments. No shell
    /// looks at them.
    ///
    /// A bare name is looked up in `$PATH` when it is run; a path is relative to `base`.
    ///
    /// # Errors
    ///
    /// What is wrong with `words`, for people.
    pub fn new(words: Vec<String>, base: &Path) -> Result<Self, String> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err("holds a NUL character, which no program can be given".to_owned());
        }
        let mut words = words.into_iter();
        let path = match words.next() {
            Some(name) if name.contains('/') => base.join(name),
            Some(name) if !name.is_empty() => name.into(),
            _ => return Err("is empty; it names a program and its arguments".to_owned()),
        };
        let arguments = words.collect();
        Ok(Self { path, arguments, environment: Vec::new(), directory: None })
    }

    /// Runs it with these variables beside those of the daemon.
    #[must_use]
    pub fn with_environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment = variables;
        self
    }

    /// Runs it in this folder in the place of the daemon's own.
    #[must_use]
    pub fn in_directory(mut self, directory: PathBuf) -> Self {
        self.directory = Some(directory);
        self
    }

    /// The program without its arguments.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn command(&self, call: &Call<'_>) -> io::Result<Command> {
        let is_path = self.path.components().nth(1).is_some();
        // Relative to where the daemon stands, not to the folder that the program starts in.
        let path = if is_path { std::path::absolute(&self.path)? } else { self.path.clone() };
        let kept = |limit| if limit == 0 { Stdio::null() } else { Stdio::piped() };
        let mut command = Command::new(path);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(call.environment.iter().copied())
            .stdin(if call.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(kept(call.max_stdout))
            .stderr(kept(call.max_stderr))
            .process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(command)
    }

    /// Why it did not start, in words.
    fn explain(&self, error: &io::Error) -> CannotRun {
        let why = match (error.kind(), &self.directory) {
            (io::ErrorKind::NotFound, Some(folder)) if !folder.is_dir() => {
                format!("there is no folder {}", folder.display())
            }
            (io::ErrorKind::NotFound, _) if self.path.exists() => {
                "the interpreter that its first line names is not there".to_owned()
            }
            (io::ErrorKind::NotFound, _) => "there is no such program".to_owned(),
            (io::ErrorKind::PermissionDenied, _) => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        CannotRun { program: self.path.clone(), why, kind: error.kind() }
    }
}

impl fmt::Debug for Program {
    /// Leaves out arguments and variables: secrets may stand in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What one run of a program is given, and how much of what it says is kept.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it reads on its standard input; nothing if empty.
    pub stdin: &'a [u8],
    /// Variables for this run alone, beside those of the program.
    pub environment: &'a [(&'a str, &'a str)],
    /// How much of its standard output is kept, in bytes. What is beyond is read and thrown away,
    /// so that the program does not get stuck on a full pipe; for 0 it writes to `/dev/null`.
    pub max_stdout: usize,
    /// The same of its standard error.
    pub max_stderr: usize,
    /// What becomes of the processes that it leaves behind when it ends.
    pub leftovers: Leftovers,
}

/// What becomes of processes that a program started and did not wait for.
///
/// They count only as far as they stayed in its process group. One that left it, as daemons do, is
/// out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They are killed when the program ends by itself.
    Kill,
    /// They go on when the program ends by itself. Their output leads nowhere from then on.
    Leave,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status, or the signal that ended it.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
}

/// The start of what a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// As it came, whatever its encoding.
    pub bytes: Vec<u8>,
    /// Whether there was more than was to be kept.
    pub cut: bool,
}

impl Output {
    /// As text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}: {why}", .program.display())]
pub struct CannotRun {
    /// Which one.
    program: PathBuf,
    /// What is in the way, for people.
    why: String,
    /// What kind of trouble it is.
    pub kind: io::ErrorKind,
}

/// Runs a program and waits for its end.
///
/// The end is that of the program itself: a process that it left behind, with its pipes still
/// open, is not waited for. The program stands in a process group of its own. Whoever drops the
/// future, say at a timeout, kills that whole group at once (SIGKILL), so that neither a program
/// that ignores SIGTERM nor its children hold anything up.
///
/// # Errors
///
/// The program could not be started. However it ends, that is an [`Ended`].
pub async fn run(program: &Program, call: Call<'_>) -> Result<Ended, CannotRun> {
    run_started(program, call).await.map_err(|error| program.explain(&error))
}

async fn run_started(program: &Program, call: Call<'_>) -> io::Result<Ended> {
    // Listening from before the start, so that no end is missed.
    let mut ends = signal(SignalKind::child())?;
    let mut child = program.command(&call)?.spawn()?;
    let mut group = Group::of(&child);
    let stdin = child.stdin.take();
    let mut stdout = Gathered::of(child.stdout.take(), call.max_stdout);
    let mut stderr = Gathered::of(child.stderr.take(), call.max_stderr);
    let talk = async {
        tokio::join!(feed(stdin, call.stdin), stdout.gather(), stderr.gather());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = group.leader_ends(&mut ends) => ended?,
        () = talk => {}
    }
    // Nobody has fetched the exit status yet, so that its process id, and with it the name of the
    // group, cannot have gone to anybody else.
    if call.leftovers == Leftovers::Kill {
        group.kill();
    }
    let (stdout, stderr) = (stdout.finish(), stderr.finish());
    group.disarm();
    Ok(Ended { status: child.wait().await?, stdout, stderr })
}

/// A program that does not read its input may still do its work, so that a closed pipe is no error.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// A process group whose leader is our child and was not reaped yet.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Waits until the leader has ended, and leaves its exit status to be fetched.
    async fn leader_ends(&self, ends: &mut tokio::signal::unix::Signal) -> io::Result<()> {
        let Some(leader) = self.0 else { return Ok(()) };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(leader), look)?.is_none() {
            if ends.recv().await.is_none() {
                return Err(io::Error::other("the news of children that ended broke off"));
            }
        }
        Ok(())
    }

    /// Ends all of it at once.
    fn kill(&self) {
        if let Some(leader) = self.0 {
            // Either may be gone already; the leader may also have moved to another group.
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = kill_process(leader, Signal::KILL);
        }
    }

    /// Lets it be.
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How much is read at once, in bytes; as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// How long a program that says too much is made to wait after each piece, so that it costs
/// little of the processor.
const TOO_MUCH: Duration = Duration::from_millis(1);

/// What came out of a pipe so far.
struct Gathered<R> {
    pipe: Option<R>,
    most: usize,
    output: Output,
}

impl<R: AsyncRead + AsFd + Unpin> Gathered<R> {
    fn of(pipe: Option<R>, most: usize) -> Self {
        Self { pipe, most, output: Output::default() }
    }

    /// Reads until all that had the pipe open have closed it.
    async fn gather(&mut self) {
        let mut piece = Vec::with_capacity(PIECE.min(self.most.saturating_add(1)));
        while let Some(pipe) = &mut self.pipe {
            piece.clear();
            match pipe.read_buf(&mut piece).await {
                Ok(1..) => self.output.keep(&piece, self.most),
                Ok(0) | Err(_) => self.pipe = None,
            }
            if self.output.cut {
                piece.reserve(PIECE);
                tokio::time::sleep(TOO_MUCH).await;
            }
        }
    }

    /// What there is once the program has ended: all that it wrote stands in the pipe by now, and
    /// a process that it left behind is not waited for.
    fn finish(mut self) -> Output {
        let Some(pipe) = self.pipe else { return self.output };
        let mut piece = vec![0; PIECE];
        while !self.output.cut {
            // The pipe does not block, so that an empty one is an error.
            match rustix::io::read(&pipe, &mut piece) {
                Ok(read @ 1..) => self.output.keep(piece.get(..read).unwrap_or(&[]), self.most),
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.output
    }
}

impl Output {
    fn keep(&mut self, piece: &[u8], most: usize) {
        let room = most.saturating_sub(self.bytes.len());
        self.cut |= piece.len() > room;
        self.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}
