//! Stream names: `app/name`, where the app `live` may be left out.

use std::fmt;
use std::str::FromStr;

/// First path segments that belong to the box itself and can be no stream's.
pub const RESERVED_FIRST_SEGMENTS: [&str; 11] =
    ["api", "ws", "rtc", "admin", "trust", "join", "setup", "setup-sheet", "assets", "metrics", "healthz"];

/// Last path segments that are endpoints of the stream before them.
const RESERVED_NAMES: [&str; 2] = ["whep", "whip"];

const DEFAULT_APP: &str = "live";
const LONGEST_PART: usize = 64;

/// The name of a stream. `pgm` and `live/pgm` are the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    app: String,
    name: String,
}

/// Why a text is no stream name, in words for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStreamName {
    /// More than one slash.
    #[error("a stream name has at most two parts, as in \"live/pgm\"")]
    TooManyParts,
    /// A part is empty or too long.
    #[error("each part of a stream name has 1 to {LONGEST_PART} characters")]
    Length,
    /// A character outside the allowed set.
    #[error("a stream name is made of letters, digits, \"-\", \"_\" and \".\", and starts with a letter or digit")]
    Character,
    /// The first part belongs to the box.
    #[error("\"{0}\" is reserved for the box itself; choose another stream name")]
    Reserved(String),
}

impl StreamName {
    /// The stream an encoder publishes when it names none: `live/pgm`.
    pub fn program() -> Self {
        Self { app: DEFAULT_APP.into(), name: "pgm".into() }
    }

    /// A name of an app and a name within it.
    ///
    /// # Errors
    /// When either part is not a valid name, or the address it would have is the box's own.
    pub fn new(app: &str, name: &str) -> Result<Self, InvalidStreamName> {
        for part in [app, name] {
            if part.is_empty() || part.len() > LONGEST_PART {
                return Err(InvalidStreamName::Length);
            }
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if !part.chars().all(allowed) || !part.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(InvalidStreamName::Character);
            }
        }
        let first = if app == DEFAULT_APP { name } else { app };
        if RESERVED_FIRST_SEGMENTS.contains(&first) {
            return Err(InvalidStreamName::Reserved(first.into()));
        }
        if RESERVED_NAMES.contains(&name) {
            return Err(InvalidStreamName::Reserved(name.into()));
        }
        Ok(Self { app: app.into(), name: name.into() })
    }

    /// The part before the slash.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as people write it and as it stands in an address: `pgm`, `studio2/pgm`.
    pub fn short(&self) -> String {
        if self.app == DEFAULT_APP { self.name.clone() } else { self.to_string() }
    }
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None => Self::new(DEFAULT_APP, text),
            Some((_, rest)) if rest.contains('/') => Err(InvalidStreamName::TooManyParts),
            Some((app, name)) => Self::new(app, name),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_live_may_be_left_out() {
        assert_eq!("pgm".parse::<StreamName>(), Ok(StreamName::program()));
        assert_eq!("live/pgm".parse::<StreamName>(), Ok(StreamName::program()));
        assert_eq!(StreamName::program().short(), "pgm");
        assert_eq!(StreamName::program().to_string(), "live/pgm");
        assert_eq!("b/pgm".parse::<StreamName>().map(|n| n.short()), Ok("b/pgm".into()));
    }

    #[test]
    fn refuses_what_could_not_be_an_address() {
        use InvalidStreamName as E;
        for (text, error) in [
            ("", E::Length),
            ("/", E::Length),
            ("a/", E::Length),
            ("/a", E::Length),
            ("a/b/c", E::TooManyParts),
            ("..", E::Character),
            ("a/..", E::Character),
            ("a b", E::Character),
            ("a\n", E::Character),
            ("카메라", E::Character),
            ("ws", E::Reserved("ws".into())),
            ("live/api", E::Reserved("api".into())),
            ("rtc/v1", E::Reserved("rtc".into())),
            ("studio/whep", E::Reserved("whep".into())),
        ] {
            assert_eq!(text.parse::<StreamName>(), Err(error), "{text:?}");
        }
        assert!("x/api".parse::<StreamName>().is_ok());
        assert!("a".repeat(64).parse::<StreamName>().is_ok());
        assert!("a".repeat(65).parse::<StreamName>().is_err());
    }
}
