//! What the box adds: from the last SRT datagram of a picture that goes in to the last RTP datagram of it that
//! comes out, to the last of all viewers. Seen from outside: a relay before the box knows when each datagram
//! goes on and which picture it belongs to; the kernel knows when viewers' packets come.

use crate::report::{Report, percentile, spread};
use crate::studio::Studio;
use crate::support::Result;
use crate::support::painter::{Encoding, RATE};
use crate::support::sight::Glimpse;
use crate::support::viewer::{Setup, WhepViewer, crowd};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(6);

/// One picture on its way into the box.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// Presentation time, 90 kHz.
    pub pts: u64,
    /// Wall time of its first datagram, µs.
    pub first: f64,
    /// Wall time of its last datagram, µs.
    pub last: f64,
    /// Bytes of its elementary stream, PES header included.
    pub bytes: usize,
    /// A decoder can start here.
    pub idr: bool,
}

/// Pictures seen in SRT datagrams on their way to the box.
#[derive(Clone, Debug, Default)]
pub struct Entrance(Arc<Mutex<Vec<Entered>>>);

impl Entrance {
    /// Looks at one datagram: SRT data packets (the first bit is 0) carry TS packets behind 16 bytes.
    pub fn datagram(&self, micros: u64, datagram: &[u8]) {
        const VIDEO_PID: u16 = 0x100; // ffmpeg's first elementary stream
        if datagram.first().is_none_or(|first| first & 0x80 != 0) {
            return;
        }
        let mut pictures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for packet in datagram.get(16..).unwrap_or_default().as_chunks::<188>().0 {
            if packet[0] != 0x47 || u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) != VIDEO_PID {
                continue;
            }
            let adaptation = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
            let payload = packet.get(4 + adaptation..).unwrap_or_default();
            if packet[1] & 0x40 != 0
                && let Some(&[a, b, c, d, e]) = payload.get(9..14)
            {
                let time = u64::from(a >> 1 & 7) << 30 | u64::from(b) << 22 | u64::from(c >> 1) << 15;
                let pts = time | u64::from(d) << 7 | u64::from(e >> 1);
                let idr = adaptation > 1 && packet[5] & 0x40 != 0;
                pictures.push(Entered { pts, first: micros as f64, last: 0.0, bytes: 0, idr });
            }
            if let Some(picture) = pictures.last_mut() {
                picture.last = micros as f64;
                picture.bytes += payload.len();
            }
        }
    }

    /// All pictures so far but the last, which may go on.
    pub fn pictures(&self) -> Vec<Entered> {
        let mut pictures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pictures.pop();
        pictures
    }
}

/// Measures with one viewer and with fifty.
///
/// # Errors
/// The box or the sender fails.
pub async fn measure(report: &mut Report, time: Duration) -> Result<()> {
    let entrance = Entrance::default();
    let tap = entrance.clone();
    let encoding = Encoding::default();
    let studio =
        Studio::start_tapped(&encoding, Box::new(move |micros, datagram| tap.datagram(micros, datagram))).await?;
    for count in [1, 50] {
        let setup = Setup { glance: true, ..Setup::default() };
        let viewers = crowd(count, &studio.appliance.whep("pgm"), |_| setup.clone()).await?;
        tokio::time::sleep(SETTLE + time).await;
        let skipped: u64 = viewers.iter().map(|viewer| viewer.sight().skipped).sum();
        let drops: u64 = viewers.iter().map(WhepViewer::socket_drops).sum();
        let delays = Delays::of(&entrance.pictures(), &viewers)?;
        for (kind, delays, met) in [
            ("P", &delays.p, Target { p50: 1.0, p99: 5.0, text: "p50 ≤ 1 ms, p99 ≤ 5 ms" }),
            ("IDR", &delays.idr, Target { p50: f64::MAX, p99: 12.0, text: "p99 ≤ 12 ms" }),
        ] {
            let (p50, p99) = (percentile(delays, 50.0), percentile(delays, 99.0));
            report.row(
                format!("box-added delay, {kind}, {count} viewers, p50 / p99 / max"),
                met.text,
                format!("{p50:.2} / {p99:.2} / {:.2} ms", percentile(delays, 100.0)),
                Some(p50 <= met.p50 && p99 <= met.p99),
            );
        }
        report.note(
            "  pictures P, IDR; mean KB P, IDR; packets skipped, our drops",
            format!(
                "{}, {}; {:.1}, {:.1}; {skipped}, {drops}",
                delays.p.len(),
                delays.idr.len(),
                delays.p_kb,
                delays.idr_kb
            ),
        );
        for viewer in viewers {
            viewer.close().await?;
        }
    }
    let entered = entrance.pictures();
    let painted = painted(&studio.source.painted(), &entered);
    let since_painting = |idr: bool, at: fn(&Entered) -> f64| {
        let of_kind = entered.iter().zip(&painted).filter(|(picture, _)| picture.idr == idr).skip(5);
        spread(&of_kind.map(|(picture, painted)| (at(picture) - painted) / 1000.0).collect::<Vec<_>>())
    };
    for (kind, idr) in [("P", false), ("IDR", true)] {
        let (first, last) = (since_painting(idr, |picture| picture.first), since_painting(idr, |picture| picture.last));
        report.note(format!("  painted → first SRT datagram of it sent, {kind}, p50 / p95 / max"), first);
        report.note(format!("  painted → last SRT datagram of it sent, {kind}, p50 / p95 / max"), last);
    }
    Ok(())
}

struct Target {
    p50: f64,
    p99: f64,
    text: &'static str,
}

struct Delays {
    p: Vec<f64>,
    idr: Vec<f64>,
    p_kb: f64,
    idr_kb: f64,
}

impl Delays {
    fn of(entered: &[Entered], viewers: &[WhepViewer]) -> Result<Self> {
        let sights: Vec<_> = viewers.iter().map(WhepViewer::sight).collect();
        let first = sights.first().ok_or("no viewer")?;
        let offset = offset(entered, &first.pictures).ok_or("no picture that went in came out")?;
        let by_timestamp: HashMap<u32, &Entered> =
            entered.iter().map(|picture| ((picture.pts as u32).wrapping_add(offset), picture)).collect();
        let mut last: HashMap<u32, (f64, usize)> = HashMap::new();
        for sight in &sights {
            // The first pictures of a viewer may be ones that the others had long before.
            let begin = sight.pictures.first().map_or(0.0, |picture| picture.first) + SETTLE.as_micros() as f64 / 2.0;
            for picture in sight.pictures.iter().filter(|picture| picture.whole && picture.first > begin) {
                let seen = last.entry(picture.timestamp).or_default();
                *seen = (seen.0.max(picture.last), seen.1 + 1);
            }
        }
        let mut delays = Self { p: Vec::new(), idr: Vec::new(), p_kb: 0.0, idr_kb: 0.0 };
        for (timestamp, (at, count)) in last {
            let Some(picture) = by_timestamp.get(&timestamp).filter(|_| count == viewers.len()) else { continue };
            let (of_kind, kb) =
                if picture.idr { (&mut delays.idr, &mut delays.idr_kb) } else { (&mut delays.p, &mut delays.p_kb) };
            of_kind.push((at - picture.last) / 1000.0);
            *kb += picture.bytes as f64 / 1000.0;
        }
        delays.p_kb /= delays.p.len() as f64;
        delays.idr_kb /= delays.idr.len() as f64;
        Ok(delays)
    }
}

/// What is added to a PTS to have the RTP timestamp: found by the pictures' sizes, since delays are what is asked for.
pub fn offset(entered: &[Entered], left: &[Glimpse]) -> Option<u32> {
    let sizes: HashMap<u32, f64> = entered.iter().map(|picture| (picture.pts as u32, picture.bytes as f64)).collect();
    let left = left.get(..left.len().saturating_sub(1))?;
    let sample: Vec<_> = left.iter().filter(|picture| picture.whole).skip(5).take(60).collect();
    let last = sample.last()?;
    let near = entered.iter().filter(|picture| (0.0..1e6).contains(&(last.last - picture.first)));
    near.map(|picture| last.timestamp.wrapping_sub(picture.pts as u32))
        .map(|offset| {
            let misfit = |picture: &&Glimpse| match sizes.get(&picture.timestamp.wrapping_sub(offset)) {
                // 40 bytes of headers and tag to each packet, at a guess: a constant share does no harm.
                Some(size) => (size - (picture.bytes as f64 - 40.0 * f64::from(picture.packets))).abs(),
                None => 100_000.0,
            };
            (sample.iter().map(misfit).sum::<f64>(), offset)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, offset)| offset)
}

/// When each picture that went in was painted, µs. A sender may leave out some at its start, before it has a
/// connection; how many shows in that none is sent before it is painted, and none a whole picture late at best.
fn painted(painted: &[u64], entered: &[Entered]) -> Vec<f64> {
    let first = entered.first().map_or(0, |picture| picture.pts);
    let number = |picture: &Entered| ((picture.pts - first) as usize * RATE as usize + 45_000) / 90_000;
    let times = |left_out: usize| -> Vec<f64> {
        let time = |picture| painted.get(number(picture) + left_out).map_or(f64::MAX, |micros| *micros as f64);
        entered.iter().map(time).collect()
    };
    let is_possible =
        |times: &Vec<f64>| entered.iter().zip(times).skip(5).all(|(picture, painted)| picture.first >= *painted);
    (0..30).map(times).take_while(is_possible).last().unwrap_or_else(|| times(0))
}
