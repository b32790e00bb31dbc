//! vMix's XML document, written from the state of the show. Pure.
//!
//! Owns: the document, and the paths that XMLTEXT asks for.
//! Does not own: who asks (`dialogue`, `http`).

use super::show::{Input, Show};
use std::fmt::Write;

/// The version that is pretended.
pub(super) const VERSION: &str = "29.0.0.49";

/// The document of the HTTP API and of the XML command, in one line as vMix writes it.
pub(super) fn document(show: &Show) -> String {
    let mut out = String::with_capacity(4096);
    // Writing to a String cannot fail.
    let _ = write_document(show, &mut out);
    out
}

fn write_document(show: &Show, out: &mut String) -> std::fmt::Result {
    write!(out, "<vmix><version>{VERSION}</version><edition>4K</edition>")?;
    write!(out, r"<preset>C:\Shows\ReturnFeed demo.vmix</preset><inputs>")?;
    for (number, input) in (1..).zip(&show.inputs) {
        write_input(show, number, input, out)?;
    }
    write!(out, "</inputs><overlays>")?;
    for (channel, overlay) in (1..).zip(&show.overlays) {
        match overlay {
            None => write!(out, r#"<overlay number="{channel}" />"#)?,
            Some(overlay) => {
                let preview = if overlay.preview { r#" preview="True""# } else { "" };
                let number = show.number(&overlay.key);
                write!(out, r#"<overlay number="{channel}"{preview}>{number}</overlay>"#)?;
            }
        }
    }
    let [main, second] = &show.mixes;
    let (preview, active) = (show.number(&main.preview), show.number(&main.active));
    write!(out, "</overlays><preview>{preview}</preview><active>{active}</active>")?;
    write!(out, "<fadeToBlack>{}</fadeToBlack><transitions>", truth(show.fade_to_black))?;
    for (number, effect) in (1..).zip(["Fade", "Merge", "Wipe", "CubeZoom"]) {
        write!(out, r#"<transition number="{number}" effect="{effect}" duration="500" />"#)?;
    }
    write!(out, "</transitions><recording>{}</recording>", truth(show.recording))?;
    write!(out, "<external>{}</external>", truth(show.external))?;
    write!(out, r#"<streaming channel1="{0}">{0}</streaming>"#, truth(show.streaming))?;
    write!(out, "<playList>False</playList><multiCorder>False</multiCorder><fullscreen>False</fullscreen>")?;
    let (preview, active) = (show.number(&second.preview), show.number(&second.active));
    write!(out, r#"<mix number="2"><preview>{preview}</preview><active>{active}</active></mix>"#)?;
    write!(out, r#"<audio><master volume="100" muted="False" meterF1="0.1" meterF2="0.1" headphonesVolume="100" />"#)?;
    write!(out, "</audio></vmix>")
}

fn write_input(show: &Show, number: usize, input: &Input, out: &mut String) -> std::fmt::Result {
    let (key, kind, title) = (&input.key, input.kind, escape(&input.title));
    let running = kind == "Capture" || kind == "Mix" || show.mixes.iter().any(|mix| mix.active == *key);
    let state = if running { "Running" } else { "Paused" };
    write!(out, r#"<input key="{key}" number="{number}" type="{kind}" title="{title}" shortTitle="{title}" "#)?;
    write!(out, r#"state="{state}" position="0" duration="0" loop="False""#)?;
    if kind == "Capture" {
        write!(out, r#" muted="False" volume="100" balance="0" solo="False" audiobusses="M" meterF1="0" meterF2="0""#)?;
    }
    write!(out, ">{title}")?;
    if kind == "GT" {
        write!(out, r#"<text index="0" name="Name.Text">ReturnFeed</text>"#)?;
    }
    for (index, layer) in input.layers.iter().enumerate() {
        let pan = if index == 0 { "-0.5" } else { "0.5" };
        write!(out, r#"<overlay index="{index}" key="{layer}"><position panX="{pan}" zoomX="0.5" zoomY="0.5" />"#)?;
        write!(out, "</overlay>")?;
    }
    write!(out, "</input>")
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // No other control character may stand in a document.
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What XMLTEXT answers: `vmix/version`, `vmix/inputs/input[2]/@title`.
pub(super) fn text_at(document: &str, path: &str) -> Option<String> {
    let document = roxmltree::Document::parse(document).ok()?;
    let mut node = document.root();
    for step in path.split('/').filter(|step| !step.is_empty()) {
        if let Some(attribute) = step.strip_prefix('@') {
            return node.attribute(attribute).map(str::to_owned);
        }
        let (name, number) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((name, number)) => (name, number.parse::<usize>().ok()?),
            None => (step, 1),
        };
        node = node.children().filter(|child| child.has_tag_name(name)).nth(number.checked_sub(1)?)?;
    }
    if node.is_root() { None } else { Some(node.text().unwrap_or_default().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::show::Arguments;
    use super::*;

    #[test]
    fn the_document_tells_the_whole_show() {
        let mut show = Show::studio();
        for (function, query) in [("OverlayInput2In", "Input=5"), ("Cut", ""), ("StartRecording", "")] {
            show.apply(function, &Arguments::parse(query));
        }
        let document = document(&show);
        for (path, text) in [
            ("vmix/version", VERSION),
            ("vmix/active", "2"),
            ("vmix/preview", "1"),
            ("vmix/inputs/input[2]/@title", "CAM 2 – Close"),
            ("vmix/inputs/input[3]/@type", "Capture"),
            ("vmix/inputs/input[6]/overlay[2]/@key", "55cbe357-a801-4d3b-8ff2-08ee68766fae"),
            ("vmix/overlays/overlay[2]", "5"),
            ("vmix/overlays/overlay[8]", ""),
            ("vmix/mix/active", "3"),
            ("vmix/recording", "True"),
            ("vmix/streaming", "True"),
            ("vmix/fadeToBlack", "False"),
        ] {
            assert_eq!(text_at(&document, path).as_deref(), Some(text), "{path}");
        }
        for path in ["", "vmix/nothing", "vmix/inputs/input[99]", "vmix/inputs/input[0]", "vmix/inputs/input[x]"] {
            assert_eq!(text_at(&document, path), None, "{path}");
        }
    }

    #[test]
    fn titles_are_escaped() {
        let mut show = Show::studio();
        show.apply("SetInputName", &Arguments::parse("Input=1&Value=%3CA%26B%22%0A%01%3E"));
        let title = text_at(&document(&show), "vmix/inputs/input[1]/@title");
        assert_eq!(title.as_deref(), Some("<A&B\"  >"));
    }
}
