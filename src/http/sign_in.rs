//! `/api/v1/session`, `/api/v1/administrator/password` and `/join/…`: being let in, and what to show for it.
//! Documented in `docs/api.md`.

use axum::extract::{Extension, RawPathParams, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::Handles;
use super::admission::{https_address, refuse};
use super::cookies::{self, Kind};
use super::language::Language;
use super::refusal::Refused;
use crate::access::{self, Asker, Grant, NotDone, Refusal, Role, Token, Way};

/// What somebody may do here, and what would let them do more. No secret is in it.
#[derive(Serialize)]
struct Session {
    role: &'static str,
    way: &'static str,
    name: Option<String>,
    viewing: &'static str,
    pin: bool,
    password: bool,
    administration: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    pin: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
}

/// Who asks, and how they could be let in.
pub(super) async fn session(State(handles): State<Handles>, Extension(by): Extension<Asker>) -> Response {
    state(&handles, &by)
}

fn state(handles: &Handles, by: &Asker) -> Response {
    let grant = handles.access.who(by);
    let summary = handles.access.summary();
    let (role, way) = grant.as_ref().map_or((Role::Anyone, "none"), |grant| (grant.role, grant.way.word()));
    let name = grant.and_then(|grant| match grant.way {
        Way::Link { name, .. } => Some(name),
        _ => None,
    });
    let administration = match handles.access.may_sign_in_as_administrator(by) {
        Err(Refusal::Insecure) => "https_needed",
        Err(Refusal::NoHttps) => "https_off",
        Err(_) => "not_from_here",
        Ok(()) if by.secure => "https",
        Ok(()) => "plain",
    };
    let session = Session {
        role: role.word(),
        way,
        name,
        viewing: summary.viewing,
        pin: summary.pin,
        password: summary.password,
        administration,
    };
    private(axum::Json(session))
}

/// By PIN or password.
pub(super) async fn sign_in(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Refused> {
    let language = Language::of(&headers);
    let wish: SignIn = parse(&headers, &body)?;
    let (access, asker) = (handles.access.clone(), by.clone());
    let (kind, holds, signed) = match wish {
        SignIn { pin: Some(pin), password: None } => {
            (Kind::Viewer, Some(access::PIN_HOLDS), access.sign_in_with_pin(&asker, &pin))
        }
        SignIn { pin: None, password: Some(password) } => {
            // A hash takes long, and nothing may be held up by it.
            let signed = spawn_blocking(move || access.sign_in_with_password(&asker, &password)).await;
            (Kind::Administrator, None, signed.unwrap_or(Err(Refusal::Busy)))
        }
        _ => return Err(malformed()),
    };
    match signed {
        Ok(token) => Ok(let_in(&handles, by, kind, &token, holds)),
        Err(refusal) => {
            let https = https_address(&handles.access, &headers, &uri);
            Err(refuse(refusal, language, https.as_deref()).await)
        }
    }
}

/// What was just let in, and the cookie to show for it.
fn let_in(handles: &Handles, mut by: Asker, kind: Kind, token: &Token, holds: Option<std::time::Duration>) -> Response {
    let shown = Some(token.expose().to_owned());
    match kind {
        Kind::Viewer => by.viewer = shown,
        Kind::Administrator => by.administrator = shown,
    }
    let cookie = cookies::set(kind, token, holds, by.secure);
    (AppendHeaders([(header::SET_COOKIE, cookie)]), state(handles, &by)).into_response()
}

/// Out, of everything this browser was let in to.
pub(super) async fn sign_out(State(handles): State<Handles>, Extension(by): Extension<Asker>) -> Response {
    handles.access.sign_out(&by);
    let forget = [Kind::Viewer, Kind::Administrator].map(|kind| (header::SET_COOKIE, cookies::forget(kind, by.secure)));
    private((StatusCode::NO_CONTENT, AppendHeaders(forget)))
}

/// The administrator's password, by whoever has the set-up code.
pub(super) async fn set_password(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Refused> {
    let language = Language::of(&headers);
    // Whoever finds a browser signed in must not keep the box.
    if !matches!(grant.way, Way::SetupCode) {
        return Err(Refused::of_access(Refusal::SecretNeeded, language));
    }
    let NewPassword { password } = parse(&headers, &body)?;
    let access = handles.access.clone();
    let set = spawn_blocking(move || access.set_password(&grant, &password)).await;
    let token = set.unwrap_or(Err(NotDone::NoRandomness)).map_err(|error| not_done(error, language))?;
    Ok(let_in(&handles, by, Kind::Administrator, &token, None))
}

/// A person's link: the browser is given its token, and the address forgets it.
pub(super) async fn join(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    params: RawPathParams,
) -> Response {
    let given = |key: &str| params.iter().find(|(name, _)| *name == key).map(|(_, value)| value).unwrap_or_default();
    let page = match given("first") {
        "" => "../".to_owned(),
        // It is one path segment, and was sent as such: encoded as it came, it leads nowhere else.
        stream => format!("../../{}", url::form_urlencoded::byte_serialize(stream.as_bytes()).collect::<String>()),
    };
    let token = given("token");
    let (cookie, page) = match handles.access.link_of(token).zip(Token::shown(token)) {
        Some((link, token)) => {
            let holds = link.ends.map(|ends| ends.saturating_duration_since(handles.clock.now()));
            let cookie = cookies::set(Kind::Viewer, &token, Some(holds.unwrap_or(cookies::LONGEST)), by.secure);
            (Some(cookie), page)
        }
        None => (None, format!("{page}#link-ended")),
    };
    let location = HeaderValue::from_str(&page).unwrap_or(HeaderValue::from_static("../"));
    let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
    private((StatusCode::SEE_OTHER, AppendHeaders(cookie), [(header::LOCATION, location)]))
}

/// A body in JSON, as pages send it: no form of another site can.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(headers: &HeaderMap, body: &str) -> Result<T, Refused> {
    super::whep::require_type(headers, "application/json")?;
    serde_json::from_str(body).map_err(|_| malformed())
}

fn malformed() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "bad_request", "the body is not what docs/api.md says")
}

pub(super) fn not_done(error: NotDone, language: Language) -> Refused {
    let korean = match error {
        NotDone::WeakPassword => "암호는 10자 이상이어야 합니다.",
        NotDone::BadName => "이름은 1자에서 64자까지입니다.",
        NotDone::TooManyLinks => "링크가 너무 많습니다. 필요 없는 것을 취소하십시오.",
        NotDone::UnknownLink => "그런 링크가 없습니다.",
        NotDone::NotKept(_) => "카드에 기록할 수 없습니다.",
        NotDone::NoRandomness => "시스템이 난수를 주지 않습니다.",
    };
    Refused::from(error).in_language(language, korean)
}

/// Nobody keeps it on the way.
pub(super) fn private(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}
