//! What phones are told on the box's own Wi-Fi, where every name leads to the box and there is no internet.
//!
//! A phone that joins asks a known address of its maker whether this is the internet. It is led to the
//! portal once: a page that says to open the real browser, because the window that phones show a portal in is no place to
//! play video. From then on it gets the answer that its maker expects, so that it stays joined.
//!
//! Owns: who has been led, the portal, RFC 8908's API. Does not own: DHCP and DNS, which bring the questions here
//! (`overlay/usr/share/returnfeed/dnsmasq.conf`). Requests from other networks pass through untouched, and
//! so do those that name the box itself: no stream's name is taken from anybody.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use super::Handles;
use super::caller::Caller;
use super::language::Language;
use super::refusal::Refused;
use crate::clock::Clock;

pub(super) mod pages;
mod probes;
#[cfg(test)]
mod tests;

/// The portal, below the box's own address. `setup` is no stream.
pub(super) const PORTAL: &str = "/setup/wifi";
/// Where the button of the portal leads.
pub(super) const JOINED: &str = "/setup/wifi/joined";
/// RFC 8908's API.
pub(super) const API: &str = "/api/v1/captive-portal";

/// A phone not heard of for so long is led to the portal again. Longer than the nights of a production.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);

/// Who has been led to the portal, on a Wi-Fi of the box's own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Portal {
    address: Ipv4Addr,
    clock: Clock,
    /// By the last byte of the address: a /24 has no more.
    led: Arc<Mutex<[Option<Instant>; 256]>>,
}

impl Portal {
    /// A portal for the /24 network in which the box is `address`.
    pub fn new(address: Ipv4Addr, clock: Clock) -> Self {
        Self { address, clock, led: Arc::new(Mutex::new([None; 256])) }
    }

    /// Which of the network's addresses this is; none of those of another network.
    fn guest(&self, peer: IpAddr) -> Option<Guest<'_>> {
        let IpAddr::V4(peer) = peer.to_canonical() else { return None };
        let ([network @ .., _], [same @ .., place]) = (self.address.octets(), peer.octets());
        (network == same && peer != self.address).then_some(Guest { portal: self, place })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// One phone on the network.
struct Guest<'p> {
    portal: &'p Portal,
    place: u8,
}

impl Guest<'_> {
    /// Whether it has been led to the portal. Being asked keeps the memory fresh.
    fn has_been_led(&self) -> bool {
        let now = self.portal.clock.now();
        self.remembered(|led| {
            *led = led.filter(|heard| now.saturating_duration_since(*heard) < FORGOTTEN_AFTER).map(|_| now);
            led.is_some()
        })
    }

    fn is_led(&self) {
        let now = self.portal.clock.now();
        self.remembered(|led| *led = Some(now));
    }

    fn remembered<T>(&self, use_it: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        let mut led = self.portal.led.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        use_it(led.get_mut(usize::from(self.place)).expect("an array of 256 has a place for every byte"))
    }
}

/// Answers for the rest of the world. What is asked of the box itself goes on to its routes.
pub(super) async fn stand_in(State(handles): State<Handles>, caller: Caller, request: Request, next: Next) -> Response {
    let Some(guest) = handles.portal.as_ref().and_then(|portal| portal.guest(caller.address)) else {
        return next.run(request).await;
    };
    // Whatever it asks, the phone is there.
    let led = guest.has_been_led();
    // Whoever came by HTTPS has found the certificate right for the name it asked for.
    if caller.secure || names_the_box(request.headers()) || is_in_the_settings(&handles, request.headers()) {
        if opens_the_page(&request) {
            guest.is_led();
        }
        return next.run(request).await;
    }
    // Nothing of the box is in what is answered, so nobody needs to be let in.
    answer_for_the_world(&guest, led, &request)
}

/// Whether the settings give the box the name that is asked for.
fn is_in_the_settings(handles: &Handles, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        ["http", "https"].iter().any(|scheme| handles.access.trusts_origin(&format!("{scheme}://{host}")))
    })
}

fn answer_for_the_world(guest: &Guest<'_>, led: bool, request: &Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match probes::success(request.uri().path()) {
        Some(success) if led => kept_by_nobody(success),
        // Somebody who types any address at all gets to the page; programs that look for theirs are told the truth.
        None if led && !wants_a_page(request.headers()) => kept_by_nobody(StatusCode::NOT_FOUND),
        _ => found(guest.portal.url(if led { "/" } else { PORTAL })),
    }
}

/// The portal itself.
pub(super) async fn portal(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let guest = guest(&handles, caller)?;
    Ok(plain_page(pages::portal(Language::of(&headers), guest.portal.address)))
}

/// What follows when its button was pressed: the phone is told from now on that all is well.
pub(super) async fn joined(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let guest = guest(&handles, caller)?;
    guest.is_led();
    Ok(plain_page(pages::joined(Language::of(&headers), guest.portal.address)))
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApiState {
    captive: bool,
    user_portal_url: String,
}

/// RFC 8908 §5. Over plain HTTP for now, which clients of that RFC do not ask (§4).
pub(super) async fn api(State(handles): State<Handles>, caller: Caller) -> Result<Response, Refused> {
    let guest = guest(&handles, caller)?;
    let state = ApiState { captive: !guest.has_been_led(), user_portal_url: guest.portal.url(PORTAL) };
    let json = serde_json::to_string(&state).expect("strings and booleans always serialise");
    let headers = [(header::CONTENT_TYPE, "application/captive+json"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, json).into_response())
}

/// On every other network there is no portal.
fn guest(handles: &Handles, caller: Caller) -> Result<Guest<'_>, Refused> {
    let guest = handles.portal.as_ref().and_then(|portal| portal.guest(caller.address));
    guest.ok_or_else(Refused::unknown_address)
}

/// Whether the `Host` is the box: an address, a name of the network's own (`.local`, or without any dot), or none.
pub(super) fn names_the_box(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let name = if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host };
    let name = name.trim_end_matches('.');
    let is_local = |name: &str| {
        name.len() > 6 && name.is_char_boundary(name.len() - 6) && {
            name.split_at(name.len() - 6).1.eq_ignore_ascii_case(".local")
        }
    };
    name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() || !name.contains('.') || is_local(name)
}

/// Whether somebody looks at the page, so that no portal needs to tell where it is.
fn opens_the_page(request: &Request) -> bool {
    let path = request.uri().path();
    let is_the_portal = [PORTAL, JOINED, API].contains(&path);
    !is_the_portal && (wants_a_page(request.headers()) || request.headers().contains_key(header::UPGRADE))
}

/// Whether a browser asks on behalf of a person: nothing else names HTML first (Fetch Standard, "destination document").
fn wants_a_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn found(url: String) -> Response {
    kept_by_nobody((StatusCode::FOUND, [(header::LOCATION, url)]))
}

/// The policy of the box forbids styles inside a page; this one has nothing else, and loads nothing.
pub(super) fn plain_page(html: String) -> Response {
    let mut response = kept_by_nobody(Html(html));
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn kept_by_nobody(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}
