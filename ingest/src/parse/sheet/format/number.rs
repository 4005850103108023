//! Writes numbers with digit placeholders, thousands separators, percent and exponents.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most tokens write themselves; only those that depend on the value are told apart"
)]

use std::fmt::Write as _;

use super::Kind;
use super::code::{Section, Token};
use super::decimal::Decimal;

/// Smallest number that the General format writes without an exponent, and the first above that it does not.
const SMALLEST: f64 = 1e-9;
const LARGEST: f64 = 1e17;
/// Digits after the point in the General format; at least this many significant digits.
const DECIMALS: usize = 9;

/// Writes a number in the General format of a wide cell.
pub(in crate::parse::sheet) fn general(value: f64, out: &mut String) {
    if !value.is_finite() {
        let _ = write!(out, "{value}");
        return;
    }
    // Fast path for whole numbers.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        // Adding zero removes the sign of a negative zero.
        let _ = write!(out, "{:.0}", value + 0.0);
        return;
    }
    let mut decimal = Decimal::new(value);
    if value < 0.0 {
        out.push('-');
    }
    let size = value.abs();
    if !(SMALLEST..LARGEST).contains(&size) {
        let exponent = decimal.point() - 1;
        decimal.shift(-exponent);
        digits(&decimal, out);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "E{sign}{:02}", exponent.unsigned_abs());
        return;
    }
    // Small numbers keep six significant digits.
    let small = usize::try_from(6 - decimal.point()).unwrap_or(0);
    decimal.round(DECIMALS.max(if size < 1e-3 { small } else { 0 }));
    digits(&decimal, out);
}

fn digits(decimal: &Decimal, out: &mut String) {
    let integer = decimal.integer();
    if integer.is_empty() {
        out.push('0');
    }
    push(&integer, out);
    let fraction = decimal.fraction();
    if !fraction.is_empty() {
        out.push('.');
        push(&fraction, out);
    }
}

fn push(digits: &[u8], out: &mut String) {
    out.extend(digits.iter().map(|d| char::from(b'0' + d)));
}

/// Writes a number in a section of literals and digit placeholders.
pub(super) fn plain(section: &Section, value: f64, out: &mut String) -> Option<()> {
    if !value.is_finite() {
        return None;
    }
    if section.kind != Kind::Number {
        if section.kind == Kind::General && value < 0.0 {
            out.push('-');
        }
        for token in &section.tokens {
            match token {
                Token::General => general(value.abs(), out),
                other => other.literal(out),
            }
        }
        if section.tokens.is_empty() && section.kind == Kind::General {
            general(value.abs(), out);
        }
        return Some(());
    }
    let mut decimal = Decimal::new(value);
    decimal.shift(section.scale);
    decimal.round(decimals(&section.tokens));
    if value < 0.0 && !decimal.is_zero() {
        out.push('-');
    }
    fill(&section.tokens, &decimal, out);
    Some(())
}

/// Returns the number of digit placeholders after the point, before an exponent.
fn decimals(tokens: &[Token]) -> usize {
    tokens
        .iter()
        .take_while(|t| !matches!(t, Token::Exponent(_)))
        .skip_while(|t| **t != Token::Point)
        .filter(|t| matches!(t, Token::Digit(_)))
        .count()
}

/// Writes digits into the placeholders of a section.
pub(super) fn fill(tokens: &[Token], decimal: &Decimal, out: &mut String) {
    let point = tokens.iter().position(|t| *t == Token::Point);
    let (before, behind) = match point {
        Some(place) => (
            tokens.get(..place).unwrap_or_default(),
            tokens.get(place + 1..).unwrap_or_default(),
        ),
        None => (tokens, [].as_slice()),
    };
    whole(before, &decimal.integer(), out);
    if point.is_none() {
        return;
    }
    let fraction = decimal.fraction();
    // A point without digits after it is omitted.
    let shown = behind.iter().any(|t| matches!(t, Token::Digit('0' | '?'))) || !fraction.is_empty();
    if shown || !behind.iter().any(|t| matches!(t, Token::Digit(_))) && !behind.is_empty() {
        out.push('.');
    }
    let mut place = 0;
    for token in behind {
        match token {
            Token::Digit(kind) => {
                match (fraction.get(place), kind) {
                    (Some(digit), _) => push(&[*digit], out),
                    (None, '0') => out.push('0'),
                    (None, '?') => out.push(' '),
                    (None, _) => {}
                }
                place += 1;
            }
            other => other.literal(out),
        }
    }
}

/// Writes the digits before the point; excess digits are written at the first placeholder.
fn whole(tokens: &[Token], integer: &[u8], out: &mut String) {
    let grouped = tokens.contains(&Token::Group);
    let places = tokens
        .iter()
        .filter(|t| matches!(t, Token::Digit(_)))
        .count();
    let mut left = places;
    let mut written = false;
    // `rank` is the number of digits that follow; writes one digit and its separator.
    let digit = |digit: u8, rank: usize, written: bool, out: &mut String| {
        if grouped && written && (rank + 1).is_multiple_of(3) {
            out.push(',');
        }
        out.push(char::from(b'0' + digit));
    };
    for token in tokens {
        let Token::Digit(kind) = token else {
            token.literal(out);
            continue;
        };
        if left == places && integer.len() > places {
            for (place, d) in integer.iter().take(integer.len() - places).enumerate() {
                digit(*d, integer.len() - place - 1, written, out);
                written = true;
            }
        }
        left -= 1;
        let value = integer
            .len()
            .checked_sub(left + 1)
            .and_then(|place| integer.get(place));
        match (value, kind) {
            (Some(d), _) => {
                digit(*d, left, written, out);
                written = true;
            }
            (None, '0') => {
                digit(0, left, written, out);
                written = true;
            }
            (None, '?') => out.push(' '),
            (None, _) => {}
        }
    }
}

/// Writes a number with an exponent.
pub(super) fn scientific(section: &Section, value: f64, out: &mut String) -> Option<()> {
    let at = section
        .tokens
        .iter()
        .position(|t| matches!(t, Token::Exponent(_)))?;
    let (mantissa, rest) = section.tokens.split_at_checked(at)?;
    let (Token::Exponent(plus), behind) = rest.split_first()? else {
        return None;
    };
    if !value.is_finite() {
        return None;
    }
    let step = mantissa
        .iter()
        .take_while(|t| **t != Token::Point)
        .filter(|t| matches!(t, Token::Digit(_)))
        .count();
    let step = i32::try_from(step).ok()?.max(1);
    let places = decimals(mantissa);
    let exact = Decimal::new(value);
    let mut exponent = 0;
    let mut shown = exact.clone();
    let mut rounded = false;
    if !exact.is_zero() {
        exponent = (exact.point() - 1).div_euclid(step) * step;
        shown.shift(-exponent);
        shown.round(places);
        // Rounding may have added a digit.
        if shown.point() > step {
            exponent += step;
            shown = exact.clone();
            shown.shift(-exponent);
            shown.round(places);
        }
        let mut unrounded = exact;
        unrounded.shift(-exponent);
        rounded = unrounded != shown;
    }
    if value < 0.0 {
        out.push('-');
    }
    fill(mantissa, &shown, out);
    out.push('E');
    match (exponent < 0, plus) {
        (true, _) => out.push('-'),
        (false, true) => out.push('+'),
        (false, false) => {}
    }
    let written = exponent.unsigned_abs().to_string();
    let digits: Vec<u8> = written.bytes().map(|b| b - b'0').collect();
    whole(behind, &digits, out);
    // Spreadsheet programs apply such a format to constants like Planck's automatically, but people search for the digits they typed.
    if rounded && value.abs() < SMALLEST {
        out.push_str(" (");
        general(value, out);
        out.push(')');
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::Format;

    fn shown(code: &str, value: f64) -> String {
        let mut out = String::new();
        Format::new(code).number(value, false, &mut out);
        out.trim().to_owned()
    }

    #[test]
    fn digits_take_their_places() {
        assert_eq!(shown("#,##0.00", 1_234_567.891), "1,234,567.89");
        assert_eq!(shown("00000", 42.0), "00042");
        assert_eq!(shown("0,000", 5.0), "0,005");
        assert_eq!(shown("#.##", 1.0), "1");
        assert_eq!(shown("0.0##", 1.5), "1.5");
        assert_eq!(shown("(000) 000-0000", 5_551_234_567.0), "(555) 123-4567");
        assert_eq!(shown("0.00", -0.001), "0.00");
        assert_eq!(shown("0.0\" kg\"", 12.25), "12.3 kg");
        assert_eq!(shown("#,##0", 1.23e20), "123,000,000,000,000,000,000");
    }

    #[test]
    fn percent_thousands_and_currency_are_as_written() {
        assert_eq!(shown("0.0%", 0.125), "12.5%");
        assert_eq!(shown("#,##0,,\"M\"", 2_500_000.0), "3M");
        assert_eq!(shown("[$CHF-807] #,##0.00", 1500.75), "CHF 1,500.75");
        assert_eq!(shown("#,##0.00\\ \"€\"", -87.2), "-87.20 €");
        assert_eq!(
            shown(
                "_(\"$\"* #,##0.00_);_(\"$\"* (#,##0.00);_(\"$\"* \"-\"??_);_(@_)",
                -12.5
            ),
            "$(12.50)"
        );
    }

    #[test]
    fn exponents_follow_the_places_of_the_mantissa() {
        assert_eq!(shown("0.00E+00", 123_456.0), "1.23E+05");
        assert_eq!(shown("##0.0E+0", 12_345.0), "12.3E+3");
        assert_eq!(shown("0.00E+00", 99.999), "1.00E+02");
        assert_eq!(shown("0.0E-0", 1e-10), "1.0E-10");
        assert_eq!(shown("0.00E+00", 6.626e-34), "6.63E-34 (6.626E-34)");
    }

    #[test]
    fn the_general_format_loses_no_number() {
        assert_eq!(shown("General", 0.1 + 0.2), "0.3");
        assert_eq!(shown("General", 1.602e-19), "1.602E-19");
        assert_eq!(shown("General", 0.000_012_345_6), "0.0000123456");
        assert_eq!(shown("General", 12_345_678_901.5), "12345678901.5");
        assert_eq!(shown("General\" units\"", -2.0), "-2 units");
        assert_eq!(shown("General", 1.23e20), "1.23E+20");
    }
}
