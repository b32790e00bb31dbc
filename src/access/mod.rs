//! The gate: every publish, subscribe and command asks here first.
//!
//! Owns: the question ([`Request`]) and the answer ([`Grant`] or [`Refusal`]), the secrets by which people show who
//! they are, and what becomes of those who guess. Does not own: how a secret reached the box, nor what happens after
//! the answer. What a person does here goes to the journal under the target `audit`: who, from where, what; never a
//! secret.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::media::StreamName;

mod brake;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod ledger;
mod networks;
mod password;
mod policy;
mod publishing;
mod secret;
mod signing;
mod sources;
#[cfg(test)]
mod tests;

pub use gate::{Access, Parts};
pub use ledger::{ADMINISTRATOR_HOLDS, LONGEST_LINK, LONGEST_NAME, Link, MOST_LINKS, Memory, PIN_HOLDS};
pub use networks::Interfaces;
pub use password::{LONGEST_PASSWORD, SHORTEST_PASSWORD};
pub use policy::{Policy, Publishing, Secret, Viewing};
pub use secret::{Token, is_link_token, is_token};
pub use signing::Summary;
pub use sources::Sources;

/// After how long a wrong secret should be answered: slowly, but nothing may be held up meanwhile.
pub const WRONG_ANSWERED_AFTER: Duration = Duration::from_secs(1);

/// The target of what is written to the journal of who did what.
pub const AUDIT: &str = "audit";

/// What a caller must be to be let in. Later roles include the earlier ones' rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Asks for what is no secret: the page without its picture, whether the box is well, to be let in.
    Anyone,
    /// Watches streams and tally.
    Viewer,
    /// Sees every camera and the box's state.
    Director,
    /// Changes the box.
    Administrator,
}

impl Role {
    /// As the API and the documentation name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Viewer => "viewer",
            Self::Director => "director",
            Self::Administrator => "administrator",
        }
    }
}

/// What a caller wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a stream to the box.
    Publish(StreamName),
    /// Watch a stream.
    Subscribe(StreamName),
    /// Follow tally as a network light, which knows no secret.
    Light,
    /// Use a route or a command that needs a role.
    Act(Role),
}

/// Who asks, as far as the request shows.
#[derive(Clone, Default)]
pub struct Asker {
    /// The address the request came from; `None` for the box itself.
    pub from: Option<IpAddr>,
    /// Whether that address may only be passing the request on: it is a proxy's, or that of a browser which the page
    /// of another site makes ask.
    pub passed_on: bool,
    /// Whether somebody unknown stands behind that address: a proxy that nobody vouches for.
    pub hidden: bool,
    /// Whether nobody on the way could read it.
    pub secure: bool,
    /// A bearer token or stream key, when one was given.
    pub secret: Option<String>,
    /// The viewer's token that a browser was given.
    pub viewer: Option<String>,
    /// The administrator's token that a browser was given.
    pub administrator: Option<String>,
}

/// Secrets stay out of logs.
impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, passed_on, hidden, secure, .. } = self;
        f.debug_struct("Asker")
            .field("from", from)
            .field("passed_on", passed_on)
            .field("hidden", hidden)
            .field("secure", secure)
            .finish_non_exhaustive()
    }
}

impl Asker {
    /// As whom the box itself counts.
    fn address(&self) -> IpAddr {
        self.from.map_or(Ipv4Addr::LOCALHOST.into(), |from| from.to_canonical())
    }

    /// Whether it is a program on the machine itself, and nobody behind it; as far as can be seen, for a proxy may say
    /// nothing of whom it asks for.
    fn is_here(&self) -> bool {
        self.address().is_loopback() && !self.passed_on && !self.hidden
    }
}

/// Who asks for what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub action: Action,
    /// Who asks.
    pub by: &'a Asker,
}

/// How somebody was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// What was asked for is no secret.
    NoneNeeded,
    /// By being in one of the box's own networks.
    Network,
    /// By the PIN, with the token given for it.
    Pin,
    /// By a person's link.
    Link {
        /// Which one.
        id: String,
        /// Whose it is.
        name: String,
    },
    /// By the administrator's password.
    Password,
    /// By the box's set-up code.
    SetupCode,
    /// By a stream's key.
    Key,
}

impl Way {
    /// As the API and the journal name it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoneNeeded => "open",
            Self::Network => "network",
            Self::Pin => "pin",
            Self::Link { .. } => "link",
            Self::Password => "password",
            Self::SetupCode => "setup_code",
            Self::Key => "key",
        }
    }
}

/// Somebody was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As what.
    pub role: Role,
    /// How.
    pub way: Way,
    /// From where; `None` for the box itself.
    pub from: Option<IpAddr>,
    /// What keeps it: whose end ends this too.
    keeps: Keeps,
}

/// What a grant rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keeps {
    /// Nothing that ends.
    Nothing,
    /// The address, as it was seen.
    Address { hidden: bool },
    /// The address of a network light.
    Light,
    /// A link.
    Link(String),
    /// A sign-in by PIN; the token is hashed with the PIN of the day.
    Pin(Token),
    /// A sign-in by password.
    Administrator(secret::Digest),
}

impl Grant {
    fn to_anyone() -> Self {
        Self { role: Role::Anyone, way: Way::NoneNeeded, from: None, keeps: Keeps::Nothing }
    }
}

/// For the journal: `the administrator (password)`, `Crane 2's link`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Link { name, .. } => write!(f, "{name:?} by link"),
            way => write!(f, "the {} ({})", self.role.word(), way.word()),
        }
    }
}

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An administrator is needed, and none was shown.
    #[error(
        "this needs the administrator: sign in at /admin, or give the box's set-up code; it is in returnfeed-setup.txt on the card, elsewhere where the log says at the start"
    )]
    SecretNeeded,
    /// The secret given is none. To be answered after [`WRONG_ANSWERED_AFTER`].
    #[error(
        "this is not the box's set-up code; it is in returnfeed-setup.txt on the card, elsewhere where the log says at the start"
    )]
    SecretWrong,
    /// There were too many wrong ones; this one was not looked at.
    #[error("there were too many wrong attempts; wait, then try the right one")]
    LockedOut {
        /// When to try again.
        left: Duration,
    },
    /// Watching needs the PIN or a link.
    #[error("watching needs the PIN; whoever runs the box has it")]
    PinNeeded,
    /// Watching needs a link.
    #[error("watching needs a link of your own; whoever runs the box makes one")]
    LinkNeeded,
    /// The link shown was revoked, has ended or never was.
    #[error("this link has ended; ask whoever runs the box for a new one")]
    LinkEnded,
    /// Whoever asks is let in, but not to this.
    #[error("this needs a director's link or the administrator")]
    MoreNeeded,
    /// The PIN is another. To be answered after [`WRONG_ANSWERED_AFTER`].
    #[error("this is not the PIN")]
    PinWrong,
    /// There is no PIN.
    #[error("no PIN is set")]
    NoPin,
    /// The password is another. To be answered after [`WRONG_ANSWERED_AFTER`].
    #[error("this is not the administrator's password")]
    PasswordWrong,
    /// There is no password yet.
    #[error("no password is set yet; set one with the box's set-up code")]
    NoPassword,
    /// Too many passwords are being looked at.
    #[error("too many are signing in at once; try again")]
    Busy,
    /// The settings do not allow it from there.
    #[error("the settings do not allow this from your address")]
    NotFromHere,
    /// A sender without a secret is in no network of the box's own.
    #[error(
        "without a passphrase or key only senders in the box's own networks may send; set [srt] passphrase, or name the sender's network in [access] publish_from beside those of all other senders, as in [\"192.168.1.0/24\", \"10.20.0.0/16\"]: it takes the place of the own networks"
    )]
    NotNear,
    /// It came over a connection that others can read.
    #[error("the box is administered over HTTPS only")]
    Insecure,
    /// The same, and there is no HTTPS.
    #[error(
        "the box is administered over HTTPS only, and there is none at present: the status says why, and [access] administration = \"lan\" in the settings allows plain HTTP"
    )]
    NoHttps,
    /// A stream needs a key, and none was given.
    #[error("this stream needs a key; add it to the sender's stream ID, as in \"#!::r=pgm,m=publish,s=KEY\"")]
    KeyNeeded,
    /// The key of the stream is another.
    #[error("the stream key is wrong; set the box's key in the sender's stream ID (s=)")]
    KeyWrong,
}

impl Refusal {
    /// Whether a secret was tried that is none.
    pub fn is_wrong_guess(&self) -> bool {
        matches!(self, Self::SecretWrong | Self::PinWrong | Self::PasswordWrong | Self::KeyWrong)
    }
}

/// Why something was not done that was allowed.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The password is too short or too long.
    #[error("a password has {SHORTEST_PASSWORD} characters or more, and at most {LONGEST_PASSWORD} bytes")]
    WeakPassword,
    /// The name of a link is none.
    #[error("a name has 1 to {LONGEST_NAME} characters and no line break")]
    BadName,
    /// There are as many links as may be.
    #[error("there are {MOST_LINKS} links; revoke some that are not needed")]
    TooManyLinks,
    /// There is no such link.
    #[error("there is no such link")]
    UnknownLink,
    /// It holds until the program ends, and no longer.
    #[error("this could not be written to the card: {0}")]
    NotKept(std::io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl From<secret::NoRandomness> for NotDone {
    fn from(_: secret::NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// Whether an instant, if any, is yet to come.
fn is_ahead(ends: Option<&Instant>, now: Instant) -> bool {
    ends.is_some_and(|ends| *ends > now)
}
