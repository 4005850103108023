//! LaTeX as Markdown.

use unicode_normalization::UnicodeNormalization;

use crate::parse::writer::one_line;

/// LaTeX environments with verbatim text.
const VERBATIM: [&str; 5] = ["verbatim", "lstlisting", "minted", "Verbatim", "code}"];

pub(super) fn latex(source: &str) -> (Option<String>, String) {
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
pub(super) fn plain_latex(line: &str) -> String {
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
