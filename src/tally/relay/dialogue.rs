//! vMix's side of its TCP API, as far as lights speak it: bytes → requests → answers.
//!
//! Owns: cutting lines, reading commands, the wording of answers. Does not own: the socket and when a line is told
//! unasked (`relay`). Pure. Source: vMix user guide, "TCP API". Any chunking of the input gives the same requests.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::tally::verbatim::Verbatim;

/// A document that was asked for longer ago is passed on no more: it says what is on air, too.
pub const DOCUMENT_HOLDS: Duration = Duration::from_secs(2);

/// The longest line, without its end, in bytes: commands of lights have less than 50.
pub const MAX_LINE: usize = 1024;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `VERSION`
    Version,
    /// `SUBSCRIBE TALLY`
    Subscribe,
    /// `UNSUBSCRIBE TALLY`
    Unsubscribe,
    /// `TALLY`
    Tally,
    /// `XML`
    Xml,
    /// `XMLTEXT vmix/version`, by which clients ask whether vMix is still there.
    VersionText,
    /// `QUIT`
    Quit,
    /// A command with something that is not to be had here: the command and what is said of it.
    Refused(&'static str, &'static str),
    /// No command of vMix's: its first word.
    Unknown(String),
}

/// A line of more than [`MAX_LINE`] bytes: the other side speaks something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts bytes into requests.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes as they arrived; gives the requests that are complete now.
    ///
    /// # Errors
    /// [`TooLong`]; the connection is of no use any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Request>, TooLong> {
        let mut requests = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => requests.extend(read(&String::from_utf8_lossy(&std::mem::take(&mut self.0)))),
                _ if self.0.len() >= MAX_LINE => return Err(TooLong),
                _ => self.0.push(*byte),
            }
        }
        Ok(requests)
    }
}

fn read(line: &str) -> Option<Request> {
    let line = line.trim();
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    let topic = |command, request| match rest.to_ascii_uppercase().as_str() {
        "TALLY" => request,
        "ACTS" => Request::Refused(command, "Activators are not passed on"),
        _ => Request::Refused(command, "Unknown Subscription"),
    };
    Some(match command.to_ascii_uppercase().as_str() {
        "" => return None,
        "VERSION" => Request::Version,
        "SUBSCRIBE" => topic("SUBSCRIBE", Request::Subscribe),
        "UNSUBSCRIBE" => topic("UNSUBSCRIBE", Request::Unsubscribe),
        "TALLY" => Request::Tally,
        "XML" => Request::Xml,
        "XMLTEXT" if rest.eq_ignore_ascii_case("vmix/version") => Request::VersionText,
        "XMLTEXT" => Request::Refused("XMLTEXT", "Only vmix/version is passed on"),
        "ACTS" => Request::Refused("ACTS", "Activators are not passed on"),
        "FUNCTION" => Request::Refused("FUNCTION", "Functions are not passed on"),
        "QUIT" => Request::Quit,
        _ => Request::Unknown(command.to_owned()),
    })
}

/// What vMix says unasked to whoever connects.
pub fn greeting(words: &Verbatim) -> Bytes {
    // A vMix that told no version is none that a light could know more of.
    format!("VERSION OK {}\r\n", words.version.as_deref().unwrap_or("0.0.0.0")).into()
}

/// The answer at this moment, in one piece for short ones; a document is not copied.
pub fn answer(now: Instant, request: &Request, words: &Verbatim) -> impl Buf + use<> {
    let none = Bytes::new;
    let text = |text: String| (text.into(), none(), none());
    let (head, body, tail): (Bytes, Bytes, Bytes) = match request {
        Request::Version => (greeting(words), none(), none()),
        // vMix's newer versions tell the present at once, older ones at the first change. A light is right sooner so.
        Request::Subscribe => (Bytes::from_static(b"SUBSCRIBE OK TALLY Subscribed\r\n"), words.line.clone(), none()),
        Request::Unsubscribe => text("UNSUBSCRIBE OK TALLY Unsubscribed\r\n".into()),
        Request::Tally => (words.line.clone(), none(), none()),
        Request::Xml => match words.document.as_ref().filter(|said| holds(now, said.asked)) {
            // The count is of bytes and includes the line end after the document.
            Some(document) => {
                let head = format!("XML {}\r\n", document.bytes.len() + 2);
                (head.into(), document.bytes.clone(), Bytes::from_static(b"\r\n"))
            }
            None => text("XML ER No Data\r\n".into()),
        },
        Request::VersionText => match &words.version {
            Some(version) => text(format!("XMLTEXT OK {version}\r\n")),
            None => text("XMLTEXT ER No Data\r\n".into()),
        },
        Request::Quit => text("QUIT OK Bye\r\n".into()),
        Request::Refused(command, why) => text(format!("{command} ER {why}\r\n")),
        Request::Unknown(command) => text(format!("{command} ER Unknown Command\r\n")),
    };
    head.chain(body).chain(tail)
}

fn holds(now: Instant, asked: Instant) -> bool {
    now.saturating_duration_since(asked) < DOCUMENT_HOLDS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::tally::line::{Decoder, Message};
    use crate::tally::verbatim::Said;

    fn words() -> Verbatim {
        let now = Clock::manual().0.now();
        Verbatim {
            line: Bytes::from_static(b"TALLY OK 0121\r\n"),
            document: Some(Said { bytes: Bytes::from("<vmix><é/></vmix>"), asked: now }),
            version: Some("29.0.0.49".into()),
            heard: now,
        }
    }

    fn said(request: &Request, words: &Verbatim) -> String {
        said_later(Duration::ZERO, request, words)
    }

    fn said_later(later: Duration, request: &Request, words: &Verbatim) -> String {
        let mut answer = answer(words.heard + later, request, words);
        let length = answer.remaining();
        String::from_utf8(answer.copy_to_bytes(length).to_vec()).unwrap()
    }

    fn say(line: &str) -> String {
        let requests = Lines::default().push(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(requests.len(), 1, "{line}");
        said(&requests[0], &words())
    }

    #[test]
    fn answers_are_worded_as_vmix_words_them() {
        assert_eq!(greeting(&words()), "VERSION OK 29.0.0.49\r\n");
        for (line, answer) in [
            ("VERSION", "VERSION OK 29.0.0.49\r\n"),
            ("SUBSCRIBE TALLY", "SUBSCRIBE OK TALLY Subscribed\r\nTALLY OK 0121\r\n"),
            ("subscribe  tally ", "SUBSCRIBE OK TALLY Subscribed\r\nTALLY OK 0121\r\n"),
            ("UNSUBSCRIBE TALLY", "UNSUBSCRIBE OK TALLY Unsubscribed\r\n"),
            ("TALLY", "TALLY OK 0121\r\n"),
            ("XMLTEXT vmix/version", "XMLTEXT OK 29.0.0.49\r\n"),
            ("QUIT", "QUIT OK Bye\r\n"),
            ("HELLO there", "HELLO ER Unknown Command\r\n"),
        ] {
            assert_eq!(say(line), answer);
        }
        for refused in ["SUBSCRIBE ACTS", "SUBSCRIBE", "ACTS Input 1", "FUNCTION Cut", "XMLTEXT vmix/inputs"] {
            let command = refused.split(' ').next().unwrap();
            assert!(say(refused).starts_with(&format!("{command} ER ")), "{refused}");
        }
    }

    #[test]
    fn the_length_before_a_document_counts_bytes_and_the_line_end() {
        assert_eq!(say("XML"), "XML 20\r\n<vmix><é/></vmix>\r\n");
        let without = Verbatim { document: None, version: None, ..words() };
        assert_eq!(said(&Request::Xml, &without), "XML ER No Data\r\n");
        assert_eq!(said(&Request::VersionText, &without), "XMLTEXT ER No Data\r\n");
        assert_eq!(said(&Request::Version, &without), "VERSION OK 0.0.0.0\r\n");
    }

    #[test]
    fn a_document_that_was_asked_for_too_long_ago_is_none() {
        assert_eq!(said_later(DOCUMENT_HOLDS - Duration::from_millis(1), &Request::Xml, &words()), say("XML"));
        assert_eq!(said_later(DOCUMENT_HOLDS, &Request::Xml, &words()), "XML ER No Data\r\n");
        // The line is renewed by itself, and whether it holds is the relay's to say.
        assert_eq!(said_later(DOCUMENT_HOLDS, &Request::Tally, &words()), "TALLY OK 0121\r\n");
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&[b'x'; MAX_LINE]), Ok(vec![]));
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }

    fn commands() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"TALLY\r\n".to_vec()),
            Just(b"subscribe tally\n".to_vec()),
            Just(b"XMLTEXT vmix/version\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(vec![b'x'; 700]),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_requests(bytes in commands(), size in 1usize..40) {
            crate::tally::fuzzing::relay_requests(&[&[size as u8], bytes.as_slice()].concat());
        }

        #[test]
        fn every_answer_is_one_that_a_client_of_vmix_reads(command in "[ -~]{1,40}") {
            let Some(request) = read(&command) else { return Ok(()) };
            let mut decoder = Decoder::default();
            decoder.push(said(&request, &words()).as_bytes());
            let message = decoder.next_message().unwrap();
            prop_assert!(message.is_some(), "{command}");
            let is_read = !matches!(message, Some(Message::Other(_)));
            let is_word = command.trim().bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
            prop_assert!(is_read || !is_word || matches!(request, Request::Unknown(_)), "{command}");
        }
    }
}
