use super::{Outcome, Recoverer, Started};
use crate::model::ActionName;
use crate::recover::actions::testing::{order, tools};
use crate::recover::{Action, Order, Tools};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

const LONG: Duration = Duration::from_secs(3600);

/// An action that says when it begins, and ends when it may.
#[derive(Debug)]
struct Gated {
    begun: mpsc::UnboundedSender<()>,
    may_end: Semaphore,
}

impl Gated {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<()>) {
        let (begun, begins) = mpsc::unbounded_channel();
        (Arc::new(Self { begun, may_end: Semaphore::new(0) }), begins)
    }
}

#[async_trait]
impl Action for Gated {
    fn describe(&self, _order: &Order) -> String {
        "wait".to_owned()
    }

    async fn run(&self, _tools: &Tools, _order: &Order) -> Result<String, String> {
        self.begun.send(()).unwrap();
        self.may_end.acquire().await.unwrap().forget();
        Ok("waited".to_owned())
    }
}

fn start(
    recoverer: &Recoverer,
    action: &Arc<impl Action + 'static>,
    timeout: Duration,
) -> (Started, oneshot::Receiver<Outcome>) {
    let (done, outcome) = oneshot::channel();
    let action = Arc::clone(action);
    let started = recoverer.start(
        order(ActionName::Restart),
        std::future::ready(()),
        action,
        timeout,
        move |outcome| {
            done.send(outcome).unwrap();
        },
    );
    (started, outcome)
}

fn waited() -> Outcome {
    Outcome::Done("waited".to_owned())
}

#[tokio::test]
async fn no_more_attempts_work_at_once_than_are_allowed() {
    let recoverer = Recoverer::new(tools(), 2);
    let (action, mut begins) = Gated::new();
    let outcomes: Vec<_> = (0..4).map(|_| start(&recoverer, &action, LONG).1).collect();
    for _ in 0..2 {
        begins.recv().await.unwrap();
        begins.recv().await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(begins.try_recv().is_err(), "a third one works");
        action.may_end.add_permits(2);
    }
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap(), waited());
    }
}

#[tokio::test]
async fn how_many_may_work_at_once_can_change() {
    let recoverer = Recoverer::new(tools(), 1);
    let (action, mut begins) = Gated::new();
    let outcomes: Vec<_> = (0..6).map(|_| start(&recoverer, &action, LONG).1).collect();
    begins.recv().await.unwrap();
    recoverer.set_max_at_once(3);
    begins.recv().await.unwrap();
    begins.recv().await.unwrap();
    recoverer.set_max_at_once(1);
    action.may_end.add_permits(6);
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap(), waited());
    }
    // All who waited before the change have had their turn; now one works at a time.
    begins.recv().await.unwrap();
    begins.recv().await.unwrap();
    begins.recv().await.unwrap();
    let late: Vec<_> = (0..2).map(|_| start(&recoverer, &action, LONG).1).collect();
    begins.recv().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(begins.try_recv().is_err(), "a second one works");
    action.may_end.add_permits(2);
    for outcome in late {
        assert_eq!(outcome.await.unwrap(), waited());
    }
}

#[tokio::test]
async fn an_attempt_that_waits_can_be_withdrawn_and_one_at_work_goes_on() {
    let recoverer = Recoverer::new(tools(), 1);
    let (action, mut begins) = Gated::new();
    let (at_work, first) = start(&recoverer, &action, LONG);
    begins.recv().await.unwrap();
    let (waiting, second) = start(&recoverer, &action, LONG);
    waiting.withdraw();
    assert_eq!(second.await.unwrap(), Outcome::NeverStarted);
    at_work.withdraw();
    action.may_end.add_permits(1);
    assert_eq!(first.await.unwrap(), waited());
    assert!(begins.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_timeout_runs_from_the_beginning_of_the_work() {
    let recoverer = Recoverer::new(tools(), 1);
    let (action, mut begins) = Gated::new();
    let minute = Duration::from_secs(60);
    let (_, first) = start(&recoverer, &action, minute);
    begins.recv().await.unwrap();
    let (_, second) = start(&recoverer, &action, minute);
    assert_eq!(first.await.unwrap(), Outcome::TimedOut(minute));
    begins.recv().await.unwrap();
    action.may_end.add_permits(1);
    assert_eq!(second.await.unwrap(), waited());
}

/// An action that never ends by itself, and notes that it was dropped.
#[derive(Debug)]
struct Hanging(Arc<AtomicBool>);

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Action for Hanging {
    fn describe(&self, _order: &Order) -> String {
        "hang".to_owned()
    }

    async fn run(&self, _tools: &Tools, _order: &Order) -> Result<String, String> {
        let _dropped = Dropped(Arc::clone(&self.0));
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_started_is_gone_when_its_timeout_is_told() {
    let recoverer = Recoverer::new(tools(), 1);
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let (done, outcome) = oneshot::channel();
    let action = Arc::new(Hanging(dropped));
    recoverer.start(
        order(ActionName::Restart),
        std::future::ready(()),
        action,
        LONG,
        move |outcome| {
            done.send((outcome, seen.load(Ordering::SeqCst))).unwrap();
        },
    );
    assert_eq!(outcome.await.unwrap(), (Outcome::TimedOut(LONG), true));
}

#[tokio::test]
async fn a_stop_cuts_off_what_is_at_work_and_begins_nothing() {
    let recoverer = Recoverer::new(tools(), 1);
    let (action, mut begins) = Gated::new();
    let (_, mut first) = start(&recoverer, &action, LONG);
    begins.recv().await.unwrap();
    let (_, mut second) = start(&recoverer, &action, LONG);
    recoverer.stop().await;
    assert_eq!(first.try_recv().unwrap(), Outcome::CutOff);
    assert_eq!(second.try_recv().unwrap(), Outcome::NeverStarted);
    let (_, late) = start(&recoverer, &action, LONG);
    assert_eq!(late.await.unwrap(), Outcome::NeverStarted);
}

#[derive(Debug)]
struct Panicking;

#[async_trait]
impl Action for Panicking {
    fn describe(&self, _order: &Order) -> String {
        "panic".to_owned()
    }

    async fn run(&self, _tools: &Tools, _order: &Order) -> Result<String, String> {
        panic!("a bug")
    }
}

#[tokio::test]
async fn an_action_that_panics_has_failed_and_holds_nobody_up() {
    let recoverer = Recoverer::new(tools(), 1);
    for _ in 0..2 {
        let (_, outcome) = start(&recoverer, &Arc::new(Panicking), LONG);
        let failed = Outcome::Failed("the action's code failed".to_owned());
        assert_eq!(outcome.await.unwrap(), failed);
    }
}

#[test]
fn the_timeline_names_the_action_and_the_attempt() {
    fn check(outcome: &Outcome, expected: &str) {
        assert_eq!(outcome.detail(&order(ActionName::ScaleUp)), expected);
    }
    check(&waited(), "scale_up, attempt 2 of 3: waited");
    check(&Outcome::Failed("no".to_owned()), "scale_up, attempt 2 of 3: failed: no");
    check(&Outcome::TimedOut(LONG), "scale_up, attempt 2 of 3: cut off after 1h");
    check(&Outcome::CutOff, "scale_up, attempt 2 of 3: cut off, since the daemon stopped");
}
