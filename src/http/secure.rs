//! From HTTP to HTTPS, where the settings ask for it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::{Handles, captive, ice, trust};

/// How long a browser comes over HTTPS alone once it has: a day, so that a box that is set up anew is not lost for long.
const REMEMBERED: HeaderValue = HeaderValue::from_static("max-age=86400");

/// What must be reached without: how to trust the box, and the pages of its own Wi-Fi, which phones ask over HTTP.
const OPEN: [&str; 4] = [trust::PAGE, captive::PORTAL, captive::API, "/healthz"];

/// Sends whoever comes over HTTP to HTTPS. Programs on the machine itself may stay.
pub(super) async fn redirect(State(handles): State<Handles>, caller: Caller, request: Request, next: Next) -> Response {
    let Some(https) = handles.https.as_ref().filter(|https| https.redirect) else { return next.run(request).await };
    if caller.secure {
        let is_name = is_name(request.uri(), request.headers());
        let mut response = next.run(request).await;
        if is_name {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, REMEMBERED);
        }
        return response;
    }
    if caller.address.is_loopback() || is_open(request.uri().path()) {
        return next.run(request).await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some(origin) = https.origin(request.uri(), request.headers()) else { return next.run(request).await };
    // With the method kept (RFC 9110 §15.4.9): WHEP posts.
    let headers = [(header::LOCATION, format!("{origin}{path}")), (header::CACHE_CONTROL, "no-store".to_owned())];
    (StatusCode::PERMANENT_REDIRECT, headers).into_response()
}

fn is_open(path: &str) -> bool {
    OPEN.iter().any(|open| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// RFC 6797 §8.1.1: not for addresses.
fn is_name(uri: &Uri, headers: &HeaderMap) -> bool {
    ice::asked_host(uri, headers)
        .is_some_and(|host| !host.starts_with('[') && host.parse::<std::net::Ipv4Addr>().is_err())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;
    use tower::ServiceExt;

    use super::super::tests::Bench;
    use super::*;
    use crate::http::Https;
    use crate::tls::Authority;

    async fn ask(from: &str, secure: bool, method: Method, path: &str, host: &str) -> Response {
        let mut bench = Bench::new();
        let authority = Authority { name: "n".into(), der: Vec::new(), pem: String::new() };
        bench.handles.https = Some(Https { port: 443, authority, redirect: true, public: None });
        let mut request = Request::builder().method(method).uri(path).header("host", host).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller { address: from.parse().unwrap(), secure, vouched: false });
        crate::http::router(bench.handles.clone()).oneshot(request).await.unwrap()
    }

    fn location(response: &Response) -> &str {
        response.headers().get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn whoever_comes_over_http_is_sent_to_the_same_place_over_https() {
        let moved = ask("10.0.0.9", false, Method::POST, "/pgm/whep?lip_sync=1", "box.local:8889").await;
        assert_eq!((moved.status().as_u16(), location(&moved)), (308, "https://box.local/pgm/whep?lip_sync=1"));
        let moved = ask("10.0.0.9", false, Method::GET, "//elsewhere.example/x", "10.0.0.7").await;
        assert_eq!(location(&moved), "https://10.0.0.7//elsewhere.example/x", "and to no other host");
        let moved = ask("10.0.0.9", false, Method::GET, "/trusted", "10.0.0.7").await;
        assert_eq!(moved.status(), 308);
    }

    #[tokio::test]
    async fn some_things_stay_reachable_over_http() {
        for path in ["/trust", "/trust/returnfeed-ca.crt", "/healthz"] {
            assert_eq!(ask("10.0.0.9", false, Method::GET, path, "box.local").await.status(), 200, "{path}");
        }
        assert_eq!(ask("127.0.0.1", false, Method::GET, "/", "localhost").await.status(), 200);
    }

    #[tokio::test]
    async fn a_browser_is_told_to_stay_with_https_for_names_alone() {
        let kept = async |secure, host| {
            let response = ask("10.0.0.9", secure, Method::GET, "/", host).await;
            response.headers().contains_key(header::STRICT_TRANSPORT_SECURITY)
        };
        assert!(kept(true, "returnfeed.local").await);
        assert!(!kept(true, "10.0.0.7").await && !kept(true, "[fd00::1]:443").await);
        assert!(!kept(false, "returnfeed.local").await);
    }
}
