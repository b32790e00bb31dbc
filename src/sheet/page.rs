//! The sheet as a page to print: one side of A4 or Letter, without a script.
//!
//! A sheet on a studio's wall is read by whoever works there that day, so everything is there in Korean and in English;
//! whoever prints it decides by the browser's language which of them is large.

use super::qr::Code;
use super::{Sheet, Wifi};

/// The style sheet of the page.
pub const STYLE: &str = include_str!("page.css");

/// Words in both languages.
struct Words {
    korean: &'static str,
    english: &'static str,
}

const WHAT: Words = Words {
    korean: "프로그램 화면과 탈리를 브라우저에서",
    english: "Programme picture and tally in your browser",
};
const JOIN: Words = Words { korean: "Wi-Fi에 연결", english: "Join the Wi-Fi" };
const NAME: Words = Words { korean: "이름", english: "name" };
const PASSPHRASE: Words = Words { korean: "암호", english: "passphrase" };
const OPEN: Words = Words { korean: "페이지 열기", english: "Open the page" };
const NETWORK: Words = Words { korean: "스튜디오 네트워크에서", english: "In the studio's network" };
const OR: Words = Words { korean: "또는", english: "or" };
const UNPLUGGED: Words = Words {
    korean: "네트워크에 연결되어 있지 않습니다. 케이블을 확인하십시오.",
    english: "No network: is the cable plugged in?",
};
const VMIX: Words = Words { korean: "vMix에서 보내기", english: "Send from vMix" };
const CHANGES: Words = Words {
    korean: "숫자 주소는 공유기가 바꿀 수 있습니다. 열리지 않으면 이 안내문을 다시 인쇄하십시오.",
    english: "A router may change the numbers: print this again when an address no longer opens.",
};

/// The whole document.
pub fn page(sheet: &Sheet, korean_first: bool) -> String {
    let writer = Writer { korean_first };
    let title = sheet.host_name.as_deref().unwrap_or("ReturnFeed");
    let mut body = format!(
        "<header><p class=\"product\">ReturnFeed</p><h1>{}</h1>{}</header>",
        escaped(title),
        writer.both("p", &WHAT)
    );
    if let (Some(wifi), Some(page)) = (&sheet.wifi, sheet.page_on_wifi()) {
        body += &writer.wifi(wifi, &page);
    }
    body += &writer.network(sheet);
    body += &writer.vmix(sheet);
    body += &format!("<footer>{}</footer>", writer.both("p", &CHANGES));
    let language = if korean_first { "ko" } else { "en" };
    format!(
        "<!doctype html><html lang=\"{language}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <title>{} · ReturnFeed</title><link rel=\"stylesheet\" href=\"assets/setup-sheet.css\"></head>\
         <body>{body}</body></html>",
        escaped(title)
    )
}

struct Writer {
    korean_first: bool,
}

impl Writer {
    /// An element with both languages, the reader's own first and large.
    fn both(&self, element: &str, words: &Words) -> String {
        let (korean, english) = (("ko", words.korean), ("en", words.english));
        let (first, second) = if self.korean_first { (korean, english) } else { (english, korean) };
        format!(
            "<{element}><span lang=\"{}\">{}</span> <small lang=\"{}\">{}</small></{element}>",
            first.0,
            escaped(first.1),
            second.0,
            escaped(second.1)
        )
    }

    fn wifi(&self, wifi: &Wifi, page: &str) -> String {
        format!(
            "<section class=\"steps\"><div>{}{}<dl>{}<dd class=\"key\">{}</dd>{}<dd class=\"key\">{}</dd></dl></div>\
             <div>{}{}<p class=\"address\">{}</p></div></section>",
            self.both("h2", &JOIN),
            code(&wifi.to_join(), JOIN.english),
            self.both("dt", &NAME),
            escaped(&wifi.name),
            self.both("dt", &PASSPHRASE),
            escaped(&wifi.passphrase),
            self.both("h2", &OPEN),
            code(page, page),
            escaped(page)
        )
    }

    /// The page for those who are in the studio's own network, wired or not.
    fn network(&self, sheet: &Sheet) -> String {
        let pages = sheet.pages_on_networks();
        let (picture, best) = match pages.first() {
            Some(best) => (code(best, best), format!("<p class=\"address\">{}</p>", escaped(best))),
            None => (String::new(), self.both("p", &UNPLUGGED)),
        };
        let others: Vec<String> = sheet.page_by_name().into_iter().chain(pages.into_iter().skip(1).take(3)).collect();
        let others: String = others.iter().map(|page| format!("<li>{}</li>", escaped(page))).collect();
        let others = match others.is_empty() {
            true => others,
            false => format!("{}<ul>{others}</ul>", self.both("p", &OR)),
        };
        format!("<section class=\"network\">{picture}<div>{}{best}{others}</div></section>", self.both("h2", &NETWORK))
    }

    fn vmix(&self, sheet: &Sheet) -> String {
        let Some(feed) = sheet.feeds().first().copied() else { return String::new() };
        format!(
            "<section class=\"vmix\">{}<p class=\"address\">srt://{feed}</p>\
             <p>SRT · Type <b>Caller</b> · Hostname <b>{}</b> · Port <b>{}</b> · H.264, no B-frames</p></section>",
            self.both("h2", &VMIX),
            feed.ip(),
            feed.port()
        )
    }
}

/// A QR code, or nothing for a text that fits into none.
fn code(text: &str, label: &str) -> String {
    Code::for_paper(text).map(|code| code.svg(&escaped(label))).unwrap_or_default()
}

/// Text in HTML, in an element or an attribute.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{box_with_wifi, some_machine};
    use super::*;

    #[test]
    fn everything_a_crew_needs_is_on_it_in_both_languages() {
        let page = page(&box_with_wifi(), false);
        for word in [
            "<h1>returnfeed-3f2a</h1>",
            "ReturnFeed 3F2A",
            "bkmqp-xrthw-dzcfg",
            "http://10.88.89.1/",
            "http://192.168.1.20/",
            "http://[fd00::20]/",
            "http://returnfeed-3f2a.local/",
            "srt://192.168.1.20:8890",
            "Join the Wi-Fi",
            "Wi-Fi에 연결",
        ] {
            assert!(page.contains(word), "{word}: {page}");
        }
        assert!(!page.contains("returnfeed.local"), "with two boxes that may be the other");
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(!page.contains("style=") && !page.contains("<script"), "the policy of the box forbids both");
    }

    #[test]
    fn the_readers_language_comes_first() {
        let first = |korean| {
            let page = page(&box_with_wifi(), korean);
            page.find("Wi-Fi에 연결") < page.find(">Join the Wi-Fi")
        };
        assert!(first(true) && !first(false));
    }

    #[test]
    fn without_an_identity_there_are_only_addresses() {
        let page = page(&some_machine(), false);
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("http://192.168.1.20:8889/") && !page.contains(".local") && !page.contains("passphrase"));
    }

    #[test]
    fn what_somebody_called_the_wifi_is_text() {
        let mut sheet = box_with_wifi();
        sheet.wifi.as_mut().unwrap().name = "<script>\"&'".into();
        assert!(page(&sheet, true).contains("&lt;script&gt;&quot;&amp;&#39;"));
    }
}
