//! Who asks: the address a request comes from and whether nobody could read it on the way, also behind a reverse proxy.
//!
//! Owns: [`Caller`], which every request carries, and what is believed of the headers of proxies. Does not own: what
//! the caller may do (`admission`).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Where the request comes from, IPv4 as such; behind trusted proxies, where they say it comes from.
    pub(super) address: IpAddr,
    /// Whether it came over HTTPS: to the box, or to a trusted proxy in front of it.
    pub(super) secure: bool,
    /// Whether a trusted proxy said where it comes from.
    pub(super) vouched: bool,
}

/// Whose word on a request is taken. Headers of anybody else are nobody's word.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(super) fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl Caller {
    /// Who asks over a connection from `peer`, `encrypted` or not.
    pub(super) fn new(peer: IpAddr, encrypted: bool, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let peer = peer.to_canonical();
        if !proxies.trusts(peer) {
            return Self { address: peer, secure: encrypted, vouched: false };
        }
        // A proxy adds to one kind of header and passes the other on as it came, from anybody: so there is no mixing.
        let hops = match headers.contains_key(FORWARDED_FOR) {
            true => by_convention(headers),
            false if headers.contains_key(header::FORWARDED) => by_rfc_7239(headers),
            false => by_convention(headers),
        };
        let secure = hops.last().and_then(|hop| hop.secure).unwrap_or(encrypted);
        let (mut address, mut vouched) = (peer, !hops.is_empty());
        for hop in hops.iter().rev() {
            // What a proxy does not name, nobody behind it can be known by.
            let Some(behind) = hop.address else {
                vouched = false;
                break;
            };
            address = behind;
            if !proxies.trusts(behind) {
                break;
            }
        }
        Self { address, secure, vouched }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(*parts.extensions.get::<Self>().expect("every request that is served carries its caller"))
    }
}

/// What one proxy says of whoever asked it.
#[derive(Debug, PartialEq)]
struct Hop {
    address: Option<IpAddr>,
    secure: Option<bool>,
}

/// `X-Forwarded-For` and `X-Forwarded-Proto`: each proxy adds to the right of the list, or there is one value in all.
fn by_convention(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops: Vec<Hop> =
        items(headers, &FORWARDED_FOR).map(|item| Hop { address: address(item), secure: None }).collect();
    let secure = items(headers, &FORWARDED_PROTO).last().and_then(is_secure);
    match hops.last_mut() {
        Some(last) => last.secure = secure,
        None => hops.extend(secure.map(|secure| Hop { address: None, secure: Some(secure) })),
    }
    hops
}

/// RFC 7239 §4: `for=192.0.2.60;proto=https, for="[2001:db8::1]:4711"`.
fn by_rfc_7239(headers: &HeaderMap) -> Vec<Hop> {
    let hop = |element: &str| {
        let value = |wanted: &str| {
            let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let found = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        let (by, proto) = (value("for"), value("proto"));
        Hop { address: by.as_deref().and_then(address), secure: proto.as_deref().and_then(is_secure) }
    };
    items(headers, &header::FORWARDED).map(hop).collect()
}

/// The items of a list that may stand in several headers; what is no text is an item that says nothing.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(str::trim)
}

fn is_secure(scheme: &str) -> Option<bool> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// An address, with a port or without; IPv6 with brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with| with.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn caller(peer: &str, encrypted: bool, headers: &[(&'static str, &str)]) -> (String, bool) {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let caller = Caller::new(peer.parse().unwrap(), encrypted, &map, &proxies);
        (caller.address.to_string(), caller.secure)
    }

    #[test]
    fn a_stranger_cannot_say_that_it_is_somebody_else() {
        let claims = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.1.1.1;proto=https"),
        ];
        assert_eq!(caller("192.168.1.9", false, &claims), ("192.168.1.9".into(), false));
        assert_eq!(caller("::ffff:192.168.1.9", true, &claims), ("192.168.1.9".into(), true));
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_callers() {
        for (list, address) in [
            ("192.168.1.9", "192.168.1.9"),
            ("127.0.0.1, 192.168.1.9", "192.168.1.9"),
            ("127.0.0.1,192.168.1.9 , 10.1.1.1", "192.168.1.9"),
            ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
            ("192.168.1.9:4711", "192.168.1.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.168.1.9", "192.168.1.9"),
            ("127.0.0.1, unknown", "10.0.0.1"),
            ("127.0.0.1, unknown, 10.1.1.1", "10.1.1.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(caller("10.0.0.1", false, &[("x-forwarded-for", list)]), (address.into(), false), "{list}");
        }
        let twice = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.168.1.9")];
        assert_eq!(caller("::ffff:10.0.0.1", false, &twice).0, "192.168.1.9");
        assert_eq!(caller("::1", true, &[]), ("::1".into(), true), "a program beside the box");
    }

    #[test]
    fn what_a_client_slips_past_a_proxy_in_the_other_kind_of_header_counts_for_nothing() {
        let headers = [("forwarded", "for=127.0.0.1;proto=https"), ("x-forwarded-for", "192.168.1.9")];
        assert_eq!(caller("10.0.0.1", false, &headers), ("192.168.1.9".into(), false));
    }

    #[test]
    fn the_proxy_tells_whether_it_was_asked_over_https() {
        for (proto, secure) in [("https", true), ("http", false), ("HTTPS", true), ("http, https", true), ("?", false)]
        {
            let headers = [("x-forwarded-for", "192.168.1.9"), ("x-forwarded-proto", proto)];
            assert_eq!(caller("10.0.0.1", false, &headers).1, secure, "{proto}");
            assert_eq!(caller("10.0.0.1", false, &headers[1..]), ("10.0.0.1".into(), secure), "{proto}");
        }
        let plain = [("x-forwarded-for", "192.168.1.9"), ("x-forwarded-proto", "http")];
        assert!(!caller("10.0.0.1", true, &plain).1, "only the last part of the way was encrypted");
    }

    #[test]
    fn the_header_of_rfc_7239_is_read_where_it_stands_alone() {
        for (list, address, secure) in [
            ("for=192.0.2.60;proto=https;by=203.0.113.43", "192.0.2.60", true),
            ("for=127.0.0.1, For=\"[2001:db8:cafe::17]:4711\"; Proto=http", "2001:db8:cafe::17", false),
            ("for=127.0.0.1, for=_hidden;proto=https", "10.0.0.1", true),
            ("for=192.0.2.60, for=10.2.2.2;proto=https", "192.0.2.60", true),
            (";;=,", "10.0.0.1", false),
        ] {
            assert_eq!(caller("10.0.0.1", false, &[("forwarded", list)]), (address.into(), secure), "{list}");
        }
    }
}
