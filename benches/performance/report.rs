//! Figures as one table, kept from run to run so that parts can be measured anew by themselves.

use crate::support::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";
const DOCUMENT: &str = "docs/performance.md";
const PICTURES: &str = "docs/performance";

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// What it must be; empty where nothing is demanded.
    pub target: String,
    /// What it is.
    pub measured: String,
    /// It is what it must be.
    pub met: Option<bool>,
}

/// Everything measured, in this run and in those before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    machine: String,
    parts: BTreeMap<String, Vec<Row>>,
    #[serde(skip)]
    part: String,
}

impl Report {
    /// What the runs before have left.
    ///
    /// # Errors
    /// What they left cannot be read.
    pub fn load() -> Result<Self> {
        let file = directory().join("results.json");
        if !file.exists() {
            return Ok(Self::default());
        }
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    }

    /// Lines from now on belong to that part and replace what it had.
    pub fn begin(&mut self, part: &str) {
        part.clone_into(&mut self.part);
        self.parts.insert(part.to_owned(), Vec::new());
        println!("\n{part}");
    }

    /// Adds a line and prints it at once: a run takes minutes.
    pub fn row(
        &mut self,
        figure: impl Into<String>,
        target: impl Into<String>,
        measured: impl Into<String>,
        met: Option<bool>,
    ) {
        let row = Row { figure: figure.into(), target: target.into(), measured: measured.into(), met };
        println!("{:<66} {:<26} {:<44} {}", row.figure, row.target, row.measured, verdict(row.met));
        self.parts.entry(self.part.clone()).or_default().push(row);
    }

    /// Adds a line for which nothing is demanded.
    pub fn note(&mut self, figure: impl Into<String>, measured: impl Into<String>) {
        self.row(figure, "", measured, None);
    }

    /// Writes JSON and Markdown beside the build, with `browser` in the machine's description; `order` is that of
    /// the parts.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn save(&mut self, browser: Option<&str>, order: &[&str]) -> Result<()> {
        self.machine = machine(browser);
        let directory = directory();
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("results.json"), serde_json::to_string_pretty(self)?)?;
        std::fs::write(directory.join("results.md"), self.markdown(order)?)?;
        Ok(())
    }

    /// Puts the table and the plots into the documentation; `order` is that of the parts.
    ///
    /// # Errors
    /// The document has no place for them, or cannot be written.
    pub fn document(&self, order: &[&str]) -> Result<()> {
        let text = std::fs::read_to_string(DOCUMENT)?;
        let (before, rest) = text.split_once(BEGIN).ok_or("the document has no place for the table")?;
        let (_, after) = rest.split_once(END).ok_or("the document has no end of the table")?;
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}\n{}{END}{after}", self.markdown(order)?))?;
        std::fs::create_dir_all(PICTURES)?;
        for plot in ["glass.svg", "join.svg"] {
            let from = directory().join(plot);
            if from.exists() {
                std::fs::copy(from, Path::new(PICTURES).join(plot))?;
            }
        }
        Ok(())
    }

    /// The table, the demanded figures first.
    fn markdown(&self, order: &[&str]) -> Result<String> {
        let place = |part: &str| order.iter().position(|known| *known == part).unwrap_or(order.len());
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by_key(|(part, _)| place(part));
        let mut text = format!("{}\n\n| figure | target | measured | |\n|---|---|---|---|\n", self.machine);
        for row in parts.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| row.met.is_some()) {
            let Row { figure, target, measured, met } = row;
            writeln!(text, "| {} | {target} | {measured} | {} |", figure.trim(), verdict(*met))?;
        }
        text.push_str("\n| detail | measured |\n|---|---|\n");
        for (part, rows) in parts {
            writeln!(text, "| **{part}** | |")?;
            for Row { figure, measured, .. } in rows {
                writeln!(text, "| {} | {measured} |", figure.trim())?;
            }
        }
        Ok(text)
    }
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    }
}

/// Where results are written.
pub fn directory() -> PathBuf {
    PathBuf::from("target/performance")
}

/// The value below which `percent` of `values` lie (nearest rank).
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// `p50 / p95 / max` of milliseconds.
pub fn spread(values: &[f64]) -> String {
    let [p50, p95, max] = [50.0, 95.0, 100.0].map(|percent| percentile(values, percent));
    format!("{p50:.1} / {p95:.1} / {max:.1} ms")
}

/// The machine in a line: what figures depend on, and nothing that names it.
fn machine(browser: Option<&str>) -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    // ARM calls them features, and names its boards elsewhere.
    let flags = field("flags") + &field("Features");
    let aes = if flags.split(' ').any(|flag| flag == "aes") { "with" } else { "without" };
    let name = [field("model name"), read("/proc/device-tree/model").trim_end_matches('\0').to_owned()];
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let word = |program: &str| {
        let out = std::process::Command::new(program).arg("-version").output().ok()?;
        String::from_utf8_lossy(&out.stdout).split_whitespace().nth(2).map(str::to_owned)
    };
    format!(
        "{} ({cores} cores, {aes} AES instructions), Linux {kernel}, ffmpeg {}, {}; sender, box and viewers on this \
         machine, over loopback.",
        name.iter().find(|name| !name.is_empty()).map_or("an unknown CPU", String::as_str),
        word("ffmpeg").unwrap_or_else(|| "?".to_owned()),
        browser.unwrap_or("no browser"),
    )
}
