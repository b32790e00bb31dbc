//! Who is let in to a route: what a request says of whoever asks, put to the gate.
//!
//! Owns: the secret in a request, whether somebody else stands behind it, and how slowly a wrong secret is answered.
//! Does not own: the answer ([`crate::access`]).

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::captive::names_the_box;
use super::language::Language;
use super::refusal::Refused;
use crate::access::{self, Access, Action, Refusal, Role, WRONG_ANSWERED_AFTER};

/// In front of every route.
pub(super) async fn admit(
    State((access, role)): State<(Access, Role)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match admit_as(role, &access, caller, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Lets a request go on, or says why not; a wrong secret after a while, and only this request waits for it.
pub(super) async fn admit_as(role: Role, access: &Access, caller: Caller, headers: &HeaderMap) -> Result<(), Refused> {
    let secret = bearer(headers);
    let passed_on = may_be_passed_on(headers);
    let asked =
        access::Request { action: Action::Act(role), from: Some(caller.address), passed_on, secret: secret.as_deref() };
    let Err(refusal) = access.admit(&asked) else { return Ok(()) };
    if refusal == Refusal::SecretWrong {
        tokio::time::sleep(WRONG_ANSWERED_AFTER).await;
    }
    Err(Refused::of_access(refusal, Language::of(headers)))
}

/// The bearer token of a request (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Whether a proxy passes this on for somebody (RFC 7239, and what was there before it), or a browser asks because
/// another site's page told it to: with that page's origin (RFC 6454 §7), or under a name that is not the box's (DNS
/// rebinding).
fn may_be_passed_on(headers: &HeaderMap) -> bool {
    let by_proxy = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    let of_another_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        host.is_none() || origin.map(|(_, authority)| authority) != host
    });
    by_proxy.iter().any(|name| headers.contains_key(*name)) || of_another_origin || !names_the_box(headers)
}

impl Refused {
    /// In the language of whoever asked.
    pub(super) fn of_access(refusal: Refusal, language: Language) -> Self {
        let english = Self::from(refusal);
        match language {
            Language::English => english,
            Language::Korean => english.in_words(korean(refusal)),
        }
    }
}

fn korean(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SecretNeeded => "박스의 설정 코드가 필요합니다. 카드의 returnfeed-setup.txt에 있습니다.",
        Refusal::SecretWrong => "박스의 설정 코드가 아닙니다. 카드의 returnfeed-setup.txt에 있습니다.",
        Refusal::LockedOut { .. } => "틀린 설정 코드가 너무 많았습니다. 1분 뒤에 올바른 코드로 다시 시도하십시오.",
        Refusal::Forbidden => {
            "이 요청은 이 컴퓨터에서 실행되는 프로그램만 할 수 있습니다. 이 컴퓨터에는 설정 코드가 없습니다."
        }
    }
}

/// `left` in whole seconds, never too few.
pub(super) fn retry_after_s(left: Duration) -> u32 {
    u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::{Method, Request as HttpRequest};
    use axum::routing::{get, put};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::super::tests::Bench;
    use super::super::{Routes, harden};
    use super::*;
    use crate::clock::{Clock, ManualClock};

    /// One address that anybody may read and the administrator alone may change.
    struct Door {
        router: Router,
        hand: ManualClock,
    }

    struct Answer {
        status: u16,
        headers: HeaderMap,
        body: String,
    }

    impl Door {
        fn with(code: Option<&str>) -> Self {
            let (clock, hand) = Clock::manual();
            let handles = Bench::new().handles;
            let routes = Routes { access: Access::new(code, clock), router: Router::new() };
            let routes = routes.add(Role::Viewer, "/state", get(|| async { "read" })).add(
                Role::Administrator,
                "/state",
                put(|| async { "changed" }),
            );
            let router = routes.router.layer(axum::middleware::map_response(harden)).with_state(handles);
            Self { router, hand }
        }

        async fn ask(&self, method: Method, from: &str, headers: &[(&str, &str)]) -> Answer {
            let mut request = HttpRequest::builder().method(method).uri("/state");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(Caller { address: from.parse().unwrap(), secure: false });
            let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        }

        async fn put(&self, headers: &[(&str, &str)]) -> Answer {
            self.ask(Method::PUT, "10.0.0.9", headers).await
        }
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("abc"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_is_read_by_everybody_and_changed_with_the_set_up_code() {
        let door = Door::with(Some("bkmqp-xrthw"));
        let read = door.ask(Method::GET, "10.0.0.9", &[]).await;
        assert_eq!((read.status, read.body.as_str()), (200, "read"));
        for right in ["Bearer bkmqp-xrthw", "bearer BKMQP XRTHW"] {
            let changed = door.put(&[("authorization", right)]).await;
            assert_eq!((changed.status, changed.body.as_str()), (200, "changed"), "{right}");
        }
        for without in [None, Some("Basic bkmqp-xrthw"), Some("bkmqp-xrthw")] {
            let headers: Vec<_> = without.map(|value| ("authorization", value)).into_iter().collect();
            let refused = door.put(&headers).await;
            assert_eq!(
                (refused.status, &refused.headers["www-authenticate"]),
                (401, "Bearer".parse().as_ref().unwrap())
            );
            assert_eq!(refused.headers["content-type"], "application/problem+json");
            assert!(refused.body.contains(r#""code":"secret_needed""#), "{}", refused.body);
        }
        assert_eq!(door.ask(Method::POST, "10.0.0.9", &[("authorization", "Bearer bkmqp-xrthw")]).await.status, 405);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_code_is_answered_slowly_and_after_a_burst_of_them_none_is_taken() {
        let door = Door::with(Some("bkmqp-xrthw"));
        let started = tokio::time::Instant::now();
        let wrong = [("authorization", "Bearer guess")];
        let refused = futures_util::future::join_all((0..10).map(|_| door.put(&wrong))).await;
        for refused in refused {
            assert_eq!((refused.status, refused.body.contains(r#""code":"secret_wrong""#)), (401, true));
        }
        assert_eq!(started.elapsed(), WRONG_ANSWERED_AFTER, "they wait beside one another");
        let right = [("authorization", "Bearer bkmqp-xrthw")];
        let refused = door.put(&right).await;
        assert_eq!((refused.status, &refused.headers["retry-after"]), (429, "60".parse().as_ref().unwrap()));
        assert_eq!(started.elapsed(), WRONG_ANSWERED_AFTER);
        assert!(refused.body.contains(r#""code":"locked_out""#), "{}", refused.body);
        door.hand.advance(Duration::from_secs(60));
        assert_eq!(door.put(&right).await.status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_speaks_the_language_of_whoever_asked() {
        let door = Door::with(Some("bkmqp-xrthw"));
        assert!(door.put(&[]).await.body.contains("set-up code"));
        let korean = ("accept-language", "ko-KR,ko;q=0.9,en;q=0.8");
        assert!(door.put(&[korean]).await.body.contains("설정 코드가 필요합니다"));
        assert!(door.put(&[korean, ("authorization", "Bearer x")]).await.body.contains("설정 코드가 아닙니다"));
    }

    #[tokio::test]
    async fn without_a_set_up_code_the_machine_itself_asks_and_nobody_through_it() {
        let door = Door::with(None);
        for (headers, status) in [
            (&[][..], 200),
            (&[("host", "127.0.0.1:8889"), ("origin", "http://127.0.0.1:8889")], 200),
            (&[("host", "localhost:8889"), ("origin", "http://elsewhere.example")], 403),
            (&[("host", "localhost:8889"), ("origin", "null")], 403),
            (&[("host", "rebound.example"), ("origin", "http://rebound.example")], 403),
            (&[("x-forwarded-for", "10.0.0.9")], 403),
            (&[("forwarded", "for=10.0.0.9"), ("authorization", "Bearer x")], 403),
        ] {
            assert_eq!(door.ask(Method::PUT, "::1", headers).await.status, status, "{headers:?}");
        }
        let refused = door.put(&[]).await;
        assert_eq!((refused.status, refused.headers.contains_key("www-authenticate")), (403, false));
    }
}
