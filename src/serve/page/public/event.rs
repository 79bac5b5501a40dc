//! An event of the public page in words.

use super::super::when::Instant;
use super::picture::{Event, Sort, Update};
use crate::model::Timestamp;
use serde::Serialize;

/// An event as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct EventView {
    id: String,
    title: String,
    stage: String,
    tone: &'static str,
    is_over: bool,
    is_ahead: bool,
    starts: Instant,
    ends: Option<Instant>,
    components: Vec<String>,
    updates: Vec<UpdateView>,
}

#[derive(Debug, Serialize)]
struct UpdateView {
    at: Instant,
    stage: String,
    paragraphs: Vec<String>,
}

impl EventView {
    pub(super) fn new(event: &Event, now: Timestamp) -> Self {
        let tone = match (event.is_over, event.sort, event.impact) {
            (true, ..) => "over",
            (false, Sort::Work, _) => "maintenance",
            (false, Sort::News, _) => "info",
            (false, Sort::Trouble, "major" | "critical") => "down",
            (false, Sort::Trouble, "none") => "unknown",
            (false, Sort::Trouble, _) => "degraded",
        };
        let update = |update: &Update| UpdateView {
            at: Instant::new(update.at, now),
            stage: stage_words(update.stage),
            paragraphs: paragraphs(&update.body),
        };
        // Maintenance that the configuration plans has nothing to tell but its times.
        let updates = event.updates.iter().rev().map(update).collect();
        Self {
            id: event.id.clone(),
            title: event.title.clone(),
            stage: stage_words(event.stage),
            tone,
            is_over: event.is_over,
            is_ahead: event.starts_at > now,
            starts: Instant::new(event.starts_at, now),
            ends: event.ends_at.map(|at| Instant::new(at, now)),
            components: event.components.iter().map(|(_, name)| name.clone()).collect(),
            updates,
        }
    }
}

/// Where an event stands, for people.
pub(super) fn stage_words(stage: &str) -> String {
    let words = stage.replace('_', " ");
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

/// The paragraphs of a plain text, which empty lines part.
pub(super) fn paragraphs(body: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in body.lines() {
        match (line.trim().is_empty(), all.last_mut()) {
            (true, _) => all.push(String::new()),
            (false, Some(last)) => {
                if !last.is_empty() {
                    last.push('\n');
                }
                last.push_str(line);
            }
            (false, None) => {}
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::{paragraphs, stage_words};

    #[test]
    fn empty_lines_part_paragraphs() {
        assert_eq!(paragraphs("a\nb\n\n \nc"), ["a\nb", "c"]);
        assert_eq!(paragraphs(""), [""; 0]);
        assert_eq!(stage_words("in_progress"), "In progress");
    }
}
