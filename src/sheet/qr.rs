//! QR codes (ISO/IEC 18004), as a drawing and in half blocks.

use std::fmt::Write;

use qrcode::{EcLevel, QrCode};

/// The light modules that readers need around a code on paper (ISO/IEC 18004 §5.3.8).
const MARGIN: usize = 4;

/// On a screen the room is small and the edges are sharp: two are enough for phones.
const MARGIN_ON_SCREEN: usize = 2;

/// A drawing of a QR code for paper and screens alike (SVG); `label` is plain text for an attribute. `None` when the
/// text is too long for any code.
pub fn svg(text: &str, label: &str) -> Option<String> {
    Code::for_paper(text).map(|code| code.svg(label))
}

/// A QR code.
pub(super) struct Code {
    width: usize,
    dark: Vec<bool>,
}

impl Code {
    /// For paper: 15 % of it may be torn or dirty. `None` when the text is too long for any code.
    pub(super) fn for_paper(text: &str) -> Option<Self> {
        Self::new(text, EcLevel::M)
    }

    /// For a screen, which nothing dirties: as small as can be.
    pub(super) fn for_screen(text: &str) -> Option<Self> {
        Self::new(text, EcLevel::L)
    }

    fn new(text: &str, level: EcLevel) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, level).ok()?;
        let dark = code.to_colors().into_iter().map(|color| color == qrcode::Color::Dark).collect();
        Some(Self { width: code.width(), dark })
    }

    /// Whether a module is dark; what is outside of the code is light.
    fn is_dark(&self, x: usize, y: usize, margin: usize) -> bool {
        let inside = |at: usize| at.checked_sub(margin).filter(|at| *at < self.width);
        let at = inside(x).zip(inside(y)).map(|(x, y)| y * self.width + x);
        at.and_then(|at| self.dark.get(at)).is_some_and(|dark| *dark)
    }

    /// An SVG drawing with a margin, one unit a module, that says what it is to those who cannot see it.
    /// `label` is plain text for an attribute.
    pub(super) fn svg(&self, label: &str) -> String {
        let size = self.width + 2 * MARGIN;
        let mut path = String::new();
        for y in 0..size {
            let mut x = 0;
            while x < size {
                let run = (x..size).take_while(|x| self.is_dark(*x, y, MARGIN)).count();
                if run > 0 {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run.max(1);
            }
        }
        format!(
            "<svg viewBox=\"0 0 {size} {size}\" role=\"img\" aria-label=\"{label}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path d=\"{path}\"/></svg>"
        )
    }

    /// Columns of a terminal that [`Code::blocks`] takes.
    pub(super) fn columns(&self, size: Size) -> usize {
        let modules = self.width + 2 * MARGIN_ON_SCREEN;
        match size {
            Size::HalfBlocks => modules,
            Size::Blocks => 2 * modules,
        }
    }

    /// Lines for a terminal with light letters on dark ground, whose characters are twice as high as wide.
    pub(super) fn blocks(&self, size: Size) -> Vec<String> {
        let modules = self.width + 2 * MARGIN_ON_SCREEN;
        let dark = |x, y| self.is_dark(x, y, MARGIN_ON_SCREEN);
        let halves = |x, y| match (dark(x, y), dark(x, y + 1)) {
            (false, false) => "█",
            (false, true) => "▀",
            (true, false) => "▄",
            (true, true) => " ",
        };
        let whole = |x, y| if dark(x, y) { "  " } else { "██" };
        match size {
            Size::HalfBlocks => (0..modules).step_by(2).map(|y| (0..modules).map(|x| halves(x, y)).collect()).collect(),
            Size::Blocks => (0..modules).map(|y| (0..modules).map(|x| whole(x, y)).collect()).collect(),
        }
    }
}

/// How large a code is on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Two modules a character, its upper and its lower half.
    HalfBlocks,
    /// A module is two characters: four times the area.
    Blocks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_blocks_hold_every_module_and_a_light_margin() {
        let code = Code::for_screen("http://192.168.1.20/").unwrap();
        let lines = code.blocks(Size::HalfBlocks);
        assert_eq!((code.width, code.columns(Size::HalfBlocks), lines.len()), (25, 29, 15));
        assert_eq!(lines[0], "█".repeat(29));
        // The finder pattern: seven dark modules, then a ring of light.
        assert!(lines[1].starts_with("██ ▄▄▄▄▄ █"), "{}", lines[1]);
        assert!(lines.iter().all(|line| line.chars().count() == 29 && line.starts_with("██") && line.ends_with("██")));
    }

    #[test]
    fn whole_blocks_are_the_same_picture() {
        let code = Code::for_screen("http://192.168.1.20/").unwrap();
        let lines = code.blocks(Size::Blocks);
        assert_eq!((code.columns(Size::Blocks), lines.len()), (58, 29));
        assert!(lines.iter().all(|line| line.chars().count() == 58));
        let dark: usize = lines.iter().map(|line| line.matches(' ').count()).sum();
        assert_eq!(dark, 2 * code.dark.iter().filter(|dark| **dark).count());
    }

    #[test]
    fn a_drawing_covers_exactly_the_dark_modules() {
        let code = Code::for_paper("http://10.88.89.1/").unwrap();
        let drawing = code.svg("page");
        let runs = drawing.split("d=\"M").nth(2).unwrap().split("h-").skip(1);
        let drawn: usize = runs.map(|run| run.split('z').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(drawn, code.dark.iter().filter(|dark| **dark).count());
        assert!(drawing.contains("viewBox=\"0 0 33 33\""));
    }

    #[test]
    fn a_text_for_which_no_code_is_large_enough_has_none() {
        assert!(Code::for_screen(&"x".repeat(5000)).is_none());
    }
}
