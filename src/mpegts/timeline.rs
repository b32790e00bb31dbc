//! Timestamps: 33 bits unrolled (ISO/IEC 13818-1 §2.4.3.7), and steps of the PCR watched (§2.4.3.5).

use crate::media::Timestamp90k;

const WRAP: i64 = 1 << 33;

/// PCR is to come at least every 100 ms (§2.7.2); a second is beyond any sloppiness. In 1/27000000 s.
const LONGEST_PCR_STEP: u64 = 27_000_000;

/// Unrolls the timestamps of a programme's tracks along one line, so that they stay together
/// when one track wraps before another.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    last: Option<i64>,
}

impl Timeline {
    /// The time nearest to the one before that has these 33 bits.
    pub fn unroll(&mut self, stamp: u64) -> Timestamp90k {
        let low = i64::try_from(stamp % (1 << 33)).unwrap_or(0);
        let time = match self.last {
            None => low,
            Some(last) => {
                let step = (low - last).rem_euclid(WRAP);
                last + if step >= WRAP / 2 { step - WRAP } else { step }
            }
        };
        self.last = Some(time);
        Timestamp90k(time)
    }
}

/// Watches the programme clock reference. Nothing depends on it.
#[derive(Clone, Debug, Default)]
pub struct ClockReference {
    last: Option<u64>,
}

impl ClockReference {
    /// Takes the next reference; whether its step is a fault.
    pub fn push(&mut self, pcr: u64, announced: bool) -> bool {
        const MODULUS: u64 = (1 << 33) * 300;
        let last = self.last.replace(pcr);
        let step = |last: u64| (pcr % MODULUS + MODULUS - last % MODULUS) % MODULUS;
        !announced && last.is_some_and(|last| step(last) > LONGEST_PCR_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_after_33_bits() {
        let mut line = Timeline::default();
        let top = (1u64 << 33) - 3000;
        assert_eq!(line.unroll(top).0, top as i64);
        assert_eq!(line.unroll(0).0, 1 << 33);
        assert_eq!(line.unroll(top).0, top as i64, "the other track is not there yet");
        assert_eq!(line.unroll(3000).0, (1 << 33) + 3000);
        assert_eq!(line.unroll(3000 + (1 << 32)).0, (1 << 33) + 3000 - (1 << 32), "half way round is a step back");
    }

    #[test]
    fn follows_a_source_that_begins_anew() {
        let mut line = Timeline::default();
        line.unroll(90_000_000);
        assert_eq!(line.unroll(126_000).0, 126_000);
    }

    #[test]
    fn counts_clock_references_that_jump() {
        let mut clock = ClockReference::default();
        assert!(!clock.push(0, false));
        assert!(!clock.push(2_700_000, false));
        assert!(clock.push(0, false));
        assert!(!clock.push(270_000_000, true), "announced");
        assert!(clock.push(27_000_000_000, false));
    }
}
