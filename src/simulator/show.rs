//! The simulated mixer: its inputs and what is on air. Pure.
//!
//! Owns: inputs, mixes, overlays, what functions do to them, and the TALLY line and activators that follow.
//! Does not own: the XML document (`xml`), the dialogue on a connection (`dialogue`).

use std::collections::BTreeMap;

/// Overlay channels of a vMix.
pub(super) const OVERLAYS: usize = 8;

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// A GUID: survives renumbering.
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) title: String,
    /// Keys of the inputs shown on its layers.
    pub(super) layers: Vec<String>,
}

/// What a mix shows, by key: an input that moves stays on air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) preview: String,
    pub(super) active: String,
}

/// An input on an overlay channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlay {
    pub(super) key: String,
    /// Shown on preview only.
    pub(super) preview: bool,
}

/// The whole mixer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Show {
    pub(super) inputs: Vec<Input>,
    /// The main mix and mix 2.
    pub(super) mixes: [Mix; 2],
    pub(super) overlays: [Option<Overlay>; OVERLAYS],
    pub(super) fade_to_black: bool,
    pub(super) streaming: bool,
    pub(super) recording: bool,
    pub(super) external: bool,
}

impl Show {
    /// A small studio: three cameras, a video, a title, a split of two cameras, a second mix and a holding slide.
    pub(super) fn studio() -> Self {
        let inputs = [
            ("26cae087-b7b6-4d45-98e4-de03ab4feb6b", "Capture", "CAM 1 – Wide"),
            ("55cbe357-a801-4d3b-8ff2-08ee68766fae", "Capture", "CAM 2 – Close"),
            ("8f3c2d5e-6a41-4c0b-9d77-1b2f90c4a318", "Capture", "CAM 3 – Crane"),
            ("d3a1f6b2-0c58-47e9-a6d4-5e7c81f20b93", "Video", "Opening.mp4"),
            ("4e90b7c6-71fd-4a3e-b2c8-93d05f6ae147", "GT", "Lower third.gtzip"),
            ("b7e25a90-3d1c-4f68-8a0e-c46f1d97250b", "Colour", "Split CAM 1 + CAM 2"),
            ("0a6d93f4-e8b7-4521-9c3f-7d18e2b540c6", "Mix", "Mix 2"),
            ("f19c04e8-52ab-4d76-b3e1-6088ca7fd235", "Image", "Holding slide.png"),
        ];
        let mut inputs: Vec<Input> = inputs
            .into_iter()
            .map(|(key, kind, title)| Input { key: key.into(), kind, title: title.into(), layers: Vec::new() })
            .collect();
        let keys: Vec<String> = inputs.iter().map(|input| input.key.clone()).collect();
        let key = |number: usize| keys.get(number - 1).cloned().unwrap_or_default();
        if let Some(split) = inputs.get_mut(5) {
            split.layers = vec![key(1), key(2)];
        }
        Self {
            mixes: [Mix { preview: key(2), active: key(1) }, Mix { preview: key(1), active: key(3) }],
            inputs,
            overlays: Default::default(),
            fade_to_black: false,
            streaming: true,
            recording: false,
            external: false,
        }
    }

    /// The number (from 1) of the input with this key; 0 if it is gone.
    pub(super) fn number(&self, key: &str) -> usize {
        self.inputs.iter().position(|input| input.key == key).map_or(0, |at| at + 1)
    }

    /// vMix takes a number, a key or a title.
    pub(super) fn find(&self, name: &str) -> Option<&Input> {
        if let Ok(number) = name.parse::<usize>() {
            return self.inputs.get(number.checked_sub(1)?);
        }
        self.inputs.iter().find(|input| input.key.eq_ignore_ascii_case(name) || input.title == name)
    }

    /// One digit per input: 0 safe, 1 program, 2 preview. Mix 1 and overlays; layers and other mixes do not count.
    pub(super) fn tally(&self) -> String {
        let [main, _] = &self.mixes;
        let on_overlay = |key: &str, preview: bool| {
            self.overlays.iter().flatten().any(|overlay| overlay.key == key && overlay.preview == preview)
        };
        let digit = |input: &Input| {
            if main.active == input.key || on_overlay(&input.key, false) {
                '1'
            } else if main.preview == input.key || on_overlay(&input.key, true) {
                '2'
            } else {
                '0'
            }
        };
        self.inputs.iter().map(digit).collect()
    }

    /// The activators that are set, as they stand in an `ACTS OK` line before its value.
    fn activators(&self) -> BTreeMap<String, bool> {
        let mut set = BTreeMap::new();
        for (mix, suffix) in self.mixes.iter().zip(["", "Mix2"]) {
            for (name, key) in [("Input", &mix.active), ("InputPreview", &mix.preview)] {
                set.insert(format!("{name}{suffix} {}", self.number(key)), true);
            }
        }
        for (channel, overlay) in (1..).zip(&self.overlays) {
            if let Some(overlay) = overlay.as_ref().filter(|overlay| !overlay.preview) {
                set.insert(format!("Overlay{channel} {}", self.number(&overlay.key)), true);
            }
        }
        let shows = [
            ("FadeToBlack", self.fade_to_black),
            ("Streaming", self.streaming),
            ("Recording", self.recording),
            ("External", self.external),
        ];
        set.extend(shows.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name.to_owned(), on)));
        set
    }

    /// What `ACTS OK` lines tell about the change from `before` to this: first what went, then what came.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<String> {
        let (old, new) = (before.activators(), self.activators());
        let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{name} 0"));
        let come = new.keys().filter(|name| !old.contains_key(*name)).map(|name| format!("{name} 1"));
        gone.chain(come).collect()
    }

    /// Whether the activator (`Input 3`, `Recording`) is set.
    pub(super) fn is_set(&self, activator: &str) -> bool {
        self.activators().contains_key(activator)
    }

    /// Moves the last input to the front: every number changes, every key stays.
    pub(super) fn renumber(&mut self) {
        self.inputs.rotate_right(1);
    }

    /// Does what a function of vMix's does. An unknown one does nothing, and neither does an unknown input.
    pub(super) fn apply(&mut self, function: &str, arguments: &Arguments) {
        let key = arguments.input.as_deref().and_then(|name| self.find(name)).map(|input| input.key.clone());
        if arguments.input.is_some() && key.is_none() {
            return;
        }
        if let Some(rest) = function.strip_prefix("OverlayInput") {
            return self.overlay(rest, key, false);
        }
        if let Some(rest) = function.strip_prefix("PreviewOverlayInput") {
            return self.overlay(rest, key, true);
        }
        match function {
            "FadeToBlack" => self.fade_to_black = !self.fade_to_black,
            "StartStreaming" => self.streaming = true,
            "StopStreaming" => self.streaming = false,
            "StartStopStreaming" => self.streaming = !self.streaming,
            "StartRecording" => self.recording = true,
            "StopRecording" => self.recording = false,
            "StartStopRecording" => self.recording = !self.recording,
            "StartExternal" => self.external = true,
            "StopExternal" => self.external = false,
            "StartStopExternal" => self.external = !self.external,
            "SetInputName" => self.rename(key, arguments.value.as_deref()),
            _ => self.transition(function, key, arguments.mix),
        }
    }

    fn transition(&mut self, function: &str, key: Option<String>, mix: usize) {
        let Some(mix) = self.mixes.get_mut(mix) else { return };
        match (function, key) {
            ("PreviewInput", Some(key)) => mix.preview = key,
            ("ActiveInput" | "CutDirect", Some(key)) => mix.active = key,
            // With an input, that one goes on air and what was on air goes to preview.
            ("Cut" | "Fade" | "QuickPlay" | "Merge" | "Wipe" | "Zoom" | "Slide" | "Stinger1" | "Transition1", key) => {
                if let Some(key) = key {
                    mix.preview = key;
                }
                std::mem::swap(&mut mix.preview, &mut mix.active);
            }
            _ => {}
        }
    }

    fn overlay(&mut self, rest: &str, key: Option<String>, preview: bool) {
        if rest == "AllOff" {
            self.overlays = Default::default();
            return;
        }
        let Some((channel, action)) = rest.split_at_checked(1) else { return };
        let Some(channel) = channel.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) else { return };
        let Some(slot) = self.overlays.get_mut(channel) else { return };
        let shown =
            slot.as_ref().is_some_and(|now| now.preview == preview && key.as_ref().is_none_or(|key| *key == now.key));
        match (action, key) {
            ("Out" | "Off", _) => *slot = None,
            ("", _) if shown => *slot = None,
            ("" | "In", Some(key)) => *slot = Some(Overlay { key, preview }),
            _ => {}
        }
    }

    fn rename(&mut self, key: Option<String>, title: Option<&str>) {
        let input = key.and_then(|key| self.inputs.iter_mut().find(|input| input.key == key));
        if let (Some(input), Some(title)) = (input, title) {
            input.title = title.to_owned();
        }
    }
}

/// The query of a function: `Input=5&Mix=1&Value=…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) input: Option<String>,
    pub(super) value: Option<String>,
    /// Counts from 0.
    pub(super) mix: usize,
}

impl Arguments {
    /// Reads a query; what is unknown in it is left alone.
    pub(super) fn parse(query: &str) -> Self {
        let mut arguments = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "Input" => arguments.input = Some(value.into_owned()),
                "Value" => arguments.value = Some(value.into_owned()),
                "Mix" => arguments.mix = value.parse().unwrap_or(usize::MAX),
                _ => {}
            }
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(calls: &[(&str, &str)]) -> Show {
        let mut show = Show::studio();
        for (function, query) in calls {
            show.apply(function, &Arguments::parse(query));
        }
        show
    }

    #[test]
    fn a_cut_swaps_preview_and_program() {
        assert_eq!(after(&[]).tally(), "12000000");
        assert_eq!(after(&[("Cut", "")]).tally(), "21000000");
        assert_eq!(after(&[("PreviewInput", "Input=3"), ("Fade", "Duration=500")]).tally(), "20100000");
        assert_eq!(after(&[("Cut", "Input=4")]).tally(), "20010000");
        assert_eq!(after(&[("ActiveInput", "Input=4")]).tally(), "02010000");
    }

    #[test]
    fn inputs_are_found_by_number_key_and_title() {
        for name in ["3", "8f3c2d5e-6a41-4c0b-9d77-1b2f90c4a318", "CAM+3+%E2%80%93+Crane"] {
            assert_eq!(after(&[("ActiveInput", &format!("Input={name}"))]).tally(), "02100000", "{name}");
        }
        for name in ["0", "9", "nobody", ""] {
            assert_eq!(after(&[("ActiveInput", &format!("Input={name}"))]), Show::studio(), "{name}");
        }
    }

    #[test]
    fn an_input_on_an_overlay_is_on_air_and_one_on_a_layer_is_not_counted() {
        assert_eq!(after(&[("OverlayInput1In", "Input=5")]).tally(), "12001000");
        assert_eq!(after(&[("OverlayInput1", "Input=5"), ("OverlayInput1", "Input=5")]).tally(), "12000000");
        assert_eq!(after(&[("PreviewOverlayInput2", "Input=5")]).tally(), "12002000");
        assert_eq!(after(&[("OverlayInput8In", "Input=5"), ("OverlayInputAllOff", "")]).tally(), "12000000");
        assert_eq!(after(&[("ActiveInput", "Input=6"), ("PreviewInput", "Input=3")]).tally(), "00200100");
    }

    #[test]
    fn the_second_mix_leaves_tally_alone() {
        let show = after(&[("ActiveInput", "Input=2&Mix=1")]);
        assert_eq!(show.tally(), "12000000");
        assert_eq!(show.changes_since(&Show::studio()), ["InputMix2 3 0", "InputMix2 2 1"]);
        assert_eq!(after(&[("Cut", "Mix=7")]), Show::studio());
    }

    #[test]
    fn activators_tell_what_changed() {
        let show = after(&[("Cut", ""), ("StartRecording", "")]);
        let changes = show.changes_since(&Show::studio());
        assert_eq!(changes, ["Input 1 0", "InputPreview 2 0", "Input 2 1", "InputPreview 1 1", "Recording 1"]);
        assert!(show.is_set("Input 2") && !show.is_set("Input 1"));
    }

    #[test]
    fn renumbering_changes_numbers_and_keeps_what_is_on_air() {
        let mut show = Show::studio();
        show.renumber();
        assert_eq!(show.tally(), "01200000");
        assert_eq!(show.number("26cae087-b7b6-4d45-98e4-de03ab4feb6b"), 2);
    }
}
