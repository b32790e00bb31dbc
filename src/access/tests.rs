use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};

const CODE: &str = "bkmqp-xrthw";
const PASSWORD: &str = "correct horse";
const NEAR: &str = "192.168.1.9";
const FAR: &str = "198.51.100.9";
const PUBLISH: fn() -> Action = || Action::Publish(StreamName::program());

/// A card that can be taken out.
#[derive(Clone, Default)]
struct Card(Arc<Mutex<(Option<String>, bool)>>);

impl Memory for Card {
    fn read(&self) -> Option<String> {
        self.0.lock().unwrap().0.clone()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut card = self.0.lock().unwrap();
        if card.1 {
            return Err(io::Error::other("read-only"));
        }
        card.0 = Some(text.to_owned());
        Ok(())
    }
}

struct Gate {
    access: Access,
    hand: ManualClock,
    card: Card,
}

impl Gate {
    fn with(policy: Policy) -> Self {
        Self::on(Card::default(), policy)
    }

    fn on(card: Card, policy: Policy) -> Self {
        let (clock, hand) = Clock::manual();
        let interfaces = || Some(vec!["192.168.1.20/24".parse().unwrap(), "fe80::1/64".parse().unwrap()]);
        let memory: Option<Box<dyn Memory>> = Some(Box::new(card.clone()));
        let setup_code = CODE.to_owned();
        let access = Access::new(Parts { setup_code, policy, interfaces, among_strangers: true, memory, clock });
        Self { access, hand, card }
    }

    /// The same box after a restart.
    fn restarted(&self, policy: Policy) -> Self {
        Self::on(self.card.clone(), policy)
    }

    fn ask(&self, action: Action, by: &Asker) -> Result<Grant, Refusal> {
        self.access.admit(&Request { action, by })
    }

    fn act(&self, role: Role, by: &Asker) -> Result<Way, Refusal> {
        self.ask(Action::Act(role), by).map(|grant| grant.way)
    }

    fn owner(&self) -> Grant {
        self.ask(Action::Act(Role::Administrator), &code(NEAR)).unwrap()
    }

    fn link(&self, role: Role, holds: Option<Duration>) -> (Link, Token) {
        self.access.make_link(&self.owner(), "Crane", role, holds).unwrap()
    }
}

fn from(address: &str) -> Asker {
    Asker { from: Some(address.parse().unwrap()), ..Asker::default() }
}

fn bearer(address: &str, secret: &str) -> Asker {
    Asker { secret: Some(secret.into()), ..from(address) }
}

fn code(address: &str) -> Asker {
    Asker { secure: true, ..bearer(address, CODE) }
}

fn viewer(address: &str, token: &Token) -> Asker {
    Asker { viewer: Some(token.expose().into()), ..from(address) }
}

fn administrator(address: &str, token: &Token) -> Asker {
    Asker { administrator: Some(token.expose().into()), secure: true, ..from(address) }
}

fn viewing(viewing: Viewing, pin: Option<&str>) -> Policy {
    Policy { viewing, pin: pin.map(Secret::new), ..Policy::default() }
}

#[test]
fn open_lets_in_who_is_near_and_nobody_else() {
    let gate = Gate::with(viewing(Viewing::Open, None));
    for near in [NEAR, "::ffff:192.168.1.9", "fe80::9", "127.0.0.1"] {
        assert_eq!(gate.act(Role::Director, &from(near)), Ok(Way::Network), "{near}");
    }
    for far in [FAR, "192.168.2.9", "2001:db8::1"] {
        assert_eq!(gate.act(Role::Viewer, &from(far)), Err(Refusal::LinkNeeded), "{far}");
        assert_eq!(gate.act(Role::Anyone, &from(far)), Ok(Way::NoneNeeded), "{far}");
        assert_eq!(gate.ask(Action::Subscribe(StreamName::program()), &from(far)), Err(Refusal::LinkNeeded));
    }
    let proxied = Asker { hidden: true, ..from(NEAR) };
    assert_eq!(gate.act(Role::Viewer, &proxied), Err(Refusal::LinkNeeded), "who stands behind an unknown proxy?");
    let own = Policy { own_networks: Some(vec!["198.51.100.0/24".parse().unwrap()]), ..Policy::default() };
    gate.access.apply(own);
    assert_eq!(gate.act(Role::Viewer, &from(FAR)), Ok(Way::Network));
    assert_eq!(gate.act(Role::Viewer, &from(NEAR)), Err(Refusal::LinkNeeded));
}

#[test]
fn a_pin_lets_a_viewer_in_until_it_is_changed() {
    let gate = Gate::with(viewing(Viewing::Pin, Some("482915")));
    assert_eq!(gate.act(Role::Viewer, &from(NEAR)), Err(Refusal::PinNeeded));
    assert_eq!(gate.access.sign_in_with_pin(&from(NEAR), "482916"), Err(Refusal::PinWrong));
    let token = gate.access.sign_in_with_pin(&from(NEAR), " 482 915").unwrap();
    let grant = gate.ask(Action::Act(Role::Viewer), &viewer(FAR, &token)).unwrap();
    assert_eq!(grant.way, Way::Pin);
    assert_eq!(gate.act(Role::Director, &viewer(FAR, &token)), Err(Refusal::MoreNeeded));
    gate.access.keep(false);
    let later = gate.restarted(viewing(Viewing::Pin, Some("482915")));
    assert_eq!(later.act(Role::Viewer, &viewer(FAR, &token)), Ok(Way::Pin), "kept across restarts");
    assert!(gate.access.holds(&grant));
    gate.access.apply(viewing(Viewing::Pin, Some("000001")));
    assert!(!gate.access.holds(&grant));
    assert_eq!(gate.act(Role::Viewer, &viewer(FAR, &token)), Err(Refusal::PinNeeded));
    later.hand.advance(PIN_HOLDS);
    assert_eq!(later.act(Role::Viewer, &viewer(FAR, &token)), Err(Refusal::PinNeeded), "it has ended");
    gate.access.apply(viewing(Viewing::Links, Some("482915")));
    assert_eq!(gate.access.sign_in_with_pin(&from(NEAR), "482915"), Err(Refusal::NoPin));
    assert_eq!(gate.act(Role::Viewer, &viewer(FAR, &token)), Err(Refusal::LinkNeeded));
}

#[test]
fn guessing_a_pin_stops_the_guesser_and_not_the_crew() {
    let gate = Gate::with(viewing(Viewing::Pin, Some("482915")));
    let crew = gate.access.sign_in_with_pin(&from("192.168.1.50"), "482915").unwrap();
    for n in 0..brake::MOST_OF_ONE {
        assert_eq!(gate.access.sign_in_with_pin(&from(NEAR), &format!("{n:06}")), Err(Refusal::PinWrong));
    }
    let locked = Refusal::LockedOut { left: brake::CLOSED_FOR };
    assert_eq!(gate.access.sign_in_with_pin(&from(NEAR), "482915"), Err(locked));
    assert!(gate.access.sign_in_with_pin(&from("192.168.1.51"), "482915").is_ok(), "of its neighbours nobody");
    assert_eq!(gate.access.summary().locked_out, 1);
    let mut guesses = 0;
    for host in 60..200 {
        guesses += usize::from(
            gate.access.sign_in_with_pin(&from(&format!("192.168.1.{host}")), "1") == Err(Refusal::PinWrong),
        );
    }
    assert!(guesses <= 30, "{guesses} guesses by 140 addresses");
    assert!(gate.access.sign_in_with_pin(&from("192.168.1.50"), "482915").is_ok(), "one that has been in");
    assert_eq!(gate.act(Role::Viewer, &viewer("192.168.1.50", &crew)), Ok(Way::Pin));
    assert!(gate.act(Role::Administrator, &code(NEAR)).is_ok(), "another secret");
}

#[test]
fn a_link_lets_its_person_in_until_it_is_revoked_or_ends() {
    for policy in [viewing(Viewing::Open, None), viewing(Viewing::Pin, Some("482915")), viewing(Viewing::Links, None)] {
        let gate = Gate::with(policy);
        let (link, token) = gate.link(Role::Viewer, Some(Duration::from_secs(60)));
        let way = Ok(Way::Link { id: link.id.clone(), name: "Crane".into() });
        assert_eq!(gate.act(Role::Viewer, &viewer(FAR, &token)), way);
        assert_eq!(gate.act(Role::Viewer, &bearer(FAR, token.expose())), way, "as a player shows it");
        assert_eq!(gate.act(Role::Director, &viewer(FAR, &token)), Err(Refusal::MoreNeeded));
        let grant = gate.ask(Action::Act(Role::Viewer), &viewer(FAR, &token)).unwrap();
        assert!(gate.access.holds(&grant));
        gate.hand.advance(Duration::from_secs(60));
        assert!(!gate.access.holds(&grant));
        assert_eq!(gate.act(Role::Viewer, &viewer(FAR, &token)), Err(Refusal::LinkEnded));
        let (link, token) = gate.link(Role::Director, None);
        assert!(gate.act(Role::Director, &viewer(FAR, &token)).is_ok());
        assert!(gate.act(Role::Administrator, &Asker { secure: true, ..viewer(FAR, &token) }).is_err());
        assert!(gate.restarted(Policy::default()).act(Role::Director, &viewer(FAR, &token)).is_ok());
        gate.access.revoke_link(&gate.owner(), &link.id).unwrap();
        assert_eq!(gate.act(Role::Viewer, &bearer(FAR, token.expose())), Err(Refusal::LinkEnded));
        assert!(gate.restarted(Policy::default()).act(Role::Director, &viewer(FAR, &token)).is_err());
        assert!(matches!(gate.access.revoke_link(&gate.owner(), &link.id), Err(NotDone::UnknownLink)));
    }
}

#[test]
fn what_was_not_kept_was_not_made_and_what_is_revoked_stays_revoked() {
    let gate = Gate::with(Policy::default());
    let (link, token) = gate.link(Role::Viewer, None);
    gate.card.0.lock().unwrap().1 = true;
    assert!(matches!(gate.access.make_link(&gate.owner(), "B", Role::Viewer, None), Err(NotDone::NotKept(_))));
    assert_eq!(gate.access.links().len(), 1);
    assert!(matches!(gate.access.set_password(&gate.owner(), PASSWORD), Err(NotDone::NotKept(_))));
    assert!(!gate.access.has_password());
    assert!(matches!(gate.access.revoke_link(&gate.owner(), &link.id), Err(NotDone::NotKept(_))));
    assert_eq!(gate.act(Role::Viewer, &viewer(FAR, &token)), Err(Refusal::LinkEnded));
}

#[test]
fn a_link_has_a_name_and_there_are_not_too_many() {
    let gate = Gate::with(Policy::default());
    for name in ["", "  ", "a\nb", &"x".repeat(LONGEST_NAME + 1)] {
        let made = gate.access.make_link(&gate.owner(), name, Role::Viewer, None);
        assert!(matches!(made, Err(NotDone::BadName)), "{name}");
    }
    let (link, _) = gate.access.make_link(&gate.owner(), " 지미집 ", Role::Administrator, None).unwrap();
    assert_eq!((link.name.as_str(), link.role), ("지미집", Role::Director));
    for _ in 1..MOST_LINKS {
        gate.link(Role::Viewer, None);
    }
    assert!(matches!(gate.access.make_link(&gate.owner(), "x", Role::Viewer, None), Err(NotDone::TooManyLinks)));
}

#[test]
fn the_administrator_sets_a_password_with_the_set_up_code_and_signs_in_with_it() {
    let gate = Gate::with(Policy::default());
    let by = Asker { secure: true, ..from(FAR) };
    assert_eq!(gate.access.sign_in_with_password(&by, PASSWORD), Err(Refusal::NoPassword));
    assert!(matches!(gate.access.set_password(&gate.owner(), "short"), Err(NotDone::WeakPassword)));
    let first = gate.access.set_password(&gate.owner(), PASSWORD).unwrap();
    assert_eq!(gate.act(Role::Administrator, &administrator(FAR, &first)), Ok(Way::Password));
    assert_eq!(gate.act(Role::Viewer, &administrator(FAR, &first)), Ok(Way::Password), "and watches");
    assert_eq!(gate.access.sign_in_with_password(&by, "wrong horse"), Err(Refusal::PasswordWrong));
    let token = gate.access.sign_in_with_password(&by, PASSWORD).unwrap();
    gate.access.sign_out(&administrator(FAR, &token));
    assert_eq!(gate.act(Role::Administrator, &administrator(FAR, &token)), Err(Refusal::SecretNeeded));
    let restarted = gate.restarted(Policy::default());
    assert!(restarted.act(Role::Administrator, &administrator(FAR, &first)).is_err(), "a restart signs out");
    assert!(restarted.access.sign_in_with_password(&by, PASSWORD).is_ok());
    let second = gate.access.set_password(&gate.owner(), "another horse").unwrap();
    assert!(gate.act(Role::Administrator, &administrator(FAR, &first)).is_err(), "a new password signs out");
    assert_eq!(gate.access.sign_in_with_password(&by, PASSWORD), Err(Refusal::PasswordWrong));
    gate.hand.advance(ADMINISTRATOR_HOLDS);
    assert!(gate.act(Role::Administrator, &administrator(FAR, &second)).is_err(), "it has ended");
}

#[test]
fn guessing_from_everywhere_keeps_the_owner_of_the_set_up_code_out_nowhere() {
    let gate = Gate::with(Policy::default());
    for host in 0..=255_u8 {
        for _ in 0..4 {
            let _ = gate.act(Role::Administrator, &bearer_securely(&format!("198.51.100.{host}"), "guess"));
        }
    }
    let refused = gate.act(Role::Administrator, &bearer_securely("198.51.100.1", CODE));
    assert!(matches!(refused, Err(Refusal::LockedOut { .. })), "{refused:?}");
    assert_eq!(gate.act(Role::Administrator, &code("203.0.113.5")), Ok(Way::SetupCode), "never seen before");
    for _ in 0..3 {
        assert_eq!(gate.act(Role::Administrator, &code("203.0.113.5")), Ok(Way::SetupCode), "and from then on");
    }
}

fn bearer_securely(address: &str, secret: &str) -> Asker {
    Asker { secure: true, ..bearer(address, secret) }
}

#[test]
fn a_neighbour_in_the_same_ipv6_network_is_not_locked_out_and_a_customer_elsewhere_is() {
    let gate = Gate::with(Policy::default());
    for _ in 0..brake::MOST_OF_ONE {
        let _ = gate.act(Role::Administrator, &bearer_securely("fe80::bad", "guess"));
        let _ = gate.act(Role::Administrator, &bearer_securely("2001:db8:1:2::bad", "guess"));
    }
    assert!(gate.act(Role::Administrator, &code("fe80::9")).is_ok());
    assert!(gate.act(Role::Administrator, &code("2001:db8:1:2::9")).is_err());
    assert!(gate.act(Role::Administrator, &code("2001:db8:1:3::9")).is_ok());
}

#[test]
fn the_box_is_administered_securely_or_from_itself() {
    let gate = Gate::with(Policy { https_port: Some(443), ..Policy::default() });
    assert_eq!(gate.act(Role::Administrator, &bearer(NEAR, CODE)), Err(Refusal::Insecure));
    assert_eq!(gate.access.sign_in_with_password(&from(NEAR), PASSWORD), Err(Refusal::Insecure));
    assert_eq!(gate.act(Role::Administrator, &code(NEAR)), Ok(Way::SetupCode));
    assert_eq!(gate.act(Role::Administrator, &bearer("127.0.0.1", CODE)), Ok(Way::SetupCode));
    let proxied = Asker { passed_on: true, ..bearer("127.0.0.1", CODE) };
    assert_eq!(gate.act(Role::Administrator, &proxied), Err(Refusal::Insecure));
    let token = gate.access.set_password(&gate.owner(), PASSWORD).unwrap();
    let plain = Asker { secure: false, ..administrator(NEAR, &token) };
    assert_eq!(gate.act(Role::Administrator, &plain), Err(Refusal::Insecure));
    assert_eq!(gate.access.who(&plain).map(|grant| grant.way), Some(Way::Network));
    gate.access.apply(Policy { plain_administration: true, ..Policy::default() });
    assert_eq!(gate.act(Role::Administrator, &bearer(NEAR, CODE)), Ok(Way::SetupCode));
}

#[test]
fn a_box_whose_https_fails_says_so_to_whoever_would_administer_it() {
    let gate = Gate::with(Policy { https_port: None, ..Policy::default() });
    let refused = gate.act(Role::Administrator, &bearer(NEAR, CODE)).unwrap_err();
    assert!(refused.to_string().contains("administration = \"lan\""), "{refused}");
    assert_eq!(gate.act(Role::Administrator, &bearer("127.0.0.1", CODE)), Ok(Way::SetupCode), "the console");
}

#[test]
fn being_on_the_machine_itself_makes_nobody_the_administrator() {
    let gate = Gate::with(Policy { plain_administration: true, ..Policy::default() });
    // A proxy on the machine that adds no header asks like this for everybody.
    for here in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(gate.act(Role::Administrator, &from(here)), Err(Refusal::SecretNeeded), "{here}");
    }
    assert_eq!(gate.act(Role::Administrator, &Asker::default()), Err(Refusal::SecretNeeded));
    assert_eq!(gate.act(Role::Administrator, &bearer("127.0.0.1", CODE)), Ok(Way::SetupCode));
}

#[test]
fn addresses_that_are_not_allowed_do_nothing_whatever_they_know() {
    let only = |network: &str| vec![network.parse().unwrap()];
    let gate = Gate::with(Policy {
        publish_from: only("10.1.0.0/16"),
        view_from: only("10.2.0.0/16"),
        administer_from: only("10.3.0.0/16"),
        own_networks: Some(only("10.0.0.0/8")),
        ..viewing(Viewing::Open, Some("482915"))
    });
    for (address, [publishes, views, administers]) in [
        ("10.1.0.1", [true, false, false]),
        ("::ffff:10.1.0.1", [true, false, false]),
        ("10.2.0.1", [false, true, false]),
        ("10.3.0.1", [false, false, true]),
        (FAR, [false, false, false]),
    ] {
        let answer = |action, by: &Asker| gate.ask(action, by).map(|_| ()).map_err(|refusal| refusal.to_string());
        let allowed = |is_allowed: bool| if is_allowed { Ok(()) } else { Err(Refusal::NotFromHere.to_string()) };
        assert_eq!(answer(PUBLISH(), &from(address)), allowed(publishes), "{address}");
        assert_eq!(answer(Action::Act(Role::Viewer), &from(address)), allowed(views), "{address}");
        assert_eq!(answer(Action::Act(Role::Administrator), &code(address)), allowed(administers), "{address}");
        assert_eq!(gate.access.sign_in_with_pin(&from(address), "482915").is_ok(), views, "{address}");
    }
}

#[test]
fn a_stream_with_a_key_is_sent_by_who_has_it() {
    let pgm = StreamName::program();
    let cam: StreamName = "cam".parse().unwrap();
    let gate = Gate::with(Policy {
        key: Some(Secret::new("key of all others")),
        keys: [(pgm.clone(), Secret::new("key of pgm"))].into(),
        ..Policy::default()
    });
    let send = |stream: &StreamName, by: &Asker| gate.ask(Action::Publish(stream.clone()), by).map(|grant| grant.way);
    assert_eq!(send(&pgm, &bearer(FAR, "key of pgm")), Ok(Way::Key));
    assert_eq!(send(&cam, &bearer(FAR, "key of all others")), Ok(Way::Key));
    assert_eq!(send(&pgm, &from(FAR)), Err(Refusal::KeyNeeded));
    assert_eq!(send(&pgm, &bearer(FAR, "key of all others")), Err(Refusal::KeyWrong));
    for _ in 1..brake::MOST_OF_ONE {
        assert_eq!(send(&cam, &bearer(FAR, "Key of all others")), Err(Refusal::KeyWrong));
    }
    assert!(matches!(send(&pgm, &bearer(FAR, "key of pgm")), Err(Refusal::LockedOut { .. })));
    assert_eq!(send(&pgm, &bearer(NEAR, "key of pgm")), Ok(Way::Key));
    gate.access.apply(Policy::default());
    assert_eq!(send(&pgm, &from(FAR)), Err(Refusal::NotNear));
    assert_eq!(send(&pgm, &from(NEAR)), Ok(Way::NoneNeeded));
}

#[test]
fn a_stream_without_a_secret_is_sent_from_the_boxs_own_networks_alone() {
    let gate = Gate::with(Policy::default());
    let cam: StreamName = "cam".parse().unwrap();
    let sends = |stream: &StreamName, from_there: &str| {
        gate.ask(Action::Publish(stream.clone()), &from(from_there)).map(|grant| grant.way)
    };
    for near in [NEAR, "127.0.0.1", "fe80::9"] {
        assert_eq!(sends(&cam, near), Ok(Way::NoneNeeded), "vMix beside the box needs no setting ({near})");
    }
    assert_eq!(sends(&cam, FAR), Err(Refusal::NotNear));
    assert_eq!(gate.access.summary().publishing, Publishing::OwnNetworks);
    gate.access.apply(Policy { encrypted: [cam.clone()].into(), ..Policy::default() });
    assert_eq!(sends(&cam, FAR), Ok(Way::NoneNeeded), "SRT has asked for the passphrase");
    assert_eq!(sends(&StreamName::program(), FAR), Err(Refusal::NotNear));
    gate.access.apply(Policy { all_encrypted: true, ..Policy::default() });
    assert_eq!(sends(&StreamName::program(), FAR), Ok(Way::NoneNeeded));
    assert_eq!(gate.access.summary().publishing, Publishing::Secret);
    gate.access.apply(Policy { publish_from: vec![FAR.parse::<IpAddr>().unwrap().into()], ..Policy::default() });
    assert_eq!((sends(&cam, FAR), sends(&cam, NEAR)), (Ok(Way::NoneNeeded), Err(Refusal::NotFromHere)));
    assert_eq!(gate.access.summary().publishing, Publishing::Listed);
}

#[test]
fn network_lights_are_in_the_boxs_own_networks_or_where_the_settings_say() {
    let gate = Gate::with(viewing(Viewing::Links, None));
    let is_let_in = |address: &str| gate.ask(Action::Light, &from(address));
    let light = is_let_in(NEAR).unwrap();
    assert!(gate.access.holds(&light) && is_let_in("127.0.0.1").is_ok());
    assert_eq!(is_let_in(FAR), Err(Refusal::NotFromHere));
    gate.access.apply(Policy { view_from: vec!["192.168.1.128/25".parse().unwrap()], ..Policy::default() });
    assert!(!gate.access.holds(&light) && is_let_in(NEAR).is_err() && is_let_in("192.168.1.200").is_ok());
    gate.access.apply(Policy { lights_from: vec!["198.51.100.0/24".parse().unwrap()], ..Policy::default() });
    assert!(!gate.access.holds(&light) && is_let_in(NEAR).is_err() && is_let_in(FAR).is_ok());
}

#[test]
fn a_sign_in_with_a_password_that_is_replaced_meanwhile_comes_to_nothing() {
    let gate = Gate::with(Policy::default());
    gate.access.set_password(&gate.owner(), PASSWORD).unwrap();
    let by = Asker { secure: true, ..from(FAR) };
    let (access, asker) = (gate.access.clone(), by.clone());
    // The old password waits to be looked at ...
    let turn = gate.access.0.hasher.hold();
    let signing_in = std::thread::spawn(move || access.sign_in_with_password(&asker, PASSWORD));
    while gate.access.0.hasher.waiting() == 0 {
        std::thread::yield_now();
    }
    // ... while another takes its place, as `set_password` does when its own hash is made.
    let other = Gate::with(Policy::default());
    other.access.set_password(&other.owner(), "another horse").unwrap();
    let newer = other.access.ledger().password.clone();
    gate.access.ledger().password = newer;
    drop(turn);
    assert_eq!(signing_in.join().unwrap(), Err(Refusal::PasswordWrong));
    assert_eq!(gate.access.ledger().administrators.len(), 1, "of the first password, which was not signed out here");
    assert!(gate.access.sign_in_with_password(&by, "another horse").is_ok());
}

#[test]
fn a_damaged_card_lets_nobody_in_who_was_not() {
    let card = Card::default();
    card.write("{\"password\":").unwrap();
    let gate = Gate::on(card, Policy::default());
    assert!(!gate.access.has_password() && gate.access.links().is_empty());
    assert_eq!(gate.act(Role::Administrator, &code(FAR)), Ok(Way::SetupCode));
}

#[test]
fn only_digests_are_kept_and_nothing_secret_is_ever_shown() {
    let gate = Gate::with(viewing(Viewing::Pin, Some("482915")));
    let (link, token) = gate.link(Role::Viewer, None);
    let pin = gate.access.sign_in_with_pin(&from(NEAR), "482915").unwrap();
    let administrator_token = gate.access.set_password(&gate.owner(), PASSWORD).unwrap();
    gate.access.keep(true);
    let asker = Asker {
        administrator: Some(administrator_token.expose().into()),
        ..Asker { secret: Some(CODE.into()), ..viewer(NEAR, &pin) }
    };
    let grant = gate.ask(Action::Act(Role::Viewer), &viewer(NEAR, &pin)).unwrap();
    let shown = format!(
        "{asker:?} {grant:?} {grant} {link:?} {token:?} {:?} {:?} {:?} {}",
        gate.access,
        gate.access.policy(),
        gate.access.summary(),
        gate.card.read().unwrap(),
    );
    for secret in [CODE, PASSWORD, "482915", token.expose(), pin.expose(), administrator_token.expose()] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
