use crate::model::Status;
use std::collections::{HashMap, VecDeque};

/// How many results are kept of a check.
const KEPT: usize = 60;

/// One check on the screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) status: Status,
    pub(super) latency_ms: Option<f64>,
    pub(super) since: String,
    pub(super) last_run: String,
    pub(super) reasons: String,
    pub(super) paused: bool,
    pub(super) incident: Option<String>,
}

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Top {
    /// The worst first.
    rows: Vec<Row>,
    /// The latest results, the oldest first, of those that were seen.
    results: HashMap<String, VecDeque<Status>>,
    /// The name of the check that is chosen, so that it stays chosen where the order changes.
    chosen: Option<String>,
    first: usize,
    height: usize,
    wanted: Option<String>,
    searching: bool,
    said: String,
    lost: Option<String>,
}

impl Top {
    /// Takes the list as it is now.
    pub(super) fn take(&mut self, mut rows: Vec<Row>) {
        self.lost = None;
        for row in &rows {
            let before = self.rows.iter().find(|before| before.name == row.name);
            let ran = before.is_some_and(|before| before.last_run != row.last_run);
            if let Some(results) = self.results.get_mut(&row.name).filter(|_| ran) {
                results.push_back(row.status);
                if results.len() > KEPT {
                    results.pop_front();
                }
            }
        }
        self.results.retain(|name, _| rows.iter().any(|row| row.name == *name));
        rows.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then_with(|| a.name.cmp(&b.name)));
        self.rows = rows;
    }

    /// The checks that fit what is searched, the worst first.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        let wanted = self.wanted.as_deref().unwrap_or("").to_lowercase();
        self.rows.iter().filter(move |row| {
            let has = |text: &str| text.to_lowercase().contains(&wanted);
            has(&row.name) || has(&row.kind) || has(row.status.as_str()) || has(&row.reasons)
        })
    }

    /// Those of them that are on the screen, and which of these is chosen.
    pub(super) fn seen(&self) -> (Vec<&Row>, Option<usize>) {
        let rows: Vec<&Row> = self.rows().skip(self.first).take(self.height.max(1)).collect();
        let chosen = self.chosen().map(|row| &row.name);
        let place = rows.iter().position(|row| Some(&row.name) == chosen);
        (rows, place)
    }

    /// The check that is chosen; the first one if nobody chose.
    pub(super) fn chosen(&self) -> Option<&Row> {
        let chosen = self.chosen.as_ref();
        self.rows().find(|row| Some(&row.name) == chosen).or_else(|| self.rows().next())
    }

    /// Chooses another one, so many further down.
    pub(super) fn move_by(&mut self, count: isize) {
        let names: Vec<String> = self.rows().map(|row| row.name.clone()).collect();
        let chosen = self.chosen().map(|row| row.name.clone());
        let now = names.iter().position(|name| Some(name) == chosen.as_ref()).unwrap_or(0);
        let next = now.saturating_add_signed(count).min(names.len().saturating_sub(1));
        self.chosen = names.into_iter().nth(next);
        self.first = self.first.clamp((next + 1).saturating_sub(self.height.max(1)), next);
    }

    /// How many rows fit the screen.
    pub(super) fn set_height(&mut self, height: usize) {
        self.height = height;
    }

    /// The names of those on the screen whose results are not known.
    pub(super) fn without_results(&self) -> Vec<String> {
        let (rows, _) = self.seen();
        let unknown = rows.into_iter().filter(|row| !self.results.contains_key(&row.name));
        unknown.map(|row| row.name.clone()).collect()
    }

    /// The results of a check, the oldest first.
    pub(super) fn take_results(&mut self, name: &str, results: Vec<Status>) {
        self.results.insert(name.to_owned(), results.into());
    }

    /// The latest results of a check, the oldest first.
    pub(super) fn results(&self, name: &str) -> impl DoubleEndedIterator<Item = Status> {
        self.results.get(name).into_iter().flatten().copied()
    }

    pub(super) fn say(&mut self, words: String) {
        self.said = words;
    }

    /// The daemon did not answer, for this reason.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// What the last line says, and whether it is bad news.
    pub(super) fn said(&self) -> (&str, bool) {
        self.lost.as_deref().map_or((self.said.as_str(), false), |lost| (lost, true))
    }

    /// What is searched, and whether it is being typed.
    pub(super) fn searched(&self) -> (Option<&str>, bool) {
        (self.wanted.as_deref(), self.searching)
    }

    pub(super) fn is_searching(&self) -> bool {
        self.searching
    }

    /// Begins a search, or ends it for good.
    pub(super) fn search(&mut self, wanted: Option<String>) {
        self.searching = wanted.is_some();
        self.wanted = wanted;
        self.first = 0;
    }

    /// Keeps what was searched.
    pub(super) fn end_search(&mut self) {
        self.searching = false;
    }

    pub(super) fn search_more(&mut self, c: char) {
        self.wanted.get_or_insert_default().push(c);
        self.first = 0;
    }

    pub(super) fn search_less(&mut self) {
        self.wanted.get_or_insert_default().pop();
        self.first = 0;
    }
}

/// Less comes first.
fn urgency(row: &Row) -> (u8, bool) {
    let rank = match row.status {
        _ if row.paused => 4,
        Status::Down => 0,
        Status::Degraded => 1,
        Status::Unknown => 2,
        Status::Up => 3,
    };
    (rank, row.incident.is_none())
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Row, Top};
    use crate::model::Status;

    pub fn row(name: &str, status: Status, last_run: &str) -> Row {
        Row {
            name: name.to_owned(),
            kind: "http".to_owned(),
            status,
            latency_ms: Some(12.34),
            since: "2031-05-01T08:00:00.000Z".to_owned(),
            last_run: last_run.to_owned(),
            reasons: if status.is_bad() { "status is 503".to_owned() } else { String::new() },
            paused: false,
            incident: None,
        }
    }

    fn names(top: &Top) -> Vec<&str> {
        top.rows().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn the_worst_stands_first_and_a_choice_stays_where_the_order_changes() {
        let mut top = Top::default();
        top.set_height(2);
        top.take(vec![
            row("a", Status::Up, "1"),
            row("b", Status::Down, "1"),
            row("c", Status::Up, "1"),
        ]);
        assert_eq!(names(&top), ["b", "a", "c"]);
        top.move_by(2);
        assert_eq!(top.chosen().unwrap().name, "c");
        assert_eq!(top.seen().0[0].name, "a", "the list has moved");
        top.take(vec![row("a", Status::Up, "1"), row("c", Status::Down, "2")]);
        assert_eq!((names(&top), &*top.chosen().unwrap().name), (vec!["c", "a"], "c"));
        top.move_by(isize::MAX);
        assert_eq!(top.chosen().unwrap().name, "a");
        top.move_by(isize::MIN);
        assert_eq!(top.chosen().unwrap().name, "c");
    }

    #[test]
    fn each_run_adds_one_result() {
        let mut top = Top::default();
        top.set_height(9);
        top.take(vec![row("a", Status::Up, "1")]);
        assert_eq!(top.without_results(), ["a"]);
        top.take_results("a", vec![Status::Up]);
        top.take(vec![row("a", Status::Up, "1")]);
        top.take(vec![row("a", Status::Down, "2")]);
        assert_eq!(top.results("a").collect::<Vec<_>>(), [Status::Up, Status::Down]);
        assert!(top.without_results().is_empty());
    }

    #[test]
    fn a_search_narrows_the_list() {
        let mut top = Top::default();
        top.set_height(9);
        top.take(vec![row("shop", Status::Up, "1"), row("core", Status::Down, "1")]);
        top.search(Some(String::new()));
        "SH".chars().for_each(|c| top.search_more(c));
        assert_eq!(names(&top), ["shop"]);
        top.search_less();
        top.search_less();
        "down".chars().for_each(|c| top.search_more(c));
        assert_eq!(names(&top), ["core"]);
        top.search(None);
        assert_eq!(names(&top).len(), 2);
    }
}
