//! `[access]`: who may do what.

use ipnet::IpNet;

use crate::access::{Secret, Viewing};

/// `[access]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Who may watch.
    pub viewing: Viewing,
    /// Six digits that let a viewer in.
    pub pin: Option<Secret>,
    /// Over what the box is administered; `None`: over HTTPS where it is on.
    pub administration: Option<Administration>,
    /// The networks whose people may watch by `viewing = "open"`; `None`: those of the box's interfaces.
    pub own_networks: Option<Vec<IpNet>>,
    /// Where senders may call from; empty: from anywhere with a secret, from the own networks without.
    pub publish_from: Vec<IpNet>,
    /// Where viewers may watch from; empty: from anywhere. Likewise the next.
    pub view_from: Vec<IpNet>,
    /// Where the box may be administered from.
    pub administer_from: Vec<IpNet>,
    /// Origins of further pages (RFC 6454) that may do what the box's own page may: `https://studio.example`.
    pub origins: Vec<String>,
}

/// Over what the box is administered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Administration {
    /// Over HTTPS alone, and from the machine itself.
    Https,
    /// Over plain HTTP too.
    Lan,
}

impl Administration {
    /// As it is written.
    pub(super) const WORDS: [(&'static str, Self); 2] = [("https", Self::Https), ("lan", Self::Lan)];
}

/// As `viewing` is written.
pub(super) const VIEWING: [(&str, Viewing); 3] =
    [("open", Viewing::Open), ("pin", Viewing::Pin), ("links", Viewing::Links)];

/// A PIN: six digits that are not the first ones anybody would try. `Err` says what is wrong.
pub(super) fn pin(text: &str) -> Result<Secret, &'static str> {
    if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a PIN has six digits");
    }
    let steps = || text.bytes().zip(text.bytes().skip(1)).map(|(a, b)| i16::from(b) - i16::from(a));
    if [-1, 0, 1].iter().any(|step| steps().all(|taken| taken == *step)) {
        return Err("this PIN is one of the first that anybody would try");
    }
    Ok(Secret::new(text))
}

/// A stream key: what can stand in a stream ID as it is. `Err` says what is wrong.
pub(super) fn stream_key(text: &str) -> Result<Secret, String> {
    let count = text.chars().count();
    if !(8..=64).contains(&count) {
        return Err(format!("a stream key has 8 to 64 characters, this one has {count}"));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!@$^*+".contains(&b)) {
        return Err("a stream key has only letters, digits and - _ . ~ ! @ $ ^ * +".to_owned());
    }
    Ok(Secret::new(text))
}

/// A network or a single address; IPv4 in IPv6 is IPv4.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network
        .map(|network| network.trunc())
        .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?.to_canonical())))
}

/// An origin as browsers send it: scheme and host, a port if it is not the scheme's.
pub(super) fn origin(text: &str) -> Option<String> {
    let parsed = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let origin = parsed.origin().ascii_serialization();
    (text.trim_end_matches('/').eq_ignore_ascii_case(&origin)).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_six_digits_that_are_not_the_first_anybody_would_try() {
        assert!(pin("482915").is_ok() && pin("112233").is_ok());
        for wrong in ["", "12345", "1234567", "48291a", "４８２９１５", "000000", "999999", "123456", "987654"] {
            assert!(pin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_key_can_stand_in_a_stream_id() {
        assert!(stream_key("studio-1_key!").is_ok());
        for wrong in ["short", "with,comma", "with space", "with%20percent", "{braces}", "열쇠열쇠열쇠열쇠"] {
            assert!(stream_key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_is_one_or_a_single_address() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.168.1.9", "192.168.1.9/32"),
            ("::ffff:192.168.1.9", "192.168.1.9/32"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(super::network(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        for wrong in ["", "10.0.0.0/33", "studio", "10.0.0"] {
            assert_eq!(super::network(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Studio.example/").as_deref(), Some("https://studio.example"));
        assert_eq!(origin("http://10.0.0.1:8080").as_deref(), Some("http://10.0.0.1:8080"));
        for wrong in ["studio.example", "https://studio.example/pgm", "ftp://studio.example", "null", "*"] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }
}
