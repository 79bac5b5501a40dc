//! Commands about keys, sent to the node of a cluster that has the key.

use super::trouble::Trouble;
use super::wire::{Login, Place, Reply, Wire};
use crate::check::support::dial::Target;
use crate::clock::Clock;
use url::Host;

/// How often a command is sent on before it is given up.
const MOST_HOPS: usize = 4;

/// A connection that follows where a cluster sends it.
pub struct Router<'a> {
    wire: Wire,
    login: &'a Login,
    clock: &'a dyn Clock,
}

impl<'a> Router<'a> {
    /// Starts with the node at the end of `wire`.
    pub fn new(wire: Wire, login: &'a Login, clock: &'a dyn Clock) -> Self {
        Self { wire, login, clock }
    }

    /// Sends a command to where the connection leads, and nowhere else.
    pub async fn ask_here(&mut self, words: &[&str]) -> Result<Reply, Trouble> {
        self.wire.ask(words).await
    }

    /// Sends a command, and sends it on where the key is elsewhere: see
    /// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply, Trouble> {
        let mut hops = 0;
        loop {
            let answer = self.wire.ask(words).await;
            let Err(Trouble::Refused(said)) = &answer else { return answer };
            let mut parts = said.split(' ');
            let (Some(code @ ("MOVED" | "ASK")), Some(_), Some(to)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return answer;
            };
            let Some(place) = place_of(to, &self.wire.place) else { return answer };
            hops += 1;
            if hops > MOST_HOPS {
                return answer;
            }
            let moves = code == "MOVED";
            let mut there = Wire::connect(&place, self.login, self.clock).await?;
            if !moves {
                there.ask(&["ASKING"]).await?;
                return there.ask(words).await;
            }
            self.wire = there;
        }
    }
}

/// Reads `host:port` as nodes write it: an IPv6 address without brackets, and no host at all for
/// the one that was asked.
pub fn place_of(text: &str, asked: &Place) -> Option<Place> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match (host, asked) {
        ("" | "?", Place::Tcp(target)) => target.host.clone(),
        ("" | "?", Place::Socket(_)) => return None,
        (host, _) if host.contains(':') => Host::Ipv6(host.parse().ok()?),
        (host, _) => Host::parse(host).ok()?,
    };
    Some(Place::Tcp(Target { host, port }))
}
