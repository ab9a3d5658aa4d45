//! A plot as a value, and the one function that draws it.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::harness::report::text::escaped;

use super::axis::Axis;
use super::role::{Role, classed};

/// Units of a plot's view box per pixel at its usual size: plotters rounds to whole units.
const UNITS_PER_PIXEL: u32 = 2;
/// The usual size of a label in pixels; the style sheet may say otherwise.
const LABEL_PX: f64 = 11.5;
/// Room for the labels of the y axis, in pixels.
const Y_LABELS_PX: u32 = 66;
/// The radius of what stands for a curve of one point, in pixels.
const LONE_PX: f64 = 2.5;
/// Room for the labels of the x axis, in pixels.
const X_LABELS_PX: u32 = 22;
/// plotters sizes a font by its box, 1.24 times what SVG calls its size.
const FONT_BOX: f64 = 1.24;

/// Axes with marks in their coordinates. Later marks lie above earlier ones.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// Usual width and height in pixels; the page scales it.
    pub(super) size_px: (u32, u32),
    /// The x axis.
    pub(super) x: Axis,
    /// The y axis.
    pub(super) y: Axis,
    /// What is drawn.
    pub(super) marks: Vec<Mark>,
}

/// Something drawn. Whatever isn't finite or lies outside is cut off at the axes.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// A line through points.
    Line { points: Vec<(f64, f64)>, role: Role },
    /// An area with a closed outline.
    Area {
        outline: Vec<(f64, f64)>,
        role: Role,
    },
    /// A rectangle between two corners.
    Band {
        corners: [(f64, f64); 2],
        role: Role,
    },
    /// A rectangle between two corners, of a depth above 0 and up to 1: its opacity.
    Cell {
        corners: [(f64, f64); 2],
        depth: f64,
        role: Role,
    },
    /// A point, `radius` in pixels.
    Dot {
        at: (f64, f64),
        radius: f64,
        role: Role,
    },
    /// A point as an outline, `radius` in pixels.
    Ring {
        at: (f64, f64),
        radius: f64,
        role: Role,
    },
    /// A point as a cross, `radius` in pixels.
    Cross {
        at: (f64, f64),
        radius: f64,
        role: Role,
    },
    /// A rectangle that can't be seen and tells its text to who points at it.
    Note {
        corners: [(f64, f64); 2],
        text: String,
    },
    /// A text.
    Text {
        at: (f64, f64),
        text: String,
        role: Role,
        side: Side,
    },
}

/// Where a text stands in relation to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It begins there.
    Right,
    /// It ends there.
    Left,
}

impl Scene {
    /// The SVG element, without width and height, for a place in a page.
    pub(super) fn svg(&self) -> String {
        let size = (
            self.size_px.0 * UNITS_PER_PIXEL,
            self.size_px.1 * UNITS_PER_PIXEL,
        );
        let mut svg = String::new();
        self.draw(&mut svg, size)
            .expect("BUG: writing to a String doesn't fail");
        let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
        // The figure around it carries the description; the drawing itself has no words to read out.
        let open = format!(
            "<svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\">",
            size.0, size.1
        );
        self.told(&self.noted(&classed(&format!("{open}{body}"))))
    }

    /// The drawing with the texts of its notes, in their order.
    fn noted(&self, svg: &str) -> String {
        const END: &str = " class=\"f-note\"/>";
        let mut pieces = svg.split(END);
        let mut noted = pieces.next().unwrap_or_default().to_owned();
        let mut notes = self.marks.iter().filter_map(|mark| match mark {
            Mark::Note { text, .. } => Some(text),
            _ => None,
        });
        for piece in pieces {
            let text = notes.next().map_or("", String::as_str);
            let title = escaped(text);
            noted.push_str(" class=\"f-note\"><title>");
            noted.push_str(&title);
            noted.push_str("</title></rect>");
            noted.push_str(piece);
        }
        noted
    }

    /// The drawing with what each point of a curve stands for, `x=y;x=y`, for the page's script: whoever points at
    /// a curve reads the value that was drawn, in the words of the rest of the page.
    fn told(&self, svg: &str) -> String {
        let (Some(x), Some(y)) = (&self.x.scale, &self.y.scale) else {
            return svg.to_owned();
        };
        let mut told = String::with_capacity(svg.len() * 2);
        let mut rest = svg;
        for mark in &self.marks {
            let Mark::Line { points, role } = mark else {
                continue;
            };
            let drawn = points
                .iter()
                .filter(|(x, y)| x.is_finite() && y.is_finite());
            let values: Vec<String> = drawn
                .map(|(at, value)| format!("{}={}", x.told(*at), y.told(*value)))
                .collect();
            // Lines are drawn in the order of the marks; what lies between them is of other marks.
            let class = format!(" class=\"s-{}\"", role.class());
            let Some(at) = find_polyline(rest, &class) else {
                continue;
            };
            told.push_str(&rest[..at]);
            if role.is_curve() {
                // The unit of a probe is its author's.
                told.push_str(&format!(" data-told=\"{}\"", escaped(&values.join(";"))));
            }
            rest = &rest[at..];
        }
        told.push_str(rest);
        told
    }

    fn draw(
        &self,
        svg: &mut String,
        size: (u32, u32),
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8 * UNITS_PER_PIXEL)
            .margin_right(12 * UNITS_PER_PIXEL)
            .x_label_area_size(X_LABELS_PX * UNITS_PER_PIXEL)
            .y_label_area_size(self.y_labels_px() * UNITS_PER_PIXEL)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let none = TRANSPARENT.stroke_width(0);
        chart
            .configure_mesh()
            .axis_style(none)
            .light_line_style(none)
            .bold_line_style(line(Role::Grid))
            .label_style(text(Role::Label))
            .set_all_tick_mark_size(3 * UNITS_PER_PIXEL)
            .draw()?;
        for mark in &self.marks {
            match mark {
                Mark::Line { points, role } => {
                    let points = points.iter().filter_map(|point| self.within(*point));
                    chart.draw_series(LineSeries::new(points, line(*role)))?;
                }
                Mark::Area { outline, role } => {
                    let outline: Vec<_> = outline
                        .iter()
                        .filter_map(|point| self.within(*point))
                        .collect();
                    chart.draw_series([Polygon::new(outline, role.code())])?;
                }
                Mark::Band { corners, role } => {
                    if let [Some(a), Some(b)] = corners.map(|corner| self.within(corner)) {
                        let band = Rectangle::new([a, b], role.code().filled());
                        chart.draw_series([band])?;
                    }
                }
                Mark::Note { corners, .. } => {
                    if let [Some(a), Some(b)] = corners.map(|corner| self.within(corner)) {
                        let note = Rectangle::new([a, b], Role::Note.code().filled());
                        chart.draw_series([note])?;
                    }
                }
                Mark::Cell {
                    corners,
                    depth,
                    role,
                } => {
                    if let [Some(a), Some(b)] = corners.map(|corner| self.within(corner)) {
                        let style = role.code().mix(depth.clamp(0.0, 1.0)).filled();
                        chart.draw_series([Rectangle::new([a, b], style)])?;
                    }
                }
                Mark::Dot { at, radius, role } => {
                    if let Some(at) = self.within(*at) {
                        let dot = Circle::new(at, units(*radius), role.code().filled());
                        chart.draw_series([dot])?;
                    }
                }
                Mark::Ring { at, radius, role } => {
                    if let Some(at) = self.within(*at) {
                        chart.draw_series([Circle::new(at, units(*radius), line(*role))])?;
                    }
                }
                Mark::Cross { at, radius, role } => {
                    if let Some(at) = self.within(*at) {
                        chart.draw_series([Cross::new(at, units(*radius), line(*role))])?;
                    }
                }
                Mark::Text {
                    at,
                    text: words,
                    role,
                    side,
                } => {
                    if let Some(at) = self.within(*at) {
                        let h_pos = match side {
                            Side::Right => HPos::Left,
                            Side::Left => HPos::Right,
                        };
                        let style = text(*role).pos(Pos::new(h_pos, VPos::Center));
                        chart.draw_series([Text::new(words.clone(), at, style)])?;
                    }
                }
            }
        }
        drop(chart);
        root.present()
    }

    /// A plot whose y axis has no labels needs no room for them.
    fn y_labels_px(&self) -> u32 {
        if self.y.ticks.is_empty() {
            12
        } else {
            Y_LABELS_PX
        }
    }

    /// The point, moved to the nearest place within the axes; `None` where it isn't finite.
    fn within(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        (x.is_finite() && y.is_finite()).then(|| {
            (
                x.clamp(self.x.from, self.x.to),
                y.clamp(self.y.from, self.y.to),
            )
        })
    }
}

impl Mark {
    /// A curve through points, and a ring where it has but one: of a line of no length nothing would be seen.
    pub(super) fn curve(points: Vec<(f64, f64)>, role: Role) -> impl Iterator<Item = Self> {
        let lone = match points.as_slice() {
            [at] => Some(Self::Ring {
                at: *at,
                radius: LONE_PX,
                role,
            }),
            _ => None,
        };
        std::iter::once(Self::Line { points, role }).chain(lone)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        begin + (share * f64::from(end - begin)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Labels and the lines of the grid are at the same places; there are no lighter ones.
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|(at, _)| *at).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// The place right behind the name of the first `<polyline` of that class, for another attribute.
fn find_polyline(svg: &str, class: &str) -> Option<usize> {
    const TAG: &str = "<polyline";
    let mut tags = svg.match_indices(TAG);
    let found = tags.find(|(at, _)| {
        let tag = svg[*at..].split("/>").next().unwrap_or_default();
        tag.contains(class)
    });
    found.map(|(at, _)| at + TAG.len())
}

fn units(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS_PER_PIXEL)).round() as i32
}

fn line(role: Role) -> ShapeStyle {
    role.code().stroke_width(UNITS_PER_PIXEL)
}

fn text<'a>(role: Role) -> TextStyle<'a> {
    let size = LABEL_PX * f64::from(UNITS_PER_PIXEL) * FONT_BOX;
    ("sans-serif", size).into_font().color(&role.code())
}

#[cfg(test)]
mod tests {
    use super::super::axis;
    use super::*;
    use crate::harness::model::Unit;

    fn scene(marks: Vec<Mark>) -> Scene {
        Scene {
            size_px: (400, 200),
            x: axis::time(0.0, 30.0),
            y: axis::from_zero(&Unit::Count, 10.0),
            marks,
        }
    }

    #[test]
    fn hostile_text_is_escaped() {
        let hostile = r##"</text><script>alert(1)</script> fill="#A15E00" & 'q' 🚀"##;
        let svg = scene(vec![Mark::Text {
            at: (1.0, 1.0),
            text: hostile.to_owned(),
            role: Role::Caption,
            side: Side::Right,
        }])
        .svg();
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("fill=&quot;#A15E00&quot;"), "{svg}");
        assert!(svg.contains("🚀"), "{svg}");
    }

    #[test]
    fn colours_are_left_to_the_page() {
        let svg = scene(vec![Mark::Line {
            points: vec![(0.0, 1.0), (9.0, 2.0)],
            role: Role::P95,
        }])
        .svg();
        assert!(svg.contains("class=\"s-p95\""), "{svg}");
        assert!(svg.contains("class=\"f-label\""), "{svg}");
        assert!(!svg.contains('#'), "{svg}");
        assert!(!svg.contains("http"), "{svg}");
    }

    #[test]
    fn a_point_has_its_shape() {
        let at = (10.0, 5.0);
        let (radius, role) = (3.0, Role::P99);
        let check = |mark, element: &str, has: &[&str]| {
            let svg = scene(vec![mark]).svg();
            let drawn: Vec<&str> = svg
                .split('<')
                .filter(|tag| tag.starts_with(element) && tag.contains("p99"))
                .collect();
            assert!(!drawn.is_empty(), "{svg}");
            for part in has {
                assert!(drawn.iter().all(|tag| tag.contains(part)), "{drawn:?}");
            }
            drawn.len()
        };
        let dot = check(
            Mark::Dot { at, radius, role },
            "circle",
            &["f-p99", "r=\"6\""],
        );
        let ring = check(
            Mark::Ring { at, radius, role },
            "circle",
            &["s-p99", "fill=\"none\""],
        );
        let cross = check(Mark::Cross { at, radius, role }, "line", &["s-p99"]);
        assert_eq!((dot, ring, cross), (1, 1, 2));
    }

    /// A unit is hostile, and a point that is not drawn has no value.
    #[test]
    fn a_curve_tells_its_values() {
        let mut scene = scene(vec![
            Mark::Line {
                points: vec![(2.0, 0.0), (2.0, 9.0)],
                role: Role::Event,
            },
            Mark::Line {
                points: vec![(0.0, 1.0), (f64::NAN, 4.0), (9.0, 2.0)],
                role: Role::P95,
            },
        ]);
        let told = |svg: &str| {
            let all = svg.split("data-told=\"").skip(1);
            let all = all.filter_map(|rest| rest.split('"').next());
            all.map(|told| told.replace('\u{202f}', " "))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&scene.svg()), ["0=1;9 s=2"]);
        scene.y = axis::from_zero(&Unit::Other("\"><b>".into()), 10.0);
        let svg = scene.svg();
        assert!(!svg.contains("<b>"), "{svg}");
        let quoted = "&quot;&gt;&lt;b&gt;";
        assert_eq!(told(&svg), [format!("0=1.00 {quoted};9 s=2.00 {quoted}")]);
        scene.y.scale = None;
        assert!(told(&scene.svg()).is_empty());
    }

    #[test]
    fn a_curve_of_one_point_is_seen() {
        let rings = |points: &[(f64, f64)]| {
            let svg = scene(Mark::curve(points.to_vec(), Role::Head).collect()).svg();
            svg.matches("<circle").count()
        };
        assert_eq!(rings(&[(1.0, 2.0)]), 1);
        assert_eq!(rings(&[(1.0, 2.0), (2.0, 2.0)]), 0);
        assert_eq!(rings(&[]), 0);
    }

    #[test]
    fn cells_have_their_depth() {
        let corners = [(1.0, 1.0), (2.0, 2.0)];
        let role = Role::Density;
        let cell = |depth| Mark::Cell {
            corners,
            depth,
            role,
        };
        let svg = scene(vec![cell(0.25), cell(1.0)]).svg();
        assert_eq!(svg.matches("class=\"f-density\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("opacity=\"0.25\"").count(), 1, "{svg}");
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let svg = scene(vec![
            Mark::Dot {
                at: (f64::NAN, 1.0),
                radius: 2.0,
                role: Role::Head,
            },
            Mark::Line {
                points: vec![(f64::INFINITY, 1.0), (1.0, 1e300)],
                role: Role::Head,
            },
        ])
        .svg();
        assert!(!svg.contains("<circle"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
