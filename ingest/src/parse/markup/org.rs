//! Org as Markdown.

pub(super) fn org(source: &str) -> (Option<String>, String) {
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
