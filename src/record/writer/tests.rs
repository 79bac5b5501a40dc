use super::inbox::{MAX_BATCH, MAX_WAITING, describe, split};
use super::{Committed, StoreHealth, Writer, spawn};
use crate::clock::Manual;
use crate::model::{Announcement, Incident, Name, Notice, NoticeState, RunResult, Timestamp};
use crate::record::archive::rollup::{Level, Rollups};
use crate::record::contract::{at, incident, notice, result, silence, state};
use crate::record::{
    Batch, Days, IncidentFilter, NoticeFilter, Pace, Page, Paged, Part, Saved, Sealing, Store,
    StoreError,
};
use async_trait::async_trait;
use chrono_tz::Tz;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Fine,
    Full,
    Hanging,
    /// Refuses whatever has to do with the check `odd`.
    Picky,
    /// Cannot write to the pages of checks and of a silence whose name is odd.
    Damaged,
}

/// A store that notes what it was given.
#[derive(Debug)]
struct Moody {
    mood: Mutex<Mood>,
    written: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Store for Moody {
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Fine => {}
            Mood::Full => return Err(sqlx::Error::Io(std::io::Error::other("disk full")).into()),
            Mood::Hanging => std::future::pending().await,
            Mood::Picky => {
                let odd = batch.results.iter().any(|it| &*it.check == "odd")
                    || batch.silences.iter().any(|it| it.id == "odd");
                if odd {
                    return Err(sqlx::Error::Encode("odd".into()).into());
                }
            }
            Mood::Damaged => {
                let odd = batch.results.iter().any(|it| it.check.starts_with("odd"))
                    || batch.silences.iter().any(|it| it.id == "odd");
                if odd {
                    let (place, why) = ("a page".to_owned(), "malformed".to_owned());
                    return Err(StoreError::Unreadable { place, why });
                }
            }
        }
        self.written.lock().unwrap().push(batch.clone());
        Ok(())
    }
    async fn load(&self, _: Timestamp) -> Result<Saved, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn results(&self, _: &str, _: &Page) -> Result<Paged<RunResult>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn incidents(&self, _: &IncidentFilter, _: &Page) -> Result<Paged<Incident>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn incident(&self, _: &str) -> Result<Option<Incident>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn notices(&self, _: &NoticeFilter, _: &Page) -> Result<Paged<Notice>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn notice(&self, _: &str) -> Result<Option<Notice>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_results(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn seal(&self, _: &Sealing, _: Timestamp) -> Result<Pace, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn rollups(&self, _: &str, _: &[Part], _: Tz) -> Result<Vec<Rollups>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn days(&self, _: (Timestamp, Timestamp)) -> Result<Days, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_blocks(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_rollups(&self, _: Level, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_incidents(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn announcements(&self) -> Result<Vec<Announcement>, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn put_announcement(&self, _: &Announcement) -> Result<(), StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_announcement(&self, _: &str) -> Result<bool, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn forget_silences(&self, _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("a writer only commits")
    }
    async fn close(&self) {}

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!("a writer only commits")
    }
}

struct Bench {
    store: Arc<Moody>,
    writer: Writer,
    task: JoinHandle<()>,
    announced: Arc<Mutex<Vec<String>>>,
    health: watch::Receiver<StoreHealth>,
}

impl Bench {
    fn new(mood: Mood) -> Self {
        let store = Arc::new(Moody { mood: Mutex::new(mood), written: Mutex::new(Vec::new()) });
        let announced = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&announced);
        let (sender, health) = watch::channel(StoreHealth::Ok);
        let (writer, task) = spawn(
            Arc::<Moody>::clone(&store),
            Arc::new(Manual::at(at(0))),
            Box::new(move |notices| {
                heard.lock().unwrap().extend(notices.into_iter().map(|it| it.id));
            }),
            sender,
        );
        Self { store, writer, task, announced, health }
    }

    fn mood(&self, mood: Mood) {
        *self.store.mood.lock().unwrap() = mood;
    }

    fn record(&self, check: &str, seconds: i64) {
        self.writer.record(result(check, seconds), Some((Name::from(check), state(seconds))));
    }

    /// Everything that was written, in order.
    fn written(&self) -> Batch {
        let mut all = Batch::default();
        for batch in self.store.written.lock().unwrap().iter() {
            all.append(batch.clone());
        }
        all
    }

    fn announced(&self) -> Vec<String> {
        self.announced.lock().unwrap().clone()
    }

    /// The times of all results that were written, in seconds.
    fn times(&self) -> Vec<i64> {
        self.written().results.iter().map(|it| it.at.since(at(0)).as_secs() as i64).collect()
    }
}

fn owing(id: &str) -> Batch {
    let about = incident("i", "a", 1, None);
    let notices = vec![notice(id, std::slice::from_ref(&about), NoticeState::Pending, 1)];
    Batch { incidents: vec![about], notices, ..Batch::default() }
}

#[tokio::test(start_paused = true)]
async fn ordinary_results_are_written_together_within_a_second() {
    let bench = Bench::new(Mood::Fine);
    bench.record("a", 1);
    sleep(Duration::from_millis(300)).await;
    bench.record("b", 2);
    bench.record("a", 3);
    assert!(bench.written().is_empty());
    sleep(Duration::from_millis(700)).await;
    assert_eq!(bench.times(), [1, 2, 3]);
    assert_eq!(bench.store.written.lock().unwrap().len(), 1);
    // Only the latest state of a check is worth a write.
    let mut states = bench.written().states;
    states.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states, [(Name::from("a"), state(3)), (Name::from("b"), state(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_nothing_and_takes_along_what_came_before() {
    let bench = Bench::new(Mood::Fine);
    bench.record("a", 1);
    let outcome = bench.writer.commit(owing("n1"), true);
    let second = bench.writer.commit(owing("n2"), true);
    assert_eq!(bench.announced(), [""; 0]);
    assert_eq!((second.await, outcome.await), (Committed::Durable, Committed::Durable));
    assert_eq!(bench.announced(), ["n1", "n2"]);
    let first = bench.store.written.lock().unwrap()[0].clone();
    assert_eq!((first.results.len(), first.notices.len()), (1, 2));
    // The futures need not be polled.
    drop(bench.writer.commit(owing("n3"), false));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.written().notices.len(), 3);
    assert_eq!(bench.announced(), ["n1", "n2"]);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_notices_go_out_and_wait_to_be_written() {
    let mut bench = Bench::new(Mood::Full);
    assert_eq!(bench.writer.commit(owing("n1"), true).await, Committed::Waiting);
    assert_eq!(bench.announced(), ["n1"]);
    bench.health.changed().await.unwrap();
    assert_eq!(bench.writer.commit(owing("n2"), true).await, Committed::Waiting);
    let mut sent = owing("n1");
    sent.notices[0].state = NoticeState::Sent;
    assert_eq!(bench.writer.commit(sent, false).await, Committed::Waiting);
    assert_eq!(bench.announced(), ["n1", "n2"]);
    bench.record("a", 1);
    sleep(Duration::from_secs(5)).await;
    let health = bench.health.borrow_and_update().clone();
    let StoreHealth::Failing { since, why, waiting_results: 1, dropped_results: 0 } = health else {
        panic!("{health:?}")
    };
    assert_eq!(
        (since, &*why),
        (at(0), "the store failed: error communicating with database: disk full")
    );

    bench.mood(Mood::Fine);
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(*bench.health.borrow(), StoreHealth::Ok);
    let written = bench.written();
    let states: Vec<_> = written.notices.iter().map(|it| (&*it.id, it.state)).collect();
    assert_eq!(states, [("n1", NoticeState::Sent), ("n2", NoticeState::Pending)]);
    assert_eq!((written.results.len(), written.states.len()), (1, 1));
    assert_eq!(bench.announced(), ["n1", "n2"], "each only once");
    assert_eq!(bench.writer.commit(owing("n4"), true).await, Committed::Durable);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_counts_as_failing_and_delays_later_notices_no_more() {
    let bench = Bench::new(Mood::Hanging);
    assert_eq!(bench.writer.commit(owing("n1"), true).await, Committed::Waiting);
    sleep(Duration::from_millis(1500)).await;
    // By now the next attempt hangs; that is no reason to keep anybody waiting.
    let quick =
        tokio::time::timeout(Duration::from_millis(10), bench.writer.commit(owing("n2"), true));
    assert_eq!(quick.await, Ok(Committed::Waiting));
    assert_eq!(bench.announced(), ["n1", "n2"]);
    let StoreHealth::Failing { why, .. } = bench.health.borrow().clone() else { panic!() };
    assert_eq!(why, "the store did not answer within 5 s");
    bench.mood(Mood::Fine);
    sleep(Duration::from_secs(7)).await;
    assert_eq!(bench.written().notices.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn results_that_wait_are_bounded_and_those_that_are_lost_are_counted() {
    let bench = Bench::new(Mood::Full);
    let total = MAX_WAITING as i64 + 50;
    for n in 0..total {
        bench.record(if n % 2 == 0 { "a" } else { "b" }, n);
        if n % 1000 == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.writer.dropped(), 50);
    let health = bench.health.borrow().clone();
    assert!(
        matches!(
            health,
            StoreHealth::Failing { waiting_results: MAX_WAITING, dropped_results: 50, .. }
        ),
        "{health:?}"
    );
    bench.mood(Mood::Fine);
    let outcome = bench.writer.commit(owing("n1"), true);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(outcome.await, Committed::Waiting);
    assert_eq!(bench.times(), (50..total).collect::<Vec<_>>(), "the newest, in order");
    let batches = bench.store.written.lock().unwrap().clone();
    assert!(batches.iter().all(|batch| batch.results.len() <= MAX_BATCH));
    assert_eq!(batches[0].notices.len(), 1, "notices do not wait for a backlog of results");
    assert_eq!(batches.iter().map(|batch| batch.states.len()).sum::<usize>(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_the_store_refuses_does_not_hold_up_the_others() {
    let bench = Bench::new(Mood::Picky);
    for n in 0..100 {
        bench.record(if n == 37 { "odd" } else { "a" }, n);
    }
    assert_eq!(bench.writer.commit(owing("n1"), true).await, Committed::Durable);
    assert_eq!(bench.times(), (0..100).filter(|n| *n != 37).collect::<Vec<_>>());
    assert_eq!(bench.writer.dropped(), 1);
    assert_eq!(bench.written().notices.len(), 1);
    assert_eq!(*bench.health.borrow(), StoreHealth::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_written_once_in_its_latest_form_also_after_the_store_was_away() {
    let bench = Bench::new(Mood::Full);
    let set = |ids: &[&str], ends| Batch {
        silences: ids.iter().map(|id| silence(id, 0, ends)).collect(),
        ..Batch::default()
    };
    assert_eq!(bench.writer.commit(set(&["s1", "s2"], 60), false).await, Committed::Waiting);
    assert_eq!(bench.writer.commit(set(&["s1"], 30), false).await, Committed::Waiting);
    bench.mood(Mood::Fine);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.written().silences, [silence("s1", 0, 30), silence("s2", 0, 60)]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_the_store_refuses_goes_alone() {
    let bench = Bench::new(Mood::Picky);
    let silences = ["a", "odd", "z"].map(|id| silence(id, 0, 60)).to_vec();
    let batch = Batch { silences, ..owing("n1") };
    assert_eq!(bench.writer.commit(batch, true).await, Committed::Durable);
    let written = bench.written();
    let ids: Vec<&str> = written.silences.iter().map(|it| &*it.id).collect();
    assert_eq!((ids, written.notices.len(), written.incidents.len()), (vec!["a", "z"], 1, 1));

    let alone = Batch { silences: vec![silence("odd", 0, 60)], ..Batch::default() };
    assert_eq!(describe(&alone), "silence odd");
    assert_eq!(split(alone).unwrap_err().silences.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn damage_where_one_check_is_written_holds_up_no_other_and_is_told() {
    let mut bench = Bench::new(Mood::Damaged);
    for n in 0..400 {
        bench.record(["a", "odd", "b", "c"][usize::try_from(n % 4).unwrap()], n);
    }
    assert_eq!(bench.writer.commit(owing("n1"), true).await, Committed::Durable);
    assert_eq!(bench.announced(), ["n1"]);
    let written = bench.written();
    assert_eq!((written.results.len(), written.notices.len(), written.states.len()), (300, 1, 4));
    assert_eq!(bench.writer.dropped(), 100);
    let health = bench.health.borrow_and_update().clone();
    let StoreHealth::Failing { why, dropped_results: 100, .. } = health else {
        panic!("{health:?}")
    };
    assert!(why.starts_with("it is damaged (the store holds something unreadable"), "{why}");
    // While nothing is written there, the damage is not over.
    bench.record("a", 1000);
    assert_eq!(bench.writer.commit(owing("n2"), true).await, Committed::Durable);
    assert!(matches!(*bench.health.borrow(), StoreHealth::Failing { .. }));
}

#[tokio::test(start_paused = true)]
async fn damage_where_all_results_are_written_lets_states_and_notices_through() {
    let bench = Bench::new(Mood::Damaged);
    for n in 0..5000 {
        bench.record(&format!("odd-{}", n % 50), n);
    }
    assert_eq!(bench.writer.commit(owing("n1"), true).await, Committed::Waiting);
    let written = bench.written();
    assert_eq!((written.results.len(), written.notices.len(), written.states.len()), (0, 1, 50));
    let health = bench.health.borrow().clone();
    assert!(matches!(health, StoreHealth::Failing { waiting_results: 5000, .. }), "{health:?}");
    assert_eq!(bench.writer.dropped(), 0);
    bench.mood(Mood::Fine);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.times().len(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_a_damaged_store_does_not_take_waits_alone() {
    let bench = Bench::new(Mood::Damaged);
    let silences = vec![silence("odd", 0, 60), silence("fine", 0, 60)];
    bench.record("a", 1);
    let batch = Batch { silences, ..owing("n1") };
    assert_eq!(bench.writer.commit(batch, true).await, Committed::Waiting);
    let written = bench.written();
    assert_eq!((written.silences.len(), written.notices.len(), written.results.len()), (1, 1, 1));
    bench.mood(Mood::Fine);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.written().silences.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_is_left() {
    let bench = Bench::new(Mood::Fine);
    bench.record("a", 1);
    bench.writer.stop();
    bench.task.await.unwrap();
    let late = bench.writer.commit(owing("late"), true).await;
    assert_eq!(late, Committed::Waiting, "nobody claims that it is written");
    assert_eq!(bench.store.written.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever_for_a_failing_store() {
    for mood in [Mood::Full, Mood::Hanging] {
        let bench = Bench::new(mood);
        bench.record("a", 1);
        bench.writer.stop();
        tokio::time::timeout(Duration::from_secs(6), bench.task).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_writer() {
    let Bench { writer, task, store, .. } = Bench::new(Mood::Fine);
    let other = writer.clone();
    drop(writer);
    other.record(result("a", 1), Some((Name::from("a"), state(1))));
    drop(other);
    task.await.unwrap();
    assert_eq!(store.written.lock().unwrap().len(), 1);
}
