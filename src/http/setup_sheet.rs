//! `GET /setup-sheet`: the sheet that a crew tapes to the wall.
//!
//! It holds the passphrase of the box's Wi-Fi, so a viewer's rights are not enough: a link to the picture can be handed
//! to anybody, also through a proxy on the internet. It changes nothing, and whoever leads the crew hands it out, so a
//! director's are. No other origin may read it, and nobody keeps a copy on the way.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Handles;
use super::language::Language;
use crate::sheet::{self, Sheet};

pub(super) async fn page(State(handles): State<Handles>, request: HeaderMap) -> Response {
    let about = handles.about.borrow().clone();
    let reachable = (handles.reachable)(about.http).into_iter().map(|address| address.ip());
    let sheet = Sheet::new(about.own.clone(), reachable, about.http.port(), about.srt.port());
    let korean_first = Language::of(&request) == Language::Korean;
    let answer = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-language"),
    ];
    (answer, sheet::page(&sheet, korean_first)).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], sheet::STYLE)
        .into_response()
}
