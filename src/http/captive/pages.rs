//! The two pages of the portal: no script, nothing to load, in the phone's language.

use std::net::Ipv4Addr;

use super::super::language::Language;

/// What a phone that has just joined shows. All that matters is on it, for Android closes the window by itself once the
/// button is pressed.
pub(super) fn portal(language: Language, address: Ipv4Addr) -> String {
    let (joined, to_keep) = (super::JOINED, to_keep(language));
    match language {
        Language::English => html(
            language,
            "You are on the ReturnFeed Wi-Fi",
            &format!(
                "<p>It has no internet: it shows the programme and your tally.</p>\
                 <p><a class=\"button\" href=\"{joined}\">Stay connected</a></p>\
                 <p>Then open your browser at</p><p class=\"address\">http://{address}/</p>{to_keep}"
            ),
        ),
        Language::Korean => html(
            language,
            "ReturnFeed Wi-Fi에 연결되었습니다",
            &format!(
                "<p>인터넷은 되지 않습니다. 프로그램 화면과 탈리를 보여 줍니다.</p>\
                 <p><a class=\"button\" href=\"{joined}\">연결 유지</a></p>\
                 <p>그다음 브라우저를 열고 이 주소로 들어가세요.</p><p class=\"address\">http://{address}/</p>{to_keep}"
            ),
        ),
    }
}

/// What follows when its button was pressed.
pub(super) fn joined(language: Language, address: Ipv4Addr) -> String {
    let to_keep = to_keep(language);
    let link = format!("<p class=\"address\"><a href=\"http://{address}/\">http://{address}/</a></p>");
    match language {
        Language::English => html(
            language,
            "Now open your browser",
            &format!(
                "<p>Close this window (<b>Done</b> on an iPhone), open Safari or Chrome, and go to</p>{link}{to_keep}"
            ),
        ),
        Language::Korean => html(
            language,
            "이제 브라우저를 여세요",
            &format!(
                "<p>이 창을 닫고(아이폰은 <b>완료</b>) Safari나 Chrome을 열어 이 주소로 들어가세요.</p>{link}{to_keep}"
            ),
        ),
    }
}

/// How a phone stays on a Wi-Fi without internet.
fn to_keep(language: Language) -> &'static str {
    match language {
        Language::English => {
            "<p>If the phone asks, keep this Wi-Fi although it has no internet. If the page does not open, switch mobile \
             data off for the show.</p>"
        }
        Language::Korean => {
            "<p>휴대전화가 물으면 인터넷이 없어도 이 Wi-Fi를 계속 쓰겠다고 하세요. 화면이 열리지 않으면 방송이 끝날 때까지 \
             모바일 데이터를 끄세요.</p>"
        }
    }
}

pub(in crate::http) fn html(language: Language, title: &str, body: &str) -> String {
    let code = language.code();
    format!(
        "<!DOCTYPE html><html lang=\"{code}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>ReturnFeed</title><style>{STYLE}</style>\
         </head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

const STYLE: &str = "\
    body{margin:0;background:#111;color:#eee;font:1.1rem/1.5 system-ui,sans-serif}\
    main{max-width:26rem;margin:0 auto;padding:2rem 1.2rem;text-align:center;\
    word-break:keep-all;overflow-wrap:anywhere}main:has(ol){text-align:left}\
    h1{font-size:1.4rem}\
    a{color:#8cf}\
    .button{display:inline-block;padding:.8rem 1.6rem;border-radius:.6rem;background:#8cf;color:#111;\
    font-weight:600;text-decoration:none}\
    h2{font-size:1.1rem;text-align:left;margin:1.6rem 0 0}ol{text-align:left;padding-left:1.3rem}\
    .print{font-family:monospace;font-size:.8rem;word-break:break-all}\
    .address{font-size:1.6rem;font-weight:600;word-break:break-all}";
