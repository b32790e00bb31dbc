//! What each maker's devices ask to find out whether they are on the internet, and the answer they want.
//!
//! By path alone: makers have many hosts for the same question, and none of these paths means anything to anybody else.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Apple's answer, to the byte.
const APPLE: &str = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>\n";

/// The answer to a probe; `None` when the path is none.
pub(super) fn success(path: &str) -> Option<Response> {
    let (kind, body) = match path {
        // Android, ChromeOS, Chrome; Samsung, Xiaomi, Huawei and others on hosts of their own.
        "/generate_204" | "/gen_204" => return Some(StatusCode::NO_CONTENT.into_response()),
        // iOS, iPadOS, macOS.
        "/hotspot-detect.html" | "/library/test/success.html" => ("text/html", APPLE),
        // Windows 10 and later; before.
        "/connecttest.txt" => ("text/plain", "Microsoft Connect Test"),
        "/ncsi.txt" => ("text/plain", "Microsoft NCSI"),
        // Firefox, in this order of preference.
        "/canonical.html" => (
            "text/html",
            "<meta http-equiv=\"refresh\" content=\"0;url=https://support.mozilla.org/kb/captive-portal\"/>",
        ),
        "/success.txt" => ("text/plain", "success\n"),
        // NetworkManager, as GNOME and Debian set it up.
        "/check_network_status.txt" | "/nm" => ("text/plain", "NetworkManager is online\n"),
        _ => return None,
    };
    Some(([(header::CONTENT_TYPE, kind)], body).into_response())
}
