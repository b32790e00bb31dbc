use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use std::time::UNIX_EPOCH;

use super::*;
use crate::clock::ManualClock;

mod acme;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn built() -> SystemTime {
    UNIX_EPOCH + DAY * 20_500
}

static ADDRESSES: Mutex<Vec<IpAddr>> = Mutex::new(Vec::new());

/// A box in a directory of its own; its clock begins with 1970, as without a battery.
struct Home {
    dir: tempfile::TempDir,
    problems: Problems,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), problems: Problems::default() }
    }

    fn config(&self) -> Config {
        Config {
            store: Some(Store::new(self.dir.path())),
            names: ["returnfeed-3f2a", "returnfeed-3f2a.local", "returnfeed.local"].map(str::to_owned).into(),
            addresses: || vec!["192.168.1.20".parse().unwrap(), "fd00::20".parse().unwrap()],
            own: None,
            built: built(),
            clock_is_set: || true,
        }
    }

    fn start(&self, config: Config) -> (Keeper, ManualClock) {
        let (clock, hand) = Clock::manual();
        (Keeper::new(config, clock, self.problems.clone()).unwrap(), hand)
    }

    fn fact(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
}

/// What a client that trusts `authority` says of the certificate it is given for `name`, on that day.
async fn verified(keeper: &Keeper, name: &str, day: SystemTime) -> Result<(), String> {
    let chain = handshake(keeper, name).await;
    verify(keeper.authority(), &chain, name, day)
}

fn verify(authority: &Authority, chain: &[CertificateDer<'_>], name: &str, day: SystemTime) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone().into()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), aws_lc_rs::default_provider().into()).build();
    let now = UnixTime::since_unix_epoch(day.duration_since(UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let verified = verifier.unwrap().verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
    verified.map(drop).map_err(|error| error.to_string())
}

/// The chain that a client gets, whatever it thinks of it.
async fn handshake(keeper: &Keeper, name: &str) -> Vec<CertificateDer<'static>> {
    let (client, server) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(keeper.server().unwrap());
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(server).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), client).await.unwrap();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
    drop(serving);
    chain.into_iter().map(|certificate| certificate.into_owned()).collect()
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<tokio_rustls::rustls::client::danger::ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(tokio_rustls::rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<tokio_rustls::rustls::client::danger::HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        Ok(tokio_rustls::rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<tokio_rustls::rustls::client::danger::HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<tokio_rustls::rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn whoever_trusts_the_authority_reaches_the_box_by_each_of_its_names_and_addresses() {
    let home = Home::new();
    let (keeper, _) = home.start(home.config());
    let reached = ["returnfeed.local", "returnfeed-3f2a.local", "returnfeed-3f2a", "localhost", "192.168.1.20"];
    for name in reached.into_iter().chain(["fd00::20", "127.0.0.1", "::1"]) {
        assert_eq!(verified(&keeper, name, built()).await, Ok(()), "{name}");
    }
    for name in ["other.local", "192.168.1.21", "bank.example"] {
        assert!(verified(&keeper, name, built()).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_phone_with_a_right_clock_trusts_a_box_that_thinks_it_is_1970() {
    let home = Home::new();
    let (keeper, _) = home.start(home.config());
    for later in [1, 200, 548] {
        assert_eq!(verified(&keeper, "returnfeed.local", built() + DAY * later).await, Ok(()), "{later}");
    }
    assert!(verified(&keeper, "returnfeed.local", built() + DAY * 900).await.is_err());
}

#[test]
fn the_authority_can_speak_for_no_other_site() {
    let public = ["203.0.113.7".parse().unwrap(), "2001:db8:0:1::20".parse().unwrap()];
    let (made, text) = Signer::make("returnfeed-3f2a", &public).unwrap();
    let kept = Signer::read(&text).unwrap();
    for (name, its_own) in [
        ("returnfeed.local", true),
        ("returnfeed-3f2a", true),
        ("localhost", true),
        ("192.168.1.20", true),
        ("10.0.0.1", true),
        ("172.31.0.1", true),
        ("169.254.7.7", true),
        ("100.64.0.1", true),
        ("127.0.0.1", true),
        ("fd00::20", true),
        ("fe80::1", true),
        ("::1", true),
        ("203.0.113.7", true),
        ("2001:db8:0:1::77", true),
        ("bank.example", false),
        ("notlocal", false),
        ("xreturnfeed-3f2a", false),
        ("203.0.113.8", false),
        ("172.32.0.1", false),
        ("8.8.8.8", false),
        ("2001:db8:0:2::20", false),
        ("2606:4700::1111", false),
    ] {
        assert_eq!([made.may_name(name), kept.may_name(name)], [its_own; 2], "{name}");
        // A thief of the key does not ask.
        let issued = kept.issue(&[name.to_owned()], Validity::from(built())).unwrap();
        let chain = [CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()];
        let verified = verify(kept.authority(), &chain, name, built());
        match its_own {
            true => assert_eq!(verified, Ok(()), "{name}"),
            false => {
                assert!(verified.as_ref().is_err_and(|why| why.contains("NameConstraint")), "{name}: {verified:?}")
            }
        }
    }
}

#[test]
fn an_authority_that_phones_trust_already_stays_as_it_was_made() {
    let (_, text) = Signer::make("returnfeed-3f2a", &[]).unwrap();
    let earlier: String =
        text.lines().filter(|line| !line.starts_with("networks: ")).map(|line| format!("{line}\n")).collect();
    assert!(Signer::read(&earlier).unwrap().may_name("8.8.8.8"), "nothing was said of networks");
    assert!(!Signer::read(&text).unwrap().may_name("8.8.8.8"));
}

#[tokio::test]
async fn authority_and_certificate_outlive_a_restart_and_their_keys_are_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let (before, _) = home.start(home.config());
    let (after, _) = home.start(home.config());
    assert_eq!(before.authority(), after.authority());
    assert_eq!(handshake(&before, "returnfeed.local").await, handshake(&after, "returnfeed.local").await);
    for file in [AUTHORITY, CERTIFICATE] {
        let mode = std::fs::metadata(home.dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    std::fs::write(home.dir.path().join(CERTIFICATE), "cut off in the mid").unwrap();
    let (mended, _) = home.start(home.config());
    assert_eq!(before.authority(), mended.authority());
    assert_eq!(verified(&mended, "returnfeed.local", built()).await, Ok(()));
}

#[tokio::test]
async fn another_address_gets_a_certificate_while_the_box_runs() {
    let home = Home::new();
    *ADDRESSES.lock().unwrap() = vec!["10.0.0.1".parse().unwrap()];
    let config = Config { addresses: || ADDRESSES.lock().unwrap().clone(), ..home.config() };
    let (mut keeper, _) = home.start(config);
    assert!(verified(&keeper, "10.0.0.2", built()).await.is_err());
    let first = handshake(&keeper, "localhost").await;
    keeper.look();
    assert_eq!(handshake(&keeper, "localhost").await, first, "nothing has changed");
    *ADDRESSES.lock().unwrap() = vec!["10.0.0.2".parse().unwrap()];
    keeper.look();
    assert_eq!(verified(&keeper, "10.0.0.2", built()).await, Ok(()));
    assert!(home.fact(CERTIFICATE).contains("10.0.0.2"));
}

#[tokio::test]
async fn a_certificate_is_renewed_while_the_box_runs_and_time_is_remembered() {
    let home = Home::new();
    let (mut keeper, hand) = home.start(home.config());
    // A time server sets the clock.
    hand.advance(built().duration_since(UNIX_EPOCH).unwrap());
    let first = handshake(&keeper, "localhost").await;
    for _ in 0..400 {
        hand.advance(DAY);
        keeper.look();
    }
    assert_ne!(handshake(&keeper, "localhost").await, first);
    drop(keeper);
    let (keeper, _) = home.start(home.config());
    assert_eq!(verified(&keeper, "localhost", built() + DAY * (400 + 548)).await, Ok(()), "a start without a clock");
}

fn own(home: &Home, name: &str) -> Authority {
    let (signer, _) = Signer::make(name, &[]).unwrap();
    let issued = signer.issue(&[name.to_owned()], Validity::from(built())).unwrap();
    let (certificate, key) = issued.pem.split_at(issued.pem.find("-----BEGIN PRIVATE KEY-----").unwrap());
    std::fs::write(home.dir.path().join("own.crt"), certificate).unwrap();
    std::fs::write(home.dir.path().join("own.key"), key).unwrap();
    signer.authority().clone()
}

#[tokio::test]
async fn a_certificate_of_ones_own_that_ends_soon_is_told_until_another_takes_its_place() {
    let home = Home::new();
    let path = |file| home.dir.path().join(file);
    own(&home, "tally.example");
    let (mut keeper, hand) = home.start(Config { own: Some((path("own.crt"), path("own.key"))), ..home.config() });
    // It holds for 730 days from the day it was made.
    hand.set_wall(built() + DAY * 715);
    keeper.look();
    assert_eq!(home.problems.list(), []);
    for (day, words) in [(717, "ends in 13 days"), (730, "ends in 0 days"), (731, "has ended")] {
        hand.set_wall(built() + DAY * day);
        keeper.look();
        let problems = home.problems.list();
        assert!(problems.len() == 1 && problems[0].text.contains(words), "{problems:?}");
    }
    let (signer, _) = Signer::make("tally.example", &[]).unwrap();
    let issued = signer.issue(&["tally.example".to_owned()], Validity::from(built() + DAY * 731)).unwrap();
    let (certificate, key) = issued.pem.split_at(issued.pem.find("-----BEGIN PRIVATE KEY-----").unwrap());
    std::fs::write(path("own.key"), key).unwrap();
    std::fs::write(path("own.crt"), certificate).unwrap();
    keeper.look();
    assert_eq!(home.problems.list(), []);
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_served_under_its_name_and_read_again_when_it_changes() {
    let home = Home::new();
    let path = |file| home.dir.path().join(file);
    let config = Config { own: Some((path("own.crt"), path("own.key"))), ..home.config() };
    let (mut keeper, _) = home.start(config);
    let problem = || home.problems.list().into_iter().map(|problem| problem.text).collect::<String>();
    assert!(problem().contains("own.crt cannot be read"), "{}", problem());
    assert_eq!(verified(&keeper, "returnfeed.local", built()).await, Ok(()), "the box's own goes on");
    let authority = own(&home, "tally.example");
    keeper.look();
    assert_eq!(problem(), "");
    let chain = handshake(&keeper, "tally.example").await;
    assert_eq!(verify(&authority, &chain, "tally.example", built()), Ok(()));
    for other in ["returnfeed.local", "192.168.1.20"] {
        assert_eq!(verified(&keeper, other, built()).await, Ok(()), "{other}");
    }
    for (file, bytes, words) in
        [("own.crt", "nonsense", "is no certificate in PEM"), ("own.key", "nonsense", "is no private key in PEM")]
    {
        let good = std::fs::read(path(file)).unwrap();
        std::fs::write(path(file), bytes).unwrap();
        keeper.look();
        assert!(problem().contains(words), "{}", problem());
        assert_eq!(handshake(&keeper, "tally.example").await, chain, "the last good one stays");
        std::fs::write(path(file), good).unwrap();
    }
    let key = std::fs::read(path("own.key")).unwrap();
    let newer = own(&home, "tally.example");
    let newer_key = std::fs::read(path("own.key")).unwrap();
    std::fs::write(path("own.key"), key).unwrap();
    keeper.look();
    assert!(problem().contains("does not belong to"), "{}", problem());
    std::fs::write(path("own.key"), [&newer_key[..], b"\n"].concat()).unwrap();
    keeper.look();
    assert_eq!(problem(), "");
    assert_eq!(verify(&newer, &handshake(&keeper, "tally.example").await, "tally.example", built()), Ok(()));
}
