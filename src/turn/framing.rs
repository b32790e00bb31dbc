//! Where one message ends and the next begins on a stream (RFC 8656 §12.5, RFC 8489 §6.2.2), and ChannelData.

/// Longest message that is taken: more than any browser sends on the way to media.
pub const LONGEST: usize = 2_048;
const CHANNEL_HEADER: usize = 4;
const STUN_HEADER: usize = 20;

/// What stands at the beginning of the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message of this many bytes, after which `padding` bytes are to be skipped.
    Whole {
        /// Its length in bytes.
        message: usize,
        /// Bytes of padding after it.
        padding: usize,
    },
    /// More is to come.
    Partial,
    /// Neither a STUN message nor ChannelData, or one too long: where the next begins cannot be known.
    Broken,
}

/// Looks at what has been read of a stream.
pub fn next(read: &[u8]) -> Next {
    let &[first, _, high, low, ..] = read else { return Next::Partial };
    let stated = usize::from(u16::from_be_bytes([high, low]));
    let (message, padding) = match first {
        0..=3 if stated % 4 == 0 => (STUN_HEADER + stated, 0),
        // On a stream ChannelData is padded to four bytes, which its length does not tell.
        0x40..=0x4f => (CHANNEL_HEADER + stated, padding(stated)),
        _ => return Next::Broken,
    };
    match message + padding {
        whole if whole > LONGEST => Next::Broken,
        whole if whole > read.len() => Next::Partial,
        _ => Next::Whole { message, padding },
    }
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

/// Whether a message is ChannelData rather than STUN (RFC 8656 §12).
pub fn is_channel_data(message: &[u8]) -> bool {
    message.first().is_some_and(|first| (0x40..=0x4f).contains(first))
}

/// The channel and the data of a ChannelData message (RFC 8656 §12.4); a datagram may have padding after them.
pub fn read_channel_data(message: &[u8]) -> Option<(u16, &[u8])> {
    let (&[c1, c2, l1, l2], rest) = message.split_first_chunk()?;
    let data = rest.get(..usize::from(u16::from_be_bytes([l1, l2])))?;
    Some((u16::from_be_bytes([c1, c2]), data))
}

/// Writes ChannelData, padded for a stream.
pub fn write_channel_data(channel: u16, data: &[u8], padded: bool, out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(data.len()) else { return };
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
    if padded {
        out.extend(std::iter::repeat_n(0, padding(data.len())));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(mut stream: &[u8]) -> (Vec<Vec<u8>>, Next) {
        let mut messages = Vec::new();
        loop {
            match next(stream) {
                Next::Whole { message, padding } => {
                    messages.push(stream[..message].to_vec());
                    stream = &stream[message + padding..];
                }
                end => return (messages, end),
            }
        }
    }

    #[test]
    fn channel_data_on_a_stream_is_padded_to_four_bytes() {
        for (data, length) in [(&b""[..], 4), (b"a", 8), (b"ab", 8), (b"abc", 8), (b"abcd", 8), (b"abcde", 12)] {
            let mut out = Vec::new();
            write_channel_data(0x4001, data, true, &mut out);
            assert_eq!(out.len(), length);
            assert_eq!(next(&out), Next::Whole { message: 4 + data.len(), padding: length - 4 - data.len() });
            assert_eq!(read_channel_data(&out), Some((0x4001, data)));
        }
    }

    #[test]
    fn what_is_neither_stun_nor_channel_data_breaks_the_stream() {
        for broken in
            [&b"GET / HTTP/1.1"[..], &[0x16, 3, 1, 0, 5], &[0x50, 0, 0, 0], &[0, 3, 0, 7], &[0x40, 0, 0xff, 0]]
        {
            assert_eq!(next(broken), Next::Broken, "{broken:02x?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_whatever_the_chunks(
            data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20), cut in any::<prop::sample::Index>()
        ) {
            let mut stream = Vec::new();
            for data in &data {
                write_channel_data(0x4000, data, true, &mut stream);
            }
            let (whole, end) = split(&stream);
            prop_assert_eq!(end, Next::Partial);
            let got: Vec<_> = whole.iter().map(|message| read_channel_data(message).unwrap().1.to_vec()).collect();
            prop_assert_eq!(&got, &data);
            let (before, _) = split(&stream[..cut.index(stream.len())]);
            prop_assert_eq!(&whole[..before.len()], &before[..]);
        }
    }
}
