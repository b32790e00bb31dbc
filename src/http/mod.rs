//! The box as browsers and programs see it: the page, WHEP, the tally WebSocket, the API.
//!
//! Owns: every route with the role it needs, and every byte of JSON that leaves the box. Does not
//! own: what it reports; it reads the hub, the sessions and the tally by their handles. No room
//! uses this one.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, options, post, put};
use ipnet::IpNet;
use tokio::sync::watch;

use crate::access::{Access, Role};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::problems::Problems;
use crate::update::Updates;
use crate::{sheet, tally, turn, webrtc};

mod acme;
mod address;
mod admission;
mod caller;
mod captive;
mod cookies;
mod guests;
mod health;
mod ice;
mod lamps;
mod language;
mod links;
mod page;
mod refusal;
mod secure;
mod serve;
mod setup_sheet;
mod sign_in;
mod status;
mod trust;
mod unvouched;
mod updates;
mod whep;
mod wire;
mod ws;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub mod fuzzing;

use address::Named;
use admission::{Gate, Pages};
pub use captive::Portal;
pub use guests::Guests;
pub use ice::Ice;
use refusal::Refused;
pub use serve::{Connections, Door, Tls};
pub use trust::Https;

/// The largest request body: an SDP offer of a browser has 5 to 10 KB.
const MOST_BODY_BYTES: usize = 32 << 10;

/// What the routes read and command.
#[derive(Clone)]
pub struct Handles {
    /// Time.
    pub clock: Clock,
    /// Who is connected.
    pub connections: Connections,
    /// The gate in front of every route.
    pub access: Access,
    /// The streams.
    pub hub: Hub,
    /// The viewers' sessions.
    pub sessions: webrtc::Handle,
    /// The newest tally.
    pub tally: watch::Receiver<Arc<tally::Snapshot>>,
    /// Whether the client that follows tally still does.
    pub tally_pulse: tally::Pulse,
    /// What is wrong right now.
    pub problems: Problems,
    /// Updates of this box.
    pub updates: Updates,
    /// Where people reach what listens on an address, as it is when asked.
    pub reachable: fn(SocketAddr) -> Vec<SocketAddr>,
    /// What the program holds of memory.
    pub memory: MemoryBound,
    /// What the box is and where it listens.
    pub about: watch::Receiver<Arc<About>>,
    /// The lamps, and tests of them.
    pub lamps: crate::lamps::Commands,
    /// Where phones are led on the box's own Wi-Fi; `None` when it has none.
    pub portal: Option<Portal>,
    /// How viewers are relayed; `None` when they are not.
    pub ice: Option<Ice>,
    /// HTTPS; `None`: there is none.
    pub https: Option<Https>,
    /// By what the viewers' sessions were let in.
    pub guests: Guests,
}

/// What the program holds of memory, and should at most.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBound {
    /// In bytes, as it is when asked; `None` where the machine does not tell.
    pub used: fn() -> Option<u64>,
    /// In bytes.
    pub bound_bytes: u64,
}

/// What the box is and where it listens, for people who set up a sender.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// The program's version.
    pub version: &'static str,
    /// When the program started: zero of the box clock in every message.
    pub started: Instant,
    /// Where the page is served.
    pub http: SocketAddr,
    /// Where senders call.
    pub srt: SocketAddr,
    /// The SRT latency this box asks for, in ms.
    pub srt_latency_ms: u32,
    /// Short names of the streams the settings name; the first is the page's default.
    pub streams: Vec<String>,
    /// What the box is called and how its Wi-Fi is joined; none where it is no box of the SD-card image.
    pub own: Option<sheet::Own>,
}

impl Handles {
    /// `instant` on the box clock, in ms.
    fn box_ms(&self, instant: Instant) -> f64 {
        let started = self.about.borrow().started;
        let after = instant.saturating_duration_since(started).as_secs_f64();
        (after - started.saturating_duration_since(instant).as_secs_f64()) * 1000.0
    }
}

/// Serves until `shutdown` resolves, then lets open requests finish. What `trusted_proxies` say of whoever asks them
/// is believed.
///
/// # Errors
/// None for now: what fails, fails for one connection.
pub async fn serve(
    doors: Vec<Door>,
    trusted_proxies: Vec<IpNet>,
    handles: Handles,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let proxies = Arc::new(caller::Proxies::new(trusted_proxies));
    let unvouched = unvouched::Unvouched::new(handles.access.clone(), handles.problems.clone(), handles.clock.clone());
    let sessions = handles.sessions.clone();
    let viewers = move || {
        let watching = sessions.sessions().into_iter().filter(|session| session.connected.is_some());
        watching.filter_map(|session| session.from).collect()
    };
    let server = serve::Server {
        connections: handles.connections.clone(),
        router: router(handles),
        proxies,
        unvouched,
        viewers: Arc::new(viewers),
    };
    server.run(doors, shutdown).await;
    Ok(())
}

/// Every route of the box.
pub fn router(handles: Handles) -> Router {
    routes(&handles).finish(&handles)
}

fn routes(handles: &Handles) -> Routes {
    let routes = Routes::new(handles.access.clone());
    let session = || get(whep::is_alive).patch(whep::patch).delete(whep::delete).options(whep::options);
    let endpoint = || post(whep::create).get(whep::probe);
    routes
        .add(Role::Anyone, "/", get(page::index))
        .add(Role::Anyone, "/admin", get(page::administrator))
        .add(Role::Anyone, "/{first}", get(page::stream))
        .add(Role::Anyone, "/{first}/", get(page::without_slash))
        .add(Role::Anyone, "/{first}/{second}", get(page::stream))
        .add(Role::Anyone, "/assets/{file}", get(page::asset))
        .add(Role::Anyone, "/{first}/assets/{file}", get(page::asset))
        .add(Role::Anyone, "/{first}/{second}/assets/{file}", get(page::asset))
        .add_for_own_pages_alone(Role::Viewer, "/ws", get(ws::upgrade))
        .add_for_own_pages_alone(Role::Viewer, "/ws/", get(ws::upgrade))
        .add_for_any_page(Role::Viewer, "/{first}/whep", endpoint())
        .add_for_any_page(Role::Viewer, "/{first}/whep/ice-servers", get(ice::servers_of_stream))
        .add_for_any_page(Role::Anyone, "/{first}/whep/{session}", session())
        .add_for_any_page(Role::Viewer, "/{first}/{second}/whep", endpoint())
        .add_for_any_page(Role::Viewer, "/{first}/{second}/whep/ice-servers", get(ice::servers_of_stream))
        .add_for_any_page(Role::Anyone, "/{first}/{second}/whep/{session}", session())
        .add_for_any_page(Role::Viewer, "/rtc/v1/whep", endpoint())
        .add_for_any_page(Role::Viewer, "/rtc/v1/whep/", endpoint())
        .add_for_any_page(Role::Anyone, "/rtc/v1/whep/{session}", session())
        .add_for_any_page(Role::Anyone, "/{first}/whep", options(whep::options))
        .add_for_any_page(Role::Anyone, "/{first}/{second}/whep", options(whep::options))
        .add_for_any_page(Role::Anyone, "/rtc/v1/whep", options(whep::options))
        .add_for_any_page(Role::Anyone, "/rtc/v1/whep/", options(whep::options))
        .add(Role::Anyone, captive::PORTAL, get(captive::portal))
        .add(Role::Anyone, captive::JOINED, get(captive::joined))
        .add(Role::Anyone, captive::API, get(captive::api))
        .add(Role::Anyone, "/join/{token}", get(sign_in::join))
        .add(Role::Anyone, "/{first}/join/{token}", get(sign_in::join))
        .add(Role::Anyone, "/api/v1/session", get(sign_in::session).post(sign_in::sign_in).delete(sign_in::sign_out))
        .add(Role::Administrator, "/api/v1/administrator/password", put(sign_in::set_password))
        .add(Role::Administrator, "/api/v1/links", get(links::list).post(links::make))
        .add(Role::Administrator, "/api/v1/links/{id}", delete(links::revoke))
        .add(Role::Anyone, trust::PAGE, get(trust::page))
        .add(Role::Anyone, "/trust/{file}", get(trust::file))
        .add(Role::Viewer, "/api/v1/ice-servers", get(ice::servers))
        .add(Role::Director, "/api/v1/status", get(status::status))
        .add(Role::Viewer, "/api/v1/lamps", get(lamps::state))
        .add(Role::Administrator, "/api/v1/lamps/test", post(lamps::test).delete(lamps::end_test))
        .add(Role::Administrator, "/api/v1/lamps/{name}/identify", post(lamps::identify))
        .add(Role::Director, "/setup-sheet", get(setup_sheet::page))
        .add(Role::Anyone, "/assets/setup-sheet.css", get(setup_sheet::style))
        .add(Role::Viewer, "/api/v1/update", get(updates::progress))
        .add(Role::Administrator, "/api/v1/update", put(updates::upload))
        .add(Role::Administrator, "/api/v1/update/restart", post(updates::restart))
        .add(Role::Anyone, "/healthz", get(health::health))
}

/// Collects routes so that none can be added without the role it needs. One address may ask for different roles by
/// method: it is added once for each.
struct Routes {
    access: Access,
    router: Router<Handles>,
    /// Every role and path, for the test that walks over all.
    paths: Vec<(Role, String)>,
}

impl Routes {
    fn new(access: Access) -> Self {
        Self { access, router: Router::new(), paths: Vec::new() }
    }

    /// A route for the box's own pages, and for programs.
    fn add(self, role: Role, path: &str, methods: MethodRouter<Handles>) -> Self {
        self.guarded(role, Pages::Own, path, methods)
    }

    /// A route that the page of no other site may even get.
    fn add_for_own_pages_alone(self, role: Role, path: &str, methods: MethodRouter<Handles>) -> Self {
        self.guarded(role, Pages::OwnAlways, path, methods)
    }

    /// A route that pages of other origins may use; a refusal tells them so as well.
    fn add_for_any_page(self, role: Role, path: &str, methods: MethodRouter<Handles>) -> Self {
        self.guarded(role, Pages::Any, path, methods)
    }

    fn guarded(mut self, role: Role, pages: Pages, path: &str, methods: MethodRouter<Handles>) -> Self {
        let gate = Gate { access: self.access.clone(), role, pages, path: path.into() };
        let methods = methods.layer(middleware::from_fn_with_state(gate, admission::admit));
        let methods = match pages {
            Pages::Any => methods.layer(middleware::map_response(whep::allow_any_origin)),
            Pages::Own | Pages::OwnAlways => methods,
        };
        self.paths.push((role, path.to_owned()));
        Self { router: self.router.route(path, methods), ..self }
    }

    fn finish(self, handles: &Handles) -> Router {
        self.router
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
            .layer(middleware::from_fn_with_state(handles.clone(), secure::redirect))
            .layer(middleware::from_fn_with_state(handles.clone(), captive::stand_in))
            .layer(middleware::from_fn_with_state(handles.clone(), acme::answer))
            .layer(middleware::map_response(harden))
            .with_state(handles.clone())
    }
}

/// Of what a browser's machine has, the page needs a screen that stays on, and all of it.
const DEVICES: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
                       microphone=(), midi=(), payment=(), usb=(), autoplay=(self), fullscreen=(self), \
                       picture-in-picture=(self), screen-wake-lock=(self)";

/// What every answer says to browsers, whatever it answers.
async fn harden(mut response: Response) -> Response {
    // `ws:` and `wss:` are named for browsers that do not count them to 'self' (Safari before 15.4).
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
                  manifest-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'self'";
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An address may hold a link's token.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    headers.insert("permissions-policy", HeaderValue::from_static(DEVICES));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // A page that loads nothing may have said something stricter.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
    response
}
