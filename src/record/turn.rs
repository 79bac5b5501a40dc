//! Whose turn it is to write: one connection writes, so that writers wait in order instead of running
//! into each other's locks.

use super::StoreError;
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that writes, and what it knows from what it has written. They live and die together:
/// after a rollback nobody knows which of it is still true.
#[async_trait]
pub(super) trait Writing: Send + 'static {
    /// Lets go of the connection.
    async fn close(self) -> Result<(), sqlx::Error>;
}

/// The connection, while nobody uses it, and the right to use it.
///
/// It is put back only after all went well: a database ends a transaction by itself on some errors,
/// and what the connection then takes to be its state is wrong.
#[derive(Debug)]
pub(super) struct Turns<W> {
    turn: Arc<Semaphore>,
    idle: Mutex<Option<W>>,
}

impl<W: Writing> Turns<W> {
    /// Turns with a connection that is open.
    pub fn new(open: W) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), idle: Mutex::new(Some(open)) }
    }

    /// Waits for the turn to write. Where the last one failed, it is with what `connect` gives.
    pub async fn lease<F>(&self, connect: impl FnOnce() -> F) -> Result<Lease<'_, W>, StoreError>
    where
        F: Future<Output = Result<W, StoreError>>,
    {
        let turn = Arc::clone(&self.turn);
        let permit = turn.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().take();
        let writing = match idle {
            Some(writing) => writing,
            None => connect().await?,
        };
        Ok(Lease { turns: self, held: Some((writing, permit)) })
    }

    /// Waits for the last turn, and lets go of the connection.
    pub async fn close(&self) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        self.turn.close();
        let idle = self.idle().take();
        if let Some(writing) = idle
            && let Err(error) = writing.close().await
        {
            tracing::warn!(%error, "the database was not closed properly");
        }
    }

    fn idle(&self) -> MutexGuard<'_, Option<W>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to write. Unless it ends well, its connection is closed; the next turn begins only
/// when that is over, so that a hanging disk does not gather up connections.
pub(super) struct Lease<'s, W: Writing> {
    turns: &'s Turns<W>,
    held: Option<(W, OwnedSemaphorePermit)>,
}

impl<W: Writing> Lease<'_, W> {
    /// What writes.
    pub fn writing(&mut self) -> Result<&mut W, StoreError> {
        let held = self.held.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(&mut held.0)
    }

    /// All went well.
    pub fn done(mut self) {
        if let Some((writing, _permit)) = self.held.take() {
            *self.turns.idle() = Some(writing);
        }
    }
}

impl<W: Writing> Drop for Lease<'_, W> {
    fn drop(&mut self) {
        if let Some((writing, permit)) = self.held.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                if let Err(error) = writing.close().await {
                    tracing::debug!(%error, "a failed database connection did not close properly");
                }
                drop(permit);
            });
        }
    }
}
