use crate::model::{Secret, did_you_mean};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration file that was read, for turning byte offsets into lines and columns.
pub struct SourceFile {
    /// Where it was read from, as people know it.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// Without the text, in which secrets may stand.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SourceFile {
    /// A file that was not read from a disk: an example that is compiled in, or a test's.
    pub fn in_memory(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self { path: name.into(), text: text.to_owned() })
    }

    /// Line and column (both from 1, the column in characters) of a byte offset.
    fn position(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// One thing that is wrong with the configuration, with its place and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the start.
    pub level: Level,
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1; none if the file itself is the problem.
    pub position: Option<(usize, usize)>,
    /// The key, such as `check.http.url`; empty where no key is to blame.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if self.level == Level::Warning {
            f.write_str(" warning:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All that is wrong, gathered while loading, and from which files.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    files: BTreeSet<PathBuf>,
    /// What stood in the place of `${…}`.
    secrets: BTreeSet<Secret>,
}

/// A value that is shorter than this is taken for a word, such as `10s` or `prod`.
const SECRET_LENGTH: usize = 6;

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Adds one about a whole file.
    pub fn file(&mut self, path: &Path, message: impl Into<String>, hint: Option<&str>) {
        self.push(Problem {
            level: Level::Error,
            path: path.to_owned(),
            position: None,
            key: String::new(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        });
    }

    /// Adds a warning about a whole file or folder.
    pub fn file_warning(&mut self, path: &Path, message: &str, hint: &str) {
        self.file(path, message, Some(hint));
        if let Some(last) = self.found.last_mut() {
            last.level = Level::Warning;
        }
    }

    /// Says that a file or folder bears on the configuration, whether it can be read or not.
    pub fn reads(&mut self, path: &Path) {
        self.files.insert(path.to_owned());
    }

    /// The files and folders that bear on the configuration.
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// Says that a value came from the environment or a file: no problem quotes it, wherever it stands.
    pub fn hides(&mut self, value: &str) {
        if value.len() >= SECRET_LENGTH {
            self.secrets.insert(Secret::new(value));
        }
    }

    /// Takes in what another reader found.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.found.extend(other.sorted());
    }

    /// Whether any of them stops the start.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.level == Level::Error)
    }

    /// All, in the order of files and lines.
    pub fn sorted(mut self) -> Vec<Problem> {
        self.found.sort_by(|a, b| (&a.path, a.position).cmp(&(&b.path, b.position)));
        for problem in &mut self.found {
            for secret in &self.secrets {
                problem.message = secret.redact(&problem.message);
                problem.hint = problem.hint.take().map(|hint| secret.redact(&hint));
            }
        }
        self.found
    }
}

/// A place in a file, which outlives the parse so that later stages can point at it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where in it, in bytes.
    pub span: Range<usize>,
    /// The key that stands there.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.position(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.path.display())
    }
}

impl Place {
    /// An error at this place.
    pub fn error(&self, message: impl Into<String>) -> Problem {
        Problem {
            level: Level::Error,
            path: self.file.path.clone(),
            position: Some(self.file.position(self.span.start)),
            key: self.key.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at this place.
    pub fn warning(&self, message: impl Into<String>) -> Problem {
        Problem { level: Level::Warning, ..self.error(message) }
    }
}

impl Problem {
    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the nearest of `candidates` to `wrong` as the hint, if one is near.
    #[must_use]
    pub fn did_you_mean<'a>(
        mut self,
        wrong: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.hint = did_you_mean(wrong, candidates).or(self.hint);
        self
    }
}
