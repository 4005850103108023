//! Writes serial numbers as dates, times and durations.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most tokens write themselves; only those that depend on the value are told apart"
)]

use std::fmt::Write as _;

use chrono::{Datelike, Days, Locale, NaiveDate};

use super::code::{Section, Token};

/// Serial number after the last supported date, 9999-12-31.
const LAST: f64 = 2_958_466.0;
/// Days between the two date systems.
const DAYS_1904: f64 = 1462.0;
/// Serial number of the nonexistent 29 February 1900.
const LEAP_DAY: u64 = 60;

/// The parts of a date; the first day of the calendar is day 0 of January 1900.
struct Day {
    year: i32,
    month: u32,
    day: u32,
    /// An existing day with the same weekday and month.
    name: NaiveDate,
}

/// Writes a date, a time or a duration; `None` when the number is out of range.
pub(super) fn write(section: &Section, value: f64, date1904: bool, out: &mut String) -> Option<()> {
    let elapsed = section
        .tokens
        .iter()
        .any(|t| matches!(t, Token::Elapsed(..)));
    let parts = |letters: &str| {
        section
            .tokens
            .iter()
            .any(|t| matches!(t, Token::Date(letter, _) if letters.contains(*letter)))
    };
    let (has_day, has_time) = (parts("ymd"), parts("hns"));
    if !value.is_finite() || value.abs() >= LAST || (value < 0.0 && !elapsed) {
        return None;
    }
    let digits = section.tokens.iter().find_map(|t| match t {
        Token::Fraction(digits) => Some(*digits),
        _ => None,
    });
    let digits = u32::try_from(digits.unwrap_or(0).min(6)).ok()?;
    let unit = 10_u64.pow(digits);
    // Rounded to the last displayed unit.
    let ticks = (value.abs() * 86_400.0 * unit as f64).round() as u64;
    let (seconds, fraction) = (ticks / unit, ticks % unit);
    let time = Time {
        seconds,
        fraction,
        unit,
        digits,
        noon: section.tokens.iter().any(|t| matches!(t, Token::Noon(_))),
    };
    let days = seconds / 86_400;
    // A time without a date has no day to display.
    if has_day && has_time && !date1904 && days == 0 && !elapsed {
        time.write('h', 1, out);
        out.push(':');
        time.write('n', 2, out);
        if parts("s") {
            out.push(':');
            time.write('s', 2, out);
        }
        return Some(());
    }
    let day = if has_day {
        Some(day(days, date1904)?)
    } else {
        None
    };
    let locale = locale(section.language);
    if value < 0.0 && ticks > 0 {
        out.push('-');
    }
    for token in &section.tokens {
        match (token, &day) {
            (Token::Date(letter @ ('y' | 'm' | 'd'), length), Some(day)) => {
                day.write(*letter, *length, locale, out);
            }
            (Token::Date(letter, length), _) => time.write(*letter, *length, out),
            (Token::Elapsed(letter, length), _) => {
                let unit = match letter {
                    'h' => 3600,
                    'm' => 60,
                    _ => 1,
                };
                let _ = write!(out, "{:0length$}", seconds / unit);
            }
            (Token::Fraction(_), _) => time.write('.', 0, out),
            (Token::Noon(short), _) => out.push_str(time.half(*short)),
            (other, _) => other.literal(out),
        }
    }
    Some(())
}

struct Time {
    seconds: u64,
    fraction: u64,
    /// Fractions per second.
    unit: u64,
    digits: u32,
    /// Whether the 12-hour clock is used.
    noon: bool,
}

impl Time {
    fn write(&self, letter: char, length: usize, out: &mut String) {
        let hour = self.seconds / 3600 % 24;
        let number = match letter {
            'h' if self.noon && hour.is_multiple_of(12) => 12,
            'h' if self.noon => hour % 12,
            'h' => hour,
            'n' => self.seconds / 60 % 60,
            's' => self.seconds % 60,
            _ => {
                if self.unit > 1 {
                    let _ = write!(
                        out,
                        ".{:0width$}",
                        self.fraction,
                        width = self.digits as usize
                    );
                }
                return;
            }
        };
        let length = length.min(2);
        let _ = write!(out, "{number:0length$}");
    }

    fn half(&self, short: bool) -> &'static str {
        match (self.seconds / 3600 % 24 < 12, short) {
            (true, false) => "AM",
            (true, true) => "A",
            (false, false) => "PM",
            (false, true) => "P",
        }
    }
}

impl Day {
    fn write(&self, letter: char, length: usize, locale: Locale, out: &mut String) {
        let name = |pattern: &'static str| self.name.format_localized(pattern, locale);
        let _ = match (letter, length) {
            ('y', 0..=2) => write!(out, "{:02}", self.year.rem_euclid(100)),
            ('y', _) => write!(out, "{:04}", self.year),
            ('m', 1) => write!(out, "{}", self.month),
            ('m', 2) => write!(out, "{:02}", self.month),
            ('m', 3) => write!(out, "{}", name("%b")),
            ('m', 5) => {
                let full = name("%B").to_string();
                write!(out, "{}", full.chars().next().unwrap_or_default())
            }
            ('m', _) => write!(out, "{}", name("%B")),
            ('d', 1) => write!(out, "{}", self.day),
            ('d', 2) => write!(out, "{:02}", self.day),
            ('d', 3) => write!(out, "{}", name("%a")),
            _ => write!(out, "{}", name("%A")),
        };
    }
}

fn day(days: u64, date1904: bool) -> Option<Day> {
    let days = if date1904 {
        days + DAYS_1904 as u64
    } else {
        days
    };
    let first = NaiveDate::from_ymd_opt(1899, 12, 31)?;
    let (name, shown) = match days {
        0 => (first, Some((1900, 1, 0))),
        1..LEAP_DAY => (first.checked_add_days(Days::new(days))?, None),
        LEAP_DAY => (first.checked_add_days(Days::new(59))?, Some((1900, 2, 29))),
        _ => (first.checked_add_days(Days::new(days - 1))?, None),
    };
    let (year, month, day) = shown.unwrap_or((name.year(), name.month(), name.day()));
    Some(Day {
        year,
        month,
        day,
        name,
    })
}

/// Returns the serial number of an ISO date or time, as in cells of that type.
pub(in crate::parse::sheet) fn serial(iso: &str, date1904: bool) -> Option<f64> {
    let iso = iso.trim().trim_end_matches('Z');
    let (date, time) = match iso.split_once('T') {
        Some((date, time)) => (date, time),
        None if iso.contains(':') => ("", iso),
        None => (iso, ""),
    };
    let mut serial = 0.0;
    if !date.is_empty() {
        let date: NaiveDate = date.parse().ok()?;
        let days = date
            .signed_duration_since(NaiveDate::from_ymd_opt(1899, 12, 30)?)
            .num_days();
        // Days before the nonexistent leap day have a serial number less.
        let days = if days <= 60 { days - 1 } else { days };
        serial = days as f64 - if date1904 { DAYS_1904 } else { 0.0 };
    }
    for (part, unit) in time.split(':').zip([24.0, 1440.0, 86_400.0]) {
        if !part.is_empty() {
            serial += part.parse::<f64>().ok()? / unit;
        }
    }
    Some(serial)
}

/// Returns the locale of a Windows language id; English for unknown ones.
fn locale(language: u32) -> Locale {
    match language & 0x3ff {
        0x01 => Locale::ar_EG,
        0x02 => Locale::bg_BG,
        0x03 => Locale::ca_ES,
        0x05 => Locale::cs_CZ,
        0x06 => Locale::da_DK,
        0x07 => Locale::de_DE,
        0x08 => Locale::el_GR,
        0x0a => Locale::es_ES,
        0x0b => Locale::fi_FI,
        0x0c => Locale::fr_FR,
        0x0d => Locale::he_IL,
        0x0e => Locale::hu_HU,
        0x10 => Locale::it_IT,
        0x13 => Locale::nl_NL,
        0x14 => Locale::nb_NO,
        0x15 => Locale::pl_PL,
        0x16 => Locale::pt_PT,
        0x18 => Locale::ro_RO,
        0x19 => Locale::ru_RU,
        0x1a => Locale::hr_HR,
        0x1b => Locale::sk_SK,
        0x1d => Locale::sv_SE,
        0x1f => Locale::tr_TR,
        0x22 => Locale::uk_UA,
        0x24 => Locale::sl_SI,
        0x25 => Locale::et_EE,
        0x26 => Locale::lv_LV,
        0x27 => Locale::lt_LT,
        _ => Locale::en_US,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn shown(code: &str, value: f64) -> String {
        let mut out = String::new();
        Format::new(code).number(value, false, &mut out);
        out
    }

    #[test]
    fn minutes_are_told_from_months() {
        assert_eq!(shown("h:mm", 0.3125), "7:30");
        assert_eq!(shown("mm:ss", 123.0 / 86_400.0), "02:03");
        assert_eq!(shown("hh:mm dd/mm", 45_000.75), "18:00 15/03");
        assert_eq!(shown("h:mm AM/PM", 0.8125), "7:30 PM");
        assert_eq!(shown("yyyy-mm-dd hh:mm", 45_000.75), "2023-03-15 18:00");
        assert_eq!(shown("mm:ss.0", 0.001_423_611_1), "02:03.0");
    }

    #[test]
    fn durations_go_beyond_a_day() {
        assert_eq!(shown("[h]:mm", 6.75), "162:00");
        assert_eq!(shown("[h]:mm:ss", 1.260_416_667), "30:15:00");
        assert_eq!(shown("[mm]:ss", 0.1), "144:00");
        assert_eq!(shown("[h]:mm", -0.0625), "-1:30");
    }

    #[test]
    fn dates_are_as_the_sheet_counts_them() {
        assert_eq!(shown("yyyy-mm-dd", 1.0), "1900-01-01");
        assert_eq!(shown("d/m/yyyy", 60.0), "29/2/1900");
        assert_eq!(shown("yyyy-mm-dd", 61.0), "1900-03-01");
        assert_eq!(
            shown("dddd, d. mmmm yyyy", 45_000.0),
            "Wednesday, 15. March 2023"
        );
        assert_eq!(shown("[$-407]d. mmmm yyyy", 45_000.0), "15. März 2023");
        assert_eq!(shown("yyyy-mm-dd hh:mm", 0.5), "12:00");
        let mut out = String::new();
        Format::new("yyyy-mm-dd").number(0.0, true, &mut out);
        assert_eq!(out, "1904-01-01");
    }

    #[test]
    fn iso_values_become_serial_numbers() {
        assert_eq!(serial("2023-03-15", false), Some(45_000.0));
        assert_eq!(serial("2023-03-15T18:00:00", false), Some(45_000.75));
        assert_eq!(serial("12:00", false), Some(0.5));
        assert_eq!(serial("1900-01-01", false), Some(1.0));
        assert_eq!(serial("soon", false), None);
    }
}
