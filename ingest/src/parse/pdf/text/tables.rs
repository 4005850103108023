//! Tables without rules, detected by aligned columns, and the writing of tables.

use super::layout::{self, Piece};
use super::write::{Kind, Paragraph};

/// Returns the Markdown of rows of cells; `None` when they are empty.
pub(crate) fn markdown(rows: &[Vec<String>]) -> Option<Paragraph> {
    let columns = rows.iter().map(Vec::len).max().filter(|n| *n > 0)?;
    let mut text = String::new();
    for (row, number) in rows.iter().zip(0..) {
        let cells = row.iter().map(|cell| cell.replace('|', "\\|"));
        let padded = cells.chain(std::iter::repeat_n(String::new(), columns - row.len()));
        let cells: Vec<String> = padded.collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if number == 0 {
            text.push_str(&format!("|{}\n", " --- |".repeat(columns)));
        }
    }
    Some(Paragraph {
        kind: Kind::Table,
        text: text.trim_end().to_owned(),
        lines: Vec::new(),
    })
}

/// A segment of aligned text.
#[derive(Debug, PartialEq)]
pub(crate) enum Segment {
    Table(Paragraph),
    Text(Vec<Piece>),
}

/// Classification of aligned pieces.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Tables, with the text before, between and after them.
    Tables(Vec<Segment>),
    /// Columns of running text.
    Columns,
    /// Labels beside text: lines are read across both columns.
    Lines,
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Classifies pieces that are separated by a vertical gap.
pub(crate) fn judge(pieces: &[Piece], gutter: f32) -> Verdict {
    let size = layout::usual_size(pieces);
    let rows = grid_rows(pieces, size);
    let columns = columns(&within(&rows), gutter * 0.4);
    let places = |row: &Vec<Piece>| {
        let mut at: Vec<usize> = row.iter().map(|p| column_of(&columns, p)).collect();
        at.dedup();
        at.len()
    };
    let Some(first) = rows.iter().position(|r| places(r) > 1) else {
        return Verdict::Columns;
    };
    let last = rows.iter().rposition(|r| places(r) > 1).unwrap_or(first);
    let (first, last) = widen(&rows, &columns, first, last, size);
    let body = rows.get(first..=last).unwrap_or_default();
    let several = body.iter().filter(|r| places(r) > 1).count();
    let prose: Vec<bool> = columns.iter().map(|c| is_prose(pieces, *c, size)).collect();
    let prosaic = prose.iter().filter(|p| **p).count();
    if prosaic * 2 > columns.len() || several * 2 < body.len() {
        return Verdict::Columns;
    }
    if columns.len() == 2 && (prosaic == 1 || body.len() < 3 || !numeric(pieces, columns.get(1))) {
        // Labels with their values, unless both columns have many words.
        let short = |c: &(f32, f32)| words_per_line(pieces, *c) <= 2.5;
        let labels = columns.iter().zip(&prose).any(|(c, p)| !p && short(c));
        return if labels {
            Verdict::Lines
        } else {
            Verdict::Columns
        };
    }
    let mut segments = vec![text(rows.get(..first))];
    // Sentences between the rows separate tables.
    for part in body.chunk_by(|a, b| sentence(a) == sentence(b)) {
        if part.first().is_some_and(|row| sentence(row)) {
            segments.push(text(Some(part)));
            continue;
        }
        let cells = part.iter().map(|row| cells(row, &columns)).collect();
        segments.extend(markdown(&merge(cells, &pitches(part, size))).map(Segment::Table));
    }
    segments.push(text(rows.get(last + 1..)));
    Verdict::Tables(segments)
}

/// Returns whether a line is a single piece of many words.
fn sentence(row: &[Piece]) -> bool {
    row.len() == 1 && row.iter().map(Piece::words).sum::<usize>() > 6
}

/// Returns the pieces from the first row with several pieces to the last, without sentences.
fn within(rows: &[Vec<Piece>]) -> Vec<Piece> {
    let several = |row: &Vec<Piece>| row.len() > 1;
    let first = rows.iter().position(several).unwrap_or(0);
    let last = rows.iter().rposition(several).unwrap_or(0);
    let body = rows.get(first..=last).unwrap_or_default();
    // If most rows look like sentences, they are running text in columns.
    let sentences = body.iter().filter(|r| sentence(r)).count();
    let apart = sentences * 3 < body.len();
    body.iter()
        .filter(|row| !(apart && sentence(row)))
        .flatten()
        .cloned()
        .collect()
}

fn text(rows: Option<&[Vec<Piece>]>) -> Segment {
    Segment::Text(rows.unwrap_or_default().iter().flatten().cloned().collect())
}

/// Returns whether a text has more digits than letters.
fn is_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    digits > text.chars().filter(|c| c.is_alphabetic()).count()
}

/// Extends a table by lines that continue a cell of its first or last row.
fn widen(
    rows: &[Vec<Piece>],
    columns: &[(f32, f32)],
    mut first: usize,
    mut last: usize,
    size: f32,
) -> (usize, usize) {
    let y = |at: usize| {
        rows.get(at)
            .and_then(|r| r.first())
            .map_or(f32::MAX, |p| p.y)
    };
    let inner = |at: usize| {
        rows.get(at)
            .and_then(|r| r.first())
            .is_some_and(|p| column_of(columns, p) > 0)
    };
    while first > 0 && inner(first - 1) && y(first) - y(first - 1) < 1.45 * size {
        first -= 1;
    }
    while last + 1 < rows.len() && inner(last + 1) && y(last + 1) - y(last) < 1.45 * size {
        last += 1;
    }
    (first, last)
}

/// Returns whether a column has mostly numbers.
fn numeric(pieces: &[Piece], column: Option<&(f32, f32)>) -> bool {
    let Some(column) = column else {
        return false;
    };
    let all = of_column(pieces, *column).count();
    let numbers = of_column(pieces, *column)
        .filter(|p| is_number(&p.text))
        .count();
    numbers * 3 >= all * 2
}

/// Returns the columns covered by pieces: their extents, merged where they overlap.
fn columns(pieces: &[Piece], gap: f32) -> Vec<(f32, f32)> {
    let mut extents: Vec<(f32, f32)> = pieces.iter().map(|p| (p.x0, p.x1)).collect();
    extents.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: Vec<(f32, f32)> = Vec::new();
    for extent in extents {
        match columns.last_mut() {
            Some(last) if extent.0 < last.1 + gap => last.1 = last.1.max(extent.1),
            _ => columns.push(extent),
        }
    }
    columns
}

fn column_of(columns: &[(f32, f32)], piece: &Piece) -> usize {
    columns
        .iter()
        .skip(1)
        .take_while(|c| c.0 <= piece.x0 + 0.1)
        .count()
}

fn grid_rows(pieces: &[Piece], size: f32) -> Vec<Vec<Piece>> {
    let mut sorted = pieces.to_vec();
    sorted.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    for piece in sorted {
        let same = |row: &Vec<Piece>| {
            row.first()
                .is_some_and(|f| (piece.y - f.y).abs() < 0.4 * size)
        };
        match rows.last_mut() {
            Some(row) if same(row) => row.push(piece),
            _ => rows.push(vec![piece]),
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    }
    rows
}

fn of_column(pieces: &[Piece], column: (f32, f32)) -> impl Iterator<Item = &Piece> {
    pieces
        .iter()
        .filter(move |p| p.x0 >= column.0 - 0.1 && p.x0 < column.1)
}

fn words_per_line(pieces: &[Piece], column: (f32, f32)) -> f32 {
    let (lines, words) = of_column(pieces, column).fold((0, 0), |(l, w), p| (l + 1, w + p.words()));
    words as f32 / lines.max(1) as f32
}

/// Returns whether a column has several lines of words that mostly fill it.
fn is_prose(pieces: &[Piece], column: (f32, f32), size: f32) -> bool {
    let width = (column.1 - column.0).max(1.0);
    let (mut lines, mut filled, mut letters, mut digits, mut long) = (0, 0.0, 0, 0, 0);
    for piece in of_column(pieces, column) {
        lines += 1;
        filled += (piece.x1 - piece.x0) / width;
        letters += piece.text.chars().filter(|c| c.is_alphabetic()).count();
        digits += piece.text.chars().filter(char::is_ascii_digit).count();
        // Scripts without spaces have long words.
        long += usize::from(piece.text.chars().count() > 12);
    }
    let words = words_per_line(pieces, column);
    let wordy = words >= 2.8 || long * 4 >= lines * 3 && width > 8.0 * size;
    lines >= 2 && wordy && filled / lines as f32 > 0.6 && letters > 3 * digits
}

fn cells(row: &[Piece], columns: &[(f32, f32)]) -> Vec<String> {
    let mut cells = vec![String::new(); columns.len()];
    for piece in row {
        if let Some(cell) = cells.get_mut(column_of(columns, piece)) {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(&piece.text);
        }
    }
    cells
}

/// Returns the distance of each row to the preceding one, in ems.
fn pitches(rows: &[Vec<Piece>], size: f32) -> Vec<f32> {
    let ys = rows.iter().map(|row| row.first().map_or(0.0, |p| p.y));
    let mut before = None;
    ys.map(|y| before.replace(y).map_or(f32::MAX, |b: f32| (y - b) / size))
        .collect()
}

/// Merges rows that continue the cells of the preceding row: closer than usual, with few cells and an empty first one, or a header of several lines.
fn merge(rows: Vec<Vec<String>>, pitches: &[f32]) -> Vec<Vec<String>> {
    let widest = pitches
        .iter()
        .skip(1)
        .copied()
        .filter(|p| *p < 6.0)
        .fold(0.0, f32::max);
    let near = |pitch: f32| pitch < 0.8 * widest && pitch < 1.45;
    let apart = pitches.iter().skip(1).filter(|p| !near(**p)).count();
    let header = header_lines(&rows);
    let mut merged: Vec<Vec<String>> = Vec::new();
    for ((row, pitch), number) in rows.into_iter().zip(pitches).zip(0..) {
        let few = row.iter().filter(|c| !c.is_empty()).count() * 2 <= row.len();
        let collides = merged.last().is_some_and(|last| {
            last.iter()
                .zip(&row)
                .any(|(a, b)| is_number(a) && is_number(b))
        });
        let goes_on = number < header
            || number > header && few && row.first().is_some_and(String::is_empty) && *pitch < 1.8
            || near(*pitch) && apart > 0;
        match merged.last_mut() {
            Some(last) if goes_on && !collides => add(last, row),
            _ => merged.push(row),
        }
    }
    merged
}

/// Appends the cells of a row to those of the preceding row.
pub(crate) fn add(cells: &mut [String], more: Vec<String>) {
    for (cell, more) in cells.iter_mut().zip(more) {
        if !cell.is_empty() && !more.is_empty() {
            cell.push(' ');
        }
        cell.push_str(&more);
    }
}

/// Returns the number of header lines: those without numbers, if all rows below have some.
pub(crate) fn header_lines(rows: &[Vec<String>]) -> usize {
    let numbers = |row: &Vec<String>| row.iter().any(|c| c.contains(|d: char| d.is_ascii_digit()));
    let lines = rows.iter().take_while(|row| !numbers(row)).count();
    let gaps = |row: &Vec<String>| row.iter().any(String::is_empty);
    let below = rows.get(lines..).unwrap_or_default();
    let incomplete = rows.iter().take(lines).any(gaps);
    if (2..=3).contains(&lines) && incomplete && below.len() > 1 && below.iter().all(numbers) {
        lines
    } else {
        1
    }
}
