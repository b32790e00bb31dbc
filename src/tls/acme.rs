//! A certificate for public names, by ACME (RFC 8555): ordered, kept, renewed, and served under those names.
//!
//! Owns: when an order is due, the account, the challenges while the server looks. Does not own: which certificate a
//! connection gets (`served`), nor the answer to `/.well-known/acme-challenge/` (`http`, which asks [`Public`]).
//! `docs/decisions/0011-public-names-by-acme.md` has the reasons.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::{Account, CertificateIdentifier, NewAccount};
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::crypto::CryptoProvider;

use super::authority::hexadecimal;
use super::calendar::Calendar;
use super::dates;
use super::served::{Served, is_for};
use crate::clock::Clock;
use crate::problems::{Problem, Problems};
use crate::system::Store;
use challenges::Challenges;
use client::Client;
use kept::Certificate;
use order::Orders;
use schedule::{Attempts, Failure, Window, ask_again, renewal};
use trouble::{Trouble, host, tame};

pub(super) mod challenges;
mod client;
mod hook;
mod kept;
mod order;
mod schedule;
#[cfg(test)]
mod tests;
mod trouble;

/// Under which names these are kept. The first two hold keys.
const ACCOUNT: &str = "acme-account";
const CERTIFICATE: &str = "acme-certificate.pem";
const ATTEMPTS: &str = "acme-attempts";

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When the server is first asked when to renew: a program that ends at once asks for nothing.
const FIRST_ASKED_AFTER: Duration = Duration::from_secs(60);

/// For how long the time may be unknown before that is a problem: a time server is asked as soon as there is a network.
const TIME_COMES_WITHIN: Duration = Duration::from_secs(300);

/// The code of the problem.
const PROBLEM: &str = "acme";

/// How the server makes sure that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It fetches a file over HTTP, on port 80 (RFC 8555 §8.3).
    Http01,
    /// It connects by TLS, on port 443 (RFC 8737).
    TlsAlpn01,
    /// It looks up a TXT record, which a program sets (RFC 8555 §8.4).
    Dns01,
}

impl Method {
    /// The challenge's name (RFC 8555 §9.7.8).
    pub fn word(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// What is ordered, from whom, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The names, in lower case; at least one.
    pub names: Vec<String>,
    /// Whom the server writes to when something is wrong.
    pub email: Option<String>,
    /// How the names are confirmed.
    pub method: Method,
    /// The server's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// A file with the authority that the server's own certificate is signed by; `None`: a public one.
    pub authority: Option<PathBuf>,
    /// The program that sets TXT records, for [`Method::Dns01`].
    pub hook: Option<PathBuf>,
    /// For how long name servers tell one another what the hook has set.
    pub wait: Duration,
}

impl Config {
    /// The same for the same settings.
    fn fingerprint(&self) -> String {
        hexadecimal(digest(&SHA256, format!("{self:?}").as_bytes()).as_ref())
    }
}

/// What others know of it. Cheap to clone; every clone knows the same.
#[derive(Clone, Debug)]
pub struct Public {
    names: Arc<[String]>,
    valid_until: Arc<Mutex<Option<SystemTime>>>,
    challenges: Challenges,
}

impl Public {
    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Until when the certificate that is served under them holds; none while there is none.
    pub fn valid_until(&self) -> Option<SystemTime> {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an ACME server is told that asks for a token (RFC 8555 §8.3); none while nobody waits for it.
    pub fn answer(&self, token: &str) -> Option<String> {
        self.challenges.answer(token)
    }

    /// One for a test: a name, and a token that is waited for.
    #[cfg(test)]
    pub(crate) fn awaiting(name: &str, token: &str, answer: &str) -> Self {
        let challenges = Challenges::default();
        challenges.expect_token(token.to_owned(), answer.to_owned());
        Self { names: Arc::new([name.to_owned()]), valid_until: Arc::default(), challenges }
    }

    /// One for a test: names with a certificate that holds until 20 February 2026.
    #[cfg(test)]
    pub(crate) fn holding(names: &[&str]) -> Self {
        let valid_until = SystemTime::UNIX_EPOCH + Duration::from_secs(20_504 * 24 * 3600);
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            valid_until: Arc::new(Mutex::new(Some(valid_until))),
            challenges: Challenges::default(),
        }
    }

    fn hold(&self, certificate: &Certificate) {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.validity.ends);
    }
}

/// What of the certificates' keeper it works with.
pub(super) struct Parts {
    pub(super) store: Option<Store>,
    pub(super) clock: Clock,
    pub(super) calendar: Calendar,
    pub(super) problems: Problems,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) served: Arc<Served>,
}

/// When the server suggests to renew, as far as it was asked.
struct Suggestion {
    /// Whether it has such suggestions at all.
    offered: bool,
    window: Option<Window>,
    ask_at: Instant,
}

/// Keeps the public names of a running box certified.
pub struct Acme {
    config: Config,
    parts: Parts,
    public: Public,
    account: Option<kept::Account>,
    certificate: Option<Certificate>,
    attempts: Attempts,
    suggestion: Suggestion,
    /// Which part of the time that a server suggests is this box's, 0 to 1.
    fraction: f64,
    started: Instant,
}

impl Acme {
    /// Serves what was kept. Nothing is asked of anybody before [`Acme::look`].
    pub(super) fn new(config: Config, parts: Parts) -> Self {
        let kept = |fact| parts.store.as_ref().and_then(|store| store.read(fact));
        let certificate = kept(CERTIFICATE).and_then(|text| Certificate::read(&text));
        let settings = config.fingerprint();
        let attempts = kept(ATTEMPTS).and_then(|text| Attempts::read(&text, &settings));
        let mut byte = [0];
        // Without randomness a box is as good as any other.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        let started = parts.clock.now();
        let challenges = parts.served.challenges().clone();
        let mut acme = Self {
            public: Public { names: config.names.clone().into(), valid_until: Arc::default(), challenges },
            account: kept(ACCOUNT).and_then(|text| kept::Account::read(&text)),
            certificate: None,
            attempts: attempts.unwrap_or_else(|| Attempts::none(settings)),
            suggestion: Suggestion { offered: false, window: None, ask_at: started + FIRST_ASKED_AFTER },
            fraction: f64::from(byte[0]) / 255.0,
            started,
            config,
            parts,
        };
        if let Some(certificate) = certificate
            && let Err(trouble) = acme.serve(certificate)
        {
            tracing::warn!("the certificate that was kept is not served: {}", trouble.words(&acme.config));
        }
        acme
    }

    /// What others may know.
    pub fn public(&self) -> Public {
        self.public.clone()
    }

    /// Keeps at it until it is aborted.
    pub async fn run(mut self) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.look().await;
        }
    }

    /// Does what is due, if anything is.
    pub async fn look(&mut self) {
        let now = self.today();
        // Certificates of others are judged by a clock that is right, not by the best guess.
        if !self.parts.calendar.is_known() {
            self.wait_for_the_time(now);
            return;
        }
        if self.is_due(now) {
            match self.attempts.waits_until(now) {
                None => self.attempt(now).await,
                Some(until) if self.attempts.have_failed() => self.say_what_is_wrong(until),
                Some(_) => {}
            }
        } else {
            self.parts.problems.clear(PROBLEM, self.subject());
            self.ask_when_to_renew().await;
        }
    }

    fn today(&self) -> SystemTime {
        self.parts.calendar.today()
    }

    fn wait_for_the_time(&self, today: SystemTime) {
        let waited = self.parts.clock.now().saturating_duration_since(self.started);
        if waited >= TIME_COMES_WITHIN && self.is_due(today) {
            let text = format!(
                "The box does not know the time, and without it can order no certificate for {}. Connect it to a network \
                 with a time server.",
                self.config.names.join(", ")
            );
            self.raise(text);
        }
    }

    fn is_due(&self, now: SystemTime) -> bool {
        let of_these = |certificate: &&Certificate| certificate.is_of(&self.config.directory, &self.config.names);
        self.certificate
            .as_ref()
            .filter(of_these)
            .is_none_or(|held| now >= renewal(held.validity, self.suggestion.window, self.fraction))
    }

    async fn attempt(&mut self, now: SystemTime) {
        self.attempts.begin(now);
        // Whoever forgets its attempts with every restart makes no pauses.
        if let Err(trouble) = self.keep_attempts() {
            self.attempts.trouble = Some(trouble.words(&self.config));
            self.attempts.fail(now, Failure::Unreachable, None);
            return self.say_what_is_wrong(self.attempts.waits_until(now).unwrap_or(now));
        }
        let names = self.config.names.join(", ");
        tracing::info!("ordering a certificate for {names} from {}", host(&self.config.directory));
        let client =
            Client::new(self.config.authority.as_deref(), self.parts.provider.clone(), self.parts.clock.clone());
        let ordered = match &client {
            Ok(client) => self.order(client, now).await,
            Err(trouble) => Err(trouble.clone()),
        };
        // It may have taken minutes.
        let now = self.today();
        match ordered {
            Ok(validity) => {
                self.attempts.succeed(now, validity);
                self.parts.problems.clear(PROBLEM, self.subject());
                tracing::info!("HTTPS has a certificate for {names} until {}", date(validity.ends));
            }
            Err(trouble) => {
                let asked_to_wait = client.ok().and_then(|client| client.asked_to_wait());
                self.attempts.trouble = Some(trouble.words(&self.config));
                self.attempts.fail(now, trouble.failure(), asked_to_wait);
                self.say_what_is_wrong(self.attempts.waits_until(now).unwrap_or(now));
            }
        }
        if let Err(trouble) = self.keep_attempts() {
            tracing::warn!("how the order ended is not remembered: {}", trouble.words(&self.config));
        }
    }

    async fn order(&mut self, client: &Client, now: SystemTime) -> Result<dates::Validity, Trouble> {
        let obtained = match self.obtain(client).await {
            // The server has forgotten it, or it was given up.
            Err(Trouble::NoAccount) if self.account.take().is_some() => self.obtain(client).await,
            other => other,
        };
        let Config { directory, names, .. } = &self.config;
        let certificate = Certificate::new(directory.clone(), names.clone(), obtained?)?;
        let (validity, text) = (certificate.validity, certificate.text());
        if validity.ends <= now {
            return Err(Trouble::Unfit("it has expired already"));
        }
        self.serve(certificate)?;
        if let Some(Err(err)) = self.parts.store.as_ref().map(|store| store.write_private(CERTIFICATE, &text)) {
            tracing::warn!(%err, "the certificate of the public names is ordered anew at the next start");
        }
        // The time that was suggested was the last one's.
        let ask_at = self.parts.clock.now() + FIRST_ASKED_AFTER;
        self.suggestion = Suggestion { window: None, ask_at, ..self.suggestion };
        Ok(validity)
    }

    async fn obtain(&mut self, client: &Client) -> Result<String, Trouble> {
        let account = self.account(client).await?;
        let (config, provider) = (&self.config, &self.parts.provider);
        let orders = Orders { config, provider, challenges: self.parts.served.challenges() };
        orders.obtain(&account, self.replaced()).await
    }

    /// What an order replaces, where the server wants to know.
    fn replaced(&self) -> Option<CertificateIdentifier<'static>> {
        let known = self.suggestion.offered;
        self.certificate.as_ref().filter(|held| known && held.directory == self.config.directory)?.identifier()
    }

    /// The account at the server: the one that is kept, or a new one. That its terms are agreed to is in the settings.
    async fn account(&mut self, client: &Client) -> Result<Account, Trouble> {
        let Config { directory, email, .. } = &self.config;
        let contact = email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<_> = contact.as_deref().into_iter().collect();
        let http = || Account::builder_with_http(Box::new(client.clone()));
        let kept = self.account.as_ref().filter(|kept| kept.directory == *directory);
        let (account, to_keep) = match kept.and_then(|kept| Some((kept, kept.credentials()?))) {
            Some((kept, credentials)) => {
                let account = http().from_credentials(credentials).await?;
                if kept.email == *email {
                    return Ok(account);
                }
                account.update_contacts(&contact).await?;
                (account, kept.with_email(email.clone()))
            }
            None => {
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let (account, credentials) = http().create(&new, directory.clone(), None).await?;
                (account, kept::Account::new(directory.clone(), email.clone(), &credentials))
            }
        };
        if let Some(store) = &self.parts.store {
            // Another account at every start would soon be one too many for the server.
            store.write_private(ACCOUNT, &to_keep.text()).map_err(|error| Trouble::NotKept(error.to_string()))?;
        }
        self.account = Some(to_keep);
        Ok(account)
    }

    /// Serves a certificate under the names it is for.
    fn serve(&mut self, certificate: Certificate) -> Result<(), Trouble> {
        let key = Arc::new(certificate.key(&self.parts.provider)?);
        let is_for_all = certificate.names.iter().all(|name| is_for(&key, &name.replace('*', "any")));
        if !is_for_all {
            return Err(Trouble::Unfit("it is not for the names that were ordered"));
        }
        self.parts.served.public(key);
        if certificate.is_of(&self.config.directory, &self.config.names) {
            self.public.hold(&certificate);
        }
        self.certificate = Some(certificate);
        Ok(())
    }

    /// Asks the server when to renew, where it has an opinion on that (RFC 9773).
    async fn ask_when_to_renew(&mut self) {
        let Some(identifier) = self.certificate.as_ref().and_then(Certificate::identifier) else { return };
        if self.parts.clock.now() < self.suggestion.ask_at {
            return;
        }
        let asked = self.suggested(&identifier).await;
        let now = self.parts.clock.now();
        let after = match asked {
            Ok((window, after)) => {
                self.suggestion.offered = true;
                self.suggestion.window = window;
                Some(after)
            }
            // What it said before still stands.
            Err(trouble) => {
                tracing::debug!("when to renew was not told: {}", trouble.words(&self.config));
                None
            }
        };
        self.suggestion.ask_at = now + ask_again(after);
    }

    async fn suggested(
        &mut self,
        identifier: &CertificateIdentifier<'static>,
    ) -> Result<(Option<Window>, Duration), Trouble> {
        let client =
            Client::new(self.config.authority.as_deref(), self.parts.provider.clone(), self.parts.clock.clone())?;
        let account = self.account(&client).await?;
        let (info, after) = account.renewal_info(identifier).await?;
        let window = Window { start: info.suggested_window.start.into(), end: info.suggested_window.end.into() };
        // A window that ends before it begins says nothing (RFC 9773 §4.2).
        let window = (window.start < window.end).then_some(window);
        if let Some(explanation) = info.explanation_url.filter(|_| window != self.suggestion.window) {
            tracing::info!("the ACME server explains when to renew: {}", tame(&explanation));
        }
        Ok((window, after))
    }

    fn keep_attempts(&self) -> Result<(), Trouble> {
        let Some(store) = &self.parts.store else { return Ok(()) };
        store.write(ATTEMPTS, &self.attempts.text()).map_err(|error| Trouble::NotKept(error.to_string()))
    }

    fn say_what_is_wrong(&self, until: SystemTime) {
        let trouble = self.attempts.trouble.as_deref().unwrap_or("The program ended while a certificate was ordered.");
        let held = match self.public.valid_until() {
            Some(ends) => format!("The present certificate holds until {}.", date(ends)),
            None => format!("Meanwhile {} has the box's own certificate, which few trust.", self.subject()),
        };
        self.raise(format!("{trouble} It is tried again after {}. {held}", date(until)));
    }

    fn raise(&self, text: String) {
        self.parts.problems.raise(Problem { code: PROBLEM, subject: self.subject().to_owned(), text });
    }

    fn subject(&self) -> &str {
        self.config.names.first().map_or("", String::as_str)
    }
}

/// For people, to the minute.
fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    format!("{year}-{:02}-{day:02} {:02}:{:02} UTC", u8::from(month), time.hour(), time.minute())
}
