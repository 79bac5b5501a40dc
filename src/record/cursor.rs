//! Where a piece of a list ended, as a text that means nothing to whoever carries it.

use super::{Page, Paged, StoreError};
use crate::model::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The place of the last item of a piece: newest first, so the next piece lies before it.
///
/// It names the item and not its number in the list, so new items do not shift it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The time that the list is ordered by.
    pub at: Timestamp,
    /// The key that orders items of one time; empty where the time is enough.
    pub id: String,
}

/// Which list a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Results,
    Incidents,
    Notices,
}

impl List {
    const fn tag(self) -> char {
        match self {
            Self::Results => 'r',
            Self::Incidents => 'i',
            Self::Notices => 'n',
        }
    }
}

impl Cursor {
    /// The text to give out.
    pub fn encode(&self, list: List) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}{}:{}", list.tag(), self.at.as_millis(), self.id))
    }

    /// The place that `text` names, if it was given out for this list.
    pub fn decode(list: List, text: &str) -> Result<Self, StoreError> {
        Self::parse(list, text).ok_or_else(|| StoreError::Cursor(text.chars().take(100).collect()))
    }

    fn parse(list: List, text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (at, id) = plain.strip_prefix(list.tag())?.split_once(':')?;
        Some(Self { at: Timestamp::from_millis(at.parse().ok()?), id: id.to_owned() })
    }
}

/// How many items a page has at most.
pub(super) fn limit(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, 1000))
}

/// Cuts off the one item too many that was asked for, which tells whether there is more.
pub(super) fn paged<T>(
    mut items: Vec<T>,
    page: &Page,
    list: List,
    place: impl Fn(&T) -> Cursor,
) -> Paged<T> {
    let limit = usize::try_from(limit(page)).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| place(last).encode(list));
    Paged { items, next }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, List};
    use crate::model::Timestamp;

    #[test]
    fn a_cursor_fits_its_own_list_only() {
        let cursor = Cursor { at: Timestamp::from_millis(-5), id: "a:b".to_owned() };
        let text = cursor.encode(List::Incidents);
        assert_eq!(Cursor::decode(List::Incidents, &text).unwrap(), cursor);
        for foreign in [text.as_str(), "", "!", "cjpicg"] {
            let error = Cursor::decode(List::Notices, foreign).unwrap_err();
            assert_eq!(error.to_string(), format!("`{foreign}` is not a cursor of this list"));
        }
    }
}
