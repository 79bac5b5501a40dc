//! How notices get from the core to their channels: the outbox with its writer, and the channels
//! of a plan.

use super::alerting::Rules;
use super::history::{self, History, Kept};
use super::ledger::AppLedger;
use super::monitor::Event;
use super::plan::{Plan, PlannedChannel};
use crate::clock::Clock;
use crate::deliver::outbox::{Destination, Outbox};
use crate::deliver::{Net, Operators};
use crate::model::{Action, Message, Name, Notice, Picture, Timestamp};
use crate::record::Store;
use crate::record::writer::{self, Writer};
use crate::render::{self, Background, Letter, Past, Renderer};
use crate::serve::{Deed, LINKS_LAST, Links, Permit};
use chrono_tz::Tz;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use url::Url;

/// Starts the writer and the outbox, which need each other: the writer announces the notices that
/// it has written, and the outbox has written what becomes of them.
pub fn start(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    net: Net,
    events: &mpsc::Sender<Event>,
    health: watch::Sender<writer::StoreHealth>,
) -> (Writer, JoinHandle<()>, Arc<Outbox>) {
    let slot: Arc<OnceLock<Weak<Outbox>>> = Arc::default();
    let announce_to = Arc::clone(&slot);
    let announce = Box::new(move |notices: Vec<Notice>| {
        if let Some(outbox) = announce_to.get().and_then(Weak::upgrade) {
            outbox.owe(notices);
        }
    });
    let (writer, task) = writer::spawn(Arc::clone(store), Arc::clone(clock), announce, health);
    let ledger = AppLedger { writer: writer.clone(), events: events.downgrade() };
    let outbox = Arc::new(Outbox::new(Arc::clone(clock), net, Arc::new(ledger)));
    slot.get_or_init(|| Arc::downgrade(&outbox));
    (writer, task, outbox)
}

/// How far the limits of the channels reach back.
pub fn look_back(channels: &[PlannedChannel], now: Timestamp) -> Timestamp {
    let reach = channels.iter().map(|channel| channel.terms.per.max(channel.terms.cooldown));
    now.before(reach.max().unwrap_or_default())
}

/// Who hears what, by `plan`.
pub fn rules(plan: &Plan) -> Rules {
    let channels = plan.channels.iter();
    Rules {
        routes: Arc::clone(&plan.routes),
        windows: Arc::clone(&plan.maintenance),
        channels: channels.clone().map(|it| (it.name.clone(), it.channel.recipients())).collect(),
        fallbacks: channels
            .filter_map(|it| Some((it.name.clone(), it.fallback.clone()?)))
            .collect(),
    }
}

/// Who may operate the daemon by which bot, by `plan`.
pub fn operators(plan: &Plan) -> Vec<Operators> {
    plan.channels.iter().filter_map(|planned| planned.channel.operators()).collect()
}

/// What every message of a daemon bears.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// The name of the daemon.
    pub daemon: Name,
    /// The zone of times.
    pub zone: Tz,
    /// Where people reach the daemon's pages.
    pub pages: Option<Url>,
    /// What makes the links by which people act; none where nothing comes of a message.
    pub links: Option<Arc<Links>>,
}

impl Letterhead {
    /// That of the daemon that `plan` describes.
    pub fn of(plan: &Plan, links: Option<Arc<Links>>) -> Self {
        let pages = plan.public_url.clone();
        Self { daemon: plan.name.clone(), zone: plan.time_zone, pages, links }
    }

    /// What a person who reads `notice` may do about it by a link.
    fn actions(&self, notice: &Notice) -> Vec<Action> {
        let (Some(pages), Some(links), [incident]) =
            (&self.pages, &self.links, &notice.incidents[..])
        else {
            return Vec::new();
        };
        if !render::offers_actions(notice.what) || incident.resolved_at.is_some() {
            return Vec::new();
        }
        // It ends by the time of the notice, so that each try of it carries the same links.
        let until = notice.at.after(LINKS_LAST);
        let action = |deed: Deed| {
            let permit = Permit {
                deed,
                incident: incident.id.clone(),
                channel: notice.channel.clone(),
                until,
            };
            let mut url = pages.clone();
            let token = links.sign(&permit)?;
            url.path_segments_mut().ok()?.pop_if_empty().push("act").push(&token);
            Some(Action { label: deed.label().to_owned(), url: url.into() })
        };
        // What the daemon says about itself is no check that could be silenced.
        let is_own = incident.is_own();
        let deeds = Deed::ALL.into_iter().filter(|deed| !is_own || *deed == Deed::Acknowledge);
        deeds.filter_map(action).collect()
    }
}

/// The channels of `plan`, which has none then. Their messages tell of the past that `store` knows.
pub fn destinations(
    plan: &mut Plan,
    store: &Arc<dyn Store>,
    links: &Arc<Links>,
) -> Vec<Destination> {
    let head = Letterhead::of(plan, Some(Arc::clone(links)));
    let history: Arc<dyn History> = Arc::new(Kept(Arc::clone(store)));
    let channels = plan.channels.drain(..);
    channels.map(|channel| destination(channel, head.clone(), Arc::clone(&history))).collect()
}

fn destination(
    planned: PlannedChannel,
    head: Letterhead,
    history: Arc<dyn History>,
) -> Destination {
    let renderer = planned.renderer;
    let desk = Arc::new((renderer, head, history));
    // The wait is a part of the try, which must have time left for the channel itself.
    let drawing = planned.timeout / 4;
    let patience = history::PATIENCE.min(drawing);
    let shows_pictures = planned.channel.shows_pictures();
    Destination {
        name: planned.name,
        channel: planned.channel,
        terms: planned.terms,
        timeout: planned.timeout,
        compose: Box::new(move |notice, now| {
            let desk = Arc::clone(&desk);
            Box::pin(async move {
                let (renderer, head, history) = &*desk;
                let past = history::for_notice(&**history, notice, patience);
                let picture = async {
                    if !shows_pictures {
                        return None;
                    }
                    let (history, zone) = (&**history, head.zone);
                    history::picture_for(history, notice, zone, now, patience, drawing).await
                };
                let (past, picture) = tokio::join!(past, picture);
                let actions = head.actions(notice);
                compose(renderer, notice, head, Enclosed { past, picture, actions }, now)
            })
        }),
    }
}

/// What goes with a message beside its notice.
#[derive(Clone, Debug, Default)]
pub struct Enclosed {
    /// What history says of the check.
    pub past: Option<Past>,
    /// How the check went lately, as a picture.
    pub picture: Option<Picture>,
    /// What a person may do about it.
    pub actions: Vec<Action>,
}

/// Puts a notice into a channel's words, and says in the log where its template failed.
pub fn compose(
    renderer: &Renderer,
    notice: &Notice,
    head: &Letterhead,
    enclosed: Enclosed,
    now: Timestamp,
) -> Message {
    let background = Background {
        pages: head.pages.as_ref(),
        past: enclosed.past.as_ref(),
        picture: enclosed.picture.as_ref(),
        actions: &enclosed.actions,
    };
    let rendered = renderer.render(&Letter::of(notice, &head.daemon, head.zone, now, background));
    if let Some(why) = &rendered.fell_back {
        let channel = &notice.channel;
        tracing::error!(%channel, %why, "the template failed; a plain text goes in its place");
    }
    let message = render::message(notice, &head.daemon, rendered);
    Message { picture: enclosed.picture, actions: enclosed.actions, ..message }
}
