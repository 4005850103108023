//! Shared by the stream parsers of XML parts: attributes, text of events, cell names, Excel escapes.

use quick_xml::escape::{resolve_html5_entity, resolve_xml_entity};
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesRef, BytesStart};

/// Returns the value of an attribute by its local name.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    start
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|a| a.key.local_name().as_ref() == name)
        .map(|a| value(&a))
}

/// Returns the value of an attribute with its entities resolved.
pub(super) fn value(attribute: &Attribute<'_>) -> String {
    quick_xml::escape::unescape(attribute.value.as_ref()).map_or_else(
        |_| attribute.value.to_string(),
        std::borrow::Cow::into_owned,
    )
}

/// Returns whether an attribute value is true.
pub(super) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true" | "on")
}

/// Appends the character of a reference; declared entities are never expanded.
pub(super) fn resolve(reference: &BytesRef<'_>, out: &mut String) {
    let name = reference.to_string();
    match reference.resolve_char_ref() {
        Ok(Some(character)) => out.push(character),
        Ok(None) | Err(_) => {
            match resolve_xml_entity(&name).or_else(|| resolve_html5_entity(&name)) {
                Some(text) => out.push_str(text),
                None => {
                    out.push('&');
                    out.push_str(&name);
                    out.push(';');
                }
            }
        }
    }
}

/// Returns row and column of a cell name, from 0; either may be missing.
pub(super) fn position(name: &str) -> (Option<u32>, Option<u32>) {
    let (mut column, mut row) = (0_u32, 0_u32);
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' => {
                column = column
                    .saturating_mul(26)
                    .saturating_add(u32::from(byte - b'A') + 1)
            }
            b'a'..=b'z' => {
                column = column
                    .saturating_mul(26)
                    .saturating_add(u32::from(byte - b'a') + 1)
            }
            b'0'..=b'9' => {
                row = row
                    .saturating_mul(10)
                    .saturating_add(u32::from(byte - b'0'))
            }
            b'$' => {}
            _ => return (None, None),
        }
    }
    (row.checked_sub(1), column.checked_sub(1))
}

/// Decodes Excel's escapes of characters that XML does not allow: `_x000D_`.
pub(super) fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    let mut units: Vec<u16> = Vec::new();
    let flush = |units: &mut Vec<u16>, out: &mut String| {
        out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or('\u{fffd}')));
    };
    while let Some(at) = rest.find("_x") {
        let (before, found) = rest.split_at(at);
        if !before.is_empty() {
            flush(&mut units, out);
            out.push_str(before);
        }
        let unit = found
            .get(2..6)
            .filter(|_| found.get(6..7) == Some("_"))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        if let (Some(unit), Some(after)) = (unit, found.get(7..)) {
            units.push(unit);
            rest = after;
        } else {
            flush(&mut units, out);
            out.push_str("_x");
            rest = found.get(2..).unwrap_or_default();
        }
    }
    flush(&mut units, out);
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cells_are_positions() {
        assert_eq!(position("A1"), (Some(0), Some(0)));
        assert_eq!(position("$XFD$1048576"), (Some(1_048_575), Some(16_383)));
        assert_eq!(position("7"), (Some(6), None));
        assert_eq!(position("Ä1"), (None, None));
    }

    #[test]
    fn escapes_are_characters() {
        let text = |escaped: &str| {
            let mut out = String::new();
            unescape(escaped, &mut out);
            out
        };
        assert_eq!(text("a_x000D__x000A_b"), "a\r\nb");
        assert_eq!(text("_xD83D__xDE00_"), "\u{1f600}");
        assert_eq!(text("_x005F_x000D_"), "_x000D_");
        assert_eq!(text("_xyz_ _x12"), "_xyz_ _x12");
    }
}
