//! Why there is no certificate, in words for whoever can mend it. Pure.

use std::path::PathBuf;

use super::schedule::Failure;
use super::{Config, Method};

/// What is shown of a text that somebody else wrote, in characters.
const MOST_SHOWN: usize = 300;

/// What went wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server was not reached, or does not speak ACME.
    Unreachable(String),
    /// The file with the server's own authority is of no use.
    Authority(PathBuf, String),
    /// The server took the order, and then there was no sense in what it said, or it said nothing.
    Unfinished(String),
    /// The server refused; its words.
    Refused(String),
    /// The server does not know this account any more.
    NoAccount,
    /// The server could not make sure that the name is ours; its words.
    NotConfirmed(String, String),
    /// The server does not offer the challenge for this name.
    NotOffered(String),
    /// The hook failed for this record; how. What it said may hold what is secret, and is in the journal alone.
    Hook(String, String),
    /// It took too long.
    TooLong,
    /// What was issued is not what was ordered.
    Unfit(&'static str),
    /// A key or a certificate cannot be made here.
    NotMade(String),
    /// What is kept cannot be written.
    NotKept(String),
}

impl Trouble {
    /// The same once there is an order: it may have brought a certificate that was never seen, and the next one counts.
    pub(super) fn of_an_order(self) -> Self {
        match self {
            Self::Unreachable(error) => Self::Unfinished(error),
            Self::NoAccount => Self::Unfinished("it does not know the account any more".into()),
            other => other,
        }
    }

    /// How soon to try again.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Unreachable(_) | Self::Authority(..) => Failure::Unreachable,
            _ => Failure::Refused,
        }
    }

    /// One or two sentences: what is wrong, and what to do.
    pub(super) fn words(&self, config: &Config) -> String {
        let server = host(&config.directory);
        match self {
            Self::Unreachable(error) => format!(
                "The ACME server {server} cannot be reached: {}. The box needs a way to the internet and a name server.",
                tame(error)
            ),
            Self::Authority(path, error) => {
                format!("[acme] authority = \"{}\" is of no use: {}.", path.display(), tame(error))
            }
            Self::Unfinished(error) => format!("{server} took the order but did not finish it: {}", sentence(error)),
            Self::Refused(words) => format!("{server} refuses the certificate: {}", sentence(words)),
            Self::NoAccount => format!("{server} knows neither the box's account nor gives it a new one."),
            Self::NotConfirmed(name, words) => {
                let bare = name.trim_start_matches("*.");
                let what = match config.method {
                    Method::Http01 => format!(
                        "could not fetch http://{bare}/.well-known/acme-challenge/…: the name must lead to this network, \
                         and port 80 must be forwarded to the box"
                    ),
                    Method::TlsAlpn01 => format!(
                        "could not reach {bare} on port 443: the name must lead to this network, and port 443 must be \
                         forwarded to the box, with nothing in between that ends TLS"
                    ),
                    Method::Dns01 => format!(
                        "did not find the TXT record _acme-challenge.{bare}: the hook must set it, and dns_wait_s must be \
                         long enough for all name servers to have it"
                    ),
                };
                format!("{server} {what}. It says: {}", sentence(words))
            }
            Self::NotOffered(name) => format!(
                "{server} does not offer {} for {name}; choose another `challenge` in [acme].",
                config.method.word()
            ),
            Self::Hook(record, how) => {
                let hook = config.hook.as_ref().map(|hook| hook.display().to_string()).unwrap_or_default();
                format!("The hook {hook} failed for {record}: {}", sentence(how))
            }
            Self::TooLong => format!("{server} did not decide in time."),
            Self::Unfit(what) => format!("What {server} issued is of no use: {what}."),
            Self::NotMade(error) => format!("This machine can make no key: {}.", tame(error)),
            Self::NotKept(error) => format!("Nothing can be kept on this machine: {}.", tame(error)),
        }
    }
}

/// The server as people know it: the host of its directory.
pub(super) fn host(directory: &str) -> &str {
    let rest = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// Somebody else's text as it may be shown: bounded, in one line, without control characters.
pub(super) fn tame(text: &str) -> String {
    let mut words = String::new();
    // Of a text without end no more is looked at than can be shown.
    for word in text
        .chars()
        .take(4 * MOST_SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .split_whitespace()
    {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    match words.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

fn sentence(text: &str) -> String {
    let tamed = tame(text);
    let ends = tamed.ends_with(['.', '!', '?', '…']);
    format!("{}{}", if tamed.is_empty() { "nothing" } else { &tamed }, if ends { "" } else { "." })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(method: Method) -> Config {
        Config {
            names: vec!["return.studio.tv".into()],
            email: None,
            method,
            directory: "https://acme.example:14000/dir".into(),
            authority: None,
            hook: Some("/usr/local/bin/dns".into()),
            wait: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn whoever_reads_it_knows_what_to_do() {
        let not_confirmed = Trouble::NotConfirmed("*.studio.tv".into(), "Timeout\r\n during connect".into());
        for (trouble, method, words) in [
            (
                &not_confirmed,
                Method::Http01,
                "acme.example:14000 could not fetch http://studio.tv/.well-known/acme-challenge/",
            ),
            (&not_confirmed, Method::Http01, "port 80 must be forwarded to the box. It says: Timeout during connect."),
            (&not_confirmed, Method::TlsAlpn01, "port 443 must be forwarded"),
            (&not_confirmed, Method::Dns01, "TXT record _acme-challenge.studio.tv"),
            (&Trouble::Refused("too many certificates already issued.".into()), Method::Http01, "already issued."),
            (&Trouble::NotOffered("a.b".into()), Method::Dns01, "does not offer dns-01 for a.b"),
            (
                &Trouble::Hook("_acme-challenge.a.b.".into(), "exit status: 3".into()),
                Method::Dns01,
                "/usr/local/bin/dns failed for _acme-challenge.a.b.: exit status: 3.",
            ),
        ] {
            let said = trouble.words(&config(method));
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_shown_tamed() {
        assert_eq!(tame("a\u{1b}[31m b\n\nc\0"), "a [31m b c");
        let long = tame(&"여".repeat(10_000));
        assert_eq!((long.chars().count(), long.chars().last()), (301, Some('…')));
    }
}
