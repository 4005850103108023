//! Superscripts and subscripts as plain text: 10⁶ must not become 106, neither in the text nor in the keyword index, which folds `⁶` to `6`.

/// Vertical position of a run of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::parse) enum Script {
    Raised,
    Lowered,
}

/// Suffixes of ordinal numbers, which need no mark.
const ORDINALS: [&str; 14] = [
    "st", "nd", "rd", "th", "er", "re", "e", "ère", "ème", "º", "ª", "°", "™", "®",
];

/// Appends a superscript or subscript to the text before it.
///
/// Superscript digits become `m²` and `s⁻¹` after a short unit and `10^6` elsewhere; subscript digits become `H₂O`; letters get `^` or `_`.
pub(in crate::parse) fn append(text: &mut String, script: Script, piece: &str) {
    let trimmed = piece.trim();
    let before = text.chars().next_back();
    if trimmed.is_empty() || before.is_none_or(|c| c.is_whitespace() || "([{".contains(c)) {
        text.push_str(piece);
        return;
    }
    let leading = piece.len() - piece.trim_start().len();
    text.push_str(piece.get(..leading).unwrap_or_default());
    match script {
        Script::Raised if is_plain(trimmed) => text.push_str(trimmed),
        Script::Raised
            if follows_unit(text)
                && let Some(small) = small(trimmed, '⁻', &RAISED) =>
        {
            text.push_str(&small);
        }
        Script::Raised => text.push_str(&marked('^', trimmed)),
        Script::Lowered => match small(trimmed, '₋', &LOWERED) {
            Some(small) => text.push_str(&small),
            None => text.push_str(&marked('_', trimmed)),
        },
    }
    text.push_str(piece.get(piece.trim_end().len()..).unwrap_or_default());
}

const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
const LOWERED: [char; 10] = ['₀', '₁', '₂', '₃', '₄', '₅', '₆', '₇', '₈', '₉'];

/// Returns a whole number in Unicode superscript or subscript digits; `None` for anything else.
fn small(text: &str, minus: char, digits: &[char; 10]) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '−', '–']);
    let number = unsigned.unwrap_or(text);
    let small: String = number
        .chars()
        .map(|c| {
            let value = usize::try_from(c.to_digit(10)?).ok()?;
            digits.get(value).copied()
        })
        .collect::<Option<_>>()?;
    let sign = unsigned.map(|_| minus);
    (!small.is_empty()).then(|| sign.into_iter().chain(small.chars()).collect())
}

/// Returns whether a superscript needs no mark: ordinals, signs, and characters that are already superscript in Unicode.
fn is_plain(text: &str) -> bool {
    ORDINALS.contains(&text.to_lowercase().as_str())
        || !text.chars().any(char::is_alphanumeric) && !text.starts_with(['+', '-', '−', '*'])
        || text.starts_with(['[', '('])
        || text.ends_with(']')
}

/// Returns whether the text ends with one or two letters, as units do. Longer words would be searchable with the digit only: `word¹` is indexed as `word1`.
fn follows_unit(text: &str) -> bool {
    let letters = text.chars().rev().take_while(|c| c.is_alphabetic());
    (1..=2).contains(&letters.take(3).count())
}

fn marked(mark: char, text: &str) -> String {
    let signless = text.strip_prefix(['-', '−', '+']).unwrap_or(text);
    // In the charge of an ion the sign follows the number.
    let signless = signless.strip_suffix(['-', '−', '+']).unwrap_or(signless);
    if signless.chars().all(|c| c.is_alphanumeric() || c == '.') {
        format!("{mark}{text}")
    } else {
        format!("{mark}({text})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_units_formulas_and_ordinals_are_told_apart() {
        let raised = |before: &str, piece: &str| {
            let mut text = before.to_owned();
            append(&mut text, Script::Raised, piece);
            text
        };
        assert_eq!(raised("Load 10", "6"), "Load 10^6");
        assert_eq!(raised("10", "−3 "), "10^−3 ");
        assert_eq!(raised("12 m", "2"), "12 m²");
        assert_eq!(raised("1 s", "-1"), "1 s⁻¹");
        assert_eq!(raised("x", "n+1"), "x^(n+1)");
        assert_eq!(raised("Ca", "2+"), "Ca^2+");
        assert_eq!(raised("the 21", "st"), "the 21st");
        assert_eq!(raised("(Smith", "1"), "(Smith^1");
        assert_eq!(raised("", "1"), "1");
        assert_eq!(raised("Word[", "1]"), "Word[1]");
        assert_eq!(raised("Word", "[1]"), "Word[1]");
        assert_eq!(raised("Word", "[1]"), "Word[1]");
        assert_eq!(raised("Word", "®"), "Word®");
        let mut formula = "H".to_owned();
        append(&mut formula, Script::Lowered, "2");
        formula.push('O');
        assert_eq!(formula, "H₂O");
        append(&mut formula, Script::Lowered, "max");
        assert_eq!(formula, "H₂O_max");
    }
}
