//! Output of commands: logs, progress bars, tables.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::engine::Report;
use crate::error::{Error, Result};

/// Sends logs to standard error, as text or JSON.
pub(super) fn log(config: &Config) -> Result<()> {
    // qdrant-edge warns at every start about flags that only its server sets.
    // async-imap traces passwords and mail.
    let mut quieted = config.log.clone();
    for (module, level) in [("qdrant_edge", "error"), ("async_imap", "warn")] {
        if !config.log.contains(module) {
            quieted.push_str(&format!(",{module}={level}"));
        }
    }
    let filter = EnvFilter::try_new(quieted)
        .map_err(|e| Error::invalid("config_invalid", format!("log: {e}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let outcome = if config.log_format == "json" {
        builder.json().flatten_event(true).try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init()
    };
    outcome.map_err(|e| Error::internal("cannot set up logging").with_source(e.to_string()))
}

/// Returns a progress bar on standard error; hidden with JSON output and without a terminal.
pub(super) fn bar(total: u64, json: bool, template: &str) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows downloads, one bar per file; without a terminal, one line per file.
pub(super) fn downloads(json: bool) -> Report {
    let current: Mutex<Option<(String, ProgressBar)>> = Mutex::new(None);
    Arc::new(move |name, done, total| {
        let mut current = current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if current.as_ref().is_none_or(|(known, _)| known != name) {
            if let Some((_, bar)) = current.take() {
                bar.finish_and_clear();
            }
            if !json && !std::io::stderr().is_terminal() {
                eprintln!("downloading {name}");
            }
            let bar = bar(
                total.unwrap_or(0),
                json,
                "downloading {msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec}",
            );
            bar.set_message(name.to_owned());
            *current = Some((name.to_owned(), bar));
        }
        if let Some((_, bar)) = &*current {
            bar.set_position(done);
            if total == Some(done) {
                bar.finish_and_clear();
            }
        }
    })
}

/// Returns a text of a JSON object; empty when there is none.
pub(super) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Formats a number of bytes; empty for what is no number.
pub(super) fn bytes(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(String::new, |bytes| HumanBytes(bytes).to_string())
}

/// Asks on the terminal before something is lost.
///
/// # Errors
/// `confirmation_missing` without a terminal and without `yes`; `cancelled`.
pub(super) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::invalid(
            "confirmation_missing",
            format!("{question} Confirm with --yes"),
        ));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Error::unprocessable("cancelled", "cancelled"))
    }
}

/// Formats rows in columns; numbers are right-aligned.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        rows.iter()
            .map(|r| r[i].chars().count())
            .chain([header[i].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let numeric = |cell: &str| cell.trim_end_matches(['%', 's']).parse::<f64>().is_ok();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            if numeric(cell) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    let mut out = vec![
        line(&head),
        widths
            .iter()
            .map(|w| "-".repeat(*w))
            .collect::<Vec<_>>()
            .join("  "),
    ];
    out.extend(rows.iter().map(|r| line(r)));
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let text = table(
            &["name", "n"],
            &[
                vec!["a".to_owned(), "10".to_owned()],
                vec!["long".to_owned(), "7".to_owned()],
            ],
        );
        assert_eq!(text, "name  n\n----  --\na     10\nlong   7");
    }
}
