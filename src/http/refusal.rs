//! How a request is turned down: a status, a stable code, and words (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::admission::retry_after_s;
use super::language::Language;
use crate::access::{NotDone, Refusal};
use crate::media::{InvalidStreamName, TransformProblem};
use crate::webrtc::{CreateError, PatchError};

/// A request that is turned down.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: u16,
    code: &'a str,
    detail: &'a str,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// The same in other words.
    pub(super) fn in_words(self, detail: &str) -> Self {
        Self { detail: detail.to_owned(), ..self }
    }

    /// The same in the words of a language that is not English.
    pub(super) fn in_language(self, language: Language, korean: &str) -> Self {
        match language {
            Language::English => self,
            Language::Korean => self.in_words(korean),
        }
    }

    /// The words for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn unknown_address() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_address", "there is nothing at this address")
    }

    pub(super) fn unknown_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_session", "this session has ended or never was")
    }

    pub(super) fn another_site() -> Self {
        let detail = "a page of another site made this request; behind a proxy, have it pass the Host on, or name the \
                      page's address in [access] origins";
        Self::new(StatusCode::FORBIDDEN, "another_site", detail)
    }

    pub(super) fn no_randomness() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", "the system gives no random numbers")
    }

    pub(super) fn not_live(stream: &str) -> Self {
        let detail = format!("nobody is sending the stream \"{stream}\" yet");
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::CONFLICT, "not_live", detail) }
    }

    pub(super) fn not_playable(problem: TransformProblem) -> Self {
        Self { retry_after_s: Some(2), ..Self::new(StatusCode::CONFLICT, problem.code, problem.text) }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LockedOut { left } => Self {
                retry_after_s: Some(retry_after_s(left)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "locked_out", refusal.to_string())
            },
            Refusal::Busy => Self {
                retry_after_s: Some(1),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", refusal.to_string())
            },
            other => {
                let (status, code) = plain(other);
                Self::new(status, code, refusal.to_string())
            }
        }
    }
}

/// What is said without a time to try again at.
fn plain(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::SecretNeeded => (StatusCode::UNAUTHORIZED, "secret_needed"),
        Refusal::SecretWrong => (StatusCode::UNAUTHORIZED, "secret_wrong"),
        Refusal::PinNeeded => (StatusCode::UNAUTHORIZED, "pin_needed"),
        Refusal::LinkNeeded => (StatusCode::UNAUTHORIZED, "link_needed"),
        Refusal::LinkEnded => (StatusCode::UNAUTHORIZED, "link_ended"),
        Refusal::PinWrong => (StatusCode::UNAUTHORIZED, "pin_wrong"),
        Refusal::PasswordWrong => (StatusCode::UNAUTHORIZED, "password_wrong"),
        Refusal::NoPin => (StatusCode::CONFLICT, "no_pin"),
        Refusal::NoPassword => (StatusCode::CONFLICT, "no_password"),
        Refusal::MoreNeeded => (StatusCode::FORBIDDEN, "more_needed"),
        Refusal::NotFromHere => (StatusCode::FORBIDDEN, "not_from_here"),
        Refusal::NotNear => (StatusCode::FORBIDDEN, "not_near"),
        Refusal::Insecure => (StatusCode::FORBIDDEN, "https_needed"),
        Refusal::NoHttps => (StatusCode::FORBIDDEN, "https_off"),
        Refusal::KeyNeeded | Refusal::KeyWrong => (StatusCode::FORBIDDEN, "forbidden"),
        Refusal::LockedOut { .. } => (StatusCode::TOO_MANY_REQUESTS, "locked_out"),
        Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    }
}

impl From<NotDone> for Refused {
    fn from(error: NotDone) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            NotDone::WeakPassword => (StatusCode::UNPROCESSABLE_ENTITY, "weak_password"),
            NotDone::BadName => (StatusCode::UNPROCESSABLE_ENTITY, "bad_name"),
            NotDone::TooManyLinks => (StatusCode::CONFLICT, "too_many_links"),
            NotDone::UnknownLink => (StatusCode::NOT_FOUND, "unknown_link"),
            NotDone::NotKept(_) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept"),
            NotDone::NoRandomness => return Self::no_randomness(),
        };
        Self::new(status, code, detail)
    }
}

impl From<InvalidStreamName> for Refused {
    fn from(invalid: InvalidStreamName) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_address", invalid.to_string())
    }
}

impl From<CreateError> for Refused {
    fn from(error: CreateError) -> Self {
        let detail = error.to_string();
        match error {
            CreateError::Offer(_) => Self::new(StatusCode::BAD_REQUEST, "bad_offer", detail),
            CreateError::NoPicture => {
                Self { retry_after_s: Some(1), ..Self::new(StatusCode::CONFLICT, "no_picture", detail) }
            }
            CreateError::Full | CreateError::FullForAddress => {
                Self { retry_after_s: Some(10), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", detail) }
            }
            CreateError::Exists | CreateError::Stopped => {
                Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail) }
            }
        }
    }
}

impl From<PatchError> for Refused {
    fn from(error: PatchError) -> Self {
        let (status, code) = match error {
            PatchError::NotFound => return Self::unknown_session(),
            PatchError::Stale => (StatusCode::PRECONDITION_FAILED, "stale"),
            PatchError::Fragment(_) => (StatusCode::BAD_REQUEST, "bad_fragment"),
            PatchError::OtherCredentials => (StatusCode::UNPROCESSABLE_ENTITY, "other_credentials"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Body { status: self.status.as_u16(), code: self.code, detail: &self.detail };
        let json = serde_json::to_string(&body).expect("strings and numbers always serialise");
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
