//! Fields of Word: the result is text, the instruction is not. Checkboxes and lists of legacy forms have no result; their displayed text is generated here.

use crate::parse::ooxml::symbols::Font;
use crate::parse::ooxml::{child, switch, val};
use crate::parse::tree::Element;

/// Characters for ticked and empty checkboxes.
pub(super) const TICKED: &str = "☒";
pub(super) const EMPTY: &str = "☐";

/// Maximum length of an instruction; equations may be nested in it.
const MAX_INSTRUCTION: usize = 4000;

/// Open fields, innermost last.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Field>);

#[derive(Debug, Default)]
struct Field {
    instruction: String,
    /// Whether the result has started.
    result: bool,
    /// Whether the result is omitted.
    silent: bool,
}

/// The effect of a field mark on the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) text: String,
    /// Whether it is a page number.
    pub(super) page: bool,
}

impl Fields {
    /// Returns whether text at this position is visible.
    pub(super) fn shows(&self) -> bool {
        self.0.iter().all(|field| field.result && !field.silent)
    }

    /// Appends to the instruction of the innermost field.
    pub(super) fn instruct(&mut self, text: &str) {
        let open = self.0.last_mut().filter(|f| !f.result);
        if let Some(field) = open.filter(|f| f.instruction.len() < MAX_INSTRUCTION) {
            field.instruction.push_str(text);
        }
    }

    /// Handles a mark (`w:fldChar`): the start of a field, the start of its result, or its end.
    pub(super) fn mark(&mut self, mark: &Element, without_pages: bool) -> Effect {
        let shown = self.shows();
        let mut effect = Effect::default();
        match mark.attribute("fldCharType") {
            Some("begin") => {
                let form = child(mark, "ffData").and_then(form_text);
                let silent = form.is_some();
                if shown {
                    effect.text = form.unwrap_or_default();
                }
                self.0.push(Field {
                    silent,
                    ..Field::default()
                });
            }
            Some("separate") => {
                if let Some(field) = self.0.last_mut() {
                    field.result = true;
                    effect.page = is_page(&field.instruction);
                    field.silent |= effect.page && without_pages;
                }
            }
            Some("end") => {
                let Some(field) = self.0.pop() else {
                    return effect;
                };
                if !field.result && !field.silent && self.shows() {
                    effect.page = is_page(&field.instruction);
                    effect.text = without_result(&field.instruction);
                }
            }
            _ => {}
        }
        effect
    }

    /// Ends instructions left open at the end of a paragraph; otherwise damaged files would lose all following text.
    pub(super) fn end_paragraph(&mut self) {
        self.0.retain(|field| field.result);
    }
}

/// Returns whether an instruction is a page number.
pub(super) fn is_page(instruction: &str) -> bool {
    let word = instruction.split_whitespace().next().unwrap_or_default();
    ["PAGE", "NUMPAGES", "SECTIONPAGES"].contains(&word.to_uppercase().as_str())
}

/// Returns the displayed text of a legacy checkbox or list; `None` for text fields, which have a result.
fn form_text(data: &Element) -> Option<String> {
    if let Some(tick) = child(data, "checkBox") {
        let ticked = switch(tick, "checked").or_else(|| switch(tick, "default"));
        let sign = if ticked == Some(true) { TICKED } else { EMPTY };
        return Some(sign.to_owned());
    }
    let list = child(data, "ddList")?;
    let chosen = val(list, "result").or_else(|| val(list, "default"));
    let chosen: usize = chosen.and_then(|c| c.parse().ok()).unwrap_or(0);
    let entry = list
        .elements()
        .filter(|e| e.name == "listEntry")
        .nth(chosen)
        .and_then(|e| e.attribute("val"));
    Some(entry.unwrap_or_default().to_owned())
}

/// Returns the text of fields without a result: symbols and legacy equations.
fn without_result(instruction: &str) -> String {
    let instruction = instruction.trim();
    if instruction.len() > 2 * MAX_INSTRUCTION {
        return String::new();
    }
    let (word, rest) = instruction
        .split_once(char::is_whitespace)
        .unwrap_or((instruction, ""));
    match word.to_uppercase().as_str() {
        "SYMBOL" => symbol(rest).map(String::from).unwrap_or_default(),
        "EQ" => equation(rest),
        _ => String::new(),
    }
}

fn symbol(arguments: &str) -> Option<char> {
    let number = arguments.split_whitespace().next()?;
    let code = match number.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    let font = arguments
        .split_once("\\f")
        .map(|(_, name)| name.trim().trim_start_matches('"'))
        .and_then(|name| Font::named(name.split(['"', '\\']).next().unwrap_or(name)));
    match font {
        Some(font) => font.character(code),
        None => char::from_u32(code),
    }
}

/// Converts a legacy equation into linear text: `\f(1,2)` becomes `1/2`, `\r(3,x)` the third root; of other switches, the arguments are kept.
fn equation(arguments: &str) -> String {
    let text = arguments.trim();
    let Some((before, call)) = text.split_once("\\f(") else {
        return roots(text);
    };
    let Some((inside, after)) = closed(call) else {
        return text.to_owned();
    };
    let (over, under) = halves(inside);
    let bracketed = |part: &str| {
        let part = equation(part);
        if part.chars().all(char::is_alphanumeric) {
            part
        } else {
            format!("({part})")
        }
    };
    let quotient = format!("{}/{}", bracketed(over), bracketed(under));
    format!("{}{quotient}{}", roots(before), equation(after))
}

fn roots(text: &str) -> String {
    let Some((before, call)) = text.split_once("\\r(") else {
        return text
            .split('\\')
            .enumerate()
            .map(|(number, part)| {
                // The name of a switch, with its numbers.
                if number == 0 {
                    part
                } else {
                    part.trim_start_matches(|c: char| c.is_alphanumeric() || c == ' ')
                }
            })
            .collect();
    };
    let Some((inside, after)) = closed(call) else {
        return text.to_owned();
    };
    let (degree, radicand) = halves(inside);
    let root = if radicand.is_empty() {
        format!("√({degree})")
    } else if degree.trim().is_empty() {
        format!("√({radicand})")
    } else {
        format!("√[{degree}]({radicand})")
    };
    format!("{before}{root}{}", roots(after))
}

/// Splits a text at the bracket that closes one opened before it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits the two arguments of a switch, at a top-level comma or semicolon.
fn halves(text: &str) -> (&str, &str) {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' | ';' if depth == 0 => {
                let after = text.get(at + 1..).unwrap_or_default();
                return (text.get(..at).unwrap_or_default(), after);
            }
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_without_a_result_show_symbols_and_equations() {
        assert_eq!(without_result(r#" SYMBOL 176 \f "Symbol" \s 10 "#), "°");
        assert_eq!(without_result(r"EQ \f(1,\r(,x))"), "1/(√(x))");
        assert_eq!(without_result(r"EQ x = \f(a+b;2)"), "x = (a+b)/2");
        assert_eq!(without_result(r#"MACROBUTTON NoMacro [Click here]"#), "");
    }

    #[test]
    fn text_of_an_instruction_is_not_shown() {
        let mut fields = Fields::default();
        let mark = |kind: &str| Element {
            name: "fldChar".to_owned(),
            attributes: vec![("fldCharType".to_owned(), kind.to_owned())],
            children: Vec::new(),
        };
        assert!(fields.shows());
        fields.mark(&mark("begin"), true);
        fields.instruct(" PAGE ");
        assert!(!fields.shows());
        assert!(fields.mark(&mark("separate"), true).page);
        assert!(!fields.shows());
        fields.mark(&mark("end"), true);
        assert!(fields.shows());
        fields.mark(&mark("begin"), true);
        fields.end_paragraph();
        assert!(fields.shows());
    }
}
