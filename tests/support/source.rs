//! Sources: Debian's ffmpeg as a publisher, and clips of its making sent by an SRT socket of ours
//! that knows the instant at which each picture left.

use super::appliance::{Log, command, spawn_logged};
use super::{Result, now};
use bytes::Bytes;
use futures_util::SinkExt;
use srt_tokio::SrtSocket;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What ffmpeg encodes.
#[derive(Clone, Debug)]
pub struct Picture {
    /// `1280x720`.
    pub size: &'static str,
    /// Pictures a second.
    pub rate: u32,
    /// Bits a second, `4M`.
    pub bitrate: &'static str,
    /// Pictures from one IDR to the next.
    pub gop: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// With a tone in AAC.
    pub sound: bool,
    /// `libx264` or `libx265`.
    pub codec: &'static str,
}

impl Default for Picture {
    fn default() -> Self {
        Self { size: "320x180", rate: 30, bitrate: "500k", gop: 30, b_frames: 0, sound: true, codec: "libx264" }
    }
}

impl Picture {
    fn arguments(&self, seconds: Option<u32>) -> Vec<String> {
        let Picture { size, rate, bitrate, gop, b_frames, sound, codec } = self;
        let mut words: Vec<String> =
            ["-hide_banner", "-loglevel", "warning", "-nostdin", "-y"].map(String::from).into();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        if seconds.is_none() {
            add(&["-re"]);
        }
        add(&["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate={rate}")]);
        if *sound {
            if seconds.is_none() {
                add(&["-re"]);
            }
            add(&["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
            add(&["-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
        }
        if let Some(seconds) = seconds {
            add(&["-t", &seconds.to_string()]);
        }
        add(&["-c:v", codec, "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", &gop.to_string()]);
        if *b_frames == 0 {
            add(&["-tune", "zerolatency"]);
        }
        add(&["-bf", &b_frames.to_string(), "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate]);
        if *codec == "libx264" {
            add(&["-x264-params", "scenecut=0"]);
        }
        add(&["-f", "mpegts", "-pes_payload_size", "0"]);
        words
    }
}

/// ffmpeg, encoding in real time and publishing over SRT. Dropped, it is killed.
#[derive(Debug)]
pub struct Ffmpeg {
    child: Child,
    log: Log,
}

impl Ffmpeg {
    /// Starts publishing to `url` (`srt://host:port?streamid=…`).
    ///
    /// # Errors
    /// There is no ffmpeg.
    pub fn publish(url: &str, picture: &Picture) -> Result<Self> {
        let (child, log) = spawn_logged(command("/usr/bin/ffmpeg").args(picture.arguments(None)).arg(url))?;
        Ok(Self { child, log })
    }

    /// What it complained of.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// It has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An MPEG-TS clip of `seconds`, made once and kept in the target directory.
///
/// # Errors
/// ffmpeg is missing or fails.
pub fn clip(picture: &Picture, seconds: u32) -> Result<Bytes> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = lock(&ONE_AT_A_TIME);
    let Picture { size, rate, bitrate, gop, b_frames, sound, codec } = picture;
    let name = format!("{size}-{rate}-{bitrate}-{gop}-{b_frames}-{sound}-{codec}-{seconds}.mpegts");
    let path = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target")).join(name);
    if !path.exists() {
        let half_made = path.with_extension("part");
        let done = command("/usr/bin/ffmpeg")
            .args(picture.arguments(Some(seconds)))
            .arg(&half_made)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            return Err(format!("ffmpeg: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
        std::fs::rename(&half_made, &path)?;
    }
    Ok(Bytes::from(std::fs::read(&path)?))
}

/// What ffmpeg makes of a bit stream.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Pictures decoded.
    pub pictures: u64,
    /// `320x180`, of the first sequence.
    pub size: String,
    /// What it complained of.
    pub complaints: String,
}

/// Decodes Annex B H.264 with ffmpeg.
///
/// # Errors
/// There is no ffmpeg.
pub fn decode(annex_b: Vec<u8>) -> Result<Decoded> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("stream.h264");
    std::fs::write(&file, annex_b)?;
    // ffmpeg needs well under a second for what is decoded here, so it is simply waited for.
    let done = command("/usr/bin/ffmpeg")
        .args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-f", "h264", "-i"])
        .arg(&file)
        .args(["-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()?;
    let sums = String::from_utf8_lossy(&done.stdout);
    let size = sums.lines().find_map(|line| line.strip_prefix("#dimensions 0: ")).unwrap_or_default().to_owned();
    let pictures = sums.lines().filter(|line| !line.starts_with('#')).count() as u64;
    Ok(Decoded { pictures, size, complaints: String::from_utf8_lossy(&done.stderr).into_owned() })
}

/// How an SRT socket of ours connects.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Port of the box.
    pub port: u16,
    /// SRT stream ID; empty for none.
    pub stream_id: String,
    /// Passphrase and its key length in bytes.
    pub passphrase: Option<(u16, String)>,
    /// Latency the sender asks for.
    pub latency: Duration,
}

/// Sends a clip in real time; ends with the clip, or when it is dropped.
#[derive(Debug)]
pub struct ClipSender {
    sent: Arc<Mutex<Vec<Instant>>>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl ClipSender {
    /// Connects and starts sending.
    ///
    /// # Errors
    /// The box refuses, or does not answer.
    pub async fn start(caller: &Caller, clip: Bytes) -> Result<Self> {
        let mut builder = SrtSocket::builder().latency(caller.latency);
        if let Some((size, passphrase)) = &caller.passphrase {
            builder = builder.encryption(*size, passphrase.clone());
        }
        let stream_id = Some(caller.stream_id.as_str()).filter(|id| !id.is_empty());
        let mut socket = builder.call(format!("127.0.0.1:{}", caller.port).as_str(), stream_id).await?;
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = sent.clone();
        let task = tokio::spawn(async move {
            let start = now();
            for (offset, picture) in pictures(&clip) {
                tokio::time::sleep_until((start + offset).into()).await;
                for payload in picture.chunks(7 * 188) {
                    socket.send((now(), Bytes::copy_from_slice(payload))).await?;
                }
                lock(&log).push(now());
            }
            socket.close_and_finish().await?;
            Ok(())
        });
        Ok(Self { sent, task })
    }

    /// When each picture so far had been handed to the socket. The first one is an IDR picture.
    pub fn sent(&self) -> Vec<Instant> {
        lock(&self.sent).clone()
    }
}

impl Drop for ClipSender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Splits a clip before each video PES; gives when each part is due, from the clip's beginning.
fn pictures(clip: &[u8]) -> Vec<(Duration, &[u8])> {
    const VIDEO_PID: u16 = 0x100; // ffmpeg's first elementary stream
    let mut starts = Vec::new();
    for (number, packet) in clip.as_chunks::<188>().0.iter().enumerate() {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        if pid == VIDEO_PID && packet[1] & 0x40 != 0 {
            let adaptation = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
            if let Some(pes) = packet.get(4 + adaptation..)
                && let Some(&[a, b, c, d, e]) = pes.get(if pes[7] & 0x40 != 0 { 14..19 } else { 9..14 })
            {
                let high = u64::from(a >> 1 & 7) << 30;
                let middle = u64::from(b) << 22 | u64::from(c >> 1) << 15;
                starts.push((number * 188, high | middle | u64::from(d) << 7 | u64::from(e >> 1)));
            }
        }
    }
    let first = starts.first().map_or(0, |(_, time)| *time);
    // The tables before the first picture go with it.
    if let Some(start) = starts.first_mut() {
        start.0 = 0;
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([clip.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|((at, time), end)| {
            let due = Duration::from_micros(time.saturating_sub(first) * 100 / 9);
            (due, clip.get(*at..end).unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports, reason = "a bench without a harness has no tests")]
    use super::*;

    #[test]
    fn a_clip_is_cut_into_pictures_at_their_times() {
        for (sound, b_frames) in [(true, 0), (false, 0), (true, 2)] {
            let clip = clip(&Picture { sound, b_frames, ..Picture::default() }, 2).unwrap();
            let pictures = pictures(&clip);
            assert_eq!(pictures.len(), 60);
            assert_eq!(pictures.iter().map(|(_, part)| part.len()).sum::<usize>(), clip.len());
            for (number, (due, _)) in (0u32..).zip(&pictures) {
                let wanted = Duration::from_secs(1) * number / 30;
                assert!(due.abs_diff(wanted) < Duration::from_millis(1), "{number}: {due:?}");
            }
        }
    }
}
