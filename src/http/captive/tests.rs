//! What phones meet, by example.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request as HttpRequest};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::clock::ManualClock;
use crate::http::tests::Bench;

const PHONE: &str = "10.88.89.20";
const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

struct Wifi {
    bench: Bench,
    hand: ManualClock,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn leads_to(&self, address: &str) -> bool {
        self.status == 302 && self.header("location") == address && self.header("cache-control") == "no-store"
    }
}

impl Wifi {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (clock, hand) = Clock::manual();
        bench.handles.portal = Some(Portal::new(Ipv4Addr::new(10, 88, 89, 1), clock));
        Self { bench, hand }
    }

    async fn ask(&self, method: Method, peer: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_over(false, method, peer, url, headers).await
    }

    async fn ask_over(&self, secure: bool, method: Method, peer: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        let (host, path) = url.split_once('/').unwrap();
        let mut request = HttpRequest::builder().method(method).uri(format!("/{path}")).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller { address: peer.parse().unwrap(), secure, vouched: false });
        let response = crate::http::router(self.bench.handles.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// What a phone asks by itself.
    async fn probe(&self, url: &str) -> Answer {
        self.ask(Method::GET, PHONE, url, &[]).await
    }

    /// What a person at the phone opens.
    async fn open(&self, url: &str) -> Answer {
        self.ask(Method::GET, PHONE, url, &[("accept", BROWSER)]).await
    }
}

#[tokio::test]
async fn a_phone_is_led_to_the_portal_once_and_then_told_what_its_maker_wants() {
    for (probe, status, body) in [
        ("captive.apple.com/hotspot-detect.html", 200, "<TITLE>Success</TITLE>"),
        ("www.apple.com/library/test/success.html", 200, "<BODY>Success</BODY>"),
        ("connectivitycheck.gstatic.com/generate_204", 204, ""),
        ("www.google.com/gen_204", 204, ""),
        ("www.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"),
        ("detectportal.firefox.com/success.txt?ipv4", 200, "success\n"),
        ("detectportal.firefox.com/canonical.html", 200, "captive-portal"),
    ] {
        let wifi = Wifi::new();
        for _ in 0..2 {
            assert!(wifi.probe(probe).await.leads_to("http://10.88.89.1/setup/wifi"), "{probe}");
        }
        let portal = wifi.open("10.88.89.1/setup/wifi").await;
        assert!(portal.status == 200 && portal.body.contains("http://10.88.89.1/"), "{}", portal.body);
        assert!(wifi.probe(probe).await.leads_to("http://10.88.89.1/setup/wifi"), "{probe}: nobody has read it yet");
        assert_eq!(wifi.open("10.88.89.1/setup/wifi/joined").await.status, 200);
        let success = wifi.probe(probe).await;
        assert_eq!((success.status, success.header("cache-control")), (status, "no-store"), "{probe}");
        assert!(success.body.contains(body) && success.body.is_empty() == body.is_empty(), "{probe}: {}", success.body);
    }
}

#[tokio::test]
async fn whoever_found_the_page_needs_no_portal() {
    for url in ["10.88.89.1/", "returnfeed.local/pgm", "returnfeed/", "10.88.89.1:8889/"] {
        let wifi = Wifi::new();
        assert_eq!(wifi.open(url).await.status, 200, "{url}");
        assert_eq!(wifi.probe("a.example/generate_204").await.status, 204, "{url}");
    }
    let wifi = Wifi::new();
    wifi.probe("10.88.89.1/favicon.ico").await;
    assert_eq!(wifi.probe("a.example/generate_204").await.status, 302, "no person asks for an icon");
}

#[tokio::test]
async fn whoever_types_any_address_gets_to_the_box_and_programs_do_not() {
    let wifi = Wifi::new();
    assert!(wifi.open("example.com/pgm").await.leads_to("http://10.88.89.1/setup/wifi"));
    assert!(wifi.open("www.msftconnecttest.com/redirect").await.leads_to("http://10.88.89.1/setup/wifi"));
    wifi.open("10.88.89.1/setup/wifi/joined").await;
    assert!(wifi.open("example.com/pgm").await.leads_to("http://10.88.89.1/"));
    assert!(wifi.open("www.msftconnecttest.com/redirect").await.leads_to("http://10.88.89.1/"));
    assert_eq!(wifi.probe("api.example.com/v1/feed").await.status, 404);
    assert_eq!(wifi.ask(Method::POST, PHONE, "api.example.com/pgm/whep", &[]).await.status, 404);
}

#[tokio::test]
async fn a_name_of_the_boxs_own_certificate_or_settings_is_the_boxs_own() {
    let wifi = Wifi::new();
    let page = wifi.ask_over(true, Method::GET, PHONE, "tally.example/", &[("accept", BROWSER)]).await;
    assert_eq!(page.status, 200, "the certificate is right for it, else nothing would have been asked");
    assert!(Wifi::new().open("tally.example/").await.leads_to("http://10.88.89.1/setup/wifi"));
    let wifi = Wifi::new();
    let origins = vec!["https://tally.example".to_owned()];
    wifi.bench.handles.access.apply(crate::access::Policy { origins, ..Default::default() });
    assert_eq!(wifi.open("Tally.example/").await.status, 200);
    assert_eq!(wifi.probe("a.example/generate_204").await.status, 204);
}

#[tokio::test]
async fn each_phone_is_led_for_itself_and_forgotten_after_days_of_silence() {
    let wifi = Wifi::new();
    let probe = |peer: &'static str| wifi.ask(Method::GET, peer, "a.example/generate_204", &[]);
    wifi.open("10.88.89.1/setup/wifi/joined").await;
    assert_eq!((probe(PHONE).await.status, probe("::ffff:10.88.89.20").await.status), (204, 204));
    assert_eq!(probe("10.88.89.21").await.status, 302);
    for _ in 0..3 {
        wifi.hand.advance(FORGOTTEN_AFTER - Duration::from_secs(1));
        assert_eq!(probe(PHONE).await.status, 204, "it was heard of within {FORGOTTEN_AFTER:?}");
    }
    for (method, url) in
        [(Method::GET, "10.88.89.1/favicon.ico"), (Method::POST, "10.88.89.1/pgm/whep"), (Method::POST, "a.example/")]
    {
        wifi.hand.advance(FORGOTTEN_AFTER - Duration::from_secs(1));
        wifi.ask(method, PHONE, url, &[]).await;
    }
    wifi.hand.advance(FORGOTTEN_AFTER - Duration::from_secs(1));
    assert_eq!(probe(PHONE).await.status, 204, "it asked something, whatever that was");
    wifi.hand.advance(FORGOTTEN_AFTER);
    assert_eq!(probe(PHONE).await.status, 302);
}

#[tokio::test]
async fn no_other_network_sees_any_of_it() {
    let wifi = Wifi::new();
    for peer in ["192.168.1.7", "10.88.90.20", "10.88.89.1", "fe80::1", "127.0.0.1"] {
        for url in ["10.88.89.1/setup/wifi", "10.88.89.1/setup/wifi/joined", "10.88.89.1/api/v1/captive-portal"] {
            assert_eq!(wifi.ask(Method::GET, peer, url, &[]).await.status, 404, "{peer} {url}");
        }
        let page = wifi.ask(Method::GET, peer, "tally.studio.example/generate_204", &[("accept", BROWSER)]).await;
        assert_eq!(page.status, 200, "{peer}: a stream of that name has its page");
    }
    let without = Bench::new();
    assert_eq!(without.get("/setup/wifi").await.status(), 404);
}

#[tokio::test]
async fn the_api_says_where_the_portal_is_and_whether_it_is_still_to_be_seen() {
    let wifi = Wifi::new();
    let before = wifi.probe("10.88.89.1/api/v1/captive-portal").await;
    assert_eq!(before.header("content-type"), "application/captive+json");
    assert_eq!(before.body, r#"{"captive":true,"user-portal-url":"http://10.88.89.1/setup/wifi"}"#);
    wifi.open("10.88.89.1/setup/wifi/joined").await;
    assert!(wifi.probe("10.88.89.1/api/v1/captive-portal").await.body.starts_with(r#"{"captive":false"#));
}

#[tokio::test]
async fn the_portal_speaks_the_phones_language_and_loads_nothing() {
    let wifi = Wifi::new();
    for (accepted, shown) in [
        ("ko-KR,ko;q=0.9,en;q=0.8", "연결 유지"),
        ("en-GB,en;q=0.9,ko;q=0.5", "Stay connected"),
        ("ja,ko;q=0.5", "연결 유지"),
        ("", "Stay connected"),
        (",;;é,k", "Stay connected"),
    ] {
        let headers = [("accept", BROWSER), ("accept-language", accepted)];
        let page = wifi.ask(Method::GET, PHONE, "10.88.89.1/setup/wifi", &headers).await;
        assert!(page.body.contains(shown), "{accepted}: {}", page.body);
        let to_keep = ["although it has no internet", "mobile data off", "인터넷이 없어도", "모바일 데이터를 끄세요"];
        assert_eq!(to_keep.iter().filter(|words| page.body.contains(**words)).count(), 2, "{}", page.body);
        assert!(!page.body.contains("<script") && !page.body.contains("src=") && page.body.len() < 4000);
        assert!(page.header("content-security-policy").contains("style-src 'unsafe-inline'"));
        assert_eq!(page.header("x-content-type-options"), "nosniff");
    }
}

#[test]
fn the_box_is_known_by_its_addresses_and_its_local_names() {
    let host = |host: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        names_the_box(&headers)
    };
    for own in [
        "10.88.89.1",
        "10.88.89.1:80",
        "[fe80::1]",
        "[fe80::1]:8889",
        "returnfeed.local",
        "RF-3f2a.LOCAL.:80",
        "returnfeed",
        "",
    ] {
        assert!(host(own), "{own}");
    }
    for foreign in ["captive.apple.com", "captive.apple.com:80", "example.com.", "local.example", ".local.com", "a.b:c"]
    {
        assert!(!host(foreign), "{foreign}");
    }
    assert!(names_the_box(&HeaderMap::new()));
}
