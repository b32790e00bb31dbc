//! The faults that can be asked for.

use std::str::FromStr;
use std::time::Duration;

/// A way in which a real vMix, or the network before it, lets its clients down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Ends everything below that lasts.
    Normal,
    /// Replies leave a few bytes at a time.
    Pieces(bool),
    /// Frozen for this long, as a stopped process is: connections stay open, new ones are not taken,
    /// nothing is answered or sent, feeds included.
    Silence(Duration),
    /// Closes every TCP and HTTP connection; new ones are taken at once.
    DropLinks,
    /// Closes every feed's connection; callers call again.
    DropFeeds,
    /// Everything is closed, and nothing listens, for this long.
    Restart(Duration),
    /// Every input gets another number; keys and titles stay.
    Renumber,
    /// Pictures with B-frames, from the next full second on.
    BFrames(bool),
    /// Sends random bytes to every TCP client once.
    GarbageReplies,
    /// Sends random bytes in every feed once.
    GarbageFeeds,
    /// Does not say its version unasked.
    NoGreeting(bool),
    /// Confirms as common emulators do, and sends no tally before the first change.
    EmulatorReplies(bool),
}

impl Misbehaviour {
    /// From the name of a function and its value: `SimulateSilence` with `3000` (milliseconds), `SimulatePieces` with
    /// `off`. `None` if it is no such function.
    pub fn from_function(name: &str, value: Option<&str>) -> Option<Self> {
        let time = || {
            let milliseconds = value.and_then(|value| value.parse().ok()).unwrap_or(3000);
            Duration::from_millis(u64::min(milliseconds, 86_400_000))
        };
        let on = !value.is_some_and(|value| ["off", "false", "0"].contains(&value.to_ascii_lowercase().as_str()));
        Some(match name.strip_prefix("Simulate")? {
            "Normal" => Self::Normal,
            "Pieces" => Self::Pieces(on),
            "Silence" => Self::Silence(time()),
            "DropLinks" => Self::DropLinks,
            "DropFeeds" => Self::DropFeeds,
            "Restart" => Self::Restart(time()),
            "Renumber" => Self::Renumber,
            "BFrames" => Self::BFrames(on),
            "GarbageReplies" => Self::GarbageReplies,
            "GarbageFeeds" => Self::GarbageFeeds,
            "NoGreeting" => Self::NoGreeting(on),
            "EmulatorReplies" => Self::EmulatorReplies(on),
            _ => return None,
        })
    }
}

/// Text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault that can be simulated; there are {names}", names = NAMES.join(", "))]
pub struct UnknownMisbehaviour(String);

const NAMES: [&str; 12] = [
    "Normal",
    "Pieces",
    "Silence=MILLISECONDS",
    "DropLinks",
    "DropFeeds",
    "Restart=MILLISECONDS",
    "Renumber",
    "BFrames",
    "GarbageReplies",
    "GarbageFeeds",
    "NoGreeting",
    "EmulatorReplies",
];

impl FromStr for Misbehaviour {
    type Err = UnknownMisbehaviour;

    /// The name of a function without its `Simulate`: `Pieces`, `Silence=3000`, in capitals or not.
    fn from_str(text: &str) -> Result<Self, UnknownMisbehaviour> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let known = NAMES.iter().filter_map(|known| known.split('=').next());
        let mut known = known.filter(|known| known.eq_ignore_ascii_case(name));
        let function = known.next().map(|known| format!("Simulate{known}"));
        let found = function.and_then(|function| Self::from_function(&function, value));
        found.ok_or_else(|| UnknownMisbehaviour(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_name_faults_and_their_value_says_how_long_or_whether() {
        for (name, value, fault) in [
            ("SimulateSilence", Some("1500"), Some(Misbehaviour::Silence(Duration::from_millis(1500)))),
            ("SimulateRestart", Some("soon"), Some(Misbehaviour::Restart(Duration::from_secs(3)))),
            ("SimulatePieces", None, Some(Misbehaviour::Pieces(true))),
            ("SimulatePieces", Some("Off"), Some(Misbehaviour::Pieces(false))),
            ("SimulateNothing", None, None),
            ("Cut", None, None),
        ] {
            assert_eq!(Misbehaviour::from_function(name, value), fault, "{name}");
        }
    }

    #[test]
    fn every_name_that_is_offered_is_understood() {
        for name in NAMES {
            assert!(name.parse::<Misbehaviour>().is_ok(), "{name}");
        }
        assert_eq!("silence=20".parse(), Ok(Misbehaviour::Silence(Duration::from_millis(20))));
        let err = "Sleep".parse::<Misbehaviour>().unwrap_err().to_string();
        assert!(err.contains("Sleep") && err.contains("Silence=MILLISECONDS"), "{err}");
    }
}
