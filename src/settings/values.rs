//! The values that settings are made of.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

/// The latencies that make sense on an SRT link, in milliseconds.
pub(super) const LATENCY_MS: std::ops::RangeInclusive<i64> = 10..=10_000;

/// The longest stream ID that SRT can carry, in bytes (draft-sharabayko-srt §3.2.1.3).
const LONGEST_STREAM_ID: usize = 512;

/// An SRT passphrase: 10 to 79 bytes (draft-sharabayko-srt §6.1). Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

/// Why a text is no passphrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SRT passphrase has 10 to 79 characters, this one has {0}")]
pub struct InvalidPassphrase(usize);

impl Passphrase {
    /// The passphrase itself, for the SRT room alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Passphrase {
    type Err = InvalidPassphrase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // SRT counts bytes; for the letters people use here they are the same.
        if (10..=79).contains(&text.len()) { Ok(Self(text.into())) } else { Err(InvalidPassphrase(text.len())) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// How a `[[camera]]` names one vMix input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputRef {
    /// Its number, counted from 1. Moves to another input when inputs are renumbered.
    Number(u32),
    /// Its key (a GUID, which survives renumbering) or else its title.
    Text(String),
}

/// The vMix overlay channels that count for a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlays {
    /// Every one.
    All,
    /// These alone, counted from 1; none when empty.
    Only(BTreeSet<u8>),
}

impl Overlays {
    /// Whether overlay channel `number`, counted from 1, counts.
    pub fn counts(&self, number: u8) -> bool {
        match self {
            Self::All => true,
            Self::Only(numbers) => numbers.contains(&number),
        }
    }
}

/// Where vMix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmixHost {
    /// At the address that sends the SRT feed.
    Auto,
    /// At this IP address or host name, without a port.
    Named(String),
}

/// The least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What a person must act on.
    Error,
    /// And what works worse than it should.
    Warn,
    /// And what changed.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// And every packet.
    Trace,
}

impl LogLevel {
    /// Every level, as it is written.
    pub(super) const WORDS: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// As it is written in the settings, and as `tracing` calls it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }
}

/// The length of an SRT encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLength {
    /// AES-128.
    Bits128,
    /// AES-192.
    Bits192,
    /// AES-256.
    Bits256,
}

impl KeyLength {
    /// In bytes, as SRT's `pbkeylen` counts it.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

/// An SRT listener to call: `srt://host:port?streamid=…&latency=…&passphrase=…&pbkeylen=…&mode=caller`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its IP address or host name; an IPv6 address without brackets.
    pub host: String,
    /// Its UDP port; never 0.
    pub port: u16,
    /// `streamid`: the stream to ask for.
    pub stream_id: Option<String>,
    /// `latency`, written in milliseconds; `[srt] latency_ms` when left out.
    pub latency: Option<Duration>,
    /// `passphrase`. In a [`super::Stream`] it has been moved to [`super::Stream::passphrase`].
    pub passphrase: Option<Passphrase>,
    /// `pbkeylen`, written in bytes; 128 bits when left out.
    pub key_length: Option<KeyLength>,
}

/// Why a text is no address of an SRT listener. Its text never shows a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct InvalidSource {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl InvalidSource {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// The query parameters of a source.
const PARAMETERS: [&str; 5] = ["streamid", "latency", "passphrase", "pbkeylen", "mode"];

impl Source {
    /// `host:port`, an IPv6 address in brackets: what a resolver takes and what may be shown.
    pub fn address(&self) -> String {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Reads the query; every fault is listed.
    fn read_query(&mut self, url: &url::Url, faults: &mut Vec<InvalidSource>) {
        let mut seen = BTreeSet::new();
        for (key, value) in url.query_pairs() {
            if !seen.insert(key.clone()) {
                faults.push(InvalidSource::new(format!("`{key}` is given twice"), "give it once"));
                continue;
            }
            let fault = match &*key {
                "streamid" if value.len() <= LONGEST_STREAM_ID => {
                    self.stream_id = Some(value.into_owned());
                    continue;
                }
                "streamid" => InvalidSource::new(
                    format!("`streamid` has {} bytes, and SRT carries at most {LONGEST_STREAM_ID}", value.len()),
                    "shorten it",
                ),
                "latency" => match value.parse::<i64>() {
                    Ok(ms) if LATENCY_MS.contains(&ms) => {
                        self.latency = Some(Duration::from_millis(ms.unsigned_abs()));
                        continue;
                    }
                    _ => InvalidSource::new(
                        format!("`latency` must be {} to {}, in milliseconds", LATENCY_MS.start(), LATENCY_MS.end()),
                        "write `latency=120` (ffmpeg's microseconds divided by 1000)",
                    ),
                },
                "passphrase" => match value.parse() {
                    Ok(passphrase) => {
                        self.passphrase = Some(passphrase);
                        continue;
                    }
                    Err(InvalidPassphrase(length)) => InvalidSource::new(
                        format!("`passphrase` has {length} characters, but SRT needs 10 to 79"),
                        "use the passphrase that the other end has",
                    ),
                },
                "pbkeylen" => {
                    let length = match &*value {
                        "16" => KeyLength::Bits128,
                        "24" => KeyLength::Bits192,
                        "32" => KeyLength::Bits256,
                        _ => {
                            faults.push(InvalidSource::new(
                                "`pbkeylen` must be 16, 24 or 32 bytes (AES-128, AES-192, AES-256)",
                                "write `pbkeylen=16`, or leave it out",
                            ));
                            continue;
                        }
                    };
                    self.key_length = Some(length);
                    continue;
                }
                "mode" if value == "caller" => continue,
                "mode" => InvalidSource::new(
                    "`mode` must be `caller`: with a source it is the box that calls",
                    "leave `mode` out; to have the encoder call the box, leave `source` out",
                ),
                unknown => match super::schema::nearest(unknown, PARAMETERS) {
                    Some(known) => InvalidSource::new(
                        format!("unknown parameter `{}`", shown(unknown)),
                        format!("did you mean `{known}`?"),
                    ),
                    None => InvalidSource::new(
                        format!("unknown parameter `{}`", shown(unknown)),
                        "the parameters are `streamid`, `latency`, `passphrase`, `pbkeylen` and `mode`",
                    ),
                },
            };
            faults.push(fault);
        }
    }

    /// Reads an address; every fault is listed, so that one correction mends all.
    pub(super) fn parse_all(text: &str) -> Result<Self, Vec<InvalidSource>> {
        const FORM: &str = "write it as \"srt://192.168.1.20:9000?streamid=pgm\"";
        let one = |what: &str, remedy: &str| vec![InvalidSource::new(what, remedy)];
        let url = url::Url::parse(text).map_err(|error| {
            // `192.168.1.20:9000` is no URL and `vmix.local:9000` one with the scheme `vmix.local`.
            one(&format!("the address cannot be read ({error})"), FORM)
        })?;
        if url.scheme() != "srt" || !text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("srt://")) {
            return Err(one("the address must start with `srt://`", FORM));
        }
        let mut faults = Vec::new();
        let host = match url.host() {
            Some(url::Host::Domain(name)) if is_host_name(name) => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            Some(url::Host::Domain(name)) => {
                faults.push(InvalidSource::new(format!("`{}` is no host name", shown(name)), FORM));
                String::new()
            }
            None => {
                faults.push(InvalidSource::new("the address names no host", FORM));
                String::new()
            }
        };
        let port = url.port().unwrap_or(0);
        if port == 0 && !host.is_empty() {
            faults.push(InvalidSource::new(
                "the address names no port",
                "add the listener's port, as in \"srt://host:9000\"",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            faults
                .push(InvalidSource::new("SRT knows no user name before the host", "leave it out, and use `streamid`"));
        }
        if !matches!(url.path(), "" | "/") {
            faults.push(InvalidSource::new(
                "SRT knows no path after the port",
                "leave it out, and name the stream with `?streamid=…`",
            ));
        }
        if url.fragment().is_some() {
            faults.push(InvalidSource::new("a `#` ends the address", "write `%23` for each `#` of a stream ID"));
        }
        let mut source = Self { host, port, stream_id: None, latency: None, passphrase: None, key_length: None };
        source.read_query(&url, &mut faults);
        if faults.is_empty() { Ok(source) } else { Err(faults) }
    }
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_all(text).map_err(|faults| {
            let join = |part: fn(&InvalidSource) -> &str| faults.iter().map(part).collect::<Vec<_>>().join(", and ");
            InvalidSource { what: join(|f| &f.what), remedy: join(|f| &f.remedy) }
        })
    }
}

/// Whether a resolver could take it: an IPv4 address or a host name (RFC 1123 §2.1).
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.split('.').next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        // What ends in a number is an address or a typing error, never a name.
        return name.parse::<std::net::Ipv4Addr>().is_ok();
    }
    // "_" is no letter of the RFC, but Windows allows it in a computer's name.
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// A person's text, short enough for a message and without control characters.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
