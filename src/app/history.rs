//! What a message tells of the past of its check: asked for when it is about to go, and never
//! waited for long.

use crate::model::{Incident, Notice, Picture, RunResult, Timestamp};
use crate::record::{IncidentFilter, Page, Store, StoreError};
use crate::render::picture::{HOUR, LastHour};
use crate::render::{DAY, LATEST, Past, WEEK, shows_last_hour, tells_of_past};
use async_trait::async_trait;
use chrono_tz::Tz;
use std::sync::Arc;
use std::time::Duration;

/// How long a message waits for its past at most. An alert is worth more than what was before.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// How many incidents of a check are looked at.
const INCIDENTS: u32 = 50;
/// How many results are read at a time for a picture, and how often: of a check that runs each second
/// these reach back over the whole hour.
const RESULTS: u32 = 1_000;
const READS: usize = 4;

/// Something that knows the past of checks.
#[async_trait]
pub trait History: Send + Sync {
    /// The past of the check that `incident` is about.
    async fn past(&self, incident: &Incident) -> Result<Past, StoreError>;

    /// The results since `since` of the check that `incident` is about, the newest first. More may
    /// come along, and of a check that runs very often the oldest are left out.
    async fn results_since(
        &self,
        incident: &Incident,
        since: Timestamp,
    ) -> Result<Vec<RunResult>, StoreError>;
}

/// The picture for `notice`, if it is one that has one and `history` answers within `patience`. The
/// drawing is some milliseconds of computing, done where it holds up nothing else; a machine without a
/// moment to spare gets `drawing` for it.
pub async fn picture_for(
    history: &dyn History,
    notice: &Notice,
    zone: Tz,
    now: Timestamp,
    patience: Duration,
    drawing: Duration,
) -> Option<Picture> {
    let [incident] = &notice.incidents[..] else { return None };
    if !shows_last_hour(notice.what) || !incident.is_of_check() {
        return None;
    }
    let without = |why: &str| {
        tracing::debug!(%why, check = %incident.check, "a message goes without a picture");
    };
    let asked = history.results_since(incident, now.before(HOUR));
    let results = match tokio::time::timeout(patience, asked).await {
        Ok(Ok(results)) => results,
        Ok(Err(error)) => {
            without(&error.to_string());
            return None;
        }
        Err(_elapsed) => {
            without("no answer from the store");
            return None;
        }
    };
    let (check, began_at) = (incident.check.clone(), incident.began_at);
    let draw = move || {
        let (check, results) = (&*check, &results[..]);
        LastHour { check, results, began_at, until: now, zone }.draw()
    };
    match tokio::time::timeout(drawing, tokio::task::spawn_blocking(draw)).await {
        Ok(Ok(Ok(picture))) => picture,
        Ok(Ok(Err(why))) => {
            without(&why);
            None
        }
        Ok(Err(panicked)) => {
            without(&panicked.to_string());
            None
        }
        Err(_elapsed) => {
            without("the drawing took too long");
            None
        }
    }
}

/// The past for `notice`, if it is one that tells of it and `history` answers within `patience`.
pub async fn for_notice(
    history: &dyn History,
    notice: &Notice,
    patience: Duration,
) -> Option<Past> {
    let [incident] = &notice.incidents[..] else { return None };
    // What the daemon says about itself has no results; and it may be that the store is away.
    if !tells_of_past(notice.what) || !incident.is_of_check() {
        return None;
    }
    match tokio::time::timeout(patience, history.past(incident)).await {
        Ok(Ok(past)) => Some(past),
        Ok(Err(error)) => {
            tracing::debug!(%error, check = %incident.check, "a message goes without its past");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(check = %incident.check, "a message goes without its past: no answer");
            None
        }
    }
}

/// The store, as history.
#[derive(Debug)]
pub struct Kept(pub Arc<dyn Store>);

#[async_trait]
impl History for Kept {
    async fn past(&self, incident: &Incident) -> Result<Past, StoreError> {
        let (check, began) = (&*incident.check, incident.began_at);
        let of_check =
            IncidentFilter { check: Some(check.to_owned()), ..IncidentFilter::default() };
        let latest = Page { limit: LATEST.try_into().unwrap_or(1), cursor: None };
        let newest = Page { limit: INCIDENTS, cursor: None };
        let (results, incidents, day, week) = futures_util::try_join!(
            self.0.results(check, &latest),
            self.0.incidents(&of_check, &newest),
            self.is_known(check, began.before(DAY)),
            self.is_known(check, began.before(WEEK)),
        )?;
        let watched_since =
            if week { Some(began.before(WEEK)) } else { day.then(|| began.before(DAY)) };
        // Older incidents than those on this page are not known here.
        let complete_since = match incidents.next {
            Some(_) => incidents.items.last().map(|oldest| oldest.opened_at),
            None => None,
        };
        Ok(Past {
            known_since: watched_since.map(|since| since.max(complete_since.unwrap_or(since))),
            results: results.items,
            incidents: incidents.items,
        })
    }

    async fn results_since(
        &self,
        incident: &Incident,
        since: Timestamp,
    ) -> Result<Vec<RunResult>, StoreError> {
        let mut page = Page { limit: RESULTS, cursor: None };
        let mut results = Vec::new();
        for _ in 0..READS {
            let more = self.0.results(&incident.check, &page).await?;
            results.extend(more.items);
            let is_done = results.last().is_none_or(|oldest| oldest.at < since);
            if is_done || more.next.is_none() {
                break;
            }
            page.cursor = more.next;
        }
        Ok(results)
    }
}

impl Kept {
    /// Whether the check has a result from before `at`, and so was watched by then.
    async fn is_known(&self, check: &str, at: Timestamp) -> Result<bool, StoreError> {
        let page = Page::of_results_before(at, 1);
        Ok(!self.0.results(check, &page).await?.items.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{History, Kept, PATIENCE, RESULTS, for_notice, picture_for};
    use crate::model::{Incident, Judgement, Notice, RunResult, Status, Timestamp, Verdict, What};
    use crate::record::{Batch, SqliteStore, Store, StoreError};
    use crate::render::{Past, WEEK, sample};
    use async_trait::async_trait;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[derive(Default)]
    struct Asked(AtomicUsize);

    #[async_trait]
    impl History for Asked {
        async fn past(&self, _incident: &Incident) -> Result<Past, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Past::default())
        }

        async fn results_since(
            &self,
            incident: &Incident,
            _since: Timestamp,
        ) -> Result<Vec<RunResult>, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(sample::hour(incident))
        }
    }

    struct Hanging;

    #[async_trait]
    impl History for Hanging {
        async fn past(&self, _incident: &Incident) -> Result<Past, StoreError> {
            std::future::pending().await
        }

        async fn results_since(
            &self,
            _incident: &Incident,
            _since: Timestamp,
        ) -> Result<Vec<RunResult>, StoreError> {
            std::future::pending().await
        }
    }

    struct Failing;

    #[async_trait]
    impl History for Failing {
        async fn past(&self, _incident: &Incident) -> Result<Past, StoreError> {
            Err(StoreError::Database(sqlx::Error::PoolClosed))
        }

        async fn results_since(
            &self,
            _incident: &Incident,
            _since: Timestamp,
        ) -> Result<Vec<RunResult>, StoreError> {
            Err(StoreError::Database(sqlx::Error::PoolClosed))
        }
    }

    fn notice(what: What, incidents: Vec<Incident>) -> Notice {
        let now = Timestamp::from_millis(1_772_356_812_000);
        Notice::new("N".to_owned(), what, "ops".into(), String::new(), incidents, now)
    }

    #[tokio::test]
    async fn only_what_tells_of_the_past_asks_for_it() {
        let incidents = sample::incidents();
        let mut own = incidents[0].clone();
        own.check = "watchbell:store".into();
        for (what, incidents, expected) in [
            (What::Opened, &incidents[..1], 1),
            (What::Reminder, &incidents[..1], 1),
            (What::Escalated, &incidents[..1], 1),
            (What::Resolved, &incidents[..1], 0),
            (What::Digest, &incidents[..], 0),
            (What::Test, &[], 0),
            (What::Opened, &[own][..], 0),
        ] {
            let asked = Asked::default();
            for_notice(&asked, &notice(what, incidents.to_vec()), PATIENCE).await;
            assert_eq!(asked.0.into_inner(), expected, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_does_not_wait_for_a_store_that_is_away() {
        let opened = notice(What::Opened, sample::incidents()[..1].to_vec());
        let asked = tokio::time::timeout(PATIENCE * 2, for_notice(&Hanging, &opened, PATIENCE));
        assert!(asked.await.unwrap().is_none());
        assert!(for_notice(&Failing, &opened, PATIENCE).await.is_none());
        let (zone, now) = (chrono_tz::UTC, sample::TOLD);
        let asked = picture_for(&Hanging, &opened, zone, now, PATIENCE, PATIENCE);
        assert_eq!(tokio::time::timeout(PATIENCE * 2, asked).await.unwrap(), None);
        assert_eq!(picture_for(&Failing, &opened, zone, now, PATIENCE, PATIENCE).await, None);
    }

    #[tokio::test]
    async fn what_opens_worsens_or_goes_on_has_a_picture() {
        let incidents = sample::incidents();
        let mut own = incidents[0].clone();
        own.check = "watchbell:store".into();
        for (what, incidents, expected) in [
            (What::Opened, &incidents[..1], true),
            (What::Worsened, &incidents[..1], true),
            (What::Reminder, &incidents[..1], true),
            (What::Escalated, &incidents[..1], false),
            (What::Resolved, &incidents[..1], false),
            (What::Digest, &incidents[..], false),
            (What::Test, &[], false),
            (What::Opened, &[own][..], false),
        ] {
            let asked = Asked::default();
            let (notice, patient) = (notice(what, incidents.to_vec()), Duration::from_secs(600));
            let (zone, now) = (chrono_tz::UTC, sample::TOLD);
            let picture = picture_for(&asked, &notice, zone, now, patient, patient).await;
            assert_eq!(picture.is_some(), expected, "{what}");
            assert_eq!(asked.0.into_inner(), usize::from(expected), "{what}");
        }
    }

    #[tokio::test]
    async fn the_store_knows_since_when_a_check_was_watched() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&folder.path().join("a.db")).await.unwrap());
        let told = sample::incidents().remove(0);
        let kept = Kept(Arc::clone(&store));
        let result = |before: Duration| {
            let run = Judgement {
                started: told.began_at.before(before),
                verdict: Verdict { status: Status::Up, reasons: Vec::new() },
                latency: Duration::from_millis(5),
                facts: Default::default(),
            };
            RunResult::new("shop-api".into(), run)
        };
        let add = async |before: Duration| {
            let batch = Batch { results: vec![result(before)], ..Batch::default() };
            store.commit(&batch).await.unwrap();
        };
        assert_eq!(kept.past(&told).await.unwrap().known_since, None);
        add(Duration::from_secs(30)).await;
        assert_eq!(kept.past(&told).await.unwrap().known_since, None);
        add(WEEK + Duration::from_secs(30)).await;
        let past = kept.past(&told).await.unwrap();
        assert_eq!((past.known_since, past.results.len()), (Some(told.began_at.before(WEEK)), 2));
        let since = told.began_at.before(WEEK);
        let second = |n| result(Duration::from_secs(100 + n));
        let results = (0..u64::from(RESULTS) + 5).map(second).collect();
        store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
        let found = kept.results_since(&told, since).await.unwrap();
        assert_eq!(found.len(), RESULTS as usize + 7, "beyond the first page");
        store.close().await;
    }
}
