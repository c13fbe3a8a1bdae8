//! Pictures of a profile: its start as a waterfall, its decode and prefill times as curves.
//!
//! One drawing serves SVG and PNG. Letters come from a subset of DejaVu Sans that is built
//! in, so that the same profile gives the same bytes on every machine.

mod axis;
mod steps;
mod waterfall;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use thawline::profile::Profile;

use crate::raw::Record;
use crate::{Result, fault};

/// The built-in font, under the name that SVG viewers replace by their own.
///
/// Sizes are even: plotters cuts off half pixels, and letters would dance on the line.
const FONT: &str = "sans-serif";
const FONT_FILE: &[u8] = include_bytes!("DejaVuSans-subset.ttf");

/// px.
const WIDTH: u32 = 1200;
const TITLE_HEIGHT: u32 = 64;
const STEPS_HEIGHT: u32 = 480;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0x77, 0x77, 0x77);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Okabe and Ito's colours (jfly.uni-koeln.de/color), which colour-blind people can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x99, 0x99, 0x33),
];

/// A part of the picture.
type Area<'a, B> = DrawingArea<B, Shift>;

/// What a drawing answers.
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// The picture of a profile as SVG, with raw samples as points if there are any.
///
/// # Errors
/// None that are known; plotters may have its own.
pub fn svg(profile: &Profile, samples: &[Record]) -> Result<String> {
    let mut text = String::new();
    {
        let backend = SVGBackend::with_string(&mut text, (WIDTH, height(profile)));
        draw(&backend.into_drawing_area(), profile, samples).map_err(|e| failed(&e))?;
    }
    Ok(text)
}

/// The same as PNG, written to a file.
///
/// # Errors
/// A file that cannot be written.
pub fn png(profile: &Profile, samples: &[Record], path: &Path) -> Result<()> {
    let backend = BitMapBackend::new(path, (WIDTH, height(profile)));
    draw(&backend.into_drawing_area(), profile, samples).map_err(|e| failed(&e))
}

fn failed(error: &dyn std::error::Error) -> Vec<crate::Fault> {
    fault("E0402", format!("cannot draw the profile: {error}"))
}

fn height(profile: &Profile) -> u32 {
    let steps = if profile.step_time.is_some() { STEPS_HEIGHT } else { 0 };
    TITLE_HEIGHT + waterfall::height(profile) + steps
}

fn draw<B: DrawingBackend>(root: &Area<'_, B>, profile: &Profile, samples: &[Record]) -> Drawn<B> {
    // Once a process is enough, and the font is known to be one.
    let _ = register_font(FONT, FontStyle::Normal, FONT_FILE);
    root.fill(&WHITE)?;
    let (title, rest) = root.split_vertically(TITLE_HEIGHT);
    title.draw(&Text::new(profile.label(), (24, 14), (FONT, 22).into_font().color(&INK)))?;
    let gpus = format!("{} x {}", profile.gpu.count, profile.gpu.name);
    let engine = format!("{} {}", profile.engine.name, profile.engine.version);
    let line = format!("{} · {gpus} · {engine} · figures: {}", profile.model, profile.trust());
    title.draw(&Text::new(line, (24, 42), (FONT, 14).into_font().color(&FAINT)))?;
    let (start, steps) = rest.split_vertically(waterfall::height(profile));
    waterfall::draw(&start, profile)?;
    if let Some(spec) = &profile.step_time {
        let (left, right) = steps.split_horizontally(WIDTH / 2);
        steps::draw_decode(&left, spec, samples)?;
        steps::draw_prefill(&right, spec, samples)?;
    }
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_profile_gives_the_same_bytes_with_every_word_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for shipped in thawline::profile::SHIPPED {
            let profile = shipped.profile();
            let picture = svg(&profile, &[]).unwrap();
            assert_eq!(picture, svg(&profile, &[]).unwrap(), "{}", shipped.name);
            for word in [profile.label().as_str(), "start-up", "seconds"] {
                assert!(picture.contains(word), "{}: `{word}` is missing", shipped.name);
            }
            for stage in &profile.start_up {
                assert!(picture.contains(stage.stage.label()), "{}: {:?}", shipped.name, stage.stage);
            }
            let axes = ["KV tokens", "new tokens", "step, ms", "prefill, ms"];
            let drawn = axes.iter().filter(|axis| picture.contains(**axis)).count();
            assert_eq!(drawn, if profile.step_time.is_some() { 4 } else { 0 }, "{}", shipped.name);
            let paths = [folder.path().join("a.png"), folder.path().join("b.png")];
            let images = paths.map(|path| {
                png(&profile, &[], &path).unwrap();
                std::fs::read(path).unwrap()
            });
            assert!(images[0] == images[1] && images[0].starts_with(b"\x89PNG"), "{}", shipped.name);
        }
    }

    #[test]
    fn every_letter_a_picture_needs_is_in_the_font() {
        let mut text = String::new();
        register_font("test", FontStyle::Normal, FONT_FILE).ok().unwrap();
        let font = ("test", 20).into_font();
        let width = |text: &str| font.box_size(text).unwrap().0;
        for c in (' '..='~').chain("µ×·–…±°→".chars()).filter(|c| !c.is_whitespace()) {
            text.push(c);
            assert!(width(&c.to_string()) > 0, "`{c}` has no width");
        }
        assert!(width(&text) > 800, "{}", width(&text));
    }
}
