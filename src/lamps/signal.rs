//! Which signal a lamp shows, from what is known of the show. Pure.

use serde::{Deserialize, Serialize};

/// What a lamp is to say; the order is the strength when several are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Not known. Never shown as any of the others.
    #[default]
    Unknown,
    /// Neither on air nor next.
    Safe,
    /// Next.
    Preview,
    /// On air.
    Program,
}

/// What a lamp follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The camera of this name.
    Camera(String),
    /// The input of this number.
    Number(u32),
    /// The input with this key, or else with this title.
    Text(String),
    /// The strongest of the cameras of these names.
    AnyOf(Vec<String>),
    /// What the whole show does.
    Show(ShowPart),
}

/// Something that the whole show does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowPart {
    /// It is streamed.
    Streaming,
    /// It is recorded.
    Recording,
}

/// One input of the switcher.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its number, from 1.
    pub number: u32,
    /// Its key, which survives renumbering; empty while it is not known.
    pub key: &'a str,
    /// Its title; empty while it is not known.
    pub title: &'a str,
    /// What it does.
    pub signal: Signal,
}

/// What is known of the show at one moment. Nothing at all when the switcher does not answer.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The cameras by name.
    pub cameras: Vec<(&'a str, Signal)>,
    /// The inputs.
    pub inputs: Vec<Input<'a>>,
    /// Whether the show is streamed; `None` while that is not known.
    pub streaming: Option<bool>,
    /// Whether the show is recorded; `None` while that is not known.
    pub recording: Option<bool>,
}

impl Seen<'_> {
    /// What a lamp that follows `what` is to say.
    pub fn signal(&self, what: &Follows) -> Signal {
        match what {
            Follows::Camera(name) => self.camera(name),
            Follows::Number(number) => self.input(|input| input.number == *number).unwrap_or_default(),
            Follows::Text(text) => {
                let by_key = self.input(|input| input.key.eq_ignore_ascii_case(text));
                by_key.or_else(|| self.input(|input| input.title == text)).unwrap_or_default()
            }
            Follows::AnyOf(names) => {
                let signals = || names.iter().map(|name| self.camera(name));
                let strongest = signals().max().unwrap_or_default();
                // One that is not known may be on air.
                let blind = strongest != Signal::Program && signals().any(|signal| signal == Signal::Unknown);
                if blind { Signal::Unknown } else { strongest }
            }
            Follows::Show(part) => match part {
                ShowPart::Streaming => on_air(self.streaming),
                ShowPart::Recording => on_air(self.recording),
            },
        }
    }

    fn camera(&self, name: &str) -> Signal {
        self.cameras.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal).unwrap_or_default()
    }

    fn input(&self, is: impl Fn(&Input<'_>) -> bool) -> Option<Signal> {
        self.inputs.iter().find(|input| is(input)).map(|input| input.signal)
    }
}

fn on_air(does: Option<bool>) -> Signal {
    match does {
        None => Signal::Unknown,
        Some(false) => Signal::Safe,
        Some(true) => Signal::Program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen<'static> {
        let input = |number, key, title, signal| Input { number, key, title, signal };
        Seen {
            cameras: vec![("A", Signal::Safe), ("B", Signal::Preview), ("C", Signal::Program), ("D", Signal::Unknown)],
            inputs: vec![
                input(1, "key-1", "key-2", Signal::Program),
                input(2, "key-2", "CAM 2", Signal::Preview),
                input(7, "", "", Signal::Safe),
            ],
            streaming: Some(true),
            recording: Some(false),
        }
    }

    #[test]
    fn a_lamp_says_what_it_follows_does_and_what_is_not_there_is_unknown() {
        let any = |names: &[&str]| Follows::AnyOf(names.iter().map(|name| (*name).to_owned()).collect());
        for (follows, signal) in [
            (Follows::Camera("B".into()), Signal::Preview),
            (Follows::Camera("E".into()), Signal::Unknown),
            (Follows::Number(7), Signal::Safe),
            (Follows::Number(3), Signal::Unknown),
            (Follows::Text("CAM 2".into()), Signal::Preview),
            (Follows::Text("KEY-2".into()), Signal::Preview),
            (Follows::Text("CAM 9".into()), Signal::Unknown),
            (any(&["A", "B"]), Signal::Preview),
            (any(&["A", "C", "D"]), Signal::Program),
            (any(&["A", "B", "D"]), Signal::Unknown),
            (any(&["A", "E"]), Signal::Unknown),
            (Follows::Show(ShowPart::Streaming), Signal::Program),
            (Follows::Show(ShowPart::Recording), Signal::Safe),
        ] {
            assert_eq!(seen().signal(&follows), signal, "{follows:?}");
            assert_eq!(Seen::default().signal(&follows), Signal::Unknown, "{follows:?}");
        }
    }
}
