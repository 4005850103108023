//! Lightweight markup as Markdown: reStructuredText, `AsciiDoc`, Org and LaTeX. Syntax without a counterpart is kept as written.

mod asciidoc;
mod latex;
mod org;
mod rst;

use super::{Input, ParseError, markdown, text};
use crate::document::{Document, normalise};

pub(in crate::parse) fn parse_rst(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "rst", rst::rst)
}

pub(in crate::parse) fn parse_asciidoc(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "asciidoc", asciidoc::asciidoc)
}

pub(in crate::parse) fn parse_org(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "org", org::org)
}

pub(in crate::parse) fn parse_latex(input: &Input<'_>) -> Result<Document, ParseError> {
    read(input, "latex", latex::latex)
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

#[cfg(test)]
mod tests {
    use super::latex::plain_latex;
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
