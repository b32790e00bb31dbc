//! The sheet as a file on the card's FAT partition, for a laptop.

use super::Sheet;

/// The text, in Korean and English, with line ends and a mark that every editor on Windows knows. It says nothing that
/// changes by itself, such as an address by DHCP: the card is written only when something is really different.
pub fn card(sheet: &Sheet, setup_code: &str) -> String {
    let name = sheet.host_name.as_deref().unwrap_or_default();
    let mut lines = vec![format!("ReturnFeed  {name}"), String::new()];
    let mut say = |korean: &str, english: &str, values: &[&str]| {
        lines.push(format!("{korean} / {english}"));
        lines.extend(values.iter().map(|value| format!("    {value}")));
        lines.push(String::new());
    };
    if let Some(wifi) = &sheet.wifi {
        say("Wi-Fi 이름", "Wi-Fi name", &[&wifi.name]);
        say("Wi-Fi 암호", "Wi-Fi passphrase", &[&wifi.passphrase]);
        say("Wi-Fi에 연결한 뒤 여는 주소", "on that Wi-Fi open", &[&sheet.page_at(&wifi.address.to_string())]);
    }
    let pages: Vec<String> = sheet.page_by_name().into_iter().chain(sheet.pages_on_networks()).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    say("스튜디오 네트워크에서 여는 주소", "in the studio's network open", &pages);
    say("설정 코드 (남에게 보이지 마십시오)", "set-up code (keep it to yourself)", &[setup_code]);
    let file =
        "인쇄할 안내문은 위 주소 뒤에 setup-sheet / a sheet to print: add setup-sheet to an address above".to_owned();
    lines.extend([
        file,
        String::new(),
        "이 파일은 박스가 썼습니다. 고쳐도 되돌아옵니다. / The box wrote this file, and writes it again when it is changed.".into(),
    ]);
    let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("\u{feff}{text}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::box_with_wifi;
    use super::*;

    #[test]
    fn the_file_has_everything_and_windows_line_ends() {
        let sheet = Sheet { addresses: vec![], ..box_with_wifi() };
        let text = card(&sheet, "mnbvc-xzkjh");
        for value in ["returnfeed-3f2a", "ReturnFeed 3F2A", "bkmqp-xrthw-dzcfg", "http://10.88.89.1/", "mnbvc-xzkjh"] {
            assert!(text.contains(value), "{value}: {text}");
        }
        assert!(text.contains("    http://returnfeed-3f2a.local/\r\n"));
        assert!(!text.contains("returnfeed.local"), "with two boxes that may be the other: {text}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        assert!(text.starts_with('\u{feff}'));
    }
}
