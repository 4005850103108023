//! Rotated text: transformed so that its lines run to the right.

use super::glyphs::{Glyph, Rule};

/// Maximum rotated directions per page that are processed separately.
const DIRECTIONS: usize = 12;

/// Text of one direction, transformed so that its lines run to the right.
pub(crate) struct Turned {
    pub glyphs: Vec<Glyph>,
    pub rules: Vec<Rule>,
    pub upright: bool,
}

/// Groups glyphs by direction: upright ones first if there are many, otherwise the most frequent.
pub(crate) fn by_direction(glyphs: Vec<Glyph>, rules: &[Rule]) -> Vec<Turned> {
    let mut parts: Vec<(i32, Vec<Glyph>)> = Vec::new();
    let all = glyphs.len();
    for glyph in glyphs {
        let degrees = glyph.direction.1.atan2(glyph.direction.0).to_degrees();
        let right = (degrees / 90.0).round() * 90.0;
        let degrees = if (degrees - right).abs() < 4.0 {
            right
        } else {
            (degrees / 3.0).round() * 3.0
        };
        let degrees = (degrees as i32).rem_euclid(360);
        let known = parts.len();
        match parts.iter_mut().find(|(d, _)| *d == degrees) {
            Some((_, part)) => part.push(glyph),
            None if known < DIRECTIONS => parts.push((degrees, vec![glyph])),
            None => {}
        }
    }
    parts.sort_by_key(|(degrees, part)| {
        let upright = *degrees == 0 && part.len() * 5 >= all;
        (!upright, usize::MAX - part.len())
    });
    let turned = |(degrees, glyphs): (i32, Vec<Glyph>)| turn(degrees, glyphs, rules);
    parts.into_iter().map(turned).collect()
}

fn turn(degrees: i32, mut glyphs: Vec<Glyph>, rules: &[Rule]) -> Turned {
    let (sin, cos) = match degrees {
        0 => (0.0, 1.0),
        90 => (1.0, 0.0),
        180 => (0.0, -1.0),
        270 => (-1.0, 0.0),
        other => (other as f32).to_radians().sin_cos(),
    };
    let place = |x: f32, y: f32| (x * cos + y * sin, y * cos - x * sin);
    for glyph in &mut glyphs {
        (glyph.x, glyph.y) = place(glyph.x, glyph.y);
        glyph.direction = (1.0, 0.0);
    }
    let turned = |rule: &Rule| {
        let ((x0, y0), (x1, y1)) = (place(rule.x0, rule.y0), place(rule.x1, rule.y1));
        Rule {
            x0: x0.min(x1),
            y0: y0.min(y1),
            x1: x0.max(x1),
            y1: y0.max(y1),
        }
    };
    let rules = if degrees % 90 == 0 {
        rules.iter().map(turned).collect()
    } else {
        Vec::new()
    };
    Turned {
        glyphs,
        rules,
        upright: degrees == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::glyphs::tests::line;
    use super::*;

    #[test]
    fn turned_text_is_read_along_its_lines() {
        let mut glyphs = line("up", 0.0, 0.0, 10.0);
        for glyph in &mut glyphs {
            (glyph.x, glyph.y) = (50.0, 100.0 - glyph.x);
            glyph.direction = (0.0, -1.0);
        }
        let parts = by_direction(glyphs, &[]);
        let along: Vec<Vec<f32>> = parts
            .iter()
            .map(|part| part.glyphs.iter().map(|g| g.x).collect())
            .collect();
        assert_eq!(along, [[-100.0, -95.0]]);
    }
}
