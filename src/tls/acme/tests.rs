//! Against a server of the tests' own, which says what no real one can be made to say.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::clock::ManualClock;

const NAME: &str = "return.studio.test";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn built() -> SystemTime {
    UNIX_EPOCH + DAY * 20_500
}

/// An authority and the file it is trusted by.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str, begins: SystemTime, ends: SystemTime) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (begins.into(), ends.into());
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A server that gives everybody an account and forgets it, suggests to renew at once, and is too busy to take an order,
/// or does not finish one.
#[derive(Clone)]
struct Busy {
    port: u16,
    /// Method and path of what was asked.
    asked: Arc<Mutex<Vec<String>>>,
    /// What was signed and sent.
    orders: Arc<Mutex<Vec<serde_json::Value>>>,
    window: [String; 2],
    takes_orders: Arc<AtomicBool>,
}

impl Busy {
    async fn start(authority: &Authority, window: [SystemTime; 2]) -> Self {
        let (certificate, key) = authority.issue("localhost", built() - DAY, built() + DAY * 4000);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let window = window.map(|time| format!("{}Z", date(time).trim_end_matches(" UTC").replace(' ', "T") + ":00"));
        let port = listener.local_addr().unwrap().port();
        let busy = Self { port, asked: Arc::default(), orders: Arc::default(), window, takes_orders: Arc::default() };
        let (serving, acceptor) = (busy.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move { serving.serve(acceptor.accept(stream).await.ok()?).await });
            }
        });
        busy
    }

    async fn serve(&self, stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            match line.trim() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let asked = head.first()?.trim_end_matches(" HTTP/1.1").to_owned();
        let answer = self.answer(&asked, &body);
        self.asked.lock().unwrap().push(asked);
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()
    }

    fn answer(&self, asked: &str, body: &[u8]) -> String {
        let base = format!("https://localhost:{}", self.port);
        let (status, headers, json) = match asked.split('/').nth(1).unwrap_or_default() {
            "dir" => {
                let at = |path: &str| format!("{base}/{path}");
                let directory = serde_json::json!({"newNonce": at("nonce"), "newAccount": at("account"),
                    "newOrder": at("order"), "renewalInfo": at("renewal")});
                ("200 OK", String::new(), directory)
            }
            "account" if asked.ends_with("/1") => {
                let problem = serde_json::json!({"type": "urn:ietf:params:acme:error:accountDoesNotExist"});
                ("400 Bad Request", String::new(), problem)
            }
            "account" => ("201 Created", format!("Location: {base}/account/1\r\n"), serde_json::json!({})),
            "renewal" => {
                let window = serde_json::json!({"start": self.window[0], "end": self.window[1]});
                ("200 OK", "Retry-After: 21600\r\n".to_owned(), serde_json::json!({"suggestedWindow": window}))
            }
            "order" => {
                let signed: serde_json::Value = serde_json::from_slice(body).unwrap();
                let payload = data_encoding::BASE64URL_NOPAD.decode(signed["payload"].as_str().unwrap().as_bytes());
                self.orders.lock().unwrap().push(serde_json::from_slice(&payload.unwrap()).unwrap());
                if self.takes_orders.load(Ordering::Relaxed) {
                    let order = serde_json::json!({"status": "ready", "authorizations": [],
                        "finalize": format!("{base}/finalize")});
                    return whole("201 Created", &format!("Location: {base}/taken\r\n"), &order.to_string());
                }
                let problem = serde_json::json!({"type": "urn:ietf:params:acme:error:rateLimited",
                    "detail": "too many\r\n\u{1b}[31m orders"});
                ("429 Too Many Requests", "Retry-After: 7200\r\n".to_owned(), problem)
            }
            "finalize" => return whole("502 Bad Gateway", "", "<html>Bad Gateway</html>"),
            _ => ("200 OK", String::new(), serde_json::json!({})),
        };
        whole(status, &headers, &if asked.starts_with("HEAD") { String::new() } else { json.to_string() })
    }

    fn count(&self, asked: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|one| one.starts_with(asked)).count()
    }
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nReplay-Nonce: abc\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// A box in a directory of its own.
struct Home {
    dir: tempfile::TempDir,
    authority: Authority,
    problems: Problems,
}

impl Home {
    fn new() -> Self {
        let home =
            Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new(), problems: Problems::default() };
        std::fs::write(home.dir.path().join("root.pem"), &home.authority.pem).unwrap();
        home
    }

    fn config(&self, port: u16) -> Config {
        Config {
            names: vec![NAME.into()],
            email: None,
            method: Method::Http01,
            directory: format!("https://localhost:{port}/dir"),
            authority: Some(self.dir.path().join("root.pem")),
            hook: None,
            wait: Duration::ZERO,
        }
    }

    /// On a clock that says `now`.
    fn start(&self, config: Config, now: SystemTime) -> (Acme, ManualClock) {
        let (clock, hand) = Clock::manual();
        hand.advance(now.duration_since(UNIX_EPOCH).unwrap());
        let parts = Parts {
            store: Some(Store::new(self.dir.path())),
            calendar: Calendar::new(Some(Store::new(self.dir.path())), clock.clone(), || false, built()),
            clock,
            problems: self.problems.clone(),
            provider: Arc::new(default_provider()),
            served: Arc::default(),
        };
        (Acme::new(config, parts), hand)
    }

    /// As if it had been issued earlier.
    fn keep(&self, config: &Config, begins: SystemTime, ends: SystemTime) {
        let (certificate, key) = self.authority.issue(NAME, begins, ends);
        let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
        let kept = Certificate::new(config.directory.clone(), config.names.clone(), pem).unwrap();
        Store::new(self.dir.path()).write_private(CERTIFICATE, &kept.text()).unwrap();
    }

    fn problem(&self) -> String {
        self.problems.list().into_iter().map(|problem| problem.text).collect()
    }
}

#[tokio::test]
async fn a_server_that_suggests_to_renew_at_once_is_ordered_from_and_one_that_is_busy_is_left_alone() {
    let (home, now) = (Home::new(), built() + DAY * 10);
    let busy = Busy::start(&home.authority, [now - DAY * 2, now - DAY]).await;
    let config = home.config(busy.port);
    home.keep(&config, now - DAY * 10, now + DAY * 80);
    let (mut acme, hand) = home.start(config, now);
    assert_eq!(acme.public().valid_until(), Some(now + DAY * 80));
    acme.look().await;
    assert_eq!(busy.count(""), 0, "a program that has just begun asks nobody");
    hand.advance(FIRST_ASKED_AFTER);
    acme.look().await;
    assert_eq!((busy.count("GET /renewal/"), busy.count("POST /order")), (1, 0));
    acme.look().await;
    let orders = busy.orders.lock().unwrap().clone();
    assert!(orders[0]["replaces"].as_str().is_some_and(|replaced| replaced.contains('.')), "{orders:?}");
    assert_eq!((orders.len(), orders[0]["identifiers"][0]["value"].as_str()), (1, Some(NAME)));
    let told = home.problem();
    assert!(told.contains("refuses the certificate: too many [31m orders."), "{told}");
    assert!(told.contains("The present certificate holds until "), "{told}");
    assert_eq!(acme.attempts.waits_until(acme.today()), Some(acme.today() + Duration::from_secs(7200)), "as it asked");
    hand.advance(Duration::from_secs(7100));
    acme.look().await;
    assert_eq!(busy.count("POST /order"), 1);
    hand.advance(Duration::from_secs(101));
    acme.look().await;
    assert_eq!((busy.count("POST /order"), busy.count("POST /account")), (2, 1), "by the same account");
}

#[tokio::test]
async fn nothing_is_ordered_before_the_time_is_known() {
    let home = Home::new();
    let busy = Busy::start(&home.authority, [built(), built() + DAY]).await;
    let (mut acme, hand) = home.start(home.config(busy.port), UNIX_EPOCH);
    acme.look().await;
    assert_eq!(home.problem(), "", "a time server may answer yet");
    hand.advance(TIME_COMES_WITHIN);
    acme.look().await;
    assert!(home.problem().contains("does not know the time"), "{}", home.problem());
    assert_eq!(busy.count(""), 0);
    hand.advance(built().duration_since(UNIX_EPOCH).unwrap());
    acme.look().await;
    assert_eq!(busy.count("POST /order"), 1);
    assert!(home.problem().contains("refuses the certificate"), "{}", home.problem());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_trusted_is_asked_again_soon_and_ever_later() {
    let home = Home::new();
    let stranger = Busy::start(&Authority::new(), [built(), built() + DAY]).await;
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (port, words) in [(absent, "cannot be connected to"), (stranger.port, "is not trusted")] {
        let (mut acme, hand) = home.start(home.config(port), built() + DAY);
        for pause in [60, 120, 240] {
            acme.look().await;
            assert!(home.problem().contains(words), "{}", home.problem());
            assert_eq!(acme.attempts.waits_until(acme.today()), Some(acme.today() + Duration::from_secs(pause)));
            hand.advance(Duration::from_secs(pause));
        }
    }
    let (mut acme, _) = home.start(Config { authority: Some("/no/such.pem".into()), ..home.config(1) }, built() + DAY);
    acme.look().await;
    assert!(home.problem().contains("[acme] authority = \"/no/such.pem\" is of no use"), "{}", home.problem());
}

#[tokio::test]
async fn a_server_that_took_the_order_is_not_soon_sent_another() {
    let home = Home::new();
    let busy = Busy::start(&home.authority, [built(), built() + DAY]).await;
    busy.takes_orders.store(true, Ordering::Relaxed);
    let (mut acme, hand) = home.start(home.config(busy.port), built() + DAY);
    for (orders, hours) in [(1, 1), (2, 2)] {
        acme.look().await;
        assert_eq!((busy.count("POST /order"), busy.count("POST /finalize")), (orders, orders));
        assert!(home.problem().contains("took the order but did not finish it"), "{}", home.problem());
        let pause = Duration::from_secs(hours * 3600);
        assert_eq!(acme.attempts.waits_until(acme.today()), Some(acme.today() + pause));
        hand.advance(pause);
    }
}

#[tokio::test]
async fn where_attempts_cannot_be_remembered_nobody_is_asked() {
    let home = Home::new();
    let busy = Busy::start(&home.authority, [built(), built() + DAY]).await;
    let in_the_way = home.dir.path().join(ATTEMPTS);
    std::fs::create_dir(&in_the_way).unwrap();
    let (mut acme, hand) = home.start(home.config(busy.port), built() + DAY);
    acme.look().await;
    assert_eq!(busy.count(""), 0);
    assert!(home.problem().contains("Nothing can be kept on this machine"), "{}", home.problem());
    std::fs::remove_dir(&in_the_way).unwrap();
    hand.advance(Duration::from_secs(60));
    acme.look().await;
    assert_eq!(busy.count("POST /order"), 1);
}

#[tokio::test]
async fn an_account_that_the_server_has_forgotten_is_replaced_also_when_the_email_has_changed() {
    let home = Home::new();
    let busy = Busy::start(&home.authority, [built(), built() + DAY]).await;
    let config = home.config(busy.port);
    home.start(config.clone(), built() + DAY).0.look().await;
    let (mut acme, _) = home.start(Config { email: Some("crew@studio.tv".into()), ..config }, built() + DAY);
    acme.look().await;
    assert!(home.problem().contains("too many"), "{}", home.problem());
    // A new one, the change of the address, and another new one.
    assert_eq!((busy.count("POST /account"), busy.count("POST /account/1"), busy.count("POST /order")), (3, 1, 2));
}
