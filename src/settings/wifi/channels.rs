//! Which channels an access point may use, and where.
//!
//! Normative: the wireless regulatory database that the image carries (wireless-regdb, 2026.05.30), of which this holds
//! what an access point without radar detection needs: a 20 MHz channel inside the country's bands that needs neither
//! detection of radar (DFS) nor another station's permission to transmit (NO-IR). The kernel checks the same again.

use super::super::values::shown;

/// A country that the database knows, by its code (ISO 3166-1 alpha-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(&'static str);

const COUNTRIES: &str = "\
    AD AE AF AI AL AM AN AR AS AT AU AW AZ BA BB BD BE BF BG BH BL BM BN BO BR BS BT BW BY BZ CA CF CH CI CL CN CO \
    CR CU CX CY CZ DE DK DM DO DZ EC EE EG ES ET FI FM FO FR GB GD GE GF GH GI GL GP GR GT GU GY HK HN HR HT HU ID \
    IE IL IM IN IR IS IT JM JO JP KE KH KN KP KR KW KY KZ LB LC LI LK LS LT LU LV MA MC MD ME MF MH MK MN MO MP MQ \
    MR MT MU MV MW MX MY NA NG NI NL NO NP NZ OM PA PE PF PG PH PK PL PM PR PT PW PY QA RE RO RS RU RW SA SE SG SI \
    SK SM SN SR SV SX SY TC TD TH TN TR TT TW TZ UA UG US UY UZ VA VC VE VI VN VU WF WS YE YT ZA ZW";

/// Where 2.4 GHz ends with channel 11.
const WITHOUT_12_AND_13: &str = "AS BM DM DO FM GD GU HT MH MP NI PR PW US VI";
/// Where channels 36 to 48 are not free for an access point.
const WITHOUT_36_TO_48: &str = "AM BD BH BO BZ CU EC NG PK YE";
/// Where channels 149 to 161 are not.
const WITHOUT_149_TO_161: &str = "\
    AF AI AM AN AW AZ BH BL BT BW BY DZ EG ET FO GE GF GI GL GP IM IR JP KE KH KW LK LS MA MF MQ MR MW NA OM PF PM QA \
    RE RS SA SM SR SX SY TD TN TR TZ UZ VA VC WF WS YE YT ZA ZW";
/// Where channel 165 is not either.
const ALSO_WITHOUT_165: &str = "ID KN KP LC";

impl Country {
    /// By its code, in capitals or not.
    pub fn new(code: &str) -> Option<Self> {
        let code = code.to_ascii_uppercase();
        COUNTRIES.split_ascii_whitespace().find(|known| *known == code).map(Self)
    }

    /// `KR`.
    pub fn code(self) -> &'static str {
        self.0
    }

    fn is_in(self, list: &str) -> bool {
        list.split_ascii_whitespace().any(|code| code == self.0)
    }
}

/// The channels that an access point may use: in `country`, or in every country.
pub(crate) fn allowed(country: Option<Country>) -> Vec<u8> {
    let mut channels: Vec<u8> = (1..=11).collect();
    let Some(country) = country else { return channels };
    if !country.is_in(WITHOUT_12_AND_13) {
        channels.extend([12, 13]);
    }
    if !country.is_in(WITHOUT_36_TO_48) {
        channels.extend([36, 40, 44, 48]);
    }
    if !country.is_in(WITHOUT_149_TO_161) {
        channels.extend([149, 153, 157, 161]);
        if !country.is_in(ALSO_WITHOUT_165) {
            channels.push(165);
        }
    }
    channels
}

/// Why an access point cannot use `channel`, and what to do.
pub(in crate::settings) fn refusal(channel: i64, country: Option<Country>) -> Option<(String, String)> {
    let allowed = allowed(country);
    if allowed.iter().any(|known| i64::from(*known) == channel) {
        return None;
    }
    let what = match (channel, country) {
        (52..=144, _) => format!("channel {channel} must be left as soon as a radar is heard, which the box cannot do"),
        (12 | 13 | 36 | 40 | 44 | 48 | 149 | 153 | 157 | 161 | 165, None) => {
            format!("channel {channel} is not allowed in every country")
        }
        (12 | 13 | 36 | 40 | 44 | 48 | 149 | 153 | 157 | 161 | 165, Some(country)) => {
            format!("channel {channel} is not allowed in {}", country.code())
        }
        _ => format!("there is no Wi-Fi channel {} for an access point", shown(&channel.to_string())),
    };
    let remedy = match country {
        None => "choose 1 to 11, or say where the box stands, as in `country = \"KR\"`".into(),
        Some(_) => format!("choose one of {}", ranges(&allowed)),
    };
    Some((what, remedy))
}

/// `1 to 13, 36, 40, …`.
fn ranges(channels: &[u8]) -> String {
    let low = channels.iter().filter(|channel| **channel <= 14).max().copied().unwrap_or_default();
    let high = channels.iter().filter(|channel| **channel > 14).map(|channel| format!(", {channel}"));
    format!("1 to {low}{}", high.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_country(code: &str) -> Vec<u8> {
        allowed(Some(Country::new(code).unwrap()))
    }

    #[test]
    fn without_a_country_only_what_all_allow() {
        assert_eq!(allowed(None), (1..=11).collect::<Vec<u8>>());
        for code in COUNTRIES.split_ascii_whitespace() {
            assert!(in_country(code).starts_with(&allowed(None)), "{code}");
        }
    }

    #[test]
    fn countries_differ() {
        let last_of_band_1 = |code| in_country(code).into_iter().filter(|c| *c < 15).max().unwrap();
        assert_eq!((last_of_band_1("US"), last_of_band_1("KR"), last_of_band_1("JP")), (11, 13, 13));
        assert!(in_country("KR").ends_with(&[149, 153, 157, 161, 165]));
        assert!(in_country("JP").ends_with(&[36, 40, 44, 48]));
        assert!(in_country("ID").ends_with(&[149, 153, 157, 161]));
        assert!(in_country("BO").contains(&149) && !in_country("BO").contains(&36));
    }

    #[test]
    fn a_country_is_one_of_the_database() {
        assert_eq!(Country::new("kr").map(Country::code), Some("KR"));
        for none in ["", "00", "UK", "XX", "K", "KOR", "KR "] {
            assert_eq!(Country::new(none), None, "{none}");
        }
        for list in [WITHOUT_12_AND_13, WITHOUT_36_TO_48, WITHOUT_149_TO_161, ALSO_WITHOUT_165] {
            assert!(list.split_ascii_whitespace().all(|code| Country::new(code).is_some()), "{list}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_choose() {
        let (what, remedy) = refusal(36, None).unwrap();
        assert!(what.contains("every country") && remedy.contains("country = \"KR\""), "{what}; {remedy}");
        let (what, remedy) = refusal(13, Country::new("US")).unwrap();
        assert!(what.contains("in US") && remedy.contains("1 to 11, 36"), "{what}; {remedy}");
        assert!(refusal(100, Country::new("KR")).unwrap().0.contains("radar"));
        for none in [0, -1, 14, 37, 166, 1000, i64::MAX] {
            assert!(refusal(none, Country::new("JP")).unwrap().0.contains("no Wi-Fi channel"), "{none}");
        }
    }
}
