//! `[wifi]`: the radio of the box itself.

use std::fmt;
use std::net::Ipv4Addr;

use super::{Identity, Settings};

pub(super) mod channels;

pub use channels::Country;

/// Where the box is on the network of its own access point.
pub const ACCESS_POINT: Ipv4Addr = Ipv4Addr::new(10, 88, 89, 1);

/// The length of that network's part, in bits.
pub const ACCESS_POINT_PREFIX: u8 = 24;

/// `[wifi]`: what the SD-card image does with its radio. Elsewhere it does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wifi {
    /// What the radio is used for.
    pub mode: WifiMode,
    /// Where the box stands; what no country forbids when left out.
    pub country: Option<Country>,
    /// The access point's channel, allowed in `country`; 6 when left out.
    pub channel: Option<u8>,
    /// The network's name; the box's own when left out.
    pub name: Option<WifiName>,
    /// What a device must know to join; the box's own when left out.
    pub passphrase: Option<WifiPassphrase>,
    /// How devices prove that they know it.
    pub security: WifiSecurity,
}

/// What the radio is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WifiMode {
    /// The box is an access point that phones join.
    #[default]
    AccessPoint,
    /// The box joins the studio's Wi-Fi.
    Station,
    /// Nothing.
    Off,
}

impl WifiMode {
    /// Every mode, as it is written.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("access-point", Self::AccessPoint), ("station", Self::Station), ("off", Self::Off)];

    /// As it is written in the settings.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("off", |(word, _)| word)
    }
}

/// How a device proves that it knows the passphrase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WifiSecurity {
    /// WPA2-Personal: every device can.
    #[default]
    Wpa2,
    /// WPA3-Personal alone (SAE).
    Wpa3,
}

impl WifiSecurity {
    /// Both, as they are written.
    pub(super) const WORDS: [(&'static str, Self); 2] = [("wpa2", Self::Wpa2), ("wpa3", Self::Wpa3)];

    /// As it is written in the settings.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, security)| *security == self).map_or("wpa2", |(word, _)| word)
    }
}

/// The name of a Wi-Fi (SSID): 1 to 32 bytes of text without control characters (IEEE 802.11 §9.4.2.2 allows any bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WifiName(String);

impl WifiName {
    /// `None` when a Wi-Fi cannot be called so.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=32).contains(&text.len()) && !text.contains(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// As people see it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A Wi-Fi passphrase: 8 to 63 printable ASCII characters (IEEE 802.11 annex J.4). Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WifiPassphrase(String);

impl WifiPassphrase {
    /// `None` when no device would take it.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (8..=63).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        fits.then(|| Self(text.into()))
    }

    /// The passphrase itself: for the set-up sheet and the radio alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WifiPassphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WifiPassphrase(…)")
    }
}

/// The box's own Wi-Fi, as whoever joins it has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPoint {
    /// Its name.
    pub name: WifiName,
    /// What a device must know to join.
    pub passphrase: WifiPassphrase,
    /// How it proves that.
    pub security: WifiSecurity,
    /// Where the page is for whoever has joined.
    pub address: Ipv4Addr,
}

impl Settings {
    /// The box's own Wi-Fi; `None` when its radio is used for something else.
    pub fn access_point(&self, identity: &Identity) -> Option<AccessPoint> {
        let Wifi { mode: WifiMode::AccessPoint, name, passphrase, security, .. } = &self.wifi else { return None };
        Some(AccessPoint {
            name: name.clone().or_else(|| WifiName::new(&identity.wifi_name))?,
            passphrase: passphrase.clone().or_else(|| WifiPassphrase::new(&identity.wifi_passphrase))?,
            security: *security,
            address: ACCESS_POINT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let random = std::array::from_fn(|at| u8::try_from(at * 7 % 251).unwrap());
        Identity::draw(&random).unwrap()
    }

    fn mistakes(text: &str) -> Vec<String> {
        let found = Settings::parse("t", text).unwrap_err();
        found.mistakes().iter().map(|mistake| mistake.summary().split_once(':').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn an_access_point_is_called_as_the_settings_say_or_as_the_box_is() {
        let identity = identity();
        let own = Settings::default().access_point(&identity).unwrap();
        assert_eq!((own.name.as_str(), own.passphrase.expose()), (&*identity.wifi_name, &*identity.wifi_passphrase));
        assert_eq!((own.security, own.address), (WifiSecurity::Wpa2, ACCESS_POINT));
        let text = "[wifi]\nname = '부조 1'\npassphrase = 'with a space'\nsecurity = 'wpa3'";
        let set = Settings::parse("t", text).unwrap().access_point(&identity).unwrap();
        assert_eq!((set.name.as_str(), set.passphrase.expose()), ("부조 1", "with a space"));
        assert_eq!(set.security, WifiSecurity::Wpa3);
        for other in ["mode = 'off'", "mode = 'station'\nname = 'a'\npassphrase = '12345678'"] {
            let settings = Settings::parse("t", &format!("[wifi]\n{other}")).unwrap();
            assert_eq!(settings.access_point(&identity), None);
            assert_eq!(Settings::default().needs_restart(&settings), ["wifi"]);
        }
    }

    #[test]
    fn every_mistake_has_its_remedy() {
        for (text, expected) in [
            ("mode = 'ap'", &["2:8: `mode` cannot be \"ap\"; write one of access-point, station, off"][..]),
            ("mode = 'accesspoint'", &["2:8: `mode` cannot be \"accesspoint\"; did you mean \"access-point\"?"]),
            ("security = 'wpa'", &["2:12: `security` cannot be \"wpa\"; did you mean \"wpa2\"?"]),
            (
                "country = 'Korea'",
                &[
                    "2:11: `Korea` is no country whose rules for Wi-Fi are known; write the country's two letters (ISO 3166), as \
                   in `country = \"KR\"`, or leave it out",
                ],
            ),
            (
                "country = 'uk'\nchannel = 36",
                &["2:11: `uk` is no country whose rules for Wi-Fi are known; did you mean \"GB\"?"],
            ),
            (
                "channel = 36",
                &[
                    "2:11: channel 36 is not allowed in every country; choose 1 to 11, or say where the box stands, as in \
                   `country = \"KR\"`",
                ],
            ),
            ("channel = '6'", &["2:11: `channel` must be a whole number, but is a text; write it as `channel = 6`"]),
            ("name = ''", &["2:8: the name of the Wi-Fi is empty; write a name, or leave it out"]),
            (
                "name = '스튜디오 일층 부조정실실'",
                &[
                    "2:8: the name of a Wi-Fi has at most 32 bytes, this one has 35; shorten it; a Korean letter counts as three",
                ],
            ),
            (
                "passphrase = 'short'",
                &[
                    "2:14: a Wi-Fi passphrase has 8 to 63 characters, this one has 5; choose one of that length; it is what \
                   phones have to enter",
                ],
            ),
            (
                "passphrase = '비밀번호비밀번호'",
                &[
                    "2:14: a Wi-Fi passphrase has only the letters, digits and signs of an English keyboard; choose one without \
                   other characters",
                ],
            ),
            (
                "mode = 'station'\nchannel = 1",
                &[
                    "1:2: mode = \"station\" without `name`; add `name = \"…\"`, the name of the Wi-Fi to join",
                    "1:2: mode = \"station\" without `passphrase`; add `passphrase = \"…\"`, the passphrase of that Wi-Fi",
                    "3:11: the channel of a Wi-Fi is chosen by its access point; leave `channel` out; it is for mode = \
                     \"access-point\"",
                ],
            ),
            (
                "mode = 'access-point'\n[network]\naddress = '10.88.89.7/24'",
                &[
                    "4:11: 10.88.89.1/24 is the network of the box's own Wi-Fi; give the box an address of another network, or \
                   switch its Wi-Fi off: [wifi] mode = \"off\"",
                ],
            ),
            (
                "mode = 'access-point'\n[network]\naddress = '10.0.0.5/8'",
                &[
                    "4:11: the network of 10.0.0.5/8 takes in 10.88.89.1/24, that of the box's own Wi-Fi; write the prefix that \
                   the studio's network really has, such as 10.0.0.5/24; if it is this large, switch the box's Wi-Fi off: \
                   [wifi] mode = \"off\"",
                ],
            ),
        ] {
            assert_eq!(mistakes(&format!("[wifi]\n{text}")), expected, "{text}");
        }
        assert_eq!(mistakes("[network]\naddress = '10.88.0.5/16'").len(), 1);
        for apart in [
            "[network]\naddress = '10.88.89.7/24'\n[wifi]\nmode = 'off'",
            "[network]\naddress = '10.0.0.5/8'\n[wifi]\nmode = 'off'",
            "[network]\naddress = '10.0.0.5/24'",
            "[network]\naddress = '10.89.0.5/16'",
        ] {
            assert!(Settings::parse("t", apart).is_ok(), "{apart}");
        }
    }

    #[test]
    fn a_passphrase_is_never_shown() {
        let settings = Settings::parse("t", "[wifi]\npassphrase = 'of the studio'").unwrap();
        assert!(!format!("{settings:?}").contains("studio"));
        let refused = Settings::parse("t", "[wifi]\npassphrase = 'studio'").unwrap_err().to_string();
        assert!(!refused.contains("studio"), "{refused}");
    }
}
