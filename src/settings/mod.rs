//! Settings: what a person wrote in the settings file, checked, in the program's own types.
//!
//! Owns: the schema, its defaults, every check that needs no network, the words in which a mistake is reported,
//! and the environment. Nothing else in the program reads a settings file or an environment variable.
//! Does not own: binding (the app does, and asks [`Settings::describe_bind_error`] for the words) and the state
//! that the program keeps by itself below [`Environment::state_directory`].
//! Flows to: `app`, which hands each room its part.
//!
//! The keys, with their defaults, are described in `docs/config.md` and `docs/returnfeed.example.toml`.

mod access;
mod acme;
mod bind;
mod environment;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod lamps;
mod machine;
mod mistake;
mod network;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod values;
mod wifi;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use access::{Access, Administration};
pub use acme::{Acme, Challenge, LETS_ENCRYPT};
pub use bind::describe_bind_error;
pub use environment::Environment;
pub use identity::{Identity, IdentityError};
pub use lamps::{ActiveLevel, ColourOrder, LAMP_PAIRS, Lamp, LampFollows, Leds, MOST_LAMPS, ShowPart, Strip};
pub use mistake::{Mistake, SettingsError};
pub use network::{Ipv4Network, Network};
pub use values::{
    InputRef, InvalidPassphrase, InvalidSource, KeyLength, LogLevel, Overlays, Passphrase, Source, VmixHost,
};
pub use wifi::{
    ACCESS_POINT, ACCESS_POINT_PREFIX, AccessPoint, Country, Wifi, WifiMode, WifiName, WifiPassphrase, WifiSecurity,
};

use ipnet::IpNet;

use crate::access::Secret;
use crate::media::StreamName;

/// The BCM number of the header's pin that the reset button hangs on: pin 40, with ground beside it on pin 39. It is
/// no setting, because a reset mends settings that are wrong, and nothing else may be given this pin.
pub const RESET_BUTTON_GPIO: u32 = 21;

/// The settings file that is read when none is named, if it is there.
pub const DEFAULT_PATH: &str = "/etc/returnfeed/returnfeed.toml";

/// The largest settings file that is read, in bytes.
pub const LARGEST_FILE: usize = 256 * 1024;

/// The longest name of a camera or a lamp, in characters.
pub const LONGEST_NAME: usize = 64;

/// Everything a person can set. [`Settings::default`] is what an empty file means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[http]`: the page, the API, WHEP and the tally WebSocket.
    pub http: Http,
    /// `[https]`: the same, encrypted.
    pub https: Https,
    /// `[acme]`: a certificate for public names; `None`: there is none.
    pub acme: Option<Acme>,
    /// `[srt]`: where encoders send to.
    pub srt: Srt,
    /// `[webrtc]`: where browsers get the picture from.
    pub webrtc: WebRtc,
    /// `[turn]`: the way in for browsers that reach the media port not at all, or not over UDP.
    pub turn: Turn,
    /// `[sound]`: what browsers hear.
    pub sound: Sound,
    /// `[network]`: the address of the box itself.
    pub network: Network,
    /// `[wifi]`: the radio of the box itself.
    pub wifi: Wifi,
    /// `[vmix]`: where tally comes from.
    pub vmix: Vmix,
    /// `[relay]`: where lights that speak vMix's protocol get tally from.
    pub relay: Relay,
    /// `[access]`: who may do what.
    pub access: Access,
    /// `[log]`: what is logged.
    pub log: Log,
    /// `[[stream]]`, in the file's order; names are unique.
    pub streams: Vec<Stream>,
    /// `[[camera]]`, in the file's order; names are unique.
    pub cameras: Vec<Camera>,
    /// `[[lamp]]`, in the file's order; names are unique, and no pin and no LED belongs to two.
    pub lamps: Vec<Lamp>,
    /// `[strip]`: what the lamps' LEDs are on.
    pub strip: Option<Strip>,
    places: Places,
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// TCP address of the page. An unspecified IPv6 address (`[::]`) means every IPv6 and every IPv4 address.
    pub listen: SocketAddr,
    /// Networks of the reverse proxies whose word is taken on who asks them.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[https]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Https {
    /// Whether there is HTTPS; `None`: on the SD-card box, and where `listen` is given.
    pub enabled: Option<bool>,
    /// TCP address of HTTPS; `None`: [`HTTPS_EVERYWHERE`]. `[::]` means every IPv6 and every IPv4 address.
    pub listen: Option<SocketAddr>,
    /// Files of a certificate of one's own (a chain in PEM) and of its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Whether whoever comes over HTTP is sent here.
    pub redirect: bool,
}

/// `[srt]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srt {
    /// UDP address for encoders that call. `[::]` means every IPv6 and every IPv4 address.
    pub listen: SocketAddr,
    /// The latency offered to encoders; the larger of both ends' wins (draft-sharabayko-srt §4.4). 10 ms to 10 s.
    pub latency: Duration,
    /// What an encoder that calls must know, unless its stream has a passphrase of its own.
    pub passphrase: Option<Passphrase>,
    /// The key an encoder that calls must give in its stream ID, unless its stream has a key of its own.
    pub key: Option<Secret>,
}

/// `[webrtc]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebRtc {
    /// UDP address of all viewers' media, and TCP where nothing else has that port. `[::]` means every IPv6 and every IPv4 address.
    pub listen: SocketAddr,
    /// Addresses announced to browsers beside the box's own: those of a router that forwards the port.
    pub public_addresses: Vec<IpAddr>,
    /// Viewers at once; a further one is refused. 1 to 10,000.
    pub max_viewers: usize,
    /// Threads that send to viewers, 0 to 16; 0 means one less than the machine has processors.
    pub threads: usize,
    /// How fast a large picture leaves for each viewer, in Mbit/s; 0, or 5 to 10,000. 0 means all at once.
    pub pace_mbps: u32,
    /// How fast the pictures that a joining viewer starts with leave, in Mbit/s; 5 to 10,000.
    pub join_mbps: u32,
}

/// `[turn]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether browsers may be relayed at all.
    pub enabled: bool,
    /// UDP and TCP address of the relay. `[::]` means every IPv6 and every IPv4 address.
    pub listen: SocketAddr,
    /// TCP address of the relay over TLS, where there is HTTPS.
    pub tls_listen: SocketAddr,
}

/// `[sound]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Bit rate of the Opus that AAC is made into, in kbit/s; 32 to 256.
    pub bitrate_kbps: u32,
    /// Whether browsers are told to keep picture and sound together, at the cost of a later picture.
    pub lip_sync: bool,
}

/// `[vmix]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmix {
    /// Where vMix is.
    pub host: VmixHost,
    /// vMix's TCP API, for tally.
    pub tcp_port: u16,
    /// vMix's Web Controller, for input names when the TCP API gives none.
    pub http_port: u16,
}

/// `[relay]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// TCP address on which the box is a vMix for tally lights; `None`: it is none. `[::]` means every IPv6 and every
    /// IPv4 address.
    pub listen: Option<SocketAddr>,
    /// Where lights may call from; empty: from the box's own networks.
    pub from: Vec<IpNet>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important message that is logged. `RUST_LOG` is stronger.
    pub level: LogLevel,
}

/// One `[[stream]]`: a stream with something to say about it. Other names may be published without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: StreamName,
    /// Where the box calls out to for it; without one the encoder calls the box.
    pub source: Option<Source>,
    /// What both ends must know: for `source` when there is one, else asked of whoever publishes.
    pub passphrase: Option<Passphrase>,
    /// The key that whoever publishes it must give in the stream ID.
    pub key: Option<Secret>,
}

/// One `[[camera]]`: a person behind a camera, and the vMix inputs that show the camera's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// What the crew calls it. Unique, 1 to 64 characters, neither starting nor ending with a space.
    pub name: String,
    /// Its vMix inputs; at least one.
    pub inputs: Vec<InputRef>,
    /// The vMix mixes whose program and preview count; at least one; 1 is the main mix; 1 to 16.
    pub mixes: BTreeSet<u8>,
    /// The overlay channels that count.
    pub overlays: Overlays,
}

/// Where settings stand in their file. Settings that differ only in this are equal.
#[derive(Clone, Debug, Default)]
struct Places {
    file: String,
    lines: BTreeMap<&'static str, usize>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// `[::]:port`: every IPv6 and every IPv4 address.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// Where HTTPS is when nobody says otherwise: a port that needs no right. On the SD-card box 443 leads here.
pub const HTTPS_EVERYWHERE: SocketAddr = everywhere(8443);

impl Https {
    /// Where there is HTTPS, if anywhere: on the SD-card box (`boxed`) unless it is switched off, elsewhere when asked for.
    pub fn address(&self, boxed: bool) -> Option<SocketAddr> {
        let wanted = self.enabled.unwrap_or(boxed || self.listen.is_some());
        wanted.then(|| self.listen.unwrap_or(HTTPS_EVERYWHERE))
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: everywhere(8889), trusted_proxies: Vec::new() }
    }
}

impl Default for Srt {
    fn default() -> Self {
        Self { listen: everywhere(8890), latency: Duration::from_millis(120), passphrase: None, key: None }
    }
}

impl Default for WebRtc {
    fn default() -> Self {
        Self {
            listen: everywhere(8189),
            public_addresses: Vec::new(),
            max_viewers: 250,
            threads: 0,
            pace_mbps: 0,
            join_mbps: 100,
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self { enabled: true, listen: everywhere(3478), tls_listen: everywhere(5349) }
    }
}

impl Default for Sound {
    fn default() -> Self {
        Self { bitrate_kbps: 128, lip_sync: false }
    }
}

impl Default for Vmix {
    fn default() -> Self {
        Self { host: VmixHost::Auto, tcp_port: 8099, http_port: 8088 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info }
    }
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When it cannot be read, and with every mistake in it when there are any.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let name = path.display().to_string();
        let unreadable = |source| SettingsError::Unreadable { file: name.clone(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more than is allowed, so that a file too large is seen to be.
        std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_FILE as u64 + 1), &mut bytes)
            .map_err(unreadable)?;
        Self::parse_bytes(&name, &bytes)
    }

    /// Reads the file a person named, else [`DEFAULT_PATH`] when it is there, else takes the defaults.
    ///
    /// # Errors
    /// As [`Settings::load`]; a file that was named must be there.
    pub fn load_named_or_default(named: Option<&Path>) -> Result<Self, SettingsError> {
        match named {
            Some(path) => Self::load(path),
            None => match Self::load(Path::new(DEFAULT_PATH)) {
                Err(SettingsError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    Ok(Self::default())
                }
                other => other,
            },
        }
    }

    /// Settings from text; `name` is what messages call it.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn parse(name: &str, text: &str) -> Result<Self, SettingsError> {
        Self::parse_bytes(name, text.as_bytes())
    }

    fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Self, SettingsError> {
        read::read(name, bytes)
    }

    /// The keys in which `new` differs and which only a restart can apply: the addresses that are listened on, and
    /// what is fixed with them. Everything else takes effect when the settings are read again.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let fixed = [
            ("https", self.https != new.https),
            ("acme", self.acme != new.acme),
            ("http.trusted_proxies", self.http.trusted_proxies != new.http.trusted_proxies),
            ("srt.latency_ms", self.srt.latency != new.srt.latency),
            ("webrtc.public_addresses", self.webrtc.public_addresses != new.webrtc.public_addresses),
            ("webrtc.max_viewers", self.webrtc.max_viewers != new.webrtc.max_viewers),
            ("webrtc.threads", self.webrtc.threads != new.webrtc.threads),
            ("webrtc.pace_mbps", self.webrtc.pace_mbps != new.webrtc.pace_mbps),
            ("webrtc.join_mbps", self.webrtc.join_mbps != new.webrtc.join_mbps),
            (schema::TURN_TLS_LISTEN, self.turn.tls_listen != new.turn.tls_listen),
            ("turn.enabled", self.turn.enabled != new.turn.enabled),
            ("sound.bitrate_kbps", self.sound.bitrate_kbps != new.sound.bitrate_kbps),
            ("sound.lip_sync", self.sound.lip_sync != new.sound.lip_sync),
            ("network", self.network != new.network),
            ("wifi", self.wifi != new.wifi),
            ("lamp", self.lamps != new.lamps),
            ("strip", self.strip != new.strip),
            (schema::RELAY_LISTEN, self.relay.listen != new.relay.listen),
        ];
        let listens = self.listens().into_iter().zip(new.listens());
        let listens = listens.map(|((key, before), (_, after))| (key, before != after));
        listens.chain(fixed).filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// Why an address of these settings could not be bound, with file and line when the file sets it.
    /// `key` is `http.listen`, `https.listen`, `srt.listen`, `webrtc.listen`, `turn.listen`, `turn.tls_listen` or `relay.listen`.
    pub fn describe_bind_error(&self, key: &str, addr: SocketAddr, error: &std::io::Error) -> String {
        let text = describe_bind_error(key, addr, error);
        match self.places.lines.get(key) {
            Some(line) => format!("{}:{line}: {text}", self.places.file),
            None => text,
        }
    }

    /// The key of what else of this box listens on the media's TCP port, where something does: then there is no media
    /// over TCP, of which only few viewers have need. `boxed` is as for [`Https::address`].
    pub fn media_tcp_taken_by(&self, boxed: bool) -> Option<&'static str> {
        let listens = self.tcp_listens(boxed).into_iter();
        listens.filter(|(_, address)| read::clash(*address, self.webrtc.listen)).map(|(key, _)| key).next()
    }

    /// What is listened on over TCP, by key, but for the media.
    fn tcp_listens(&self, boxed: bool) -> Vec<(&'static str, SocketAddr)> {
        let turn = self.turn.enabled.then_some((schema::TURN_LISTEN, self.turn.listen));
        let https = self.https.address(boxed).map(|listen| (schema::HTTPS_LISTEN, listen));
        let relayed = https.and(turn).map(|_| (schema::TURN_TLS_LISTEN, self.turn.tls_listen));
        let lights = self.relay.listen.map(|listen| (schema::RELAY_LISTEN, listen));
        let http = (schema::HTTP_LISTEN, self.http.listen);
        [Some(http), https, lights, turn, relayed].into_iter().flatten().collect()
    }

    /// What is listened on, by key.
    fn listens(&self) -> [(&'static str, SocketAddr); 4] {
        [
            (schema::HTTP_LISTEN, self.http.listen),
            (schema::SRT_LISTEN, self.srt.listen),
            (schema::WEBRTC_LISTEN, self.webrtc.listen),
            (schema::TURN_LISTEN, self.turn.listen),
        ]
    }
}
