//! The framing of vMix's TCP API: bytes → messages.
//!
//! Owns: lines ended by CRLF, and the bodies that some lines announce. Does not own: what a
//! message means (`protocol`). Source: vMix user guide, "TCP API". A body's length counts BYTES,
//! its trailing CRLF included. Any chunking of the input gives the same messages.

/// The longest line, without its end, in bytes: a thousand inputs need about 1011.
pub const MAX_LINE: usize = 64 * 1024;
/// The longest body, in bytes: a thousand inputs with their titles need about one million.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// One message of vMix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `<CMD> OK <data>`
    Ok {
        /// The command answered or subscribed to, in upper case.
        command: String,
        /// What follows `OK`; may be empty.
        data: String,
    },
    /// `<CMD> ER <message>`
    Error {
        /// The command refused, in upper case.
        command: String,
        /// vMix's words.
        message: String,
    },
    /// `<CMD> <len>` and its body.
    Body {
        /// The command answered, in upper case.
        command: String,
        /// The body as counted, its trailing line end included.
        body: Vec<u8>,
    },
    /// A line that is none of these.
    Other(String),
}

/// Why the stream of bytes cannot be followed any longer; only a new connection helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// More than [`MAX_LINE`] bytes without a line end.
    #[error("a line of more than {MAX_LINE} bytes")]
    LineTooLong,
    /// A body of more than [`MAX_BODY`] bytes was announced.
    #[error("a body of more than {MAX_BODY} bytes")]
    BodyTooLong,
}

/// Cuts bytes into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already handed out.
    used: usize,
    /// Bytes of `buffer` known to hold no line end, from `used` on.
    scanned: usize,
    body: Option<(String, usize)>,
    broken: Option<FramingError>,
}

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.buffer.drain(..self.used);
            self.used = 0;
            if self.buffer.is_empty() {
                // A big document is not kept room for until the next.
                self.buffer.shrink_to(MAX_LINE);
            }
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a body has been announced and is not complete.
    pub fn in_body(&self) -> bool {
        self.body.is_some()
    }

    /// The next whole message, if there is one. Empty lines are skipped.
    ///
    /// # Errors
    /// [`FramingError`] when a cap is passed; from then on always.
    pub fn next_message(&mut self) -> Result<Option<Message>, FramingError> {
        loop {
            if let Some(error) = self.broken {
                return Err(error);
            }
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some((_, length)) = &self.body {
                let Some(body) = rest.get(..*length) else { return Ok(None) };
                let body = body.to_vec();
                self.used += body.len();
                self.scanned = 0;
                if let Some((command, _)) = self.body.take() {
                    return Ok(Some(Message::Body { command, body }));
                }
                continue;
            }
            let end = rest.iter().skip(self.scanned).position(|byte| *byte == b'\n').map(|at| at + self.scanned);
            let Some(end) = end else {
                self.scanned = rest.len();
                if rest.len() > MAX_LINE {
                    self.fail(FramingError::LineTooLong);
                    continue;
                }
                return Ok(None);
            };
            if end > MAX_LINE {
                self.fail(FramingError::LineTooLong);
                continue;
            }
            let line = rest.get(..end).unwrap_or_default();
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            self.used += end + 1;
            self.scanned = 0;
            match read_line(&line) {
                Line::Empty => {}
                Line::Message(message) => return Ok(Some(message)),
                Line::Announces(_, length) if length > MAX_BODY => self.fail(FramingError::BodyTooLong),
                Line::Announces(command, length) => self.body = Some((command, length)),
            }
        }
    }

    fn fail(&mut self, error: FramingError) {
        *self = Self { broken: Some(error), ..Self::default() };
    }
}

enum Line {
    Empty,
    Message(Message),
    Announces(String, usize),
}

fn read_line(line: &str) -> Line {
    if line.trim().is_empty() {
        return Line::Empty;
    }
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_word = !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_word {
        return Line::Message(Message::Other(line.to_owned()));
    }
    let command = command.to_ascii_uppercase();
    let (status, data) = rest.split_once(' ').unwrap_or((rest, ""));
    if status.eq_ignore_ascii_case("OK") {
        return Line::Message(Message::Ok { command, data: data.to_owned() });
    }
    if status.eq_ignore_ascii_case("ER") {
        return Line::Message(Message::Error { command, message: data.to_owned() });
    }
    if !status.is_empty() && data.trim().is_empty() && status.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a body that is too long, not a line to skip.
        return Line::Announces(command, status.parse().unwrap_or(usize::MAX));
    }
    Line::Message(Message::Other(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<Message>, Option<FramingError>) {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    }

    #[test]
    fn reads_answers_refusals_and_bodies() {
        let (messages, error) = decode(&[
            b"VERSION OK 29.0.0.49\r\nTALLY OK 0121\r\nXML 9\r\n<v>\xc3\xa9</v",
            b"\r\nFOO ER Unknown Command\r\n\r\nSUBSCRIBE OK TALLY\nTALLY OK\r\nwhat is this\r\n",
        ]);
        assert_eq!(error, None);
        let ok = |command: &str, data: &str| Message::Ok { command: command.into(), data: data.into() };
        assert_eq!(
            messages,
            [
                ok("VERSION", "29.0.0.49"),
                ok("TALLY", "0121"),
                Message::Body { command: "XML".into(), body: b"<v>\xc3\xa9</v\r".to_vec() },
                Message::Error { command: "FOO".into(), message: "Unknown Command".into() },
                ok("SUBSCRIBE", "TALLY"),
                ok("TALLY", ""),
                Message::Other("what is this".into()),
            ]
        );
    }

    #[test]
    fn a_body_that_holds_line_ends_and_lines_is_one_message() {
        let (messages, _) = decode(&[b"XML 16\r\nTALLY OK 1\r\n  \r\nTALLY OK 2\r\n"]);
        assert_eq!(messages[0], Message::Body { command: "XML".into(), body: b"TALLY OK 1\r\n  \r\n".to_vec() });
        assert_eq!(messages[1], Message::Ok { command: "TALLY".into(), data: "2".into() });
    }

    #[test]
    fn the_caps_end_the_stream_for_good() {
        let (_, error) = decode(&[&vec![b'x'; MAX_LINE + 1]]);
        assert_eq!(error, Some(FramingError::LineTooLong));
        let (_, error) = decode(&[b"XML 16777217\r\n"]);
        assert_eq!(error, Some(FramingError::BodyTooLong));
        let (_, error) = decode(&[b"XML 99999999999999999999999999\r\n"]);
        assert_eq!(error, Some(FramingError::BodyTooLong));
        let mut decoder = Decoder::default();
        decoder.push(b"XML 16777217\r\n");
        assert!(decoder.next_message().is_err());
        decoder.push(b"TALLY OK 1\r\n");
        assert!(decoder.next_message().is_err());
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just(b"TALLY OK 0121\r\n".to_vec()),
            Just(b"XML 7\r\n<vmix/>".to_vec()),
            Just(b"XML 0\r\n".to_vec()),
            Just(b"ACTS OK Input 1 1\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_messages(bytes in pieces(), sizes in proptest::collection::vec(1usize..9, 1..40)) {
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, tail) = rest.split_at((*size).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(decode(&chunks), decode(&[bytes.as_slice()]));
        }
    }
}
