//! Signing in and out, the administrator's password, and links. What is kept takes as long as the card takes, and a
//! password as long as its hash: to be called where waiting holds up nobody.

use std::time::Duration;

use super::brake::Closed;
use super::ledger::{LONGEST_LINK, LONGEST_NAME, Ledger, Link, MOST_LINKS};
use super::networks::holds;
use super::password::{self, Busy};
use super::policy::Publishing;
use super::secret::{Digest, Token, is_token};
use super::{AUDIT, Access, Asker, Grant, NotDone, Refusal, Role};

/// What may be told of the gate: no secret is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who may watch, as the settings name it.
    pub viewing: &'static str,
    /// Whether there is a PIN that lets viewers in.
    pub pin: bool,
    /// Whether the administrator has a password.
    pub password: bool,
    /// Links that hold.
    pub links: usize,
    /// Whether the box may be administered over a connection that others can read.
    pub plain_administration: bool,
    /// Whether it may be only because there is no other way.
    pub for_want_of_https: bool,
    /// Who may send a stream that has no secret of its own.
    pub publishing: Publishing,
    /// Addresses that are locked out now, by any kind of secret.
    pub locked_out: usize,
}

impl Access {
    /// The gate as it stands.
    pub fn summary(&self) -> Summary {
        let (policy, now) = (self.policy(), self.now());
        let ledger = self.ledger();
        let brakes = &self.0.brakes;
        let locked_out = [&brakes.setup_code, &brakes.password, &brakes.pin, &brakes.key]
            .iter()
            .map(|brake| brake.closed(now))
            .sum();
        Summary {
            viewing: policy.viewing.word(),
            pin: policy.pin().is_some(),
            password: ledger.password.is_some(),
            links: ledger.links.iter().filter(|link| ledger.link(&link.id, now).is_some()).count(),
            plain_administration: policy.plain_administration,
            for_want_of_https: policy.for_want_of_https,
            publishing: policy.publishing(),
            locked_out,
        }
    }

    /// Whether the administrator has a password.
    pub fn has_password(&self) -> bool {
        self.ledger().password.is_some()
    }

    /// Lets a viewer in by PIN.
    ///
    /// # Errors
    /// When it is another one, or nobody may try now.
    pub fn sign_in_with_pin(&self, by: &Asker, given: &str) -> Result<Token, Refusal> {
        let policy = self.policy();
        if !policy.view_from.is_empty() && !holds(&policy.view_from, by.address()) {
            return Err(Refusal::NotFromHere);
        }
        let pin = policy.pin().ok_or(Refusal::NoPin)?;
        let digits: String = given.chars().filter(|c| !c.is_whitespace()).take(16).collect();
        self.guess(&self.0.brakes.pin, "PIN", by, Refusal::PinWrong, || pin.is(&digits))?;
        let token = Token::draw().map_err(|_| Refusal::Busy)?;
        self.ledger().add_pin(pin.bind(token.expose()), self.now());
        tracing::info!(target: AUDIT, peer = %by.address(), "a viewer is let in by PIN");
        Ok(token)
    }

    /// Signs the administrator in. Takes long.
    ///
    /// # Errors
    /// When the password is another one, or nobody may try now.
    pub fn sign_in_with_password(&self, by: &Asker, given: &str) -> Result<Token, Refusal> {
        self.may_administer(by)?;
        let hash = self.ledger().password.clone().ok_or(Refusal::NoPassword)?;
        let (brake, who) = (&self.0.brakes.password, self.counted_as(by));
        let is_known = brake.knows(who);
        brake.begin(who, self.now()).map_err(|Closed { left }| Refusal::LockedOut { left })?;
        let given = if given.len() > password::LONGEST_PASSWORD { "" } else { given };
        match self.0.hasher.verify(given, &hash, is_known) {
            Ok(true) => brake.right(who),
            Ok(false) => return Err(self.was_wrong(brake, "password", by, Refusal::PasswordWrong)),
            Err(Busy) => {
                brake.not_looked_at(who);
                return Err(Refusal::Busy);
            }
        }
        let token = Token::draw().map_err(|_| Refusal::Busy)?;
        {
            let mut ledger = self.ledger();
            // Another may have been set while this one was looked at, and has ended all that rests on it.
            if ledger.password.as_ref() != Some(&hash) {
                return Err(Refusal::PasswordWrong);
            }
            ledger.add_administrator(Digest::of(&[token.expose()]), self.now());
        }
        tracing::info!(target: AUDIT, peer = %by.address(), "the administrator signed in");
        Ok(token)
    }

    /// Sets the administrator's password, which ends every sign-in with an earlier one, and signs in. `by` was let in
    /// by set-up code. Takes long.
    ///
    /// # Errors
    /// When it is none, or cannot be kept.
    pub fn set_password(&self, by: &Grant, password: &str) -> Result<Token, NotDone> {
        if !password::is_good(password) {
            return Err(NotDone::WeakPassword);
        }
        let (hash, token) = (self.0.hasher.hash(password).ok_or(NotDone::NoRandomness)?, Token::draw()?);
        self.change(|ledger| {
            ledger.administrators.clear();
            ledger.add_administrator(Digest::of(&[token.expose()]), self.now());
            let before = ledger.password.replace(hash);
            |ledger: &mut Ledger| {
                ledger.administrators.clear();
                ledger.password = before;
            }
        })?;
        tracing::warn!(target: AUDIT, peer = ?by.from, "{by} set the administrator's password");
        Ok(token)
    }

    /// Forgets the tokens that a browser shows.
    pub fn sign_out(&self, by: &Asker) {
        let pin = self.policy().pin().cloned();
        let mut ledger = self.ledger();
        if let Some(token) = by.administrator.as_deref().filter(|token| is_token(token))
            && ledger.administrators.remove(&Digest::of(&[token])).is_some()
        {
            tracing::info!(target: AUDIT, peer = %by.address(), "the administrator signed out");
        }
        if let Some((pin, token)) = pin.zip(by.viewer.as_deref().filter(|token| is_token(token))) {
            let was = ledger.pins.remove(&pin.bind(token)).is_some();
            ledger.is_dirty |= was;
        }
    }

    /// The links that hold, oldest first.
    pub fn links(&self) -> Vec<Link> {
        let mut ledger = self.ledger();
        ledger.forget_what_ended(self.now());
        ledger.links.clone()
    }

    /// Whether a token is that of a link that holds.
    pub fn link_of(&self, token: &str) -> Option<Link> {
        let shown = Some(token).filter(|token| super::is_link_token(token))?;
        self.ledger().link_of(shown, self.now()).cloned()
    }

    /// Makes a link; its token is told this once.
    ///
    /// # Errors
    /// When the name is none, there are too many, or it cannot be kept.
    pub fn make_link(
        &self,
        by: &Grant,
        name: &str,
        role: Role,
        holds: Option<Duration>,
    ) -> Result<(Link, Token), NotDone> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(NotDone::BadName);
        }
        if self.links().len() >= MOST_LINKS {
            return Err(NotDone::TooManyLinks);
        }
        let token = Token::draw_for_a_link()?;
        let id = Token::draw()?.expose().get(..12).unwrap_or_default().to_owned();
        let ends = holds.map(|holds| self.now() + holds.min(LONGEST_LINK));
        let role = role.min(Role::Director);
        let link = Link { id, name: name.to_owned(), role, ends, digest: Digest::of(&[token.expose()]) };
        self.change(|ledger| {
            let id = link.id.clone();
            ledger.links.push(link.clone());
            move |ledger: &mut Ledger| ledger.links.retain(|link| link.id != id)
        })?;
        tracing::info!(target: AUDIT, peer = ?by.from, "{by} made a {}'s link for {name:?}", role.word());
        Ok((link, token))
    }

    /// Revokes a link, at once; whoever watches by it [`Access::holds`] no longer.
    ///
    /// # Errors
    /// When there is none, or when that it is revoked cannot be kept: it is revoked until the next start then.
    pub fn revoke_link(&self, by: &Grant, id: &str) -> Result<(), NotDone> {
        let link = self.ledger().link(id, self.now()).cloned().ok_or(NotDone::UnknownLink)?;
        tracing::info!(target: AUDIT, peer = ?by.from, "{by} revoked the link of {:?}", link.name);
        self.change(|ledger| {
            ledger.links.retain(|link| link.id != id);
            |_: &mut Ledger| {}
        })
    }

    /// Keeps what is not kept yet, and with `times` also how much is left of what ends.
    pub fn keep(&self, times: bool) {
        let due = {
            let mut ledger = self.ledger();
            ledger.forget_what_ended(self.now());
            ledger.is_dirty || (times && ledger.runs_out())
        };
        if due && let Err(err) = self.save() {
            tracing::warn!(%err, "who was let in cannot be kept across restarts");
        }
    }

    /// Changes the ledger and keeps it; `change` returns how to undo it when it cannot be kept.
    fn change<U: FnOnce(&mut Ledger)>(&self, change: impl FnOnce(&mut Ledger) -> U) -> Result<(), NotDone> {
        let undo = change(&mut self.ledger());
        self.save().map_err(|err| {
            undo(&mut self.ledger());
            NotDone::NotKept(err)
        })
    }

    fn save(&self) -> std::io::Result<()> {
        let Some(memory) = &self.0.memory else { return Ok(()) };
        let _saving = self.0.saving.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let text = {
            let mut ledger = self.ledger();
            ledger.is_dirty = false;
            ledger.text(self.now())
        };
        memory.write(&text).inspect_err(|_| self.ledger().is_dirty = true)
    }
}
