//! Cameras: which inputs of the switcher a configured camera is.
//!
//! Owns: what the settings say of a camera, and the binding of each of its references to the
//! `key` of an input. Does not own: the tally that follows (`state`). Numbers and titles change
//! during a show, keys do not: once a reference has found its input it stays with that key.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::xml::{Document, DocumentInput};

/// How the settings name an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InputRef {
    /// By its number, from 1.
    Number(u32),
    /// By its key, else by its number, else by its title or short title.
    Text(String),
}

impl From<&str> for InputRef {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for InputRef {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for InputRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

impl InputRef {
    fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// By number, only an input whose key `may_be` it is found.
    fn find<'a>(&self, document: &'a Document, may_be: impl Fn(&str) -> bool) -> Option<&'a DocumentInput> {
        let inputs = &document.inputs;
        let text = match self {
            Self::Number(_) => None,
            Self::Text(text) => Some(text.trim()),
        };
        let by_key =
            || text.and_then(|text| inputs.iter().find(|i| !text.is_empty() && i.key.eq_ignore_ascii_case(text)));
        let by_number = || {
            let number = self.number()?;
            inputs.iter().find(|input| input.number == number && may_be(&input.key))
        };
        let by_title = || {
            let text = text.filter(|text| !text.is_empty())?;
            let exact = inputs.iter().find(|i| &*i.title == text || &*i.short_title == text);
            let lower = text.to_lowercase();
            exact.or_else(|| {
                inputs.iter().find(|i| i.title.to_lowercase() == lower || i.short_title.to_lowercase() == lower)
            })
        };
        by_key().or_else(by_number).or_else(by_title)
    }
}

/// A camera as the settings describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraConfig {
    /// The name people call it by.
    pub name: String,
    /// The inputs it is on; its tally is the strongest of theirs.
    pub inputs: Vec<InputRef>,
    /// The mixes that count, from 1, the main mix.
    pub mixes: Vec<u32>,
    /// The overlay channels that count, from 1, whichever mixes do. `None` = all.
    pub overlays: Option<Vec<u32>>,
}

impl CameraConfig {
    /// A camera on these inputs, with mix 1 and all overlays.
    pub fn new(name: impl Into<String>, inputs: impl IntoIterator<Item = InputRef>) -> Self {
        Self { name: name.into(), inputs: inputs.into_iter().collect(), mixes: vec![1], overlays: None }
    }
}

/// A reference and the input it was found to be.
#[derive(Clone, Debug)]
struct Binding {
    reference: InputRef,
    /// The key last found; kept while it is missing, for it may come back.
    key: Option<Arc<str>>,
    /// The key before that one, which had gone; it is taken again when it comes back.
    former: Option<Arc<str>>,
    /// The keys of the document that last had it.
    beside: Arc<HashSet<Arc<str>>>,
    /// The number it has; `None` while it is missing.
    number: Option<u32>,
    /// It is missing, and its number is another input's now.
    number_lost: bool,
}

impl Binding {
    fn new(reference: InputRef) -> Self {
        Self { reference, key: None, former: None, beside: Arc::default(), number: None, number_lost: false }
    }

    /// The input of a document that has the key, or the one before it.
    fn known<'a>(&self, by_key: &HashMap<&str, &'a DocumentInput>) -> Option<&'a DocumentInput> {
        let keys = self.former.iter().chain(&self.key);
        keys.filter_map(|key| by_key.get(&**key).copied()).next()
    }

    fn hold(&mut self, input: &DocumentInput, beside: &Arc<HashSet<Arc<str>>>) {
        self.number = Some(input.number);
        self.number_lost = false;
        self.beside = beside.clone();
        let key = Some(input.key.clone()).filter(|key| !key.is_empty());
        if self.key != key {
            let left = std::mem::replace(&mut self.key, key);
            self.former = if self.former == self.key { None } else { left };
        }
    }
}

/// A camera with its references bound.
#[derive(Clone, Debug)]
pub(super) struct BoundCamera {
    pub config: CameraConfig,
    pub name: Arc<str>,
    bindings: Vec<Binding>,
}

impl BoundCamera {
    pub fn new(config: CameraConfig) -> Self {
        let bindings = config.inputs.iter().cloned().map(Binding::new).collect();
        Self { name: Arc::from(config.name.as_str()), config, bindings }
    }

    /// Keeps what `old` had learnt of the references that are still configured.
    pub fn inherit(&mut self, old: &Self) {
        for binding in &mut self.bindings {
            if let Some(known) = old.bindings.iter().find(|known| known.reference == binding.reference) {
                *binding = known.clone();
            }
        }
    }

    /// The numbers its inputs have by the last document, in order; `None` for one not found.
    pub fn numbers(&self) -> impl Iterator<Item = Option<u32>> {
        self.bindings.iter().map(|binding| binding.number)
    }

    /// The same while no document can be had: a number is then all there is to go by. A reference
    /// that was last seen at another number, or not at all, cannot be followed.
    pub fn numbers_blind(&self) -> impl Iterator<Item = Option<u32>> {
        self.bindings.iter().map(|binding| {
            let number = binding.reference.number().filter(|number| *number > 0)?;
            (binding.key.is_none() || binding.number == Some(number)).then_some(number)
        })
    }

    /// The references that the last document has no input for, in words.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.bindings.iter().filter(|binding| binding.number.is_none()).map(|binding| {
            let reference = &binding.reference;
            if binding.number_lost {
                format!("{reference} any more (it was deleted, and another input has its number now)")
            } else {
                reference.to_string()
            }
        })
    }
}

/// Binds the references of all cameras to the inputs of a new document. `previous` tells whether
/// the document before it had a key.
///
/// A reference whose key is there keeps it. One whose key has gone is looked up anew, but a number
/// gives it only an input that was not there before: when one input is deleted those behind it move
/// up, and a camera must not inherit its neighbour. It keeps its key meanwhile, for the deletion may
/// be undone. A title is given by people, so an input that bears it is taken even then. When the
/// whole preset was exchanged no key is left, and numbers mean the new inputs.
pub(super) fn bind(cameras: &mut [BoundCamera], document: &Document, previous: impl Fn(&str) -> bool) {
    let keyed = document.inputs.iter().filter(|input| !input.key.is_empty());
    let by_key: HashMap<&str, &DocumentInput> = keyed.map(|input| (&*input.key, input)).collect();
    let present = Arc::new(by_key.values().map(|input| input.key.clone()).collect::<HashSet<_>>());
    let mut kept = HashSet::new();
    for binding in cameras.iter_mut().flat_map(|camera| &mut camera.bindings) {
        binding.number = None;
        if let Some(input) = binding.known(&by_key) {
            binding.hold(input, &present);
            kept.insert(input.key.clone());
        }
    }
    for binding in cameras.iter_mut().flat_map(|camera| &mut camera.bindings) {
        if binding.number.is_some() {
            continue;
        }
        let bound = binding.key.is_some();
        let may_be = |key: &str| !bound || !(previous(key) || kept.contains(key) || binding.beside.contains(key));
        if let Some(input) = binding.reference.find(document, may_be) {
            binding.hold(input, &present);
        } else {
            let number = binding.reference.number();
            binding.number_lost = document.inputs.iter().any(|input| Some(input.number) == number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inputs: &[(&str, &str)]) -> Document {
        let input = |(at, (key, title)): (usize, &(&str, &str))| DocumentInput {
            number: at as u32 + 1,
            key: Arc::from(*key),
            title: Arc::from(*title),
            ..DocumentInput::default()
        };
        Document { inputs: inputs.iter().enumerate().map(input).collect(), ..Document::default() }
    }

    /// A document, after one that had nothing.
    fn show(cameras: &mut [BoundCamera], document: &Document) {
        bind(cameras, document, |_| false);
    }

    fn cameras(references: &[InputRef]) -> Vec<BoundCamera> {
        references.iter().map(|r| BoundCamera::new(CameraConfig::new(r.to_string(), [r.clone()]))).collect()
    }

    fn numbers(cameras: &[BoundCamera]) -> Vec<Option<u32>> {
        cameras.iter().flat_map(BoundCamera::numbers).collect()
    }

    #[test]
    fn a_text_is_a_key_first_then_a_number_then_a_title() {
        let document = document(&[("2", "Three"), ("k", "1"), ("m", "2")]);
        let mut cameras = cameras(&["2".into(), "1".into(), "three".into(), "K".into(), 2.into(), "9".into()]);
        show(&mut cameras, &document);
        assert_eq!(numbers(&cameras), [Some(1), Some(1), Some(1), Some(2), Some(2), None]);
    }

    #[test]
    fn a_camera_follows_its_input_when_it_is_moved_or_renamed() {
        let mut cameras = cameras(&[1.into(), "CAM 2".into(), "c".into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("b", "CAM 2"), ("c", "CAM 3")]));
        show(&mut cameras, &document(&[("x", "Intro"), ("c", "CAM 3"), ("a", "CAM 2"), ("b", "Anna")]));
        assert_eq!(numbers(&cameras), [Some(3), Some(4), Some(2)]);
    }

    #[test]
    fn a_deleted_input_does_not_give_its_camera_the_neighbours() {
        let mut cameras = cameras(&[1.into(), 2.into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("b", "CAM 2")]));
        show(&mut cameras, &document(&[("b", "CAM 2")]));
        assert_eq!(numbers(&cameras), [None, Some(1)]);
        show(&mut cameras, &document(&[("b", "CAM 2"), ("a", "CAM 1")]));
        assert_eq!(numbers(&cameras), [Some(2), Some(1)], "undone");
    }

    #[test]
    fn a_new_preset_binds_numbers_and_titles_anew_even_after_an_empty_moment() {
        let mut cameras = cameras(&[1.into(), "CAM 2".into(), "b".into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("b", "CAM 2")]));
        show(&mut cameras, &document(&[]));
        assert_eq!(numbers(&cameras), [None, None, None]);
        show(&mut cameras, &document(&[("n", "CAM 2"), ("o", "CAM 1")]));
        assert_eq!(numbers(&cameras), [Some(1), Some(1), None]);
    }

    #[test]
    fn a_deleted_input_does_not_give_its_camera_an_input_of_no_camera() {
        let mut cameras = cameras(&[1.into(), "1".into(), 3.into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("g", "Graphics"), ("c", "CAM 3")]));
        for _ in 0..2 {
            show(&mut cameras, &document(&[("g", "Graphics"), ("c", "CAM 3")]));
            assert_eq!(numbers(&cameras), [None, None, Some(2)]);
            assert_eq!(cameras[0].numbers_blind().collect::<Vec<_>>(), [None]);
            let missing: Vec<_> = cameras.iter().flat_map(BoundCamera::missing).collect();
            assert_eq!(missing[0], "1 any more (it was deleted, and another input has its number now)");
            assert_eq!(missing.len(), 2);
        }
        show(&mut cameras, &document(&[]));
        show(&mut cameras, &document(&[("g", "Graphics"), ("c", "CAM 3")]));
        assert_eq!(numbers(&cameras), [None, None, Some(2)], "after an empty moment");
        show(&mut cameras, &document(&[("g", "Graphics"), ("c", "CAM 3"), ("a", "CAM 1")]));
        assert_eq!(numbers(&cameras), [Some(3), Some(3), Some(2)], "undone");
        assert_eq!(cameras.iter().flat_map(BoundCamera::missing).count(), 0);
        show(&mut cameras, &document(&[("g", "Graphics")]));
        show(&mut cameras, &document(&[("n", "New 1"), ("o", "New 2"), ("p", "New 3")]));
        assert_eq!(numbers(&cameras), [Some(1), Some(1), Some(3)], "another preset");
    }

    #[test]
    fn an_input_that_was_there_before_is_not_taken_when_it_moves_to_the_number() {
        let mut cameras = cameras(&[1.into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("b", "CAM 2")]));
        show(&mut cameras, &document(&[("b", "CAM 2"), ("n", "Graphics")]));
        let moved = document(&[("n", "Graphics"), ("b", "CAM 2")]);
        bind(&mut cameras, &moved, |key| ["b", "n"].contains(&key));
        assert_eq!(numbers(&cameras), [None]);
    }

    #[test]
    fn an_input_of_the_same_title_stands_in_until_the_deletion_is_undone() {
        let mut cameras = cameras(&["CAM 1".into()]);
        show(&mut cameras, &document(&[("a", "CAM 1"), ("b", "CAM 1")]));
        assert_eq!(numbers(&cameras), [Some(1)]);
        for _ in 0..2 {
            show(&mut cameras, &document(&[("x", "Intro"), ("b", "CAM 1")]));
            assert_eq!(numbers(&cameras), [Some(2)]);
            for _ in 0..2 {
                show(&mut cameras, &document(&[("b", "CAM 1"), ("a", "CAM 1")]));
                assert_eq!(numbers(&cameras), [Some(2)], "undone");
            }
        }
    }
}
