//! Decimal digits of a number, for rounding as spreadsheets do: half away from zero, on fifteen significant digits.

/// Significant digits of spreadsheets; further ones are binary rounding noise.
const DIGITS: usize = 15;

/// A non-negative number: `0.d₁d₂d₃… · 10^point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    /// Digits without leading and trailing zeros; empty for zero.
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    /// Returns the absolute value of a finite number.
    pub(super) fn new(value: f64) -> Self {
        let text = format!("{:.*e}", DIGITS - 1, value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa
            .bytes()
            .filter(u8::is_ascii_digit)
            .map(|b| b - b'0');
        let mut decimal = Self {
            digits: digits.collect(),
            point: exponent.parse::<i32>().unwrap_or_default() + 1,
        };
        decimal.trim();
        decimal
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Returns the power of ten of the first digit plus one.
    pub(super) fn point(&self) -> i32 {
        self.point
    }

    /// Multiplies by a power of ten.
    pub(super) fn shift(&mut self, power: i32) {
        if !self.is_zero() {
            self.point += power;
        }
    }

    /// Rounds to a number of digits after the point.
    pub(super) fn round(&mut self, decimals: usize) {
        let keep = i64::from(self.point) + i64::try_from(decimals).unwrap_or(i64::MAX / 2);
        if keep < 0 {
            self.digits.clear();
        } else if let Ok(keep) = usize::try_from(keep)
            && keep < self.digits.len()
        {
            let up = self.digits.get(keep).is_some_and(|d| *d >= 5);
            self.digits.truncate(keep);
            if up {
                self.increment();
            }
        }
        self.trim();
    }

    /// Returns the digits before the point, without leading zeros; empty below one.
    pub(super) fn integer(&self) -> Vec<u8> {
        let length = usize::try_from(self.point).unwrap_or(0);
        let mut digits: Vec<u8> = self.digits.iter().copied().take(length).collect();
        digits.resize(length, 0);
        digits
    }

    /// Returns the digits after the point, without trailing zeros.
    pub(super) fn fraction(&self) -> Vec<u8> {
        let zeros = usize::try_from(-self.point).unwrap_or(0);
        let skip = usize::try_from(self.point).unwrap_or(0);
        let mut digits = vec![0; zeros];
        digits.extend(self.digits.iter().skip(skip));
        digits
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
        self.point += 1;
    }

    fn trim(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 0;
        } else if self.digits.first() == Some(&0) {
            let zeros = self.digits.iter().take_while(|d| **d == 0).count();
            self.digits.drain(..zeros);
            self.point -= i32::try_from(zeros).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(value: f64, decimals: usize) -> (String, String) {
        let mut decimal = Decimal::new(value);
        decimal.round(decimals);
        let text = |digits: Vec<u8>| digits.iter().map(|d| char::from(b'0' + d)).collect();
        (text(decimal.integer()), text(decimal.fraction()))
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let parts = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(rounded(12.25, 1), parts("12", "3"));
        assert_eq!(rounded(1.005, 2), parts("1", "01"));
        assert_eq!(rounded(0.1 + 0.2, 20), parts("", "3"));
        assert_eq!(rounded(99.995, 2), parts("100", ""));
        assert_eq!(rounded(0.5, 0), parts("1", ""));
        assert_eq!(rounded(0.04, 1), parts("", ""));
        assert_eq!(rounded(1e20, 2).0, "100000000000000000000");
        assert_eq!(rounded(5e-324, 2), parts("", ""));
    }
}
