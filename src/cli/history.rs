use super::output::{status_of, text};
use super::progress::{Bar, bytes};
use super::remote::{Remote, RemoteArgs, segment};
use super::{Exit, output, runtime};
use crate::clock::{Clock as _, System};
use crate::config::parse_duration;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The check
    #[arg(value_name = "NAME")]
    name: String,
    /// How many results at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write all results, the newest first
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["limit", "json"])]
    export: Option<Format>,
    /// Export those from then on: a time (2031-05-01T08:00:00Z), or so long ago (7d)
    #[arg(long, value_name = "TIME", requires = "export", value_parser = when)]
    from: Option<String>,
    /// Export those from before then
    #[arg(long, value_name = "TIME", requires = "export", value_parser = when)]
    to: Option<String>,
    /// The file that the export goes into; standard output if not given
    #[arg(long, short, value_name = "FILE", requires = "export")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table, for spreadsheets
    Csv,
    /// A JSON object a line
    Jsonl,
}

/// Reads a time, or a span that goes back from now.
fn when(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Ok(span) => Ok(System::start().wall().before(span).to_string()),
        Err(_) => super::remote::time(text)
            .map_err(|_| "a time is 2031-05-01T08:00:00Z, or 7d for so long ago".to_owned()),
    }
}

pub fn run(args: &HistoryArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    if let Some(format) = args.export {
        return runtime()?.block_on(export(&remote, args, format));
    }
    let path = format!("/api/v1/checks/{}/results", segment(&args.name));
    let results = runtime()?.block_on(remote.first(&path, &[], args.limit))?;
    if args.json {
        output::json(&results)?;
        return Ok(Exit::Fine);
    }
    if results.is_empty() {
        output::line(&format!("{} has not run yet", args.name));
        return Ok(Exit::Fine);
    }
    let mut table = output::table(&["AT", "STATUS", "LATENCY", "REASONS"]);
    for result in &results {
        let latency = result["latency_ms"].as_f64().unwrap_or_default();
        table.add_row([
            text(&result["at"]).into(),
            output::status(status_of(result)),
            format!("{latency:.1} ms").into(),
            text(&result["reasons"]).into(),
        ]);
    }
    output::print(&table);
    Ok(Exit::Fine)
}

async fn export(remote: &Remote, args: &HistoryArgs, format: Format) -> anyhow::Result<Exit> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let format = match format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
    };
    query.append_pair("format", format);
    for (key, time) in [("from", &args.from), ("to", &args.to)] {
        if let Some(time) = time {
            query.append_pair(key, time);
        }
    }
    let name = segment(&args.name);
    let mut answer =
        remote.stream(&format!("/api/v1/checks/{name}/export?{}", query.finish())).await?;
    let mut target = Target::open(args.output.as_deref())?;
    let written = match pour(&mut answer, &mut target).await {
        Ok(written) => written,
        Err(error) => {
            target.give_up();
            return Err(error);
        }
    };
    target.finish()?;
    if let Some(file) = &args.output {
        output::note(&format!("{} written to {}", bytes(written), file.display()));
    }
    Ok(Exit::Fine)
}

/// Writes all of the answer. Gives how many bytes that is.
async fn pour(answer: &mut reqwest::Response, target: &mut Target) -> anyhow::Result<u64> {
    let bar = Bar::new(matches!(target, Target::File { .. }));
    bar.begin("bytes", 0);
    let mut written = 0;
    while let Some(piece) = answer.chunk().await.context("the export broke off")? {
        if !target.write(&piece)? {
            // Whoever read, such as `head`, has enough.
            return Ok(written);
        }
        written += piece.len() as u64;
        bar.set(written);
    }
    Ok(written)
}

/// Where an export goes. A file gets its name once all of it is there: half of a history looks like a
/// whole one.
enum Target {
    Printed(io::Stdout),
    File { file: io::BufWriter<File>, draft: PathBuf, path: PathBuf },
}

impl Target {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Printed(io::stdout())) };
        if path.is_dir() {
            bail!("{} is a folder; name a file in it", path.display());
        }
        let mut draft = OsString::from(path);
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file = File::create(&draft);
        let file = file.with_context(|| format!("{} cannot be written", draft.display()))?;
        Ok(Self::File { file: io::BufWriter::new(file), draft, path: path.to_owned() })
    }

    /// Gives whether anybody wants more.
    fn write(&mut self, piece: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::Printed(out) => match out.write_all(piece) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(error) => Err(error.into()),
            },
            Self::File { file, path, .. } => {
                let wrote = file.write_all(piece);
                wrote.with_context(|| format!("{} cannot be written", path.display()))?;
                Ok(true)
            }
        }
    }

    /// Leaves nothing behind.
    fn give_up(self) {
        if let Self::File { draft, .. } = self {
            // What is wrong has been said.
            let _ = std::fs::remove_file(draft);
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Printed(mut out) => match out.flush() {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(()),
            },
            Self::File { mut file, draft, path } => {
                let failed = || format!("{} cannot be written", path.display());
                file.flush().with_context(failed)?;
                std::fs::rename(&draft, &path).with_context(failed)
            }
        }
    }
}
