//! Charts: the titles, and the plotted values as a table with a row per category and a column per series.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};

use super::package::{Package, Relations};
use super::{Block, all, child, path, runs};
use crate::parse::tree::Element;
use crate::parse::writer::one_line;

/// Maximum rows of a chart's table.
const MAX_ROWS: usize = 5000;

/// Values of a series by their indices.
type Points = BTreeMap<usize, String>;

#[derive(Default)]
struct Series {
    name: String,
    categories: Points,
    values: Points,
    sizes: Points,
}

/// Returns the titles and values of the chart part referenced by an element (`c:chart`).
pub(in crate::parse) fn read(
    package: &mut Package<'_>,
    relations: &Relations,
    chart: &Element,
) -> Vec<Block> {
    let part = relations.of_element(chart, "id");
    let root = part.and_then(|name| package.root(name).ok());
    root.map(|space| blocks(&space)).unwrap_or_default()
}

/// Returns the titles and values of a `c:chartSpace` or `cx:chartSpace`.
fn blocks(space: &Element) -> Vec<Block> {
    let Some(chart) = child(space, "chart") else {
        return Vec::new();
    };
    let mut blocks = Vec::new();
    let titles = child(chart, "title").map(title).unwrap_or_default();
    if !titles.is_empty() {
        blocks.push(Block::Paragraph(titles));
    }
    let plot = child(chart, "plotArea");
    let axes: Vec<String> = plot
        .iter()
        .flat_map(|p| p.elements())
        .filter(|e| e.name.ends_with("Ax") || e.name == "axis")
        .filter_map(|axis| child(axis, "title").map(title))
        .filter(|t| !t.is_empty())
        .collect();
    if !axes.is_empty() {
        blocks.push(Block::Paragraph(axes.join(", ")));
    }
    let drawn = plot.map(|p| all(p, "ser")).unwrap_or_default();
    let mut series: Vec<Series> = drawn.into_iter().map(classic).collect();
    let data = child(space, "chartData");
    for newer in plot.map(|p| all(p, "series")).unwrap_or_default() {
        series.push(extended(newer, data));
    }
    // A series without a name gets a number.
    for (number, unnamed) in (1..).zip(&mut series) {
        if unnamed.name.is_empty() {
            unnamed.name = format!("Series {number}");
        }
    }
    let rows = table(&series);
    if !rows.is_empty() {
        blocks.push(Block::Table(rows));
    }
    blocks
}

fn title(title: &Element) -> String {
    let rich = runs::paragraphs(title);
    if !rich.trim().is_empty() {
        return one_line(&rich);
    }
    let cached: Vec<String> = all(title, "v").into_iter().map(Element::text).collect();
    one_line(&cached.join(" "))
}

fn classic(series: &Element) -> Series {
    let points = |name: &str| child(series, name).map(points).unwrap_or_default();
    let first = |one: &str, other: &str| {
        let found = points(one);
        if found.is_empty() {
            points(other)
        } else {
            found
        }
    };
    let named = child(series, "tx")
        .map(|tx| all(tx, "v"))
        .unwrap_or_default();
    let name: Vec<String> = named.into_iter().map(Element::text).collect();
    Series {
        name: one_line(&name.join(" ")),
        categories: first("cat", "xVal"),
        values: first("val", "yVal"),
        sizes: points("bubbleSize"),
    }
}

/// Returns the cached values of a `c:cat`, `c:val` or similar; multi-level categories are joined, outer levels first.
fn points(data: &Element) -> Points {
    let levels = all(data, "lvl");
    if !levels.is_empty() {
        let mut joined = Points::new();
        let mut levels: Vec<Points> = levels.into_iter().map(|l| cached(l, "")).collect();
        levels.reverse();
        let count = levels
            .iter()
            .flat_map(|l| l.keys())
            .max()
            .map_or(0, |m| m + 1);
        for index in 0..count.min(MAX_ROWS) {
            let parts: Vec<&str> = levels
                .iter()
                .filter_map(|l| l.range(..=index).next_back())
                .map(|(_, text)| text.as_str())
                .collect();
            joined.insert(index, parts.join(" "));
        }
        return joined;
    }
    let Some(cache) = data.elements().find_map(|e| {
        if e.name.ends_with("Cache") || e.name.ends_with("Lit") {
            Some(e)
        } else {
            e.elements().find(|c| c.name.ends_with("Cache"))
        }
    }) else {
        return Points::new();
    };
    let numeric = cache.name.starts_with("num");
    let code = child(cache, "formatCode")
        .map(Element::text)
        .filter(|_| numeric);
    cached(
        cache,
        code.as_deref()
            .unwrap_or(if numeric { "General" } else { "" }),
    )
}

fn cached(cache: &Element, code: &str) -> Points {
    let mut points = Points::new();
    for point in cache.elements().filter(|e| e.name == "pt").take(MAX_ROWS) {
        let index = point.attribute("idx").and_then(|i| i.parse().ok());
        let value = child(point, "v").map_or_else(|| point.text(), Element::text);
        let own = point.attribute("formatCode").unwrap_or(code);
        let value = if code.is_empty() {
            one_line(&value)
        } else {
            number(&value, own)
        };
        points.insert(index.unwrap_or(points.len()), value);
    }
    points
}

/// Parses a series of the newer chart types, whose data are stored separately.
fn extended(series: &Element, data: Option<&Element>) -> Series {
    let named = path(series, &["tx", "txData"])
        .map(|tx| all(tx, "v"))
        .unwrap_or_default();
    let name: Vec<String> = named.into_iter().map(Element::text).collect();
    let id = child(series, "dataId").and_then(|d| d.attribute("val"));
    let mut read = Series {
        name: one_line(&name.join(" ")),
        ..Series::default()
    };
    let own = data
        .iter()
        .flat_map(|d| d.elements())
        .find(|d| d.name == "data" && d.attribute("id") == id);
    for dimension in own.iter().flat_map(|d| d.elements()) {
        let Some(level) = child(dimension, "lvl") else {
            continue;
        };
        if dimension.name == "numDim" {
            let code = level.attribute("formatCode").unwrap_or("General");
            read.values = cached(level, code);
        } else if dimension.name == "strDim" && read.categories.is_empty() {
            read.categories = cached(level, "");
        }
    }
    read
}

fn table(series: &[Series]) -> Vec<Vec<String>> {
    let indices: BTreeSet<usize> = series
        .iter()
        .flat_map(|s| s.values.keys().chain(s.categories.keys()))
        .copied()
        .take(MAX_ROWS * 4)
        .collect();
    if indices.is_empty() || !series.iter().any(|s| !s.values.is_empty()) {
        return Vec::new();
    }
    // Each series of a scatter chart has its own x values.
    let shared = series.iter().all(|s| {
        s.categories.is_empty() || series.first().is_some_and(|f| f.categories == s.categories)
    });
    let mut header = Vec::new();
    if shared {
        header.push(String::new());
    }
    for one in series {
        if !shared {
            header.push(String::new());
        }
        header.push(one.name.clone());
        if !one.sizes.is_empty() {
            header.push(String::new());
        }
    }
    let mut rows = vec![header];
    let get = |points: &Points, index: usize| points.get(&index).cloned().unwrap_or_default();
    for index in indices.into_iter().take(MAX_ROWS) {
        let mut row = Vec::new();
        if shared {
            let category = series.iter().find_map(|s| s.categories.get(&index));
            row.push(category.cloned().unwrap_or_else(|| (index + 1).to_string()));
        }
        for one in series {
            if !shared {
                row.push(get(&one.categories, index));
            }
            row.push(get(&one.values, index));
            if !one.sizes.is_empty() {
                row.push(get(&one.sizes, index));
            }
        }
        rows.push(row);
    }
    rows
}

/// Returns a number without binary rounding noise; as a percentage or a date according to its format.
fn number(written: &str, code: &str) -> String {
    let written = written.trim();
    let Ok(value) = written.parse::<f64>() else {
        return one_line(written);
    };
    let visible = visible(code);
    if visible.contains('%') {
        return format!("{}%", decimal(value * 100.0));
    }
    if is_date(&visible)
        && let Some(date) = date(value)
    {
        return date;
    }
    decimal(value)
}

/// Returns the first section of a format code without its quoted text, colours and currencies.
fn visible(code: &str) -> String {
    let mut visible = String::new();
    let (mut quoted, mut bracketed) = (false, false);
    for c in code.split(';').next().unwrap_or_default().chars() {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => bracketed = true,
            ']' if !quoted => bracketed = false,
            c if !quoted && !bracketed => visible.extend(c.to_lowercase()),
            _ => {}
        }
    }
    visible
}

fn is_date(visible: &str) -> bool {
    !visible.contains("general")
        && (visible.contains('y')
            || visible.contains("mmm")
            || visible.contains('d') && visible.contains('m'))
}

/// Returns the date of a serial number, in days since the end of 1899.
fn date(serial: f64) -> Option<String> {
    if !(1.0..=2_958_465.0).contains(&serial) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    let days = serial as u64;
    let date = NaiveDate::from_ymd_opt(1899, 12, 30)?.checked_add_days(Days::new(days))?;
    Some(date.format("%Y-%m-%d").to_string())
}

/// Returns a number with the fifteen significant digits that spreadsheets keep.
fn decimal(value: f64) -> String {
    let rounded: f64 = format!("{value:.14e}").parse().unwrap_or(value);
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(number("4.2999999999999998", "General"), "4.3");
        assert_eq!(number("8.200000", "General"), "8.2");
        assert_eq!(number("0.125", "0.0%"), "12.5%");
        assert_eq!(number("44927", "m/d/yyyy"), "2023-01-01");
        assert_eq!(number("12", "#,##0 \"days\""), "12");
        assert_eq!(number("1E3", "[Red]0"), "1000");
        assert_eq!(number("n/a", "General"), "n/a");
    }

    #[test]
    fn a_chart_is_a_table_of_categories_and_series() {
        let series = |name: &str, values: [&str; 2]| {
            format!(
                "<ser><tx><strRef><strCache><pt idx=\"0\"><v>{name}</v></pt></strCache></strRef></tx>\
                 <cat><strRef><strCache><pt idx=\"0\"><v>Spring</v></pt><pt idx=\"1\"><v>Fall</v></pt></strCache></strRef></cat>\
                 <val><numRef><numCache><formatCode>General</formatCode><pt idx=\"0\"><v>{}</v></pt><pt idx=\"1\"><v>{}</v></pt></numCache></numRef></val></ser>",
                values[0], values[1]
            )
        };
        let xml = format!(
            "<chartSpace><chart><title><tx><rich><p><r><t>Rain</t></r></p></rich></tx></title><plotArea><barChart>{}{}</barChart>\
             <valAx><title><tx><rich><p><r><t>mm</t></r></p></rich></tx></title></valAx></plotArea></chart></chartSpace>",
            series("North", ["8.2", "1"]),
            series("South", ["3", "4.2999999999999998"])
        );
        let root = tree::read(&xml).unwrap();
        let read = blocks(child(&root, "chartSpace").unwrap());
        let cells = |row: [&str; 3]| row.map(str::to_owned).to_vec();
        assert_eq!(
            read,
            [
                Block::Paragraph("Rain".to_owned()),
                Block::Paragraph("mm".to_owned()),
                Block::Table(vec![
                    cells(["", "North", "South"]),
                    cells(["Spring", "8.2", "3"]),
                    cells(["Fall", "1", "4.3"])
                ])
            ]
        );
    }
}
