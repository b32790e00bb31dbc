//! What vMix said, word for word, for lights that speak its protocol.
//!
//! Owns: the newest line, document and version as vMix put them. Does not own: what they mean (`state`) and who is told
//! (`relay`). There is nothing while vMix is not heard: an old word would keep a lamp on red.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use super::Tally;

/// The words of a vMix that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verbatim {
    /// `TALLY OK 0121…` with its line end.
    pub line: Bytes,
    /// Its document, without a line end; `None` until it gave one.
    pub document: Option<Bytes>,
    /// Its version, if it told one.
    pub version: Option<Arc<str>>,
    /// When it last told its tally, on the monotonic clock.
    pub heard: Instant,
}

/// A reading half; `None` while tally is unknown. Only another line, and the change to or from `None`, wakes a reader.
pub type Words = watch::Receiver<Option<Arc<Verbatim>>>;

/// The writing half.
#[derive(Debug)]
pub(super) struct Mouth {
    words: watch::Sender<Option<Arc<Verbatim>>>,
    document: Option<Bytes>,
    version: Option<Arc<str>>,
}

impl Mouth {
    pub(super) fn new() -> Self {
        Self { words: watch::Sender::new(None), document: None, version: None }
    }

    pub(super) fn words(&self) -> Words {
        self.words.subscribe()
    }

    /// What its tally line said. One with a digit that nobody knows is passed on to nobody.
    pub(super) fn tally(&mut self, now: Instant, tally: &[Tally]) {
        let Some(line) = line(tally) else { return self.words_are(None) };
        let (document, version) = (self.document.clone(), self.version.clone());
        self.words_are(Some(Verbatim { line, document, version, heard: now }));
    }

    pub(super) fn document(&mut self, document: &Bytes) {
        let document = document.slice(..document.trim_ascii_end().len());
        self.document = Some(document.clone());
        self.amend(|words| words.document = Some(document));
    }

    pub(super) fn version(&mut self, version: &str) {
        let version: Arc<str> = version.into();
        self.version = Some(version.clone());
        self.amend(|words| words.version = Some(version));
    }

    /// vMix is not heard any longer, and may be another one when it is again.
    pub(super) fn lost(&mut self) {
        (self.document, self.version) = (None, None);
        self.words_are(None);
    }

    fn words_are(&self, new: Option<Verbatim>) {
        self.words.send_if_modified(|words| {
            let news = words.as_ref().map(|words| &words.line) != new.as_ref().map(|words| &words.line);
            *words = new.map(Arc::new);
            news
        });
    }

    fn amend(&self, change: impl FnOnce(&mut Verbatim)) {
        self.words.send_if_modified(|words| {
            words.as_mut().map(Arc::make_mut).map(change);
            false
        });
    }
}

fn line(tally: &[Tally]) -> Option<Bytes> {
    let digit = |tally: &Tally| match tally {
        Tally::Safe => Some(b'0'),
        Tally::Program => Some(b'1'),
        Tally::Preview => Some(b'2'),
        Tally::Unknown => None,
    };
    let digits: Option<Vec<u8>> = tally.iter().map(digit).collect();
    Some([b"TALLY OK ", digits?.as_slice(), b"\r\n"].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn readers_are_woken_by_another_line_and_by_silence_and_by_nothing_else() {
        let (now, mut mouth) = (Clock::manual().0.now(), Mouth::new());
        let mut words = mouth.words();
        assert_eq!(*words.borrow_and_update(), None);
        mouth.version("29.0.0.49");
        assert!(!words.has_changed().unwrap());
        mouth.tally(now, &[Tally::Program, Tally::Safe, Tally::Preview]);
        assert!(words.has_changed().unwrap());
        let said = words.borrow_and_update().clone().unwrap();
        assert_eq!((&*said.line, said.version.as_deref()), (&b"TALLY OK 102\r\n"[..], Some("29.0.0.49")));
        mouth.tally(now, &[Tally::Program, Tally::Safe, Tally::Preview]);
        mouth.document(&Bytes::from_static(b"<vmix/>\r\n"));
        assert!(!words.has_changed().unwrap());
        assert_eq!(words.borrow().as_ref().unwrap().document.as_deref(), Some(&b"<vmix/>"[..]));
        mouth.tally(now, &[Tally::Safe, Tally::Unknown]);
        assert!(words.has_changed().unwrap());
        assert_eq!(*words.borrow_and_update(), None, "a digit that nobody knows");
        mouth.tally(now, &[]);
        assert_eq!(words.borrow_and_update().as_ref().unwrap().line, "TALLY OK \r\n");
        mouth.lost();
        assert!(words.has_changed().unwrap());
        mouth.tally(now, &[]);
        assert_eq!(words.borrow().as_ref().unwrap().document, None, "it may be another vMix");
    }
}
