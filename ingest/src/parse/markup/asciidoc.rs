//! `AsciiDoc` as Markdown.

pub(super) fn asciidoc(source: &str) -> (Option<String>, String) {
    let (mut out, mut title) = (Vec::new(), None);
    let (mut fence, mut table): (Option<String>, Option<Vec<Vec<String>>>) = (None, None);
    let mut columns = 0;
    for line in source.lines() {
        let trimmed = line.trim();
        if let Some(open) = &fence {
            if trimmed == open {
                out.push("```".to_owned());
                fence = None;
            } else {
                out.push(line.to_owned());
            }
            continue;
        }
        if trimmed == "|===" {
            match table.take() {
                Some(rows) => {
                    out.extend(["".to_owned(), markdown_table(&rows), "".to_owned()]);
                }
                None => {
                    table = Some(Vec::new());
                    columns = 0;
                }
            }
            continue;
        }
        if let Some(rows) = &mut table {
            let cells: Vec<String> = split_cells(trimmed);
            if cells.is_empty() {
                continue;
            }
            if columns == 0 {
                columns = cells.len();
            }
            for cell in cells {
                match rows.last_mut().filter(|r| r.len() < columns) {
                    Some(row) => row.push(cell),
                    None => rows.push(vec![cell]),
                }
            }
            continue;
        }
        let level = trimmed.chars().take_while(|c| *c == '=').count();
        if level > 0 && level <= 6 && trimmed[level..].starts_with(' ') {
            let heading = trimmed[level..].trim();
            if level == 1 && title.is_none() {
                title = Some(heading.to_owned());
            }
            out.extend([
                String::new(),
                format!("{} {heading}", "#".repeat(level)),
                String::new(),
            ]);
        } else if matches!(trimmed, "----" | "...." | "```") || trimmed.starts_with("```") {
            out.push("```".to_owned());
            fence = Some(
                if trimmed.starts_with("```") {
                    "```"
                } else {
                    trimmed
                }
                .to_owned(),
            );
        } else if trimmed.starts_with("//")
            || is_attribute(trimmed)
            || matches!(trimmed, "====" | "****" | "____" | "--" | "'''" | "+")
        {
            // Comments, settings and block delimiters.
        } else if trimmed.starts_with('[') && trimmed.ends_with(']') && !trimmed.contains(' ') {
            // Attributes of the following block.
        } else if let Some(caption) = trimmed
            .strip_prefix('.')
            .filter(|c| c.starts_with(char::is_alphanumeric))
        {
            out.extend([String::new(), caption.to_owned(), String::new()]);
        } else {
            let marks = trimmed
                .chars()
                .take_while(|c| matches!(c, '*' | '.'))
                .count();
            if marks > 0 && trimmed[marks..].starts_with(' ') {
                let marker = if trimmed.starts_with('.') { "1." } else { "-" };
                out.push(format!(
                    "{}{marker} {}",
                    "    ".repeat(marks - 1),
                    trimmed[marks..].trim()
                ));
            } else if trimmed.starts_with("image::") || trimmed.starts_with("include::") {
            } else {
                out.push(line.to_owned());
            }
        }
    }
    (title, out.join("\n"))
}

fn is_attribute(line: &str) -> bool {
    line.strip_prefix(':')
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '))
}

/// Returns the text of each cell of `|a |b` or `2+|a`.
fn split_cells(line: &str) -> Vec<String> {
    let mut parts = line.split('|');
    parts.next();
    let mut cells: Vec<String> = parts.map(|p| p.trim().to_owned()).collect();
    // The text before the next bar may be a span of that cell.
    let count = cells.len();
    for cell in cells.iter_mut().take(count.saturating_sub(1)) {
        if let Some((kept, last)) = cell.rsplit_once(' ')
            && last.ends_with('+')
            && last
                .trim_end_matches('+')
                .trim_start_matches('.')
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.')
        {
            *cell = kept.trim().to_owned();
        }
    }
    cells
}

fn markdown_table(rows: &[Vec<String>]) -> String {
    let mut writer = crate::parse::writer::Writer::default();
    writer.table(rows);
    writer.finish("").text
}
