//! HTTPS of the running box: its port, its certificates, and what the routes tell of both.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;

use super::{Failure, Machine, bind_tcp, convert, refused};
use crate::clock::Clock;
use crate::problems::{Problem, Problems};
use crate::settings::{self, Settings};
use crate::system::{self, local_addresses};
use crate::tls::{Acme, Config, Keeper, NotKept, acme};
use crate::{http, turn};

/// Where 443 leads to the port on the SD-card box (`overlay/etc/nftables.conf`).
const WELL_KNOWN: u16 = 443;

/// What has become of it, for whoever does not serve it.
pub(super) fn state(settings: &Settings, boxed: bool, https: Option<&Https>) -> convert::Https {
    match https {
        Some(https) => convert::Https::On(https.told.port),
        None if settings.https.address(boxed).is_some() => convert::Https::Failed,
        None => convert::Https::Off,
    }
}

/// HTTPS before it is served.
pub(super) struct Https {
    pub(super) listener: TcpListener,
    /// The port for TURN alone (RFC 8656 §2.1); none where nobody is relayed.
    pub(super) relay_listener: Option<TcpListener>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) told: http::Https,
    pub(super) keeper: Keeper,
    /// What keeps public names certified, where there are any.
    pub(super) acme: Option<Acme>,
    pub(super) address: SocketAddr,
}

impl Https {
    /// Where connections come in, of which `relay` serves those for TURN; and what keeps their certificates.
    pub(super) fn open(self, relay: Option<turn::Handle>) -> (Vec<http::Door>, Keeper, Option<Acme>) {
        let Self { listener, relay_listener, config, keeper, acme, .. } = self;
        let door = |listener, pages| {
            let tls = http::Tls { config: config.clone(), relay: relay.clone(), pages };
            http::Door { listener, tls: Some(tls) }
        };
        let doors = [Some(door(listener, true)), relay_listener.map(|listener| door(listener, false))];
        (doors.into_iter().flatten().collect(), keeper, acme)
    }
}

/// Binds HTTPS's port where the settings ask for it. Where there can be no certificate the box goes on without, and
/// says so: that is no reason to show nobody a picture. It is administered from itself alone then, unless the settings
/// say otherwise.
pub(super) fn bind(
    settings: &Settings,
    machine: &Machine,
    clock: &Clock,
    problems: &Problems,
) -> Result<Option<Https>, Failure> {
    let boxed = machine.identity.is_some();
    let Some(listen) = settings.https.address(boxed) else { return Ok(None) };
    let listener = bind_tcp(listen).map_err(|e| refused(settings, "https.listen", &e))?;
    let relay_listener = match settings.turn.enabled {
        true => Some(bind_tcp(settings.turn.tls_listen).map_err(|e| refused(settings, "turn.tls_listen", &e))?),
        false => None,
    };
    let config = Config {
        store: machine.store.clone(),
        names: convert::names(settings, machine.identity.as_ref()),
        addresses: local_addresses,
        own: settings.https.own.clone(),
        built: built(),
        clock_is_set: system::clock_is_set,
    };
    match certified(config, &listener, clock, problems) {
        Ok((config, keeper, address)) => {
            let port = if boxed { WELL_KNOWN } else { address.port() };
            let acme = settings.acme.as_ref().map(|wanted| keeper.acme(order(wanted)));
            let told = http::Https {
                port,
                authority: keeper.authority().clone(),
                redirect: settings.https.redirect,
                public: acme.as_ref().map(Acme::public),
            };
            Ok(Some(Https { listener, relay_listener, config, told, keeper, acme, address }))
        }
        Err(error) => {
            let text = format!(
                "There is no HTTPS: {error}. The page works over HTTP, but the box is not administered over it, unless \
                 [access] administration = \"lan\" is in the settings. Start the box again; if that does not help, \
                 its card is full or failing."
            );
            problems.raise(Problem { code: "https_off", subject: "https".into(), text });
            Ok(None)
        }
    }
}

fn order(wanted: &settings::Acme) -> acme::Config {
    acme::Config {
        names: wanted.names.clone(),
        email: wanted.email.clone(),
        method: match wanted.challenge {
            settings::Challenge::Http01 => acme::Method::Http01,
            settings::Challenge::TlsAlpn01 => acme::Method::TlsAlpn01,
            settings::Challenge::Dns01 => acme::Method::Dns01,
        },
        directory: wanted.directory.clone(),
        authority: wanted.authority.clone(),
        hook: wanted.dns_hook.clone(),
        wait: wanted.dns_wait,
    }
}

fn certified(
    config: Config,
    listener: &TcpListener,
    clock: &Clock,
    problems: &Problems,
) -> Result<(Arc<ServerConfig>, Keeper, SocketAddr), NotKept> {
    let keeper = Keeper::new(config, clock.clone(), problems.clone())?;
    Ok((keeper.server()?, keeper, listener.local_addr()?))
}

/// 1 January 2026: the program is no older, whatever the time of its file.
const NO_OLDER: Duration = Duration::from_secs(1_767_225_600);

/// When the program was made: the image gives its files the time of what it was made of, and cargo writes it when it
/// builds.
fn built() -> SystemTime {
    let modified = || -> io::Result<SystemTime> { std::fs::metadata(std::env::current_exe()?)?.modified() };
    modified().unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH + NO_OLDER)
}
