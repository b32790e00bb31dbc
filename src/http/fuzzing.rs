//! Entry points for hostile input: see `fuzz/`.

use axum::http::{HeaderMap, HeaderValue, header};

use super::cookies::{self, Kind};
use super::{admission, ws};
use crate::access::is_token;

/// A WebSocket message of a page either is in the protocol or is refused.
pub fn websocket_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(message) = ws::parse(text) {
        assert!(text.contains("type"), "{message:?} came from nothing");
        assert!(message.is_within_bounds(), "{message:?}");
    }
}

/// Whatever a browser shows as cookies, only what has the form of a token is taken from them; and an `Authorization`
/// is a bearer token or none.
pub fn cookies(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.append(header::COOKIE, value.clone());
    headers.append(header::AUTHORIZATION, value);
    for kind in [Kind::Viewer, Kind::Administrator] {
        for secure in [false, true] {
            assert!(cookies::read(&headers, kind, secure).is_none_or(|token| is_token(&token)));
        }
    }
    if let Some(token) = admission::bearer(&headers) {
        assert!(data.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")), "{token:?}");
    }
}
