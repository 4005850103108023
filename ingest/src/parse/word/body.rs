//! Blocks of a Word document: paragraphs, headings, list items, and tables.

use super::inline::Line;
use super::numbering::Marker;
use super::{Reader, is_prompt, styles};
use crate::parse::ooxml::{
    Block, MAX_REPEATED, bullet, child, equations, flat, path, switch, truth, val,
};
use crate::parse::tree::Element;

/// Maximum columns that a cell spans, or a row has.
const MAX_COLUMNS: usize = 300;
/// Maximum length of a heading in characters; longer paragraphs are text, whatever their style.
const MAX_HEADING: usize = 200;

struct Cell {
    text: String,
    span: usize,
    /// Whether the cell is merged with the one above it.
    continued: bool,
}

impl Reader<'_> {
    /// Parses a block-level element.
    pub(super) fn block(&mut self, element: &Element, out: &mut Vec<Block>) {
        match element.name.as_str() {
            "p" => self.paragraph(element, out),
            "tbl" => self.table(element, out),
            "sdt" => {
                if !is_prompt(element)
                    && let Some(content) = child(element, "sdtContent")
                {
                    self.blocks(content, out);
                }
            }
            "customXml" | "smartTag" | "ins" | "moveTo" | "sdtContent" => self.blocks(element, out),
            "AlternateContent" => {
                let before = out.len();
                for choice in element.elements() {
                    if out.len() == before {
                        self.blocks(choice, out);
                    }
                }
            }
            "oMath" | "oMathPara" => self.push(out, Block::Paragraph(equations::marked(element))),
            "altChunk" => self.warn("an embedded document was skipped"),
            _ => {}
        }
    }

    pub(super) fn blocks(&mut self, parent: &Element, out: &mut Vec<Block>) {
        for element in parent.elements() {
            self.block(element, out);
        }
    }

    /// Writes pending content that expected another paragraph.
    pub(super) fn end(&mut self, out: &mut Vec<Block>) {
        let rest = std::mem::take(&mut self.pending);
        self.push(out, Block::Paragraph(rest));
    }

    fn push(&mut self, out: &mut Vec<Block>, block: Block) {
        if !block.flat().trim().is_empty() {
            out.push(block);
        }
    }

    fn paragraph(&mut self, element: &Element, out: &mut Vec<Block>) {
        let properties = child(element, "pPr");
        let style = properties
            .and_then(|p| val(p, "pStyle"))
            .unwrap_or_default();
        let level = match properties.and_then(styles::outline) {
            Some(level) => (level < 9).then_some(level + 1),
            None => self.styles.heading(style),
        };
        let mut line = Line::new(level.is_some());
        let waiting = std::mem::take(&mut self.pending);
        self.inline(element, &mut line);
        self.fields.end_paragraph();
        let (mut text, after) = line.finish();
        if self.in_margin && text.page && is_only_page(&text.text) {
            text.text.clear();
        }
        let text = waiting + &text.text;
        let mark = properties.and_then(|p| child(p, "rPr"));
        if mark.is_some_and(|m| child(m, "del").is_some() || child(m, "moveFrom").is_some()) {
            self.pending = text;
            out.extend(after);
            return;
        }
        // A drop cap is a paragraph of its own.
        let frame = properties.and_then(|p| child(p, "framePr"));
        if frame
            .and_then(|f| f.attribute("dropCap"))
            .is_some_and(truth)
        {
            self.pending = text.trim().to_owned();
            out.extend(after);
            return;
        }
        let item = self.item(properties, style);
        let block = match (level, item) {
            (Some(level), item) if text.chars().count() <= MAX_HEADING => {
                let text = match item {
                    Some((_, Marker::Number(number))) if !text.trim().is_empty() => {
                        format!("{number} {text}")
                    }
                    Some(_) | None => text,
                };
                Block::Heading { level, text }
            }
            (_, Some((depth, Marker::Bullet(tick)))) => Block::Item {
                depth,
                marker: bullet(tick),
                text,
            },
            (_, Some((depth, Marker::Number(marker)))) => Block::Item {
                depth,
                marker,
                text,
            },
            (_, Some((_, Marker::None)) | None) => Block::Paragraph(text),
        };
        let empty = match &block {
            Block::Heading { text, .. } | Block::Paragraph(text) | Block::Item { text, .. } => {
                text.trim().is_empty()
            }
            Block::Table(_) => false,
        };
        if !empty {
            out.push(block);
        }
        out.extend(after);
    }

    /// Returns the list level and the marker of a paragraph; `None` outside of lists.
    fn item(&mut self, properties: Option<&Element>, style: &str) -> Option<(usize, Marker)> {
        let direct = properties.and_then(|p| child(p, "numPr"));
        let parse = |level: &str| level.parse::<usize>().ok();
        let by_style = self.styles.list(style);
        let list = direct
            .and_then(|d| val(d, "numId"))
            .or_else(|| by_style.map(|(list, _, _)| list))?
            .to_owned();
        let level = direct
            .and_then(|d| val(d, "ilvl"))
            .and_then(parse)
            .or_else(|| {
                let (_, level, named_by) = by_style?;
                self.numbering.level_of_style(&list, named_by).or(level)
            })
            .unwrap_or(0);
        if list == "0" {
            return None;
        }
        let marker = self.numbering.next(&list, level, &self.styles)?;
        Some((level.min(8), marker))
    }

    fn table(&mut self, table: &Element, out: &mut Vec<Block>) {
        let mut rows: Vec<(Vec<Cell>, bool)> = Vec::new();
        let mut contents = Vec::new();
        self.rows(table, &mut rows, &mut contents);
        let caption = path(table, &["tblPr", "tblCaption"]).and_then(|c| c.attribute("val"));
        if let Some(caption) = caption {
            self.push(out, Block::Paragraph(caption.to_owned()));
        }
        // A table with one cell is a frame around text.
        if let [(row, _)] = rows.as_slice()
            && row.len() == 1
        {
            out.extend(contents);
            return;
        }
        let headers = rows.iter().take_while(|(_, header)| *header).count();
        let joined = if headers > 1 && headers < rows.len() {
            headers
        } else {
            0
        };
        let body = rows.split_off(joined);
        let mut lines = Vec::new();
        if joined > 0 {
            lines.push(joined_headers(rows));
        }
        for (row, _) in body {
            let mut line: Vec<String> = Vec::new();
            for cell in row {
                let above = lines.last().and_then(|l: &Vec<String>| l.get(line.len()));
                let repeated = above.filter(|a| {
                    cell.continued && cell.text.trim().is_empty() && a.len() <= MAX_REPEATED
                });
                let text = repeated.cloned().unwrap_or(cell.text);
                line.push(text);
                line.resize(line.len() + cell.span - 1, String::new());
            }
            line.truncate(MAX_COLUMNS);
            lines.push(line);
        }
        if lines.iter().flatten().any(|cell| !cell.trim().is_empty()) {
            out.push(Block::Table(lines));
        }
    }

    /// Parses the rows of a table; `contents` receives the blocks of all cells.
    fn rows(
        &mut self,
        parent: &Element,
        rows: &mut Vec<(Vec<Cell>, bool)>,
        contents: &mut Vec<Block>,
    ) {
        for element in parent.elements() {
            match element.name.as_str() {
                "tr" => {
                    let properties = child(element, "trPr");
                    if properties.is_some_and(|p| child(p, "del").is_some()) {
                        continue;
                    }
                    let mut cells = Vec::new();
                    let skipped = properties
                        .and_then(|p| val(p, "gridBefore"))
                        .and_then(|n| n.parse::<usize>().ok())
                        .unwrap_or(0);
                    if skipped > 0 {
                        cells.push(Cell {
                            text: String::new(),
                            span: skipped.min(MAX_COLUMNS),
                            continued: false,
                        });
                    }
                    self.cells(element, &mut cells, contents);
                    let header = properties.and_then(|p| switch(p, "tblHeader")) == Some(true);
                    rows.push((cells, header));
                }
                "sdt" if is_prompt(element) => {}
                "sdt" | "sdtContent" | "customXml" | "ins" | "moveTo" => {
                    self.rows(element, rows, contents);
                }
                _ => {}
            }
        }
    }

    fn cells(&mut self, parent: &Element, cells: &mut Vec<Cell>, contents: &mut Vec<Block>) {
        for element in parent.elements() {
            match element.name.as_str() {
                "tc" if cells.len() < MAX_COLUMNS => {
                    let properties = child(element, "tcPr");
                    let merge = properties.and_then(|p| child(p, "vMerge"));
                    let covered = properties.and_then(|p| val(p, "hMerge")) == Some("continue");
                    let deleted = properties.is_some_and(|p| child(p, "cellDel").is_some());
                    let mut blocks = Vec::new();
                    if !covered && !deleted {
                        self.blocks(element, &mut blocks);
                        self.end(&mut blocks);
                    }
                    let span = properties
                        .and_then(|p| val(p, "gridSpan"))
                        .and_then(|n| n.parse::<usize>().ok())
                        .unwrap_or(1);
                    cells.push(Cell {
                        text: flat(&blocks),
                        span: span.clamp(1, MAX_COLUMNS),
                        continued: merge.is_some_and(|m| m.attribute("val") != Some("restart")),
                    });
                    contents.extend(blocks);
                }
                "sdt" if is_prompt(element) => cells.push(Cell {
                    text: String::new(),
                    span: 1,
                    continued: false,
                }),
                "sdt" | "sdtContent" | "customXml" | "ins" | "moveTo" => {
                    self.cells(element, cells, contents);
                }
                _ => {}
            }
        }
    }
}

/// Merges several header rows: the distinct texts above each column.
fn joined_headers(rows: Vec<(Vec<Cell>, bool)>) -> Vec<String> {
    let mut columns: Vec<Vec<String>> = Vec::new();
    for (row, _) in rows {
        let spread = row
            .into_iter()
            .flat_map(|cell| std::iter::repeat_n(cell.text, cell.span));
        for (column, text) in spread.take(MAX_COLUMNS).enumerate() {
            if columns.len() <= column {
                columns.resize(column + 1, Vec::new());
            }
            if let Some(words) = columns.get_mut(column)
                && !text.is_empty()
                && !words.contains(&text)
            {
                words.push(text);
            }
        }
    }
    columns.into_iter().map(|words| words.join(" ")).collect()
}

/// Returns whether a line with a page number field has no other content: `Page of`, `Seite -`.
fn is_only_page(text: &str) -> bool {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty());
    words.clone().count() <= 2 && words.map(str::len).sum::<usize>() <= 16
}
