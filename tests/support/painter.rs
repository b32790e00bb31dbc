//! A picture with a painted clock: raw frames at an exact rate into ffmpeg, so that whoever sees one
//! (a browser, a decoder) can say how old it is.
//!
//! The clock is [`COLUMNS`] × [`ROWS`] black and white squares of [`CELL`] pixels with the wall time at which
//! the frame was painted, in units of 100 µs. Everything around it moves, so that pictures between two IDRs
//! are as large as those of a camera.

use super::appliance::{Log, command};
use super::{Result, Seeded, wall_micros};
use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pixels a line.
pub const WIDTH: usize = 1280;
/// Lines.
pub const HEIGHT: usize = 720;
/// Pictures a second.
pub const RATE: u64 = 30;
/// From one flash to the next.
pub const FLASH_SECONDS: u64 = 2;
/// Edge of one square, pixels: whole macroblocks, so that it survives any quantiser.
pub const CELL: usize = 32;
/// Squares in a row.
pub const COLUMNS: usize = 24;
/// Rows of squares.
pub const ROWS: usize = 2;
/// Left edge of the clock, pixels.
pub const LEFT: usize = 256;
/// Upper edge of the clock, pixels.
pub const TOP: usize = 64;
/// The first squares, which tell a clock from anything else.
pub const MARK: u64 = 0b101_1001;

const BLACK: u8 = 16;
const WHITE: u8 = 235;
const TEXTURE: usize = 2048;
const TILE: usize = 80;

/// The 48 squares: [`MARK`] (7), the flash (1), the time (32), their checksum (8).
pub fn clock_bits(hundred_micros: u32, flash: bool) -> u64 {
    let body = MARK << 33 | u64::from(flash) << 32 | u64::from(hundred_micros);
    let sum = body.to_be_bytes().iter().fold(0x5a_u8, |sum, byte| sum.rotate_left(3) ^ byte);
    body << 8 | u64::from(sum)
}

/// Draws frames in I420.
#[derive(Debug)]
pub struct Canvas {
    texture: Vec<u8>,
    grain: Vec<u8>,
    random: Seeded,
}

impl Canvas {
    /// A canvas; the same `seed` draws the same frames.
    pub fn new(seed: u64) -> Self {
        let mut random = Seeded(seed);
        let mut texture = vec![0u8; TEXTURE * TEXTURE];
        // Value noise of three sizes: what a camera's picture is made of, without being one.
        for (step, weight) in [(64, 90.0), (16, 50.0), (4, 25.0)] {
            let cells = TEXTURE / step + 1;
            let knots: Vec<f64> = (0..cells * cells).map(|_| random.fraction() * weight).collect();
            for y in 0..TEXTURE {
                for x in 0..TEXTURE {
                    let (column, row) = (x / step, y / step);
                    let (u, v) = ((x % step) as f64 / step as f64, (y % step) as f64 / step as f64);
                    let knot = |c: usize, r: usize| knots[r * cells + c];
                    let upper = knot(column, row) * (1.0 - u) + knot(column + 1, row) * u;
                    let lower = knot(column, row + 1) * (1.0 - u) + knot(column + 1, row + 1) * u;
                    texture[y * TEXTURE + x] += (upper * (1.0 - v) + lower * v) as u8;
                }
            }
        }
        let grain = (0..WIDTH * 64 + 4096).map(|_| (random.next_u64() % 7) as u8).collect();
        Self { texture, grain, random }
    }

    /// Draws all but the clock of frame `number`.
    pub fn scene(&mut self, number: u64, frame: &mut [u8]) {
        let (luma, chroma) = frame.split_at_mut(WIDTH * HEIGHT);
        let n = number as usize;
        for (row, lines) in luma.chunks_mut(WIDTH * TILE).enumerate() {
            for column in 0..WIDTH / TILE {
                // Neighbours move differently, some not at all, as people before a set do.
                let speed = (row * 7 + column * 3) % 5;
                let x = (column * TILE + n * speed) % (TEXTURE - TILE);
                let y = (row * TILE + n * ((speed + column) % 3)) % (TEXTURE - TILE);
                for (line, to) in lines.chunks_mut(WIDTH).enumerate() {
                    let from = (y + line) * TEXTURE + x;
                    to[column * TILE..][..TILE].copy_from_slice(&self.texture[from..from + TILE]);
                }
            }
            let at = (self.random.next_u64() % 4096) as usize;
            for (pixel, grain) in lines.iter_mut().zip(self.grain[at..].iter().cycle()) {
                *pixel = pixel.wrapping_add(*grain);
            }
        }
        for (line, to) in chroma.chunks_mut(WIDTH / 2).enumerate() {
            to.fill(112 + ((line + n / 2) / 24 % 32) as u8);
        }
    }

    /// Draws the clock.
    pub fn clock(frame: &mut [u8], hundred_micros: u32, flash: bool) {
        let bits = clock_bits(hundred_micros, flash);
        for cell in 0..COLUMNS * ROWS {
            let white = bits >> (COLUMNS * ROWS - 1 - cell) & 1 == 1;
            let (x, y) = (LEFT + cell % COLUMNS * CELL, TOP + cell / COLUMNS * CELL);
            for line in frame[y * WIDTH..].chunks_mut(WIDTH).take(CELL) {
                line[x..x + CELL].fill(if white { WHITE } else { BLACK });
            }
        }
        if flash {
            frame[WIDTH * 400..WIDTH * 656].fill(WHITE);
        }
    }
}

/// How the painted picture is encoded and sent.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// x264's preset.
    pub preset: &'static str,
    /// `4M`.
    pub bitrate: &'static str,
    /// The encoder's rate buffer, `4M`: how large an IDR may get.
    pub buffer: &'static str,
    /// Pictures from one IDR to the next.
    pub gop: u64,
    /// SRT latency the sender asks for, ms.
    pub latency_ms: u64,
    /// Time from one painting to the next.
    pub frame_time: Duration,
    /// With sound in AAC: a beep with every flash.
    pub sound: bool,
    /// More words for ffmpeg before the output's name.
    pub more: Vec<String>,
}

const FRAME_TIME: Duration = Duration::from_nanos(1_000_000_000 / RATE);

/// A time between frames with which the painter slips past a display of 60 Hz by one of its frames in `time`.
/// A sender and a display never run in step; if they do in a measurement, its result is that one step's.
pub fn slipping(time: Duration) -> Duration {
    let display = Duration::from_nanos(1_000_000_000 / 60);
    FRAME_TIME + display.mul_f64(FRAME_TIME.as_secs_f64() / time.as_secs_f64())
}

impl Default for Encoding {
    fn default() -> Self {
        Self {
            preset: "ultrafast",
            bitrate: "4M",
            buffer: "4M",
            gop: RATE,
            latency_ms: 20,
            frame_time: FRAME_TIME,
            sound: false,
            more: Vec::new(),
        }
    }
}

/// A running painter with its encoder. Dropped, it ends.
#[derive(Debug)]
pub struct Painted {
    child: Child,
    log: Log,
    painted: Arc<Mutex<Vec<u64>>>,
    gop: u64,
}

impl Painted {
    /// Starts painting and sends to `srt` (`srt://host:port?streamid=…`).
    ///
    /// # Errors
    /// There is no ffmpeg.
    pub fn publish(srt: &str, encoding: &Encoding) -> Result<Self> {
        let separator = if srt.contains('?') { '&' } else { '?' };
        Self::encode(&format!("{srt}{separator}latency={}", encoding.latency_ms * 1000), encoding, Stdio::null())
            .map(|(painted, _)| painted)
    }

    /// Starts painting; ffmpeg writes MPEG-TS to `output`, or to a pipe that is given back.
    ///
    /// # Errors
    /// There is no ffmpeg.
    pub fn encode(
        output: &str,
        encoding: &Encoding,
        stdout: Stdio,
    ) -> Result<(Self, Option<std::process::ChildStdout>)> {
        let Encoding { preset, bitrate, buffer, gop, more, frame_time, .. } = encoding;
        let frame_time = *frame_time;
        // Made within the encoder, up to the picture's time: a second input would be asked in turns of 10 ms. The
        // noise keeps AAC frames at their usual size: ffmpeg packs those of silence by the dozen, 300 ms late.
        let beep = format!(
            "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,{FLASH_SECONDS}),0.1)+0.04*(random(0)-0.5)':s=48000:c=mono[beep]"
        );
        let sound: &[&str] = if encoding.sound {
            &["-filter_complex", &beep, "-map", "0:v", "-map", "[beep]", "-c:a", "aac", "-b:a", "128k", "-ac", "2"]
        } else {
            &[]
        };
        let mut child = command("/usr/bin/ffmpeg")
            .args(["-hide_banner", "-loglevel", "warning", "-fflags", "nobuffer", "-probesize", "32"])
            .args(["-analyzeduration", "0", "-f", "rawvideo", "-pix_fmt", "yuv420p"])
            .args(["-video_size", &format!("{WIDTH}x{HEIGHT}"), "-framerate", &RATE.to_string(), "-i", "pipe:0"])
            .args(sound)
            .args(["-c:v", "libx264", "-preset", preset, "-tune", "zerolatency", "-bf", "0"])
            .args(["-g", &gop.to_string(), "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", buffer])
            .args(["-x264-params", "scenecut=0"])
            .args(more)
            .args(["-f", "mpegts", output])
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Log::default();
        log.follow(child.stderr.take().ok_or("no stderr")?);
        let mut pipe = child.stdin.take().ok_or("no stdin")?;
        // A frame fits into a pipe of this size twice over, so that painting does not wait for the encoder.
        let _ = nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
        let painted = Arc::new(Mutex::new(Vec::new()));
        let times = painted.clone();
        std::thread::spawn(move || {
            let mut canvas = Canvas::new(1);
            let mut frame = vec![128u8; WIDTH * HEIGHT * 3 / 2];
            let start = super::now() + Duration::from_millis(50);
            for number in 0u64.. {
                canvas.scene(number, &mut frame);
                wait_until(start + Duration::from_nanos(frame_time.as_nanos() as u64 * number));
                let time = wall_micros();
                Canvas::clock(&mut frame, hundred_micros(time), number % (FLASH_SECONDS * RATE) == 0);
                times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
                if pipe.write_all(&frame).is_err() {
                    return;
                }
            }
        });
        let stdout = child.stdout.take();
        Ok((Self { child, log, painted, gop: *gop }, stdout))
    }

    /// Wall time of each frame so far, µs.
    pub fn painted(&self) -> Vec<u64> {
        self.painted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Place in the group of pictures of the frame painted last; 0 is the IDR.
    pub fn place(&self) -> u64 {
        let count = self.painted.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        count.saturating_sub(1) % self.gop
    }

    /// What ffmpeg complained of.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// ffmpeg's process identifier.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Painted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A wall time in the units of the painted clock.
pub fn hundred_micros(wall_micros: u64) -> u32 {
    (wall_micros / 100) as u32
}

/// Sleeps most of the way: waking late by a tick of the scheduler would be read as delay.
fn wait_until(due: Instant) {
    const LAST: Duration = Duration::from_micros(300);
    let left = due.saturating_duration_since(super::now());
    std::thread::sleep(left.saturating_sub(LAST));
    while super::now() < due {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports, reason = "a bench without a harness has no tests")]
    use super::*;

    #[test]
    fn the_painted_clock_is_what_its_squares_say() {
        let mut frame = vec![128u8; WIDTH * HEIGHT * 3 / 2];
        Canvas::new(1).scene(5, &mut frame);
        Canvas::clock(&mut frame, 0xdead_beef, true);
        let bits = (0..COLUMNS * ROWS).fold(0u64, |bits, cell| {
            let (x, y) = (LEFT + cell % COLUMNS * CELL + CELL / 2, TOP + cell / COLUMNS * CELL + CELL / 2);
            bits << 1 | u64::from(frame[y * WIDTH + x] > 128)
        });
        assert_eq!(bits, clock_bits(0xdead_beef, true));
        assert_eq!((bits >> 41, bits >> 40 & 1, bits >> 8 & 0xffff_ffff), (MARK, 1, 0xdead_beef));
    }
}
