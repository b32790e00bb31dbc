//! vMix's XML: the document → what the box needs of it.
//!
//! Owns: reading the document that the TCP API's `XML` and `GET /api` of the HTTP API give. Does
//! not own: how it is asked for, nor what follows from it (`state`). Source: vMix user guide,
//! "HTTP Web API", and documents seen in the field. What is missing or odd is left out; a
//! document type declaration is refused.

use std::sync::Arc;

use roxmltree::{Node, ParsingOptions};

use super::Show;

/// The most nodes of a document; a thousand inputs with titles of many fields have about 100,000.
const MAX_NODES: u32 = 500_000;
/// The highest input, mix or overlay number believed. vMix itself stops at 1000 inputs.
pub const MAX_NUMBER: u32 = 10_000;
/// The most mixes and the most overlay channels taken. vMix has 16 and 8.
const MAX_CHANNELS: usize = 64;
/// The most characters of a title, a key or a type.
const MAX_TEXT: usize = 200;

/// What a switcher says of its inputs and of how they are combined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The version of the program.
    pub version: Option<String>,
    /// The inputs, by ascending number; each number and each key once.
    pub inputs: Vec<DocumentInput>,
    /// The overlay channels that show something.
    pub overlays: Vec<Overlay>,
    /// The mixes: the main one is 1, the others as `mix/@number` says.
    pub mixes: Vec<Mix>,
    /// What the whole show is doing.
    pub show: Show,
}

/// An input of a [`Document`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentInput {
    /// From 1 to [`MAX_NUMBER`].
    pub number: u32,
    /// The GUID; empty when the document has none.
    pub key: Arc<str>,
    /// The title.
    pub title: Arc<str>,
    /// The short title.
    pub short_title: Arc<str>,
    /// The type: `Capture`, `Mix` …
    pub kind: Arc<str>,
    /// The keys of the inputs shown in its multiview layers.
    pub layers: Vec<Arc<str>>,
    /// The number of the mix whose output this input is.
    pub mix: Option<u32>,
}

/// An overlay channel with an input on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The channel, from 1.
    pub number: u32,
    /// The input on it.
    pub input: u32,
    /// It is on the preview only, not on air.
    pub preview: bool,
}

/// What a mix shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// From 1, the main mix.
    pub number: u32,
    /// The input on its preview.
    pub preview: Option<u32>,
    /// The input on its program.
    pub active: Option<u32>,
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not XML, or has a DTD, or is too big.
    #[error("the document is not readable XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// It is XML, but not vMix's.
    #[error("the document is not vMix's: its root is <{0}>")]
    NotVmix(String),
}

/// Reads a document. Bytes that are not UTF-8 are replaced.
///
/// # Errors
/// [`DocumentError`] when it is not a `<vmix>` document.
pub fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let tree = roxmltree::Document::parse_with_options(text, options)?;
    let root = tree.root_element();
    if root.tag_name().name() != "vmix" {
        return Err(DocumentError::NotVmix(root.tag_name().name().chars().take(40).collect()));
    }
    let mut document = Document::default();
    let mut main = Mix { number: 1, preview: None, active: None };
    for node in root.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "version" => document.version = text_of(node).map(|text| text.chars().take(64).collect()),
            "inputs" => document.inputs = inputs(node),
            "overlays" => {
                document.overlays = elements(node, "overlay").filter_map(overlay).take(MAX_CHANNELS).collect();
            }
            "preview" => main.preview = number_in(node),
            "active" => main.active = number_in(node),
            "mix" => document.mixes.extend(mix(node)),
            // Some emulators wrap the mixes.
            "mixes" => document.mixes.extend(elements(node, "mix").filter_map(mix)),
            "fadeToBlack" => document.show.fade_to_black = flag(node),
            "recording" => document.show.recording = flag(node),
            "external" => document.show.external = flag(node),
            "streaming" => document.show.streaming = flag(node),
            _ => {}
        }
    }
    document.mixes.retain(|mix| mix.number != 1);
    document.mixes.truncate(MAX_CHANNELS);
    document.mixes.insert(0, main);
    Ok(document)
}

fn inputs(parent: Node<'_, '_>) -> Vec<DocumentInput> {
    let mut inputs: Vec<_> = elements(parent, "input").filter_map(input).collect();
    inputs.sort_by_key(|input| input.number);
    inputs.dedup_by_key(|input| input.number);
    let mut seen = std::collections::HashSet::new();
    inputs.retain(|input| input.key.is_empty() || seen.insert(input.key.clone()));
    // The document does not say which mix an input of type Mix shows. vMix titles them "Mix2" …,
    // and the first of them is mix 2; a renamed one is told by its place.
    let shown = inputs.iter_mut().filter(|input| input.kind.eq_ignore_ascii_case("Mix"));
    for (place, input) in (2..).zip(shown) {
        input.mix = Some(mix_in_title(&input.title).unwrap_or(place));
    }
    inputs
}

fn mix_in_title(title: &str) -> Option<u32> {
    let number = title.get(..3).filter(|word| word.eq_ignore_ascii_case("Mix")).and(title.get(3..))?.trim();
    number.parse().ok().filter(|number| (2..=MAX_NUMBER).contains(number))
}

fn input(node: Node<'_, '_>) -> Option<DocumentInput> {
    let attribute = |name| bounded(node.attribute(name).unwrap_or_default());
    Some(DocumentInput {
        number: number(node.attribute("number")?)?,
        key: attribute("key"),
        title: attribute("title"),
        short_title: attribute("shortTitle"),
        kind: attribute("type"),
        layers: elements(node, "overlay").filter_map(|layer| layer.attribute("key")).map(bounded).collect(),
        mix: None,
    })
}

fn overlay(node: Node<'_, '_>) -> Option<Overlay> {
    Some(Overlay {
        number: number(node.attribute("number")?)?,
        input: number_in(node)?,
        preview: node.attribute("preview").is_some_and(is_true),
    })
}

fn mix(node: Node<'_, '_>) -> Option<Mix> {
    let child = |name| elements(node, name).next().and_then(number_in);
    Some(Mix { number: number(node.attribute("number")?)?, preview: child("preview"), active: child("active") })
}

fn elements<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn bounded(text: &str) -> Arc<str> {
    let text = text.trim();
    let end = text.char_indices().nth(MAX_TEXT).map_or(text.len(), |(at, _)| at);
    Arc::from(text.get(..end).unwrap_or_default())
}

fn text_of(node: Node<'_, '_>) -> Option<String> {
    node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number_in(node: Node<'_, '_>) -> Option<u32> {
    number(node.text()?)
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|number| (1..=MAX_NUMBER).contains(number))
}

fn flag(node: Node<'_, '_>) -> bool {
    node.text().is_some_and(is_true)
}

fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHOW: &str = r#"<vmix><version>29.0.0.49</version><edition>4K</edition><preset>C:\show.vmix</preset>
<inputs>
<input key="aaa" number="1" type="Capture" title="CAM 1" shortTitle="C1" state="Running">CAM 1</input>
<input key="bbb" number="2" type="Colour" title="Split &amp; screen" shortTitle="Split" state="Paused">Split
<overlay index="0" key="aaa"><position panX="0.5"/></overlay><overlay index="1" key="ccc"/></input>
<input key="ccc" number="3" type="Capture" title="카메라 2" shortTitle="카메라 2" state="Running">x</input>
<input key="ddd" number="4" type="Mix" title="Mix2" shortTitle="Mix2" state="Paused">Mix2</input>
</inputs>
<overlays><overlay number="1"/><overlay number="2">3</overlay><overlay number="3" preview="True">1</overlay></overlays>
<preview>1</preview><active>2</active><fadeToBlack>False</fadeToBlack>
<recording duration="12">True</recording><external>False</external><streaming channel1="True">True</streaming>
<mix number="2"><preview>3</preview><active>1</active></mix><mix number="3"><preview>0</preview><active>0</active></mix>
</vmix>"#;

    #[test]
    fn reads_a_show() {
        let document = parse(format!("\u{feff}{SHOW}\r\n").as_bytes()).unwrap();
        assert_eq!(document.version.as_deref(), Some("29.0.0.49"));
        let titles: Vec<_> = document.inputs.iter().map(|input| (input.number, &*input.key, &*input.title)).collect();
        assert_eq!(
            titles,
            [(1, "aaa", "CAM 1"), (2, "bbb", "Split & screen"), (3, "ccc", "카메라 2"), (4, "ddd", "Mix2")]
        );
        assert_eq!(document.inputs[1].layers, [Arc::from("aaa"), Arc::from("ccc")]);
        assert_eq!(document.inputs[3].mix, Some(2));
        assert_eq!(
            document.overlays,
            [Overlay { number: 2, input: 3, preview: false }, Overlay { number: 3, input: 1, preview: true }]
        );
        assert_eq!(
            document.mixes,
            [
                Mix { number: 1, preview: Some(1), active: Some(2) },
                Mix { number: 2, preview: Some(3), active: Some(1) },
                Mix { number: 3, preview: None, active: None },
            ]
        );
        assert_eq!(document.show, Show { streaming: true, recording: true, external: false, fade_to_black: false });
    }

    #[test]
    fn refuses_a_document_type_another_root_and_what_is_cut_short() {
        assert!(matches!(parse(b"<!DOCTYPE vmix [<!ENTITY a \"b\">]><vmix/>"), Err(DocumentError::Xml(_))));
        assert!(matches!(parse(b"<html/>"), Err(DocumentError::NotVmix(_))));
        assert!(parse(&SHOW.as_bytes()[..SHOW.len() - 3]).is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn numbers_out_of_reason_and_doubles_are_left_out() {
        let document = parse(
            br#"<vmix><inputs><input number="4294967295" key="a"/><input number="0" key="b"/><input number="2" key="c"/>
            <input number="2" key="d"/><input number="3" key="c"/><input key="e"/></inputs><active>-1</active></vmix>"#,
        )
        .unwrap();
        assert_eq!(document.inputs.iter().map(|input| &*input.key).collect::<Vec<_>>(), ["c"]);
        assert_eq!(document.mixes[0].active, None);
    }

    #[test]
    fn long_texts_and_many_channels_are_cut() {
        let mixes: String = (2..500).map(|n| format!("<mix number=\"{n}\"/>")).collect();
        let title = "카".repeat(5000);
        let document =
            parse(format!("<vmix><inputs><input number='1' title='{title}'/></inputs>{mixes}</vmix>").as_bytes())
                .unwrap();
        assert_eq!(document.inputs[0].title.chars().count(), MAX_TEXT);
        assert_eq!(document.mixes.len(), MAX_CHANNELS + 1);
    }

    #[test]
    fn a_deep_document_does_no_harm() {
        let _ = parse("<vmix>".repeat(200_000).as_bytes());
        let _ = parse(format!("{}{}", "<vmix>".repeat(100_000), "</vmix>".repeat(100_000)).as_bytes());
    }

    #[test]
    fn a_mix_is_told_by_its_title_or_else_by_its_place() {
        let document = parse(
            br#"<vmix><inputs><input number="1" type="Mix" title="Wall"/><input number="2" type="Mix" title="mix 5"/>
            <input number="3" type="Mix" title="Mixed"/></inputs></vmix>"#,
        )
        .unwrap();
        assert_eq!(document.inputs.iter().map(|input| input.mix).collect::<Vec<_>>(), [Some(2), Some(5), Some(4)]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            crate::tally::fuzzing::vmix_xml(&bytes);
        }

        #[test]
        fn a_damaged_show_never_panics(at in 0usize..SHOW.len(), with in any::<u8>(), cut in 0usize..40) {
            let mut bytes = SHOW.as_bytes().to_vec();
            bytes[at] = with;
            let end = (at + cut).min(bytes.len());
            bytes.drain(at + 1..end.max(at + 1));
            crate::tally::fuzzing::vmix_xml(&bytes);
        }
    }
}
