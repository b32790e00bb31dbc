//! Entry points for hostile input: see `fuzz/`.

use super::ledger::Ledger;
use super::{Access, Action, Asker, Request, Role, Way, is_link_token, is_token};
use crate::clock::Clock;

/// Whatever is shown as token or code, nobody is let in by it, and nothing that is kept is made of it.
pub fn tokens(data: &[u8]) {
    let clock = Clock::manual().0;
    let text = String::from_utf8_lossy(data).into_owned();
    assert!(!is_link_token(&text) || is_token(&text));
    let access = Access::open(Some("bkmqp-xrthw"), clock.clone());
    let by = Asker {
        from: Some([192, 0, 2, 1].into()),
        secret: Some(text.clone()),
        viewer: Some(text.clone()),
        administrator: Some(text.clone()),
        ..Asker::default()
    };
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_the_code = letters.eq_ignore_ascii_case("bkmqpxrthw");
    let answer = access.admit(&Request { action: Action::Act(Role::Administrator), by: &by });
    assert_eq!(answer.is_ok(), is_the_code, "{answer:?}");
    assert_eq!(access.who(&by).map(|grant| grant.way), Some(Way::Network));
    assert!(access.link_of(&text).is_none());
    assert!(access.sign_in_with_pin(&by, &text).is_err());
    if let Ok(ledger) = Ledger::read(&text, clock.now()) {
        assert!(Ledger::read(&ledger.text(clock.now()), clock.now()).is_ok());
    }
}
