//! RTCP: sender reports out, feedback in (RFC 3550 §6, RFC 3611, RFC 4585, RFC 5104).
//!
//! Owns: writing SR, SDES, BYE and answers to receivers' clocks, and reading what receivers say. Does not own: encryption
//! (`srtp`), nor what is done about feedback (`session`).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const VERSION: u8 = 2 << 6;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;
/// Blocks of extended reports (RFC 3611 §4.4, §4.5), and how long the first is, words.
const RECEIVER_REFERENCE_TIME: u8 = 4;
const DELAY_SINCE_LAST: u8 = 5;
const REFERENCE_TIME_WORDS: u16 = 2;
const GENERIC_NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;
const CNAME: u8 = 1;
const REPORT_BLOCK_LEN: usize = 24;

/// Seconds from the NTP era to the Unix era.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// NTP time that runs with the monotonic clock: wall-clock time is read once, so that a step of
/// it never disturbs a running session.
#[derive(Clone, Copy, Debug)]
pub struct NtpClock {
    start: Instant,
    ntp: u64,
}

impl NtpClock {
    /// A clock that showed `wall` at `now`.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: now, ntp: fixed_point(unix).wrapping_add(NTP_UNIX_OFFSET << 32) }
    }

    /// 32.32 fixed-point NTP time (RFC 3550 §4).
    pub fn at(&self, now: Instant) -> u64 {
        self.ntp.wrapping_add(fixed_point(now.saturating_duration_since(self.start)))
    }
}

fn fixed_point(time: Duration) -> u64 {
    time.as_secs().wrapping_shl(32) | ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000)
}

/// What a sender reports about one of its sources (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The source.
    pub ssrc: u32,
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    /// The same instant in RTP time.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// Appends one sender report for each source, and the source description every compound packet needs
/// (RFC 3550 §6.1; RFC 8108 §5.3 for several sources in one). Up to 31 sources.
pub fn write_reports(out: &mut Vec<u8>, reports: &[SenderReport], cname: &str) {
    for report in reports {
        out.extend_from_slice(&[VERSION, SR, 0, 6]);
        out.extend_from_slice(&report.ssrc.to_be_bytes());
        out.extend_from_slice(&report.ntp.to_be_bytes());
        out.extend_from_slice(&report.rtp.to_be_bytes());
        out.extend_from_slice(&report.packets.to_be_bytes());
        out.extend_from_slice(&report.octets.to_be_bytes());
    }
    let sources: Vec<u32> = reports.iter().map(|report| report.ssrc).collect();
    write_description(out, &sources, cname);
}

/// Appends the source description, each source with the one item it must have: they are of one participant, whose
/// sources are synchronised (RFC 3550 §6.5.1).
fn write_description(out: &mut Vec<u8>, sources: &[u32], cname: &str) {
    let cname = cname.as_bytes().get(..cname.len().min(255)).unwrap_or_default();
    // SSRC, item header, text, and at least one zero that ends the list, to a whole word.
    let chunk = 4 + 2 + cname.len() + 1;
    let padded = chunk.next_multiple_of(4);
    out.extend_from_slice(&[VERSION | sources.len() as u8, SDES]);
    out.extend_from_slice(&((sources.len() * padded / 4) as u16).to_be_bytes());
    for ssrc in sources {
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        out.extend(std::iter::repeat_n(0, 1 + padded - chunk));
    }
}

/// Appends an empty receiver report, for a compound packet begins with a report (RFC 3550 §6.1).
fn write_empty_report(out: &mut Vec<u8>, ssrc: u32) {
    out.extend_from_slice(&[VERSION, RR, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

/// What a receiver that sends nothing learns the round-trip time from (RFC 3611 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceAnswer {
    /// The receiver's own source.
    pub ssrc: u32,
    /// Middle 32 bits of the NTP time it told.
    pub reference: u32,
    /// How long ago that came.
    pub delay: Duration,
}

/// Appends answers to the clocks receivers told, as a compound packet of the source `ssrc`. Up to 31 of them.
pub fn write_reference_answers(out: &mut Vec<u8>, ssrc: u32, answers: &[ReferenceAnswer], cname: &str) {
    write_empty_report(out, ssrc);
    write_description(out, &[ssrc], cname);
    let words = 3 * answers.len() as u16;
    out.extend_from_slice(&[VERSION, EXTENDED_REPORT]);
    out.extend_from_slice(&(2 + words).to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[DELAY_SINCE_LAST, 0]);
    out.extend_from_slice(&words.to_be_bytes());
    for answer in answers {
        out.extend_from_slice(&answer.ssrc.to_be_bytes());
        out.extend_from_slice(&answer.reference.to_be_bytes());
        out.extend_from_slice(&((fixed_point(answer.delay) >> 16) as u32).to_be_bytes());
    }
}

/// Appends what a participant says that leaves: an empty report, the description of its sources, and goodbye
/// (RFC 3550 §6.1, §6.6). Up to 31 sources.
pub fn write_goodbye(out: &mut Vec<u8>, sources: &[u32], cname: &str) {
    let Some(first) = sources.first() else { return };
    write_empty_report(out, *first);
    write_description(out, sources, cname);
    out.extend_from_slice(&[VERSION | sources.len() as u8, BYE, 0, sources.len() as u8]);
    for ssrc in sources {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// One thing a receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// How reception of a source goes.
    Report(ReceptionReport),
    /// Packets of a source are missing: one, and those marked in the 16 bits after it.
    Nack {
        /// The source.
        ssrc: u32,
        /// First missing sequence number.
        sequence: u16,
        /// Bit n: `sequence + n + 1` is missing as well.
        following: u16,
    },
    /// The picture is lost; a new start is needed (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    PictureLoss {
        /// The source.
        ssrc: u32,
    },
    /// What time it is at the receiver (RFC 3611 §4.4).
    ReferenceTime {
        /// The receiver's own source.
        ssrc: u32,
        /// Middle 32 bits of its NTP time.
        reference: u32,
    },
    /// The receiver leaves.
    Bye,
}

/// A report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionReport {
    /// The source reported on.
    pub ssrc: u32,
    /// Share lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Interarrival jitter, ticks of the source's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 for none.
    pub last_report: u32,
    /// Delay since that report, 1/65536 s.
    pub delay: u32,
}

impl ReceptionReport {
    /// Round-trip time as of `ntp` (RFC 3550 §6.4.1); `None` before the first sender report.
    pub fn round_trip(&self, ntp: u64) -> Option<Duration> {
        if self.last_report == 0 {
            return None;
        }
        let units = ((ntp >> 16) as u32).wrapping_sub(self.last_report).wrapping_sub(self.delay);
        // A peer whose clock runs fast can make it slightly negative.
        let units = if units > u32::MAX / 2 { 0 } else { units };
        Some(Duration::from_micros((u64::from(units) * 1_000_000) >> 16))
    }

    /// Interarrival jitter of a source whose clock has this rate, Hz (RFC 3550 §6.4.1).
    pub fn jitter(&self, clock_rate: u32) -> Duration {
        Duration::from_micros(u64::from(self.jitter) * 1_000_000 / u64::from(clock_rate.max(1)))
    }
}

/// A packet that is no compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compound RTCP packet")]
pub struct Malformed;

/// Reads a compound packet; unknown packet types are skipped (RFC 3550 §6.1).
///
/// # Errors
/// [`Malformed`] at the first packet whose version or length is wrong; what came before it was
/// already handed to `each`.
pub fn read(mut compound: &[u8], mut each: impl FnMut(Feedback)) -> Result<(), Malformed> {
    if compound.is_empty() {
        return Err(Malformed);
    }
    while let [first, kind, l0, l1, ..] = *compound {
        let len = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        if first >> 6 != 2 {
            return Err(Malformed);
        }
        let (packet, rest) = compound.split_at_checked(len).ok_or(Malformed)?;
        compound = rest;
        let count = first & 0x1f;
        let body = packet.get(4..).ok_or(Malformed)?;
        match kind {
            SR => reports(body.get(24..).ok_or(Malformed)?, count, &mut each),
            RR => reports(body.get(4..).ok_or(Malformed)?, count, &mut each),
            BYE => each(Feedback::Bye),
            TRANSPORT_FEEDBACK if count == GENERIC_NACK => {
                let (_, ssrc, entries) = feedback(body)?;
                for entry in entries.chunks_exact(4) {
                    let [s0, s1, b0, b1] = *entry else { break };
                    let (sequence, following) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([b0, b1]));
                    each(Feedback::Nack { ssrc, sequence, following });
                }
            }
            PAYLOAD_FEEDBACK if count == PLI => each(Feedback::PictureLoss { ssrc: feedback(body)?.1 }),
            PAYLOAD_FEEDBACK if count == FIR => {
                for entry in feedback(body)?.2.chunks_exact(8) {
                    each(Feedback::PictureLoss { ssrc: word(entry, 0).ok_or(Malformed)? });
                }
            }
            EXTENDED_REPORT => extended(body, &mut each)?,
            _ => {}
        }
    }
    if compound.is_empty() { Ok(()) } else { Err(Malformed) }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn feedback(body: &[u8]) -> Result<(u32, u32, &[u8]), Malformed> {
    let parts = || Some((word(body, 0)?, word(body, 4)?, body.get(8..)?));
    parts().ok_or(Malformed)
}

/// Reads the blocks of an extended report; unknown ones are skipped (RFC 3611 §3).
fn extended(body: &[u8], each: &mut impl FnMut(Feedback)) -> Result<(), Malformed> {
    let ssrc = word(body, 0).ok_or(Malformed)?;
    let mut blocks = body.get(4..).ok_or(Malformed)?;
    while let [kind, _, l0, l1, rest @ ..] = blocks {
        let words = u16::from_be_bytes([*l0, *l1]);
        let (block, rest) = rest.split_at_checked(4 * usize::from(words)).ok_or(Malformed)?;
        blocks = rest;
        if (*kind, words) == (RECEIVER_REFERENCE_TIME, REFERENCE_TIME_WORDS) {
            let (seconds, fraction) = (word(block, 0).ok_or(Malformed)?, word(block, 4).ok_or(Malformed)?);
            each(Feedback::ReferenceTime { ssrc, reference: seconds << 16 | fraction >> 16 });
        }
    }
    Ok(())
}

fn reports(blocks: &[u8], count: u8, each: &mut impl FnMut(Feedback)) {
    for block in blocks.chunks_exact(REPORT_BLOCK_LEN).take(usize::from(count)) {
        let report = || {
            Some(ReceptionReport {
                ssrc: word(block, 0)?,
                fraction_lost: *block.get(4)?,
                jitter: word(block, 12)?,
                last_report: word(block, 16)?,
                delay: word(block, 20)?,
            })
        };
        if let Some(report) = report() {
            each(Feedback::Report(report));
        }
    }
}

#[cfg(test)]
mod tests;
