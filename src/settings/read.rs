//! From the file's text to [`Settings`], collecting every mistake on the way.
//!
//! The parsed document is walked by hand, not by a derived deserializer, because that stops at the first mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Text;
use super::schema::{self, Section};
use super::values::shown;
use super::{LARGEST_FILE, Mistake, Settings, SettingsError};
use kinds::{listen_address, wrong_type};

mod access;
mod acme;
mod kinds;
mod lamps;
mod sections;
mod wifi;

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
        let (mut address, mut strip, mut lamps, mut acme) = (None, None, Vec::new(), None);
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
                    "https" => self.https(&table, &mut listens),
                    "acme" => {
                        self.acme(&table);
                        acme = Some(table.span);
                    }
                    "turn" => self.turn(&table, &mut listens),
                    "sound" => self.sound(&table),
                    "network" => self.network(&table, &mut address),
                    "wifi" => self.wifi(&table),
                    "vmix" => self.vmix(&table),
                    "relay" => self.relay(&table, &mut listens),
                    "access" => self.access(&table),
                    "log" => self.log(&table),
                    "stream" => self.stream(&table),
                    "lamp" => self.lamp(&table, &mut lamps),
                    "strip" => self.strip(&table, &mut strip),
                    _ => self.camera(&table),
                }
            }
        }
        self.acme_needs_https(acme.as_ref());
        self.listens(&listens);
        self.networks(address.as_ref());
        self.lamps(&lamps, strip.as_ref());
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
        self.listen_if_given(table, key, &format!("\"{default}\""), listens).unwrap_or(default)
    }

    fn listen_if_given(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        example: &str,
        listens: &mut Vec<(&'static str, Span)>,
    ) -> Option<SocketAddr> {
        self.address_if_given(table, "listen", key, example, listens)
    }

    /// The address to listen on that stands under `word`.
    fn address_if_given(
        &mut self,
        table: &Table<'_>,
        word: &'static str,
        key: &'static str,
        example: &str,
        listens: &mut Vec<(&'static str, Span)>,
    ) -> Option<SocketAddr> {
        let found = self.value(table, word, |value| listen_address(word, value, example))?;
        self.settings.places.file = self.text.file().to_owned();
        self.settings.places.lines.insert(key, self.text.line(found.span.start));
        listens.push((key, found.span));
        Some(found.value)
    }

    /// What listens by the same protocol needs ports of its own.
    fn listens(&mut self, given: &[(&'static str, Span)]) {
        let Settings { srt, webrtc, turn, .. } = &self.settings;
        let turn = turn.enabled.then_some((schema::TURN_LISTEN, turn.listen));
        let udp = [(schema::SRT_LISTEN, srt.listen), (schema::WEBRTC_LISTEN, webrtc.listen)];
        let udp: Vec<_> = udp.into_iter().chain(turn).collect();
        let tcp = self.settings.tcp_listens(false);
        for (protocol, all) in [("UDP", udp), ("TCP", tcp)] {
            for (nth, (key, address)) in all.iter().enumerate() {
                for (other, taken) in all.iter().take(nth) {
                    if clash(*address, *taken) {
                        self.taken(given, protocol, address.port(), [*key, *other]);
                    }
                }
            }
        }
    }

    /// Two keys name the same port: the later of those that stand in the file is the mistake.
    fn taken(&mut self, given: &[(&'static str, Span)], protocol: &str, port: u16, keys: [&'static str; 2]) {
        let these = given.iter().filter(|(key, _)| keys.contains(key));
        let Some((key, span)) = these.max_by_key(|(_, span)| span.start) else { return };
        let other = keys.into_iter().find(|other| other != key).and_then(|other| other.split_once('.'));
        let other = other.map_or_else(String::new, |(section, key)| format!("[{section}] {key}"));
        let what = format!("{protocol} port {port} is already taken by {other}");
        self.fault(span, Fault::new(what, "choose another port"));
    }
}

/// Whether only one of two can listen.
pub(super) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0 && one.port() == other.port() && overlap(one.ip(), other.ip())
}

/// Whether listening on one address takes the other's packets too. `[::]` takes IPv4's.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| match a.to_canonical() {
        IpAddr::V6(a) => a.is_unspecified(),
        IpAddr::V4(a) => a.is_unspecified() && b.to_canonical().is_ipv4(),
    };
    a.to_canonical() == b.to_canonical() || takes(a, b) || takes(b, a)
}
