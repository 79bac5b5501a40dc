//! From the first request to the final answer.

use super::Http;
use super::hop::{Form, Hop};
use super::inflate;
use super::oauth;
use super::trip::{self, Doing, Trip};
use crate::check::support::dial::route::Manner;
use crate::check::support::dial::{self, Aim, Secure, Target};
use crate::check::support::exchange::{Body, Link, Versions};
use crate::clock::Clock;
use http::header::{AUTHORIZATION, HeaderValue, LOCATION};
use http::response::Parts;
use http::{Method, StatusCode};
use std::borrow::Cow;
use std::sync::PoisonError;
use std::time::Duration;
use url::Url;

/// The bytes of a redirect's own body that are worth reading to keep its connection.
const MAX_REDIRECT_BODY: usize = 64 * 1024;

/// Connections that one check keeps, at most.
const MAX_KEPT: usize = 10;

impl Http {
    /// Goes from answer to answer until one is final.
    pub(super) async fn travel(&self, clock: &dyn Clock, trip: &mut Trip) -> Result<(), String> {
        let mut fresh = false;
        let mut hop = Cow::Borrowed(&self.first);
        if self.oauth.is_some() {
            hop = Cow::Owned(Box::pin(self.authorized(clock, trip, &mut fresh)).await?);
        }
        let mut visited: Vec<(Method, Url)> = Vec::new();
        loop {
            let start = clock.now().mono;
            self.visit(clock, &hop, trip).await?;
            let Some(parts) = trip.parts.take() else {
                return Err("no answer came".to_owned());
            };
            let status = parts.status;
            // A token may end before its time; one that is fresh will not be better next time.
            if let (StatusCode::UNAUTHORIZED, Some(oauth), false) = (status, &self.oauth, fresh) {
                oauth.forget();
                hop = Cow::Owned(Box::pin(self.authorized(clock, trip, &mut fresh)).await?);
                visited.clear();
                continue;
            }
            let location = self.location(&parts);
            if location.is_some() || !trip.hops.is_empty() {
                let took = clock.now().mono.saturating_sub(start);
                trip.hops.push(trip::hop(&self.hide(hop.shown().into()), status, took));
            }
            let Some(location) = location else {
                self.unpack(&parts, trip).await?;
                trip.parts = Some(parts);
                return Ok(());
            };
            let next = hop.redirected(status, location)?;
            let shown = || self.hide(next.shown().into()).into_owned();
            visited.push((hop.method.clone(), hop.url.clone()));
            if visited.iter().any(|(method, url)| *method == next.method && *url == next.url) {
                let shown = shown();
                return Err(format!("redirect loop: {shown} leads back to itself"));
            }
            if trip.redirects == self.max_redirects {
                let most = self.max_redirects;
                return Err(format!("more than {most} redirects, the last to {}", shown()));
            }
            trip.redirects += 1;
            hop = Cow::Owned(next);
        }
    }

    /// The first request with a token, which `fresh` says was fetched just now.
    async fn authorized(
        &self,
        clock: &dyn Clock,
        trip: &mut Trip,
        fresh: &mut bool,
    ) -> Result<Hop, String> {
        let mut hop = self.first.clone();
        let Some(oauth) = &self.oauth else { return Ok(hop) };
        let token = match oauth.current(clock.now().mono) {
            Some(token) => token,
            None => {
                *fresh = true;
                trip.doing = Doing::Token;
                let start = clock.now().mono;
                let (status, body) = self
                    .ask_once(clock, &oauth.hop)
                    .await
                    .map_err(|what| format!("OAuth2: no token: {what}"))?;
                let now = clock.now().mono;
                trip.token = Some(trip.token.unwrap_or_default() + now.saturating_sub(start));
                trip.doing = Doing::Connecting;
                oauth.accept(status, &body, now)?
            }
        };
        hop.headers.insert(AUTHORIZATION, token.header);
        Ok(hop)
    }

    /// One exchange over a connection of its own, with the same options, measured by nobody.
    async fn ask_once(&self, clock: &dyn Clock, hop: &Hop) -> Result<(StatusCode, Body), String> {
        let (mut link, _) = self.link(clock, hop, &mut Trip::default()).await?;
        let request = hop.request(self.form(hop, &link))?;
        let response = link.send(request).await.map_err(|failed| failed.what)?;
        let (parts, incoming) = response.into_parts();
        let mut body = Body::default();
        link.read(incoming, oauth::MAX_ANSWER, &mut body).await?;
        Ok((parts.status, body))
    }

    /// Sends one request and reads the answer to it into `trip`, as far as it comes.
    async fn visit(&self, clock: &dyn Clock, hop: &Hop, trip: &mut Trip) -> Result<(), String> {
        trip.body = Body::default();
        if let Some(mut link) = self.take_kept(hop).await {
            let request = hop.request(self.form(hop, &link))?;
            trip.doing = Doing::Waiting;
            let start = clock.now().mono;
            match link.send(request).await {
                Ok(response) => {
                    let now = clock.now().mono;
                    trip.arrived(now.saturating_sub(start), response.status());
                    trip.phases.add(dial::Phases::none(hop.secure));
                    trip.saw(link.chain.clone());
                    return self.receive(clock, hop, link, response, now, trip).await;
                }
                // The server may have ended the connection just when the request left. A request
                // that changes things goes again only if the server cannot have seen it.
                Err(failed) if failed.unsent.is_some() || hop.method.is_idempotent() => {}
                Err(failed) => return Err(failed.what),
            }
        }
        let (mut link, start) = self.link(clock, hop, trip).await?;
        let request = hop.request(self.form(hop, &link))?;
        trip.doing = Doing::Waiting;
        let response = link.send(request).await.map_err(|failed| failed.what)?;
        let now = clock.now().mono;
        trip.arrived(now.saturating_sub(start), response.status());
        self.receive(clock, hop, link, response, now, trip).await
    }

    /// A new connection, and when it stood.
    async fn link(
        &self,
        clock: &dyn Clock,
        hop: &Hop,
        trip: &mut Trip,
    ) -> Result<(Link, Duration), String> {
        trip.doing = Doing::Connecting;
        // A name of one's own belongs to the host that it was given for, not to where a redirect
        // or a token leads.
        let is_own = hop.target.host == self.first.target.host;
        let name = self.tls.server_name.as_ref().filter(|_| is_own);
        let tls = hop.secure.then_some(Secure { config: &self.tls.config, name });
        let aim = if self.is_told_to_proxy(hop) { Aim::Proxy } else { Aim::Tunnel };
        let dialled = dial::dial_by(clock, &hop.target, tls, &self.route, aim).await;
        let dialled = dialled.map_err(|failed| {
            trip.phases.add(failed.phases);
            trip.saw(failed.chain);
            failed.what
        })?;
        trip.phases.add(dialled.phases);
        trip.saw(dialled.chain.clone());
        let link = Link::over(dialled, self.versions).await?;
        Ok((link, clock.now().mono))
    }

    async fn receive(
        &self,
        clock: &dyn Clock,
        hop: &Hop,
        mut link: Link,
        response: http::Response<hyper::body::Incoming>,
        arrived: Duration,
        trip: &mut Trip,
    ) -> Result<(), String> {
        trip.http2 = link.is_http2();
        trip.doing = Doing::Reading;
        let (parts, body) = response.into_parts();
        let redirects = self.location(&parts).is_some();
        // From here on what came is there, whatever becomes of the rest.
        trip.parts = Some(parts);
        let limit = match (redirects, self.reuse) {
            (false, _) => self.max_body,
            (true, true) => MAX_REDIRECT_BODY,
            (true, false) => return Ok(()),
        };
        let read = link.read(body, limit, &mut trip.body).await;
        let took = clock.now().mono.saturating_sub(arrived);
        trip.transfer = Some(trip.transfer.unwrap_or_default() + took);
        read?;
        if self.reuse && !trip.body.truncated {
            self.keep(hop, link);
        }
        Ok(())
    }

    /// Undoes what the body is compressed by.
    async fn unpack(&self, parts: &Parts, trip: &mut Trip) -> Result<(), String> {
        if !self.decompress || !inflate::is_encoded(&parts.headers) {
            return Ok(());
        }
        let packed = std::mem::take(&mut trip.body);
        trip.compressed = Some(packed.bytes.len());
        // Boxed, since few need it.
        let unpacked = Box::pin(inflate::inflate(&parts.headers, packed, self.max_body)).await;
        trip.body = unpacked?;
        Ok(())
    }

    /// Where an answer points, if it is a redirect that is to be followed.
    fn location<'a>(&self, parts: &'a Parts) -> Option<&'a HeaderValue> {
        let redirects = matches!(parts.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        parts.headers.get(LOCATION).filter(|_| self.follow && redirects)
    }

    /// Whether a proxy gets the request itself, and not only the address.
    fn is_told_to_proxy(&self, hop: &Hop) -> bool {
        let proxy = self.route.proxy.as_ref();
        !hop.secure && self.versions != Versions::Two && proxy.is_some_and(|it| it.is_http())
    }

    fn form(&self, hop: &Hop, link: &Link) -> Form<'_> {
        match &self.route.proxy {
            _ if link.is_http2() => Form::Http2,
            Some(proxy) if self.is_told_to_proxy(hop) => match &proxy.manner {
                Manner::Http { authorization } => Form::Proxy(authorization.as_ref()),
                Manner::Socks { .. } => Form::Origin,
            },
            _ => Form::Origin,
        }
    }

    async fn take_kept(&self, hop: &Hop) -> Option<Link> {
        if !self.reuse {
            return None;
        }
        let mut link = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |(target, secure, _): &(Target, bool, Link)| {
                *target == hop.target && *secure == hop.secure
            };
            let index = kept.iter().position(fits)?;
            kept.swap_remove(index).2
        };
        link.is_alive().await.then_some(link)
    }

    fn keep(&self, hop: &Hop, link: Link) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that points somewhere else each time must not gather connections.
        if kept.len() > MAX_KEPT {
            kept.clear();
        }
        kept.push((hop.target.clone(), hop.secure, link));
    }
}
