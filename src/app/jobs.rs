//! What the scheduler runs: every check but the paused ones.

use super::task::CheckTask;
use crate::model::{Board, Name};
use crate::schedule::{Job, Scheduler, Task};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The checks of the plan in force, and the scheduler that runs them.
#[derive(Debug)]
pub struct Jobs {
    scheduler: Scheduler,
    board: Arc<Board>,
    tasks: Mutex<HashMap<Name, Arc<CheckTask>>>,
}

impl Jobs {
    /// Nothing to run yet.
    pub fn new(scheduler: Scheduler, board: Arc<Board>) -> Self {
        Self { scheduler, board, tasks: Mutex::default() }
    }

    /// Runs `tasks` from now on. The board has to know who is paused.
    pub async fn replace(&self, tasks: HashMap<Name, Arc<CheckTask>>) {
        let mut known = self.tasks.lock().await;
        *known = tasks;
        self.put_in_force(&known).await;
    }

    /// Takes in that checks were paused or resumed, as the board has it.
    pub async fn refresh(&self) {
        let known = self.tasks.lock().await;
        self.put_in_force(&known).await;
    }

    /// Runs one more.
    pub async fn add(&self, task: Arc<CheckTask>) {
        let mut known = self.tasks.lock().await;
        known.insert(task.planned.name.clone(), task);
        self.put_in_force(&known).await;
    }

    /// The check called `name`, paused or not.
    pub async fn find(&self, name: &str) -> Option<Arc<CheckTask>> {
        self.tasks.lock().await.get(name).cloned()
    }

    async fn put_in_force(&self, tasks: &HashMap<Name, Arc<CheckTask>>) {
        let paused =
            |name: &Name| self.board.get(name).is_some_and(|check| check.state.paused.is_some());
        // A paused heartbeat is looked at, since a ping may let it go on.
        let runs =
            |task: &CheckTask| task.planned.heartbeat.is_some() || !paused(&task.planned.name);
        let jobs = tasks.values().filter(|task| runs(task)).map(|task| Job {
            name: task.planned.name.clone(),
            cadence: task.planned.cadence.clone(),
            timeout: task.planned.timeout,
            task: Arc::clone(task) as Arc<dyn Task>,
        });
        self.scheduler.replace(jobs.collect()).await;
    }
}
