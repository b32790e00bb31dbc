//! Entry points for hostile input: see `fuzz/`.

use super::ws;

/// A WebSocket message of a page either is in the protocol or is refused.
pub fn websocket_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(message) = ws::parse(text) {
        assert!(text.contains("type"), "{message:?} came from nothing");
        assert!(message.is_within_bounds(), "{message:?}");
    }
}
