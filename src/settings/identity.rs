//! What makes a box of the SD-card image one of a kind. Drawn once, at its first start, and never changed but by a
//! factory reset.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read, in bytes; a whole one has 200.
const LARGEST_FILE: u64 = 4096;

/// What is said when a file cannot be believed.
const REMEDY: &str = "do a factory reset (docs/box.md), and the box draws a new one";

/// A box's own name and secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// `returnfeed-3f2a`, which `.local` follows on the network.
    pub host_name: String,
    /// The name of its Wi-Fi (SSID) unless the settings say otherwise: 1 to 32 bytes.
    pub wifi_name: String,
    /// The passphrase of its Wi-Fi unless the settings say otherwise: 8 to 63 ASCII characters.
    pub wifi_passphrase: String,
    /// What proves that somebody holds the card of the box.
    pub setup_code: String,
}

/// Why a file is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It could not be read.
    #[error("{file}: cannot read what makes this box one of a kind: {source}; {REMEDY}")]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and says something else.
    #[error("{file}: {what}; {REMEDY}")]
    Refused {
        /// As it was named.
        file: String,
        /// What is wrong. Never shows a secret.
        what: String,
    },
}

impl Identity {
    /// The bytes of randomness that [`Identity::draw`] takes; it uses about 30 of them.
    pub const RANDOM_BYTES: usize = 128;

    /// A new identity out of random bytes; `None` when these are not random.
    ///
    /// The passphrase has 64 bits and the set-up code 43: 15 and 10 letters of [`LETTERS`], in groups.
    pub fn draw(random: &[u8; Self::RANDOM_BYTES]) -> Option<Self> {
        let [first, second, rest @ ..] = random;
        let number = format!("{first:02x}{second:02x}");
        let mut letters = letters(rest);
        let mut grouped = |groups: usize| {
            let drawn: String = letters.by_ref().take(groups * GROUP).collect();
            let groups: Vec<&str> = drawn.as_bytes().chunks(GROUP).filter_map(|g| str::from_utf8(g).ok()).collect();
            groups.join("-")
        };
        let drawn = Self {
            wifi_name: format!("ReturnFeed {}", number.to_uppercase()),
            host_name: format!("returnfeed-{number}"),
            wifi_passphrase: grouped(3),
            setup_code: grouped(2),
        };
        (drawn.wifi_passphrase.len() == 3 * GROUP + 2 && drawn.setup_code.len() == 2 * GROUP + 1).then_some(drawn)
    }

    /// The file that [`Identity::load`] reads.
    pub fn file(&self) -> String {
        let Self { host_name, wifi_name, wifi_passphrase, setup_code } = self;
        format!(
            "host_name = \"{host_name}\"\nwifi_name = \"{wifi_name}\"\n\
             wifi_passphrase = \"{wifi_passphrase}\"\nsetup_code = \"{setup_code}\"\n"
        )
    }

    /// Reads a box's identity.
    ///
    /// # Errors
    /// When the file cannot be read, or something is missing in it or cannot be what it is called.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let file = path.display().to_string();
        let mut text = String::new();
        match std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)) {
            Ok(_) => Self::parse(&text).map_err(|what| IdentityError::Refused { file, what }),
            Err(source) => Err(IdentityError::Unreadable { file, source }),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|_| "this is not what the box wrote here".to_owned())?;
        let value = |key: &str, fits: fn(&str) -> bool| match table.get(key).and_then(toml::Value::as_str) {
            Some(value) if fits(value) => Ok(value.to_owned()),
            Some(_) => Err(format!("`{key}` is none")),
            None => Err(format!("`{key}` is missing")),
        };
        Ok(Self {
            host_name: value("host_name", is_host_name)?,
            wifi_name: value("wifi_name", |name| (1..=32).contains(&name.len()) && !name.contains(char::is_control))?,
            wifi_passphrase: value("wifi_passphrase", |text| {
                (8..=63).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
            })?,
            setup_code: value("setup_code", |code| {
                (8..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })?,
        })
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

/// What secrets are made of: small letters alone, because a phone's keyboard has digits on another page; none that
/// looks like another; no vowels, so that no word comes out that somebody would rather not have on the wall.
pub const LETTERS: &[u8; 20] = b"bcdfghjkmnpqrstvwxyz";

/// Letters between two hyphens.
const GROUP: usize = 5;

/// Every letter is as likely as any other: bytes beyond the last whole run of the alphabet are left out.
fn letters(random: &[u8]) -> impl Iterator<Item = char> {
    let whole = u8::MAX as usize / LETTERS.len() * LETTERS.len();
    let fair = random.iter().map(|byte| usize::from(*byte)).filter(move |number| *number < whole);
    fair.filter_map(|number| LETTERS.get(number % LETTERS.len())).map(|letter| char::from(*letter))
}

/// One label of a host name (RFC 1123 §2.1), in small letters.
fn is_host_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that differ, as random ones do.
    fn bytes(seed: u8) -> [u8; Identity::RANDOM_BYTES] {
        let mut state = u32::from(seed) + 1;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    #[test]
    fn an_identity_is_easy_to_read_and_to_type() {
        let drawn = Identity::draw(&bytes(1)).unwrap();
        let Identity { host_name, wifi_name, wifi_passphrase, setup_code } = &drawn;
        let number = host_name.strip_prefix("returnfeed-").unwrap();
        assert!(number.len() == 4 && u16::from_str_radix(number, 16).is_ok(), "{host_name}");
        assert_eq!(*wifi_name, format!("ReturnFeed {}", number.to_uppercase()));
        for (secret, groups) in [(wifi_passphrase, 3), (setup_code, 2)] {
            assert_eq!(secret.split('-').count(), groups, "{secret}");
            for group in secret.split('-') {
                assert!(group.len() == 5 && group.bytes().all(|b| LETTERS.contains(&b)), "{secret}");
            }
        }
        let bits = |letters: f64| letters * (LETTERS.len() as f64).log2();
        assert!(bits(15.0) >= 60.0 && bits(10.0) >= 40.0);
        assert_ne!(drawn, Identity::draw(&bytes(2)).unwrap());
    }

    #[test]
    fn bytes_that_are_not_random_make_no_identity() {
        assert_eq!(Identity::draw(&[255; Identity::RANDOM_BYTES]), None);
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let mut counts = [0; 20];
        for letter in letters(&std::array::from_fn::<u8, 256, _>(|byte| byte as u8)) {
            counts[LETTERS.iter().position(|known| char::from(*known) == letter).unwrap()] += 1;
        }
        assert_eq!(counts, [12; 20]);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, drawn) = (dir.path().join("box.toml"), Identity::draw(&bytes(3)).unwrap());
        std::fs::write(&path, drawn.file()).unwrap();
        assert_eq!(Identity::load(&path).unwrap(), drawn);
    }

    #[test]
    fn a_file_that_is_none_is_refused_in_words_and_without_its_secrets() {
        let whole = Identity::draw(&bytes(4)).unwrap();
        let lines =
            |keep: fn(&str) -> bool| whole.file().lines().filter(|line| keep(line)).collect::<Vec<_>>().join("\n");
        for (text, what) in [
            (String::new(), "`host_name` is missing"),
            (lines(|line| !line.starts_with("setup_code")), "`setup_code` is missing"),
            (whole.file().replace("returnfeed-", "Return Feed;"), "`host_name` is none"),
            (whole.file().replace("wifi_name = \"R", "wifi_name = \"\\u0007"), "`wifi_name` is none"),
            (whole.file().replace(&whole.wifi_passphrase, "secret"), "`wifi_passphrase` is none"),
            (whole.file().replace(&whole.wifi_passphrase, &"ü".repeat(20)), "`wifi_passphrase` is none"),
            ("wifi_passphrase = secret".into(), "not what the box wrote"),
        ] {
            let refused = Identity::parse(&text).unwrap_err();
            assert!(refused.contains(what) && !refused.contains("secret"), "{refused}");
        }
        let nowhere = Identity::load(Path::new("/nowhere/box.toml")).unwrap_err().to_string();
        assert!(nowhere.contains("/nowhere/box.toml") && nowhere.contains("do a factory reset"), "{nowhere}");
    }

    #[test]
    fn secrets_are_not_in_what_is_logged() {
        let drawn = Identity::draw(&bytes(5)).unwrap();
        let logged = format!("{drawn:?}");
        assert!(logged.contains(&drawn.host_name));
        assert!(!logged.contains(&drawn.wifi_passphrase) && !logged.contains(&drawn.setup_code));
    }
}
