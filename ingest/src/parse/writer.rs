//! Writes the normalised text of formats other than Markdown: Markdown blocks, with pages.

use super::markdown;
use crate::document::{Document, Page, normalise};

/// Maximum columns of a written table; wider sheets are truncated with a warning.
const MAX_COLUMNS: usize = 256;

/// A text built block by block.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    pages: Vec<Page>,
    warnings: Vec<String>,
    /// Whether the last block was a list item, which the next item continues.
    in_list: bool,
}

impl Writer {
    /// Writes a paragraph, or any Markdown, after a blank line. Ignores blank text.
    pub(super) fn block(&mut self, text: &str) {
        let text = normalise(text);
        let text = text.trim_matches('\n').trim_end();
        if text.trim().is_empty() {
            return;
        }
        self.gap("\n\n");
        self.text.push_str(text);
        self.in_list = false;
    }

    /// Writes a paragraph whose line breaks are insignificant.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.block(&one_line(text));
    }

    /// Writes a heading; levels above 6 become 6.
    pub(super) fn heading(&mut self, level: usize, title: &str) {
        let title = one_line(title);
        if !title.is_empty() {
            self.block(&format!("{} {title}", "#".repeat(level.clamp(1, 6))));
        }
    }

    /// Writes a list item at nesting level `depth`.
    pub(super) fn item(&mut self, depth: usize, marker: &str, text: &str) {
        let text = one_line(&normalise(text));
        if text.is_empty() {
            return;
        }
        self.gap(if self.in_list { "\n" } else { "\n\n" });
        self.text.push_str(&"    ".repeat(depth.min(8)));
        self.text.push_str(marker);
        self.text.push(' ');
        self.text.push_str(&text);
        self.in_list = true;
    }

    /// Writes a code block.
    pub(super) fn code(&mut self, language: &str, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let fence = if text.contains("```") { "~~~~" } else { "```" };
        self.block(&format!("{fence}{language}\n{}\n{fence}", text.trim_end()));
    }

    /// Writes a table; its first row with a value is the header. Short rows are padded.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        let first = rows
            .iter()
            .position(|row| row.iter().any(|c| !c.trim().is_empty()));
        self.table_with_header(rows.get(first.unwrap_or(0)..).unwrap_or_default());
    }

    /// Writes a table whose first row is the header, even when that is empty.
    pub(super) fn table_with_header(&mut self, rows: &[Vec<String>]) {
        let used = |row: &Vec<String>| {
            row.iter()
                .rposition(|c| !c.trim().is_empty())
                .map_or(0, |i| i + 1)
        };
        let columns = rows.iter().map(used).max().unwrap_or(0);
        if columns == 0 {
            return;
        }
        if columns > MAX_COLUMNS {
            self.warn(format!(
                "a table has {columns} columns; the first {MAX_COLUMNS} were kept"
            ));
        }
        let columns = columns.min(MAX_COLUMNS);
        self.gap("\n\n");
        let filled = rows
            .iter()
            .enumerate()
            .filter(|(n, row)| *n == 0 || used(row) > 0);
        for (number, (_, row)) in filled.enumerate() {
            if number > 0 {
                self.text.push('\n');
            }
            for column in 0..columns {
                self.text.push_str("| ");
                let cell = row.get(column).map_or("", String::as_str);
                if !cell.is_empty() {
                    self.text
                        .push_str(&one_line(&normalise(cell)).replace('|', "\\|"));
                }
                self.text.push(' ');
            }
            self.text.push('|');
            if number == 0 {
                self.text.push('\n');
                self.text.push_str(&"| --- ".repeat(columns));
                self.text.push('|');
            }
        }
        self.in_list = false;
    }

    /// Starts a page.
    pub(super) fn page(&mut self, number: u32, label: Option<String>) {
        self.close_page();
        self.pages.push(Page {
            start: self.text.len(),
            end: usize::MAX,
            number,
            label,
        });
        self.in_list = false;
    }

    /// Adds a warning about content that was left out or guessed.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns the document, with its headings and tables.
    pub(super) fn finish(mut self, engine: &str) -> Document {
        self.close_page();
        let (headings, tables) = markdown::structure(&self.text);
        let title = headings
            .iter()
            .find(|h| h.level == 1)
            .map(|h| h.title.clone());
        Document {
            title,
            headings,
            tables,
            pages: self.pages,
            warnings: self.warnings,
            engine: engine.to_owned(),
            text: self.text,
            ..Document::default()
        }
    }

    fn gap(&mut self, gap: &str) {
        if !self.text.is_empty() {
            self.text.push_str(gap);
        }
        // The page starts with its own text, not with the preceding gap.
        if let Some(page) = self.pages.last_mut().filter(|p| p.end == usize::MAX)
            && page.start + gap.len() == self.text.len()
        {
            page.start = self.text.len();
        }
    }

    fn close_page(&mut self) {
        if let Some(page) = self.pages.last_mut().filter(|p| p.end == usize::MAX) {
            page.end = self.text.len();
            if page.start >= page.end {
                self.pages.pop();
            }
        }
    }
}

/// Replaces white space of any kind by single spaces.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lists_tables_and_pages_become_spans_over_one_text() {
        let mut writer = Writer::default();
        writer.page(1, None);
        writer.heading(1, "Plan");
        writer.item(0, "-", "first\nline");
        writer.item(1, "-", "inner");
        writer.page(2, Some("ii".to_owned()));
        writer.page(3, Some("iii".to_owned()));
        writer.table(&[
            vec!["a".into(), "b|c".into()],
            vec!["1".into()],
            vec![],
            vec!["2".into(), "x\ny".into(), " ".into()],
        ]);
        let document = writer.finish("test");
        assert_eq!(
            document.text,
            "# Plan\n\n- first line\n    - inner\n\n| a | b\\|c |\n| --- | --- |\n| 1 |  |\n| 2 | x y |"
        );
        assert_eq!(document.title.as_deref(), Some("Plan"));
        let pages: Vec<_> = document
            .pages
            .iter()
            .map(|p| {
                (
                    p.number,
                    p.label.as_deref(),
                    document.text[p.start..p.end].chars().next(),
                )
            })
            .collect();
        assert_eq!(pages, [(1, None, Some('#')), (3, Some("iii"), Some('|'))]);
        let table = &document.tables[0];
        assert_eq!(
            &document.text[table.start..table.body],
            "| a | b\\|c |\n| --- | --- |\n"
        );
        assert_eq!(table.rows.len(), 2);
        assert_eq!(
            &document.text[table.rows[1].0..table.rows[1].1].trim_end(),
            &"| 2 | x y |"
        );
    }
}
