use crate::deliver::{Net, Outcome};
use crate::model::{Live, Message, What};
use async_trait::async_trait;

/// A channel that names its messages, so that later ones can refer to them.
#[async_trait]
pub trait Conversation: Send + Sync {
    /// Whether the message `handle` is in the place that the channel delivers to by now.
    fn is_own(&self, handle: &str) -> bool;

    /// Posts a message, as an answer to another one if there is one. The handle in its outcome is
    /// that of the one answered, or else its own.
    async fn post(&self, net: &Net, message: &Message, answers: Option<&str>) -> Outcome;

    /// Lets the message `handle` say what `message` does. That it says so already is fine.
    async fn edit(&self, net: &Net, handle: &str, message: &Message) -> Outcome;
}

/// Whether people should notice it although the message that it brings up to date says so too.
pub const fn is_loud(what: What) -> bool {
    !matches!(what, What::Resolved | What::FlappingEnded)
}

/// Brings the live messages up to date, then posts the news.
///
/// An edit can be repeated, so it goes first, and the acceptance of the news is the one that
/// counts: a crash in between repeats one message at most. Where the message that is answered
/// cannot be edited any more, a new one with the whole state stands in its place, so that nothing
/// is lost with it. Other messages, those about single incidents that come as a digest now, are
/// changed as far as the channel lets that happen soon.
pub async fn converse(channel: &dyn Conversation, net: &Net, message: &Message) -> Outcome {
    let root = message.answers.as_deref().filter(|handle| channel.is_own(handle));
    let (answered, others): (Vec<&Live>, Vec<&Live>) = message
        .live
        .iter()
        .filter(|live| channel.is_own(&live.handle))
        .partition(|live| root == Some(&*live.handle));
    for live in answered {
        let now = live.now.as_ref().unwrap_or(message);
        match channel.edit(net, &live.handle, now).await {
            Outcome::Accepted { .. } => {}
            Outcome::Rejected { why } => {
                tracing::info!(%why, "a message cannot be changed any more");
                return channel.post(net, now, None).await;
            }
            retry @ Outcome::Retry { .. } => return retry,
        }
    }
    let edits = edit_all(channel, net, message, others);
    if tokio::time::timeout(net.patience, edits).await.is_err() {
        tracing::info!("messages about single incidents stay as they are: no answer in time");
    }
    let Some(root) = root else {
        // What it would have answered is elsewhere: people here get the whole state.
        let answered = message.live.first().filter(|_| message.answers.is_some());
        let whole = answered.and_then(|live| live.now.as_ref()).unwrap_or(message);
        return channel.post(net, whole, None).await;
    };
    match channel.post(net, message, Some(root)).await {
        Outcome::Rejected { why } => {
            tracing::info!(%why, "a message cannot be answered any more");
            channel.post(net, message, None).await
        }
        outcome => outcome,
    }
}

/// The news of many incidents is worth more than old messages about each of them: whatever cannot
/// be changed now stays as it is.
async fn edit_all(channel: &dyn Conversation, net: &Net, message: &Message, all: Vec<&Live>) {
    for live in all {
        let now = live.now.as_ref().unwrap_or(message);
        match channel.edit(net, &live.handle, now).await {
            Outcome::Accepted { .. } => {}
            Outcome::Rejected { why } => {
                tracing::info!(%why, "a message cannot be changed any more");
            }
            Outcome::Retry { why, .. } => {
                tracing::info!(%why, "messages about single incidents stay as they are");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conversation, converse};
    use crate::deliver::support::testing::{messages, net};
    use crate::deliver::{Net, Outcome, kinds};
    use crate::model::{Live, Message};
    use async_trait::async_trait;
    use std::sync::Mutex;
    use std::time::Duration;

    /// A chat in which some messages are gone, and others wait.
    #[derive(Default)]
    struct Chat {
        gone: &'static str,
        busy: &'static str,
        hanging: &'static str,
        log: Mutex<Vec<String>>,
    }

    impl Chat {
        fn answer(&self, handle: &str, done: Option<String>) -> Outcome {
            if handle == self.gone {
                Outcome::Rejected { why: "gone".to_owned() }
            } else if handle == self.busy {
                Outcome::Retry { after: None, why: "busy".to_owned() }
            } else {
                Outcome::Accepted { handle: done }
            }
        }
    }

    #[async_trait]
    impl Conversation for Chat {
        fn is_own(&self, handle: &str) -> bool {
            !handle.starts_with("elsewhere")
        }

        async fn post(&self, _: &Net, message: &Message, answers: Option<&str>) -> Outcome {
            let to = answers.map_or(String::new(), |handle| format!(" to {handle}"));
            self.log.lock().unwrap().push(format!("post {}{to}", message.title));
            let handle = answers.unwrap_or("new");
            self.answer(handle, Some(handle.to_owned()))
        }

        async fn edit(&self, _: &Net, handle: &str, message: &Message) -> Outcome {
            self.log.lock().unwrap().push(format!("edit {handle}: {}", message.title));
            if handle == self.hanging {
                std::future::pending::<()>().await;
            }
            self.answer(handle, None)
        }
    }

    #[tokio::test]
    async fn news_is_never_lost_with_the_message_that_it_answers() {
        let check = async |chat: Chat, answers: Option<&str>, live: &[&str], expected: &str| {
            let mut message = messages(kinds::find("slack").unwrap()).remove(0);
            message.title = "news".to_owned();
            message.answers = answers.map(str::to_owned);
            let told = |handle: &&str| {
                let now = Message { title: format!("{handle} now"), ..message.clone() };
                Live { handle: (*handle).to_owned(), now: Some(now) }
            };
            message.live = live.iter().map(told).collect();
            let net = Net { patience: Duration::from_millis(20), ..net() };
            let outcome = converse(&chat, &net, &message).await;
            let end = match outcome {
                Outcome::Accepted { handle } => handle.unwrap(),
                Outcome::Retry { why, .. } | Outcome::Rejected { why } => why,
            };
            let log = chat.log.into_inner().unwrap().join(", ");
            assert_eq!(format!("{log} = {end}"), expected);
        };
        let fine = Chat::default;
        let gone = |gone| Chat { gone, ..Chat::default() };
        let busy = |busy| Chat { busy, ..Chat::default() };
        check(fine(), None, &[], "post news = new").await;
        check(fine(), Some("a"), &[], "post news to a = a").await;
        check(fine(), Some("a"), &["a"], "edit a: a now, post news to a = a").await;
        check(gone("a"), Some("a"), &[], "post news to a, post news = new").await;
        check(gone("a"), Some("a"), &["a"], "edit a: a now, post a now = new").await;
        check(busy("a"), Some("a"), &["a"], "edit a: a now = busy").await;
        check(fine(), Some("elsewhere"), &["elsewhere"], "post elsewhere now = new").await;
        check(fine(), None, &["a", "b"], "edit a: a now, edit b: b now, post news = new").await;
        check(busy("a"), None, &["a", "b"], "edit a: a now, post news = new").await;
        let hanging = Chat { hanging: "a", ..Chat::default() };
        check(hanging, None, &["a", "b"], "edit a: a now, post news = new").await;
        check(gone("a"), None, &["a", "b"], "edit a: a now, edit b: b now, post news = new").await;
    }
}
