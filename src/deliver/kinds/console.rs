use crate::config::Section;
use crate::deliver::{Channel, ChannelKind, Net, Outcome, Preview};
use crate::model::{Format, Message};
use crate::render::Tone;
use async_trait::async_trait;
use owo_colors::{OwoColorize, Stream, Style};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, TryLockError};

/// Standard output.
pub const KIND: ChannelKind = ChannelKind {
    name: "console",
    summary: "standard output, in colour on a terminal",
    options: &[],
    example: r#"[[channel]]
name = "screen"
[channel.console]
"#,
    format: Format::Plain,
    template: include_str!("../../../alert-templates/console.jinja"),
    parse,
};

/// Whoever reads standard output may stop reading; then one writer waits, and no more than one.
#[derive(Debug, Default)]
struct Console {
    busy: Arc<Mutex<()>>,
}

fn parse(_section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    Some(Box::new(Console::default()))
}

#[async_trait]
impl Channel for Console {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Ok(Preview { content_type: "text/plain".to_owned(), body: printed(message) })
    }

    async fn send(&self, _net: &Net, message: &Message) -> Outcome {
        let text = printed(message);
        let busy = Arc::clone(&self.busy);
        let write = tokio::task::spawn_blocking(move || {
            let _alone = match busy.try_lock() {
                Ok(alone) => alone,
                Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
                Err(TryLockError::WouldBlock) => return Err("nobody reads it".to_owned()),
            };
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| e.to_string())
        });
        let failed = |why| Outcome::Retry { after: None, why: format!("standard output: {why}") };
        match write.await {
            Ok(Ok(())) => Outcome::accepted(),
            Ok(Err(why)) => failed(why),
            Err(stopped) => failed(stopped.to_string()),
        }
    }
}

/// The title in the colour of the state, the text below it.
fn printed(message: &Message) -> String {
    let style = match Tone::of(message.what, &message.incidents) {
        Tone::Good => Style::new().green(),
        Tone::Note => Style::new().blue(),
        Tone::Warning => Style::new().yellow(),
        Tone::Bad => Style::new().red(),
    }
    .bold();
    let title = message.title.if_supports_color(Stream::Stdout, |title| title.style(style));
    let mut out = format!("{title}\n");
    for line in message.text.lines() {
        let _ = writeln!(out, "   {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{KIND, printed};
    use crate::deliver::Outcome;
    use crate::deliver::support::testing::{channel, messages, net};

    #[tokio::test]
    async fn a_message_is_printed_with_its_text_below_the_title() {
        let message = &messages(&KIND)[0];
        let console = channel(&KIND, "");
        assert_eq!(console.send(&net(), message).await, Outcome::accepted());
        owo_colors::set_override(false);
        insta::assert_snapshot!(printed(message), @r"
        🔴 DOWN shop-api — status == 200 failed: status is 503
           Since 2026-03-01 09:15:02 UTC
           critical · http · team=shop · tier=1 · prod
           Runbook: https://wiki.example/shop-api
        ");
    }
}
