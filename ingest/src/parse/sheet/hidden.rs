//! Lists the hidden rows and columns of a sheet that have values.

use super::column_name;
use super::grid::Grid;

/// Maximum number of ranges that are listed.
const MAX_RANGES: usize = 12;

/// Describes the hidden rows and columns with values; `None` when there are none.
pub(super) fn describe(grid: &Grid, hidden_columns: &[(u32, u32)]) -> Option<String> {
    let rows = ranges(grid.hidden_rows());
    let columns = if hidden_columns.is_empty() {
        Vec::new()
    } else {
        ranges(grid.columns().into_iter().filter(|c| {
            hidden_columns
                .iter()
                .any(|(first, last)| (*first..=*last).contains(c))
        }))
    };
    let parts: Vec<String> = [
        name("row", &rows, |row| (row + 1).to_string()),
        name("column", &columns, column_name),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        None
    } else {
        Some(parts.join("; "))
    }
}

/// Groups ascending numbers into ranges of adjacent ones.
fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 >= number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn name(kind: &str, ranges: &[(u32, u32)], spell: fn(u32) -> String) -> Option<String> {
    let is_one = matches!(ranges, [(first, last)] if first == last);
    let mut names: Vec<String> = ranges
        .iter()
        .take(MAX_RANGES)
        .map(|(first, last)| {
            if first == last {
                spell(*first)
            } else {
                format!("{}–{}", spell(*first), spell(*last))
            }
        })
        .collect();
    if ranges.len() > MAX_RANGES {
        names.push("and more".to_owned());
    }
    let plural = if is_one { "" } else { "s" };
    (!names.is_empty()).then(|| format!("{kind}{plural} {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::sheet::grid::Kind;

    #[test]
    fn only_what_has_values_is_named() {
        let mut grid = Grid::default();
        for number in 0..6 {
            grid.row(number, number == 2 || number > 3);
            for column in 0..30 {
                grid.cell(column, Kind::Word, false, |out| out.push('x'));
            }
        }
        grid.finish();
        assert_eq!(describe(&grid, &[]).as_deref(), Some("rows 3, 5–6"));
        assert_eq!(
            describe(&grid, &[(2, 2), (27, 16_383)]).as_deref(),
            Some("rows 3, 5–6; columns C, AB–AD")
        );
        assert_eq!(describe(&Grid::default(), &[(0, 9)]), None);
    }
}
