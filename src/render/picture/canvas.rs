//! Forms and words on a picture. It is drawn larger than it is and made smaller at the end, which
//! rounds off the edges.

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};
use plotters::style::{IntoFont, register_font};
use std::fmt::Display;
use std::sync::OnceLock;

/// How many times larger it is drawn.
const TIMES: u32 = 2;
/// What the font is called in here.
const FONT: &str = "watchbell";
/// Letters, digits and signs of DejaVu Sans. `LICENSE-DejaVu` beside it says how it was made.
static LETTERS: &[u8] = include_bytes!("DejaVuSans.subset.ttf");

/// A colour in red, green and blue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Color(pub(super) u8, pub(super) u8, pub(super) u8);

/// The side of a text that stands where it was asked to. All of them stand in the middle of their
/// line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// A place in the picture, from its upper left corner.
type Place = (f64, f64);
type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A picture in the making.
pub(super) struct Canvas<'a> {
    area: Area<'a>,
}

/// Draws a picture of that size on white paper by `paint` and gives it as PNG.
pub(super) fn draw(
    (width, height): (u32, u32),
    paint: impl FnOnce(&Canvas<'_>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if !KNOWN.get_or_init(|| register_font(FONT, FontStyle::Normal, LETTERS).is_ok()) {
        return Err("the font of pictures cannot be read".to_owned());
    }
    let size = (width * TIMES, height * TIMES);
    // All white.
    let mut pixels = vec![0xff; 3 * size.0 as usize * size.1 as usize];
    {
        let backend = BitMapBackend::with_buffer_and_format(&mut pixels, size).map_err(words)?;
        let canvas = Canvas { area: backend.into_drawing_area() };
        paint(&canvas)?;
        canvas.area.present().map_err(words)?;
    }
    png(&smaller(&pixels, size.0 as usize), (width, height))
}

impl Canvas<'_> {
    pub(super) fn rectangle(&self, from: Place, to: Place, color: Color) -> Result<(), String> {
        self.add(&Rectangle::new([scaled(from), scaled(to)], color.filled()))
    }

    pub(super) fn polygon(&self, corners: &[Place], color: Color) -> Result<(), String> {
        let corners: Vec<_> = corners.iter().copied().map(scaled).collect();
        self.add(&Polygon::new(corners, color.filled()))
    }

    /// All between `line` and the height `base`.
    pub(super) fn area(&self, line: &[Place], base: f64, color: Color) -> Result<(), String> {
        let (Some(first), Some(last)) = (line.first(), line.last()) else { return Ok(()) };
        if line.len() < 2 {
            return Ok(());
        }
        let mut corners = vec![(first.0, base)];
        corners.extend_from_slice(line);
        corners.push((last.0, base));
        self.polygon(&corners, color)
    }

    /// A line with round corners. Each piece of it is drawn on its own: where a line turns back
    /// sharply, the corners of a single one shoot out of the picture.
    pub(super) fn line(&self, way: &[Place], width: f64, color: Color) -> Result<(), String> {
        for piece in way.windows(2) {
            let ends: Vec<_> = piece.iter().copied().map(scaled).collect();
            self.add(&PathElement::new(ends, color.stroke(width)))?;
        }
        let inner = way.get(1..way.len().saturating_sub(1)).unwrap_or_default();
        inner.iter().try_for_each(|corner| self.disc(*corner, width / 2.0 - 0.25, color))
    }

    /// A vertical line in pieces.
    pub(super) fn dashes(
        &self,
        from: Place,
        to: Place,
        width: f64,
        color: Color,
    ) -> Result<(), String> {
        const DASH: f64 = 6.0;
        const GAP: f64 = 4.0;
        let mut y = from.1;
        while y < to.1 {
            self.line(&[(from.0, y), (to.0, (y + DASH).min(to.1))], width, color)?;
            y += DASH + GAP;
        }
        Ok(())
    }

    pub(super) fn disc(&self, middle: Place, radius: f64, color: Color) -> Result<(), String> {
        self.add(&Circle::new(scaled(middle), scaled((radius, 0.0)).0, color.filled()))
    }

    pub(super) fn text(
        &self,
        text: &str,
        at: Place,
        size: f64,
        color: Color,
        anchor: Anchor,
    ) -> Result<(), String> {
        let side = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = style(size, color).pos(Pos::new(side, VPos::Center));
        // The middle of a line with its descenders lies above that of most letters.
        let at = (at.0, at.1 + size * 0.16);
        self.area.draw_text(text, &style, scaled(at)).map_err(words)
    }

    /// How wide a text is.
    pub(super) fn width(&self, text: &str, size: f64) -> Result<f64, String> {
        let style = style(size, Color(0, 0, 0));
        let (width, _) = self.area.estimate_text_size(text, &style).map_err(words)?;
        Ok(f64::from(width) / f64::from(TIMES))
    }

    fn add<'e, E>(&self, element: &'e E) -> Result<(), String>
    where
        for<'b> &'e E: plotters::element::PointCollection<'e, (i32, i32)>,
        E: for<'b> plotters::element::Drawable<BitMapBackend<'b>>,
    {
        self.area.draw(element).map_err(words)
    }
}

impl Color {
    const fn plotted(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }

    fn filled(self) -> ShapeStyle {
        ShapeStyle::from(&self.plotted()).filled()
    }

    fn stroke(self, width: f64) -> ShapeStyle {
        let width = (width * f64::from(TIMES)).round() as u32;
        ShapeStyle::from(&self.plotted()).stroke_width(width)
    }
}

fn style(size: f64, color: Color) -> TextStyle<'static> {
    let font = (FontFamily::Name(FONT), size * f64::from(TIMES)).into_font();
    TextStyle { color: color.plotted().to_backend_color(), ..TextStyle::from(font) }
}

fn scaled((x, y): Place) -> (i32, i32) {
    let times = f64::from(TIMES);
    ((x * times).round() as i32, (y * times).round() as i32)
}

/// How many steps there are from one colour of a channel to the next. With so few colours the file
/// has a palette and stays small; edges do not need more.
const STEP: u8 = 0x11;

/// Each square of pixels as one that is their mean, in red, green and blue of sixteen steps each.
fn smaller(pixels: &[u8], width: usize) -> Vec<u16> {
    let times = TIMES as usize;
    let round = |sum: usize| {
        let whole = times * times * usize::from(STEP);
        u16::try_from((sum + whole / 2) / whole).unwrap_or(15)
    };
    let mut out = Vec::with_capacity(pixels.len() / (3 * times * times));
    let mut sums = vec![[0usize; 3]; width / times];
    for rows in pixels.chunks_exact(3 * width * times) {
        sums.fill([0; 3]);
        for row in rows.chunks_exact(3 * width) {
            for (sum, square) in sums.iter_mut().zip(row.chunks_exact(3 * times)) {
                for pixel in square.chunks_exact(3) {
                    for (sum, value) in sum.iter_mut().zip(pixel) {
                        *sum += usize::from(*value);
                    }
                }
            }
        }
        out.extend(sums.iter().map(|[r, g, b]| round(*r) << 8 | round(*g) << 4 | round(*b)));
    }
    out
}

/// Pixels of sixteen steps a colour as PNG.
fn png(pixels: &[u16], (width, height): (u32, u32)) -> Result<Vec<u8>, String> {
    let mut palette: Vec<u8> = Vec::new();
    let mut known: Vec<Option<u8>> = vec![None; 1 << 12];
    let mut indexed = Vec::with_capacity(pixels.len());
    for pixel in pixels {
        let place = known.get_mut(usize::from(*pixel)).ok_or("a colour out of range")?;
        let index = match *place {
            Some(index) => index,
            None => {
                let color = [*pixel >> 8, *pixel >> 4 & 15, *pixel & 15];
                let color = color.map(|step| u8::try_from(step).unwrap_or(15) * STEP);
                let index = u8::try_from(palette.len() / 3).ok();
                let index = index.unwrap_or_else(|| nearest(&palette, color));
                if palette.len() / 3 == usize::from(index) {
                    palette.extend_from_slice(&color);
                }
                *place.insert(index)
            }
        };
        indexed.push(index);
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_compression(png::Compression::Default);
    encoder.set_filter(png::FilterType::NoFilter);
    let mut writer = encoder.write_header().map_err(words)?;
    writer.write_image_data(&indexed).map_err(words)?;
    writer.finish().map_err(words)?;
    Ok(out)
}

/// The colour of a full palette that is the most like `color`.
fn nearest(palette: &[u8], color: [u8; 3]) -> u8 {
    let apart = |known: &[u8]| -> u32 {
        known.iter().zip(color).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let colors = palette.chunks_exact(3).enumerate();
    let best = colors.min_by_key(|(_, known)| apart(known)).map_or(0, |(index, _)| index);
    u8::try_from(best).unwrap_or(0)
}

fn words(error: impl Display) -> String {
    format!("cannot draw a picture: {error}")
}
