//! Replay protection by a sliding window (RFC 3711 §3.3.2).

/// Remembers which of the last 128 indices were accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    /// Bit n: `highest - n` was accepted.
    seen: u128,
}

impl ReplayWindow {
    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.highest {
            None => true,
            Some(highest) if index > highest => true,
            Some(highest) => {
                let age = highest - index;
                age < 128 && self.seen >> age & 1 == 0
            }
        }
    }

    pub(super) fn accept(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {
                let age = highest - index;
                if age < 128 {
                    self.seen |= 1 << age;
                }
            }
            before => {
                let step = before.map_or(128, |highest| index - highest);
                self.seen = if step < 128 { self.seen << step | 1 } else { 1 };
                self.highest = Some(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_each_index_once_and_nothing_older_than_the_window() {
        let mut window = ReplayWindow::default();
        for index in [5, 3, 200, 199, 80, 73] {
            assert!(window.is_new(index), "{index}");
            window.accept(index);
            assert!(!window.is_new(index), "{index}");
        }
        assert!(!window.is_new(72), "older than the window");
        assert!(window.is_new(74));
        assert!(window.is_new(u64::MAX));
    }
}
