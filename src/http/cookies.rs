//! The cookies by which a browser shows who uses it.
//!
//! Owns: their names, attributes and form. Does not own: what a token lets its holder do ([`crate::access`]). No script
//! can read them, and no other site's page makes a browser send them (`SameSite=Strict`): the page itself needs none, so
//! that a link opened from a messenger works at once. Over HTTPS their names begin with `__Host-`, which browsers take
//! from the box alone and never over plain HTTP (RFC 6265bis §4.1.3.2), so that nobody on the network can plant one.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::access::{Token, is_token};

/// Whose token a cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Viewer,
    Administrator,
}

/// The longest that browsers keep a cookie (RFC 6265bis §5.5).
pub(super) const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

fn name(kind: Kind, secure: bool) -> &'static str {
    match (kind, secure) {
        (Kind::Viewer, false) => "returnfeed-viewer",
        (Kind::Viewer, true) => "__Host-returnfeed-viewer",
        (Kind::Administrator, false) => "returnfeed-administrator",
        (Kind::Administrator, true) => "__Host-returnfeed-administrator",
    }
}

/// The token that a request shows; over HTTPS only what was given over HTTPS.
pub(super) fn read(headers: &HeaderMap, kind: Kind, secure: bool) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let found = pairs.find(|(given, token)| *given == name(kind, secure) && is_token(token));
    found.map(|(_, token)| token.to_owned())
}

/// `Set-Cookie` for a token; without `holds` the browser forgets it when it is closed.
pub(super) fn set(kind: Kind, token: &Token, holds: Option<Duration>, secure: bool) -> HeaderValue {
    let age = holds.map(|holds| format!("; Max-Age={}", holds.min(LONGEST).as_secs())).unwrap_or_default();
    value(kind, token.expose(), &age, secure)
}

/// `Set-Cookie` that takes it away.
pub(super) fn forget(kind: Kind, secure: bool) -> HeaderValue {
    value(kind, "", "; Max-Age=0", secure)
}

fn value(kind: Kind, token: &str, age: &str, secure: bool) -> HeaderValue {
    let private = if secure { "; Secure" } else { "" };
    let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict{private}{age}", name(kind, secure));
    let mut value = HeaderValue::from_str(&cookie).expect("tokens are letters and digits");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn shown(cookies: &[&str], kind: Kind, secure: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        read(&headers, kind, secure)
    }

    #[test]
    fn a_token_is_found_among_other_cookies_and_only_of_its_kind_and_scheme() {
        let viewer = format!("a=b; returnfeed-viewer={TOKEN};c");
        assert_eq!(shown(&["x=y", &viewer], Kind::Viewer, false).as_deref(), Some(TOKEN));
        assert_eq!(shown(&[&viewer], Kind::Administrator, false), None);
        assert_eq!(shown(&[&viewer], Kind::Viewer, true), None, "anybody on the network could have planted it");
        let secure = format!("__Host-returnfeed-viewer={TOKEN}");
        assert_eq!(shown(&[&secure], Kind::Viewer, true).as_deref(), Some(TOKEN));
        assert_eq!(shown(&[&secure], Kind::Viewer, false), None);
        let twice = format!("returnfeed-viewer=planted; returnfeed-viewer={TOKEN}");
        assert_eq!(shown(&[&twice], Kind::Viewer, false).as_deref(), Some(TOKEN), "what is no token is none");
    }

    #[test]
    fn no_script_and_no_other_site_gets_at_a_cookie() {
        let token = Token::shown(TOKEN).unwrap();
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        let secure = text(set(Kind::Administrator, &token, None, true));
        let wanted = format!("__Host-returnfeed-administrator={TOKEN}; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(secure, wanted);
        let plain = text(set(Kind::Viewer, &token, Some(Duration::MAX), false));
        let wanted = format!("returnfeed-viewer={TOKEN}; Path=/; HttpOnly; SameSite=Strict; Max-Age=34560000");
        assert_eq!(plain, wanted);
        assert!(text(forget(Kind::Viewer, false)).contains("=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"));
        assert!(!format!("{:?}", set(Kind::Viewer, &token, None, false)).contains(TOKEN), "nor a log");
    }
}
