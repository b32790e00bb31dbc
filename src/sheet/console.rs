//! The sheet on the HDMI console, on which 80 columns and 25 rows are enough. A Linux console has no Korean letters.

use super::Sheet;
use super::qr::{Code, Size};

/// The size that a console has at least, in characters.
pub const SMALLEST_CONSOLE: (usize, usize) = (80, 25);

/// Between two codes.
const GAP: usize = 3;

/// Rows beside the codes and what belongs to them: the title and vMix.
const AROUND: usize = 2;

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

    fn width(&self, size: Size) -> usize {
        let texts = self.below.iter().map(|line| line.chars().count()).chain([self.heading.len()]);
        texts.chain(self.code.iter().map(|code| code.columns(size))).max().unwrap_or_default()
    }

    fn lines(&self, size: Size) -> Vec<String> {
        let code = self.code.iter().flat_map(|code| code.blocks(size));
        std::iter::once(self.heading.to_owned()).chain(code).chain(self.below.iter().cloned()).collect()
    }
}

/// The lines to be shown on a console of so many columns and rows, no more of them and none longer. Where a code finds
/// no room it is left out; the words stay.
pub fn console(sheet: &Sheet, (columns, rows): (usize, usize)) -> Vec<String> {
    let title = format!("ReturnFeed   {}", sheet.host_name.as_deref().unwrap_or_default());
    let feed = sheet.feeds().first().map(|feed| format!("vMix: SRT Caller to {} port {}", feed.ip(), feed.port()));
    let feed = feed.unwrap_or_else(|| "No network yet: is the cable plugged in?".into());
    let codes = beside_one_another(sheet, (columns, rows.saturating_sub(AROUND)));
    let lines: Vec<String> = [title].into_iter().chain(codes).chain([feed]).collect();
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let (left, top) = (columns.saturating_sub(widest) / 2, rows.saturating_sub(lines.len()) / 2);
    let placed =
        lines.iter().map(|line| format!("{:left$}{}", "", line.trim_end()).chars().map(shown).take(columns).collect());
    std::iter::repeat_n(String::new(), top).chain(placed).take(rows).collect()
}

/// As many codes as there is room for, as large as there is room for.
fn beside_one_another(sheet: &Sheet, (width, height): (usize, usize)) -> Vec<String> {
    let mut columns = columns(sheet);
    let fits = |columns: &[Column], size| {
        let widths = columns.iter().map(|column| column.width(size)).sum::<usize>();
        let gaps = GAP * columns.len().saturating_sub(1);
        widths + gaps <= width && columns.iter().all(|column| column.lines(size).len() <= height)
    };
    loop {
        if let Some(size) = [Size::Blocks, Size::HalfBlocks].into_iter().find(|size| fits(&columns, *size)) {
            return beside(&columns, size);
        }
        // First goes the code for those who are in another network anyway, then the widest: the Wi-Fi's, when somebody
        // chose a long passphrase.
        if columns.len() > 2 {
            columns.truncate(2);
            continue;
        }
        let with_code = columns.iter_mut().filter(|column| column.code.is_some());
        match with_code.max_by_key(|column| column.width(Size::HalfBlocks)) {
            Some(widest) => widest.code = None,
            None => return beside(&columns, Size::HalfBlocks).into_iter().take(height).collect(),
        }
    }
}

fn columns(sheet: &Sheet) -> Vec<Column> {
    let (name, pages) = (sheet.page_by_name(), sheet.pages_on_networks());
    let best = pages.first().cloned();
    let (Some(wifi), Some(on_wifi)) = (&sheet.wifi, sheet.page_on_wifi()) else {
        let all = pages.iter().take(3).cloned().chain(name).collect();
        return best.map(|best| Column::new("Open the page", &best, all)).into_iter().collect();
    };
    // What to open is at the same address for whoever has joined; others have the rest.
    let others = best.iter().cloned().chain(name);
    let open = std::iter::once(on_wifi.clone()).chain(others).collect();
    let join = Column::new("1 Join the Wi-Fi", &wifi.to_join(), vec![wifi.name.clone(), wifi.passphrase.clone()]);
    let open = Column::new("2 Open the page", &on_wifi, open);
    let elsewhere = best.map(|best| Column::new("Or in the studio's network", &best, vec![best.clone()]));
    [join, open].into_iter().chain(elsewhere).collect()
}

/// The columns' lines, side by side.
fn beside(columns: &[Column], size: Size) -> Vec<String> {
    let columns: Vec<_> = columns.iter().map(|column| (column.width(size), column.lines(size))).collect();
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

    /// The sheet on a console, where it must fit.
    fn console(sheet: &Sheet, (columns, rows): (usize, usize)) -> Vec<String> {
        let lines = super::console(sheet, (columns, rows));
        assert!(lines.len() <= rows && lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
        lines
    }

    #[test]
    fn two_codes_and_all_words_fit_the_smallest_console() {
        let lines = console(&box_with_wifi(), SMALLEST_CONSOLE);
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
        assert!(!text.contains("returnfeed.local"), "{text}");
        assert_eq!(text.matches("▄▄▄▄▄").count() / 2, 6, "three finder patterns each:\n{text}");
    }

    #[test]
    fn a_large_screen_has_larger_codes_and_one_more_in_its_middle() {
        for ((columns, rows), codes, double) in [((160, 50), 3, false), ((240, 67), 3, true), ((130, 45), 3, false)] {
            let lines = console(&box_with_wifi(), (columns, rows));
            let text = text(&lines);
            assert_eq!(text.contains("Or in the studio's network"), codes == 3, "{text}");
            let high = lines.iter().filter(|line| line.contains('█')).count();
            assert_eq!(high, if double { 33 } else { 17 }, "{text}");
            assert!(lines[0].is_empty() && lines.last().unwrap().starts_with("     "), "{text}");
        }
    }

    #[test]
    fn a_console_that_is_too_small_for_anything_shows_what_it_can() {
        for size in [(0, 0), (10, 3), (40, 12), (80, 24), (20, 60)] {
            console(&box_with_wifi(), size);
        }
    }

    fn text(lines: &[String]) -> String {
        lines.join("\n")
    }

    #[test]
    fn a_long_name_and_passphrase_cost_their_code_and_no_word() {
        let mut sheet = box_with_wifi();
        let wifi = sheet.wifi.as_mut().unwrap();
        (wifi.name, wifi.passphrase) = ("n".repeat(32), "p".repeat(63));
        let lines = console(&sheet, SMALLEST_CONSOLE);
        let text = lines.join("\n");
        assert!(text.contains(&"n".repeat(32)) && text.contains(&"p".repeat(63)), "{text}");
    }

    #[test]
    fn without_wifi_the_page_of_the_network_is_to_be_scanned() {
        let lines = console(&some_machine(), SMALLEST_CONSOLE);
        assert!(lines.iter().any(|line| line.contains("http://192.168.1.20:8889/")) && text(&lines).contains('█'));
    }

    #[test]
    fn without_any_network_it_says_so() {
        let lines = console(&Sheet { addresses: vec![], wifi: None, ..box_with_wifi() }, SMALLEST_CONSOLE);
        assert!(lines.iter().any(|line| line.contains("is the cable plugged in?")), "{lines:#?}");
    }

    #[test]
    fn nothing_in_a_name_moves_the_cursor() {
        let mut sheet = box_with_wifi();
        sheet.wifi.as_mut().unwrap().name = "a\u{1b}[2J한".into();
        assert!(console(&sheet, SMALLEST_CONSOLE).iter().flat_map(|line| line.chars()).all(|c| c == shown(c)));
    }
}
