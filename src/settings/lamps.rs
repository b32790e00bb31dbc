//! `[[lamp]]` and `[strip]`: real lamps on the header's pins, or on a strip of LEDs.

use super::InputRef;

/// The BCM numbers of the pins on the header.
pub(super) const PINS: std::ops::RangeInclusive<u8> = 0..=27;

/// The pins by which a board on top of the box says what it is (the ID EEPROM's bus).
pub(super) const ID_PINS: std::ops::RangeInclusive<u8> = 0..=1;

/// The pins that the processor pulls up until a program takes them: what is lit by a high pin is lit while the box starts.
pub(super) const PULLED_UP: std::ops::RangeInclusive<u8> = 2..=8;

/// The pins of SPI 0, which a strip hangs on.
pub(super) const SPI_PINS: std::ops::RangeInclusive<u8> = 7..=11;

/// How many LEDs a strip may have. The kernel's SPI device takes 4096 bytes at once, 9 for each LED; between two pieces the
/// line would be silent for longer than an LED waits.
pub(super) const MOST_LEDS: std::ops::RangeInclusive<i64> = 1..=400;

/// How many lamps there can be: each has a pin or an LED that is no other's.
pub const MOST_LAMPS: usize = *PINS.end() as usize + 1 + *MOST_LEDS.end() as usize;

/// What lamps without pins of their own are given, in this order: for program and for preview. All of them are pulled
/// down until a program takes them; those of the serial port (14, 15) are left out, because its idle line is high.
pub const LAMP_PAIRS: [(u8, u8); 8] = [(17, 27), (22, 23), (24, 25), (16, 26), (12, 13), (18, 19), (20, 11), (9, 10)];

/// The same for lamps that a low level lights: all of them are pulled up until a program takes them. Those of a board's ID (0,
/// 1) are left out, and 8: with SPI on, as on the image, its driver takes it for its first chip select.
pub(super) const LOW_LAMP_PAIRS: [(u8, u8); 3] = [(5, 6), (2, 3), (4, 7)];

/// One `[[lamp]]`. It has a pin or LEDs, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lamp {
    /// What people call it; unique.
    pub name: String,
    /// What it shows.
    pub follows: LampFollows,
    /// The BCM number of the pin that is lit on air.
    pub program_pin: Option<u8>,
    /// The BCM number of the pin that is lit when next.
    pub preview_pin: Option<u8>,
    /// Which level lights it.
    pub active: ActiveLevel,
    /// In percent, 1 to 100.
    pub brightness: u8,
    /// Its LEDs on the strip.
    pub leds: Option<Leds>,
}

/// What a lamp shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LampFollows {
    /// A `[[camera]]`, by its name.
    Camera(String),
    /// An input of vMix, in the main mix.
    Input(InputRef),
    /// The strongest of several cameras, by their names; at least one.
    AnyOf(Vec<String>),
    /// What the whole show does; on air while it does.
    Show(ShowPart),
}

/// Something that the whole show does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowPart {
    /// vMix streams.
    Streaming,
    /// vMix records.
    Recording,
}

impl ShowPart {
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("streaming", Self::Streaming), ("recording", Self::Recording)];
}

/// The level of a pin that lights a lamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActiveLevel {
    /// 3.3 V: a transistor.
    #[default]
    High,
    /// 0 V: most relay boards.
    Low,
}

impl ActiveLevel {
    pub(super) const WORDS: [(&'static str, Self); 2] = [("high", Self::High), ("low", Self::Low)];
}

/// LEDs on the strip, counted from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leds {
    /// The first one.
    pub first: u16,
    /// The last one; the same or a later one.
    pub last: u16,
}

impl Leds {
    /// `3` or `1-8`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number > 0);
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        (first <= last).then_some(Self { first, last })
    }

    pub(super) fn overlap(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// `[strip]`: LEDs of WS2812 type on the header's SPI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// How many there are, 1 to 400.
    pub leds: u16,
    /// In which order an LED takes its colours.
    pub order: ColourOrder,
    /// The number of the SPI bus and of its chip select, as in `/dev/spidev0.0`.
    pub device: (u8, u8),
}

/// In which order an LED takes its colours: the places of red, green and blue, each 0 to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourOrder(pub [u8; 3]);

impl ColourOrder {
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("GRB", Self([1, 0, 2])),
        ("RGB", Self([0, 1, 2])),
        ("RBG", Self([0, 2, 1])),
        ("GBR", Self([2, 0, 1])),
        ("BRG", Self([1, 2, 0])),
        ("BGR", Self([2, 1, 0])),
    ];
}

impl Default for ColourOrder {
    fn default() -> Self {
        Self([1, 0, 2])
    }
}
