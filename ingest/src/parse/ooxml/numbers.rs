//! Numbers of lists in letters, Roman signs and digits.

/// Returns a number in a format of lists of Word; those that are not known are decimal.
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

/// `a` to `z`, then `aa` to `zz`, as Word counts.
fn letters(number: u32, first: char) -> String {
    let Some(index) = number.checked_sub(1) else {
        return String::new();
    };
    let letter = char::from_u32(u32::from(first) + index % 26).unwrap_or(first);
    let times = usize::try_from(index / 26).unwrap_or(0).min(20) + 1;
    letter.to_string().repeat(times)
}

fn alphabet(number: u32, first: char) -> String {
    let index = number.saturating_sub(1) % 32;
    char::from_u32(u32::from(first) + index).map_or_else(|| number.to_string(), String::from)
}

fn roman(number: u32) -> String {
    const SIGNS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if number > 5000 {
        return number.to_string();
    }
    let mut rest = number;
    let mut text = String::new();
    for (value, sign) in SIGNS {
        while rest >= value {
            text.push_str(sign);
            rest -= value;
        }
    }
    text
}

/// Returns a number as automatic numbers of slides write it: `alphaLcParenR`, `romanUcPeriod`.
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
