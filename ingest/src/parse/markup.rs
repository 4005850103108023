//! Lightweight markup as Markdown: reStructuredText, `AsciiDoc`, Org and LaTeX. Syntax without a counterpart is kept as written.

use unicode_normalization::UnicodeNormalization;

use super::writer::one_line;
use super::{Input, ParseError, markdown, text};
use crate::document::{Document, normalise};

pub(super) fn parse_rst(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "rst", rst)
}

pub(super) fn parse_asciidoc(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "asciidoc", asciidoc)
}

pub(super) fn parse_org(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "org", org)
}

pub(super) fn parse_latex(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "latex", latex)
}

fn read(
    input: &Input<'_>,
    engine: &str,
    convert: fn(&str) -> (Option<String>, String),
) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let (title, converted) = convert(&normalise(&decoded));
    let mut document = markdown::from_blocks(converted.trim().to_owned(), engine);
    document.title = super::given(title).or(document.title);
    document.warnings = warnings;
    Ok(document)
}

/// Converts reStructuredText. Titles are underlined, or over- and underlined; each kind of line is a level, in order of appearance.
fn rst(source: &str) -> (Option<String>, String) {
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

fn asciidoc(source: &str) -> (Option<String>, String) {
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
    let mut writer = super::writer::Writer::default();
    writer.table(rows);
    writer.finish("").text
}

fn org(source: &str) -> (Option<String>, String) {
    let (mut out, mut title, mut in_block, mut in_drawer): (Vec<String>, _, bool, bool) =
        (Vec::new(), None, false, false);
    for line in source.lines() {
        let trimmed = line.trim();
        let lower = trimmed.to_lowercase();
        if in_block {
            if lower.starts_with("#+end_") {
                out.push("```".to_owned());
                in_block = false;
            } else {
                out.push(line.to_owned());
            }
            continue;
        }
        if in_drawer {
            in_drawer = lower != ":end:";
            continue;
        }
        let stars = line.chars().take_while(|c| *c == '*').count();
        if stars > 0 && line[stars..].starts_with(' ') {
            out.extend([
                String::new(),
                format!(
                    "{} {}",
                    "#".repeat(stars.min(6)),
                    org_title(line[stars..].trim())
                ),
                String::new(),
            ]);
        } else if let Some(text) = lower.strip_prefix("#+title:") {
            let text = trimmed[trimmed.len() - text.len()..].trim();
            title = Some(text.to_owned());
        } else if lower.starts_with("#+begin_src") || lower.starts_with("#+begin_example") {
            out.push(format!(
                "```{}",
                lower.split_whitespace().nth(1).unwrap_or_default()
            ));
            in_block = true;
        } else if lower == ":properties:" || lower == ":logbook:" {
            in_drawer = true;
        } else if trimmed.starts_with("#+") || trimmed.starts_with("# ") || trimmed == "#" {
            // Settings and comments.
        } else if trimmed.starts_with("|-") {
            out.push(line.replace('+', "|"));
        } else {
            out.push(org_links(line));
        }
    }
    (title, out.join("\n"))
}

/// Returns a headline without its leading keyword and trailing tags.
fn org_title(text: &str) -> &str {
    let text = text
        .strip_prefix("TODO ")
        .or_else(|| text.strip_prefix("DONE "))
        .unwrap_or(text);
    match text.rsplit_once(char::is_whitespace) {
        Some((title, tags)) if tags.len() > 2 && tags.starts_with(':') && tags.ends_with(':') => {
            title.trim_end()
        }
        _ => text,
    }
}

/// Replaces `[[target][text]]` by its text.
fn org_links(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("[[") {
        let Some(end) = rest[start..].find("]]") else {
            break;
        };
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..start + end];
        out.push_str(inside.split_once("][").map_or(inside, |(_, text)| text));
        rest = &rest[start + end + 2..];
    }
    out.push_str(rest);
    out
}

/// LaTeX environments with verbatim text.
const VERBATIM: [&str; 5] = ["verbatim", "lstlisting", "minted", "Verbatim", "code}"];

fn latex(source: &str) -> (Option<String>, String) {
    let mut verbatim = false;
    let without_comments: Vec<&str> = source
        .lines()
        .map(|line| {
            let begins = VERBATIM
                .iter()
                .any(|name| line.contains(&format!("\\begin{{{name}")));
            let ends = VERBATIM
                .iter()
                .any(|name| line.contains(&format!("\\end{{{name}")));
            verbatim = (verbatim || begins) && !ends;
            if verbatim && !begins {
                line
            } else {
                uncommented(line)
            }
        })
        .collect();
    let source = without_comments.join("\n");
    let title = argument(&source, "\\title").map(|t| plain_latex(&t));
    let body = match source.split_once("\\begin{document}") {
        Some((_, body)) => body.split_once("\\end{document}").map_or(body, |(b, _)| b),
        None => source.as_str(),
    };
    let mut out: Vec<String> = Vec::new();
    let mut verbatim = false;
    for line in body.lines() {
        let trimmed = line.trim();
        let at = |command: &str| {
            let rest = trimmed.strip_prefix(command);
            rest.is_some_and(|rest| VERBATIM.iter().any(|name| rest.starts_with(name)))
        };
        if verbatim {
            if at("\\end{") {
                out.push("```".to_owned());
                verbatim = false;
            } else {
                out.push(line.to_owned());
            }
        } else if at("\\begin{") {
            out.push("```".to_owned());
            verbatim = true;
        } else if let Some((level, title, rest)) = latex_heading(trimmed) {
            out.extend([
                String::new(),
                format!("{} {}", "#".repeat(level), plain_latex(&title)),
                String::new(),
            ]);
            out.push(plain_latex(&rest));
        } else {
            out.push(plain_latex(line));
        }
    }
    (title, out.join("\n"))
}

/// Returns a line without its comment.
fn uncommented(line: &str) -> &str {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '%' if !escaped => return &line[..at],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    line
}

fn latex_heading(line: &str) -> Option<(usize, String, String)> {
    const LEVELS: [(&str, usize); 7] = [
        ("\\part", 1),
        ("\\chapter", 1),
        ("\\section", 2),
        ("\\subsection", 3),
        ("\\subsubsection", 4),
        ("\\paragraph", 5),
        ("\\subparagraph", 6),
    ];
    let (command, level) = LEVELS.iter().find(|(command, _)| {
        line.strip_prefix(command)
            .is_some_and(|rest| rest.starts_with(['{', '*', '[']))
    })?;
    let title = argument(line, command)?;
    let rest = line
        .rsplit_once('}')
        .map(|(_, rest)| rest.to_owned())
        .unwrap_or_default();
    Some((*level, title, rest))
}

/// Returns the braced argument after a command, with nested braces.
fn argument(source: &str, command: &str) -> Option<String> {
    let after = &source[source.find(command)? + command.len()..];
    let open = after.find('{').filter(|at| {
        after[..*at].chars().all(|c| c == '*' || c == ' ')
            || after.starts_with('[')
            || after.starts_with("*[")
    })?;
    let mut depth = 0;
    for (at, c) in after[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(after[open + 1..open + at].to_owned());
                }
            }
            _ => {}
        }
    }
    None
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Returns the letter of a command such as `\ss`.
fn special_letter(word: &str) -> Option<&'static str> {
    Some(match word {
        "ss" => "ß",
        "SS" => "ẞ",
        "ae" => "æ",
        "AE" => "Æ",
        "oe" => "œ",
        "OE" => "Œ",
        "aa" => "å",
        "AA" => "Å",
        "o" => "ø",
        "O" => "Ø",
        "l" => "ł",
        "L" => "Ł",
        "i" => "ı",
        "j" => "ȷ",
        "dh" => "ð",
        "DH" => "Ð",
        "th" => "þ",
        "TH" => "Þ",
        "dj" => "đ",
        "DJ" => "Đ",
        "ng" => "ŋ",
        "NG" => "Ŋ",
        "S" => "§",
        "P" => "¶",
        "copyright" => "©",
        "pounds" => "£",
        "euro" | "texteuro" => "€",
        "textdegree" => "°",
        "dots" | "ldots" | "textellipsis" => "…",
        "textendash" => "–",
        "textemdash" => "—",
        "textbackslash" => "\\",
        "textasciitilde" => "~",
        "TeX" => "TeX",
        "LaTeX" => "LaTeX",
        _ => return None,
    })
}

/// Returns the combining mark of an accent command.
fn accent_mark(command: char) -> Option<char> {
    Some(match command {
        '`' => '\u{300}',
        '\'' => '\u{301}',
        '^' => '\u{302}',
        '"' => '\u{308}',
        '~' => '\u{303}',
        '=' => '\u{304}',
        '.' => '\u{307}',
        'u' => '\u{306}',
        'v' => '\u{30c}',
        'H' => '\u{30b}',
        'c' => '\u{327}',
        'k' => '\u{328}',
        'r' => '\u{30a}',
        'd' => '\u{323}',
        'b' => '\u{331}',
        _ => return None,
    })
}

/// Skips `{}`.
fn skip_empty_group(characters: &mut Characters<'_>) {
    let mut ahead = characters.clone();
    if ahead.next() == Some('{') && ahead.next() == Some('}') {
        *characters = ahead;
    }
}

/// Writes the letter that follows an accent, braced or not, with its mark; precomposed if possible.
fn accented(characters: &mut Characters<'_>, mark: char, out: &mut String) {
    while characters.next_if_eq(&' ').is_some() {}
    let braced = characters.next_if_eq(&'{').is_some();
    let mut letter = String::new();
    match characters.next() {
        Some('\\') => {
            let mut word = String::new();
            while let Some(c) = characters.next_if(char::is_ascii_alphabetic) {
                word.push(c);
            }
            // A dotless i under an accent is an i.
            letter.push_str(match word.as_str() {
                "i" => "i",
                "j" => "j",
                other => special_letter(other).unwrap_or_default(),
            });
            if !braced {
                skip_empty_group(characters);
            }
        }
        Some('}') | None => return,
        Some(c) => letter.push(c),
    }
    letter.push(mark);
    out.extend(letter.nfc());
    if braced {
        for c in characters.by_ref() {
            if c == '}' {
                break;
            }
            out.push(c);
        }
    }
}

/// Replaces formatting commands by their text and removes those that only reference or configure; formulas are kept.
fn plain_latex(line: &str) -> String {
    const SILENT: [&str; 14] = [
        "begin",
        "end",
        "label",
        "ref",
        "cite",
        "citep",
        "citet",
        "usepackage",
        "documentclass",
        "maketitle",
        "includegraphics",
        "vspace",
        "hspace",
        "pagestyle",
    ];
    let mut out = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut in_math = false;
    while let Some(c) = characters.next() {
        match c {
            '$' => {
                in_math = !in_math;
                out.push('$');
            }
            _ if in_math => out.push(c),
            '\\' => {
                let mut word = String::new();
                while let Some(letter) = characters.next_if(char::is_ascii_alphabetic) {
                    word.push(letter);
                }
                if let Some(letter) = special_letter(&word) {
                    out.push_str(letter);
                    // The space after a command only terminates it.
                    if characters.next_if_eq(&' ').is_none() {
                        skip_empty_group(&mut characters);
                    }
                } else if let [accent] = word.as_bytes()
                    && let Some(mark) = accent_mark(char::from(*accent))
                {
                    accented(&mut characters, mark, &mut out);
                } else if word.is_empty() {
                    match characters.next() {
                        Some(accent) if accent_mark(accent).is_some() => {
                            if let Some(mark) = accent_mark(accent) {
                                accented(&mut characters, mark, &mut out);
                            }
                        }
                        Some('\\') => out.push(' '),
                        Some(escaped @ ('%' | '$' | '&' | '#' | '_' | '{' | '}')) => {
                            out.push(escaped)
                        }
                        Some(',' | ';' | ':' | ' ' | '~') => out.push(' '),
                        _ => {}
                    }
                } else if word == "item" {
                    out.push_str("- ");
                    characters.next_if_eq(&' ');
                } else if SILENT.contains(&word.as_str()) {
                    while let Some(open) = characters.next_if(|c| matches!(c, '{' | '[')) {
                        let close = if open == '{' { '}' } else { ']' };
                        for inner in characters.by_ref() {
                            if inner == close {
                                break;
                            }
                        }
                    }
                } else {
                    // The arguments of other commands are text.
                    while characters.next_if(|c| *c == '*').is_some() {}
                }
            }
            '{' | '}' => {}
            '~' => out.push(' '),
            '`' | '\'' if characters.peek() == Some(&c) => {
                characters.next();
                out.push('"');
            }
            '&' => out.push_str(" | "),
            '-' if characters.peek() == Some(&'-') => {
                characters.next();
                characters.next_if_eq(&'-');
                out.push('–');
            }
            c => out.push(c),
        }
    }
    one_line(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(document: &Document) -> Vec<(u8, &str)> {
        document
            .headings
            .iter()
            .map(|h| (h.level, h.title.as_str()))
            .collect()
    }

    fn input<'a>(file_name: &'a str, text: &'a str) -> Input<'a> {
        Input {
            file_name,
            bytes: text.as_bytes(),
            ..Input::default()
        }
    }

    #[test]
    fn restructured_text() {
        let document = parse_rst(&input(
            "a.rst",
            "=====\nGuide\n=====\n\nUse :func:`run <x.run>` and `the site <https://a.b>`_.\n\nSteps\n-----\n\n.. code-block:: rust\n\n   fn main() {}\n\n.. note:: Mind the gap.\n\n.. a comment\n   goes on\n\nExample::\n\n   $ ls\n\nDone.",
        ))
        .expect("parses");
        assert_eq!(headings(&document), [(1, "Guide"), (2, "Steps")]);
        assert!(
            document.text.contains("Use run and the site.")
                && document.text.contains("```rust\nfn main() {}\n```"),
            "{}",
            document.text
        );
        assert!(
            document.text.contains("Mind the gap.")
                && document.text.contains("```\n$ ls\n```")
                && !document.text.contains("comment"),
            "{}",
            document.text
        );
    }

    #[test]
    fn ascii_doc() {
        let document = parse_asciidoc(&input(
            "a.adoc",
            "= Guide\n:toc: left\n\n== Steps\n\n* one\n** two\n\n[source,rust]\n----\nfn main() {}\n----\n\n.Sizes\n|===\n|a |b\n\n|1 |2\n|===\n",
        ))
        .expect("parses");
        assert_eq!(headings(&document), [(1, "Guide"), (2, "Steps")]);
        assert!(
            document.text.contains("- one\n    - two")
                && document.text.contains("```\nfn main() {}\n```"),
            "{}",
            document.text
        );
        assert!(
            document
                .text
                .contains("Sizes\n\n\n| a | b |\n| --- | --- |\n| 1 | 2 |")
                && !document.text.contains("toc"),
            "{}",
            document.text
        );
    }

    #[test]
    fn org_mode() {
        let document = parse_org(&input(
            "a.org",
            "#+TITLE: Guide\n* TODO Steps :work:\n:PROPERTIES:\n:ID: 1\n:END:\nSee [[https://a.b][the site]].\n#+begin_src rust\nfn main() {}\n#+end_src\n** Inner",
        ))
        .expect("parses");
        assert_eq!(document.title.as_deref(), Some("Guide"));
        assert_eq!(headings(&document), [(1, "Steps"), (2, "Inner")]);
        assert!(
            document.text.contains("See the site.")
                && document.text.contains("```rust\nfn main() {}\n```")
                && !document.text.contains("ID:")
        );
    }

    #[test]
    fn letters_with_marks_are_letters() {
        assert_eq!(
            plain_latex(
                r#"Stra\ss e, M\"uller, M{\"u}ller, caf\'e, Fran\c{c}ois, \AA rhus, {\L}\'od\'z, \v{C}apek, na\"{\i}ve, \o{}re, 5\,\% \v Capek"#
            ),
            "Straße, Müller, Müller, café, François, Århus, Łódź, Čapek, naïve, øre, 5 % Čapek"
        );
    }

    #[test]
    fn latex_text() {
        let document = parse_latex(&input(
            "a.tex",
            "\\documentclass{article}\\title{On \\emph{cairns}}\n\\begin{document}\n\\section{Use}\\label{u}\nStones \\textbf{mark} a~way, 5\\% of it~\\cite{x}. % hidden\n\\begin{itemize}\n\\item one\n\\end{itemize}\n$a_1 \\le b$\n\\end{document}",
        ))
        .expect("parses");
        assert_eq!(document.title.as_deref(), Some("On cairns"));
        assert_eq!(headings(&document), [(2, "Use")]);
        assert!(
            document.text.contains("Stones mark a way, 5% of it .")
                && document.text.contains("- one")
                && document.text.contains("$a_1 \\le b$"),
            "{}",
            document.text
        );
        assert!(!document.text.contains("hidden") && !document.text.contains("itemize"));
    }
}
