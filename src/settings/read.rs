//! From the file's text to [`Settings`], collecting every mistake on the way.
//!
//! The parsed document is walked by hand, not by a derived deserializer, because that stops at the first mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Text;
use super::schema::{self, Section};
use super::values::{LATENCY_MS, is_host_name, shown};
use super::{
    Camera, InputRef, LARGEST_FILE, LogLevel, Mistake, Overlays, Passphrase, Settings, SettingsError, Source, Stream,
    VmixHost,
};
use crate::media::StreamName;

/// Mistakes listed at most; a file with more is not a settings file.
const MOST_MISTAKES: usize = 500;

type Span = Range<usize>;

pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Settings, SettingsError> {
    let refuse = |text: &str, at: usize, what: String, remedy: &str| {
        Err(SettingsError::Refused(vec![Text::new(name, text).mistake(at..at + 1, what, remedy.into(), true)]))
    };
    if bytes.len() > LARGEST_FILE {
        let what = format!("the file has more than {} KiB", LARGEST_FILE / 1024);
        return refuse("", 0, what, "is it the right file?");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let readable =
                bytes.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
            let what = "this is not UTF-8 text".into();
            return refuse(readable, readable.len(), what, "save the file as UTF-8 (in Notepad: Save as, Encoding)");
        }
    };
    let text = Text::new(name, text);
    let (document, errors) = DeTable::parse_recoverable(text.text());
    let mut reader =
        Reader { text: &text, found: Vec::new(), settings: Settings::default(), incomplete: !errors.is_empty() };
    let mut unreadable_lines = BTreeSet::new();
    let mut syntax = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if unreadable_lines.insert(text.line(span.start)) {
            let remedy = "write `key = value`, each on a line of its own: texts in \"quotes\", lists in [brackets], \
                          sections as [section]";
            syntax.push((span, Fault::new(error.message().to_owned(), remedy)));
        }
    }
    reader.document(document.get_ref());
    // What was made of an unreadable line is a guess: nothing more is said about it.
    let mut found = reader.found;
    found.retain(|(span, _)| !unreadable_lines.contains(&text.line(span.start)));
    found.extend(syntax);
    found.sort_by_key(|(span, _)| (span.start, span.end));
    if found.is_empty() {
        return Ok(reader.settings);
    }
    let mistakes = found
        .into_iter()
        .take(MOST_MISTAKES)
        .map(|(span, fault)| text.mistake(span, fault.what, fault.remedy, fault.hide_rest))
        .collect::<Vec<Mistake>>();
    Err(SettingsError::Refused(mistakes))
}

/// What is wrong at some place, and what to do.
struct Fault {
    what: String,
    remedy: String,
    /// What follows on the line may be secret.
    hide_rest: bool,
}

impl Fault {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), hide_rest: false }
    }
}

/// A section as it stands in the file: the known keys that it has.
struct Table<'d> {
    span: Span,
    values: BTreeMap<&'static str, &'d Spanned<DeValue<'d>>>,
}

/// A value and where it stands.
struct Found<T> {
    span: Span,
    value: T,
}

struct Reader<'t> {
    text: &'t Text<'t>,
    found: Vec<(Span, Fault)>,
    settings: Settings,
    /// Some of the text could not be read, so what seems missing may be there.
    incomplete: bool,
}

impl Reader<'_> {
    fn fault(&mut self, span: &Span, fault: Fault) {
        self.found.push((span.clone(), fault));
    }

    fn missing(&mut self, span: &Span, fault: Fault) {
        if !self.incomplete {
            self.fault(span, fault);
        }
    }

    fn document(&mut self, document: &DeTable<'_>) {
        let mut listens: Vec<(&'static str, Span)> = Vec::new();
        for (key, value) in document {
            let section = schema::SECTIONS.into_iter().find(|section| section.name == key.get_ref().as_ref());
            let Some(section) = section else {
                self.unknown_section(key.get_ref(), &key.span(), value);
                continue;
            };
            for table in self.tables(section, &key.span(), value) {
                match section.name {
                    "http" => self.http(&table, &mut listens),
                    "srt" => self.srt(&table, &mut listens),
                    "webrtc" => self.webrtc(&table, &mut listens),
                    "vmix" => self.vmix(&table),
                    "log" => self.log(&table),
                    "stream" => self.stream(&table),
                    _ => self.camera(&table),
                }
            }
        }
        self.listens(&listens);
    }

    fn unknown_section(&mut self, key: &str, span: &Span, value: &Spanned<DeValue<'_>>) {
        let names = schema::SECTIONS.map(|section| section.name);
        let is_section = matches!(value.get_ref(), DeValue::Table(_))
            || value.get_ref().as_array().is_some_and(|a| a.iter().any(|v| v.get_ref().is_table()));
        let home = schema::SECTIONS.into_iter().find(|section| section.keys.contains(&key));
        let mut fault = match (schema::nearest(key, names), home) {
            (Some(near), _) if is_section => {
                let heading = schema::SECTIONS.into_iter().find(|s| s.name == near).map(Section::heading);
                Fault::new(
                    format!("unknown section `{}`", shown(key)),
                    format!("did you mean `{}`?", heading.unwrap_or_default()),
                )
            }
            (_, Some(section)) => Fault::new(
                format!("`{key}` stands in no section"),
                format!("put it below its section's heading, as in `{}`", section.heading()),
            ),
            _ => {
                let all = schema::SECTIONS.map(|section| section.heading()).join(", ");
                let kind = if is_section { "section" } else { "key" };
                Fault::new(format!("unknown {kind} `{}`", shown(key)), format!("the sections are {all}"))
            }
        };
        fault.hide_rest = true;
        self.fault(span, fault);
    }

    /// The tables of a section: one, or as many as it was repeated.
    fn tables<'d>(&mut self, section: &Section, key: &Span, value: &'d Spanned<DeValue<'d>>) -> Vec<Table<'d>> {
        match (value.get_ref(), section.repeats) {
            (DeValue::Table(table), false) => vec![self.table(section, key.clone(), table)],
            (DeValue::Array(array), true) if array.iter().all(|item| item.get_ref().is_table()) => array
                .iter()
                .filter_map(|item| Some(self.table(section, item.span(), item.get_ref().as_table()?)))
                .collect(),
            (_, repeats) => {
                let why = if repeats { "can stand several times" } else { "stands once" };
                let fault = Fault::new(
                    format!("`{}` is written in the wrong way", section.name),
                    format!("it {why}: write its heading as `{}`, and its keys on the lines below", section.heading()),
                );
                self.fault(key, fault);
                Vec::new()
            }
        }
    }

    fn table<'d>(&mut self, section: &Section, span: Span, table: &'d DeTable<'d>) -> Table<'d> {
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if let Some(known) = section.keys.iter().find(|known| **known == key.get_ref().as_ref()) {
                values.insert(*known, value);
                continue;
            }
            let remedy = match schema::nearest(key.get_ref(), section.keys.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let all: Vec<String> = section.keys.iter().map(|key| format!("`{key}`")).collect();
                    format!("the keys of {} are {}", section.heading(), all.join(", "))
                }
            };
            let what = format!("unknown key `{}` in {}", shown(key.get_ref()), section.heading());
            self.fault(&key.span(), Fault { what, remedy, hide_rest: true });
        }
        Table { span, values }
    }

    /// The value of a key, read by `read`, which says what is wrong.
    fn value<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<Found<T>> {
        let value = table.values.get(key)?;
        let span = value.span();
        match read(value.get_ref()) {
            Ok(value) => Some(Found { span, value }),
            Err(fault) => {
                self.fault(&span, fault);
                None
            }
        }
    }

    /// A list, whose items `read` reads; a repeated item is a mistake. None when it is absent or unusable.
    fn list<T: PartialEq>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<Found<Vec<T>>> {
        let value = *table.values.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            self.fault(&value.span(), wrong_type(key, "a list", value.get_ref(), example));
            return None;
        };
        let mut items = Vec::new();
        for item in array.iter() {
            match read(item.get_ref()) {
                Ok(read) if items.contains(&read) => {
                    self.fault(&item.span(), Fault::new(format!("`{key}` names this twice"), "leave one out"));
                }
                Ok(read) => items.push(read),
                Err(fault) => self.fault(&item.span(), fault),
            }
            if self.found.len() > MOST_MISTAKES || items.len() > MOST_MISTAKES {
                let fault = Fault::new(format!("`{key}` is too long"), format!("name at most {MOST_MISTAKES}"));
                self.fault(&value.span(), fault);
                return None;
            }
        }
        Some(Found { span: value.span(), value: items })
    }

    fn listen(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        default: SocketAddr,
        listens: &mut Vec<(&'static str, Span)>,
    ) -> SocketAddr {
        let example = format!("\"{default}\"");
        let Some(found) = self.value(table, "listen", |value| listen_address(value, &example)) else {
            return default;
        };
        self.settings.places.file = self.text.file().to_owned();
        self.settings.places.lines.insert(key, self.text.line(found.span.start));
        listens.push((key, found.span));
        found.value
    }

    fn http(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.http.listen = self.listen(table, schema::HTTP_LISTEN, self.settings.http.listen, listens);
    }

    fn srt(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.srt.listen = self.listen(table, schema::SRT_LISTEN, self.settings.srt.listen, listens);
        if let Some(ms) = self.value(table, "latency_ms", |v| integer("latency_ms", v, LATENCY_MS, "120")) {
            self.settings.srt.latency = Duration::from_millis(ms.value.unsigned_abs());
        }
        if let Some(passphrase) = self.value(table, "passphrase", passphrase) {
            self.settings.srt.passphrase = Some(passphrase.value);
        }
    }

    fn webrtc(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.webrtc.listen = self.listen(table, schema::WEBRTC_LISTEN, self.settings.webrtc.listen, listens);
        if let Some(addresses) = self.list(table, "public_addresses", "[\"203.0.113.7\"]", public_address) {
            self.settings.webrtc.public_addresses = addresses.value;
        }
        if let Some(most) = self.value(table, "max_viewers", |v| integer("max_viewers", v, 1..=10_000, "250")) {
            self.settings.webrtc.max_viewers = usize::try_from(most.value).unwrap_or(self.settings.webrtc.max_viewers);
        }
    }

    fn vmix(&mut self, table: &Table<'_>) {
        if let Some(host) = self.value(table, "host", vmix_host) {
            self.settings.vmix.host = host.value;
        }
        let tcp = self.value(table, "tcp_port", |v| port("tcp_port", v, "8099"));
        let http = self.value(table, "http_port", |v| port("http_port", v, "8088"));
        let spans = [http.as_ref().map(|f| f.span.clone()), tcp.as_ref().map(|f| f.span.clone())];
        if let Some(tcp) = tcp {
            self.settings.vmix.tcp_port = tcp.value;
        }
        if let Some(http) = http {
            self.settings.vmix.http_port = http.value;
        }
        let vmix = &self.settings.vmix;
        if vmix.tcp_port == vmix.http_port
            && let Some(span) = spans.into_iter().flatten().next()
        {
            let what = format!("`tcp_port` and `http_port` are both {}, but vMix has two ports", vmix.tcp_port);
            self.fault(&span, Fault::new(what, "vMix's own are tcp_port = 8099 and http_port = 8088"));
        }
    }

    fn log(&mut self, table: &Table<'_>) {
        let words = LogLevel::WORDS.map(|(word, _)| word);
        let level = self.value(table, "level", |value| {
            let word = text("level", value, "\"info\"")?;
            LogLevel::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, level)| level).ok_or_else(|| {
                Fault::new(
                    format!("`level` cannot be \"{}\"", shown(word)),
                    match schema::nearest(word, words) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("write one of {}", words.join(", ")),
                    },
                )
            })
        });
        if let Some(level) = level {
            self.settings.log.level = level.value;
        }
    }

    fn stream(&mut self, table: &Table<'_>) {
        let name = self.value(table, "name", |value| {
            text("name", value, "\"pgm\"")?
                .parse::<StreamName>()
                .map_err(|error| Fault::new(error.to_string(), "write a name such as \"pgm\" or \"studio2/pgm\""))
        });
        if !table.values.contains_key("name") {
            self.missing(
                &table.span,
                Fault::new("this [[stream]] has no `name`", "add a line such as `name = \"pgm\"`"),
            );
        }
        let source = self.source(table);
        let passphrase = self.value(table, "passphrase", passphrase);
        let mut source = source.flatten();
        let in_source = source.as_mut().and_then(|source| source.passphrase.take());
        if let (Some(found), Some(_)) = (&passphrase, &in_source) {
            let fault = Fault::new("the passphrase stands both here and in `source`", "leave one of them out");
            self.fault(&found.span, fault);
        }
        let passphrase = passphrase.map(|found| found.value).or(in_source);
        if passphrase.is_none()
            && !table.values.contains_key("passphrase")
            && source.as_ref().is_some_and(|source| source.key_length.is_some())
            && let Some(value) = table.values.get("source")
        {
            let fault =
                Fault::new("`pbkeylen` without a passphrase encrypts nothing", "add the passphrase, or leave it out");
            self.fault(&value.span(), fault);
        }
        let Some(Found { span, value: name }) = name else { return };
        if self.settings.streams.iter().any(|stream| stream.name == name) {
            let what = format!("there is already a [[stream]] named \"{}\"", name.short());
            self.fault(&span, Fault::new(what, "give each stream a name of its own, or leave one out"));
        }
        self.settings.streams.push(Stream { name, source, passphrase });
    }

    /// A stream's source; `Some(None)` when it is there and wrong.
    fn source(&mut self, table: &Table<'_>) -> Option<Option<Source>> {
        let example = "\"srt://192.168.1.20:9000?streamid=pgm\"";
        let found = self.value(table, "source", |value| text("source", value, example).map(Source::parse_all))?;
        match found.value {
            Ok(source) => Some(Some(source)),
            Err(faults) => {
                for fault in faults {
                    self.fault(&found.span, Fault::new(format!("`source`: {}", fault.what), fault.remedy));
                }
                Some(None)
            }
        }
    }

    fn camera(&mut self, table: &Table<'_>) {
        let name = self.value(table, "name", camera_name);
        let inputs = self.list(table, "inputs", "[1, \"CAM 1\"]", input);
        let mixes = self.list(table, "mixes", "[1]", |value| small("mixes", value, 16));
        let overlays = self.list(table, "overlays", "[1, 2]", |value| small("overlays", value, 8));
        for (key, example) in [("name", "name = \"Camera 1\""), ("inputs", "inputs = [1]")] {
            if !table.values.contains_key(key) {
                let fault =
                    Fault::new(format!("this [[camera]] has no `{key}`"), format!("add a line such as `{example}`"));
                self.missing(&table.span, fault);
            }
        }
        for (key, remedy) in [
            ("inputs", "name the vMix inputs that show it, as in `inputs = [1]`"),
            ("mixes", "write `mixes = [1]` for the main mix, or leave it out"),
        ] {
            if let Some(value) = table.values.get(key)
                && value.get_ref().as_array().is_some_and(|list| list.is_empty())
            {
                self.fault(
                    &value.span(),
                    Fault::new(format!("`{key}` is empty, so this camera could never be live"), remedy),
                );
            }
        }
        let Some(Found { span, value: name }) = name else { return };
        if self.settings.cameras.iter().any(|camera| camera.name == name) {
            let what = format!("there is already a [[camera]] named \"{}\"", shown(&name));
            self.fault(&span, Fault::new(what, "give each camera a name of its own"));
        }
        self.settings.cameras.push(Camera {
            name,
            inputs: inputs.map(|found| found.value).unwrap_or_default(),
            mixes: mixes.map_or_else(|| BTreeSet::from([1]), |found| found.value.into_iter().collect()),
            overlays: overlays.map_or(Overlays::All, |found| Overlays::Only(found.value.into_iter().collect())),
        });
    }

    /// SRT and WebRTC both listen on UDP: they need ports of their own.
    fn listens(&mut self, given: &[(&'static str, Span)]) {
        let (srt, webrtc) = (self.settings.srt.listen, self.settings.webrtc.listen);
        if srt.port() == 0 || srt.port() != webrtc.port() || !overlap(srt.ip(), webrtc.ip()) {
            return;
        }
        let udp = given.iter().filter(|(key, _)| *key != schema::HTTP_LISTEN);
        let Some((key, span)) = udp.max_by_key(|(_, span)| span.start) else { return };
        let other = if *key == schema::SRT_LISTEN { "[webrtc] listen" } else { "[srt] listen" };
        let what = format!("UDP port {} is already taken by {other}", srt.port());
        self.fault(span, Fault::new(what, "choose another port"));
    }
}

/// Whether listening on one address takes the other's packets too. `[::]` takes IPv4's.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| match a.to_canonical() {
        IpAddr::V6(a) => a.is_unspecified(),
        IpAddr::V4(a) => a.is_unspecified() && b.to_canonical().is_ipv4(),
    };
    a.to_canonical() == b.to_canonical() || takes(a, b) || takes(b, a)
}

fn wrong_type(key: &str, wanted: &str, value: &DeValue<'_>, example: &str) -> Fault {
    let is = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    Fault::new(format!("`{key}` must be {wanted}, but is {is}"), format!("write it as `{key} = {example}`"))
}

fn text<'v>(key: &str, value: &'v DeValue<'_>, example: &str) -> Result<&'v str, Fault> {
    value.as_str().ok_or_else(|| wrong_type(key, "a text in quotes", value, example))
}

/// A whole number, however large it is written.
fn whole(value: &DeValue<'_>) -> Option<Result<i64, ()>> {
    let number = value.as_integer()?;
    Some(i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| ()))
}

fn integer(key: &str, value: &DeValue<'_>, range: std::ops::RangeInclusive<i64>, example: &str) -> Result<i64, Fault> {
    match whole(value) {
        None => Err(wrong_type(key, "a whole number", value, example)),
        Some(Ok(number)) if range.contains(&number) => Ok(number),
        Some(_) => Err(Fault::new(
            format!("`{key}` must be {} to {}", range.start(), range.end()),
            format!("write it as `{key} = {example}`"),
        )),
    }
}

fn port(key: &str, value: &DeValue<'_>, example: &str) -> Result<u16, Fault> {
    integer(key, value, 1..=i64::from(u16::MAX), example).map(|port| u16::try_from(port).unwrap_or_default())
}

fn small(key: &str, value: &DeValue<'_>, most: u8) -> Result<u8, Fault> {
    match whole(value) {
        Some(Ok(number)) if (1..=i64::from(most)).contains(&number) => Ok(u8::try_from(number).unwrap_or_default()),
        _ => Err(Fault::new(format!("`{key}` holds numbers from 1 to {most}"), format!("write it as `{key} = [1]`"))),
    }
}

fn passphrase(value: &DeValue<'_>) -> Result<Passphrase, Fault> {
    text("passphrase", value, "\"…\"")?.parse().map_err(|error: super::InvalidPassphrase| {
        Fault::new(error.to_string(), "choose one of that length, and enter the same in vMix")
    })
}

fn listen_address(value: &DeValue<'_>, example: &str) -> Result<SocketAddr, Fault> {
    let wanted = "an address and a port in quotes";
    let text = value.as_str().ok_or_else(|| wrong_type("listen", wanted, value, example))?;
    let remedy =
        format!("write an IP address and a port, as in `listen = {example}`; `[::]` means every IPv6 and IPv4 address");
    let address: SocketAddr = text
        .parse()
        .map_err(|_| Fault::new(format!("`{}` is no address to listen on", shown(text)), remedy.clone()))?;
    if address.ip().to_canonical().is_multicast() {
        return Err(Fault::new(format!("`{}` is a multicast address", shown(text)), remedy));
    }
    Ok(address)
}

fn public_address(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    const REMEDY: &str = "write the router's outer IP address, as in `public_addresses = [\"203.0.113.7\"]`; the port is that of `listen`";
    let text = value.as_str().ok_or_else(|| Fault::new("`public_addresses` holds texts in quotes", REMEDY))?;
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() && !is_broadcast(address) => Ok(address),
        _ => Err(Fault::new(format!("`{}` is no IP address that a browser could reach", shown(text)), REMEDY)),
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

fn vmix_host(value: &DeValue<'_>) -> Result<VmixHost, Fault> {
    let host = text("host", value, "\"auto\"")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let remedy = "write \"auto\" for the address that sends the SRT feed, or vMix's IP address or computer name";
    if host.eq_ignore_ascii_case("auto") {
        return Ok(VmixHost::Auto);
    }
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {}
        Ok(address) => return Ok(VmixHost::Named(address.to_string())),
        Err(_) if is_host_name(host) => return Ok(VmixHost::Named(host.into())),
        Err(_) => {}
    }
    let has_port = host.parse::<SocketAddr>().is_ok()
        || host.split_once(':').is_some_and(|(name, port)| is_host_name(name) && port.parse::<u16>().is_ok());
    if has_port {
        return Err(Fault::new("`host` has no port", "leave it out here, and use `tcp_port` and `http_port`"));
    }
    Err(Fault::new(format!("`{}` is no address of vMix", shown(host)), remedy))
}

fn camera_name(value: &DeValue<'_>) -> Result<String, Fault> {
    const LONGEST: usize = 64;
    let name = text("name", value, "\"Camera 1\"")?;
    let remedy = "write a name such as \"Camera 1\"";
    if name.is_empty() || name.chars().count() > LONGEST {
        return Err(Fault::new(format!("a camera's name has 1 to {LONGEST} characters"), remedy));
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        let what = "a camera's name neither starts nor ends with a space, and has no line break or tab";
        return Err(Fault::new(what, remedy));
    }
    Ok(name.into())
}

fn input(value: &DeValue<'_>) -> Result<InputRef, Fault> {
    const HIGHEST: i64 = 10_000;
    const REMEDY: &str = "name each input by its number, its key or its title, as in `inputs = [1, \"CAM 1\"]`";
    match (value.as_str(), whole(value)) {
        (Some(text), _) if text.trim().is_empty() => Err(Fault::new("an input's key or title is empty", REMEDY)),
        (Some(text), _) => Ok(InputRef::Text(text.into())),
        (None, Some(Ok(number))) if (1..=HIGHEST).contains(&number) => {
            Ok(InputRef::Number(u32::try_from(number).unwrap_or_default()))
        }
        (None, Some(_)) => Err(Fault::new(format!("vMix numbers its inputs from 1 (to {HIGHEST} at most)"), REMEDY)),
        (None, None) => Err(Fault::new("`inputs` holds numbers and texts", REMEDY)),
    }
}
