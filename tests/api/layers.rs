//! The layers of the code: which module may import which, read from the `use` lines and the paths of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// Layers from the lowest to the highest; a module imports its own layer and those below. The longest prefix of a module's path says where it stands. The map in
/// `README.md` says the same.
const LAYERS: [&[&str]; 18] = [
    &["error", "clock", "page", "limits", "config", "rates"],
    &[
        "disk",
        "db",
        "blobs",
        "seal",
        "outgoing",
        "openclaw",
        "llm",
        "jobs",
        "events",
        "auth",
        "importers",
    ],
    // What the application holds: types and indexes that know nothing of it.
    &[
        "kb",
        "kb::filter",
        "kb::index_log",
        "kb::citation",
        "kb::row_blocks",
        "kb::parser",
        "search::analysis",
        "search::blend",
        "search::syntax",
        "search::highlight",
        "search::explain",
        "search::request",
        "search::answer",
        "search::near",
        "search::measure",
        "search::live",
        "search::memory",
        "search::top",
        "search::states",
        "search::keyword",
        "search::vector",
        "answers::model",
        "answers::parts",
        "evaluation::queue",
    ],
    &["app", "engine"],
    &[
        "kb::builds",
        "kb::chunks",
        "kb::citations",
        "kb::datasets",
        "kb::docling",
        "kb::documents",
        "kb::edits",
        "kb::embeddings",
        "kb::files",
        "kb::generations",
        "kb::ingestion",
        "kb::portable",
        "kb::preview",
        "kb::usage",
        "kb::visible",
        "kb::why",
    ],
    &["search"],
    &["records", "crawl", "evaluation", "answers"],
    &["sources"],
    &["crm", "content", "knowledge", "data", "analytics"],
    &["support"],
    &["work", "assets"],
    &["outreach", "boards", "agency"],
    &["bi", "webhooks", "channel"],
    &["agents"],
    &["kinds"],
    &["background", "housekeeping"],
    &["api"],
    &["cli"],
];

/// Files of the largest circle of imports that is accepted.
const CIRCLE: usize = 2;

/// The modules of a crate by their paths, with what each imports.
struct Modules(BTreeMap<String, BTreeSet<String>>);

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree);
        return vec![name.trim().to_owned()];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().map(|p| p.trim()).filter(|p| !p.is_empty());
    parts
        .flat_map(|part| expanded(&format!("{}{part}", before.trim())))
        .collect()
}

impl Modules {
    fn read(folder: &Path) -> Self {
        let mut paths = Vec::new();
        files(folder, &mut paths);
        let name = |path: &Path| {
            let inside = path
                .strip_prefix(folder)
                .expect("inside")
                .with_extension("");
            let mut parts: Vec<String> = inside
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if parts
                .last()
                .is_some_and(|l| ["mod", "lib", "main"].contains(&l.as_str()))
            {
                parts.pop();
            }
            parts.join("::")
        };
        let sources: BTreeMap<String, String> = paths
            .iter()
            .map(|path| (name(path), std::fs::read_to_string(path).expect("readable")))
            .collect();
        let line =
            Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+((?:crate|super|self)\b[^;]*);")
                .expect("a pattern");
        let inline = Regex::new(r"\bcrate(?:::\w+)+").expect("a pattern");
        let comment = Regex::new(r"//.*").expect("a pattern");
        let tests =
            Regex::new(r"#\[cfg\(test\)\]\n(?:pub(?:\([^)]*\))? )?mod ").expect("a pattern");
        let modules = sources.iter().map(|(module, source)| {
            let code = tests.splitn(source, 2).next().unwrap_or(source);
            let code = comment.replace_all(code, "");
            let used = line.captures_iter(&code).flat_map(|c| expanded(&c[1]));
            let named = inline.find_iter(&code).map(|m| m.as_str().to_owned());
            let imports = used
                .chain(named)
                .filter_map(|path| Self::resolved(&sources, module, &path))
                .filter(|other| other != module)
                .collect();
            (module.clone(), imports)
        });
        Self(modules.collect())
    }

    /// The module that a path seen from another leads to; `None` for what stands in the root itself.
    fn resolved(sources: &BTreeMap<String, String>, from: &str, path: &str) -> Option<String> {
        let mut base: Vec<&str> = from.split("::").filter(|p| !p.is_empty()).collect();
        let mut parts: Vec<&str> = path.split("::").collect();
        if parts[0] == "crate" {
            base.clear();
            parts.remove(0);
        } else if parts[0] == "self" {
            parts.remove(0);
        }
        while parts.first() == Some(&"super") {
            base.pop();
            parts.remove(0);
        }
        base.extend(parts.into_iter().filter(|p| !["self", "*"].contains(p)));
        while !base.is_empty() {
            let name = base.join("::");
            if sources.contains_key(&name) {
                return Some(name);
            }
            base.pop();
        }
        None
    }

    /// All modules that a module reaches by imports.
    fn reached(&self, from: &str) -> BTreeSet<&str> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for other in self.0.get(module).into_iter().flatten() {
                if seen.insert(other.as_str()) {
                    next.push(other);
                }
            }
        }
        seen
    }

    /// The circles of imports: modules that reach each other.
    fn circles(&self) -> BTreeSet<BTreeSet<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self
            .0
            .keys()
            .map(|module| (module.as_str(), self.reached(module)))
            .collect();
        reached
            .iter()
            .filter(|(module, others)| others.contains(*module))
            .map(|(module, others)| {
                let back = others.iter().filter(|other| {
                    reached
                        .get(*other)
                        .is_some_and(|back| back.contains(module))
                });
                back.copied().collect()
            })
            .collect()
    }
}

/// The layer of a module.
fn layer(module: &str) -> Option<usize> {
    let is_prefix = |prefix: &str| {
        module == prefix
            || module
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with("::"))
    };
    let named = LAYERS.iter().enumerate();
    named
        .flat_map(|(at, prefixes)| prefixes.iter().map(move |prefix| (at, *prefix)))
        .filter(|(_, prefix)| is_prefix(prefix))
        .max_by_key(|(_, prefix)| prefix.len())
        .map(|(at, _)| at)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

#[test]
fn no_layer_imports_a_higher_one() {
    let modules = Modules::read(&root().join("src"));
    let mut wrong = Vec::new();
    for (module, imports) in modules.0.iter().filter(|(module, _)| !module.is_empty()) {
        let own = layer(module).unwrap_or_else(|| panic!("{module} stands in no layer"));
        for import in imports {
            let other = layer(import).unwrap_or_else(|| panic!("{import} stands in no layer"));
            if other > own {
                wrong.push(format!(
                    "{module} (layer {own}) imports {import} (layer {other})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn circles_of_imports_are_small() {
    for folder in ["src", "ingest/src", "models/src"] {
        let modules = Modules::read(&root().join(folder));
        for circle in modules.circles() {
            assert!(circle.len() <= CIRCLE, "{folder}: {circle:?}");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_what_there_is() {
    let modules = Modules::read(&root().join("src"));
    let imports = &modules.0["background"];
    for expected in ["app", "crawl", "kb::ingestion", "search::follower"] {
        assert!(imports.contains(expected), "{imports:?}");
    }
    assert_eq!(
        expanded("crate::a::{self, b, c::{d as e, f}}"),
        [
            "crate::a::self",
            "crate::a::b",
            "crate::a::c::d",
            "crate::a::c::f"
        ]
    );
}

/// Searches read only the documents that changed, so a statement that changes what they read of a document has to say so.
#[test]
fn a_change_that_searches_read_is_recorded_in_the_document() {
    let mut sources = Vec::new();
    files(&root().join("src"), &mut sources);
    let fields = [
        "file_name",
        "title",
        "url",
        "published_at",
        "metadata",
        "source",
        "mime_type",
        "enabled",
    ];
    let field = Regex::new(&format!(r"\b({}) = \$?\w", fields.join("|"))).expect("a pattern");
    let mut statements = 0;
    for path in sources {
        let text = std::fs::read_to_string(&path).expect("readable");
        for (at, _) in text.match_indices("UPDATE kb_documents SET") {
            let statement = &text[at..text[at..].find("args![").map_or(text.len(), |end| at + end)];
            let changes = statement.split("WHERE").next().unwrap_or_default();
            if field.is_match(changes) {
                statements += 1;
                assert!(
                    statement.contains("changed_now!()"),
                    "{}: {statement}",
                    path.display()
                );
            }
        }
    }
    assert!(statements >= 6, "{statements} statements");
}
