//! Which of the box's languages a browser prefers.

use axum::http::{HeaderMap, header};

/// What the box speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Korean,
}

impl Language {
    /// The one that `Accept-Language` ranks higher, the first named of two alike (RFC 9110 §12.5.4); English where it
    /// names neither.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self::among(accepted.unwrap_or_default())
    }

    fn among(accepted: &str) -> Self {
        let known = accepted.split(',').filter_map(|range| {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
            let quality: f32 = parameter.trim().strip_prefix("q=")?.trim().parse().ok()?;
            let language = match tag.trim().split('-').next()? {
                tag if tag.eq_ignore_ascii_case("ko") => Self::Korean,
                tag if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => return None,
            };
            Some((language, quality))
        });
        let best = known.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map_or(Self::English, |(language, _)| language)
    }

    /// As HTML's `lang` names it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_comes_first_for_those_who_prefer_it() {
        for (accepted, language) in [
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Korean),
            ("en-US,en;q=0.9,ko;q=0.8", Language::English),
            ("ko;q=0.5, en", Language::English),
            ("ko, en", Language::Korean),
            ("fr, KO;q=0.5", Language::Korean),
            ("kok, fr", Language::English),
            ("", Language::English),
            (";q=;;,,ko;q=x", Language::English),
        ] {
            assert_eq!(Language::among(accepted), language, "{accepted}");
        }
    }
}
