//! The dialogue of vMix's TCP API (port 8099), one connection's side of it. Pure.
//!
//! Owns: cutting what comes into lines, reading commands, and the wording of every answer.
//! Does not own: the socket (`links`), what functions do (`show`).

use super::show::{Arguments, Show};
use super::xml;

/// A line this long without an end is no command.
const LONGEST_LINE: usize = 8192;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Version,
    Subscribe(Topic),
    Unsubscribe(Topic),
    Tally,
    /// `Input 3`, `Recording`
    Acts(String),
    Xml,
    XmlText(String),
    Function(String, Arguments),
    Quit,
    /// A known command with something that it does not take: the command and what is wrong.
    Wrong(&'static str, &'static str),
    Unknown(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Tally,
    Acts,
}

/// How answers are worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wording {
    /// As vMix does.
    Vmix,
    /// As common emulators do: shorter confirmations, and no tally until the first change.
    Emulator,
}

/// Cuts what comes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

/// The other side sends something that is no command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Takes bytes in any pieces; answers the requests that are complete now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Request>, TooLong> {
        let mut requests = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => requests.extend(read(&String::from_utf8_lossy(&std::mem::take(&mut self.0)))),
                _ if self.0.len() >= LONGEST_LINE => return Err(TooLong),
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
    let topic = || match rest.to_ascii_uppercase().as_str() {
        "TALLY" => Some(Topic::Tally),
        "ACTS" => Some(Topic::Acts),
        _ => None,
    };
    Some(match command.to_ascii_uppercase().as_str() {
        "" => return None,
        "VERSION" => Request::Version,
        "SUBSCRIBE" => topic().map_or(Request::Wrong("SUBSCRIBE", "Unknown Subscription"), Request::Subscribe),
        "UNSUBSCRIBE" => topic().map_or(Request::Wrong("UNSUBSCRIBE", "Unknown Subscription"), Request::Unsubscribe),
        "TALLY" => Request::Tally,
        "ACTS" if rest.is_empty() => Request::Wrong("ACTS", "No Activator Specified"),
        "ACTS" => Request::Acts(rest.to_owned()),
        "XML" => Request::Xml,
        "XMLTEXT" => Request::XmlText(rest.to_owned()),
        "FUNCTION" if rest.is_empty() => Request::Wrong("FUNCTION", "No Function Specified"),
        "FUNCTION" => {
            let (name, query) = rest.split_once(' ').unwrap_or((rest, ""));
            Request::Function(name.to_owned(), Arguments::parse(query.trim()))
        }
        "QUIT" => Request::Quit,
        _ => Request::Unknown(command.to_owned()),
    })
}

/// What vMix says unasked to whoever connects.
pub(super) fn greeting() -> String {
    format!("VERSION OK {}\r\n", xml::VERSION)
}

/// The line with the tally of all inputs.
pub(super) fn tally_line(show: &Show) -> String {
    format!("TALLY OK {}\r\n", show.tally())
}

/// One `ACTS OK` line for each change.
pub(super) fn acts_lines(changes: &[String]) -> String {
    changes.iter().map(|change| format!("ACTS OK {change}\r\n")).collect()
}

/// The answer to a request; what the request changes has been done before.
pub(super) fn answer(request: &Request, show: &Show, wording: Wording) -> String {
    match request {
        Request::Version => greeting(),
        Request::Subscribe(topic) => {
            let name = name(*topic);
            match (wording, topic) {
                (Wording::Emulator, _) => format!("SUBSCRIBE OK {name}\r\n"),
                (Wording::Vmix, Topic::Acts) => format!("SUBSCRIBE OK {name} Subscribed\r\n"),
                (Wording::Vmix, Topic::Tally) => format!("SUBSCRIBE OK {name} Subscribed\r\n{}", tally_line(show)),
            }
        }
        Request::Unsubscribe(topic) => match wording {
            Wording::Vmix => format!("UNSUBSCRIBE OK {} Unsubscribed\r\n", name(*topic)),
            Wording::Emulator => format!("UNSUBSCRIBE OK {}\r\n", name(*topic)),
        },
        Request::Tally => tally_line(show),
        Request::Acts(activator) => format!("ACTS OK {activator} {}\r\n", u8::from(show.is_set(activator))),
        Request::Xml => {
            let document = xml::document(show);
            // The count is of bytes and includes the line end after the document.
            format!("XML {}\r\n{document}\r\n", document.len() + 2)
        }
        Request::XmlText(path) => match xml::text_at(&xml::document(show), path) {
            Some(text) => format!("XMLTEXT OK {text}\r\n"),
            None => "XMLTEXT ER No Data\r\n".to_owned(),
        },
        // vMix says so for a function that it does not know, too.
        Request::Function(..) => "FUNCTION OK Completed\r\n".to_owned(),
        Request::Quit => "QUIT OK Bye\r\n".to_owned(),
        Request::Wrong(command, what) => format!("{command} ER {what}\r\n"),
        Request::Unknown(command) => format!("{command} ER Unknown Command\r\n"),
    }
}

fn name(topic: Topic) -> &'static str {
    match topic {
        Topic::Tally => "TALLY",
        Topic::Acts => "ACTS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn say(line: &str) -> String {
        let requests = Lines::default().push(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(requests.len(), 1);
        answer(&requests[0], &Show::studio(), Wording::Vmix)
    }

    #[test]
    fn answers_are_worded_as_vmix_words_them() {
        for (line, reply) in [
            ("VERSION", "VERSION OK 29.0.0.49\r\n"),
            ("SUBSCRIBE TALLY", "SUBSCRIBE OK TALLY Subscribed\r\nTALLY OK 12000000\r\n"),
            ("SUBSCRIBE ACTS", "SUBSCRIBE OK ACTS Subscribed\r\n"),
            ("UNSUBSCRIBE TALLY", "UNSUBSCRIBE OK TALLY Unsubscribed\r\n"),
            ("TALLY", "TALLY OK 12000000\r\n"),
            ("tally", "TALLY OK 12000000\r\n"),
            ("ACTS Input 1", "ACTS OK Input 1 1\r\n"),
            ("ACTS Input 2", "ACTS OK Input 2 0\r\n"),
            ("XMLTEXT vmix/version", "XMLTEXT OK 29.0.0.49\r\n"),
            ("XMLTEXT vmix/inputs/input[1]/@title", "XMLTEXT OK CAM 1 – Wide\r\n"),
            ("XMLTEXT vmix/nothing", "XMLTEXT ER No Data\r\n"),
            ("FUNCTION PreviewInput Input=5", "FUNCTION OK Completed\r\n"),
            ("FUNCTION NoSuchThing", "FUNCTION OK Completed\r\n"),
            ("HELLO there", "HELLO ER Unknown Command\r\n"),
        ] {
            assert_eq!(say(line), reply);
        }
    }

    #[test]
    fn the_length_before_a_document_counts_bytes_and_the_line_end() {
        let reply = say("XML");
        let (head, rest) = reply.split_once("\r\n").unwrap();
        assert_eq!(head, format!("XML {}", rest.len()));
        assert!(rest.ends_with("</vmix>\r\n"));
        assert!(rest.chars().count() < rest.len());
    }

    #[test]
    fn an_emulator_confirms_shortly_and_sends_no_snapshot() {
        let reply = answer(&Request::Subscribe(Topic::Tally), &Show::studio(), Wording::Emulator);
        assert_eq!(reply, "SUBSCRIBE OK TALLY\r\n");
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&[b'x'; LONGEST_LINE]), Ok(vec![]));
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn requests_are_the_same_however_they_are_cut(text in "([A-Za-z=& ]{0,20}\r\n){0,5}", cut in 1usize..7) {
            let whole = Lines::default().push(text.as_bytes());
            let mut lines = Lines::default();
            let pieces: Vec<Request> = text.as_bytes().chunks(cut).flat_map(|piece| lines.push(piece).unwrap()).collect();
            prop_assert_eq!(whole, Ok(pieces));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            for request in Lines::default().push(&bytes).unwrap() {
                let mut show = Show::studio();
                if let Request::Function(name, arguments) = &request {
                    show.apply(name, arguments);
                }
                prop_assert!(answer(&request, &show, Wording::Vmix).ends_with("\r\n"));
            }
        }
    }
}
