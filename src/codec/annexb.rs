//! The byte stream format: NAL units between start codes (ITU-T H.264 and H.265, Annex B), and
//! emulation prevention (H.264 §7.4.1, H.265 §7.4.2).

use std::borrow::Cow;

/// A start code and the NAL unit behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Offset of the start code, the `zero_byte` of a four-byte one included.
    pub code: usize,
    /// Offset of the first byte of the NAL unit.
    pub nal: usize,
}

/// The first start code at or after `from`, if `data` holds one whole.
///
/// A zero byte before `from` is not counted as part of the code.
pub fn find_start(data: &[u8], from: usize) -> Option<Start> {
    let mut at = from;
    while let Some(&[a, b, c]) = data.get(at..at.checked_add(3)?).and_then(|three| three.first_chunk::<3>()) {
        if c > 1 {
            at += 3;
        } else if a == 0 && b == 0 && c == 1 {
            let zero_byte = at > from && data.get(at - 1) == Some(&0);
            return Some(Start { code: if zero_byte { at - 1 } else { at }, nal: at + 3 });
        } else {
            at += 1;
        }
    }
    None
}

/// The NAL units of a byte stream, without start codes and without the zero bytes that may trail
/// each; empty ones are left out. Copies nothing.
pub fn nals(data: &[u8]) -> Nals<'_> {
    Nals { data, next: find_start(data, 0) }
}

/// Iterator of [`nals`].
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    data: &'a [u8],
    next: Option<Start>,
}

impl<'a> Iterator for Nals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let start = self.next?;
            self.next = find_start(self.data, start.nal);
            let end = self.next.map_or(self.data.len(), |next| next.code);
            let nal = trim_zeros(self.data.get(start.nal..end)?);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    }
}

/// Without the zero bytes at its end: no NAL unit ends in one (H.264 §7.4.1).
fn trim_zeros(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    nal.get(..end).unwrap_or(nal)
}

/// Appends a NAL unit behind a four-byte start code.
pub fn put(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(nal);
}

/// The payload of a NAL unit without its emulation prevention bytes; borrowed when it has none.
pub fn unescape(nal: &[u8]) -> Cow<'_, [u8]> {
    let is_escape = |at: usize| matches!(nal.get(at..at + 3), Some([0, 0, 3]));
    let Some(first) = (0..nal.len()).find(|&at| is_escape(at)) else { return Cow::Borrowed(nal) };
    let mut out = Vec::with_capacity(nal.len());
    out.extend_from_slice(nal.get(..first).unwrap_or_default());
    let mut zeros = 0;
    for &byte in nal.get(first..).unwrap_or_default() {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    Cow::Owned(out)
}

/// Puts emulation prevention bytes into a payload, so that no start code appears within it.
pub fn escape(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 4);
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    // Zeros at the very end would be taken for the next start code's.
    if zeros >= 2 {
        out.push(3);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn walks_three_and_four_byte_start_codes() {
        let data = [9, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 3, 0, 0];
        let found: Vec<_> = nals(&data).collect();
        assert_eq!(found, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(find_start(&data, 5), Some(Start { code: 6, nal: 10 }));
        assert_eq!(find_start(&data, 7), Some(Start { code: 7, nal: 10 }));
        assert_eq!(nals(&[0, 0, 1]).count(), 0);
        assert_eq!(nals(&[0, 0, 1, 0, 0, 1, 5]).collect::<Vec<_>>(), [&[5][..]]);
    }

    proptest! {
        #[test]
        fn escaping_is_undone_and_leaves_no_start_code(payload in prop::collection::vec(0u8..5, 0..200)) {
            let escaped = escape(&payload);
            prop_assert!(find_start(&escaped, 0).is_none());
            prop_assert!(!escaped.windows(3).any(|w| matches!(w, [0, 0, 0 | 2])));
            prop_assert_eq!(&*unescape(&escaped), &payload[..]);
        }

        #[test]
        fn put_and_walk_give_the_units_back(
            units in prop::collection::vec((1u8..32, prop::collection::vec(0u8..5, 0..40), 1u8..=255), 1..8)
        ) {
            let units: Vec<Vec<u8>> = units
                .into_iter()
                .map(|(header, body, last)| escape(&[&[header][..], &body, &[last]].concat()))
                .collect();
            let mut stream = Vec::new();
            units.iter().for_each(|unit| put(&mut stream, unit));
            prop_assert_eq!(nals(&stream).map(<[u8]>::to_vec).collect::<Vec<_>>(), units);
        }

        #[test]
        fn any_bytes_are_walked(data in prop::collection::vec(0u8..4, 0..300), from in 0usize..400) {
            let _ = find_start(&data, from);
            let total: usize = nals(&data).map(<[u8]>::len).sum();
            prop_assert!(total <= data.len());
        }
    }
}
