//! Certificates for public names, from a real ACME server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::appliance::{Appliance, Settings, free_port};
use crate::support::pebble::{Pebble, Validation, certificate};
use crate::support::{Result, http, until, wall_micros};
use crate::turn;
use returnfeed::clock::Clock;
use returnfeed::problems::Problems;
use returnfeed::system::Store;
use returnfeed::tls;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const NAME: &str = "return.studio.test";

/// For an order, on a busy machine: the server waits for nothing, but the box polls.
const ORDERED_WITHIN: Duration = Duration::from_secs(60);

const DAY_S: u64 = 24 * 3600;

/// A box with HTTPS, and a server that looks for names on it.
struct Studio {
    appliance: Appliance,
    pebble: Pebble,
}

impl Studio {
    /// The box does not know the server yet.
    async fn open(validity_s: u64) -> Result<Self> {
        let appliance = Appliance::start(Settings { https: true, ..Settings::default() }).await?;
        let validation = Validation { http_port: appliance.http_port, tls_port: appliance.https_port, validity_s };
        Ok(Self { appliance, pebble: Pebble::start(validation).await? })
    }

    /// Starts the box again, with such settings.
    async fn order(&mut self, acme: &str) -> Result<()> {
        let pebble = &self.pebble;
        let more = format!(
            "redirect = true\n[acme]\ndirectory = \"{}\"\nauthority = \"{}\"\n{acme}",
            pebble.directory(),
            pebble.authority().display()
        );
        self.appliance.rewrite(|settings| settings.more = more)?;
        self.appliance.restart().await
    }

    /// The certificate that whoever trusts the server's authority gets under a name.
    async fn public(&self, name: &str) -> Result<Vec<u8>> {
        certificate(self.appliance.https_port, name, self.pebble.roots().await?).await
    }

    async fn until_public(&self, name: &str) -> Result<Vec<u8>> {
        let found = until("a certificate", ORDERED_WITHIN, async || self.public(name).await.ok()).await;
        found.map_err(|error| format!("{error}; pebble:\n{}", self.pebble.log()).into())
    }

    /// The text of the problem with it, if there is one.
    async fn problem(&self) -> Option<String> {
        let status = self.appliance.status().await.ok()?;
        let problems = status["problems"].as_array()?.iter();
        problems.filter(|problem| problem["code"] == "acme").find_map(|found| Some(found["text"].as_str()?.to_owned()))
    }

    fn orders(&self) -> usize {
        self.appliance.log().matches("ordering a certificate for").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_over_http_and_renewed_before_it_ends() -> Result<()> {
    let _turn = turn().await;
    let mut studio = Studio::open(30).await?;
    studio.order(&format!("names = [\"{NAME}\"]\nemail = \"crew@studio.test\"")).await?;
    let first = studio.until_public(NAME).await?;
    assert!(studio.public("other.studio.test").await.is_err(), "the box's own is for all other names");
    // The server did not follow the way to HTTPS, on which everybody else is sent.
    let url = format!("{}/.well-known/acme-challenge/unknown", studio.appliance.base());
    assert_eq!(http::get(&url).await?.status, 404, "nobody waits for that one");
    let status = studio.appliance.status().await?;
    assert_eq!(status["https"]["public"]["names"][0], NAME);
    assert!(status["https"]["public"]["valid_until"].is_string(), "{status}");
    let renewed = async || studio.public(NAME).await.ok().filter(|served| *served != first);
    until("the next certificate", ORDERED_WITHIN, renewed).await?;
    assert_eq!(studio.problem().await, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_over_tls_and_outlives_a_restart() -> Result<()> {
    let _turn = turn().await;
    let mut studio = Studio::open(90 * DAY_S).await?;
    let acme = format!("names = [\"{NAME}\", \"second.studio.test\"]\nchallenge = \"tls-alpn-01\"");
    studio.order(&acme).await?;
    let first = studio.until_public(NAME).await?;
    assert_eq!(studio.public("second.studio.test").await?, first);
    studio.appliance.restart().await?;
    assert_eq!(studio.public(NAME).await?, first, "at once");
    // Other names are another order, of the same account.
    studio.order("names = [\"second.studio.test\"]\nchallenge = \"tls-alpn-01\"").await?;
    let served = async || studio.public("second.studio.test").await.ok().filter(|served| *served != first);
    until("the next certificate", ORDERED_WITHIN, served).await?;
    assert_eq!(studio.orders(), 2);
    assert_eq!(studio.pebble.log().matches("POST /sign-me-up").count(), 1, "{}", studio.pebble.log());
    // What is secret is nobody else's, and in no log.
    let home = studio.appliance.settings_file().with_file_name("");
    for (fact, secret) in [("acme-account", "key_pkcs8"), ("acme-certificate.pem", "PRIVATE KEY")] {
        let mode = std::fs::metadata(home.join(fact))?.permissions().mode();
        let kept = std::fs::read_to_string(home.join(fact))?;
        assert!(mode & 0o777 == 0o600 && kept.contains(secret), "{fact}");
        let after = kept.split_once(secret).map_or("", |(_, after)| after);
        let key = after.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| word.len() > 20).unwrap_or("nothing");
        assert!(!studio.appliance.log().contains(key), "{fact}");
    }
    Ok(())
}

/// A program that sets records at the tests' name server, and notes what it was asked to do.
fn hook(dir: &Path, names_port: u16) -> Result<String> {
    let path = dir.join("dns-hook");
    let script = format!(
        "#!/bin/bash\nset -eu\ncd '{}'\necho \"$1 $2\" >> calls\n\
         [ ! -e broken ] || {{ echo 'no such zone' >&2; exit 1; }}\n\
         case $1 in present) ask=set-txt body=\"{{\\\"host\\\":\\\"$2\\\",\\\"value\\\":\\\"$3\\\"}}\" ;;\n\
         cleanup) ask=clear-txt body=\"{{\\\"host\\\":\\\"$2\\\"}}\" ;; esac\n\
         exec 3<>/dev/tcp/127.0.0.1/{names_port}\n\
         printf 'POST /%s HTTP/1.0\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \"$ask\" \"${{#body}}\" \"$body\" >&3\n\
         read -r answer <&3\n[[ $answer = *200* ]] || {{ echo \"$answer\" >&2; exit 1; }}\n",
        dir.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_all_names_of_a_domain_is_issued_by_records_of_dns() -> Result<()> {
    let _turn = turn().await;
    let mut studio = Studio::open(90 * DAY_S).await?;
    let dir = tempfile::tempdir()?;
    let hook = hook(dir.path(), studio.pebble.names_port())?;
    let order = format!("names = [\"*.studio.test\"]\nchallenge = \"dns-01\"\ndns_hook = \"{hook}\"\ndns_wait_s = ");
    let calls = "present _acme-challenge.studio.test.\ncleanup _acme-challenge.studio.test.\n";
    std::fs::write(dir.path().join("broken"), "")?;
    studio.order(&format!("{order}0")).await?;
    let told = until("the problem", ORDERED_WITHIN, async || studio.problem().await).await?;
    let how = "failed for _acme-challenge.studio.test.: exit status: 1; what it said is in the journal.";
    assert!(told.contains(how), "{told}");
    assert!(studio.appliance.log().contains("no such zone"), "{}", studio.appliance.log());
    assert_eq!(std::fs::read_to_string(dir.path().join("calls"))?, calls, "also after a failure");
    std::fs::remove_file(dir.path().join("broken"))?;
    studio.order(&format!("{order}1")).await?;
    studio.until_public("any.studio.test").await?;
    assert_eq!(std::fs::read_to_string(dir.path().join("calls"))?, calls.repeat(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_is_a_problem_in_words_and_no_reason_to_hammer() -> Result<()> {
    let _turn = turn().await;
    let mut studio = Studio::open(90 * DAY_S).await?;
    // Nobody listens there.
    studio.pebble.lead(NAME, "127.0.0.77").await?;
    studio.order(&format!("names = [\"{NAME}\"]")).await?;
    let told = until("the problem", ORDERED_WITHIN, async || studio.problem().await).await?;
    for words in [
        format!("could not fetch http://{NAME}/.well-known/acme-challenge/"),
        "port 80 must be forwarded to the box".into(),
        "It is tried again after ".into(),
        "the box's own certificate".into(),
    ] {
        assert!(told.contains(&words), "{told}");
    }
    assert_eq!(studio.orders(), 1);
    studio.appliance.restart().await?;
    let again = until("the problem again", ORDERED_WITHIN, async || studio.problem().await).await?;
    assert_eq!(again, told);
    assert_eq!(studio.orders(), 1, "it waits, also after a restart");
    // Whoever has changed the settings waits for nothing.
    studio.pebble.lead("mended.studio.test", "127.0.0.1").await?;
    studio.order("names = [\"mended.studio.test\"]").await?;
    studio.until_public("mended.studio.test").await?;
    until("the problem's end", ORDERED_WITHIN, async || studio.problem().await.is_none().then_some(())).await?;
    Ok(())
}

/// Everything of the box but its routes, on a clock that is moved by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_then_left_alone() -> Result<()> {
    let day = Duration::from_secs(DAY_S);
    let (dir, port) = (tempfile::tempdir()?, free_port());
    let validation = Validation { http_port: free_port(), tls_port: port, validity_s: 90 * DAY_S };
    let (pebble, problems) = (Pebble::start(validation).await?, Problems::default());
    let (clock, hand) = Clock::manual();
    hand.advance(Duration::from_micros(wall_micros()));
    let config = tls::Config {
        store: Some(Store::new(dir.path())),
        names: vec!["returnfeed.local".into()],
        addresses: Vec::new,
        own: None,
        built: clock.wall() - day,
        clock_is_set: || true,
    };
    let keeper = tls::Keeper::new(config, clock, problems.clone())?;
    let mut acme = keeper.acme(tls::acme::Config {
        names: vec![NAME.into()],
        email: None,
        method: tls::acme::Method::TlsAlpn01,
        directory: pebble.directory(),
        authority: Some(pebble.authority()),
        hook: None,
        wait: Duration::ZERO,
    });
    let (listener, acceptor) = (TcpListener::bind(("127.0.0.1", port)).await?, TlsAcceptor::from(keeper.server()?));
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(acceptor.accept(stream));
        }
    });
    let roots = pebble.roots().await?;
    let mut served = async |days: u32| -> Result<Vec<u8>> {
        hand.advance(day * days);
        acme.look().await;
        assert_eq!(problems.list(), []);
        certificate(port, NAME, roots.clone()).await
    };
    let first = served(0).await?;
    for days in [0, 1, 58] {
        assert_eq!(served(days).await?, first, "it is good for another month");
    }
    let second = served(2).await?;
    assert_ne!(second, first);
    // By this clock it is old, too, because the server has another: still nobody is asked again and again.
    for _ in 0..5 {
        assert_eq!(served(0).await?, second);
    }
    assert_ne!(served(1).await?, second);
    accepting.abort();
    Ok(())
}
