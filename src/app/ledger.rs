//! What the outbox writes, on its way to the store and to the monitor.

use super::monitor::Event;
use crate::deliver::outbox::Ledger;
use crate::model::{Name, Notice};
use crate::record::Batch;
use crate::record::writer::Writer;
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

/// Keeps notices by the writer, and tells the monitor of channels that refuse.
#[derive(Debug)]
pub struct AppLedger {
    /// Who writes.
    pub writer: Writer,
    /// Who is told.
    pub events: mpsc::WeakSender<Event>,
}

#[async_trait]
impl Ledger for AppLedger {
    async fn keep(&self, notices: Vec<Notice>) {
        let batch = Batch { notices, ..Batch::default() };
        self.writer.commit(batch, false).await;
    }

    async fn fall_back(&self, channel: &Name, notices: Vec<Notice>) -> bool {
        for Notice { id, what, .. } in &notices {
            tracing::warn!(%channel, notice = %id, %what, "its fallback is told");
        }
        let (done, answer) = oneshot::channel();
        self.send(Event::FallBack { channel: channel.clone(), notices, done }).await;
        // Without an answer the daemon stops, and the next start does it.
        answer.await.is_ok()
    }

    async fn trouble(&self, channel: &Name, recipient: &str, trouble: Option<String>) {
        let (channel, recipient) = (channel.clone(), recipient.to_owned());
        self.send(Event::Channel { channel, recipient, trouble }).await;
    }
}

impl AppLedger {
    async fn send(&self, event: Event) {
        if let Some(events) = self.events.upgrade() {
            // It fails only while the daemon stops, and then nobody could be told of it.
            let _ = events.send(event).await;
        }
    }
}
