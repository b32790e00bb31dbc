//! What the root-only part of the SD-card image has to know of the settings.
//!
//! Owns: the lines that `returnfeed network` prints. Does not own: what becomes of them. Root believes none of them
//! and makes its own files of the values (`overlay/usr/libexec/returnfeed/apply-network`).

use std::fmt::Write;

use super::{Identity, Settings, WifiMode};

impl Settings {
    /// A word and a value a line. Names and passphrases are written in hexadecimal, so that no character of theirs
    /// means anything on the way. An access point without a name (no `identity`, none in the settings) is off.
    pub fn for_the_machine(&self, identity: Option<&Identity>) -> String {
        let mut lines = String::new();
        let mut line = |word: &str, value: &dyn std::fmt::Display| {
            // Writing to a String does not fail.
            let _ = writeln!(lines, "{word} {value}");
        };
        for (word, port) in [
            ("page-port", self.http.listen.port()),
            ("srt-port", self.srt.listen.port()),
            ("media-port", self.webrtc.listen.port()),
            ("turn-port", if self.turn.enabled { self.turn.listen.port() } else { 0 }),
        ] {
            if port != 0 {
                line(word, &port);
            }
        }
        let https = self.https.address(true);
        let relayed = https.filter(|_| self.turn.enabled).map(|_| self.turn.tls_listen);
        for (word, address) in [("https-port", https), ("turns-port", relayed)] {
            if let Some(address) = address.filter(|address| address.port() != 0) {
                line(word, &address.port());
            }
        }
        if let Some(relay) = self.relay.listen.filter(|relay| relay.port() != 0) {
            line("relay-port", &relay.port());
        }
        if let Some(network) = &self.network.address {
            line("address", &format_args!("{}/{}", network.address, network.prefix));
        }
        self.network.gateway.iter().for_each(|gateway| line("gateway", gateway));
        self.network.dns.iter().for_each(|server| line("dns", server));

        let wifi = &self.wifi;
        let joined = match wifi.mode {
            WifiMode::AccessPoint => identity
                .and_then(|identity| self.access_point(identity))
                .map(|access_point| (access_point.name, access_point.passphrase)),
            WifiMode::Station => wifi.name.clone().zip(wifi.passphrase.clone()),
            WifiMode::Off => None,
        };
        let Some((name, passphrase)) = joined else {
            line("wifi", &WifiMode::Off.as_str());
            return lines;
        };
        line("wifi", &wifi.mode.as_str());
        line("wifi-name", &hexadecimal(name.as_str()));
        line("wifi-passphrase", &hexadecimal(passphrase.expose()));
        line("wifi-security", &wifi.security.as_str());
        wifi.country.iter().for_each(|country| line("wifi-country", &country.code()));
        wifi.channel.iter().for_each(|channel| line("wifi-channel", channel));
        lines
    }
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "host_name = \"returnfeed-3f2a\"\nwifi_name = \"ReturnFeed 3F2A\"\n\
                            wifi_passphrase = \"aaaaa-bbbbb\"\nsetup_code = \"abcde-fghij\"\n";

    fn identity() -> Identity {
        Identity::parse(IDENTITY).unwrap()
    }

    fn lines(settings: &str) -> Vec<String> {
        let settings = Settings::parse("test.toml", settings).unwrap();
        settings.for_the_machine(Some(&identity())).lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn without_settings_the_box_is_an_access_point_by_its_own_name() {
        assert_eq!(
            lines(""),
            [
                "page-port 8889",
                "srt-port 8890",
                "media-port 8189",
                "turn-port 3478",
                "https-port 8443",
                "turns-port 5349",
                "wifi access-point",
                "wifi-name 52657475726e466565642033463241",
                "wifi-passphrase 61616161612d6262626262",
                "wifi-security wpa2",
            ]
        );
    }

    #[test]
    fn a_relay_that_is_off_has_no_port() {
        assert!(!lines("[turn]\nenabled = false").iter().any(|line| line.starts_with("turn-port")));
        assert!(!lines("[https]\nenabled = false").iter().any(|line| line.contains("https") || line.contains("turns")));
        assert!(!lines("[turn]\nenabled = false").iter().any(|line| line.starts_with("turns-port")));
        assert!(lines("[turn]\nlisten = '[::]:3479'").contains(&"turn-port 3479".into()));
    }

    #[test]
    fn what_was_set_is_told() {
        let told = lines(
            "[http]\nlisten = \"[::]:9000\"\n[network]\naddress = \"192.168.1.20/24\"\ngateway = \"192.168.1.1\"\n\
             dns = [\"9.9.9.9\"]\n[relay]\nlisten = \"[::]:8099\"\n[wifi]\ncountry = \"kr\"\nchannel = 36\nname = \"부조정실\"\nsecurity = \"wpa3\"",
        );
        for line in [
            "page-port 9000",
            "relay-port 8099",
            "address 192.168.1.20/24",
            "gateway 192.168.1.1",
            "dns 9.9.9.9",
            "wifi-name ebb680eca1b0eca095ec8ba4",
            "wifi-security wpa3",
            "wifi-country KR",
            "wifi-channel 36",
        ] {
            assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
        }
    }

    #[test]
    fn a_station_is_told_what_to_join_and_no_radio_nothing() {
        let told = lines("[wifi]\nmode = \"station\"\nname = \"Studio\"\npassphrase = \"of the studio\"");
        assert!(told.contains(&"wifi station".into()) && told.contains(&"wifi-name 53747564696f".into()), "{told:?}");
        assert_eq!(lines("[wifi]\nmode = \"off\"\nname = \"Studio\"").last().unwrap(), "wifi off");
        let nobody = Settings::default().for_the_machine(None);
        assert_eq!(nobody.lines().last(), Some("wifi off"), "a machine that is no box has no access point");
    }
}
