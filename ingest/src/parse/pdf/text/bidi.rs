//! Right-to-left text: from visual to logical order.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

/// The text of a glyph, or a space between words.
pub(crate) struct Item {
    pub text: String,
    pub space: bool,
}

/// Returns whether a text is right-to-left (`true`), left-to-right, or has no direction.
pub(crate) fn direction(text: &str) -> Option<bool> {
    use unicode_bidi::BidiClass::{AL, AN, EN, L, R};
    text.chars()
        .find_map(|c| match unicode_bidi::bidi_class(c) {
            R | AL => Some(true),
            L | EN | AN => Some(false),
            _ => None,
        })
}

pub(crate) fn is_mark(c: char) -> bool {
    unicode_bidi::bidi_class(c) == unicode_bidi::BidiClass::NSM
}

/// Converts visual order into logical order: runs of right-to-left letters are reversed glyph by glyph, and the whole line when it is right-to-left.
pub(crate) fn logical(items: Vec<Item>, rtl: bool) -> Vec<Item> {
    let mut runs: Vec<(Vec<Item>, bool)> = Vec::new();
    let mut neutral: Vec<Item> = Vec::new();
    for item in items {
        let Some(to_left) = direction(&item.text) else {
            neutral.push(item);
            continue;
        };
        match runs.last_mut() {
            Some((run, same)) if *same == to_left => {
                run.append(&mut neutral);
                run.push(item);
            }
            // Neutral text between two directions gets the direction of the line.
            Some((run, same)) if *same == rtl => {
                run.append(&mut neutral);
                runs.push((vec![item], to_left));
            }
            _ if to_left == rtl => {
                let mut run = std::mem::take(&mut neutral);
                run.push(item);
                runs.push((run, to_left));
            }
            _ => {
                runs.push((std::mem::take(&mut neutral), rtl));
                runs.push((vec![item], to_left));
            }
        }
    }
    match runs.last_mut() {
        Some((run, same)) if *same == rtl => run.append(&mut neutral),
        _ => runs.push((neutral, rtl)),
    }
    if rtl {
        runs.reverse();
    }
    let ordered = runs.into_iter().flat_map(|(mut run, to_left)| {
        if to_left {
            run.reverse();
            run.iter_mut().for_each(mirror);
        }
        run
    });
    ordered.collect()
}

/// Mirrors brackets, which are drawn mirrored in right-to-left text.
fn mirror(item: &mut Item) {
    let other = match item.text.as_str() {
        "(" => ")",
        ")" => "(",
        "[" => "]",
        "]" => "[",
        "{" => "}",
        "}" => "{",
        "«" => "»",
        "»" => "«",
        _ => return,
    };
    item.text = other.to_owned();
}
