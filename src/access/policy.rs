//! What the settings say of who may do what.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::secret::Digest;
use crate::media::StreamName;

/// Who may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Viewing {
    /// Whoever is in the box's own networks; others by PIN or link.
    #[default]
    Open,
    /// Whoever has the PIN or a link.
    Pin,
    /// Whoever has a link.
    Links,
}

impl Viewing {
    /// As the settings and the API name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pin => "pin",
            Self::Links => "links",
        }
    }
}

/// What the settings say. [`Policy::default`] is what an empty file means, without a network of the box's own.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Who may watch.
    pub viewing: Viewing,
    /// What lets a viewer in.
    pub pin: Option<Secret>,
    /// The box's own networks; `None`: those of its interfaces.
    pub own_networks: Option<Vec<IpNet>>,
    /// Where senders may call from; empty: from anywhere. Likewise the other two.
    pub publish_from: Vec<IpNet>,
    /// Where viewers may watch from.
    pub view_from: Vec<IpNet>,
    /// Where the box may be administered from.
    pub administer_from: Vec<IpNet>,
    /// Whether the box may be administered over a connection that others can read.
    pub plain_administration: bool,
    /// Whether it may be only because there is no other way.
    pub for_want_of_https: bool,
    /// The port of HTTPS as browsers reach it, where it is on.
    pub https_port: Option<u16>,
    /// Origins of further pages that may do what the box's own may.
    pub origins: Vec<String>,
    /// The key for streams without one of their own.
    pub key: Option<Secret>,
    /// Keys of streams.
    pub keys: BTreeMap<StreamName, Secret>,
}

impl Policy {
    pub(super) fn key_of(&self, stream: &StreamName) -> Option<&Secret> {
        self.keys.get(stream).or(self.key.as_ref())
    }

    /// What lets a viewer in as the settings stand: no PIN where only links count.
    pub(super) fn pin(&self) -> Option<&Secret> {
        self.pin.as_ref().filter(|_| self.viewing != Viewing::Links)
    }
}

/// A secret of the settings. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    digest: Digest,
}

impl Secret {
    /// A secret, as it is written.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), digest: Digest::of(&[text]) }
    }

    /// In constant time.
    pub(super) fn is(&self, given: &str) -> bool {
        self.digest.is(&Digest::of(&[given]))
    }

    /// What a token is kept as that this secret was given for: of no use once the secret is another.
    pub(super) fn bind(&self, token: &str) -> Digest {
        Digest::of(&[token, &self.text])
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
