//! HTML tables as Markdown: spanned cells repeated where needed, multiple header rows merged, row headers.

use std::rc::Rc;

use htmd::Element;
use htmd::element_handler::{HandlerResult, Handlers};
use markup5ever_rcdom::{Node, NodeData};

use crate::parse::writer::{Writer, one_line};

/// Maximum columns and rows that a cell spans.
const MOST: usize = 1000;
/// Elements that indicate a layout table.
const BLOCKS: [&str; 14] = [
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "pre",
    "form",
    "article",
    "section",
    "blockquote",
];

/// The text of a cell, and whether it is a header.
#[derive(Debug, Clone, Default, PartialEq)]
struct Cell {
    text: String,
    header: bool,
}

/// Converts a table.
pub(super) fn handle(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let mut rows = Rows::default();
    let mut captions = String::new();
    for part in element.node.children.borrow().iter() {
        match name(part) {
            Some("caption") => {
                captions.push_str(handlers.walk_children(part).content.trim());
                captions.push_str("\n\n");
            }
            Some("thead") => rows.section(part, true),
            Some("tbody" | "tfoot") => rows.section(part, false),
            Some("tr") => rows.all.push((Rc::clone(part), false)),
            _ => {}
        }
    }
    if rows.place_blocks(element.node) {
        let mut out = captions;
        for (row, _) in &rows.all {
            for cell in cells(row) {
                let content = handlers.walk_children(&cell).content;
                let content = content.trim_matches('\n');
                if !content.trim().is_empty() {
                    out.push_str(content);
                    out.push_str("\n\n");
                }
            }
        }
        return Some(format!("\n\n{}\n\n", out.trim_end()).into());
    }
    let grid = rows.grid(handlers);
    let table = written(grid);
    Some(format!("\n\n{captions}{table}\n\n").into())
}

fn name(node: &Node) -> Option<&str> {
    match &node.data {
        NodeData::Element { name, .. } => Some(&name.local),
        NodeData::Document
        | NodeData::Doctype { .. }
        | NodeData::Text { .. }
        | NodeData::Comment { .. }
        | NodeData::ProcessingInstruction { .. } => None,
    }
}

fn attribute(node: &Node, wanted: &str) -> Option<String> {
    let NodeData::Element { attrs, .. } = &node.data else {
        return None;
    };
    let attrs = attrs.borrow();
    let found = attrs.iter().find(|a| &*a.name.local == wanted)?;
    Some(found.value.to_string())
}

fn span(node: &Node, wanted: &str) -> usize {
    let given = attribute(node, wanted).and_then(|v| v.trim().parse::<usize>().ok());
    given.unwrap_or(1).clamp(1, MOST)
}

fn cells(row: &Node) -> Vec<Rc<Node>> {
    let children = row.children.borrow();
    let cells = children
        .iter()
        .filter(|c| matches!(name(c), Some("td" | "th")));
    cells.map(Rc::clone).collect()
}

/// Returns whether there is a descendant with one of the names.
fn holds(node: &Node, names: &[&str]) -> bool {
    node.children
        .borrow()
        .iter()
        .any(|child| name(child).is_some_and(|n| names.contains(&n)) || holds(child, names))
}

/// The rows of a table, and whether each is in its head.
#[derive(Default)]
struct Rows {
    all: Vec<(Rc<Node>, bool)>,
}

impl Rows {
    fn section(&mut self, section: &Node, head: bool) {
        let rows = section.children.borrow();
        let rows = rows.iter().filter(|row| name(row) == Some("tr"));
        self.all.extend(rows.map(|row| (Rc::clone(row), head)));
    }

    /// Returns whether the table is used for layout only.
    fn place_blocks(&self, table: &Node) -> bool {
        let presentation = attribute(table, "role")
            .is_some_and(|role| matches!(role.as_str(), "presentation" | "none"));
        let headers = self
            .all
            .iter()
            .any(|(row, head)| *head || cells(row).iter().any(|c| name(c) == Some("th")));
        let single = self.all.iter().all(|(row, _)| cells(row).len() <= 1);
        presentation && !headers
            || single
            || !headers && self.all.iter().any(|(row, _)| holds(row, &BLOCKS))
    }

    /// Returns the grid of cells: a value that spans several columns is in the first of them, a header in all of them.
    fn grid(&self, handlers: &dyn Handlers) -> Vec<(Vec<Cell>, bool)> {
        let mut grid: Vec<(Vec<Cell>, bool)> = Vec::with_capacity(self.all.len());
        // Cells that span down from previous rows, by column, with the remaining rows.
        let mut covered: Vec<Option<(usize, Cell)>> = Vec::new();
        for (row, head) in &self.all {
            let mut out: Vec<Cell> = Vec::new();
            let mut next = cells(row).into_iter().peekable();
            loop {
                let column = out.len();
                if let Some((left, cell)) = covered.get_mut(column).and_then(Option::take) {
                    out.push(cell.clone());
                    if left > 1
                        && let Some(place) = covered.get_mut(column)
                    {
                        *place = Some((left - 1, cell));
                    }
                    continue;
                }
                let Some(node) = next.next() else {
                    // Columns after a gap may still be covered by a span.
                    if covered.iter().skip(column).any(Option::is_some) && column < MOST {
                        out.push(Cell::default());
                        continue;
                    }
                    break;
                };
                let text = one_line(&handlers.walk_children(&node).content);
                let header = name(&node) == Some("th");
                let cell = Cell { text, header };
                let (columns, rows) = (span(&node, "colspan"), span(&node, "rowspan"));
                for nth in 0..columns {
                    let shown = if nth == 0 || header {
                        cell.clone()
                    } else {
                        Cell {
                            header,
                            ..Cell::default()
                        }
                    };
                    if rows > 1 {
                        if covered.len() <= out.len() {
                            covered.resize(out.len() + 1, None);
                        }
                        if let Some(place) = covered.get_mut(out.len()) {
                            *place = Some((rows - 1, shown.clone()));
                        }
                    }
                    out.push(shown);
                    if out.len() >= MOST {
                        break;
                    }
                }
                if out.len() >= MOST {
                    break;
                }
            }
            grid.push((out, *head));
        }
        grid
    }
}

/// Returns the Markdown of a table.
fn written(mut grid: Vec<(Vec<Cell>, bool)>) -> String {
    grid.retain(|(row, _)| row.iter().any(|c| !c.text.trim().is_empty()));
    let columns = grid.iter().map(|(row, _)| row.len()).max().unwrap_or(0);
    let heads = grid
        .iter()
        .take_while(|(row, head)| *head || row.iter().all(|c| c.header || c.text.is_empty()))
        .count();
    // If all rows are headers, they also contain values.
    let heads = if heads == grid.len() {
        heads.min(1)
    } else {
        heads
    };
    let heads = match heads {
        0 => usize::from(names_columns(&grid)),
        some => some,
    };
    let mut header: Vec<String> = vec![String::new(); columns];
    for (row, _) in grid.iter().take(heads) {
        for (into, cell) in header.iter_mut().zip(row) {
            if !cell.text.is_empty() && *into != cell.text {
                if !into.is_empty() {
                    into.push(' ');
                }
                into.push_str(&cell.text);
            }
        }
    }
    let mut rows = vec![header];
    let values = grid.into_iter().skip(heads);
    rows.extend(values.map(|(row, _)| row.into_iter().map(|cell| cell.text).collect()));
    let mut writer = Writer::default();
    writer.table_with_header(&rows);
    writer.finish("").text
}

/// Returns whether the first row of a table without marked headers is its header: words above columns of numbers.
fn names_columns(grid: &[(Vec<Cell>, bool)]) -> bool {
    let Some(((first, _), rest)) = grid.split_first() else {
        return false;
    };
    let number = |cell: &Cell| {
        let text = cell.text.trim();
        text.starts_with(|c: char| c.is_ascii_digit() || "+-−$€£".contains(c))
            && text.chars().any(|c| c.is_ascii_digit())
    };
    let marked = first.iter().any(|c| c.header);
    let full = first.iter().all(|c| !c.text.is_empty() && !number(c));
    let numbers_below = (0..first.len()).any(|column| {
        let mut below = rest
            .iter()
            .filter_map(|(row, _)| row.get(column))
            .peekable();
        below.peek().is_some() && below.all(|cell| number(cell) || cell.text.is_empty())
    });
    !marked && full && first.len() > 2 && rest.len() > 1 && numbers_below
}

#[cfg(test)]
mod tests {
    use super::super::to_markdown;

    fn markdown(html: &str) -> String {
        to_markdown(html).expect("reads").trim().to_owned()
    }

    #[test]
    fn rows_that_begin_with_headers_keep_them() {
        assert_eq!(
            markdown("<table><thead><tr><th>City<th>People<tbody><tr><th scope=row>Porto<td>232"),
            "| City | People |\n| --- | --- |\n| Porto | 232 |"
        );
        assert_eq!(
            markdown("<table><tr><th>Formula<td>CuO<tr><th>Hardness<td>3.5</table>"),
            "|  |  |\n| --- | --- |\n| Formula | CuO |\n| Hardness | 3.5 |"
        );
    }

    #[test]
    fn headers_over_headers_become_one() {
        assert_eq!(
            markdown(
                "<table><tr><th colspan=2>North<th rowspan=2>Sum<tr><th>Q1<th>Q2<tr><td>1<td>2<td>3</table>"
            ),
            "| North Q1 | North Q2 | Sum |\n| --- | --- | --- |\n| 1 | 2 | 3 |"
        );
    }

    #[test]
    fn a_cell_stands_in_every_row_that_it_covers() {
        assert_eq!(
            markdown(
                "<table><tr><th>Day<th>Shift<th>Who<tr><td rowspan=2>Mon<td>early<td>A<tr><td>late<td>B|C</table>"
            ),
            "| Day | Shift | Who |\n| --- | --- | --- |\n| Mon | early | A |\n| Mon | late | B\\|C |"
        );
    }

    #[test]
    fn tables_that_place_blocks_are_no_tables() {
        assert_eq!(
            markdown(
                "<table><tr><td><h2>News</h2><p>First.</p><td><table><tr><td>a<td>b</table></table>"
            ),
            "## News\n\nFirst.\n\n|  |  |\n| --- | --- |\n| a | b |"
        );
    }

    #[test]
    fn words_above_numbers_name_the_columns() {
        assert_eq!(
            markdown(
                "<table><tr><td>Tree<td>Age<td>Height<tr><td>Oak<td>90<td>20 m<tr><td>Ash<td>40<td>15 m</table>"
            ),
            "| Tree | Age | Height |\n| --- | --- | --- |\n| Oak | 90 | 20 m |\n| Ash | 40 | 15 m |"
        );
    }
}
