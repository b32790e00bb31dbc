//! `[[lamp]]` and `[strip]`, and what they must not do to one another.

use toml::de::DeValue;

use super::kinds::{input, integer, name as kind_name, one_of, text};
use super::{Fault, Found, Reader, Span, Table};
use crate::settings::lamps::{ID_PINS, LAMP_PAIRS, LOW_LAMP_PAIRS, MOST_LEDS, PINS, PULLED_UP, SPI_PINS};
use crate::settings::values::shown;
use crate::settings::{
    ActiveLevel, ColourOrder, InputRef, LONGEST_NAME, Lamp, LampFollows, Leds, RESET_BUTTON_GPIO, ShowPart, Strip,
};

/// Where the values of a lamp stand that are looked at again when all sections are read.
pub(super) struct Place {
    span: Span,
    name: Option<Span>,
    cameras: Option<Span>,
    pins: [Option<Found<u8>>; 2],
    leds: Option<Span>,
    /// It has a `program_pin`, `preview_pin` or `leds`, if only a wrong one.
    placed: bool,
}

/// The keys that say what a lamp shows.
const FOLLOWS: [&str; 4] = ["camera", "input", "any_of", "show"];

impl Reader<'_> {
    pub(super) fn strip(&mut self, table: &Table<'_>, place: &mut Option<Span>) {
        *place = Some(table.span.clone());
        let leds = self.value(table, "leds", |v| integer("leds", v, MOST_LEDS, "24"));
        let order = self.value(table, "order", |v| one_of("order", v, ColourOrder::WORDS, "GRB"));
        let device = self.value(table, "device", device);
        if !table.values.contains_key("leds") {
            let fault = Fault::new("this [strip] has no `leds`", "say how many LEDs it has, as in `leds = 24`");
            self.missing(&table.span, fault);
        }
        let Some(leds) = leds else { return };
        self.settings.strip = Some(Strip {
            leds: u16::try_from(leds.value).unwrap_or_default(),
            order: order.map(|found| found.value).unwrap_or_default(),
            device: device.map_or((0, 0), |found| found.value),
        });
    }

    pub(super) fn lamp(&mut self, table: &Table<'_>, places: &mut Vec<Place>) {
        let name = self.value(table, "name", |v| kind_name("lamp", v));
        let pins = ["program_pin", "preview_pin"].map(|key| {
            let pin =
                self.value(table, key, |v| integer(key, v, i64::from(*PINS.start())..=i64::from(*PINS.end()), "17"));
            pin.map(|Found { span, value }| Found { span, value: u8::try_from(value).unwrap_or_default() })
        });
        let active = self.value(table, "active", |v| one_of("active", v, ActiveLevel::WORDS, "high"));
        let brightness = self.value(table, "brightness", |v| integer("brightness", v, 1..=100, "100"));
        let leds = self.value(table, "leds", leds);
        let follows = self.follows(table);
        let placed = ["program_pin", "preview_pin", "leds"].iter().any(|key| table.values.contains_key(key));
        let Some((follows, cameras)) = follows else { return };
        if matches!(follows, LampFollows::Show(_))
            && let Some(pin) = &pins[1]
        {
            let what = "a lamp for streaming or recording knows no preview";
            self.fault(&pin.span, Fault::new(what, "leave `preview_pin` out"));
        }
        places.push(Place {
            span: table.span.clone(),
            name: name.as_ref().map(|found| found.span.clone()),
            cameras,
            leds: leds.as_ref().map(|found| found.span.clone()),
            placed,
            pins,
        });
        let [program_pin, preview_pin] =
            places.last().map_or([None; 2], |place| place.pins.each_ref().map(|pin| pin.as_ref().map(|pin| pin.value)));
        self.settings.lamps.push(Lamp {
            name: name.map_or_else(|| called(&follows), |found| found.value),
            follows,
            program_pin,
            preview_pin,
            active: active.map(|found| found.value).unwrap_or_default(),
            brightness: brightness.map_or(100, |found| u8::try_from(found.value).unwrap_or(100)),
            leds: leds.map(|found| found.value),
        });
    }

    /// What a lamp shows, and where it names cameras.
    fn follows(&mut self, table: &Table<'_>) -> Option<(LampFollows, Option<Span>)> {
        let given: Vec<&str> = FOLLOWS.into_iter().filter(|key| table.values.contains_key(key)).collect();
        const REMEDY: &str = "write one of `camera = \"Camera 1\"`, `input = 3`, `any_of = [\"Camera 1\", \"Camera 2\"]` and \
                              `show = \"streaming\"`";
        match given.as_slice() {
            [] => {
                self.missing(&table.span, Fault::new("this [[lamp]] does not say what it shows", REMEDY));
                return None;
            }
            [_] => {}
            [.., last] => {
                let span = table.values.get(last).map_or(table.span.clone(), |value| value.span());
                self.fault(&span, Fault::new("this [[lamp]] shows more than one thing", REMEDY));
            }
        }
        let camera = |v: &DeValue<'_>| text("camera", v, "\"Camera 1\"").map(str::to_owned);
        if let Some(found) = self.value(table, "camera", camera) {
            return Some((LampFollows::Camera(found.value), Some(found.span)));
        }
        if let Some(found) = self.value(table, "input", |v| input("input", v, "3")) {
            return Some((LampFollows::Input(found.value), None));
        }
        let several = |v: &DeValue<'_>| text("any_of", v, "[\"Camera 1\", \"Camera 2\"]").map(str::to_owned);
        if let Some(found) = self.list(table, "any_of", "[\"Camera 1\", \"Camera 2\"]", several) {
            if found.value.is_empty() {
                self.fault(&found.span, Fault::new("`any_of` is empty, so this lamp could never be lit", REMEDY));
            }
            return Some((LampFollows::AnyOf(found.value), Some(found.span)));
        }
        let part = self.value(table, "show", |v| one_of("show", v, ShowPart::WORDS, "streaming"))?;
        Some((LampFollows::Show(part.value), None))
    }

    /// What can only be told when every section was read. `strip` is where the strip stands.
    pub(super) fn lamps(&mut self, places: &[Place], strip: Option<&Span>) {
        self.lamp_names(places);
        self.lamp_cameras(places);
        self.lamp_leds(places, strip);
        let mut taken = self.lamp_pins(places, strip.is_some());
        for (index, place) in places.iter().enumerate().filter(|(_, place)| !place.placed) {
            let reserved = |pin: &u8| strip.is_some() && SPI_PINS.contains(pin);
            let free = |pin: &u8| !taken.contains(pin) && !reserved(pin);
            let Some(lamp) = self.settings.lamps.get_mut(index) else { continue };
            let (pairs, what, remedy) = match lamp.active {
                ActiveLevel::High => (
                    LAMP_PAIRS.as_slice(),
                    "no pair of pins is left for this lamp",
                    "give lamps with one light a `program_pin` alone, or hang some on a [strip]",
                ),
                ActiveLevel::Low => (
                    LOW_LAMP_PAIRS.as_slice(),
                    "no pair of pins is left that keeps this lamp dark while the box starts",
                    "give it pins (on 9 to 27 it may be lit while the box starts), or use a lamp with `active = \"high\"`",
                ),
            };
            let pair = pairs.iter().find(|(program, preview)| free(program) && free(preview));
            let Some((program, preview)) = pair.copied() else {
                self.fault(&place.span, Fault::new(what, remedy));
                continue;
            };
            lamp.program_pin = Some(program);
            taken.push(program);
            if !matches!(lamp.follows, LampFollows::Show(_)) {
                lamp.preview_pin = Some(preview);
                taken.push(preview);
            }
        }
    }

    fn lamp_names(&mut self, places: &[Place]) {
        let mut names: Vec<String> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let Some(lamp) = self.settings.lamps.get(index) else { continue };
            let name = lamp.name.clone();
            if names.contains(&name) {
                let what = format!("there is already a [[lamp]] named \"{}\"", shown(&name));
                let span = place.name.as_ref().unwrap_or(&place.span);
                self.fault(span, Fault::new(what, "give each lamp a `name` of its own"));
            }
            names.push(name);
        }
    }

    fn lamp_cameras(&mut self, places: &[Place]) {
        for (index, place) in places.iter().enumerate() {
            let Some(lamp) = self.settings.lamps.get(index) else { continue };
            let named = match &lamp.follows {
                LampFollows::Camera(name) => std::slice::from_ref(name),
                LampFollows::AnyOf(names) => names,
                LampFollows::Input(_) | LampFollows::Show(_) => continue,
            };
            let known: Vec<&str> = self.settings.cameras.iter().map(|camera| camera.name.as_str()).collect();
            let unknown: Vec<&String> = named.iter().filter(|name| !known.contains(&name.as_str())).collect();
            let faults: Vec<Fault> = unknown
                .into_iter()
                .map(|name| {
                    let lower = name.to_lowercase();
                    let near = known.iter().find(|known| known.to_lowercase() == lower);
                    let remedy = match (near, known.as_slice()) {
                        (Some(near), _) => format!("did you mean \"{near}\"?"),
                        (None, []) => "add a [[camera]], or use `input`".to_owned(),
                        (None, known) => format!("the cameras are \"{}\"", shown(&known.join("\", \""))),
                    };
                    Fault::new(format!("there is no [[camera]] named \"{}\"", shown(name)), remedy)
                })
                .collect();
            let Some(span) = place.cameras.as_ref().filter(|_| !self.incomplete) else { continue };
            for fault in faults {
                self.fault(span, fault);
            }
        }
    }

    fn lamp_leds(&mut self, places: &[Place], strip: Option<&Span>) {
        let mut taken: Vec<(Leds, String)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let (Some(lamp), Some(span)) = (self.settings.lamps.get(index), &place.leds) else { continue };
            let Some(leds) = lamp.leds else { continue };
            let name = lamp.name.clone();
            let fault = match (&self.settings.strip, taken.iter().find(|(other, _)| other.overlap(leds))) {
                (None, _) if strip.is_some() => None,
                (None, _) => Some(Fault::new("there is no [strip] for these LEDs", "add `[strip]` with `leds = 24`")),
                (Some(strip), _) if leds.last > strip.leds => Some(Fault::new(
                    format!("the strip has {} LEDs and no number {}", strip.leds, leds.last),
                    "count them from 1, or raise `leds` in [strip]",
                )),
                (_, Some((_, other))) => {
                    let what = format!("some of these LEDs belong to the lamp \"{}\"", shown(other));
                    Some(Fault::new(what, "give each lamp LEDs of its own"))
                }
                _ => None,
            };
            taken.push((leds, name));
            if let Some(fault) = fault.filter(|_| !self.incomplete) {
                self.fault(span, fault);
            }
        }
    }

    /// Checks the pins that are given, and returns them.
    fn lamp_pins(&mut self, places: &[Place], strip: bool) -> Vec<u8> {
        let mut taken: Vec<u8> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let active = self.settings.lamps.get(index).map(|lamp| lamp.active).unwrap_or_default();
            for Found { span, value: pin } in place.pins.iter().flatten() {
                let (what, remedy) = if taken.contains(pin) {
                    (format!("GPIO {pin} belongs to another lamp already"), "give each light a pin of its own")
                } else if u32::from(*pin) == RESET_BUTTON_GPIO {
                    (format!("GPIO {pin} is the reset button's"), "choose one of 9 to 20 and 22 to 27")
                } else if ID_PINS.contains(pin) {
                    (format!("GPIO {pin} is where a board on the header says what it is"), "choose one of 9 to 27")
                } else if strip && SPI_PINS.contains(pin) {
                    (format!("GPIO {pin} belongs to the SPI bus that the strip hangs on"), "choose one of 12 to 27")
                } else if active == ActiveLevel::High && PULLED_UP.contains(pin) {
                    (
                        format!("GPIO {pin} is high while the box starts, so this lamp would be lit"),
                        "choose one of 9 to 27, or a lamp with `active = \"low\"`",
                    )
                } else {
                    taken.push(*pin);
                    continue;
                };
                self.fault(span, Fault::new(what, remedy));
            }
        }
        taken
    }
}

/// What a lamp without a name is called: what it shows, as long as a name may be.
fn called(follows: &LampFollows) -> String {
    let name = match follows {
        LampFollows::Camera(name) => name.clone(),
        LampFollows::Input(InputRef::Number(number)) => format!("Input {number}"),
        LampFollows::Input(InputRef::Text(text)) => text.clone(),
        LampFollows::AnyOf(names) => names.join(", "),
        LampFollows::Show(ShowPart::Streaming) => "streaming".into(),
        LampFollows::Show(ShowPart::Recording) => "recording".into(),
    };
    let mut name: String = name.trim().replace(char::is_control, " ");
    if let Some((end, _)) = name.char_indices().nth(LONGEST_NAME) {
        name.truncate(end);
        name.pop();
        name.push('…');
    }
    name
}

fn leds(value: &DeValue<'_>) -> Result<Leds, Fault> {
    let text = text("leds", value, "\"1-8\"")?;
    Leds::parse(text).ok_or_else(|| {
        let what = format!("`{}` names no LEDs of a strip", shown(text));
        Fault::new(what, "write the first and the last, counted from 1, as in `leds = \"1-8\"`")
    })
}

/// The bus and its chip select. SPI 1 has its clock on the reset button's pin.
fn device(value: &DeValue<'_>) -> Result<(u8, u8), Fault> {
    let text = text("device", value, "\"/dev/spidev0.0\"")?;
    let numbers = || {
        let (bus, select) = text.strip_prefix("/dev/spidev")?.split_once('.')?;
        Some((bus.parse::<u8>().ok()?, select.parse::<u8>().ok()?))
    };
    match numbers() {
        Some((0, select @ 0..=1)) => Ok((0, select)),
        Some(_) => Err(Fault::new(
            format!("a strip cannot hang on `{}`", shown(text)),
            "connect it to GPIO 10 (pin 19 of the header) and write \"/dev/spidev0.0\"",
        )),
        None => {
            Err(Fault::new(format!("`{}` is no SPI bus", shown(text)), "write \"/dev/spidev0.0\", or leave it out"))
        }
    }
}
