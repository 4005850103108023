//! A performance report as a web page of its own, made for printing: its Markdown, and its stored figures as charts in SVG.

use chrono::NaiveDate;
use html_escape::{encode_double_quoted_attribute as attribute, encode_text as escaped};
use serde_json::{Map, Value};

use super::markdown::{headline, to_html, without_citations};
use crate::error::Result;
use crate::records::Record;
use crate::records::body::text;

/// Bars of a chart at most; the remaining ones are named in the caption.
const BARS: usize = 40;
/// Width of a chart, of its labels, and of the longest bar, in units of the drawing.
const WIDTH: f64 = 640.0;
const LABELS: f64 = 190.0;
const LONGEST: f64 = 360.0;
/// Height of a bar with its gap, and of the columns of days.
const LINE: f64 = 24.0;
const HEIGHT: f64 = 120.0;

const STYLE: &str = "
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1b1f24; background: #fff; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; }
.period, figcaption { color: #57606a; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #d0d7de; vertical-align: top; }
pre { overflow: auto; background: #f6f8fa; padding: .75rem; }
figure { margin: 1.25rem 0; break-inside: avoid; }
svg { width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: #1b1f24; }
svg rect { fill: #0b6e72; }
@media print { body { margin: 0; max-width: none; } @page { margin: 2cm; } }
";

/// The charts: name of the figures, caption, whether the values are US dollars, whether the labels are days.
const CHARTS: [(&str, &str, bool, bool); 5] = [
    ("activities", "Activities by status", false, false),
    ("approvals", "Approvals by status", false, false),
    ("newLeads", "New leads by status", false, false),
    (
        "costByAgentUsd",
        "Cost of agents in US dollars",
        true,
        false,
    ),
    ("costByDayUsd", "Cost by day in US dollars", true, true),
];

fn shown(value: f64, is_money: bool) -> String {
    match is_money {
        true if value != 0.0 && value < 1.0 => format!("${value:.4}"),
        true => format!("${value:.2}"),
        false => value.to_string(),
    }
}

/// Draws values as horizontal bars.
fn bars(rows: &[(&str, f64)], is_money: bool) -> String {
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
    let mut drawn = String::new();
    let mut top = 0.0;
    for (label, value) in rows {
        let length = if most > 0.0 {
            value / most * LONGEST
        } else {
            0.0
        };
        let line = top + LINE * 0.7;
        drawn.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{line:.1}\" text-anchor=\"end\">{}</text><rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\"/><text x=\"{:.1}\" y=\"{line:.1}\">{}</text>",
            LABELS - 8.0,
            escaped(&label.replace(['_', '-'], " ")),
            top + 3.0,
            LINE - 6.0,
            LABELS + length + 6.0,
            shown(*value, is_money)
        ));
        top += LINE;
    }
    svg(top, &drawn)
}

/// Draws values of days as columns, with the first and the last day and the greatest value.
fn columns(rows: &[(&str, f64)], is_money: bool) -> String {
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
    let mut drawn = String::new();
    let mut left = 0.0;
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let step = WIDTH / f64::from(count.max(1));
    for (day, value) in rows {
        let height = if most > 0.0 {
            value / most * HEIGHT
        } else {
            0.0
        };
        drawn.push_str(&format!(
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}: {}</title></rect>",
            LINE + HEIGHT - height,
            (step * 0.8).min(40.0),
            escaped(*day),
            shown(*value, is_money)
        ));
        left += step;
    }
    let first = rows.first().map_or("", |row| row.0);
    let last = rows.last().map_or("", |row| row.0);
    let bottom = LINE * 2.0 + HEIGHT - 6.0;
    drawn.push_str(&format!(
        "<text x=\"0\" y=\"{:.0}\">at most {}</text><text x=\"0\" y=\"{bottom:.0}\">{}</text><text x=\"{WIDTH}\" y=\"{bottom:.0}\" text-anchor=\"end\">{}</text>",
        LINE - 8.0,
        shown(most, is_money),
        escaped(first),
        if rows.len() > 1 { escaped(last) } else { "".into() }
    ));
    svg(LINE * 2.0 + HEIGHT, &drawn)
}

fn svg(height: f64, drawn: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" aria-hidden=\"true\">{drawn}</svg>")
}

/// Draws figures as a chart that says its values to screen readers; nothing where there are no figures.
fn chart(figures: &Map<String, Value>, is_money: bool, is_daily: bool, caption: &str) -> String {
    let mut rows: Vec<(&str, f64)> = figures
        .iter()
        .filter_map(|(label, value)| Some((label.as_str(), value.as_f64()?)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    if !is_daily {
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    let said: Vec<String> = rows
        .iter()
        .map(|(label, value)| format!("{label} {}", shown(*value, is_money)))
        .collect();
    let mut caption = caption.to_owned();
    if !is_daily && rows.len() > BARS {
        caption.push_str(&format!(", the first {BARS} of {}", rows.len()));
        rows.truncate(BARS);
    }
    let drawing = if is_daily {
        columns(&rows, is_money)
    } else {
        bars(&rows, is_money)
    };
    format!(
        "<figure><figcaption>{}</figcaption><div role=\"img\" aria-label=\"{}\">{drawing}</div></figure>\n",
        escaped(&caption),
        attribute(&said.join(", "))
    )
}

/// Returns the values of all days of the period of some figures, 0 where there is none; `None` when the period cannot be read.
fn every_day(values: &Map<String, Value>, figures: &Value) -> Option<Map<String, Value>> {
    let day = |name: &str| -> Option<NaiveDate> { figures[name].as_str()?.get(..10)?.parse().ok() };
    let (from, to) = (day("from")?, day("to")?);
    let days = from.iter_days().take_while(|day| *day <= to);
    let value = |day: NaiveDate| {
        let day = day.to_string();
        let value = values.get(&day).cloned().unwrap_or_else(|| 0.0.into());
        (day, value)
    };
    Some(days.map(value).collect())
}

/// Content security policy under which the page loads nothing.
/// It is also in the page itself, because a browser that prints the page reads it from a file, without headers.
pub const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Returns the page of a report, without its citations, which lead nowhere on paper.
///
/// # Errors
/// When the row is damaged.
pub fn page(report: &Record) -> Result<String> {
    let body = report.body()?;
    let content = without_citations(text(&body, "content").unwrap_or_default());
    let (title, content) = headline(&content);
    let title = title.unwrap_or(&report.title);
    let day = |name: &str| text(&body, name).unwrap_or_default().to_owned();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n<main>\n<h1>{title}</h1>\n<p class=\"period\">{} to {}</p>\n{}",
        escaped(&day("period_start")),
        escaped(&day("period_end")),
        to_html(content),
        title = escaped(title),
    );
    if let Some(figures) = body.get("figures") {
        let drawn: String = CHARTS
            .iter()
            .filter_map(|(name, caption, is_money, is_daily)| {
                let values = figures[*name].as_object()?;
                let values = if *is_daily && !values.is_empty() {
                    every_day(values, figures)?
                } else {
                    values.clone()
                };
                Some(chart(&values, *is_money, *is_daily, caption))
            })
            .collect();
        if !drawn.is_empty() {
            page.push_str("<h2>Figures</h2>\n");
            page.push_str(&drawn);
        }
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn the_longest_bar_is_that_of_the_greatest_value() {
        let drawn = chart(
            &figures(json!({"done": 3, "failed": 1})),
            false,
            false,
            "Work",
        );
        assert!(drawn.contains("width=\"360.0\"") && drawn.contains("width=\"120.0\""));
        assert!(drawn.contains("aria-label=\"done 3, failed 1\""), "{drawn}");
    }

    #[test]
    fn labels_are_text() {
        let drawn = chart(&figures(json!({"<b>\"x": 1})), false, false, "<script>");
        assert!(drawn.contains("&lt;b&gt;\"x</text>"), "{drawn}");
        assert!(
            drawn.contains("&lt;script&gt;") && drawn.contains("&quot;x 1\""),
            "{drawn}"
        );
    }

    #[test]
    fn days_without_a_value_are_zero() {
        let period = json!({"from": "2026-02-27T10:00:00Z", "to": "2026-03-01T10:00:00Z"});
        let all = every_day(&figures(json!({"2026-02-28": 0.5})), &period);
        let expected = json!({"2026-02-27": 0.0, "2026-02-28": 0.5, "2026-03-01": 0.0});
        assert_eq!(all, expected.as_object().cloned());
    }

    #[test]
    fn figures_without_values_have_no_chart() {
        assert_eq!(chart(&figures(json!({})), true, false, "Cost"), "");
        let zero = chart(&figures(json!({"2026-04-01": 0.0})), true, true, "Cost");
        assert!(
            zero.contains("height=\"0.0\"") && !zero.contains("NaN"),
            "{zero}"
        );
    }
}
