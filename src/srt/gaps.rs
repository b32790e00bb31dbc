//! How long gaps held up what was behind them.
//!
//! Owns: the figures. Does not own: when a gap ends (`reassembly`). Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Waits the percentiles are taken of.
const RECENT: usize = 256;

/// Counts gaps as they end.
#[derive(Debug, Default)]
pub struct Gaps {
    count: u64,
    total: Duration,
    longest: Duration,
    recent: VecDeque<Duration>,
}

/// Gaps that made packets wait, whether they were filled or given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapFigures {
    /// How many.
    pub count: u64,
    /// How long they held up the first packet behind them: the mean.
    pub mean: Duration,
    /// The longest.
    pub longest: Duration,
    /// The median of the latest 256.
    pub p50: Duration,
    /// The 99th percentile of the latest 256.
    pub p99: Duration,
}

impl Gaps {
    /// A gap has ended that held the first packet behind it up for so long.
    pub fn ended(&mut self, waited: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(waited);
        self.longest = self.longest.max(waited);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(waited);
    }

    /// The figures so far.
    pub fn figures(&self) -> GapFigures {
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let percentile = |percent: usize| {
            let last = sorted.len().saturating_sub(1);
            sorted.get(last * percent / 100).copied().unwrap_or_default()
        };
        let mean = self.total.as_nanos().checked_div(u128::from(self.count)).unwrap_or_default();
        GapFigures {
            count: self.count,
            mean: Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)),
            longest: self.longest,
            p50: percentile(50),
            p99: percentile(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_all_gaps_and_percentiles_of_the_latest() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.figures(), GapFigures::default());
        gaps.ended(Duration::from_secs(5));
        for ms in (0..RECENT as u64).rev() {
            gaps.ended(Duration::from_millis(ms));
        }
        let figures = gaps.figures();
        assert_eq!((figures.count, figures.longest), (257, Duration::from_secs(5)));
        assert_eq!((figures.p50, figures.p99), (Duration::from_millis(127), Duration::from_millis(252)));
        assert_eq!(figures.mean.as_millis(), (5_000 + 255 * 128) / 257);
    }
}
