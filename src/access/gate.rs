//! Who is let in to what.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use super::brake::{Brake, CLOSED_FOR, Closed, Limits};
use super::ledger::{Ledger, Memory};
use super::networks::{Interfaces, Near, holds};
use super::password::Hasher;
use super::policy::{Policy, Viewing};
use super::secret::{Digest, Token, is_link_token, is_token};
use super::sources::counted_as;
use super::{AUDIT, Action, Asker, Grant, Keeps, Refusal, Request, Role, Way, is_ahead};
use crate::clock::Clock;

/// For secrets nobody guesses in a lifetime even from many addresses: 43 bits and more.
const STRONG: Limits = Limits { most_of_all: 60, longest: CLOSED_FOR, fresh_may_try: true };
/// For what a person chose. The set-up code is a way in beside it.
const CHOSEN: Limits = Limits { most_of_all: 60, longest: Duration::from_secs(600), fresh_may_try: false };
/// For a stream's key: what others guess must not keep an encoder off the air, nor its own old key for long.
const KEY: Limits = STRONG;
/// For six digits: in the end 30 guesses in ten minutes, 4320 of a million a day.
const SHORT: Limits = Limits { most_of_all: 30, longest: Duration::from_secs(600), fresh_may_try: false };

/// The policy of the box. Cheap to clone.
#[derive(Clone)]
pub struct Access(pub(super) Arc<Inner>);

/// What the gate is made of.
pub struct Parts {
    /// The box's set-up code.
    pub setup_code: String,
    /// What the settings say.
    pub policy: Policy,
    /// The networks the box is in.
    pub interfaces: Interfaces,
    /// Whether a public IPv4 network of an interface may be one that strangers share, as a hoster's is.
    pub among_strangers: bool,
    /// Where something is kept across restarts, if anywhere.
    pub memory: Option<Box<dyn Memory>>,
    /// Time.
    pub clock: Clock,
}

pub(super) struct Inner {
    pub(super) clock: Clock,
    /// `None` where nothing is left of the code, and no guess is right.
    setup_code: Option<Digest>,
    policy: RwLock<Arc<Policy>>,
    near: Near,
    pub(super) brakes: Brakes,
    pub(super) hasher: Hasher,
    ledger: Mutex<Ledger>,
    pub(super) memory: Option<Box<dyn Memory>>,
    /// Held while the ledger is written, so that an older one never follows a newer. Never taken with the ledger held.
    pub(super) saving: Mutex<()>,
}

/// A count for each kind of secret, so that a sender with a wrong key locks nobody out of the page.
pub(super) struct Brakes {
    pub(super) setup_code: Brake,
    pub(super) password: Brake,
    pub(super) pin: Brake,
    pub(super) key: Brake,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// The gate as the settings have it, with what was kept. May read a file.
    pub fn new(parts: Parts) -> Self {
        let Parts { setup_code, policy, interfaces, among_strangers, memory, clock } = parts;
        let kept = memory.as_ref().and_then(|memory| memory.read());
        let ledger = kept.map(|text| Ledger::read(&text, clock.now())).transpose();
        let ledger = ledger.unwrap_or_else(|err| {
            tracing::error!(
                line = err.line(),
                "what was kept of password and links cannot be read; set the password anew with the set-up code"
            );
            None
        });
        Self(Arc::new(Inner {
            clock,
            setup_code: Digest::of_typed(&setup_code),
            policy: RwLock::new(Arc::new(policy)),
            near: Near::new(interfaces, among_strangers),
            brakes: Brakes {
                setup_code: Brake::new(STRONG),
                password: Brake::new(CHOSEN),
                pin: Brake::new(SHORT),
                key: Brake::new(KEY),
            },
            hasher: Hasher::default(),
            ledger: Mutex::new(ledger.unwrap_or_default()),
            memory,
            saving: Mutex::default(),
        }))
    }

    /// A box with this set-up code, or one that nobody knows, on which everybody watches and sends: for tests.
    #[doc(hidden)]
    pub fn open(setup_code: Option<&str>, clock: Clock) -> Self {
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
        let policy = Policy { own_networks: Some(everywhere), plain_administration: true, ..Policy::default() };
        let setup_code = setup_code.unwrap_or_default().to_owned();
        Self::new(Parts { setup_code, policy, interfaces: || None, among_strangers: true, memory: None, clock })
    }

    /// Takes other settings. Who is let in and may not be any more [`Access::holds`] no longer.
    pub fn apply(&self, policy: Policy) {
        *self.0.policy.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(policy);
    }

    /// Asks whether the request may go on.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit(&self, request: &Request<'_>) -> Result<Grant, Refusal> {
        let by = request.by;
        let answer = match &request.action {
            Action::Act(Role::Anyone) => Ok(Grant::to_anyone()),
            Action::Act(Role::Administrator) => self.admit_administrator(by),
            Action::Act(role) => self.admit_viewer(*role, by),
            Action::Subscribe(_) => self.admit_viewer(Role::Viewer, by),
            Action::Publish(stream) => self.admit_publisher(stream, by),
            Action::Light => self.admit_light(by),
        };
        tracing::trace!(action = ?request.action, peer = ?by.from, ?answer, "asked");
        answer
    }

    /// Who asks, without anything being asked for. Guesses at nothing.
    pub fn who(&self, by: &Asker) -> Option<Grant> {
        let signed_in = self.by_password(by);
        let secret = by.secret.clone().filter(|secret| is_token(secret));
        signed_in.or_else(|| self.admit_viewer(Role::Viewer, &Asker { secret, ..by.clone() }).ok())
    }

    /// Whether somebody who was let in still would be.
    pub fn holds(&self, grant: &Grant) -> bool {
        let (policy, now) = (self.policy(), self.0.clock.now());
        let allowed = match grant.role {
            Role::Anyone => &[][..],
            Role::Viewer | Role::Director => &policy.view_from,
            Role::Administrator => &policy.administer_from,
        };
        if grant.from.is_some_and(|from| !allowed.is_empty() && !holds(allowed, from)) {
            return false;
        }
        match &grant.keeps {
            Keeps::Nothing => true,
            Keeps::Address { hidden } => {
                let by = Asker { from: grant.from, hidden: *hidden, ..Asker::default() };
                policy.viewing == Viewing::Open && self.is_still_near(&policy, &by)
            }
            Keeps::Light => {
                let by = Asker { from: grant.from, ..Asker::default() };
                may_have_lights(&policy, &by, || self.is_still_near(&policy, &by))
            }
            Keeps::Link(id) => self.ledger().link(id, now).is_some(),
            Keeps::Pin(token) => {
                let pin = policy.pin().map(|pin| pin.bind(token.expose()));
                pin.is_some_and(|digest| is_ahead(self.ledger().pins.get(&digest), now))
            }
            Keeps::Administrator(digest) => is_ahead(self.ledger().administrators.get(digest), now),
        }
    }

    /// The port of HTTPS as browsers reach it, where it is on.
    pub fn https_port(&self) -> Option<u16> {
        self.policy().https_port
    }

    /// Whether the page of this origin may do what the box's own may, as the settings say.
    pub fn trusts_origin(&self, origin: &str) -> bool {
        self.policy().origins.iter().any(|trusted| trusted.eq_ignore_ascii_case(origin))
    }

    /// Whether this is in one of the box's own networks now.
    pub fn is_in_own_networks(&self, address: IpAddr) -> bool {
        self.is_near(&self.policy(), &Asker { from: Some(address), ..Asker::default() })
    }

    fn admit_viewer(&self, role: Role, by: &Asker) -> Result<Grant, Refusal> {
        let policy = self.policy();
        if !policy.view_from.is_empty() && !holds(&policy.view_from, by.address()) {
            return Err(Refusal::NotFromHere);
        }
        let (link, ended) = self.by_link(by);
        let ways = [link, self.by_password(by), self.by_network(&policy, by), self.by_pin(&policy, by)];
        let best = ways.into_iter().flatten().max_by_key(|grant| grant.role);
        if let Some(grant) = best.clone().filter(|grant| grant.role >= role) {
            return Ok(grant);
        }
        // The set-up code opens everything. Only what could be one is taken for a guess at it.
        if by.secret.as_deref().is_some_and(|secret| !is_token(secret)) {
            return self.admit_administrator(by);
        }
        Err(match best {
            Some(_) => Refusal::MoreNeeded,
            None if ended => Refusal::LinkEnded,
            None if policy.pin().is_some() => Refusal::PinNeeded,
            None => Refusal::LinkNeeded,
        })
    }

    /// By the token of a link, and whether one was shown that holds no more.
    fn by_link(&self, by: &Asker) -> (Option<Grant>, bool) {
        let now = self.0.clock.now();
        let shown: Vec<&str> =
            [&by.secret, &by.viewer].into_iter().flatten().map(String::as_str).filter(|s| is_link_token(s)).collect();
        let ledger = self.ledger();
        let link = shown.iter().find_map(|token| ledger.link_of(token, now));
        let grant = link.map(|link| Grant {
            role: link.role,
            way: Way::Link { id: link.id.clone(), name: link.name.clone() },
            from: by.from,
            keeps: Keeps::Link(link.id.clone()),
        });
        let ended = grant.is_none() && !shown.is_empty();
        (grant, ended)
    }

    fn by_pin(&self, policy: &Policy, by: &Asker) -> Option<Grant> {
        let token = Token::shown(by.viewer.as_deref()?)?;
        let digest = policy.pin()?.bind(token.expose());
        let holds = is_ahead(self.ledger().pins.get(&digest), self.0.clock.now());
        let keeps = Keeps::Pin(token);
        holds.then_some(Grant { role: Role::Viewer, way: Way::Pin, from: by.from, keeps })
    }

    pub(super) fn by_password(&self, by: &Asker) -> Option<Grant> {
        let token = by.administrator.as_deref().filter(|token| is_token(token))?;
        self.may_administer(by).ok()?;
        let digest = Digest::of(&[token]);
        let holds = is_ahead(self.ledger().administrators.get(&digest), self.0.clock.now());
        let keeps = Keeps::Administrator(digest);
        holds.then_some(Grant { role: Role::Administrator, way: Way::Password, from: by.from, keeps })
    }

    fn by_network(&self, policy: &Policy, by: &Asker) -> Option<Grant> {
        let lets_in = policy.viewing == Viewing::Open && self.is_near(policy, by);
        let keeps = Keeps::Address { hidden: by.hidden };
        lets_in.then_some(Grant { role: Role::Director, way: Way::Network, from: by.from, keeps })
    }

    fn admit_light(&self, by: &Asker) -> Result<Grant, Refusal> {
        let policy = self.policy();
        match may_have_lights(&policy, by, || self.is_near(&policy, by)) {
            true => Ok(Grant { way: Way::Network, from: by.from, keeps: Keeps::Light, ..Grant::to_anyone() }),
            false => Err(Refusal::NotFromHere),
        }
    }

    fn admit_administrator(&self, by: &Asker) -> Result<Grant, Refusal> {
        self.may_administer(by)?;
        if let Some(grant) = self.by_password(by) {
            return Ok(grant);
        }
        // A link's token is no guess at the set-up code.
        let secret = by.secret.as_deref().filter(|secret| !is_token(secret)).ok_or(Refusal::SecretNeeded)?;
        let given = Digest::of_typed(secret);
        let is_right = || self.0.setup_code.zip(given).is_some_and(|(code, given)| code.is(&given));
        self.guess(&self.0.brakes.setup_code, "set-up code", by, Refusal::SecretWrong, is_right)?;
        Ok(Grant { role: Role::Administrator, way: Way::SetupCode, from: by.from, keeps: Keeps::Nothing })
    }

    /// Whether the box may be administered from there, over such a connection.
    pub(super) fn may_administer(&self, by: &Asker) -> Result<(), Refusal> {
        let policy = self.policy();
        if !policy.administer_from.is_empty() && !holds(&policy.administer_from, by.address()) {
            return Err(Refusal::NotFromHere);
        }
        let private = by.secure || policy.plain_administration || by.is_here();
        match policy.https_port {
            _ if private => Ok(()),
            Some(_) => Err(Refusal::Insecure),
            None => Err(Refusal::NoHttps),
        }
    }

    /// Whether the administrator could sign in from there, over such a connection.
    ///
    /// # Errors
    /// When not.
    pub fn may_sign_in_as_administrator(&self, by: &Asker) -> Result<(), Refusal> {
        self.may_administer(by)
    }

    /// Counts a guess, then makes it.
    pub(super) fn guess(
        &self,
        brake: &Brake,
        what: &str,
        by: &Asker,
        wrong: Refusal,
        is_right: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let (who, now) = (self.counted_as(by), self.0.clock.now());
        brake.begin(who, now).map_err(|Closed { left }| Refusal::LockedOut { left })?;
        match is_right() {
            true => {
                brake.right(who);
                Ok(())
            }
            false => Err(self.was_wrong(brake, what, by, wrong)),
        }
    }

    /// Writes a wrong guess to the journal; the count bounds how many there are.
    pub(super) fn was_wrong(&self, brake: &Brake, what: &str, by: &Asker, wrong: Refusal) -> Refusal {
        let (peer, who) = (by.address(), self.counted_as(by));
        match brake.wrong(who, self.0.clock.now()) {
            None => tracing::info!(target: AUDIT, %peer, "a wrong {what}"),
            Some(closed_for) => {
                let seconds = closed_for.as_secs();
                tracing::warn!(target: AUDIT, %peer, "a wrong {what}, one too many; none is taken for {seconds} s");
            }
        }
        wrong
    }

    pub(super) fn counted_as(&self, by: &Asker) -> IpAddr {
        let address = by.address();
        counted_as(address, self.is_own(address))
    }

    /// Whether an address is in one of the box's own networks.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.is_near(&self.policy(), &Asker { from: Some(address), ..Asker::default() })
    }

    /// Whether somebody who comes now is in one of the box's own networks.
    pub(super) fn is_near(&self, policy: &Policy, by: &Asker) -> bool {
        is_in(policy, by, |address| self.0.near.contains(address, self.0.clock.now()))
    }

    /// The same of somebody who was when they came.
    fn is_still_near(&self, policy: &Policy, by: &Asker) -> bool {
        is_in(policy, by, |address| self.0.near.contained(address, self.0.clock.now()))
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        self.0.policy.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn now(&self) -> Instant {
        self.0.clock.now()
    }
}

/// Whether a network light may be where this asks from.
fn may_have_lights(policy: &Policy, by: &Asker, is_near: impl FnOnce() -> bool) -> bool {
    match policy.lights_from.as_slice() {
        [] => (policy.view_from.is_empty() || holds(&policy.view_from, by.address())) && is_near(),
        networks => holds(networks, by.address()),
    }
}

/// Whether somebody is in the box's own networks: those of the settings, else those that it finds.
fn is_in(policy: &Policy, by: &Asker, found: impl FnOnce(IpAddr) -> bool) -> bool {
    let address = by.address();
    !by.hidden && policy.own_networks.as_ref().map_or_else(|| found(address), |networks| holds(networks, address))
}
