//! WHEP (draft-ietf-wish-whep) over HTTP: offers in, answers out, sessions patched and ended.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{AppendHeaders, IntoResponse, Response};

use super::address::SessionId;
use super::admission::{https_address, refuse};
use super::language::Language;
use super::{Handles, Named, Refused, ice};
use crate::access::{self, Action, Asker, Grant, Role};
use crate::hub::JoinRequest;

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// POST on a stream's endpoint: a viewer offers, the box answers.
pub(super) async fn create(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    Extension(grant): Extension<Grant>,
    uri: Uri,
    Named(stream): Named,
    headers: HeaderMap,
    offer: String,
) -> Result<impl IntoResponse, Refused> {
    require_type(&headers, SDP)?;
    let lip_sync = wished_lip_sync(uri.query().unwrap_or_default())?;
    let status = handles.hub.status(&stream);
    if status.as_ref().is_none_or(|status| status.source.is_none()) {
        return Err(Refused::not_live(&stream.short()));
    }
    if let Some(problem) = status.and_then(|status| status.problem) {
        return Err(Refused::not_playable(problem));
    }
    let session = new_session_id()?;
    let links = ice::links(&handles, &uri, &headers)?;
    let viewer = handles.hub.join(JoinRequest { stream, session, by })?;
    let created = handles.sessions.create(&offer, viewer, lip_sync).await?;
    handles.guests.add(created.session_id.clone(), grant);
    let location = format!("{}/{}", uri.path().trim_end_matches('/'), created.session_id);
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, quoted(&created.etag)),
        (header::HeaderName::from_static("accept-patch"), SDP_FRAGMENT.to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, AppendHeaders(links), created.answer_sdp))
}

/// PATCH on a session: candidates trickle in, or ICE starts anew (RFC 9725 §4.3).
pub(super) async fn patch(
    State(handles): State<Handles>,
    SessionId(session): SessionId,
    headers: HeaderMap,
    fragment: String,
) -> Result<Response, Refused> {
    require_type(&headers, SDP_FRAGMENT)?;
    let tag = headers.get(header::IF_MATCH).ok_or_else(if_match_needed)?;
    if tag == HeaderValue::from_static("*") {
        let restarted = handles.sessions.restart_ice(&session, &fragment).await?;
        let headers = [(header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()), (header::ETAG, quoted(&restarted.etag))];
        return Ok((StatusCode::OK, headers, restarted.sdpfrag).into_response());
    }
    let tag = tag.to_str().unwrap_or_default().trim_matches('"');
    handles.sessions.patch_candidates(&session, tag, &fragment).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// DELETE on a session ends it.
pub(super) async fn delete(State(handles): State<Handles>, SessionId(session): SessionId) -> Result<(), Refused> {
    match handles.sessions.remove(&session).await {
        true => Ok(()),
        false => Err(Refused::unknown_session()),
    }
}

/// GET on a session tells only whether it goes on, so that a page that slept need not guess.
pub(super) async fn is_alive(
    State(handles): State<Handles>,
    SessionId(session): SessionId,
) -> Result<StatusCode, Refused> {
    match handles.sessions.etag(&session) {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Refused::unknown_session()),
    }
}

/// GET on an endpoint says nothing, successfully.
pub(super) async fn probe(Named(_): Named) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// OPTIONS: what may be sent here, from any origin; and how to be relayed (RFC 9725 §4.6), to who may watch. A browser
/// asks this before it shows who uses it (Fetch Standard, "CORS-preflight"), so whoever shows no secret is answered.
pub(super) async fn options(
    State(handles): State<Handles>,
    Extension(by): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refused> {
    let links = match handles.access.admit(&access::Request { action: Action::Act(Role::Viewer), by: &by }) {
        Ok(_) => ice::links(&handles, &uri, &headers)?,
        Err(refusal) if by.secret.is_some() => {
            let https = https_address(&handles.access, &headers, &uri);
            return Err(refuse(refusal, Language::of(&headers), https.as_deref()).await);
        }
        Err(_) => Vec::new(),
    };
    Ok((StatusCode::OK, AppendHeaders(links)))
}

/// Whoever knows a session's name can end it, so it cannot be guessed.
fn new_session_id() -> Result<String, Refused> {
    random_name::<16>()
}

/// Random bytes in hexadecimal.
pub(super) fn random_name<const N: usize>() -> Result<String, Refused> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Refused::no_randomness())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the viewer wishes by `lip_sync`; `None` leaves it to the settings.
fn wished_lip_sync(query: &str) -> Result<Option<bool>, Refused> {
    let mut wishes = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "lip_sync");
    match (wishes.next().as_ref().map(|(_, wish)| wish.as_ref()), wishes.next()) {
        (None, _) => Ok(None),
        (Some("0"), None) => Ok(Some(false)),
        (Some("1"), None) => Ok(Some(true)),
        _ => {
            let detail = "lip_sync is 1, and the picture waits for its sound, or 0, and it never waits; \
                          leave it out to go by the settings of the box";
            Err(Refused::new(StatusCode::BAD_REQUEST, "bad_lip_sync", detail))
        }
    }
}

pub(super) fn require_type(headers: &HeaderMap, wanted: &str) -> Result<(), Refused> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("send this request with Content-Type: {wanted}");
    Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_type", detail))
}

fn if_match_needed() -> Refused {
    let detail = "send If-Match with the session's ETag, or \"*\" to restart ICE";
    Refused::new(StatusCode::PRECONDITION_REQUIRED, "if_match_needed", detail)
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// A WHEP player may stand on any page: there is no cookie here that another origin could misuse.
pub(super) async fn allow_any_origin(mut response: Response) -> Response {
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link, Accept-Patch, Retry-After"),
        (header::HeaderName::from_static("accept-post"), SDP),
    ];
    response.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
