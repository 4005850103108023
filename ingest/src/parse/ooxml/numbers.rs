//! List numbers in letters, Roman numerals and digits.

use crate::parse::numerals;

/// Returns a number in a Word list format; unknown formats are decimal.
pub(in crate::parse) fn formatted(number: u32, format: &str) -> String {
    match format {
        "none" | "bullet" => String::new(),
        "lowerLetter" => letters(number, 'a'),
        "upperLetter" => letters(number, 'A'),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperRoman" => roman(number),
        "decimalZero" => format!("{number:02}"),
        "ordinal" => format!("{number}."),
        "russianLower" => alphabet(number, 'а'),
        "russianUpper" => alphabet(number, 'А'),
        _ => number.to_string(),
    }
}

/// Largest number that is written as a Roman numeral, and maximum number of letters.
const LARGEST: u32 = 5000;
const LETTERS: usize = 21;

fn letters(number: u32, first: char) -> String {
    numerals::letters(number, first, LETTERS)
}

fn roman(number: u32) -> String {
    numerals::roman(number, LARGEST)
}

fn alphabet(number: u32, first: char) -> String {
    let index = number.saturating_sub(1) % 32;
    char::from_u32(u32::from(first) + index).map_or_else(|| number.to_string(), String::from)
}

/// Returns a number in an automatic numbering format of slides: `alphaLcParenR`, `romanUcPeriod`.
pub(in crate::parse) fn automatic(number: u32, kind: &str) -> String {
    let text = if kind.starts_with("alphaLc") {
        letters(number, 'a')
    } else if kind.starts_with("alphaUc") {
        letters(number, 'A')
    } else if kind.starts_with("romanLc") {
        roman(number).to_lowercase()
    } else if kind.starts_with("romanUc") {
        roman(number)
    } else {
        number.to_string()
    };
    if kind.ends_with("ParenBoth") {
        format!("({text})")
    } else if kind.ends_with("ParenR") {
        format!("{text})")
    } else if kind.ends_with("Plain") {
        text
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_letters_and_roman_signs() {
        assert_eq!(formatted(28, "lowerLetter"), "bb");
        assert_eq!(formatted(1994, "upperRoman"), "MCMXCIV");
        assert_eq!(formatted(7, "decimalZero"), "07");
        assert_eq!(automatic(3, "romanLcParenBoth"), "(iii)");
        assert_eq!(automatic(2, "arabicPeriod"), "2.");
    }
}
