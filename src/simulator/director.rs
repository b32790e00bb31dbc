//! Cuts by itself, so that a demonstration shows something. Pure.

use super::random::Random;
use super::show::{Arguments, Show};

/// Decides what comes next; the same seed gives the same show.
#[derive(Debug)]
pub(super) struct Director {
    random: Random,
    beat: u64,
}

impl Director {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), beat: 0 }
    }

    /// The next move, twice a cut: first what is next goes to preview, then it goes on air.
    pub(super) fn conduct(&mut self, show: &mut Show) {
        self.beat += 1;
        if !self.beat.is_multiple_of(2) {
            let [main, _] = &show.mixes;
            let others = show.inputs.iter().filter(|input| input.key != main.active);
            // Mostly cameras.
            let kinds: &[&str] = if self.random.next() >> 61 == 0 { &["Video", "Colour"] } else { &["Capture"] };
            let others: Vec<String> =
                others.filter(|input| kinds.contains(&input.kind)).map(|input| input.key.clone()).collect();
            let input = self.random.pick(&others).cloned();
            show.apply("PreviewInput", &Arguments { input, ..Arguments::default() });
        } else {
            show.apply("Cut", &Arguments::default());
            // A title over every third picture, gone with the next cut.
            let title = show.inputs.iter().find(|input| input.kind == "GT").map(|input| input.key.clone());
            let function = if self.beat.is_multiple_of(6) { "OverlayInput1In" } else { "OverlayInput1Out" };
            show.apply(function, &Arguments { input: title, ..Arguments::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(seed: u64) -> Vec<String> {
        let (mut director, mut show) = (Director::new(seed), Show::studio());
        (0..60)
            .map(|_| {
                director.conduct(&mut show);
                show.tally()
            })
            .collect()
    }

    #[test]
    fn every_second_move_puts_another_input_on_air() {
        let (mut director, mut show) = (Director::new(7), Show::studio());
        for _ in 0..100 {
            let before = show.mixes[0].active.clone();
            director.conduct(&mut show);
            assert_eq!(show.mixes[0].active, before);
            director.conduct(&mut show);
            assert_ne!(show.mixes[0].active, before);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_show() {
        assert_eq!(tallies(1), tallies(1));
        assert_ne!(tallies(1), tallies(2));
    }
}
