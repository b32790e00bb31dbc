//! `/api/v1/links`: links for persons, made, listed and revoked by the administrator. Documented in `docs/api.md`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, RawPathParams, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::language::Language;
use super::refusal::Refused;
use super::sign_in::{not_done, parse, private};
use super::{Handles, ice};
use crate::access::{Asker, Grant, Link, NotDone, Role};
use crate::sheet;

#[derive(Serialize)]
struct Links {
    links: Vec<LinkReport>,
}

#[derive(Serialize)]
struct LinkReport {
    id: String,
    name: String,
    role: &'static str,
    ends_in_s: Option<u64>,
}

#[derive(Serialize)]
struct Made {
    link: LinkReport,
    token: String,
    url: String,
    qr: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    name: String,
    #[serde(default)]
    role: WishedRole,
    holds_s: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WishedRole {
    #[default]
    Viewer,
    Director,
}

pub(super) async fn list(State(handles): State<Handles>) -> Response {
    private(Json(Links { links: handles.access.links().iter().map(|link| report(&handles, link)).collect() }))
}

pub(super) async fn make(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    Extension(grant): Extension<Grant>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Refused> {
    let language = Language::of(&headers);
    let Wish { name, role, holds_s } = parse(&headers, &body)?;
    let role = match role {
        WishedRole::Viewer => Role::Viewer,
        WishedRole::Director => Role::Director,
    };
    let access = handles.access.clone();
    // The card takes its time.
    let made = spawn_blocking(move || access.make_link(&grant, &name, role, holds_s.map(Duration::from_secs))).await;
    let (link, token) = made.unwrap_or(Err(NotDone::NoRandomness)).map_err(|error| not_done(error, language))?;
    let url = url(&handles, &by, &uri, &headers, token.expose());
    let made =
        Made { link: report(&handles, &link), token: token.expose().to_owned(), qr: sheet::qr_svg(&url, "QR"), url };
    Ok(private((StatusCode::CREATED, Json(made))))
}

pub(super) async fn revoke(
    State(handles): State<Handles>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Refused> {
    let id = params.iter().find(|(key, _)| *key == "id").map(|(_, id)| id.to_owned()).unwrap_or_default();
    let access = handles.access.clone();
    let revoked = spawn_blocking(move || access.revoke_link(&grant, &id)).await;
    revoked.unwrap_or(Err(NotDone::UnknownLink)).map_err(|error| not_done(error, Language::of(&headers)))?;
    Ok(StatusCode::NO_CONTENT)
}

fn report(handles: &Handles, link: &Link) -> LinkReport {
    let left = |ends: std::time::Instant| ends.saturating_duration_since(handles.clock.now()).as_secs();
    LinkReport { id: link.id.clone(), name: link.name.clone(), role: link.role.word(), ends_in_s: link.ends.map(left) }
}

/// Under the name by which the administrator called the box, for that is one that works.
fn url(handles: &Handles, by: &Asker, uri: &Uri, headers: &HeaderMap, token: &str) -> String {
    let scheme = if by.secure { "https" } else { "http" };
    let asked = ice::asked_authority(uri, headers);
    let own = || (handles.reachable)(handles.about.borrow().http).first().map(ToString::to_string);
    let host = asked.or_else(own).unwrap_or_default();
    format!("{scheme}://{host}/join/{token}")
}
