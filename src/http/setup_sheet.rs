//! `GET /setup-sheet`: the sheet that a crew tapes to the wall.
//!
//! It holds the passphrase of the box's Wi-Fi, so a viewer's rights are not enough: a link to the picture can be handed
//! to anybody, also through a proxy on the internet. It changes nothing, and whoever leads the crew hands it out, so a
//! director's are. No other origin may read it, and nobody keeps a copy on the way.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Handles;
use crate::sheet::{self, Sheet};

pub(super) async fn page(State(handles): State<Handles>, request: HeaderMap) -> Response {
    let about = handles.about.borrow().clone();
    let reachable = (handles.reachable)(about.http).into_iter().map(|address| address.ip());
    let sheet = Sheet::new(about.own.clone(), reachable, about.http.port(), about.srt.port());
    let languages = request.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-language"),
    ];
    (answer, sheet::page(&sheet, prefers_korean(languages))).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], sheet::STYLE)
        .into_response()
}

/// Whether `Accept-Language` (RFC 9110 §12.5.4) ranks Korean above English.
fn prefers_korean(languages: &str) -> bool {
    let rank = |wanted: &str| {
        let quality = languages.split(',').filter_map(|range| {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
            let language = tag.trim().split('-').next().unwrap_or_default();
            let quality = parameter.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
            language.eq_ignore_ascii_case(wanted).then(|| quality.unwrap_or(0.0))
        });
        quality.fold(0.0, f32::max)
    };
    rank("ko") > rank("en")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_comes_first_for_those_who_prefer_it() {
        for (languages, korean) in [
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", true),
            ("en-US,en;q=0.9,ko;q=0.8", false),
            ("fr, KO;q=0.5", true),
            ("kok, fr", false),
            ("", false),
            (";q=;;,,ko;q=x", false),
        ] {
            assert_eq!(prefers_korean(languages), korean, "{languages}");
        }
    }
}
