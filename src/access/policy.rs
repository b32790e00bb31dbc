//! What the settings say of who may do what.

use std::collections::{BTreeMap, BTreeSet};

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

/// Who may send a stream that has no secret of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// Whoever knows a passphrase or key.
    Secret,
    /// Whoever calls from the networks of the settings.
    Listed,
    /// Whoever is in the box's own networks.
    OwnNetworks,
}

impl Publishing {
    /// As the API names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Listed => "listed",
            Self::OwnNetworks => "own_networks",
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
    /// Where senders may call from; empty: from anywhere with a secret, from the own networks without.
    pub publish_from: Vec<IpNet>,
    /// Where viewers may watch from; empty: from anywhere. Likewise the next.
    pub view_from: Vec<IpNet>,
    /// Where the box may be administered from.
    pub administer_from: Vec<IpNet>,
    /// Where network lights may call from; empty: from the own networks, as far as viewers may.
    pub lights_from: Vec<IpNet>,
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
    /// Whether SRT asks a passphrase of every sender.
    pub all_encrypted: bool,
    /// Streams of which it asks their own.
    pub encrypted: BTreeSet<StreamName>,
}

impl Policy {
    pub(super) fn key_of(&self, stream: &StreamName) -> Option<&Secret> {
        self.keys.get(stream).or(self.key.as_ref())
    }

    /// Whether whoever sends a stream must know a secret.
    pub(super) fn guards(&self, stream: &StreamName) -> bool {
        self.all_encrypted || self.encrypted.contains(stream) || self.key_of(stream).is_some()
    }

    /// Who may send a stream that the settings do not name.
    pub(super) fn publishing(&self) -> Publishing {
        match self.all_encrypted || self.key.is_some() {
            true => Publishing::Secret,
            false if !self.publish_from.is_empty() => Publishing::Listed,
            false => Publishing::OwnNetworks,
        }
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
