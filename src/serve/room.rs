use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio_util::sync::CancellationToken;

/// The connections that are open. Whoever comes always finds a place: where there is none left, the
/// connection that has been open longest without a request gives its own, so that idle clients,
/// however many, keep nobody out.
#[derive(Debug)]
pub(super) struct Room {
    places: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By the order of arrival.
    seats: BTreeMap<u64, Seat>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Seat {
    busy: Arc<AtomicBool>,
    leave: CancellationToken,
}

/// A place in the room, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    arrival: u64,
    seat: Seat,
}

impl Room {
    pub(super) fn with_places(places: usize) -> Arc<Self> {
        Arc::new(Self { places, taken: Mutex::default() })
    }

    /// A place for a connection, in the place of another if need be.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let seat = Seat { busy: Arc::default(), leave: CancellationToken::new() };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.seats.len() >= self.places {
            let is_idle = |seat: &Seat| !seat.busy.load(Ordering::Relaxed);
            let idle = taken.seats.iter().find(|(_, seat)| is_idle(seat)).map(|(&n, _)| n);
            // If all are at work, the one that came first has had the longest time.
            let gives_way = idle.or_else(|| taken.seats.keys().next().copied());
            if let Some(seat) = gives_way.and_then(|arrival| taken.seats.remove(&arrival)) {
                seat.leave.cancel();
            }
        }
        taken.arrivals += 1;
        let arrival = taken.arrivals;
        taken.seats.insert(arrival, seat.clone());
        Place { room: Arc::clone(self), arrival, seat }
    }
}

impl Place {
    /// Done once the place is needed for somebody else.
    pub(super) async fn given_away(&self) {
        self.seat.leave.cancelled().await;
    }

    /// What marks the connection as at work.
    pub(super) fn work(&self) -> Work {
        Work(Arc::clone(&self.seat.busy))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.seats.remove(&self.arrival);
    }
}

/// Marks a connection as at work, from a request's head to the end of its answer.
#[derive(Clone, Debug)]
pub(super) struct Work(Arc<AtomicBool>);

impl Work {
    /// A request came.
    pub(super) fn begin(&self) -> Busy {
        self.0.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }
}

/// A connection that is at work until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    /// At work until `body` has gone out.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Answering { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer that keeps its connection marked as at work.
struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Room};

    fn left(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.seat.leave.is_cancelled()).collect()
    }

    #[test]
    fn the_longest_idle_connection_gives_its_place() {
        let room = Room::with_places(3);
        let mut places: Vec<Place> = (0..3).map(|_| room.enter()).collect();
        let busy = places[0].work().begin();
        places.push(room.enter());
        assert_eq!(left(&places), [false, true, false, false]);
        drop(busy);
        places.push(room.enter());
        assert_eq!(left(&places), [true, true, false, false, false]);
    }

    #[test]
    fn where_all_are_at_work_the_first_gives_its_place() {
        let room = Room::with_places(2);
        let mut places: Vec<Place> = (0..2).map(|_| room.enter()).collect();
        let _busy: Vec<_> = places.iter().map(|place| place.work().begin()).collect();
        places.push(room.enter());
        assert_eq!(left(&places), [true, false, false]);
    }

    #[test]
    fn a_place_that_was_given_back_is_free() {
        let room = Room::with_places(2);
        drop(room.enter());
        let places: Vec<Place> = (0..2).map(|_| room.enter()).collect();
        assert_eq!(left(&places), [false, false]);
        assert_eq!(room.taken.lock().unwrap().seats.len(), 2);
        drop(places);
        assert!(room.taken.lock().unwrap().seats.is_empty());
    }
}
