//! The composition root: the only file, with its parts in `app/`, that names every room.
//!
//! Owns: binding every socket before anything starts, starting every long-lived task, applying
//! settings that were read again, and stopping. Does not own: what any room does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use nix::errno::Errno;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Sources};
use crate::clock::Clock;
use crate::hub::{Event, Hub, Renditions};
use crate::media::StreamName;
use crate::problems::{Problem, Problems};
use crate::settings::{Environment, Identity, Settings, SettingsError};
use crate::system::{Store, Supervisor, logging, memory_used, reachable};
use crate::update::Updates;
use crate::{http, srt, tally, transcode, turn, webrtc};

mod access;
mod callers;
mod convert;
mod https;
mod lamps;
mod liveness;
mod memory;
mod own;
mod simulated;
mod troubles;
mod updates;

use callers::Callers;
pub use lamps::drive as drive_lamps;
use liveness::Pulses;
pub use own::{keep_console, print_for_the_machine, print_identity, print_sheet};
pub use simulated::{demo, simulate};
pub use updates::{ask_health, install_update};

/// How long open requests and goodbyes may take after the signal to stop.
const DRAIN: Duration = Duration::from_millis(1500);

/// The fact under which vMix's address is kept across restarts.
const VMIX_HOST: &str = "vmix-host";

/// Why the program ends without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An address or port is not to be had; the text says whose and what to do.
    #[error("{0}")]
    CannotBind(String),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Reads the settings again, from where they came.
pub type Reload = Box<dyn Fn() -> Result<Settings, SettingsError> + Send>;

/// Runs the box until it is told to stop (SIGTERM, SIGINT). SIGHUP reads the settings again.
///
/// # Errors
/// When something cannot be bound, or a part cannot be started.
pub async fn run(
    settings: Settings,
    environment: &Environment,
    log: logging::Filter,
    reload: Reload,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let supervisor = Supervisor::at(environment.notify_socket.as_ref()).context("finding the service manager")?;
    let (store, identity) = (Store::new(&environment.state_directory), own::identity(environment));
    let problems = Problems::default();
    let machine = Machine {
        setup_code: own::setup_code(identity.as_ref(), &store, &problems)?,
        store: Some(store),
        identity,
        updates: updates::taken_here(environment),
        lamps: environment.lamps.clone(),
        problems,
    };
    let mut app = App::start(settings, machine).await?;
    let _names = own::announce(environment, app.identity.as_ref(), app.listening.http.port());
    if let Some(within) = environment.watchdog {
        let proof = liveness::prove(supervisor.clone(), within, app.pulses.clone(), app.parts.stopping.clone());
        app.parts.tasks.spawn(proof);
    }
    if environment.identity.is_some() {
        let wifi = app.started_with.wifi.clone();
        let troubles = troubles::watch(environment.clone(), wifi, app.problems.clone(), app.parts.stopping.clone());
        app.parts.tasks.spawn(troubles);
    }
    supervisor.serving();
    while app.until(&mut signals).await? == Signal::Reload {
        match reload() {
            Ok(settings) => {
                // The environment is stronger than the file, as it was at the start.
                if environment.log_filter.is_none() {
                    log.set(settings.log.level.as_str()).context("changing what is logged")?;
                }
                app.apply(settings);
            }
            Err(error) => tracing::error!("the settings were not taken; the present ones stay in force:\n{error}"),
        }
    }
    supervisor.stopping();
    app.stop().await;
    Ok(())
}

/// The running box.
struct App {
    /// What it was started with: in force, as far as only a restart can change it.
    started_with: Settings,
    /// What makes the box one of a kind, where it is one.
    identity: Option<Identity>,
    /// What was read last, for whoever asks when it needs it: passphrases, for every new source.
    current: Arc<RwLock<Settings>>,
    listening: Listening,
    parts: Parts,
    pulses: Pulses,
    problems: Problems,
    access: Access,
    /// What has become of HTTPS at the start, which only a restart changes.
    https: convert::Https,
    about: watch::Sender<Arc<http::About>>,
    vmix: watch::Sender<tally::VmixConfig>,
    callers: Callers,
}

/// What the program finds of the machine it runs on.
#[derive(Default)]
struct Machine {
    /// What makes an administrator.
    setup_code: String,
    /// Where something is kept across restarts, if anywhere.
    store: Option<Store>,
    /// What makes the box one of a kind, where it is one.
    identity: Option<Identity>,
    /// How updates are taken here.
    updates: Updates,
    /// Where the lamp process listens.
    lamps: PathBuf,
    /// What is wrong with it already.
    problems: Problems,
}

/// What the box listens on, ports of 0 resolved.
#[derive(Clone, Copy, Debug)]
struct Listening {
    http: SocketAddr,
    srt: SocketAddr,
}

impl App {
    /// Binds everything, then starts everything: a box that cannot have one of its addresses has
    /// touched nothing.
    async fn start(settings: Settings, machine: Machine) -> Result<Self, Failure> {
        let clock = Clock::system();
        let https = https::bind(&settings, &machine, &clock, &machine.problems)?;
        let boxed = machine.identity.is_some();
        let https_state = https::state(&settings, boxed, https.as_ref());
        let Machine { setup_code, store, identity, updates, lamps, problems } = machine;
        let access = access::gate(&settings, https_state, setup_code, identity.as_ref(), store.as_ref(), &clock);
        let sound = convert::sound(&settings);
        let renditions = Renditions {
            picture: Arc::new(transcode::picture),
            sound: Arc::new(move || transcode::sound(sound)),
            obstacle: transcode::obstacle,
        };
        let hub = Hub::new(clock.clone(), access.clone(), problems.clone(), renditions);
        let current = Arc::new(RwLock::new(settings.clone()));

        let pages = bind_tcp(settings.http.listen).map_err(|e| refused(&settings, "http.listen", &e))?;
        let sinks: Arc<dyn srt::Sinks> = Arc::new(hub.clone());
        let (config, board) = (convert::srt_listener(&settings, &current, access.sources()), problems.clone());
        let sources = srt::Listener::bind(config, sinks.clone(), board, clock.clone());
        let sources = sources.map_err(|e| cannot_bind(&settings, "srt.listen", e))?;
        let (sessions, media) = bind_media(&settings, boxed, access.sources(), &clock, &problems)?;
        let credentials = turn::Credentials::new(&secret()?, clock.now());
        let turn = match settings.turn.enabled {
            true => Some(bind_turn(&settings, media.local_addr(), credentials.clone(), access.sources(), &clock)?),
            false => None,
        };
        let relay =
            settings.relay.listen.map(|address| bind_tcp(address).map_err(|e| refused(&settings, "relay.listen", &e)));
        let relay = relay.transpose()?;
        let listening = Listening {
            http: pages.local_addr().context("asking for the page's own address")?,
            srt: sources.local_addr().context("asking for the SRT port's own address")?,
        };
        let (page, feed_port, picture) = (listening.http.port(), listening.srt.port(), media.local_addr().port());
        let over = if media.serves_tcp() { "UDP and TCP" } else { "UDP" };

        let parts = Parts::new();
        let (tasks, stopping) = (parts.tasks.clone(), parts.stopping.clone());
        let (about, about_reader) =
            watch::channel(Arc::new(convert::about(&settings, identity.as_ref(), listening, clock.now())));
        let (vmix, vmix_reader) = watch::channel(convert::vmix(&settings));
        let (tally_writer, tally_reader) = watch::channel(Arc::default());
        let remembered = store.as_ref().and_then(|store| store.read(VMIX_HOST));
        let (found, found_reader) = watch::channel(remembered.and_then(|host| host.parse().ok()));

        parts.start("the WebRTC thread", media.run(stopping.clone()));
        let search = find_vmix(hub.clone(), hub.events(), store, found, stopping.clone());
        parts.start("the search for vMix", search.map(Ok));
        parts.start("the SRT listener", sources.run(stopping.clone()).map(Ok));
        let client = tally::Vmix::new(tally::VmixParts {
            config: vmix_reader,
            auto: found_reader,
            clock: clock.clone(),
            problems: problems.clone(),
            shutdown: stopping.clone(),
            publish: tally_writer,
            seed: seed()?,
        });
        let commands = lamps::commands(&settings);
        let feed = lamps::Feed::new(lamps::FeedParts {
            settings: &settings,
            socket: lamps,
            tally: tally_reader.clone(),
            commands: commands.clone(),
            problems: problems.clone(),
            clock: clock.clone(),
        });
        parts.start("what tells the lamps", feed.run(stopping.clone()).map(Ok));
        let pulses = Pulses { media: sessions.clone(), tally: client.pulse() };
        if let Some(lights) = relay {
            let relay = tally::Relay::new(lights, client.words(), access.clone(), problems.clone(), clock.clone());
            parts.start("the relay to network lights", relay.run(stopping.clone()).map(Ok));
        }
        parts.start("the vMix client", client.run().map(Ok));
        let relay_handle = turn.as_ref().map(|(handle, _)| handle.clone());
        let ice = turn.as_ref().map(|(_, turn)| http::Ice {
            credentials,
            listen: turn.local_addr(),
            tls: https.as_ref().map(|https| https.told.port),
            public_addresses: settings.webrtc.public_addresses.clone(),
        });
        if let Some((_, turn)) = turn {
            tracing::info!("TURN on UDP and TCP port {}", turn.local_addr().port());
            parts.start("the TURN server", turn.run(stopping.clone()));
        }
        let portal = convert::portal(&settings, identity.as_ref(), &clock);
        let callers = Callers::new(sinks, problems.clone(), clock.clone(), tasks.clone(), stopping.clone());
        let guests = http::Guests::default();
        let sending_away = guests.clone().watch(access.clone(), sessions.clone(), stopping.clone());
        parts.start("what ends sessions of who may not watch any more", sending_away.map(Ok));
        parts.start("what keeps who was let in", access::keep(access.clone(), stopping.clone()).map(Ok));
        let memory_bound = memory::bound(settings.webrtc.max_viewers);
        let watching = memory::watch(memory_used, memory_bound, problems.clone(), stopping.clone());
        parts.start("what looks at the memory", watching.map(Ok));
        let handles = http::Handles {
            connections: http::Connections::new(access.sources(), clock.clone()),
            clock,
            access: access.clone(),
            hub,
            sessions,
            tally: tally_reader,
            tally_pulse: pulses.tally.clone(),
            problems: problems.clone(),
            updates,
            reachable,
            memory: http::MemoryBound { used: memory_used, bound_bytes: memory_bound },
            about: about_reader,
            lamps: commands,
            portal,
            ice,
            https: https.as_ref().map(|https| https.told.clone()),
            guests: guests.clone(),
        };
        let mut doors = vec![http::Door { listener: pages, tls: None }];
        if let Some(https) = https {
            tracing::info!("HTTPS on TCP port {}", https.address.port());
            let (encrypted, keeper, acme) = https.open(relay_handle);
            doors.extend(encrypted);
            let until = stopping.clone();
            let keeping = async move { until.run_until_cancelled(keeper.run()).await };
            parts.start("what keeps the certificates", keeping.map(|_| Ok(())));
            if let Some(acme) = acme {
                let until = stopping.clone();
                let keeping = async move { until.run_until_cancelled(acme.run()).await };
                parts.start("what keeps the public names certified", keeping.map(|_| Ok(())));
            }
        }
        let proxies = settings.http.trusted_proxies.clone();
        parts.start("the web server", http::serve(doors, proxies, handles, stopping.cancelled_owned()));

        let mut app = Self {
            started_with: settings,
            identity,
            current,
            listening,
            parts,
            pulses,
            problems,
            access,
            https: https_state,
            about,
            vmix,
            callers,
        };
        app.callers.apply(&app.started_with);
        tracing::info!("page on TCP port {page}, SRT in on UDP port {feed_port}, WebRTC out on {over} port {picture}");
        Ok(app)
    }

    /// Waits for a signal.
    ///
    /// # Errors
    /// When a part of the box has ended by itself: half a box is worse than one that is started again.
    async fn until(&mut self, signals: &mut Signals) -> Result<Signal, Failure> {
        tokio::select! {
            signal = signals.next() => Ok(signal),
            part = self.parts.broken.recv() => {
                let part = part.unwrap_or("a part");
                Err(Failure::Other(anyhow::anyhow!("{part} has stopped working; start the program again")))
            }
        }
    }

    /// Puts other settings into force, as far as a running box can.
    fn apply(&mut self, new: Settings) {
        let waiting = self.started_with.needs_restart(&new);
        if waiting.is_empty() {
            tracing::info!("settings read; all of them are in force");
        } else {
            tracing::warn!("settings read; {} will change when the program is started again", waiting.join(", "));
        }
        self.about.send_modify(|about| convert::reread(Arc::make_mut(about), &new));
        self.vmix.send_if_modified(|vmix| {
            let wanted = convert::vmix(&new);
            let changed = *vmix != wanted;
            *vmix = wanted;
            changed
        });
        self.callers.apply(&new);
        self.access.apply(convert::policy(&new, self.https));
        *self.current.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = new;
    }

    /// Says goodbye to everybody and waits for it, but not long.
    async fn stop(self) {
        tracing::info!("stopping");
        self.parts.stopping.cancel();
        self.parts.tasks.close();
        if tokio::time::timeout(DRAIN, self.parts.tasks.wait()).await.is_err() {
            tracing::warn!("not everything said goodbye in time");
        }
    }
}

/// The long-lived tasks of the box, none of which may end before it is told to.
struct Parts {
    tasks: TaskTracker,
    stopping: CancellationToken,
    broken: mpsc::Receiver<&'static str>,
    breaking: mpsc::Sender<&'static str>,
}

impl Parts {
    fn new() -> Self {
        let (breaking, broken) = mpsc::channel(1);
        Self { tasks: TaskTracker::new(), stopping: CancellationToken::new(), broken, breaking }
    }

    /// Starts a part and tells when it ends by itself, by an error or by a panic.
    fn start(&self, part: &'static str, running: impl Future<Output = io::Result<()>> + Send + 'static) {
        let (stopping, breaking) = (self.stopping.clone(), self.breaking.clone());
        let running = tokio::spawn(running);
        self.tasks.spawn(async move {
            let ended = running.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            if let Err(err) = &ended {
                tracing::error!(%err, "{part} failed");
            }
            if !stopping.is_cancelled() {
                // One name is enough to end the program.
                let _ = breaking.try_send(part);
            }
        });
    }
}

/// Takes the address that sends the programme for vMix's, and keeps it.
async fn find_vmix(
    hub: Hub,
    mut events: broadcast::Receiver<Event>,
    store: Option<Store>,
    found: watch::Sender<Option<IpAddr>>,
    stopping: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = stopping.cancelled() => return,
        };
        let (stream, from) = match event {
            Ok(Event::Started { stream, from }) => (stream, from.ip().to_canonical()),
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        // The programme is sure to be vMix's; any other source is better than one that is gone.
        let known = *found.borrow();
        let is_sending = |known: IpAddr| {
            let streams = hub.streams();
            streams.iter().filter_map(|s| s.source.as_ref()).any(|s| s.from.ip().to_canonical() == known)
        };
        if known == Some(from) || (stream != StreamName::program() && known.is_some_and(is_sending)) {
            continue;
        }
        tracing::info!(%stream, peer = %from, "taking the sender of the feed for vMix");
        if let Some(Err(err)) = store.as_ref().map(|store| store.write(VMIX_HOST, &from.to_string())) {
            tracing::warn!(%err, "vMix's address cannot be kept across restarts");
        }
        found.send_replace(Some(from));
    }
}

/// Listens on `address`; `[::]` takes IPv4 too, whatever the system's default is.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // A kernel without IPv6: what `[::]` asks for is then every IPv4 address.
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
        {
            return bind_tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()));
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Binds TURN's two ports; where the TCP port was left to the system, the UDP port is the same.
fn bind_turn(
    settings: &Settings,
    media: SocketAddr,
    credentials: turn::Credentials,
    sources: Sources,
    clock: &Clock,
) -> Result<(turn::Handle, turn::Server), Failure> {
    let tcp = bind_tcp(settings.turn.listen).map_err(|e| refused(settings, "turn.listen", &e))?;
    let port = tcp.local_addr().context("asking for the TURN port's own address")?.port();
    let listen = SocketAddr::new(settings.turn.listen.ip(), port);
    let config = turn::Config {
        listen,
        media,
        local_addresses: crate::system::local_addresses,
        public_addresses: settings.webrtc.public_addresses.clone(),
        limits: turn::Limits::for_viewers(settings.webrtc.max_viewers),
        sources,
    };
    let bound = turn::Server::bind(config, tcp, credentials, clock.clone());
    bound.map_err(|e| cannot_bind(settings, "turn.listen", e))
}

fn refused(settings: &Settings, key: &'static str, error: &io::Error) -> Failure {
    let address = match key {
        "http.listen" => settings.http.listen,
        "https.listen" => settings.https.listen.unwrap_or(crate::settings::HTTPS_EVERYWHERE),
        "srt.listen" => settings.srt.listen,
        "turn.listen" => settings.turn.listen,
        "turn.tls_listen" => settings.turn.tls_listen,
        "relay.listen" => settings.relay.listen.unwrap_or(settings.http.listen),
        _ => settings.webrtc.listen,
    };
    Failure::CannotBind(settings.describe_bind_error(key, address, error))
}

/// The words of the settings where the system refused an address, else the room's own.
fn cannot_bind<E>(settings: &Settings, key: &'static str, error: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(system) => refused(settings, key, system),
        None => Failure::Other(anyhow::Error::new(error)),
    }
}

/// Binds the media port: UDP, and TCP where nobody else has it.
fn bind_media(
    settings: &Settings,
    boxed: bool,
    sources: Sources,
    clock: &Clock,
    problems: &Problems,
) -> Result<(webrtc::Handle, webrtc::Server), Failure> {
    let taken_by = settings.media_tcp_taken_by(boxed);
    let config = convert::webrtc(settings, taken_by.is_none(), sources);
    let (handle, server) =
        webrtc::Server::bind(config, clock.clone()).map_err(|e| cannot_bind(settings, "webrtc.listen", e))?;
    let port = server.local_addr().port();
    match taken_by {
        Some(key) => tracing::info!("no media over TCP: {key} has TCP port {port}"),
        None if !server.serves_tcp() => problems.raise(Problem {
            code: "media_tcp_taken",
            subject: String::new(),
            text: format!(
                "Another program on this machine has TCP port {port}: viewers whose network lets no UDP through get the \
                 picture through the relay alone, if at all. Stop that program or change [webrtc] listen, then start \
                 the box again."
            ),
        }),
        None => {}
    }
    Ok((handle, server))
}

fn seed() -> anyhow::Result<u64> {
    random().map(u64::from_le_bytes)
}

/// What TURN's passwords are made of: another at each start, so that it need not be kept.
fn secret() -> anyhow::Result<[u8; 32]> {
    random()
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Stop,
    Reload,
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("listening for signals");
        let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: on(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
