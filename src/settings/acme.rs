//! What `[acme]` means: a certificate for names that everybody trusts (RFC 8555).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate at most.
pub(super) const MOST_NAMES: usize = 20;

/// The last parts of names that are nobody's in the public DNS (RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476, and what
/// ICANN has set aside or routers use): no public CA certifies them, one of a studio's own may.
const NOT_PUBLIC: [&str; 16] = [
    "alt",
    "arpa",
    "corp",
    "example",
    "fritz.box",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "localdomain",
    "mail",
    "onion",
    "private",
    "test",
    "workgroup",
];

/// `[acme]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The names, in lower case, in the letters of the DNS (RFC 5890); at least one.
    pub names: Vec<String>,
    /// Whom the CA writes to.
    pub email: Option<String>,
    /// How the CA makes sure that the names lead here.
    pub challenge: Challenge,
    /// The CA's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// A file with the authority that has signed the CA's own web site; `None`: a public one has.
    pub authority: Option<PathBuf>,
    /// The program that sets TXT records; there with [`Challenge::Dns01`] alone.
    pub dns_hook: Option<PathBuf>,
    /// How long it takes until all of a zone's servers know what the program has set; up to an hour.
    pub dns_wait: Duration,
}

/// `[acme] challenge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// Over HTTP on port 80.
    #[default]
    Http01,
    /// Over TLS on port 443.
    TlsAlpn01,
    /// By a record in the DNS.
    Dns01,
}

impl Challenge {
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("http-01", Self::Http01), ("tls-alpn-01", Self::TlsAlpn01), ("dns-01", Self::Dns01)];
}

/// A name as the DNS has it; else what is wrong with it.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let (star, bare) = text.strip_prefix("*.").map_or(("", text), |bare| ("*.", bare));
    if bare.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err("is an address, and this is for names");
    }
    // In letters of any language (RFC 5891).
    let Ok(url::Host::Domain(name)) = url::Host::parse(bare) else { return Err("is no name") };
    if !super::values::is_host_name(&name) || name.contains('_') || name.ends_with('.') {
        return Err("is no name");
    }
    match name.rsplit_once('.') {
        None => Err("has no dot: no CA certifies it"),
        Some((_, "local")) => {
            Err("is known on its own network alone: no CA certifies it, and the box's own certificate is for it")
        }
        Some((_, "localhost")) => Err("means the machine itself"),
        Some(_) => Ok(format!("{star}{name}")),
    }
}

/// Whether the public DNS may have such a name.
pub(super) fn is_public(name: &str) -> bool {
    NOT_PUBLIC.iter().all(|last| name.strip_suffix(last).is_none_or(|rest| !rest.is_empty() && !rest.ends_with('.')))
}

/// An address of mail, as far as that can be told.
pub(super) fn email(text: &str) -> Option<String> {
    let (person, place) = text.rsplit_once('@')?;
    let plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>,;:\\\"?&#%".contains(&b));
    (plain(person) && place.contains('.') && super::values::is_host_name(place)).then(|| text.to_owned())
}

/// A directory's address.
pub(super) fn directory(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let is_plain =
        url.scheme() == "https" && url.host().is_some() && url.username().is_empty() && url.password().is_none();
    (is_plain && url.fragment().is_none()).then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_ca_may_certify() {
        for (text, is) in [
            ("return.studio.tv", "return.studio.tv"),
            ("Return.Studio.TV", "return.studio.tv"),
            ("*.studio.tv", "*.studio.tv"),
            ("방송.한국", "xn--vh3b23h.xn--3e0b707e"),
            ("box.studio.internal", "box.studio.internal"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(is), "{text}");
        }
        for wrong in [
            "",
            "studio",
            "box.local",
            "a.localhost",
            "10.0.0.1",
            "[fd00::1]",
            "fd00::1",
            "a..tv",
            "a b.tv",
            "*",
            "*.",
            "**.tv",
            "a.*.tv",
            "https://a.tv",
            "a.tv/",
            "a.tv:443",
            "a_b.tv",
            "a.tv.",
            "-a.tv",
            "1.2.3",
        ] {
            assert!(name(wrong).is_err(), "{wrong}: {:?}", name(wrong));
        }
    }

    #[test]
    fn names_of_nobody_are_not_public() {
        assert!(["return.studio.tv", "mylan.tv", "xn--3e0b707e.kr", "test.studio.tv"].into_iter().all(is_public));
        assert!(!["a.lan", "b.test", "c.home.arpa", "box.fritz.box", "x.internal"].into_iter().any(is_public));
    }

    #[test]
    fn an_email_and_a_directory_have_their_form() {
        assert!(email("crew+box@studio.tv").is_some());
        for wrong in ["studio.tv", "@studio.tv", "crew@", "a b@c.d", "a@b", "a@b.c?x", "<a@b.cd>"] {
            assert_eq!(email(wrong), None, "{wrong}");
        }
        assert_eq!(directory(LETS_ENCRYPT).as_deref(), Some(LETS_ENCRYPT));
        for wrong in ["http://a.b/dir", "a.b/dir", "https://", "https://u:p@a.b/dir", "https://a.b/dir#x"] {
            assert_eq!(directory(wrong), None, "{wrong}");
        }
    }
}
