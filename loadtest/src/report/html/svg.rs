//! Charts as inline SVG: scales, axes and the shapes that the sections need.
//!
//! Colours, widths and fonts are classes of `style.css`, never attributes, so that a chart follows
//! the reader's light or dark scheme without a script. A plotting library would write them as
//! attributes, and removing those takes more code than this module.

use std::fmt::Write as _;

use crate::report::html::page::escape;

/// Width of a drawing in its own units; CSS scales it to the width of its column.
pub(super) const WIDE: f64 = 920.0;
pub(super) const HALF: f64 = 450.0;

const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 38.0;
const BOTTOM: f64 = 42.0;

#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    Linear { from: f64, to: f64 },
    Log { from: f64, to: f64 },
}

impl Scale {
    /// A scale from zero to a round number above `max`.
    pub(super) fn from_zero(max: f64) -> Scale {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        Scale::Linear { from: 0.0, to: (max / step).ceil() * step }
    }

    /// A logarithmic scale between round numbers around both values.
    pub(super) fn log_around(min: f64, max: f64) -> Scale {
        let min = if min > 0.0 { min } else { 1e-3 };
        let max = max.max(min * 2.0);
        let (down, up) = (round_down(min), round_down(max));
        let up = if up < max { next_round(up) } else { up };
        Scale::Log { from: down, to: up }
    }

    /// Position of a value: 0 at the start of the scale, 1 at its end.
    fn share(self, value: f64) -> f64 {
        match self {
            Scale::Linear { from, to } => (value - from) / (to - from),
            Scale::Log { from, to } => {
                (value.max(from).log10() - from.log10()) / (to.log10() - from.log10())
            }
        }
    }

    /// A few round numbers on the scale.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear { from, to } => {
                let step = round_step((to - from) / 5.0);
                let first = (from / step).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|index| index as f64 * step).collect()
            }
            Scale::Log { from, to } => {
                let decades = (to / from).log10();
                let mut ticks = Vec::new();
                let mut tick = round_down(from);
                if tick < from * 0.999_999 {
                    tick = next_round(tick);
                }
                while tick <= to * 1.000_001 {
                    let mantissa = tick / 10_f64.powf((tick * 1.000_001).log10().floor());
                    if decades < 3.5 || mantissa < 1.5 {
                        ticks.push(tick);
                    }
                    tick = next_round(tick * 1.000_001);
                }
                ticks
            }
        }
    }
}

/// Estimated width of a text in an ordinary font.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.4
}

/// The largest round number (1, 2 or 5 times a power of ten) that is at most `value`.
fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf((value * 1.000_001).log10().floor());
    let mantissa = value * 1.000_001 / decade;
    decade
        * if mantissa >= 5.0 {
            5.0
        } else if mantissa >= 2.0 {
            2.0
        } else {
            1.0
        }
}

/// The next round number above the round number `value`.
fn next_round(value: f64) -> f64 {
    let here = round_down(value);
    let mantissa = here / 10_f64.powf((here * 1.000_001).log10().floor());
    here * if mantissa > 1.5 && mantissa < 3.0 { 2.5 } else { 2.0 }
}

/// The smallest round number that is not below `least`.
fn round_step(least: f64) -> f64 {
    let step = round_down(least);
    if step * 1.000_001 >= least { step } else { next_round(step) }
}

/// Builder of a chart.
#[derive(Debug)]
pub(super) struct Chart {
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
    label: String,
    body: String,
}

impl Chart {
    /// An empty chart. `label` is the text for screen readers.
    pub(super) fn new(width: f64, height: f64, x: Scale, y: Scale, label: &str) -> Chart {
        Chart { width, height, x, y, label: label.to_owned(), body: String::new() }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.width - LEFT - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - self.y.share(value) * (bottom - TOP)
    }

    /// Draws horizontal lines with labels, and `name` above the axis.
    pub(super) fn y_axis(&mut self, name: &str, text: impl Fn(f64) -> String) {
        let right = self.width - RIGHT;
        for tick in self.y.ticks() {
            let y = self.y(tick);
            let _ = write!(
                self.body,
                "<line class=\"grid\" x1=\"{LEFT:.1}\" x2=\"{right:.1}\" \
                 y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escape(&text(tick))
            );
        }
        let _ = write!(self.body, "<text class=\"axis\" x=\"4\" y=\"14\">{}</text>", escape(name));
    }

    /// Draws labels below the chart at these positions, and `name` under them.
    pub(super) fn x_axis(&mut self, name: &str, ticks: &[(f64, String)]) {
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        let mut free_from = 0.0;
        for (tick, text) in ticks {
            let x = self.x(*tick);
            let _ = write!(
                self.body,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" \
                 y1=\"{TOP:.1}\" y2=\"{bottom:.1}\"/>"
            );
            // A label without room is omitted; its line stays.
            let half = text_width(text) / 2.0;
            let middle = x.min(self.width - half);
            if middle - half >= free_from {
                let _ = write!(
                    self.body,
                    "<text class=\"tick middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
                    bottom + 18.0,
                    escape(text)
                );
                free_from = middle + half + 8.0;
            }
        }
        let _ = write!(
            self.body,
            "<line class=\"base\" x1=\"{LEFT:.1}\" x2=\"{right:.1}\" y1=\"{bottom:.1}\" \
             y2=\"{bottom:.1}\"/><text class=\"axis end\" x=\"{right:.1}\" y=\"{:.1}\">{}</text>",
            self.height - 6.0,
            escape(name)
        );
    }

    /// Draws the names of the lines, from the right of the top edge to the left.
    pub(super) fn legend(&mut self, entries: &[(&str, &str)]) {
        let mut x = self.width - RIGHT;
        for (class, text) in entries.iter().rev() {
            x -= 24.0 + text_width(text);
            let _ = write!(
                self.body,
                "<line class=\"line {class}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"10\" y2=\"10\"/>\
                 <text class=\"key\" x=\"{:.1}\" y=\"14\">{}</text>",
                x + 18.0,
                x + 24.0,
                escape(text)
            );
            x -= 10.0;
        }
    }

    /// Draws a line through points, with a gap for each `None`.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
        let (mut path, mut is_drawing) = (String::new(), false);
        for point in points {
            if let Some((x, y)) = point {
                let command = if is_drawing { 'L' } else { 'M' };
                let _ = write!(path, "{command}{:.1} {:.1}", self.x(x), self.y(y));
            }
            is_drawing = point.is_some();
        }
        let _ = write!(self.body, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// Draws a dot with a tooltip.
    pub(super) fn dot(&mut self, class: &str, x: f64, y: f64, title: &str) {
        let _ = write!(
            self.body,
            "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\">\
             <title>{}</title></circle>",
            self.x(x),
            self.y(y),
            escape(title)
        );
    }

    /// Draws a box between two corners, in the chart's values.
    pub(super) fn block(&mut self, class: &str, from: (f64, f64), to: (f64, f64), title: &str) {
        let (x1, x2) = (self.x(from.0), self.x(to.0));
        let (y1, y2) = (self.y(to.1), self.y(from.1));
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x1:.2}\" y=\"{y1:.2}\" width=\"{:.2}\" height=\"{:.2}\">\
             <title>{}</title></rect>",
            (x2 - x1).max(0.0),
            (y2 - y1).max(0.0),
            escape(title)
        );
    }

    /// Draws a named area of full height between two positions, behind all later shapes.
    pub(super) fn shade(&mut self, from: f64, to: f64, name: &str) {
        let (x1, x2) = (self.x(from), self.x(to));
        let bottom = self.height - BOTTOM;
        let _ = write!(
            self.body,
            "<rect class=\"phase\" x=\"{x1:.1}\" y=\"{TOP:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{name}</title></rect>",
            x2 - x1,
            bottom - TOP
        );
        if x2 - x1 > text_width(name) {
            let _ = write!(
                self.body,
                "<text class=\"phase-name middle\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                (x1 + x2) / 2.0,
                TOP - 5.0
            );
        }
    }

    /// Draws a vertical line with its name.
    pub(super) fn mark(&mut self, at: f64, name: &str) {
        let x = self.x(at);
        let bottom = self.height - BOTTOM;
        let _ = write!(
            self.body,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"phase-name end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x - 4.0,
            TOP + 13.0,
            escape(name)
        );
    }

    pub(super) fn finish(self) -> String {
        let Chart { width, height, label, body, .. } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-label=\"{}\">{body}</svg>\n",
            escape(&label)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: axes have a few round numbers and contain their data.
    ///
    /// Method: scales around ordinary and degenerate ranges.
    ///
    /// Kills: ticks without end for a range of one value; a maximum above the last tick.
    #[test]
    fn scales_are_round() {
        assert_eq!(Scale::from_zero(48_700.0).ticks(), [0.0, 10e3, 20e3, 30e3, 40e3, 50e3]);
        assert_eq!(Scale::from_zero(0.0).ticks().first(), Some(&0.0));
        for (min, max) in [(74.0, 1_924.0), (5.0, 5.0), (0.0, 0.0), (1e-3, 6e7), (1.0, 10.0)] {
            let scale = Scale::log_around(min, max);
            let ticks = scale.ticks();
            assert!((2..=13).contains(&ticks.len()), "{min} {max}: {ticks:?}");
            assert!(
                scale.share(min) >= 0.0 && scale.share(max) <= 1.000_1,
                "{min} {max}: {scale:?}"
            );
        }
        let ticks = Scale::log_around(74.0, 1_924.0).ticks();
        let expected = [50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];
        assert!(ticks.iter().zip(expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-4), "{ticks:?}");
    }
}
