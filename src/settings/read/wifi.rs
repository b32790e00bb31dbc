//! What `[wifi]` may say.

use toml::de::DeValue;

use super::kinds::{integer, one_of, text};
use super::{Fault, Reader, Span, Table};
use crate::settings::values::shown;
use crate::settings::wifi::{ACCESS_POINT, ACCESS_POINT_PREFIX, channels};
use crate::settings::{Country, Ipv4Network, WifiMode, WifiName, WifiPassphrase, WifiSecurity};

impl Reader<'_> {
    pub(super) fn wifi(&mut self, table: &Table<'_>) {
        let mode = self.value(table, "mode", |value| one_of("mode", value, WifiMode::WORDS, "access-point"));
        let country = self.value(table, "country", country);
        let name = self.value(table, "name", name);
        let passphrase = self.value(table, "passphrase", passphrase);
        let security = self.value(table, "security", |value| one_of("security", value, WifiSecurity::WORDS, "wpa2"));
        let mode_is_known = mode.is_some() || !table.values.contains_key("mode");
        let country_is_known = country.is_some() || !table.values.contains_key("country");
        let wifi = &mut self.settings.wifi;
        wifi.mode = mode.map(|found| found.value).unwrap_or_default();
        wifi.country = country.map(|found| found.value);
        wifi.name = name.map(|found| found.value);
        wifi.passphrase = passphrase.map(|found| found.value);
        wifi.security = security.map(|found| found.value).unwrap_or_default();
        let (mode, country) = (wifi.mode, wifi.country);

        let channel = self.value(table, "channel", |value| {
            let number = integer("channel", value, i64::MIN..=i64::MAX, "6")?;
            match channels::refusal(number, country) {
                // What follows from a country that could not be read is no mistake of its own.
                Some((what, remedy)) if country_is_known => Err(Fault::new(what, remedy)),
                _ => Ok(u8::try_from(number).unwrap_or_default()),
            }
        });
        self.settings.wifi.channel = channel.as_ref().map(|found| found.value);
        if !mode_is_known || mode != WifiMode::Station {
            return;
        }
        if let Some(value) = table.values.get("channel") {
            let what = "the channel of a Wi-Fi is chosen by its access point";
            self.fault(&value.span(), Fault::new(what, "leave `channel` out; it is for mode = \"access-point\""));
        }
        for (key, example) in
            [("name", "the name of the Wi-Fi to join"), ("passphrase", "the passphrase of that Wi-Fi")]
        {
            if !table.values.contains_key(key) {
                let what = format!("mode = \"station\" without `{key}`");
                self.missing(&table.span, Fault::new(what, format!("add `{key} = \"…\"`, {example}")));
            }
        }
    }

    /// The box cannot have two networks with the same addresses. `address` is where that of `[network]` stands.
    pub(super) fn networks(&mut self, address: Option<&Span>) {
        let own = Ipv4Network { address: ACCESS_POINT, prefix: ACCESS_POINT_PREFIX };
        let (Some(span), Some(fixed)) = (address, self.settings.network.address) else { return };
        if self.settings.wifi.mode != WifiMode::AccessPoint {
            return;
        }
        let own_network = format!("{ACCESS_POINT}/{ACCESS_POINT_PREFIX}");
        let Ipv4Network { address, prefix } = fixed;
        if own.contains(address) {
            let what = format!("{own_network} is the network of the box's own Wi-Fi");
            let remedy = "give the box an address of another network, or switch its Wi-Fi off: [wifi] mode = \"off\"";
            self.fault(span, Fault::new(what, remedy));
        } else if fixed.contains(ACCESS_POINT) {
            let what = format!("the network of {address}/{prefix} takes in {own_network}, that of the box's own Wi-Fi");
            let remedy = format!(
                "write the prefix that the studio's network really has, such as {address}/24; if it is this large, switch \
                 the box's Wi-Fi off: [wifi] mode = \"off\""
            );
            self.fault(span, Fault::new(what, remedy));
        }
    }
}

fn country(value: &DeValue<'_>) -> Result<Country, Fault> {
    let code = text("country", value, "\"KR\"")?;
    Country::new(code).ok_or_else(|| {
        let remedy = match code.to_ascii_uppercase().as_str() {
            "UK" => "did you mean \"GB\"?",
            _ => "write the country's two letters (ISO 3166), as in `country = \"KR\"`, or leave it out",
        };
        Fault::new(format!("`{}` is no country whose rules for Wi-Fi are known", shown(code)), remedy)
    })
}

fn name(value: &DeValue<'_>) -> Result<WifiName, Fault> {
    let name = text("name", value, "\"Studio 1\"")?;
    WifiName::new(name).ok_or_else(|| match name.len() {
        0 => Fault::new("the name of the Wi-Fi is empty", "write a name, or leave it out"),
        33.. => Fault::new(
            format!("the name of a Wi-Fi has at most 32 bytes, this one has {}", name.len()),
            "shorten it; a Korean letter counts as three",
        ),
        _ => Fault::new("the name of a Wi-Fi has no line break or tab", "write a name such as \"Studio 1\""),
    })
}

fn passphrase(value: &DeValue<'_>) -> Result<WifiPassphrase, Fault> {
    let passphrase = text("passphrase", value, "\"…\"")?;
    WifiPassphrase::new(passphrase).ok_or_else(|| match passphrase.chars().count() {
        8..=63 => Fault::new(
            "a Wi-Fi passphrase has only the letters, digits and signs of an English keyboard",
            "choose one without other characters",
        ),
        count => Fault::new(
            format!("a Wi-Fi passphrase has 8 to 63 characters, this one has {count}"),
            "choose one of that length; it is what phones have to enter",
        ),
    })
}
