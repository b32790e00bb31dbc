//! Datagrams on a TCP connection: each with its length before it (RFC 4571 §2, RFC 6544 §3).
//!
//! Owns: where one ends and the next begins. Does not own: what they hold, nor connections (`server`).

/// Longest frame that is taken: no viewer sends longer datagrams.
pub const LONGEST: usize = 2_048;
/// Bytes of a length.
pub const HEADER: usize = 2;

/// What stands at the beginning of the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame of this many bytes, after [`HEADER`].
    Whole(usize),
    /// More is to come.
    Partial,
    /// A frame longer than any viewer sends.
    TooLong,
}

/// Looks at what has been read of a connection.
pub fn next(read: &[u8]) -> Next {
    let Some((&stated, rest)) = read.split_first_chunk::<HEADER>() else { return Next::Partial };
    match usize::from(u16::from_be_bytes(stated)) {
        length if length > LONGEST => Next::TooLong,
        length if length > rest.len() => Next::Partial,
        length => Next::Whole(length),
    }
}

/// Takes the first whole frame off `read`, of which the rest is left; `None` when there is none yet.
///
/// # Errors
/// When the next frame is longer than any viewer sends: the connection is worth nothing any more.
pub fn take<'r>(read: &mut &'r [u8]) -> Result<Option<&'r [u8]>, TooLong> {
    match next(read) {
        Next::Whole(length) => {
            let (frame, rest) = read.split_at(HEADER + length);
            *read = rest;
            Ok(frame.get(HEADER..))
        }
        Next::Partial => Ok(None),
        Next::TooLong => Err(TooLong),
    }
}

/// A frame is longer than any viewer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of more than {LONGEST} bytes")]
pub struct TooLong;

/// Appends a datagram as a frame; false when it is longer than a frame can be.
pub fn write(datagram: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(datagram.len()) else { return false };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(datagram);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_longer_than_any_viewer_sends_ends_it_before_it_has_come() {
        assert_eq!(next(&[8, 0]), Next::Partial);
        assert_eq!(next(&[8, 1]), Next::TooLong);
        assert_eq!(next(b"GET / HTTP/1.1"), Next::TooLong);
        assert_eq!(next(&[0x16, 3, 1, 0, 5]), Next::TooLong, "TLS");
        assert_eq!(take(&mut &[0xff, 0xff, 1][..]), Err(TooLong));
    }

    #[test]
    fn a_frame_may_be_empty() {
        let mut read = &[0, 0, 0, 1, 7, 0][..];
        assert_eq!(take(&mut read), Ok(Some(&[][..])));
        assert_eq!(take(&mut read), Ok(Some(&[7][..])));
        assert_eq!((take(&mut read), read), (Ok(None), &[0][..]));
    }

    #[test]
    fn what_no_frame_can_hold_is_not_written() {
        let mut out = Vec::new();
        assert!(!write(&[0; 65_536], &mut out));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_whatever_the_chunks(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..LONGEST), 1..10),
            chunk in 1_usize..3_000,
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                prop_assert!(write(datagram, &mut stream));
            }
            let (mut read, mut got) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(chunk) {
                read.extend_from_slice(chunk);
                let mut rest = &read[..];
                while let Some(frame) = take(&mut rest).unwrap() {
                    got.push(frame.to_vec());
                }
                read = rest.to_vec();
            }
            prop_assert_eq!(&got, &datagrams);
            prop_assert!(read.is_empty());
        }
    }
}
