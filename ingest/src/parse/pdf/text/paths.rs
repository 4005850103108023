//! Straight lines drawn on a page, mainly table rules.

use hayro_font::kurbo::{Affine, Point};

use super::glyphs::Rule;

/// Maximum parts of a path, and maximum rules of a page, that are considered.
const PARTS: usize = 10_000;
const RULES: usize = 20_000;
/// Maximum thickness of a bar that counts as a line.
const THIN: f64 = 3.0;

/// The current path.
#[derive(Default)]
pub(crate) struct Path {
    lines: Vec<(Point, Point)>,
    boxes: Vec<(Point, Point)>,
    start: Point,
    last: Point,
}

impl Path {
    /// Interprets a path operator.
    pub(crate) fn operator(
        &mut self,
        name: &[u8],
        numbers: &[f64],
        ctm: Affine,
        rules: &mut Vec<Rule>,
    ) {
        match (name, numbers) {
            (b"m", [x, y, ..]) => {
                self.start = Point::new(*x, *y);
                self.last = self.start;
            }
            (b"l", [x, y, ..]) => self.line_to(Point::new(*x, *y)),
            (b"h", _) => self.line_to(self.start),
            (b"c", [_, _, _, _, x, y, ..]) | (b"v" | b"y", [_, _, x, y, ..]) => {
                self.last = Point::new(*x, *y)
            }
            (b"re", [x, y, width, height, ..]) if self.boxes.len() < PARTS => {
                let low = Point::new(*x, *y);
                self.boxes.push((low, Point::new(x + width, y + height)));
            }
            (b"s" | b"b" | b"b*", _) => {
                self.line_to(self.start);
                self.paint(true, ctm, rules);
            }
            (b"S" | b"B" | b"B*", _) => self.paint(true, ctm, rules),
            (b"f" | b"F" | b"f*", _) => self.paint(false, ctm, rules),
            (b"n", _) => self.clear(),
            _ => {}
        }
    }

    fn line_to(&mut self, to: Point) {
        if self.lines.len() < PARTS {
            self.lines.push((self.last, to));
        }
        self.last = to;
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.boxes.clear();
    }

    fn paint(&mut self, stroked: bool, ctm: Affine, rules: &mut Vec<Rule>) {
        let mut add = |from: Point, to: Point| {
            let (from, to) = (ctm * from, ctm * to);
            let (width, height) = ((to.x - from.x).abs(), (to.y - from.y).abs());
            if rules.len() < RULES && width.min(height) <= THIN && width.max(height) > THIN {
                rules.push(Rule {
                    x0: from.x.min(to.x) as f32,
                    y0: from.y.min(to.y) as f32,
                    x1: from.x.max(to.x) as f32,
                    y1: from.y.max(to.y) as f32,
                });
            }
        };
        for (low, high) in &self.boxes {
            if stroked {
                let (left_top, right_low) = (Point::new(low.x, high.y), Point::new(high.x, low.y));
                for (from, to) in [
                    (*low, right_low),
                    (right_low, *high),
                    (*high, left_top),
                    (left_top, *low),
                ] {
                    add(from, to);
                }
            } else {
                add(*low, *high);
            }
        }
        if stroked {
            for (from, to) in &self.lines {
                add(*from, *to);
            }
        } else if let [first, second, ..] = self.lines.as_slice() {
            // A thin filled bar.
            if self.lines.len() <= 4 {
                add(first.0, second.1);
            }
        }
        self.clear();
    }
}
