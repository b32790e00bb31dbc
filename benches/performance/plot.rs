//! Plots as SVG, drawn by hand: a distribution, or points over places.

use crate::support::Result;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
const COLOURS: [&str; 4] = ["#0b6bcb", "#c2410c", "#15803d", "#7e22ce"];

/// A plot being drawn.
#[derive(Debug)]
pub struct Plot {
    svg: String,
    x: (f64, f64),
    y: (f64, f64),
    series: usize,
}

impl Plot {
    /// An empty plot over `x` and `y` (least, most), with a line at every step.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn new(title: &str, x: (f64, f64, f64, &str), y: (f64, f64, f64, &str)) -> Result<Self> {
        let mut plot = Self { svg: String::new(), x: (x.0, x.1), y: (y.0, y.1), series: 0 };
        write!(
            plot.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{title}</text>\n"
        )?;
        let mut at = x.0;
        while at <= x.1 {
            let place = plot.across(at);
            let (top, bottom) = (TOP, HEIGHT - BOTTOM);
            writeln!(plot.svg, "<path d=\"M{place:.1} {top}V{bottom}\" stroke=\"#e5e5e5\"/>")?;
            let label = bottom + 16.0;
            writeln!(plot.svg, "<text x=\"{place:.1}\" y=\"{label}\" text-anchor=\"middle\">{at}</text>")?;
            at += x.2;
        }
        let mut at = y.0;
        while at <= y.1 {
            let place = plot.up(at);
            let (left, right) = (LEFT, WIDTH - RIGHT);
            writeln!(plot.svg, "<path d=\"M{left} {place:.1}H{right}\" stroke=\"#e5e5e5\"/>")?;
            let (label, middle) = (left - 6.0, place + 4.0);
            writeln!(plot.svg, "<text x=\"{label}\" y=\"{middle:.1}\" text-anchor=\"end\">{at}</text>")?;
            at += y.2;
        }
        let (middle, below) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0);
        writeln!(plot.svg, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", x.3)?;
        writeln!(plot.svg, "<text x=\"8\" y=\"34\">{}</text>", y.3)?;
        Ok(plot)
    }

    fn across(&self, value: f64) -> f64 {
        let share = (value - self.x.0) / (self.x.1 - self.x.0);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, value: f64) -> f64 {
        let share = (value - self.y.0) / (self.y.1 - self.y.0);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn named(&mut self, name: &str) -> Result<&'static str> {
        let colour = COLOURS[self.series % COLOURS.len()];
        let (x, y) = (WIDTH - RIGHT - 250.0, HEIGHT - BOTTOM - 14.0 - 16.0 * self.series as f64);
        self.series += 1;
        writeln!(self.svg, "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>", y - 9.0)?;
        writeln!(self.svg, "<text x=\"{}\" y=\"{y}\">{name}</text>", x + 16.0)?;
        Ok(colour)
    }

    /// Draws which share of `values`, in percent, lies at or below each value.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn distribution(&mut self, name: &str, values: &[f64]) -> Result<()> {
        let colour = self.named(name)?;
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut path = String::new();
        for (rank, value) in (1..).zip(&sorted) {
            let share = f64::from(rank) / sorted.len() as f64 * 100.0;
            let letter = if rank == 1 { 'M' } else { 'L' };
            write!(path, "{letter}{:.1} {:.1}", self.across(*value), self.up(share))?;
        }
        writeln!(self.svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        Ok(())
    }

    /// Draws points.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn points(&mut self, name: &str, points: impl Iterator<Item = (f64, f64)>) -> Result<()> {
        let colour = self.named(name)?;
        for (x, y) in points {
            let (x, y) = (self.across(x), self.up(y));
            writeln!(self.svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.6\"/>")?;
        }
        Ok(())
    }

    /// Marks a value that must not be exceeded.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn limit(&mut self, name: &str, x: Option<f64>, y: Option<f64>) -> Result<()> {
        let path = match (x, y) {
            (Some(x), _) => format!("M{:.1} {TOP}V{}", self.across(x), HEIGHT - BOTTOM),
            (_, y) => format!("M{LEFT} {:.1}H{}", self.up(y.unwrap_or_default()), WIDTH - RIGHT),
        };
        writeln!(self.svg, "<path d=\"{path}\" stroke=\"#b91c1c\" stroke-dasharray=\"6 4\"/>")?;
        let (x, y) = (x.map_or(LEFT + 4.0, |x| self.across(x) + 4.0), y.map_or(TOP + 10.0, |y| self.up(y) - 4.0));
        writeln!(self.svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#b91c1c\">{name}</text>")?;
        Ok(())
    }

    /// Writes the plot beside the other results.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(mut self, name: &str) -> Result<()> {
        self.svg.push_str("</svg>\n");
        let directory = crate::report::directory();
        std::fs::create_dir_all(&directory)?;
        Ok(std::fs::write(directory.join(name), self.svg)?)
    }
}
