use serde_json::{Value as Json, json};

/// How bad something is that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The daemon works, but not as well as it could, or not for long.
    Warning,
    /// The daemon cannot do its work.
    Problem,
}

impl Level {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it belongs to, such as `permissions`.
    pub topic: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was seen.
    pub what: String,
    /// What to do: commands, or lines of a file.
    pub fixes: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(topic: &'static str, what: impl Into<String>) -> Self {
        Self { topic, level: Level::Ok, what: what.into(), fixes: Vec::new() }
    }

    /// Not as well as it could be.
    pub fn warning(topic: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(topic, what) }
    }

    /// What keeps the daemon from its work.
    pub fn problem(topic: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::ok(topic, what) }
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }

    /// For programs.
    pub fn to_json(&self) -> Json {
        json!({
            "topic": self.topic,
            "level": self.level.as_str(),
            "what": self.what,
            "fix": self.fixes,
        })
    }
}
