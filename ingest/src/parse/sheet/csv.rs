//! Comma-separated values and similar formats: detects the delimiter, and separates titles above the table from its rows.

use super::super::writer::Writer;
use super::super::{Input, ParseError, damaged, text};
use crate::document::Document;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Size of the sample for detection.
const SAMPLE_BYTES: usize = 64 << 10;
const SAMPLE_RECORDS: usize = 100;
/// Score of a delimiter that does not occur.
const UNUSED: f64 = -10.0;
/// A delimiter that never occurs: a single column whose texts contain commas.
const NO_DELIMITER: u8 = 0x1f;
/// Maximum number of title lines above the table.
const MAX_TITLES: usize = 10;
/// More lines than this in the last value indicate an unclosed quote.
const MAX_QUOTED_LINES: usize = 50;

pub(in crate::parse) fn parse_csv(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let decoded = decoded.trim_start_matches('\u{feff}');
    let (stated, body) = stated_delimiter(decoded);
    let is_tabs = input
        .file_name
        .rsplit_once('.')
        .is_some_and(|(_, e)| e.eq_ignore_ascii_case("tsv") || e.eq_ignore_ascii_case("tab"));
    let delimiter = stated.unwrap_or_else(|| delimiter(body, is_tabs));
    let mut rows = records(body, delimiter, true)?;
    let swallowed = rows
        .last()
        .and_then(|r| r.last())
        .is_some_and(|v| v.lines().count() > MAX_QUOTED_LINES);
    if swallowed && body.matches('"').count() % 2 == 1 {
        rows = records(body, delimiter, false)?;
    }
    let mut writer = Writer::default();
    let titles = titles(&rows);
    for row in rows.drain(..titles) {
        writer.paragraph(&row.concat());
    }
    writer.table(&rows);
    let mut document = writer.finish("csv");
    document.warnings.extend(warnings);
    Ok(document)
}

fn records(body: &str, delimiter: u8, quoting: bool) -> Result<Vec<Vec<String>>, ParseError> {
    ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(quoting)
        .delimiter(delimiter)
        .from_reader(body.as_bytes())
        .records()
        .map(|record| match record {
            Ok(record) => Ok(record.iter().map(ToOwned::to_owned).collect()),
            Err(_) => Err(damaged("its rows cannot be separated")),
        })
        .collect()
}

/// Returns the delimiter declared by a first line `sep=;`, and the text after that line.
fn stated_delimiter(text: &str) -> (Option<u8>, &str) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let line = first.trim_end_matches('\r').trim_matches('"');
    let stated = line
        .get(..4)
        .filter(|word| word.eq_ignore_ascii_case("sep="))
        .and_then(|_| line.get(4..));
    match stated.map(str::as_bytes) {
        Some([delimiter]) => (Some(*delimiter), rest),
        _ => (None, text),
    }
}

/// Returns the number of titles: rows with a single value above the table.
fn titles(rows: &[Vec<String>]) -> usize {
    let filled = |row: &Vec<String>| row.iter().filter(|c| !c.trim().is_empty()).count();
    let titles = rows.iter().take_while(|r| filled(r) <= 1).count();
    if titles > MAX_TITLES || titles == rows.len() {
        0
    } else {
        titles
    }
}

fn delimiter(text: &str, is_tabs: bool) -> u8 {
    let records = outline(text);
    let score = |delimiter: char| {
        let preferred = is_tabs && delimiter == '\t';
        rate(&records, delimiter) + if preferred { 0.5 } else { 0.0 }
    };
    // The first of equal scores wins.
    let best = DELIMITERS
        .into_iter()
        .rev()
        .max_by(|a, b| score(*a).total_cmp(&score(*b)))
        .unwrap_or(',');
    let is_prose = score(best) <= 0.0 && score(best) > UNUSED;
    if is_prose {
        NO_DELIMITER
    } else {
        u8::try_from(best).unwrap_or(b',')
    }
}

/// Returns the first records without quoted text, which is irrelevant for the delimiter.
fn outline(text: &str) -> Vec<String> {
    let mut records = Vec::new();
    let mut record = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    let mut left = SAMPLE_BYTES;
    while let Some(c) = characters.next() {
        left = left.saturating_sub(c.len_utf8());
        match c {
            '"' if quoted => {
                if characters.next_if_eq(&'"').is_none() {
                    quoted = false;
                }
            }
            _ if quoted => {}
            // Quotes only open at the start of a value.
            '"' if record.is_empty() || record.ends_with(DELIMITERS) => {
                quoted = true;
                record.push('x');
            }
            '\n' => {
                let whole = std::mem::take(&mut record);
                if !whole.trim().is_empty() {
                    records.push(whole);
                }
                if left == 0 || records.len() >= SAMPLE_RECORDS {
                    return records;
                }
            }
            other => record.push(other),
        }
        // An unclosed quote.
        if left == 0 && quoted {
            break;
        }
    }
    if !record.trim().is_empty() {
        records.push(record);
    }
    records
}

/// Scores a delimiter: the share of records with the same number of values, minus penalties for uses that look like text and for other delimiters.
fn rate(records: &[String], delimiter: char) -> f64 {
    let counts: Vec<usize> = records
        .iter()
        .map(|r| r.matches(delimiter).count())
        .collect();
    let (_, alike) = counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| (*c, counts.iter().filter(|o| *o == c).count()))
        .max_by_key(|(count, alike)| (*alike, *count))
        .unwrap_or_default();
    if alike == 0 {
        return UNUSED;
    }
    let all = counts.iter().sum::<usize>() as f64;
    let records_count = records.len() as f64;
    let mut natural = 0.0;
    let mut foreign = 0_usize;
    for record in records {
        for other in DELIMITERS {
            let unnatural = uses(record, other).filter(|u| *u == Use::Division).count();
            if other == delimiter {
                natural += uses(record, other)
                    .map(|u| match u {
                        Use::Division => 0.0,
                        Use::Number => 0.25,
                        Use::Sentence => 0.5,
                    })
                    .sum::<f64>();
            } else {
                foreign += unnatural;
            }
        }
    }
    let strangers = (foreign as f64 / records_count).min(1.0);
    alike as f64 / records_count - natural / all - strangers / 2.0
}

/// Apparent role of a possible delimiter at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Division,
    /// Between two digits.
    Number,
    /// Before a space.
    Sentence,
}

fn uses(record: &str, delimiter: char) -> impl Iterator<Item = Use> {
    record.match_indices(delimiter).map(move |(at, _)| {
        let before = record.get(..at).and_then(|t| t.chars().next_back());
        let after = record
            .get(at + delimiter.len_utf8()..)
            .and_then(|t| t.chars().next());
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        match delimiter {
            '\t' => Use::Division,
            ',' if is_digit(before) && is_digit(after) => Use::Number,
            _ if after == Some(' ') => Use::Sentence,
            _ => Use::Division,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> String {
        parse_csv(&Input {
            file_name: "t.csv",
            bytes: text.as_bytes(),
            ..Input::default()
        })
        .expect("parses")
        .text
    }

    #[test]
    fn values_become_a_table_whatever_divides_them() {
        let expected = "| name | size |\n| --- | --- |\n| a, b | 2 |";
        assert_eq!(csv("name,size\n\"a, b\",2\n"), expected);
        assert_eq!(csv("name;size\na, b;2\n"), expected);
        assert_eq!(csv("name\tsize\na, b\t2"), expected);
        assert_eq!(csv("name|size\na, b|2"), expected);
        assert_eq!(
            csv("1,2\na,b,c"),
            "| 1 | 2 |  |\n| --- | --- | --- |\n| a | b | c |"
        );
    }

    #[test]
    fn what_is_quoted_divides_nothing() {
        let text = csv("a;b\n1;\"x, y, z\nu, v, w\"\n2;\"q\"");
        assert_eq!(
            text,
            "| a | b |\n| --- | --- |\n| 1 | x, y, z u, v, w |\n| 2 | q |"
        );
        assert!(csv("a,b\n1,\"x; y; z\nu; v; w\"\n2,q").starts_with("| a | b |"));
        let open = format!("a,b\n\"5 inch,1\n{}", "c,2\n".repeat(60));
        assert!(csv(&open).ends_with("| c | 2 |"));
    }

    #[test]
    fn commas_of_numbers_divide_nothing() {
        assert!(
            csv("Wood;Density, kg;Price, EUR\nOak;0,71;3,20\nPine;0,52;1,95")
                .contains("| Oak | 0,71 | 3,20 |")
        );
        assert!(csv("1,5;2,5\n3,5;4,5").contains("| 3,5 | 4,5 |"));
        assert!(csv("1,5,2,5\n3,5,4,5").contains("| 3 | 5 | 4 | 5 |"));
    }

    #[test]
    fn a_first_line_may_state_the_delimiter() {
        assert_eq!(csv("sep=;\na;b\n1;2"), csv("a;b\n1;2"));
        assert_eq!(csv("\"sep=|\"\r\na|b\r\n1|2"), csv("a;b\n1;2"));
    }

    #[test]
    fn lines_above_the_table_are_text() {
        assert_eq!(
            csv("Sales of May\nby region\n\nregion;sum\nnorth;3\n"),
            "Sales of May\n\nby region\n\n| region | sum |\n| --- | --- |\n| north | 3 |"
        );
        assert_eq!(csv("name\nAnn"), "| name |\n| --- |\n| Ann |");
        assert_eq!(
            csv("name\nAnn, the first\nBob"),
            "| name |\n| --- |\n| Ann, the first |\n| Bob |"
        );
    }
}
