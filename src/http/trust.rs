//! `/trust`: how phones and computers come to trust the box's own certificate authority, and the files for it.
//!
//! Served over plain HTTP too, for that is where whoever does not trust it yet can read. No script, nothing to load.

use std::fmt::Write as _;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::captive::{pages, plain_page};
use super::language::Language;
use super::refusal::Refused;
use super::{Handles, ice};
use crate::tls::{self, Authority};

/// The page, below which the files are.
pub(super) const PAGE: &str = "/trust";

/// HTTPS as people reach it.
#[derive(Clone, Debug)]
pub struct Https {
    /// The TCP port to name.
    pub port: u16,
    /// Whom people are asked to trust.
    pub authority: Authority,
    /// Whether whoever comes over HTTP is sent to HTTPS.
    pub redirect: bool,
    /// The names that a public authority certifies; `None`: there are none.
    pub public: Option<tls::Public>,
}

impl Https {
    /// `https://host:port`, where the host is that of the request and fits into an address.
    pub(super) fn origin(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        Some(self.at(&ice::asked_host(uri, headers)?))
    }

    fn at(&self, host: &str) -> String {
        if self.port == 443 { format!("https://{host}") } else { format!("https://{host}:{}", self.port) }
    }

    /// Where nobody has to trust anything, while there is a certificate for it.
    fn public_origin(&self) -> Option<String> {
        let public = self.public.as_ref().filter(|public| public.valid_until().is_some())?;
        public.names().iter().find(|name| !name.starts_with('*')).map(|name| self.at(name))
    }
}

/// The page.
pub(super) async fn page(State(handles): State<Handles>, uri: Uri, headers: HeaderMap) -> Response {
    let language = Language::of(&headers);
    match &handles.https {
        Some(https) => plain_page(words(language, https, https.origin(&uri, &headers).as_deref())),
        None => (StatusCode::NOT_FOUND, plain_page(words_without(language))).into_response(),
    }
}

/// What somebody reads who looks for it where there is no HTTPS.
fn words_without(language: Language) -> String {
    match language {
        Language::English => pages::html(
            language,
            "HTTPS is off",
            "<p>There is nothing to trust: this box has no HTTPS at present. Everything works without it, but browsers let no \
             page keep the screen on: set the phone's own screen time-out.</p>\
             <p>To switch it on, write this into the settings and start the box again:</p>\
             <p class=\"print\">[https]<br>enabled = true</p>\
             <p>If that is there already, the state of the box says what is wrong.</p>",
        ),
        Language::Korean => pages::html(
            language,
            "HTTPS가 꺼져 있습니다",
            "<p>신뢰할 것이 없습니다. 이 박스에는 지금 HTTPS가 없습니다. HTTPS 없이도 모두 되지만 브라우저가 화면을 켜 둘 수 없으니 \
             휴대전화의 화면 자동 꺼짐 시간을 길게 하십시오.</p>\
             <p>켜려면 설정에 다음을 적고 박스를 다시 시작하십시오.</p>\
             <p class=\"print\">[https]<br>enabled = true</p>\
             <p>이미 적혀 있다면 무엇이 잘못되었는지 박스의 상태에 나옵니다.</p>",
        ),
    }
}

/// `returnfeed.mobileconfig` for iOS and macOS, `returnfeed-ca.crt` and `.pem` for all others.
pub(super) async fn file(
    State(handles): State<Handles>,
    Path(file): Path<String>,
) -> Result<impl IntoResponse, Refused> {
    let https = handles.https.as_ref().ok_or_else(Refused::unknown_address)?;
    let Authority { der, pem, .. } = &https.authority;
    let (kind, bytes) = match file.as_str() {
        "returnfeed.mobileconfig" => ("application/x-apple-aspen-config", profile(&https.authority).into_bytes()),
        "returnfeed-ca.crt" => ("application/x-x509-ca-cert", der.clone()),
        "returnfeed-ca.pem" => ("application/x-pem-file", pem.clone().into_bytes()),
        _ => return Err(Refused::unknown_address()),
    };
    let disposition = format!("attachment; filename=\"{file}\"");
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, bytes))
}

/// As people compare it: pairs of digits.
fn fingerprint(authority: &Authority) -> String {
    let pairs: Vec<_> = authority.fingerprint().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// A profile with one certificate (Apple, "Configuration Profile Reference": CertificateRoot). The same authority makes
/// the same profile, which takes the place of the one that is there.
fn profile(authority: &Authority) -> String {
    let fingerprint = authority.fingerprint();
    // RFC 9562 §5.8: of no other source than these bytes.
    let uuid = |at: usize| {
        let mut text = String::new();
        for (nth, byte) in fingerprint.iter().cycle().skip(at).take(16).enumerate() {
            let byte = match nth {
                6 => byte & 0x0f | 0x80,
                8 => byte & 0x3f | 0x80,
                _ => *byte,
            };
            if [4, 6, 8, 10].contains(&nth) {
                text.push('-');
            }
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02X}");
        }
        text
    };
    let (name, certificate) = (escaped(&authority.name), data_encoding::BASE64.encode(&authority.der));
    let (inner, outer) = (uuid(0), uuid(16));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadCertificateFileName</key><string>returnfeed-ca.crt</string>
      <key>PayloadContent</key><data>{certificate}</data>
      <key>PayloadDisplayName</key><string>{name}</string>
      <key>PayloadIdentifier</key><string>returnfeed.authority.{inner}</string>
      <key>PayloadType</key><string>com.apple.security.root</string>
      <key>PayloadUUID</key><string>{inner}</string>
      <key>PayloadVersion</key><integer>1</integer>
    </dict>
  </array>
  <key>PayloadDescription</key><string>HTTPS of the ReturnFeed box / ReturnFeed 박스의 HTTPS</string>
  <key>PayloadDisplayName</key><string>{name}</string>
  <key>PayloadIdentifier</key><string>returnfeed.profile.{outer}</string>
  <key>PayloadRemovalDisallowed</key><false/>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadUUID</key><string>{outer}</string>
  <key>PayloadVersion</key><integer>1</integer>
</dict>
</plist>
"#
    )
}

/// For XML and HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn words(language: Language, https: &Https, origin: Option<&str>) -> String {
    let (name, fingerprint) = (escaped(&https.authority.name), fingerprint(&https.authority));
    let (profile, crt, pem) = (
        "<a href=\"trust/returnfeed.mobileconfig\">returnfeed.mobileconfig</a>",
        "<a href=\"trust/returnfeed-ca.crt\">returnfeed-ca.crt</a>",
        "<a href=\"trust/returnfeed-ca.pem\">returnfeed-ca.pem</a>",
    );
    let link = origin.map(escaped).map(|origin| format!("<a href=\"{origin}/\">{origin}/</a>")).unwrap_or_default();
    let spared = https.public_origin().map(|origin| escaped(&origin)).map_or_else(String::new, |origin| match language {
        Language::English => {
            format!("<p><b>Nothing of this is needed at <a href=\"{origin}/\">{origin}/</a>, which every device trusts.</b></p>")
        }
        Language::Korean => {
            format!("<p><b><a href=\"{origin}/\">{origin}/</a> 은 모든 기기가 신뢰하므로 아래의 설정이 필요 없습니다.</b></p>")
        }
    });
    match language {
        Language::English => pages::html(
            language,
            "Trust this box",
            &format!(
                "{spared}<p>Once a phone trusts this box, the page opens over HTTPS: nobody on the network can read or change it, \
                 and <b>the screen stays on by itself</b>. Without HTTPS everything else works, but browsers let no page \
                 keep the screen on: set the phone's own screen time-out.</p>\
                 <p>This is done once for each device. The authority is called <b>{name}</b>; it can speak for this box's \
                 own names and for addresses of networks like this one, not for other web sites. Its fingerprint (SHA-256) is</p>\
                 <p class=\"print\">{fingerprint}</p>\
                 <h2>iPhone, iPad</h2><ol>\
                 <li>Open this page in Safari and tap {profile}, then <b>Allow</b>.</li>\
                 <li>Settings → General → VPN &amp; Device Management → <b>{name}</b> → <b>Install</b>.</li>\
                 <li>Settings → General → About → Certificate Trust Settings → switch <b>{name}</b> on.</li></ol>\
                 <h2>Android</h2><ol>\
                 <li>Tap {crt} to download it.</li>\
                 <li>Settings → Security and privacy → More security settings → Encryption and credentials → \
                 Install a certificate → <b>CA certificate</b> → Install anyway → choose the file. On some phones it is quicker to \
                 search the settings for “CA certificate”.</li></ol>\
                 <h2>Windows</h2><ol>\
                 <li>Download {crt} and open it → <b>Install Certificate</b> → Current User.</li>\
                 <li><b>Place all certificates in the following store</b> → Browse → <b>Trusted Root Certification \
                 Authorities</b> → Finish.</li></ol>\
                 <h2>Mac</h2><ol>\
                 <li>Download {pem} and open it in Keychain Access.</li>\
                 <li>Double-click <b>{name}</b> → Trust → When using this certificate: <b>Always Trust</b>.</li></ol>\
                 <h2>Then</h2><p>Open {link}</p>"
            ),
        ),
        Language::Korean => pages::html(
            language,
            "이 박스 신뢰하기",
            &format!(
                "{spared}<p>휴대전화가 이 박스를 신뢰하면 화면이 HTTPS로 열립니다. 네트워크의 다른 사람이 보거나 바꿀 수 없고, \
                 <b>화면이 저절로 꺼지지 않습니다</b>. HTTPS가 아니어도 나머지는 모두 되지만 브라우저가 화면을 켜 둘 수 없으니 \
                 휴대전화의 화면 자동 꺼짐 시간을 길게 하십시오.</p>\
                 <p>기기마다 한 번만 하면 됩니다. 인증 기관의 이름은 <b>{name}</b>이고, 이 박스의 이름과 이런 내부 네트워크의 숫자 주소에만 쓰이며 \
                 다른 웹사이트에는 쓰일 수 없습니다. 지문(SHA-256)은 다음과 같습니다.</p>\
                 <p class=\"print\">{fingerprint}</p>\
                 <h2>iPhone, iPad</h2><ol>\
                 <li>Safari로 이 화면을 열고 {profile}을 누른 뒤 <b>허용</b>을 누르십시오.</li>\
                 <li>설정 → 일반 → VPN 및 기기 관리 → <b>{name}</b> → <b>설치</b>.</li>\
                 <li>설정 → 일반 → 정보 → 인증서 신뢰 설정 → <b>{name}</b>을 켜십시오.</li></ol>\
                 <h2>Android</h2><ol>\
                 <li>{crt}를 눌러 내려받으십시오.</li>\
                 <li>설정 → 보안 및 개인정보 보호 → 기타 보안 설정 → 암호화 및 사용자 인증 정보 → 인증서 설치 → \
                 <b>CA 인증서</b> → 무시하고 설치 → 파일을 고르십시오. 설정에서 “CA 인증서”를 검색하면 더 빠릅니다.</li></ol>\
                 <h2>Windows</h2><ol>\
                 <li>{crt}를 내려받아 열고 <b>인증서 설치</b> → 현재 사용자.</li>\
                 <li><b>모든 인증서를 다음 저장소에 저장</b> → 찾아보기 → <b>신뢰할 수 있는 루트 인증 기관</b> → 마침.</li></ol>\
                 <h2>Mac</h2><ol>\
                 <li>{pem}을 내려받아 키체인 접근에서 여십시오.</li>\
                 <li><b>{name}</b>을 두 번 클릭 → 신뢰 → 이 인증서 사용 시: <b>항상 신뢰</b>.</li></ol>\
                 <h2>그다음</h2><p>{link} 을 여십시오.</p>"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::super::tests::Bench;
    use super::*;
    use crate::tls::Public;

    fn bench() -> Bench {
        let mut bench = Bench::new();
        let authority = Authority { name: "ReturnFeed <x>".into(), der: vec![1, 2, 3], pem: "PEM".into() };
        bench.handles.https = Some(Https { port: 8443, authority, redirect: false, public: None });
        bench
    }

    #[tokio::test]
    async fn people_read_in_their_language_what_to_do_and_where_https_is() {
        let bench = bench();
        let host = ("host", "10.0.0.7:8889");
        let page = bench.ask(Method::GET, "/trust", &[host], "").await;
        assert_eq!(page.status(), 200);
        for words in [
            "Trust this box",
            "keep the screen on",
            "https://10.0.0.7:8443/",
            "ReturnFeed &lt;x&gt;",
            // sha256 of the bytes 1, 2, 3.
            "03:90:58:C6:F2:C0:CB:49:2C:53:3B:0A:4D:14:EF:77:CC:0F:78:AB:CC:CE:D5:28:7D:84:A1:A2:01:1C:FB:81",
        ] {
            assert!(page.body.contains(words), "{words}: {}", page.body);
        }
        let korean = bench.ask(Method::GET, "/trust", &[host, ("accept-language", "ko")], "").await;
        assert!(korean.body.contains("이 박스 신뢰하기") && korean.body.contains("https://10.0.0.7:8443/"));
    }

    #[tokio::test]
    async fn where_there_is_a_public_name_people_are_sent_there() {
        let mut bench = bench();
        assert!(!bench.get("/trust").await.body.contains("Nothing of this is needed"));
        let public = Public::holding(&["*.studio.tv", "return.studio.tv"]);
        bench.handles.https.as_mut().unwrap().public = Some(public);
        for (language, words) in [("en", "Nothing of this is needed"), ("ko", "모든 기기가 신뢰")] {
            let page = bench.ask(Method::GET, "/trust", &[("accept-language", language)], "").await.body;
            assert!(page.contains(words) && page.contains("https://return.studio.tv:8443/"), "{page}");
        }
        let status: serde_json::Value = serde_json::from_str(&bench.get("/api/v1/status").await.body).unwrap();
        assert_eq!(status["https"]["port"], 8443);
        assert_eq!(status["https"]["public"]["names"][1], "return.studio.tv");
        assert_eq!(status["https"]["public"]["valid_until"], "2026-02-20T00:00:00Z");
        bench.handles.https.as_mut().unwrap().public = Some(Public::awaiting("return.studio.tv", "t", "a"));
        assert!(!bench.get("/trust").await.body.contains("Nothing of this is needed"), "there is none yet");
    }

    #[tokio::test]
    async fn each_system_gets_the_file_that_it_takes() {
        let bench = bench();
        for (file, kind) in [
            ("returnfeed.mobileconfig", "application/x-apple-aspen-config"),
            ("returnfeed-ca.crt", "application/x-x509-ca-cert"),
            ("returnfeed-ca.pem", "application/x-pem-file"),
        ] {
            let answer = bench.get(&format!("/trust/{file}")).await;
            assert_eq!((answer.status(), answer.header("content-type")), (200, kind), "{file}");
        }
        let profile = bench.get("/trust/returnfeed.mobileconfig").await.body;
        let tree = roxmltree::Document::parse_with_options(
            &profile,
            roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() },
        )
        .unwrap();
        let data = tree.descendants().find(|node| node.has_tag_name("data")).unwrap();
        assert_eq!(data.text(), Some("AQID"));
        assert!(profile.contains("039058C6-F2C0-8B49-AC53-3B0A4D14EF77"), "{profile}");
        assert_eq!(bench.get("/trust/https-authority.pem").await.status(), 404);
    }

    #[tokio::test]
    async fn without_https_there_is_nothing_to_trust() {
        let bench = Bench::new();
        assert_eq!(bench.get("/trust/returnfeed-ca.crt").await.status(), 404);
        for (language, words) in [("en", "HTTPS is off"), ("ko", "HTTPS가 꺼져 있습니다")] {
            let page = bench.ask(Method::GET, "/trust", &[("accept-language", language)], "").await;
            assert!(page.body.contains(words) && page.body.contains("enabled = true"), "{}", page.body);
            assert_eq!(page.status(), 404);
            assert!(page.header("content-type").starts_with("text/html"));
        }
    }
}
