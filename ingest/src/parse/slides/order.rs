//! Reading order of the shapes of a slide: the title, then from top to bottom, and from left to right where shapes are side by side. Shapes that are already in
//! a readable order keep it.

use super::layouts::Place;
use crate::parse::ooxml::Block;

/// Maximum number of shapes that are ordered; the time is quadratic.
const MAX_SHAPES: usize = 400;

/// A shape with its content.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) rank: Rank,
    pub(super) place: Option<Place>,
    pub(super) blocks: Vec<Block>,
}

/// Priority of shapes in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Title,
    /// A placeholder of the layout; placeholders are ordered by the layout's columns.
    Placeholder,
    Other,
    Footer,
}

/// Returns the blocks of shapes in reading order.
pub(super) fn reading(shapes: Vec<Shape>) -> Vec<Block> {
    let mut waiting: Vec<Shape> = shapes
        .into_iter()
        .filter(|s| !s.blocks.is_empty())
        .collect();
    let mut blocks = Vec::new();
    let sortable = waiting.len() <= MAX_SHAPES;
    while !waiting.is_empty() {
        let next = if sortable { first(&waiting) } else { 0 };
        blocks.extend(waiting.remove(next).blocks);
    }
    blocks
}

/// Returns the index of a shape that no other one must precede.
fn first(shapes: &[Shape]) -> usize {
    let free = shapes
        .iter()
        .position(|shape| !shapes.iter().any(|other| before(other, shape)));
    free.unwrap_or_else(|| {
        // For cyclic overlaps: the topmost shape.
        let top = |shape: &Shape| (shape.rank, shape.place.map_or(i64::MAX, |p| p.top));
        let least = shapes.iter().enumerate().min_by_key(|(_, s)| top(s));
        least.map_or(0, |(index, _)| index)
    })
}

/// Returns whether one shape must precede another.
fn before(one: &Shape, other: &Shape) -> bool {
    let group = |shape: &Shape| match shape.rank {
        Rank::Title => 0,
        Rank::Placeholder | Rank::Other => 1,
        Rank::Footer => 2,
    };
    if group(one) != group(other) {
        return group(one) < group(other);
    }
    let (Some(a), Some(b)) = (one.place, other.place) else {
        return false;
    };
    let columns = one.rank == Rank::Placeholder && other.rank == Rank::Placeholder;
    let common = (a.top + a.height).min(b.top + b.height) - a.top.max(b.top);
    let beside = common * 2 > a.height.min(b.height) || a.top == b.top;
    if beside {
        return a.left + a.width / 2 < b.left + b.width / 2
            && a.left + a.width <= b.left + b.width / 4;
    }
    let above = a.top + a.height / 2 < b.top + b.height / 2 && a.top < b.top;
    let one_column = a.left < b.left + b.width && b.left < a.left + a.width;
    above && (one_column || !columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, rank: Rank, [left, top, width, height]: [i64; 4]) -> Shape {
        Shape {
            rank,
            place: Some(Place {
                left,
                top,
                width,
                height,
            }),
            blocks: vec![Block::Paragraph(name.to_owned())],
        }
    }

    fn names(shapes: Vec<Shape>) -> String {
        let names: Vec<String> = reading(shapes).iter().map(Block::flat).collect();
        names.join(" ")
    }

    #[test]
    fn boxes_are_read_in_rows() {
        let other = |name, place| shape(name, Rank::Other, place);
        let shapes = vec![
            other("d", [60, 52, 40, 10]),
            other("c", [0, 50, 40, 10]),
            other("b", [60, 11, 40, 10]),
            shape("title", Rank::Title, [0, 90, 90, 10]),
            other("a", [0, 10, 40, 10]),
        ];
        assert_eq!(names(shapes), "title a b c d");
    }

    #[test]
    fn columns_of_a_layout_stay_together() {
        let holder = |name, place| shape(name, Rank::Placeholder, place);
        let shapes = vec![
            shape("footer", Rank::Footer, [0, 0, 1, 1]),
            holder("left-head", [0, 10, 40, 10]),
            holder("left", [0, 25, 40, 50]),
            holder("right-head", [60, 10, 40, 10]),
            holder("right", [60, 25, 40, 50]),
        ];
        assert_eq!(names(shapes), "left-head left right-head right footer");
    }
}
