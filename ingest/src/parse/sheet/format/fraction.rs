//! Writes numbers as fractions.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most tokens write themselves; only those that depend on the value are told apart"
)]

use std::fmt::Write as _;

use super::code::{Section, Token};

/// Maximum digits of a denominator.
const MAX_DIGITS: usize = 5;
/// Largest number whose fraction a double can represent.
const MAX_WHOLE: f64 = 1e15;

/// Returns whether the tokens are digits, a slash and a denominator.
pub(super) fn is_fraction(tokens: &[Token]) -> bool {
    Parts::read(tokens).is_some()
}

struct Parts {
    /// Number of tokens before the numerator.
    before: usize,
    /// Whether there is a whole number before it.
    mixed: bool,
    denominator: Denominator,
    /// First token after the denominator.
    behind: usize,
}

enum Denominator {
    Fixed(u64),
    Digits(usize),
}

impl Parts {
    fn read(tokens: &[Token]) -> Option<Self> {
        let slash = tokens.iter().position(|t| *t == Token::Slash)?;
        let is_digit = |t: &&Token| matches!(t, Token::Digit(_));
        let blank = |t: &&Token| matches!(t, Token::Literal(text) if text.trim().is_empty());
        let head = tokens.get(..slash)?;
        let gap = head.iter().rev().take_while(blank).count();
        let numerator = head.iter().rev().skip(gap).take_while(is_digit).count();
        let before = slash
            .checked_sub(gap + numerator)
            .filter(|_| numerator > 0)?;
        let mixed = head.iter().take(before).any(|t| is_digit(&t));
        let tail = tokens.get(slash + 1..)?;
        let gap = tail.iter().take_while(blank).count();
        let places = tail.iter().skip(gap).take_while(is_digit).count();
        let rest = tail.get(gap..)?;
        // A fixed number as denominator; its zeros look like placeholders.
        let literal: String = rest
            .iter()
            .map_while(|t| match t {
                Token::Literal(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                    Some(text.as_str())
                }
                Token::Digit('0') => Some("0"),
                _ => None,
            })
            .collect();
        let number: String = literal.chars().take_while(char::is_ascii_digit).collect();
        let fixed = number.parse::<u64>().ok().filter(|n| *n > 0);
        let (denominator, length) = match fixed {
            Some(number)
                if number <= 1_000_000 && !matches!(rest.first(), Some(Token::Digit(_))) =>
            {
                let tokens = rest
                    .iter()
                    .take_while(|t| matches!(t, Token::Literal(text) if text.starts_with(|c: char| c.is_ascii_digit())) || **t == Token::Digit('0'))
                    .count();
                (Denominator::Fixed(number), tokens)
            }
            _ if places > 0 => (Denominator::Digits(places.min(MAX_DIGITS)), places),
            _ => return None,
        };
        Some(Self {
            before,
            mixed,
            denominator,
            behind: slash + 1 + gap + length,
        })
    }
}

pub(super) fn write(section: &Section, value: f64, out: &mut String) -> Option<()> {
    let parts = Parts::read(&section.tokens)?;
    let size = value.abs() * 10f64.powi(section.scale);
    if !size.is_finite() || size >= MAX_WHOLE {
        return None;
    }
    let (mut whole, rest) = if parts.mixed {
        (size.trunc(), size.fract())
    } else {
        (0.0, size)
    };
    let (mut numerator, denominator) = match parts.denominator {
        Denominator::Fixed(number) => ((rest * number as f64).round(), number as f64),
        Denominator::Digits(places) => {
            let limit = 10f64.powi(i32::try_from(places).ok()?) - 1.0;
            nearest(rest, limit)
        }
    };
    if parts.mixed && numerator >= denominator {
        whole += 1.0;
        numerator = 0.0;
    }
    if value < 0.0 && (whole > 0.0 || numerator > 0.0) {
        out.push('-');
    }
    let before = section.tokens.get(..parts.before)?;
    let shown = whole > 0.0 || numerator == 0.0 || before.contains(&Token::Digit('0'));
    let mut place = true;
    for token in before {
        match token {
            Token::Digit(_) => {
                if shown && std::mem::take(&mut place) {
                    let _ = write!(out, "{whole:.0}");
                }
            }
            // The space after an omitted whole number.
            Token::Literal(text) if !shown && text.trim().is_empty() => {}
            other => other.literal(out),
        }
    }
    if numerator > 0.0 || !parts.mixed {
        let _ = write!(out, "{numerator:.0}/{denominator:.0}");
    }
    for token in section.tokens.get(parts.behind..)? {
        token.literal(out);
    }
    Some(())
}

/// Returns the nearest fraction with a denominator up to a limit: continued fractions, with a truncated last step.
fn nearest(value: f64, limit: f64) -> (f64, f64) {
    let (mut before, mut last) = ((1.0, 0.0), (value.floor(), 1.0));
    let mut rest = value - value.floor();
    for _ in 0..40 {
        if rest < 1e-12 || (last.0 / last.1 - value).abs() < 1e-12 {
            break;
        }
        let inverse = 1.0 / rest;
        let step = inverse.floor();
        rest = inverse - step;
        let next = (step * last.0 + before.0, step * last.1 + before.1);
        if next.1 > limit {
            let cut = ((limit - before.1) / last.1).floor();
            let short = (cut * last.0 + before.0, cut * last.1 + before.1);
            let distance = |f: (f64, f64)| (f.0 / f.1 - value).abs();
            return if cut > 0.0 && distance(short) < distance(last) {
                short
            } else {
                last
            };
        }
        before = last;
        last = next;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;

    #[test]
    fn fractions_are_the_nearest_ones() {
        assert_eq!(shown("# ?/?", 2.5), "2 1/2");
        assert_eq!(shown("# ??/??", 0.333_333_3), "1/3");
        assert_eq!(shown("# ??/??", 31.4159), "31 37/89");
        assert_eq!(shown("# ?/?", 3.0), "3");
        assert_eq!(shown("# ?/8", 2.75), "2 6/8");
        assert_eq!(shown("# ??/100", 0.5), "50/100");
        assert_eq!(shown("?/?", 2.5), "5/2");
        assert_eq!(shown("# ?/?", -0.5), "-1/2");
        assert_eq!(shown("# ?/?", 0.999), "1");
        assert_eq!(shown("# ??/??\"in\"", 1.5), "1 1/2in");
    }
}
