//! Mistakes in a settings file, and how they are shown.

use std::fmt;
use std::ops::Range;

/// Why settings are refused. Its text names everything that is wrong; it may have many lines.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("{file}: cannot read the settings: {source}; check the name and that this user may read it")]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read, and these are its mistakes, in the file's order; at least one.
    #[error("{}", Listing(.0))]
    Refused(Vec<Mistake>),
}

impl SettingsError {
    /// The mistakes in the file; none when it could not be read.
    pub fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Refused(mistakes) => mistakes,
        }
    }
}

struct Listing<'m>(&'m [Mistake]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in self.0 {
            writeln!(f, "{mistake}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 mistake; nothing was started or changed"),
            n => write!(f, "{n} mistakes; nothing was started or changed"),
        }
    }
}

/// One mistake. Shown as `file:line:column: what is wrong; what to do`, then the line with the place marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The line with secrets masked, and the line of carets below it; none when the line says nothing.
    excerpt: Option<(String, String)>,
}

impl Mistake {
    /// `file:line:column: what is wrong; what to do`.
    pub fn summary(&self) -> String {
        format!("{}:{}:{}: {}; {}", self.file, self.line, self.column, self.what, self.remedy)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        if let Some((line, carets)) = &self.excerpt {
            let number = self.line.to_string();
            let blank = " ".repeat(number.len());
            write!(f, "\n {number} | {line}\n {blank} | {carets}")?;
        }
        Ok(())
    }
}

/// Finds lines and columns in a text.
pub(super) struct Text<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { file, text, line_starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    pub(super) fn file(&self) -> &'t str {
        self.file
    }

    /// The line, counted from 1, of a byte offset.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).max(1)
    }

    /// A mistake at a range of bytes; `only` shows nothing of the line after that range.
    pub(super) fn mistake(&self, span: Range<usize>, what: String, remedy: String, only: bool) -> Mistake {
        let floor = |at: usize| {
            let at = at.min(self.text.len());
            (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
        };
        let start = floor(span.start);
        let line = self.line(start);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let source = rest.lines().next().unwrap_or_default();
        let before = self.text.get(line_start..start).unwrap_or_default();
        let marked = self.text.get(start..floor(span.end).max(start)).unwrap_or_default();
        let column = before.chars().count() + 1;
        let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
        let excerpt = excerpt(source, column, width, only);
        Mistake { file: self.file.into(), line, column, what, remedy, excerpt }
    }
}

/// A line as it may be shown, and carets below `width` characters from `column` on.
fn excerpt(source: &str, column: usize, width: usize, only: bool) -> Option<(String, String)> {
    const WIDEST: usize = 200;
    if source.trim().is_empty() || column > WIDEST {
        return None;
    }
    // One more than is shown, to know that there is more.
    let characters = masked(source.chars().take(WIDEST + 1).collect());
    let end = if only { (column - 1 + width).min(characters.len()) } else { characters.len() };
    let mut line: String =
        characters.iter().take(end.min(WIDEST)).map(|c| if c.is_control() && *c != '\t' { ' ' } else { *c }).collect();
    if end.min(WIDEST) < characters.len() {
        line.push_str(" …");
    }
    let carets = characters
        .iter()
        .take(column - 1)
        .map(|c| if *c == '\t' { "\t" } else { blank(*c) })
        .collect::<String>()
        + &"^".repeat(
            characters.iter().skip(column - 1).take(width.min(WIDEST)).map(|c| blank(*c).len()).sum::<usize>().max(1),
        );
    Some((line, carets))
}

/// The blanks that a terminal needs below a character: two below Korean, Chinese and Japanese ones.
fn blank(c: char) -> &'static str {
    match c as u32 {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => {
            "  "
        }
        _ => " ",
    }
}

/// The length of the word that stands there and names a secret. A passphrase may stand within a `source`; a PIN and a
/// key are words of their own before their `=`.
fn secret_at(line: &[char], at: usize) -> Option<usize> {
    let stands = |word: &str| line.iter().skip(at).zip(word.chars()).filter(|(c, w)| c.eq_ignore_ascii_case(w)).count();
    let is = |word: &&str| stands(word) == word.len();
    if is(&"passphrase") {
        return Some("passphrase".len());
    }
    let word = ["pin", "key"].into_iter().find(is)?;
    let begins = at
        .checked_sub(1)
        .and_then(|before| line.get(before))
        .is_none_or(|c| c.is_whitespace() || "{,.\"'".contains(*c));
    let next = line.iter().skip(at + word.len()).find(|c| !c.is_whitespace() && !"\"'".contains(**c));
    (begins && next == Some(&'=')).then_some(word.len())
}

/// A line's characters, with every secret made unreadable: mistakes end up in logs.
fn masked(source: Vec<char>) -> Vec<char> {
    let mut line = source;
    let mut at = 0;
    while at < line.len() {
        let Some(word) = secret_at(&line, at) else {
            at += 1;
            continue;
        };
        at += word;
        let mut inside = None;
        let mut value_begun = false;
        let mut equals = false;
        for c in line.iter_mut().skip(at) {
            match *c {
                '=' if !equals => equals = true,
                _ if !equals => {}
                '"' | '\'' if !value_begun && inside.is_none() => inside = Some(*c),
                c if Some(c) == inside && value_begun => break,
                '&' | '"' | '\'' if inside.is_none() => break,
                c if c.is_whitespace() && !value_begun => {}
                _ => {
                    value_begun = true;
                    *c = '*';
                }
            }
        }
    }
    line
}
