//! Why an upload or a restart is turned down: the status, and words in the language of whoever asked.

use axum::http::StatusCode;

use super::super::language::Language;
use super::super::refusal::Refused;
use crate::update::{self, LARGEST_BUNDLE, NotTaken};

/// Why nothing comes of a request about updates.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnedDown {
    /// The bundle is not for this box, or cannot be kept.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// This is no box of the image.
    #[error("this machine takes no updates over the network: that is for boxes of the SD-card image")]
    TakesNone,
    /// An option that is none.
    #[error("an update is uploaded with `restart=now`, with `allow_downgrade=yes`, with both or neither")]
    BadOption,
    /// The rest never came.
    #[error("the upload was broken off; nothing of it is kept")]
    BrokenOff,
    /// A restart would bring nothing.
    #[error("no update is written and waits for a start")]
    NothingWaits,
}

impl TurnedDown {
    pub(super) fn told_in(self, language: Language) -> Refused {
        let (status, code) = self.status_and_code();
        let detail = match language {
            Language::English => self.to_string(),
            Language::Korean => korean(&self),
        };
        Refused::new(status, code, detail)
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotTaken(NotTaken::Refused(refused)) => (status_of(refused), refused.code()),
            Self::NotTaken(NotTaken::Busy) => (StatusCode::CONFLICT, "busy"),
            Self::NotTaken(NotTaken::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotTaken(NotTaken::NoRoom { .. } | NotTaken::Full) => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
            Self::NotTaken(NotTaken::Kept(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept"),
            Self::TakesNone => (StatusCode::NOT_IMPLEMENTED, "no_updates"),
            Self::BadOption => (StatusCode::BAD_REQUEST, "bad_option"),
            Self::BrokenOff => (StatusCode::REQUEST_TIMEOUT, "broken_off"),
            Self::NothingWaits => (StatusCode::CONFLICT, "nothing_waits"),
        }
    }
}

/// A bundle that would be right at another time is in conflict with the box; any other is wrong by itself.
fn status_of(refused: &update::Refused) -> StatusCode {
    match refused {
        update::Refused::SameVersion(_) | update::Refused::OlderVersion { .. } => StatusCode::CONFLICT,
        update::Refused::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn korean(turned_down: &TurnedDown) -> String {
    match turned_down {
        TurnedDown::NotTaken(NotTaken::Refused(refused)) => korean_for_bundle(refused),
        TurnedDown::NotTaken(NotTaken::Busy) => {
            "다른 업데이트를 올리거나 쓰는 중입니다. 끝난 뒤에 다시 시도하십시오.".into()
        }
        TurnedDown::NotTaken(NotTaken::TooLarge) => {
            format!("업데이트는 {} MB를 넘을 수 없습니다.", LARGEST_BUNDLE >> 20)
        }
        TurnedDown::NotTaken(NotTaken::NoRoom { needed, free }) => {
            format!("박스에 이 업데이트를 둘 자리가 없습니다. {needed}바이트가 필요하고 {free}바이트가 비어 있습니다.")
        }
        TurnedDown::NotTaken(NotTaken::Full) => "박스에 이 업데이트를 둘 자리가 없습니다. 카드가 가득 찼습니다.".into(),
        TurnedDown::NotTaken(NotTaken::Kept(error)) => format!("업데이트를 저장할 수 없습니다: {error}"),
        TurnedDown::TakesNone => {
            "이 컴퓨터는 네트워크로 업데이트를 받지 않습니다. SD 카드 이미지로 만든 박스만 받습니다.".into()
        }
        TurnedDown::BadOption => {
            "업데이트를 올릴 때는 `restart=now`와 `allow_downgrade=yes`만 쓸 수 있습니다. 둘 다 쓰거나 쓰지 않아도 \
             됩니다."
                .into()
        }
        TurnedDown::BrokenOff => "업로드가 중간에 끊겼습니다. 박스에는 아무것도 남지 않았습니다.".into(),
        TurnedDown::NothingWaits => "다음 시작을 기다리는 업데이트가 없습니다.".into(),
    }
}

fn korean_for_bundle(refused: &update::Refused) -> String {
    use update::Refused as Bundle;
    match refused {
        Bundle::NotAnUpdate => {
            "ReturnFeed 업데이트가 아닙니다. 이름이 .update로 끝나는 파일을 내려받은 그대로 올리십시오.".into()
        }
        Bundle::NewerKind => {
            "이 박스의 프로그램이 모르는 새로운 형식의 업데이트입니다. 그 사이의 버전을 먼저 설치하거나 카드를 새로 \
             쓰십시오."
                .into()
        }
        Bundle::DamagedHead => "업데이트의 첫 부분이 손상되었습니다. 다시 내려받거나 다시 복사하십시오.".into(),
        Bundle::WrongSignature => {
            "업데이트의 서명이 맞지 않습니다. 옮기는 중에 손상되었거나, 이 박스가 신뢰하는 곳에서 만든 것이 \
             아닙니다. 다시 내려받으십시오. 직접 만든 업데이트는 이 박스의 이미지에 든 공개 키와 짝이 되는 키로 \
             서명해야 합니다."
                .into()
        }
        Bundle::MadeWrongly(why) => format!("업데이트가 잘못 만들어졌습니다({why}). 만든 곳에 알려 주십시오."),
        Bundle::OtherBoards { theirs, ours } => {
            format!("다른 종류의 박스({theirs})를 위한 업데이트입니다. 이 박스에는 {ours} 업데이트가 필요합니다.")
        }
        Bundle::OlderState { version, running, note } => {
            let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!(
                "이 업데이트(버전 {version})는 지금 버전({running})에서 저장한 것을 읽을 수 없으므로 되돌아갈 수 \
                 없습니다{note}. 그래도 쓰려면 카드를 새로 쓰십시오."
            )
        }
        Bundle::SameVersion(version) => format!(
            "이 업데이트의 버전({version})은 이미 이 박스에서 실행되고 있습니다. 다시 쓰려면 이전 버전을 \
             허용하십시오(allow_downgrade=yes)."
        ),
        Bundle::OlderVersion { version, running } => format!(
            "이 업데이트(버전 {version})는 이 박스에서 실행되는 버전({running})보다 오래되었습니다. 그래도 되돌리려면 \
             이전 버전을 허용하십시오(allow_downgrade=yes)."
        ),
        Bundle::TooLarge { size, room } => {
            format!("업데이트는 {size}바이트이고 자리는 {room}바이트입니다. 새 이미지로 카드를 새로 쓰십시오.")
        }
        Bundle::Truncated { missing } => {
            let missing = missing.map(|missing| format!("(끝에서 {missing}바이트가 모자람)")).unwrap_or_default();
            format!("업데이트가 온전하지 않습니다{missing}. 다시 내려받거나 다시 복사하십시오.")
        }
        Bundle::TrailingBytes => "업데이트의 끝에 다른 것이 덧붙어 있습니다. 다시 내려받거나 다시 복사하십시오.".into(),
        Bundle::WrongChunk { part, parts } => {
            format!("업데이트의 {parts}개 부분 가운데 {part}번째가 손상되었습니다. 다시 내려받거나 다시 복사하십시오.")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use semver::Version;

    use super::*;
    use crate::update::Refused as Bundle;

    #[test]
    fn each_language_has_its_own_words_with_the_same_facts() {
        let (version, running) = (Version::new(0, 1, 77), Version::new(0, 2, 88));
        let note = Some("a note".into());
        let bundles = vec![
            (Bundle::NotAnUpdate, vec![".update"]),
            (Bundle::NewerKind, vec![]),
            (Bundle::DamagedHead, vec![]),
            (Bundle::WrongSignature, vec![]),
            (Bundle::MadeWrongly("`size`".into()), vec!["`size`"]),
            (Bundle::OtherBoards { theirs: "vax".into(), ours: "pi".into() }, vec!["vax", "pi"]),
            (
                Bundle::OlderState { version: version.clone(), running: running.clone(), note },
                vec!["0.1.77", "0.2.88", "a note"],
            ),
            (Bundle::SameVersion(running.clone()), vec!["0.2.88"]),
            (Bundle::OlderVersion { version, running }, vec!["0.1.77", "0.2.88"]),
            (Bundle::TooLarge { size: 4711, room: 42 }, vec!["4711", "42"]),
            (Bundle::Truncated { missing: Some(17) }, vec!["17"]),
            (Bundle::Truncated { missing: None }, vec![]),
            (Bundle::TrailingBytes, vec![]),
            (Bundle::WrongChunk { part: 3, parts: 66 }, vec!["3", "66"]),
        ];
        let kept = NotTaken::Kept(io::Error::other("the card"));
        let others = [
            (TurnedDown::NotTaken(NotTaken::Busy), vec![]),
            (TurnedDown::NotTaken(NotTaken::TooLarge), vec!["200"]),
            (TurnedDown::NotTaken(NotTaken::NoRoom { needed: 4711, free: 42 }), vec!["4711", "42"]),
            (TurnedDown::NotTaken(NotTaken::Full), vec![]),
            (TurnedDown::NotTaken(kept), vec!["the card"]),
            (TurnedDown::TakesNone, vec![]),
            (TurnedDown::BadOption, vec!["restart=now", "allow_downgrade=yes"]),
            (TurnedDown::BrokenOff, vec![]),
            (TurnedDown::NothingWaits, vec![]),
        ];
        let bundles = bundles.into_iter().map(|(refused, facts)| (NotTaken::Refused(refused).into(), facts));
        let is_korean = |text: &str| text.contains(|c| ('가'..='힣').contains(&c));
        for (turned_down, facts) in bundles.chain(others) {
            let turned_down: TurnedDown = turned_down;
            let (english, korean) = (turned_down.to_string(), korean(&turned_down));
            assert!(is_korean(&korean) && !is_korean(&english), "{korean} {english}");
            for fact in facts {
                assert!(korean.contains(fact) && english.contains(fact), "{fact}: {korean} {english}");
            }
        }
    }
}
