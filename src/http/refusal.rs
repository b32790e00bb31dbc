//! How a request is turned down: a status, a stable code, and words (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::admission::retry_after_s;
use crate::access::Refusal;
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

    pub(super) fn unknown_address() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_address", "there is nothing at this address")
    }

    pub(super) fn unknown_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_session", "this session has ended or never was")
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
            Refusal::SecretNeeded => Self::new(StatusCode::UNAUTHORIZED, "secret_needed", refusal.to_string()),
            Refusal::SecretWrong => Self::new(StatusCode::UNAUTHORIZED, "secret_wrong", refusal.to_string()),
            Refusal::LockedOut { left } => Self {
                retry_after_s: Some(retry_after_s(left)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "locked_out", refusal.to_string())
            },
            Refusal::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", refusal.to_string()),
        }
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
