//! What the outbox writes, on its way to the store and to the monitor.

use super::monitor::Event;
use crate::deliver::outbox::{Ledger, Outbox};
use crate::model::{Name, Notice};
use crate::record::Batch;
use crate::record::writer::Writer;
use async_trait::async_trait;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::mpsc;

/// Keeps notices by the writer, and tells the monitor of channels that refuse.
#[derive(Debug)]
pub struct AppLedger {
    /// Who writes.
    pub writer: Writer,
    /// Who is told.
    pub events: mpsc::WeakSender<Event>,
    /// Who delivers the copies for a fallback.
    pub outbox: Arc<OnceLock<Weak<Outbox>>>,
}

#[async_trait]
impl Ledger for AppLedger {
    async fn keep(&self, notices: Vec<Notice>) {
        let batch = Batch { notices, ..Batch::default() };
        self.writer.commit(batch, false).await;
    }

    async fn fall_back(&self, channel: &Name, notices: Vec<Notice>) {
        let Some(outbox) = self.outbox.get().and_then(Weak::upgrade) else { return };
        let copies = outbox.copies_for_fallback(channel, &notices);
        for notice in &notices {
            tracing::warn!(%channel, notice = %notice.id, what = %notice.what, "told the fallback");
        }
        // The copies and the marks in one transaction: no crash repeats them or loses them.
        let batch = Batch {
            notices: notices.into_iter().chain(copies.clone()).collect(),
            ..Batch::default()
        };
        self.writer.commit(batch, false).await;
        outbox.owe(copies);
    }

    async fn trouble(&self, channel: &Name, recipient: &str, trouble: Option<String>) {
        let event =
            Event::Channel { channel: channel.clone(), recipient: recipient.to_owned(), trouble };
        if let Some(events) = self.events.upgrade() {
            // It fails only while the daemon stops, and then nobody could be told of it.
            let _ = events.send(event).await;
        }
    }
}
