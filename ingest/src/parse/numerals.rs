//! Roman and alphabetic numerals, as used by lists and page labels.

/// Returns a Roman numeral; decimal digits above `largest`.
pub(super) fn roman(number: u32, largest: u32) -> String {
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
    if number > largest {
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

/// Returns `a` to `z`, then `aa` to `zz`, starting with the letter `first`, with at most so many letters; empty for 0.
pub(super) fn letters(number: u32, first: char, most: usize) -> String {
    let Some(index) = number.checked_sub(1) else {
        return String::new();
    };
    let letter = char::from_u32(u32::from(first) + index % 26).unwrap_or(first);
    let times = usize::try_from(index / 26).unwrap_or(0).saturating_add(1);
    letter.to_string().repeat(times.min(most))
}
