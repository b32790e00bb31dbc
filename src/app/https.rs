//! HTTPS of the running box: its port, its certificates, and what the routes tell of both.

use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use tokio::net::TcpListener;

use super::{Failure, Machine, bind_tcp, convert, refused};
use crate::clock::Clock;
use crate::http;
use crate::problems::{Problem, Problems};
use crate::settings::Settings;
use crate::system::local_addresses;
use crate::tls::{Config, Keeper, NotKept};

/// Where 443 leads to the port on the SD-card box (`overlay/etc/nftables.conf`).
const WELL_KNOWN: u16 = 443;

/// HTTPS before it is served.
pub(super) struct Https {
    pub(super) door: http::Door,
    pub(super) told: http::Https,
    pub(super) keeper: Keeper,
    pub(super) address: SocketAddr,
}

/// Binds HTTPS's port where the settings ask for it. Where there can be no certificate the box goes on without, and
/// says so: that is no reason to show nobody a picture.
pub(super) fn bind(
    settings: &Settings,
    machine: &Machine,
    clock: &Clock,
    problems: &Problems,
) -> Result<Option<Https>, Failure> {
    let boxed = machine.identity.is_some();
    let Some(listen) = settings.https.address(boxed) else { return Ok(None) };
    let listener = bind_tcp(listen).map_err(|e| refused(settings, "https.listen", &e))?;
    let config = Config {
        store: machine.store.clone(),
        names: convert::names(machine.identity.as_ref()),
        addresses: local_addresses,
        own: settings.https.own.clone(),
        built: built(),
    };
    match certified(config, listener, clock, problems) {
        Ok((door, keeper, address)) => {
            let port = if boxed { WELL_KNOWN } else { address.port() };
            let told = http::Https { port, authority: keeper.authority().clone(), redirect: settings.https.redirect };
            Ok(Some(Https { door, told, keeper, address }))
        }
        Err(error) => {
            let text = format!("There is no HTTPS: {error}. The page works over HTTP; start the box again.");
            problems.raise(Problem { code: "https_off", subject: "https".into(), text });
            Ok(None)
        }
    }
}

fn certified(
    config: Config,
    listener: TcpListener,
    clock: &Clock,
    problems: &Problems,
) -> Result<(http::Door, Keeper, SocketAddr), NotKept> {
    let keeper = Keeper::new(config, clock.clone(), problems.clone())?;
    let (tls, address) = (Some(keeper.server()?), listener.local_addr()?);
    Ok((http::Door { listener, tls }, keeper, address))
}

/// When the program was made: the image gives its files the time of what it was made of, and cargo writes it when it
/// builds.
fn built() -> SystemTime {
    let modified = || -> io::Result<SystemTime> { std::fs::metadata(std::env::current_exe()?)?.modified() };
    modified().unwrap_or(SystemTime::UNIX_EPOCH)
}
