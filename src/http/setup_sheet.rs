//! `GET /setup-sheet`: the sheet that a crew tapes to the wall.
//!
//! It holds the passphrase of the box's Wi-Fi, so a viewer's rights are not enough: a link to the picture can be handed
//! to anybody, also through a proxy on the internet. It changes nothing, and whoever leads the crew hands it out, so a
//! director's are. No other origin may read it, and nobody keeps a copy on the way. A foreign name that leads to the box
//! would make a page of that name the same origin (DNS rebinding), so it is shown only under a name of the box's own.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Handles;
use super::captive::names_the_box;
use super::language::Language;
use crate::sheet::{self, Sheet};

/// What is said under a name that is not the box's.
const FOREIGN_NAME: [&str; 2] = [
    "The set-up sheet holds the passphrase of the Wi-Fi, so it opens only at the box's own address: a number such as \
     http://192.168.1.20/setup-sheet, or the box's name that ends in .local. The monitor at the box shows both.",
    "설정 안내문에는 Wi-Fi 암호가 있으므로 박스 자신의 주소로만 열립니다. http://192.168.1.20/setup-sheet 같은 숫자 주소나 \
     .local로 끝나는 박스 이름으로 여십시오. 박스에 연결한 모니터에 두 가지가 모두 보입니다.",
];

pub(super) async fn page(State(handles): State<Handles>, request: HeaderMap) -> Response {
    let korean_first = Language::of(&request) == Language::Korean;
    if !names_the_box(&request) {
        return elsewhere(korean_first);
    }
    let about = handles.about.borrow().clone();
    let reachable = (handles.reachable)(about.http).into_iter().map(|address| address.ip());
    let sheet = Sheet::new(about.own.clone(), reachable, about.http.port(), about.srt.port());
    let answer = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-language"),
    ];
    (answer, sheet::page(&sheet, korean_first)).into_response()
}

/// Asked for under a name that is not the box's (RFC 9110 §15.5.20).
fn elsewhere(korean_first: bool) -> Response {
    let [english, korean] = FOREIGN_NAME;
    let (first, second) = if korean_first { (korean, english) } else { (english, korean) };
    let answer = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-language"),
    ];
    (StatusCode::MISDIRECTED_REQUEST, answer, format!("{first}\n\n{second}\n")).into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], sheet::STYLE)
        .into_response()
}
