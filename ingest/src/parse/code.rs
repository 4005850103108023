//! Source code: the unchanged text, with its symbols (functions, types, modules) as nested ranges.

use tree_sitter::{Language, Node, Parser};

use super::{Input, ParseError, text};
use crate::document::{Document, Symbol, normalise};

/// Maximum depth of the syntax tree that is searched for symbols.
const MAX_DEPTH: usize = 64;

/// A language with its file extensions. Its name is stored with the document.
struct Grammar {
    name: &'static str,
    extensions: &'static [&'static str],
    language: fn() -> Language,
}

const GRAMMARS: [Grammar; 12] = [
    Grammar {
        name: "rust",
        extensions: &["rs"],
        language: || tree_sitter_rust::LANGUAGE.into(),
    },
    Grammar {
        name: "python",
        extensions: &["py", "pyi"],
        language: || tree_sitter_python::LANGUAGE.into(),
    },
    Grammar {
        name: "javascript",
        extensions: &["js", "mjs", "cjs", "jsx"],
        language: || tree_sitter_javascript::LANGUAGE.into(),
    },
    Grammar {
        name: "typescript",
        extensions: &["ts", "mts", "cts"],
        language: || tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
    },
    Grammar {
        name: "tsx",
        extensions: &["tsx"],
        language: || tree_sitter_typescript::LANGUAGE_TSX.into(),
    },
    Grammar {
        name: "go",
        extensions: &["go"],
        language: || tree_sitter_go::LANGUAGE.into(),
    },
    Grammar {
        name: "java",
        extensions: &["java"],
        language: || tree_sitter_java::LANGUAGE.into(),
    },
    Grammar {
        name: "c",
        extensions: &["c", "h"],
        language: || tree_sitter_c::LANGUAGE.into(),
    },
    Grammar {
        name: "cpp",
        extensions: &["cc", "cpp", "cxx", "hh", "hpp", "hxx"],
        language: || tree_sitter_cpp::LANGUAGE.into(),
    },
    Grammar {
        name: "csharp",
        extensions: &["cs"],
        language: || tree_sitter_c_sharp::LANGUAGE.into(),
    },
    Grammar {
        name: "ruby",
        extensions: &["rb"],
        language: || tree_sitter_ruby::LANGUAGE.into(),
    },
    Grammar {
        name: "php",
        extensions: &["php"],
        language: || tree_sitter_php::LANGUAGE_PHP.into(),
    },
];

pub(super) const EXTENSIONS: [&str; 27] = [
    "rs", "py", "pyi", "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "go", "java", "c",
    "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "cs", "rb", "php", "sh", "bash", "sql",
];

/// Returns the grammar of a language by its name.
pub(crate) fn language(name: &str) -> Option<Language> {
    GRAMMARS
        .iter()
        .find(|g| g.name == name)
        .map(|g| (g.language)())
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let text = normalise(&decoded);
    let extension = super::extension(input.file_name);
    let grammar = GRAMMARS
        .iter()
        .find(|g| g.extensions.contains(&extension.as_str()));
    let symbols = grammar
        .map(|g| symbols(&text, &(g.language)()))
        .unwrap_or_default();
    Ok(Document {
        engine: if grammar.is_some() {
            "tree-sitter"
        } else {
            "text"
        }
        .to_owned(),
        code: Some(grammar.map_or("", |g| g.name).to_owned()),
        symbols,
        text,
        warnings,
        ..Document::default()
    })
}

fn symbols(text: &str, language: &Language) -> Vec<Symbol> {
    let mut parser = Parser::new();
    if parser.set_language(language).is_err() {
        return Vec::new();
    }
    let Some(tree) = parser.parse(text, None) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    collect(tree.root_node(), text, 0, &mut found);
    found
}

/// Words in the node names of definitions, across all grammars.
const DEFINITIONS: [&str; 16] = [
    "function",
    "method",
    "class",
    "struct",
    "enum",
    "interface",
    "trait",
    "impl",
    "mod",
    "module",
    "namespace",
    "constructor",
    "union",
    "type_spec",
    "record",
    "macro_definition",
];

fn collect(node: Node<'_>, text: &str, depth: usize, found: &mut Vec<Symbol>) {
    if depth > MAX_DEPTH {
        return;
    }
    if let Some(title) = title(node, text) {
        // Comments and attributes directly above belong to the definition.
        let mut start = node.start_byte();
        let mut above = node.prev_sibling();
        while let Some(before) = above.filter(|n| {
            n.kind().contains("comment")
                || n.kind().contains("attribute")
                || n.kind() == "decorator"
        }) {
            if text[before.end_byte()..start].matches('\n').count() > 1 {
                break;
            }
            start = before.start_byte();
            above = before.prev_sibling();
        }
        found.push(Symbol {
            start,
            end: node.end_byte(),
            title,
        });
    }
    let mut cursor = node.walk();
    for child in node.named_children(&mut cursor) {
        collect(child, text, depth + 1, found);
    }
}

/// Returns the name of a definition; `None` for nodes that do not define something with a body.
fn title(node: Node<'_>, text: &str) -> Option<String> {
    let kind = node.kind();
    let of = |node: Node<'_>| {
        text[node.byte_range()]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    if kind == "variable_declarator" {
        // `const f = () => …`
        let value = node.child_by_field_name("value")?;
        return (value.kind().contains("function"))
            .then(|| node.child_by_field_name("name").map(of))?;
    }
    let defines = DEFINITIONS
        .iter()
        .any(|d| kind == *d || kind.split('_').any(|part| part == *d))
        && ![
            "call",
            "type",
            "parameters",
            "modifier",
            "signature",
            "expression",
            "body",
            "declarator",
        ]
        .iter()
        .any(|part| kind.split('_').any(|k| k == *part) && kind != "type_spec");
    if !defines {
        return None;
    }
    if kind == "impl_item" {
        let subject = of(node.child_by_field_name("type")?);
        return Some(match node.child_by_field_name("trait") {
            Some(implemented) => format!("impl {} for {subject}", of(implemented)),
            None => format!("impl {subject}"),
        });
    }
    let name = node
        .child_by_field_name("name")
        .or_else(|| declared(node.child_by_field_name("declarator")?, 0))?;
    let name = of(name);
    (name.len() <= 120).then_some(name)
}

/// Returns the name in nested C declarators: `*f(int)` declares `f`.
fn declared(node: Node<'_>, depth: usize) -> Option<Node<'_>> {
    if depth > 8 {
        return None;
    }
    match node.child_by_field_name("declarator") {
        Some(inner) => declared(inner, depth + 1),
        None => Some(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(name: &str, source: &str) -> Vec<String> {
        parse(&Input {
            file_name: name,
            bytes: source.as_bytes(),
            ..Input::default()
        })
        .expect("parses")
        .symbols
        .into_iter()
        .map(|s| s.title)
        .collect()
    }

    #[test]
    fn every_grammar_loads_and_names_its_symbols() {
        assert_eq!(
            titles(
                "a.rs",
                "/// Doc.\nstruct A;\nimpl Clone for A { fn clone(&self) -> A { A } }\nmod m { fn f() {} }"
            ),
            ["A", "impl Clone for A", "clone", "m", "f"]
        );
        assert_eq!(
            titles("a.py", "class A:\n    def f(self):\n        pass\n"),
            ["A", "f"]
        );
        assert_eq!(
            titles(
                "a.js",
                "class A { m() {} }\nconst f = () => 1;\nfunction g() {}"
            ),
            ["A", "m", "f", "g"]
        );
        assert_eq!(
            titles(
                "a.ts",
                "interface I { x: number }\nexport class A { m(): void {} }"
            ),
            ["I", "A", "m"]
        );
        assert_eq!(
            titles("a.tsx", "function View() { return <b/>; }"),
            ["View"]
        );
        assert_eq!(
            titles(
                "a.go",
                "package p\ntype T struct{}\nfunc (t T) M() {}\nfunc F() {}"
            ),
            ["T", "M", "F"]
        );
        assert_eq!(titles("A.java", "class A { void m() {} }"), ["A", "m"]);
        assert_eq!(titles("a.c", "int *f(int x) { return 0; }"), ["f"]);
        assert_eq!(
            titles("a.cpp", "namespace n { class A { void m() {} }; }"),
            ["n", "A", "m"]
        );
        assert_eq!(
            titles("a.cs", "namespace N { class A { void M() {} } }"),
            ["N", "A", "M"]
        );
        assert_eq!(
            titles(
                "a.rb",
                "module N\n  class A\n    def m\n    end\n  end\nend\n"
            ),
            ["N", "A", "m"]
        );
        assert_eq!(
            titles("a.php", "<?php class A { function m() {} }"),
            ["A", "m"]
        );
    }

    #[test]
    fn comments_belong_to_what_they_describe() {
        let source = "// one\n\n// two\nfn f() {}\n";
        let document = parse(&Input {
            file_name: "a.rs",
            bytes: source.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        let symbol = &document.symbols[0];
        assert_eq!(
            &document.text[symbol.start..symbol.end],
            "// two\nfn f() {}"
        );
    }

    #[test]
    fn every_extension_of_a_grammar_is_listed() {
        let all: Vec<&str> = GRAMMARS
            .iter()
            .flat_map(|g| g.extensions)
            .copied()
            .collect();
        assert!(all.iter().all(|e| EXTENSIONS.contains(e)));
    }
}
