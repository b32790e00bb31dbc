//! The sheet on the HDMI console, in 80 columns and 25 rows: a Linux console has no Korean letters.

use super::Sheet;
use super::qr::Code;

const COLUMNS: usize = 80;
const ROWS: usize = 25;

/// Between two codes.
const GAP: usize = 3;

/// One code with what stands above and below it.
struct Column {
    heading: &'static str,
    code: Option<Code>,
    below: Vec<String>,
}

impl Column {
    fn new(heading: &'static str, to_scan: &str, below: Vec<String>) -> Self {
        Self { heading, code: Code::for_screen(to_scan), below }
    }

    fn width(&self) -> usize {
        let texts = self.below.iter().map(|line| line.chars().count()).chain([self.heading.len()]);
        texts.chain(self.code.iter().map(Code::columns)).max().unwrap_or_default()
    }

    fn lines(&self) -> Vec<String> {
        let code = self.code.iter().flat_map(Code::half_blocks);
        std::iter::once(self.heading.to_owned()).chain(code).chain(self.below.iter().cloned()).collect()
    }
}

/// The lines to be shown, at most 25 of at most 80 characters. A code that finds no room is left out; the words stay.
pub fn console(sheet: &Sheet) -> Vec<String> {
    let title = format!("ReturnFeed   {}", sheet.host_name.as_deref().unwrap_or_default());
    let mut lines = vec![title.trim_end().to_owned()];
    let mut columns = columns(sheet);
    let feed = sheet.feeds().first().map(|feed| format!("vMix: SRT Caller to {} port {}", feed.ip(), feed.port()));
    let feed = feed.unwrap_or_else(|| "No network yet: is the cable plugged in?".into());
    let room = ROWS - 2;
    // The widest is the Wi-Fi's when somebody chose a long passphrase.
    while width(&columns) > COLUMNS || columns.iter().any(|column| column.lines().len() > room) {
        let Some(widest) = columns.iter_mut().filter(|c| c.code.is_some()).max_by_key(|c| c.width()) else { break };
        widest.code = None;
    }
    lines.extend(beside(&columns).into_iter().take(room));
    lines.push(feed);
    for line in &mut lines {
        *line = line.trim_end().chars().map(shown).take(COLUMNS).collect();
    }
    lines
}

fn columns(sheet: &Sheet) -> Vec<Column> {
    let names = sheet.pages_by_name();
    let pages = sheet.pages_on_networks();
    let (Some(wifi), Some(on_wifi)) = (&sheet.wifi, sheet.page_on_wifi()) else {
        let Some(best) = pages.first() else { return Vec::new() };
        return vec![Column::new("Open the page", best, pages.iter().take(3).cloned().chain(names).collect())];
    };
    let join = vec![wifi.name.clone(), wifi.passphrase.clone()];
    // What to open is at the same address for whoever has joined; others type one of the rest.
    let open = std::iter::once(on_wifi.clone()).chain(pages.into_iter().take(1)).chain(names.into_iter().rev().take(1));
    vec![
        Column::new("1 Join the Wi-Fi", &wifi.to_join(), join),
        Column::new("2 Open the page", &on_wifi, open.collect()),
    ]
}

fn width(columns: &[Column]) -> usize {
    columns.iter().map(Column::width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// The columns' lines, side by side.
fn beside(columns: &[Column]) -> Vec<String> {
    let columns: Vec<_> = columns.iter().map(|column| (column.width(), column.lines())).collect();
    let rows = columns.iter().map(|(_, lines)| lines.len()).max().unwrap_or_default();
    let row = |row: usize| {
        let cells = columns.iter().map(|(width, lines)| format!("{:width$}", lines.get(row).map_or("", |line| line)));
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP))
    };
    (0..rows).map(row).collect()
}

/// What a console's font has, and nothing that moves its cursor.
fn shown(c: char) -> char {
    if matches!(c, ' '..='~' | '█' | '▀' | '▄') { c } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{box_with_wifi, some_machine};
    use super::*;

    fn fits(lines: &[String]) {
        assert!(lines.len() <= ROWS && lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
    }

    #[test]
    fn two_codes_and_all_words_fit_the_smallest_console() {
        let lines = console(&box_with_wifi());
        fits(&lines);
        let text = lines.join("\n");
        for word in [
            "returnfeed-3f2a",
            "ReturnFeed 3F2A",
            "bkmqp-xrthw-dzcfg",
            "http://10.88.89.1/",
            "http://192.168.1.20/",
            "http://returnfeed-3f2a.local/",
            "192.168.1.20 port 8890",
        ] {
            assert!(text.contains(word), "{word}:\n{text}");
        }
        assert_eq!(lines[2].matches(&"█".repeat(20)).count(), 2, "two codes:\n{text}");
        assert_eq!(text.matches("▄▄▄▄▄").count() / 2, 6, "three finder patterns each:\n{text}");
    }

    #[test]
    fn a_long_name_and_passphrase_cost_their_code_and_no_word() {
        let mut sheet = box_with_wifi();
        let wifi = sheet.wifi.as_mut().unwrap();
        (wifi.name, wifi.passphrase) = ("n".repeat(32), "p".repeat(63));
        let lines = console(&sheet);
        fits(&lines);
        let text = lines.join("\n");
        assert!(text.contains(&"n".repeat(32)) && text.contains(&"p".repeat(63)), "{text}");
    }

    #[test]
    fn without_wifi_the_page_of_the_network_is_to_be_scanned() {
        let lines = console(&some_machine());
        fits(&lines);
        assert!(lines.iter().any(|line| line.contains("http://192.168.1.20:8889/")) && lines[2].contains('█'));
    }

    #[test]
    fn without_any_network_it_says_so() {
        let lines = console(&Sheet { addresses: vec![], wifi: None, ..box_with_wifi() });
        fits(&lines);
        assert!(lines.iter().any(|line| line.contains("is the cable plugged in?")), "{lines:#?}");
    }

    #[test]
    fn nothing_in_a_name_moves_the_cursor() {
        let mut sheet = box_with_wifi();
        sheet.wifi.as_mut().unwrap().name = "a\u{1b}[2J한".into();
        assert!(console(&sheet).iter().flat_map(|line| line.chars()).all(|c| c == shown(c)));
    }
}
