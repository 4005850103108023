//! From pieces to paragraphs of text.

use std::collections::HashSet;

use super::layout::Piece;

/// Marks a hyphen at the end of a line until the vocabulary of the whole file is known.
const DIVIDED: char = '\u{1}';

/// A line of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub text: String,
    /// Font size in points.
    pub size: f32,
    pub bold: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Text,
    /// A Markdown table, the first row as its header.
    Table,
    /// A comment that is not drawn on the page.
    Note,
}

/// A paragraph of text, a table or a note.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paragraph {
    pub kind: Kind,
    pub text: String,
    pub lines: Vec<Line>,
}

impl Paragraph {
    pub(crate) fn note(text: &str) -> Self {
        let lines: Vec<&str> = text
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        Self {
            kind: Kind::Note,
            text: lines.join("\n"),
            lines: Vec::new(),
        }
    }
}

/// The merged pieces of one line of a column.
struct Row {
    text: String,
    x0: f32,
    x1: f32,
    y: f32,
    size: f32,
    bold: bool,
}

/// How a line relates to the preceding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Joined,
    Line,
    Paragraph,
}

/// Returns the paragraphs of one column with lines up to `edge`.
pub(crate) fn column(pieces: Vec<Piece>, edge: f32) -> Vec<Paragraph> {
    let rows = rows(pieces);
    let (pitch, usual) = (pitch(&rows), usual(&rows));
    let left = rows.iter().map(|r| r.x0).fold(f32::MAX, f32::min);
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let mut before: Option<&Row> = None;
    for row in &rows {
        let right = reach(&rows, row, edge);
        let how = before.map_or(Break::Paragraph, |b| {
            // Multi-line headings have a narrow line spacing.
            let pitch = if row.size > 1.12 * usual {
                pitch.min(1.1)
            } else {
                pitch
            };
            between(b, row, pitch, left, right)
        });
        let line = Line {
            text: row.text.clone(),
            size: row.size,
            bold: row.bold,
        };
        match paragraphs.last_mut() {
            Some(paragraph) if how != Break::Paragraph => {
                append(&mut paragraph.text, &row.text, how);
                paragraph.lines.push(line);
            }
            _ => paragraphs.push(Paragraph {
                kind: Kind::Text,
                text: row.text.clone(),
                lines: vec![line],
            }),
        }
        before = Some(row);
    }
    paragraphs
}

/// Returns the right edge of the lines around a line: where several of them end, otherwise the edge of the column.
fn reach(rows: &[Row], row: &Row, edge: f32) -> Reach {
    let near = |other: &&Row| (other.y - row.y).abs() < 12.0 * row.size;
    let end = rows
        .iter()
        .filter(near)
        .map(|r| r.x1)
        .fold(row.x1, f32::max);
    let full = rows
        .iter()
        .filter(near)
        .filter(|r| r.x1 > end - 2.5 * row.size)
        .count();
    if full > 2 {
        Reach { end, certain: true }
    } else {
        Reach {
            end: end.max(edge),
            certain: false,
        }
    }
}

/// The right edge of lines.
#[derive(Clone, Copy)]
struct Reach {
    end: f32,
    /// Whether several lines end there.
    certain: bool,
}

fn rows(mut pieces: Vec<Piece>) -> Vec<Row> {
    pieces.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        let same = |group: &Vec<Piece>| {
            group
                .first()
                .is_some_and(|first| (piece.y - first.y).abs() < 0.35 * first.size.min(piece.size))
        };
        match groups.last_mut() {
            Some(group) if same(group) => group.push(piece),
            _ => groups.push(vec![piece]),
        }
    }
    groups.into_iter().map(row).collect()
}

fn row(mut pieces: Vec<Piece>) -> Row {
    let rtl = pieces.iter().filter(|p| p.rtl).count() * 2 > pieces.len();
    pieces.sort_by(|a, b| {
        if rtl {
            b.x0.total_cmp(&a.x0)
        } else {
            a.x0.total_cmp(&b.x0)
        }
    });
    let letters: usize = pieces.iter().map(|p| p.text.len()).sum();
    let bold: usize = pieces.iter().filter(|p| p.bold).map(|p| p.text.len()).sum();
    let texts: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
    Row {
        text: texts.join(" "),
        x0: pieces.iter().map(|p| p.x0).fold(f32::MAX, f32::min),
        x1: pieces.iter().map(|p| p.x1).fold(f32::MIN, f32::max),
        y: pieces.first().map_or(0.0, |p| p.y),
        size: pieces
            .iter()
            .max_by_key(|p| p.text.len())
            .map_or(0.0, |p| p.size),
        bold: bold * 2 > letters,
    }
}

/// Returns the median font size of the lines.
fn usual(rows: &[Row]) -> f32 {
    let mut sizes: Vec<f32> = rows.iter().map(|r| r.size).collect();
    sizes.sort_by(f32::total_cmp);
    sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the usual line distance, in ems.
fn pitch(rows: &[Row]) -> f32 {
    let mut pitches: Vec<f32> = rows
        .iter()
        .zip(rows.iter().skip(1))
        .map(|(a, b)| (b.y - a.y) / b.size.max(1.0))
        .filter(|p| (0.5..=2.2).contains(p))
        .collect();
    pitches.sort_by(f32::total_cmp);
    // Below the median, to prefer the distance within paragraphs over that between them.
    pitches
        .get(pitches.len() * 2 / 5)
        .copied()
        .unwrap_or(1.25)
        .max(1.0)
}

fn between(before: &Row, row: &Row, pitch: f32, left: f32, right: Reach) -> Break {
    let size = row.size.max(1.0);
    let apart = (row.y - before.y) / size.max(before.size);
    let ratio = size / before.size.max(1.0);
    let ended = before
        .text
        .ends_with(['.', '!', '?', ':', ';', '"', '”', '’', ')', '。', '؟']);
    let indent = row.x0 - left.max(before.x0);
    if ended && (0.8 * size..=6.0 * size).contains(&indent) {
        return Break::Paragraph;
    }
    let first = row.text.split_whitespace().next().unwrap_or_default();
    // Scripts without spaces break lines anywhere.
    let letters = if first.starts_with(is_cjk) {
        2.0
    } else {
        first.chars().count() as f32
    };
    let wide = (row.x1 - row.x0) / row.text.chars().count().max(1) as f32;
    let fitted = before.x1 + (letters + 1.0) * wide < right.end - 0.5 * size;
    // A full line that does not end a sentence continues even across a wider gap.
    let open = !ended && !fitted && (row.x0 - before.x0).abs() < size;
    let limit = if open { pitch * 1.6 } else { pitch * 1.25 } + 0.1;
    if apart > limit || !(0.88..=1.14).contains(&ratio) || row.bold != before.bold {
        return Break::Paragraph;
    }
    let divided = before.text.ends_with(['-', '\u{ad}', '\u{2010}']);
    let anew = ended && row.text.starts_with(char::is_uppercase);
    if fitted && right.certain && anew && !starts_item(&before.text) {
        return Break::Paragraph;
    }
    if starts_item(&row.text) || fitted && !divided {
        return Break::Line;
    }
    Break::Joined
}

/// Returns whether a line starts with a list marker.
fn starts_item(text: &str) -> bool {
    let Some((mark, _)) = text.split_once(' ') else {
        return false;
    };
    is_bullet(mark)
}

/// Returns whether a word is a list marker, a bullet, number or letter: `•`, `3.`, `(b)`.
pub(crate) fn is_bullet(mark: &str) -> bool {
    let inner = mark.strip_prefix('(').unwrap_or(mark);
    let numbered = inner.strip_suffix(['.', ')']).is_some_and(|n| {
        let roman = n.len() <= 4 && n.chars().all(|c| "ivxIVX".contains(c));
        let digits = n.len() <= 3 && n.chars().all(|c| c.is_ascii_digit());
        let letter = n.chars().count() == 1 && n.chars().all(char::is_alphabetic);
        !n.is_empty() && (roman || digits || letter)
    });
    let sign = mark.chars().count() == 1
        && mark.starts_with([
            '•', '▪', '◦', '‣', '●', '○', '■', '□', '–', '-', '·', '*', '➢', '✓',
        ]);
    numbered || sign
}

fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3ffff}')
}

/// Appends a line to a text.
fn append(text: &mut String, line: &str, how: Break) {
    if how == Break::Line {
        text.push('\n');
        text.push_str(line);
        return;
    }
    if let Some(whole) = text.strip_suffix('\u{ad}') {
        let kept = whole.len();
        text.truncate(kept);
    } else {
        let last = text.chars().next_back();
        let before = text.chars().rev().nth(1);
        let first = line.chars().next();
        let divided = matches!(last, Some('-' | '\u{2010}'))
            && before.is_some_and(char::is_alphabetic)
            && first.is_some_and(char::is_lowercase);
        let solid = last.is_some_and(is_cjk) && first.is_some_and(is_cjk);
        if divided {
            text.push(DIVIDED);
        } else if !solid {
            text.push(' ');
        }
    }
    text.push_str(line);
}

/// Rejoins words hyphenated at line ends. A hyphen is kept when the file contains the hyphenated word elsewhere, or when both halves are words and their
/// concatenation is not.
pub(crate) fn mend_divided(paragraphs: &mut [&mut Paragraph]) {
    let mut words: HashSet<String> = HashSet::new();
    let end = |c: char| !c.is_alphanumeric() && c != '-' && c != DIVIDED;
    for paragraph in paragraphs.iter() {
        let whole = paragraph
            .text
            .split(end)
            .filter(|w| w.len() > 1 && !w.contains(DIVIDED));
        words.extend(whole.map(str::to_lowercase));
    }
    for paragraph in paragraphs.iter_mut().filter(|p| p.text.contains(DIVIDED)) {
        let mut parts = paragraph.text.split(DIVIDED);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let stem = text
                .strip_suffix(['-', '\u{2010}'])
                .unwrap_or(&text)
                .to_owned();
            let head = stem
                .rsplit(|c: char| !c.is_alphabetic())
                .next()
                .unwrap_or_default();
            let tail = part
                .split(|c: char| !c.is_alphabetic())
                .next()
                .unwrap_or_default();
            let (head, tail) = (head.to_lowercase(), tail.to_lowercase());
            let has = |word: &str| words.contains(word);
            let hyphened =
                has(&format!("{head}-{tail}")) || has(&head) && has(&tail) && tail.len() > 3;
            let keep = !has(&format!("{head}{tail}")) && hyphened;
            let linked = matches!(
                tail.as_str(),
                "and" | "or" | "to" | "und" | "oder" | "et" | "ou" | "y" | "o"
            );
            text = stem;
            if linked {
                text.push_str("- ");
            } else if keep {
                text.push('-');
            }
            text.push_str(part);
        }
        paragraph.text = text;
    }
}

#[cfg(test)]
mod tests {
    use super::super::glyphs::tests::line;
    use super::super::layout;
    use super::*;

    fn paragraphs(lines: &[(&str, f32, f32)]) -> Vec<String> {
        let glyphs = lines
            .iter()
            .flat_map(|(text, x, y)| line(text, *x, *y, 10.0))
            .collect();
        let mut found = column(layout::pieces(glyphs, &[]), 0.0);
        mend_divided(&mut found.iter_mut().collect::<Vec<_>>());
        found.into_iter().map(|p| p.text).collect()
    }

    #[test]
    fn lines_become_paragraphs() {
        let found = paragraphs(&[
            ("One paragraph with an exam-", 10.0, 10.0),
            ("ple and a well-known ending", 10.0, 22.0),
            ("of it.", 10.0, 34.0),
            ("Another after a wide gap", 10.0, 60.0),
        ]);
        assert_eq!(
            found,
            [
                "One paragraph with an example and a well-known ending of it.",
                "Another after a wide gap"
            ]
        );
    }

    #[test]
    fn short_lines_stay_lines() {
        let found = paragraphs(&[
            ("Roses", 10.0, 10.0),
            ("Violets and other flowers of the field", 10.0, 22.0),
            ("• one", 10.0, 34.0),
            ("• two", 10.0, 46.0),
        ]);
        assert_eq!(
            found,
            ["Roses\nViolets and other flowers of the field\n• one\n• two"]
        );
    }
}
