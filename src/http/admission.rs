//! Who is let in to a route: what a request says of whoever asks, put to the gate.
//!
//! Owns: the secrets in a request, whether somebody else stands behind it, whether the page of another site made it,
//! and how slowly a wrong secret is answered. Does not own: the answer ([`crate::access`]).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::captive::names_the_box;
use super::cookies::{self, Kind};
use super::ice;
use super::language::Language;
use super::refusal::Refused;
use crate::access::{self, AUDIT, Access, Action, Asker, Refusal, Role, WRONG_ANSWERED_AFTER};

/// Whose pages may use a route from a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// The box's own. Others may get it, but not read the answer (the browser sees to that) nor change anything.
    Own,
    /// The box's own and no other, not even to get it: a WebSocket's answer can be read by any page.
    OwnAlways,
    /// Everybody's. What browsers send by themselves, cookies, counts for none of the others.
    Any,
}

/// What stands in front of one route.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) access: Access,
    pub(super) role: Role,
    pub(super) pages: Pages,
    /// The route, for the journal.
    pub(super) path: Arc<str>,
}

/// In front of every route. The route finds who asks, and how they were let in, with the request.
pub(super) async fn admit(State(gate): State<Gate>, caller: Caller, mut request: Request, next: Next) -> Response {
    let language = Language::of(request.headers());
    let foreign = is_of_another_page(&gate.access, &request);
    let mut asker = asker(caller, request.headers());
    if foreign {
        (asker.viewer, asker.administrator) = (None, None);
        let changes = !request.method().is_safe() || gate.pages == Pages::OwnAlways;
        if changes && gate.pages != Pages::Any && asker.secret.is_none() {
            return Refused::another_site().in_language(language, KOREAN_ANOTHER_SITE).into_response();
        }
    }
    let asked = access::Request { action: Action::Act(gate.role), by: &asker };
    match gate.access.admit(&asked) {
        Ok(grant) => {
            if gate.role == Role::Administrator && !request.method().is_safe() {
                // The route, not the address, which may hold what is nobody's business.
                tracing::info!(target: AUDIT, peer = ?grant.from, "{grant}: {} {}", request.method(), gate.path);
            }
            request.extensions_mut().insert(grant);
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(refusal) => {
            let https = https_address(&gate.access, request.headers(), request.uri());
            refuse(refusal, language, https.as_deref()).await.into_response()
        }
    }
}

/// What is said to a refusal; of a wrong secret after a while, and only this request waits for it.
pub(super) async fn refuse(refusal: Refusal, language: Language, https: Option<&str>) -> Refused {
    if refusal.is_wrong_guess() {
        tokio::time::sleep(WRONG_ANSWERED_AFTER).await;
    }
    let refused = Refused::of_access(refusal, language);
    match https.filter(|_| refusal == Refusal::Insecure) {
        Some(https) => {
            let words = format!("{} {https}", refused.detail());
            refused.in_words(&words)
        }
        None => refused,
    }
}

/// The box over HTTPS, under the name by which it was asked; `None` where there is no HTTPS.
pub(super) fn https_address(access: &Access, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let port = access.https_port()?;
    let name = ice::asked_host(uri, headers)?;
    Some(if port == 443 { format!("https://{name}/") } else { format!("https://{name}:{port}/") })
}

/// A host and its port, if it has one.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (authority, None),
    }
}

/// Who asks, as far as the request shows.
fn asker(caller: Caller, headers: &HeaderMap) -> Asker {
    let Caller { address, secure, vouched } = caller;
    Asker {
        from: Some(address),
        passed_on: may_be_passed_on(headers),
        hidden: is_through_a_proxy(headers) && !vouched,
        secure,
        secret: bearer(headers),
        viewer: cookies::read(headers, Kind::Viewer, secure),
        administrator: cookies::read(headers, Kind::Administrator, secure),
    }
}

/// The bearer token of a request (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Whether a proxy passes this on for somebody (RFC 7239, and what was there before it).
fn is_through_a_proxy(headers: &HeaderMap) -> bool {
    let by_proxy = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
    ];
    by_proxy.iter().any(|name| headers.contains_key(*name))
}

/// Whether a proxy passes this on, or a browser asks because another site's page told it to: with that page's origin
/// (RFC 6454 §7), or under a name that is not the box's (DNS rebinding).
fn may_be_passed_on(headers: &HeaderMap) -> bool {
    let of_another_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        host.is_none() || origin.map(|(_, authority)| authority) != host
    });
    is_through_a_proxy(headers) || of_another_origin || !names_the_box(headers)
}

/// Whether a browser asks because the page of another site made it: as it says itself (Fetch Metadata, which it does
/// over HTTPS), else by the page's origin. A program that is no browser says neither.
fn is_of_another_page(access: &Access, request: &Request) -> bool {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    let says = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default());
    let foreign = match (says, origin) {
        // `none`: somebody typed the address, or opened a bookmark.
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => !is_of_host(origin, host(headers, request.uri()).as_deref()),
    };
    foreign && !origin.is_some_and(|origin| access.trusts_origin(origin))
}

fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let given = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    given.or_else(|| uri.authority().map(ToString::to_string))
}

/// Whether an origin has this host. A proxy often passes the host on without its port.
fn is_of_host(origin: &str, host: Option<&str>) -> bool {
    let Some(((_, origin), host)) = origin.split_once("://").zip(host) else { return false };
    let ((origin, port), (host, host_port)) = (split_port(origin), split_port(host));
    origin.eq_ignore_ascii_case(host) && (host_port.is_none() || port == host_port)
}

const KOREAN_ANOTHER_SITE: &str = "다른 사이트의 페이지가 보낸 요청은 받지 않습니다. 프록시 뒤라면 Host를 그대로 전달하거나 [access] origins에 주소를 적으십시오.";

impl Refused {
    /// In the language of whoever asked.
    pub(super) fn of_access(refusal: Refusal, language: Language) -> Self {
        Self::from(refusal).in_language(language, korean(refusal))
    }
}

fn korean(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SecretNeeded => {
            "관리자만 할 수 있습니다. /admin에서 로그인하거나 박스의 설정 코드를 보내십시오. 코드는 카드의 returnfeed-setup.txt에, 카드가 없으면 시작할 때 로그가 알리는 파일에 있습니다."
        }
        Refusal::SecretWrong => {
            "박스의 설정 코드가 아닙니다. 카드의 returnfeed-setup.txt에, 카드가 없으면 시작할 때 로그가 알리는 파일에 있습니다."
        }
        Refusal::LockedOut { .. } => "틀린 시도가 너무 많았습니다. 잠시 뒤에 올바른 것으로 다시 시도하십시오.",
        Refusal::PinNeeded => "보려면 PIN이 필요합니다. 박스를 운영하는 사람에게 물어보십시오.",
        Refusal::LinkNeeded => "보려면 본인의 링크가 필요합니다. 박스를 운영하는 사람에게 요청하십시오.",
        Refusal::LinkEnded => "이 링크는 끝났습니다. 박스를 운영하는 사람에게 새 링크를 요청하십시오.",
        Refusal::MoreNeeded => "디렉터의 링크나 관리자가 필요합니다.",
        Refusal::PinWrong => "PIN이 아닙니다.",
        Refusal::NoPin => "설정된 PIN이 없습니다.",
        Refusal::PasswordWrong => "관리자 암호가 아닙니다.",
        Refusal::NoPassword => "아직 암호가 없습니다. 박스의 설정 코드로 암호를 정하십시오.",
        Refusal::Busy => "동시에 로그인하는 사람이 너무 많습니다. 다시 시도하십시오.",
        Refusal::NotFromHere => "설정에 따라 이 주소에서는 할 수 없습니다.",
        Refusal::NotNear => {
            "암호나 키가 없으면 박스와 같은 네트워크에서만 보낼 수 있습니다. [srt] passphrase를 정하거나, [access] publish_from = [\"192.168.1.0/24\", \"10.20.0.0/16\"]처럼 다른 모든 송출기의 네트워크와 함께 이 네트워크를 적으십시오. 적은 네트워크가 박스의 네트워크를 대신합니다."
        }
        Refusal::Insecure => "박스 관리는 HTTPS로만 할 수 있습니다.",
        Refusal::NoHttps => {
            "박스 관리는 HTTPS로만 할 수 있는데 지금 HTTPS가 없습니다. 이유는 상태에 있습니다. 설정의 [access] administration = \"lan\"은 HTTP를 허용합니다."
        }
        Refusal::KeyNeeded => "이 스트림에는 키가 필요합니다.",
        Refusal::KeyWrong => "스트림 키가 틀렸습니다.",
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
    struct House {
        router: Router,
        hand: ManualClock,
    }

    struct Answer {
        status: u16,
        headers: HeaderMap,
        body: String,
    }

    impl House {
        fn with(code: Option<&str>) -> Self {
            let (clock, hand) = Clock::manual();
            let handles = Bench::new().handles;
            let routes = Routes::new(Access::open(code, clock));
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
            request.extensions_mut().insert(Caller { address: from.parse().unwrap(), secure: false, vouched: false });
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
        let door = House::with(Some("bkmqp-xrthw"));
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
        let door = House::with(Some("bkmqp-xrthw"));
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
        let door = House::with(Some("bkmqp-xrthw"));
        assert!(door.put(&[]).await.body.contains("set-up code"));
        let korean = ("accept-language", "ko-KR,ko;q=0.9,en;q=0.8");
        assert!(door.put(&[korean]).await.body.contains("관리자만 할 수 있습니다"));
        assert!(door.put(&[korean, ("authorization", "Bearer x")]).await.body.contains("설정 코드가 아닙니다"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_machine_itself_shows_the_set_up_code_too_whoever_may_stand_behind_it() {
        let door = House::with(Some("bkmqp-xrthw"));
        for headers in [
            &[][..],
            // What a proxy on the machine asks for a stranger, where it adds nothing.
            &[("host", "127.0.0.1:8889")],
            &[("host", "localhost:8889"), ("origin", "http://localhost:8889")],
            &[("x-forwarded-for", "10.0.0.9")],
        ] {
            assert_eq!(door.ask(Method::PUT, "::1", headers).await.status, 401, "{headers:?}");
        }
        assert_eq!(door.ask(Method::PUT, "::1", &[("authorization", "Bearer bkmqp-xrthw")]).await.status, 200);
    }
}
