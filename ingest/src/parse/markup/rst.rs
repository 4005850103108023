//! reStructuredText as Markdown.

/// Converts reStructuredText. Titles are underlined, or over- and underlined; each kind of line is a level, in order of appearance.
pub(super) fn rst(source: &str) -> (Option<String>, String) {
    let lines: Vec<&str> = source.lines().collect();
    let (mut out, mut kinds): (Vec<String>, Vec<(char, bool)>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let overlined = ruler(line).is_some()
            && lines.get(at + 2).is_some_and(|l| ruler(l) == ruler(line))
            && !next.trim().is_empty();
        let underlined = !line.trim().is_empty()
            && !line.starts_with(' ')
            && ruler(line).is_none()
            && ruler(next).is_some()
            && next.trim_end().chars().count() + 2 >= line.trim_end().chars().count();
        if overlined || underlined {
            let kind = (
                ruler(if overlined { line } else { next }).unwrap_or('='),
                overlined,
            );
            let level = kinds.iter().position(|k| *k == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            let title = if overlined { next } else { line };
            out.push(String::new());
            out.push(format!(
                "{} {}",
                "#".repeat((level + 1).min(6)),
                plain_rst(title.trim())
            ));
            out.push(String::new());
            at += if overlined { 3 } else { 2 };
        } else if let Some((name, argument)) = directive(line) {
            at = directive_block(&lines, at, name, argument, &mut out);
        } else if line.trim_end().ends_with("::") && !line.trim_start().starts_with("..") {
            // An indented literal block follows.
            let text = line.trim_end();
            let kept = text.strip_suffix("::").unwrap_or(text);
            if !kept.trim().is_empty() {
                out.push(format!("{}:", plain_rst(kept)));
            }
            at = literal(&lines, at + 1, "", &mut out);
        } else if is_rst_comment(line) {
            at += 1;
            while at < lines.len()
                && (lines[at].starts_with(' ')
                    || (lines[at].is_empty()
                        && lines.get(at + 1).is_some_and(|l| l.starts_with(' '))))
            {
                at += 1;
            }
        } else {
            out.push(plain_rst(line));
            at += 1;
        }
    }
    (None, out.join("\n"))
}

/// Returns the character of a line that consists of one repeated punctuation mark.
fn ruler(line: &str) -> Option<char> {
    let line = line.trim_end();
    let first = line.chars().next()?;
    (first.is_ascii_punctuation() && line.chars().count() >= 2 && line.chars().all(|c| c == first))
        .then_some(first)
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix(".. ")?;
    let (name, argument) = rest.split_once("::")?;
    let name = name.rsplit(' ').next().unwrap_or(name);
    (!name.is_empty() && !rest.starts_with('_')).then_some((name, argument.trim()))
}

fn is_rst_comment(line: &str) -> bool {
    let line = line.trim_start();
    line == ".." || (line.starts_with(".. ") && !line.starts_with(".. ["))
}

/// Converts a directive: code becomes a fenced block, notes and the like their text; settings and images are dropped.
fn directive_block(
    lines: &[&str],
    at: usize,
    name: &str,
    argument: &str,
    out: &mut Vec<String>,
) -> usize {
    match name {
        "code" | "code-block" | "sourcecode" | "parsed-literal" | "math" => {
            literal(lines, at + 1, argument, out)
        }
        _ => {
            let mut next = at + 1;
            while next < lines.len()
                && (lines[next].trim().is_empty() || lines[next].starts_with(' '))
            {
                next += 1;
            }
            let inside: Vec<String> = lines[at + 1..next]
                .iter()
                .map(|l| l.trim())
                .filter(|l| !(l.starts_with(':') && l[1..].contains(':')))
                .map(plain_rst)
                .collect();
            let silent = matches!(
                name,
                "image"
                    | "figure"
                    | "include"
                    | "toctree"
                    | "contents"
                    | "raw"
                    | "meta"
                    | "highlight"
                    | "index"
            );
            if !silent && !argument.is_empty() {
                out.push(plain_rst(argument));
                out.push(String::new());
            }
            if !matches!(name, "image" | "include" | "toctree" | "raw" | "meta") {
                out.extend(inside);
            }
            out.push(String::new());
            next
        }
    }
}

/// Writes an indented block as code; returns the line after it.
fn literal(lines: &[&str], mut at: usize, language: &str, out: &mut Vec<String>) -> usize {
    let start = at;
    while at < lines.len() && (lines[at].trim().is_empty() || lines[at].starts_with([' ', '\t'])) {
        at += 1;
    }
    let block: Vec<&str> = lines[start..at]
        .iter()
        .copied()
        .skip_while(|l| l.trim().is_empty() || l.trim_start().starts_with(':'))
        .collect();
    let indent = block
        .iter()
        .filter(|l| !l.trim().is_empty())
        .map(|l| l.len() - l.trim_start().len())
        .min()
        .unwrap_or(0);
    let code: Vec<&str> = block
        .iter()
        .map(|l| l.get(indent..).unwrap_or(""))
        .collect();
    let code = code.join("\n");
    if !code.trim().is_empty() {
        out.push(format!("\n```{language}\n{}\n```\n", code.trim_end()));
    }
    at
}

/// Replaces roles and references by their text: `` :func:`x` `` and `` `text <target>`_ ``.
fn plain_rst(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let literal = rest[start..].starts_with("``");
        let ticks = if literal { 2 } else { 1 };
        let Some(length) = rest[start + ticks..].find(&"`".repeat(ticks)) else {
            break;
        };
        let mut before = &rest[..start];
        if !literal
            && let Some(role) = before
                .strip_suffix(':')
                .and_then(|b| b.rfind(':').map(|at| (b, at)))
            && role.0[role.1 + 1..]
                .chars()
                .all(|c| c.is_alphanumeric() || "-+.:_".contains(c))
        {
            before = &before[..role.1];
        }
        out.push_str(before);
        let inside = &rest[start + ticks..start + ticks + length];
        let shown = match inside.split_once(" <") {
            Some((shown, _)) if !literal => shown,
            _ => inside,
        };
        if literal {
            out.push_str(&format!("`{shown}`"));
        } else {
            out.push_str(shown.trim_start_matches(['~', '!']));
        }
        rest = &rest[start + ticks + length + ticks..];
        rest = rest
            .strip_prefix("__")
            .or_else(|| rest.strip_prefix('_'))
            .unwrap_or(rest);
    }
    out.push_str(rest);
    out
}
