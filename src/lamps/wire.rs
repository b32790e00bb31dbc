//! The lines between the program and the lamp process: JSON, one message a line. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Signal;

/// The most lamps there may be, and the most characters a name of one may have, none of them a control character. The
/// settings keep to both.
pub const MOST_LAMPS: usize = 428;
/// See [`MOST_LAMPS`].
pub const LONGEST_NAME: usize = 64;

/// The longest line that is read, in bytes without its end: longer than any [`Order`]. A character has 4 bytes at most, and
/// what JSON escapes, 2.
pub const LONGEST_LINE: usize = "{'until_ns':18446744073709551615,'lamps':{},'test':{'lamp':''}}".len()
    + LONGEST_NAME * 4
    + MOST_LAMPS * (LONGEST_NAME * 4 + "'':'preview',".len());

/// Program → lamp process: what every lamp is to show. Sent at every change, and every 250 ms at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Until then it may be shown without a newer one, in ns of `CLOCK_MONOTONIC`, which both processes read: an order that
    /// waits for its reader grows old on the way.
    pub until_ns: u64,
    /// By the lamps' names; one that is missing is unknown.
    pub lamps: BTreeMap<String, Signal>,
    /// A test, if one was asked for.
    pub test: Option<TestOrder>,
}

/// A test of one lamp, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestOrder {
    /// The lamp that is to be found; every lamp shows its lights when there is none.
    pub lamp: Option<String>,
}

/// Lamp process → program: what drives the lamps, and what is wrong. Sent at the beginning and at every change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What drives the pins: `registers`, `character device`, `simulated`.
    pub backend: String,
    /// Why a lamp is not lit as it should be, by its name.
    pub errors: BTreeMap<String, String>,
}

/// A message of one line without its end; `None` when it is none.
pub fn read<'m, M: Deserialize<'m>>(line: &'m [u8]) -> Option<M> {
    serde_json::from_slice(line).ok()
}

/// A message as one line with its end.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_order_is_too_long_to_be_read() {
        for letter in ["\u{1f3a5}", "\"", "\\", "한"] {
            let name = |n: usize| format!("{n:03}{}", letter.repeat(LONGEST_NAME - 3));
            let lamps = (0..MOST_LAMPS).map(|n| (name(n), Signal::Preview)).collect();
            let order = Order { until_ns: u64::MAX, lamps, test: Some(TestOrder { lamp: Some(name(0)) }) };
            let line = line(&order);
            assert!(line.len() <= LONGEST_LINE + 1, "{letter}: {}", line.len());
            assert_eq!(read(&line), Some(order));
        }
    }

    #[test]
    fn lines_are_what_was_agreed_on() {
        let text = r#"{"until_ns":1700000000,"lamps":{"Cam 1":"program","Cam 2":"unknown"},"test":{"lamp":null}}"#;
        let order: Order = read(text.as_bytes()).unwrap();
        assert_eq!(order.lamps["Cam 1"], Signal::Program);
        assert_eq!(order.test, Some(TestOrder { lamp: None }));
        assert_eq!(line(&order), [text.as_bytes(), b"\n"].concat());
        assert_eq!(read::<Order>(br#"{"until_ns":1,"lamps":{},"test":null}"#).unwrap().test, None);
        assert_eq!(read::<Order>(br#"{"until_ns":1,"lamps":{"a":"red"},"test":null}"#), None);
    }
}
