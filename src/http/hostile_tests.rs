//! Addresses and headers as no browser sends them, to every route.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::caller::Caller;
use super::tests::Bench;
use super::*;
use crate::access::{Parts, Policy, Secret, Viewing};
use crate::http::Https;
use crate::tls::Authority;

const CODE: &str = "bkmqp-xrthw";
const OWNER: (&str, &str) = ("authorization", "Bearer bkmqp-xrthw");
const JSON: (&str, &str) = ("content-type", "application/json");
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Where a stream, a session, a link, a file or a lamp should be named.
const NAMES: [&str; 27] = [
    ".",
    "..",
    "...",
    "%2e%2e",
    "%2E.",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%252e%252e%252fetc%252fpasswd",
    "%c0%ae%c0%ae%c0%af",
    "%00",
    "pgm%00",
    "pgm%00.js",
    "pgm%0d%0aset-cookie:%20a=b",
    "pgm%0a",
    "pgm%20",
    "pgm%2f",
    "pgm%2f..",
    "%2fetc%2fpasswd",
    "pgm%3fviewing=open",
    "pgm%23",
    ".hidden",
    "-rf",
    "%",
    "%zz",
    "%ff%fe",
    "%ed%95%9c",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
];

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

/// A box with everything that names itself in what it answers: relay, HTTPS, links.
struct House(Bench);

impl House {
    fn with(viewing: Viewing) -> Self {
        let mut bench = Bench::new();
        let clock = bench.handles.clock.clone();
        let policy = Policy { viewing, pin: Some(Secret::new("482915")), https_port: Some(8443), ..Policy::default() };
        let setup_code = CODE.to_owned();
        let credentials = turn::Credentials::new(&[7; 32], clock.now());
        let (listen, public_addresses) = ("[::]:3478".parse().unwrap(), vec!["203.0.113.9".parse().unwrap()]);
        bench.handles.ice = Some(Ice { credentials, listen, tls: Some(8443), public_addresses });
        let authority = Authority { name: "n".into(), der: vec![0], pem: "PEM".into() };
        bench.handles.https = Some(Https { port: 8443, authority, redirect: false, public: None });
        let interfaces = || None;
        let parts = Parts { setup_code, policy, interfaces, among_strangers: true, memory: None, clock };
        bench.handles.access = Access::new(parts);
        Self(bench)
    }

    async fn ask(&self, method: &Method, path: &str, headers: &[(&str, &str)], secure: bool) -> Option<Answer> {
        // What cannot be an address at all does not come as far as a route.
        let uri: Uri = path.parse().ok()?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            // Bytes that can be in no header are refused with the connection (tests/end_to_end/hostile.rs).
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        let mut request = request.body(Body::from("{}")).ok()?;
        request.extensions_mut().insert(Caller { address: [198, 51, 100, 9].into(), secure, vouched: false });
        let response = router(self.0.handles.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// Every route, once.
fn routes_of(house: &House) -> Vec<String> {
    let mut paths: Vec<_> = routes(&house.0.handles).paths.into_iter().map(|(_, path)| path).collect();
    paths.sort();
    paths.dedup();
    assert!(paths.len() > 35, "the walk is over all of them");
    paths
}

fn with_names(path: &str, name: &str) -> String {
    let mut filled = path.to_owned();
    while let (Some(begin), Some(end)) = (filled.find('{'), filled.find('}')) {
        filled.replace_range(begin..=end, name);
    }
    filled
}

/// The same place for whoever is careless with addresses.
fn disguises(path: &str) -> Vec<String> {
    let first = path.as_bytes().get(1).copied().unwrap_or(b'x');
    let rest = path.get(2..).unwrap_or_default();
    vec![
        format!("/{path}"),
        path.replace('/', "//"),
        format!("{path}/"),
        format!("{path}//"),
        format!("{path}/."),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("/pgm/..{path}"),
        format!("/pgm/%2e%2e{path}"),
        format!("/pgm%2f..{path}"),
        format!("/%2e{path}"),
        format!("/{}", path.trim_start_matches('/').replace('/', "%2f")),
        format!("/{}", path.trim_start_matches('/').replace('/', "%5c")),
        format!("/%{first:02x}{rest}"),
        path.to_uppercase(),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path};x=1"),
        format!("{path}%3f"),
        format!("{path}.json"),
        format!("http://box.local{path}/"),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_address_in_disguise_leads_nowhere_a_stranger_may_not_go() {
    for viewing in [Viewing::Open, Viewing::Links] {
        let house = House::with(viewing);
        let guarded = routes(&house.0.handles).paths.into_iter().filter(|(role, _)| *role > Role::Anyone);
        let mut asked = 0;
        for (_, path) in guarded {
            for disguise in disguises(&with_names(&path, "pgm")) {
                for method in METHODS {
                    let Some(answer) = house.ask(&method, &disguise, &[JSON], true).await else { continue };
                    asked += 1;
                    // A name in the first place may be that of a stream, whose page anybody may open.
                    let is_the_page = [Method::GET, Method::HEAD].contains(&method)
                        && (answer.body.is_empty() || answer.body.starts_with("<!doctype html>"));
                    assert!(answer.status < 500, "{method} {disguise}: {}", answer.status);
                    assert!(
                        answer.status >= 300 || is_the_page,
                        "{method} {disguise}: {} {}",
                        answer.status,
                        answer.body
                    );
                    assert!(!answer.headers.contains_key("link"), "a relay's login for {method} {disguise}");
                }
            }
        }
        assert!(asked > 1500, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_are_paths_or_nothing_at_all_are_found_nowhere() {
    let house = House::with(Viewing::Open);
    let long = "a".repeat(65);
    let endless = "a".repeat(60_000);
    let names = NAMES.into_iter().chain([long.as_str(), &endless]);
    let with_name: Vec<_> = routes_of(&house).into_iter().filter(|path| path.contains('{')).collect();
    let mut asked = 0;
    for name in names {
        for route in &with_name {
            let path = with_names(route, name);
            for method in METHODS {
                // The owner may do everything, so it is the name that is turned down.
                let Some(answer) = house.ask(&method, &path, &[OWNER, JSON], true).await else { continue };
                asked += 1;
                let shown = path.get(..path.len().min(80)).unwrap_or(&path);
                let is_a_link = route.ends_with("/join/{token}") && answer.status == 303;
                assert!(is_a_link || (400..500).contains(&answer.status), "{method} {shown}: {}", answer.status);
                for (field, value) in &answer.headers {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    assert!(
                        !value.contains("etc/passwd") && !value.contains("<script"),
                        "{method} {shown}: {field}: {value}"
                    );
                }
                for what in ["root:", "<script>alert", "set-cookie:", &endless] {
                    assert!(!answer.body.contains(what), "{method} {shown}: {}", answer.body);
                }
                if is_a_link {
                    let location = answer.headers["location"].to_str().unwrap();
                    let rest = location.trim_start_matches("../").trim_end_matches("#link-ended");
                    assert!(!rest.contains(['/', ':', '\\', '\r', '\n']), "{shown}: {location}");
                }
            }
        }
    }
    assert!(asked > 2000, "{asked}");
}

/// What a request may say of the host that is none.
const NO_HOSTS: [&str; 15] = [
    "",
    " ",
    "box.local:99999",
    "box.local:80:80",
    "box.local:x",
    "box.local/../evil",
    "box.local?evil",
    "box.local#evil",
    "evil@box.local",
    "\"><script>alert(1)</script>",
    "evil>; rel=\"ice-server\"",
    "[::1",
    "[evil]:8889",
    "evil,box.local",
    "evil box.local",
];

#[tokio::test(start_paused = true)]
async fn a_host_that_is_none_is_named_in_no_header_no_link_and_no_page() {
    let house = House::with(Viewing::Open);
    let paths: Vec<_> = routes_of(&house).iter().map(|path| with_names(path, "pgm")).collect();
    let wish = [OWNER, JSON];
    for host in NO_HOSTS {
        for path in &paths {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                for secure in [true, false] {
                    let headers = [&wish[..], &[("host", host)]].concat();
                    let Some(answer) = house.ask(&method, path, &headers, secure).await else { continue };
                    // 501: this machine is no box that could be updated.
                    assert!(answer.status <= 501, "{method} {path} as {host:?}: {}", answer.status);
                    for (field, value) in &answer.headers {
                        let value = String::from_utf8_lossy(value.as_bytes());
                        assert!(!value.contains("evil") && !value.contains("<script"), "{path}: {field}: {value}");
                    }
                    assert!(!answer.body.contains("evil") && !answer.body.contains("alert"), "{path}: {}", answer.body);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_name_than_the_boxs_leads_nobody_away_and_forwarded_names_count_for_nothing() {
    let house = House::with(Viewing::Open);
    let evil = [
        ("host", "box.local:8889"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-server", "evil.example"),
        ("x-original-url", "/api/v1/links"),
        ("x-rewrite-url", "/api/v1/links"),
        ("x-http-method-override", "DELETE"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-prefix", "//evil.example"),
    ];
    for path in routes_of(&house).iter().map(|path| with_names(path, "pgm")) {
        for method in METHODS {
            let Some(answer) = house.ask(&method, &path, &[&[OWNER, JSON][..], &evil].concat(), true).await else {
                continue;
            };
            let named = format!("{:?}{}", answer.headers, answer.body);
            assert!(!named.contains("evil"), "{method} {path}: {named}");
        }
    }
    // A name that leads here is the viewer's own way to the relay, and to nothing else: every `Location` is relative.
    let wish = r#"{"name":"Crane"}"#;
    let headers = [OWNER, JSON, ("host", "rebound.example")];
    for path in ["/pgm/", "/join/none", "/pgm/join/none"] {
        let answer = house.ask(&Method::GET, path, &headers, true).await.unwrap();
        assert!(answer.headers["location"].to_str().unwrap().starts_with("../"), "{path}: {:?}", answer.headers);
    }
    let sheet = house.ask(&Method::GET, "/setup-sheet", &headers, true).await.unwrap();
    assert_eq!(sheet.status, 421);
    // The link that an administrator hands on is made of the name by which he came, or of the box's own address.
    for (host, url) in [
        ("box.local", "https://box.local/join/"),
        ("Box.Local:8443", "https://box.local:8443/join/"),
        ("[fd00::20]:8443", "https://[fd00::20]:8443/join/"),
        ("evil.example/x?", "https://10.0.0.7:8889/join/"),
        ("\"><script>", "https://10.0.0.7:8889/join/"),
    ] {
        let mut request = Request::post("/api/v1/links").header("host", host);
        for (name, value) in [OWNER, JSON] {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(wish)).unwrap();
        request.extensions_mut().insert(Caller { address: [198, 51, 100, 9].into(), secure: true, vouched: false });
        let response = router(house.0.handles.clone()).oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let made: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(made["url"].as_str().unwrap().starts_with(url), "{host}: {made}");
    }
    assert_eq!(house.0.handles.access.links().len(), 5);
}
