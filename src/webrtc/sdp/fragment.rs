//! `application/trickle-ice-sdpfrag` (RFC 8840 §9, RFC 9725 §4.3).

use super::super::ice::Credentials;
use super::answer::{Candidates, candidate_lines};
use super::{OfferError, check_credentials};

/// Longest fragment read.
const LONGEST_FRAGMENT: usize = 16 << 10;

/// What is wrong with a fragment, in words for whoever wrote the player.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// A line that is no SDP, or too many of them.
    #[error("line {0} of the fragment is not SDP")]
    Malformed(usize),
    /// Longer than any real one.
    #[error("the fragment is too long")]
    TooLong,
    /// The credentials it is about are missing.
    #[error("the fragment lacks a=ice-ufrag and a=ice-pwd")]
    NoCredentials,
    /// Credentials out of the allowed range, or differing between sections.
    #[error("the fragment's credentials are not valid")]
    Credentials,
}

/// A fragment: whose candidates or which restart it is about. The candidates themselves are of no
/// use to a lite agent and are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The peer's credentials, current or new.
    pub credentials: Credentials,
    /// How many candidates it lists.
    pub candidates: usize,
    /// The m-line and identification of its first section, to be repeated in an answer.
    section: Option<(String, Option<String>)>,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// Says which line or part is wrong.
    pub fn parse(text: &str) -> Result<Self, FragmentError> {
        if text.len() > LONGEST_FRAGMENT {
            return Err(FragmentError::TooLong);
        }
        let (mut ufrag, mut password) = (None, None);
        let mut candidates = 0;
        let mut section: Option<(String, Option<String>)> = None;
        for (n, line) in text.lines().map(str::trim_end).enumerate() {
            if line.is_empty() {
                continue;
            }
            let malformed = FragmentError::Malformed(n + 1);
            if line.chars().any(char::is_control) {
                return Err(malformed);
            }
            let Some((kind, value)) = line.split_once('=') else { return Err(malformed) };
            let (name, value) = match kind {
                "m" => {
                    if section.is_none() {
                        section = Some((value.to_owned(), None));
                    }
                    continue;
                }
                "a" => value.split_once(':').unwrap_or((value, "")),
                _ if kind.len() == 1 && kind.chars().all(|c| c.is_ascii_lowercase()) => continue,
                _ => return Err(malformed),
            };
            match name {
                "ice-ufrag" => same(&mut ufrag, value)?,
                "ice-pwd" => same(&mut password, value)?,
                "candidate" => candidates += 1,
                "mid" => {
                    if let Some((_, mid @ None)) = &mut section {
                        *mid = Some(value.to_owned());
                    }
                }
                _ => {}
            }
        }
        let (Some(ufrag), Some(password)) = (ufrag, password) else { return Err(FragmentError::NoCredentials) };
        let credentials = Credentials { ufrag, password };
        check_credentials(&credentials).map_err(|_: OfferError| FragmentError::Credentials)?;
        Ok(Self { credentials, candidates, section })
    }
}

/// All sections of a bundled session have the same credentials.
fn same(known: &mut Option<String>, value: &str) -> Result<(), FragmentError> {
    match known {
        Some(known) if known != value => Err(FragmentError::Credentials),
        Some(_) => Ok(()),
        None => {
            *known = Some(value.to_owned());
            Ok(())
        }
    }
}

/// The fragment that answers a restart: the box's new credentials and its candidates.
pub fn restart_answer(request: &Fragment, credentials: &Credentials, candidates: Candidates<'_>) -> String {
    let mut out = String::from("a=ice-lite\r\n");
    let credentials = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", credentials.ufrag, credentials.password);
    if let Some((media, mid)) = &request.section {
        out.push_str(&format!("m={media}\r\n"));
        if let Some(mid) = mid {
            out.push_str(&format!("a=mid:{mid}\r\n"));
        }
    }
    out.push_str(&credentials);
    candidate_lines(&mut out, candidates);
    out
}
