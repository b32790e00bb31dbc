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
    /// Its document; `None` until it gave one.
    pub document: Option<Said>,
    /// Its version, if it told one.
    pub version: Option<Arc<str>>,
    /// When it last told its tally, on the monotonic clock.
    pub heard: Instant,
}

/// A document, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Without a line end.
    pub bytes: Bytes,
    /// When it was asked for, on the monotonic clock: it is no older than that.
    pub asked: Instant,
}

/// A reading half; `None` while tally is unknown. Only another line, and the change to or from `None`, wakes a reader.
pub type Words = watch::Receiver<Option<Arc<Verbatim>>>;

/// The writing half.
#[derive(Debug)]
pub(super) struct Mouth {
    words: watch::Sender<Option<Arc<Verbatim>>>,
    document: Option<Said>,
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

    /// Its document, and when it was asked for. They are read beside one another: one that was asked for before the present
    /// one takes no place of it.
    pub(super) fn document(&mut self, asked: Instant, document: &Bytes) {
        if self.document.as_ref().is_some_and(|present| present.asked > asked) {
            return;
        }
        let document = Said { bytes: document.slice(..document.trim_ascii_end().len()), asked };
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
        mouth.document(now, &Bytes::from_static(b"<vmix/>\r\n"));
        assert!(!words.has_changed().unwrap());
        let document = words.borrow().as_ref().unwrap().document.clone().unwrap();
        assert_eq!((&*document.bytes, document.asked), (&b"<vmix/>"[..], now));
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

    #[test]
    fn an_older_document_takes_no_place_of_a_newer_one() {
        let (now, mut mouth) = (Clock::manual().0.now(), Mouth::new());
        let words = mouth.words();
        mouth.tally(now, &[Tally::Safe]);
        let second = std::time::Duration::from_secs(1);
        mouth.document(now + second, &Bytes::from_static(b"<new/>"));
        // It was long, or came another way, and took longer to read.
        mouth.document(now, &Bytes::from_static(b"<old/>"));
        let held = || words.borrow().as_ref().unwrap().document.clone().unwrap();
        assert_eq!(held(), Said { bytes: Bytes::from_static(b"<new/>"), asked: now + second });
        mouth.tally(now + second, &[Tally::Program]);
        assert_eq!(held().bytes, "<new/>");
        mouth.document(now + second * 2, &Bytes::from_static(b"<newest/>"));
        assert_eq!(held().bytes, "<newest/>");
    }
}
