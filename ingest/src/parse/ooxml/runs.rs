//! Text of `DrawingML`: the paragraphs of shapes, tables, diagrams and charts; and symbols of `WordprocessingML`.

use super::scripts::{self, Script};
use super::symbols::{self, Font};
use super::{child, equations};
use crate::parse::tree::Element;

/// Returns the text of a paragraph (`a:p`), without slide numbers.
pub(in crate::parse) fn paragraph(paragraph: &Element) -> String {
    let mut text = String::new();
    pieces(paragraph, &mut text);
    text
}

/// Returns the text of all descendant paragraphs, one per line.
pub(in crate::parse) fn paragraphs(element: &Element) -> String {
    let lines: Vec<String> = super::all(element, "p")
        .into_iter()
        .map(paragraph)
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.join("\n")
}

fn pieces(element: &Element, text: &mut String) {
    for inner in element.elements() {
        match inner.name.as_str() {
            "r" => run(inner, text),
            "fld" if inner.attribute("type") == Some("slidenum") => {}
            "fld" => run(inner, text),
            "br" => text.push('\n'),
            "m" => text.push_str(&equations::below(inner)),
            "oMath" | "oMathPara" => text.push_str(&equations::marked(inner)),
            "AlternateContent" => {
                let before = text.len();
                for choice in inner.elements() {
                    if text.len() == before {
                        pieces(choice, text);
                    }
                }
            }
            _ => {}
        }
    }
}

fn run(run: &Element, text: &mut String) {
    let Some(written) = child(run, "t").map(Element::text) else {
        return;
    };
    let properties = child(run, "rPr");
    let face = |name| {
        properties
            .and_then(|p| child(p, name))
            .and_then(|f| f.attribute("typeface"))
    };
    let latin = face("latin").and_then(Font::named);
    let piece = match (latin, face("sym").and_then(Font::named)) {
        (Some(font), _) => font.text(&written),
        (None, Some(font)) if written.chars().all(|c| c.is_whitespace() || is_private(c)) => {
            font.text(&written)
        }
        (None, _) => symbols::unnamed(&written, None),
    };
    // A vertical tab is a line break; older versions write it as `_x000B_`.
    let piece = piece.replace("_x000B_", "\n").replace("_x000D_", "\n");
    let baseline = properties
        .and_then(|p| p.attribute("baseline"))
        .and_then(|b| b.trim_end_matches('%').parse::<f64>().ok())
        .unwrap_or(0.0);
    if baseline > 0.0 {
        scripts::append(text, Script::Raised, &piece);
    } else if baseline < 0.0 {
        scripts::append(text, Script::Lowered, &piece);
    } else {
        text.push_str(&piece);
    }
}

fn is_private(character: char) -> bool {
    ('\u{f000}'..='\u{f0ff}').contains(&character)
}

/// Returns the character of a `w:sym`.
pub(in crate::parse) fn word_symbol(symbol: &Element) -> String {
    let Some(code) = symbol
        .attribute("char")
        .and_then(|c| u32::from_str_radix(c, 16).ok())
    else {
        return String::new();
    };
    let character = match symbol.attribute("font").and_then(Font::named) {
        Some(font) => font.character(code),
        // Other fonts have their characters at the low byte of the private range.
        None if (0xF000..=0xF0FF).contains(&code) => char::from_u32(code - 0xF000),
        None => char::from_u32(code),
    };
    character.map(String::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    #[test]
    fn runs_breaks_fields_and_scripts_of_a_paragraph() {
        let xml = "<p><r><t>10</t></r><r><rPr baseline=\"30000\"/><t>6</t></r><br/>\
            <r><rPr><latin typeface=\"Wingdings\"/></rPr><t>\u{f0fc}</t></r>\
            <fld type=\"slidenum\"><t>4</t></fld><fld type=\"datetime1\"><t> May</t></fld>\
            <AlternateContent><Choice><m><oMath><r><t>x</t></r></oMath></m></Choice>\
            <Fallback><r><t>twice</t></r></Fallback></AlternateContent></p>";
        let root = tree::read(xml).unwrap();
        assert_eq!(paragraphs(&root), "10^6\n✓ May$x$");
    }
}
