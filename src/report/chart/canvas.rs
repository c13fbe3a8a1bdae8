//! What charts are drawn on: a list of shapes in pixels, which plotters turns into SVG or a bitmap.
//!
//! Shapes keep to a few colours: a page may replace each of them, for a dark theme say, by its value in the SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ChartError;
use crate::report::owned::MARK;

/// A colour.
pub type Colour = (u8, u8, u8);

/// Behind everything.
pub const PAPER: Colour = (255, 255, 255);
/// Words that matter.
pub const INK: Colour = (27, 31, 36);
/// Words beside them.
pub const QUIET: Colour = (91, 102, 115);
/// Lines to read values by.
pub const GRID: Colour = (223, 228, 234);
/// What holds.
pub const GOOD: Colour = (0, 119, 91);
/// What does not, and limits.
pub const BAD: Colour = (196, 60, 0);
/// What is not settled, or does not bind.
pub const UNSETTLED: Colour = (150, 115, 0);

/// Lines of policies, in their order: the colour-blind safe set of Okabe and Ito (2008), black and the palest left out.
pub const LINES: [Colour; 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (136, 34, 85),
    (110, 110, 110),
];

/// Where a text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A shape; coordinates are pixels from the upper left corner.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Box { from: (f64, f64), to: (f64, f64), colour: Colour, opacity: f64 },
    Line { points: Vec<(f64, f64)>, colour: Colour, width: u32 },
    Area { points: Vec<(f64, f64)>, colour: Colour, opacity: f64 },
    Dot { at: (f64, f64), radius: u32, colour: Colour },
    Text { at: (f64, f64), text: String, size: f64, colour: Colour, anchor: Anchor },
}

/// A picture in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What it shows, in words, for those who do not see it.
    pub label: String,
    shapes: Vec<Shape>,
}

impl Canvas {
    /// An empty one.
    pub fn new(width: u32, height: u32, label: impl Into<String>) -> Self {
        Self { width, height, label: label.into(), shapes: Vec::new() }
    }

    /// A filled box between two corners.
    pub fn block(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, opacity: f64) {
        self.shapes.push(Shape::Box { from, to, colour, opacity });
    }

    /// A line through points; nothing for fewer than two.
    pub fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: u32) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line { points, colour, width });
        }
    }

    /// A line in pieces of `on` pixels with gaps of `off` between them, whose rhythm goes on around corners.
    pub fn dashes(&mut self, points: &[(f64, f64)], colour: Colour, width: u32, (on, off): (f64, f64)) {
        let (mut drawing, mut left) = (true, on);
        let mut piece: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                if length < left {
                    left -= length;
                    piece.push(to);
                    break;
                }
                let share = left / length;
                from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
                piece.push(from);
                if drawing {
                    self.line(std::mem::take(&mut piece), colour, width);
                }
                drawing = !drawing;
                left = if drawing { on } else { off };
                piece = vec![from];
            }
        }
        if drawing {
            self.line(piece, colour, width);
        }
    }

    /// A filled polygon.
    pub fn area(&mut self, points: Vec<(f64, f64)>, colour: Colour, opacity: f64) {
        if points.len() > 2 {
            self.shapes.push(Shape::Area { points, colour, opacity });
        }
    }

    /// A dot.
    pub fn dot(&mut self, at: (f64, f64), radius: u32, colour: Colour) {
        self.shapes.push(Shape::Dot { at, radius, colour });
    }

    /// A text, its middle at the height of its point.
    pub fn text(
        &mut self,
        at: (f64, f64),
        text: impl Into<String>,
        size: f64,
        colour: Colour,
        anchor: Anchor,
    ) {
        self.shapes.push(Shape::Text { at, text: printable(&text.into()), size, colour, anchor });
    }

    /// As a stand-alone SVG; `background` paints the paper, which a page has of its own.
    ///
    /// # Errors
    /// If plotters cannot draw.
    pub fn svg(&self, background: bool) -> Result<String, ChartError> {
        let mut out = String::new();
        {
            let mut backend = SVGBackend::with_string(&mut out, (self.width, self.height));
            self.draw(&mut backend, 1.0, background)?;
        }
        // plotters has no words for what a picture shows, and every picture of a page needs some.
        let label = escaped(&printable(&self.label));
        if background {
            // By these words a later run knows its files from somebody else's.
            out = out.replacen('>', &format!(">\n<!-- {MARK} -->"), 1);
        }
        Ok(out.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
    }

    /// As a PNG of twice its size, for screens with small pixels.
    ///
    /// # Errors
    /// If plotters cannot draw.
    pub fn png(&self) -> Result<Vec<u8>, ChartError> {
        const SCALE: u32 = 2;
        let (width, height) = (self.width * SCALE, self.height * SCALE);
        let mut pixels = vec![0; (width * height * 3) as usize];
        {
            let mut backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
            self.draw(&mut backend, f64::from(SCALE), true)?;
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let marked = encoder.add_text_chunk("Software".to_owned(), MARK.to_owned());
        marked.map_err(|error| ChartError(error.to_string()))?;
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        written.map_err(|error| ChartError(error.to_string()))?;
        Ok(file)
    }

    fn draw<B: DrawingBackend>(
        &self,
        backend: &mut B,
        scale: f64,
        background: bool,
    ) -> Result<(), ChartError> {
        register_font()?;
        let pixel = |(x, y): (f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
        let pixels = |points: &[(f64, f64)]| points.iter().map(|point| pixel(*point)).collect::<Vec<_>>();
        let paint = |(r, g, b): Colour, opacity: f64| RGBColor(r, g, b).mix(opacity);
        if background {
            let corner = ((f64::from(self.width) * scale) as i32, (f64::from(self.height) * scale) as i32);
            backend.draw_rect((0, 0), corner, &paint(PAPER, 1.0), true).map_err(failed)?;
        }
        for shape in &self.shapes {
            match shape {
                Shape::Box { from, to, colour, opacity } => {
                    backend.draw_rect(pixel(*from), pixel(*to), &paint(*colour, *opacity), true)
                }
                Shape::Line { points, colour, width } => {
                    let style = paint(*colour, 1.0).stroke_width((f64::from(*width) * scale) as u32);
                    backend.draw_path(pixels(points), &style)
                }
                Shape::Area { points, colour, opacity } => {
                    backend.fill_polygon(pixels(points), &paint(*colour, *opacity))
                }
                Shape::Dot { at, radius, colour } => {
                    let radius = (f64::from(*radius) * scale) as u32;
                    backend.draw_circle(pixel(*at), radius, &paint(*colour, 1.0), true)
                }
                Shape::Text { at, text, size, colour, anchor } => {
                    let h_pos = match anchor {
                        Anchor::Start => HPos::Left,
                        Anchor::Middle => HPos::Center,
                        Anchor::End => HPos::Right,
                    };
                    let font = ("sans-serif", size * scale * PLOTTERS_SIZE).into_font();
                    let colour = paint(*colour, 1.0);
                    let style = TextStyle::from(font).color(&colour).pos(Pos::new(h_pos, VPos::Center));
                    backend.draw_text(text, &style, pixel(*at))
                }
            }
            .map_err(failed)?;
        }
        backend.present().map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> ChartError {
    ChartError(error.to_string())
}

/// plotters divides a size by this before it writes it into an SVG.
const PLOTTERS_SIZE: f64 = 1.24;

/// The font of bitmaps, cut down to Latin letters and the signs of charts; SVGs take the reader's own. No font is looked for on the
/// machine: a picture is the same everywhere.
fn register_font() -> Result<(), ChartError> {
    const FONT: &[u8] = include_bytes!("DejaVuSans-subset.ttf");
    plotters::style::register_font("sans-serif", FontStyle::Normal, FONT)
        .map_err(|_| ChartError("the font that is built in cannot be read".to_owned()))
}

/// Without characters that XML forbids.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
        .collect()
}

/// For an attribute.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// At most so many characters, the last of them an ellipsis where some are left out.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas() -> Canvas {
        let mut canvas = Canvas::new(120, 40, "a <test> & \"more\"");
        canvas.block((0.0, 0.0), (60.0, 40.0), BAD, 1.0);
        canvas.line(vec![(0.0, 0.0), (120.0, 40.0)], INK, 1);
        canvas.text((5.0, 20.0), "</text><script>\u{1}", 12.0, INK, Anchor::Start);
        canvas
    }

    #[test]
    fn nothing_breaks_out_of_an_svg() {
        let svg = canvas().svg(true).unwrap();
        assert!(
            svg.starts_with("<svg role=\"img\" aria-label=\"a &lt;test&gt; &amp; &quot;more&quot;\" "),
            "{svg}"
        );
        assert!(!svg.contains("<script") && !svg.contains('\u{1}'), "{svg}");
        assert!(svg.contains("#C43C00") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("#FFFFFF").count(), 1);
        assert_eq!(canvas().svg(false).unwrap().matches("#FFFFFF").count(), 0);
    }

    #[test]
    fn a_bitmap_is_twice_as_large_and_holds_what_was_drawn() {
        let file = canvas().png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (240, 80));
        let at = |x: usize, y: usize| &pixels[(y * 240 + x) * 3..][..3];
        assert_eq!(at(30, 70), [196, 60, 0]);
        assert_eq!(at(200, 10), [255, 255, 255]);
        // Letters leave ink.
        assert!((10..60).any(|x| (30..50).any(|y| at(x, y)[0] < 100)));
    }

    #[test]
    fn long_texts() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
    }
}
