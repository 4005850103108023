//! Query syntax of a search box: `"phrases"`, `+must`, `-without`, `field:value` and `pre*`. Everything else, and everything that only resembles one of
//! these (`std::vec`, `http://x`, `-5`, `--flag`, a lone quote), is plain text.

use serde::Serialize;

/// Built-in fields of hits in `field:value`, and their names in filters.
const BUILT_IN: [(&str, &str); 9] = [
    ("title", "$title"),
    ("file", "$fileName"),
    ("filename", "$fileName"),
    ("heading", "$heading"),
    ("page", "$page"),
    ("source", "$source"),
    ("url", "$url"),
    ("type", "$mimeType"),
    ("published", "$publishedAt"),
];
/// Maximum number of operators; the rest of the query is plain text.
const MOST: usize = 50;

/// A parsed query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parsed {
    /// Query text without operators and exclusions: scored and embedded.
    pub text: String,
    /// `text` without prefixes, which are matched separately.
    #[serde(skip)]
    pub words: String,
    /// Phrases that hits must contain.
    pub phrases: Vec<String>,
    /// Words that hits must contain.
    pub must: Vec<String>,
    /// Words or phrases that hits must not contain.
    pub without: Vec<String>,
    /// Prefixes of words.
    pub prefixes: Vec<String>,
    /// Conditions on fields.
    pub fields: Vec<FieldClause>,
}

/// A condition `field:value`, or `-field:value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldClause {
    /// Name of the field in filters.
    pub field: String,
    /// Value that the field must equal or contain.
    pub value: String,
    /// Whether the condition is negated.
    pub negated: bool,
}

impl Parsed {
    /// Returns a query as plain text.
    #[must_use]
    pub fn plain(query: &str) -> Self {
        Self {
            text: query.trim().to_owned(),
            words: query.trim().to_owned(),
            ..Self::default()
        }
    }
}

/// Parses a query. `is_field` decides which names are metadata fields; names other than those and the built-in ones are plain text.
#[must_use]
pub fn parse(query: &str, is_field: &dyn Fn(&str) -> bool) -> Parsed {
    if is_pasted(query, is_field) {
        return Parsed::plain(query);
    }
    let question = is_question(query);
    let mut parsed = Parsed::default();
    let (mut words, mut stems): (Vec<&str>, Vec<usize>) = (Vec::new(), Vec::new());
    let (mut rest, mut operators) = (query.trim_start(), 0);
    while !rest.is_empty() && operators < MOST {
        let before = rest;
        let (sign, body) = match rest.chars().next() {
            Some(sign @ ('+' | '-')) => (Some(sign), &rest[1..]),
            _ => (None, rest),
        };
        let clause = quoted(body)
            .map(|(phrase, after)| (Clause::Phrase(phrase), after))
            .or_else(|| field(body, is_field))
            .unwrap_or_else(|| {
                let (word, after) = word(body);
                (Clause::Word(word), after)
            });
        rest = clause.1.trim_start();
        let whole = before[..before.len() - clause.1.len()].trim_end();
        operators += 1;
        match (sign, clause.0) {
            (Some('-'), Clause::Phrase(phrase)) => parsed.without.push(phrase.to_owned()),
            (_, Clause::Phrase(phrase)) => {
                words.push(phrase);
                parsed.phrases.push(phrase.to_owned());
            }
            (sign, Clause::Field(field, value)) => parsed.fields.push(FieldClause {
                field,
                value: value.to_owned(),
                negated: sign == Some('-'),
            }),
            (Some('-'), Clause::Word(word)) if is_wordlike(word) && !question => {
                parsed.without.push(word.to_owned());
            }
            (Some('+'), Clause::Word(word)) if is_wordlike(word) => {
                words.push(word);
                parsed.must.push(word.to_owned());
            }
            (None, Clause::Word(word)) if is_prefix(word) => {
                let stem = &word[..word.len() - 1];
                stems.push(words.len());
                words.push(stem);
                parsed.prefixes.push(stem.to_owned());
            }
            (_, Clause::Word(_)) => {
                operators -= 1;
                words.push(whole);
            }
        }
    }
    words.push(rest.trim());
    parsed.text = words.join(" ").trim().to_owned();
    let whole = words.iter().enumerate().filter(|(i, _)| !stems.contains(i));
    let whole: Vec<&str> = whole.map(|(_, word)| *word).collect();
    parsed.words = whole.join(" ").trim().to_owned();
    // A query that consists of operators without effect is plain text.
    if parsed.text.is_empty() && parsed.fields.is_empty() && parsed.without.is_empty() {
        return Parsed::plain(query);
    }
    parsed
}

/// Words that begin questions, in several languages.
const QUESTIONS: [&str; 36] = [
    "what", "how", "why", "when", "which", "who", "whose", "where", "does", "do", "did", "is",
    "are", "can", "could", "should", "will", "was", "wie", "warum", "wann", "welche", "welcher",
    "welches", "wer", "wo", "comment", "pourquoi", "quand", "quel", "quelle", "qué", "cómo",
    "cuál", "perché", "come",
];

/// Returns whether a query is a question in prose: `-name` in it is a command-line flag, not an exclusion.
fn is_question(query: &str) -> bool {
    let words: Vec<&str> = query.split_whitespace().collect();
    let first = words.first().map_or_else(String::new, |w| w.to_lowercase());
    words.len() > 2 && (QUESTIONS.contains(&first.as_str()) || query.trim_end().ends_with('?'))
}

/// Returns whether a query is a pasted line, not one typed with conditions: it has `name:value` for several names of which not all are fields.
fn is_pasted(query: &str, is_field: &dyn Fn(&str) -> bool) -> bool {
    let names = query.split_whitespace().filter_map(|word| {
        let (name, value) = word.trim_start_matches(['+', '-']).split_once(':')?;
        let named = name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
        let begins = value.chars().next().is_some_and(char::is_alphanumeric);
        (named && begins && !name.is_empty()).then_some(name)
    });
    let names: Vec<&str> = names.collect();
    let strange = names
        .iter()
        .filter(|name| field_named(name, is_field).is_none())
        .count();
    strange > 0 && names.len() > strange
}

enum Clause<'a> {
    Phrase(&'a str),
    Field(String, &'a str),
    Word(&'a str),
}

/// Parses a phrase between straight or typographic quotes, with at least one letter or digit.
fn quoted(rest: &str) -> Option<(&str, &str)> {
    let mut characters = rest.char_indices();
    let (_, open) = characters.next()?;
    let close: &[char] = match open {
        '"' => &['"'],
        '\u{201c}' | '\u{201e}' => &['\u{201d}', '\u{201c}'],
        '«' => &['»'],
        _ => return None,
    };
    let (start, _) = characters.next()?;
    let length = rest[start..].find(close)?;
    let phrase = rest[start..start + length].trim();
    let after = &rest[start + length..];
    let after = &after[after.chars().next().map_or(0, char::len_utf8)..];
    phrase
        .chars()
        .any(char::is_alphanumeric)
        .then_some((phrase, after))
}

/// Returns the name in filters of a metadata field, or of a built-in one.
fn field_named(name: &str, is_field: &dyn Fn(&str) -> bool) -> Option<String> {
    if is_field(name) {
        return Some(name.to_owned());
    }
    let lower = name.to_lowercase();
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == lower)?;
    Some(built_in.1.to_owned())
}

fn field<'a>(rest: &'a str, is_field: &dyn Fn(&str) -> bool) -> Option<(Clause<'a>, &'a str)> {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))?;
    let name = &rest[..end];
    let value = rest[end..].strip_prefix(':')?;
    let field = field_named(name, is_field)?;
    let (value, after) = quoted(value).unwrap_or_else(|| word(value));
    let begins = value.chars().next().is_some_and(char::is_alphanumeric);
    let fits = field != "$mimeType" || is_type(value);
    (begins && fits).then_some((Clause::Field(field, value), after))
}

/// Returns whether a value can be a file type: a known extension, or a part of a media type. `type:warning` in a log is none.
fn is_type(value: &str) -> bool {
    const FAMILIES: [&str; 9] = [
        "text",
        "application",
        "image",
        "message",
        "markdown",
        "plain",
        "word",
        "excel",
        "sheet",
    ];
    let lower = value.to_lowercase();
    lower.contains('/')
        || FAMILIES.contains(&lower.as_str())
        || cairn_ingest::Format::extensions().contains(&lower.as_str())
}

fn word(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()))
}

/// Returns whether a word has at least two characters, the first one a letter: `-5`, `--flag`, `-x` and a dash between words have not.
fn is_wordlike(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_alphabetic) && word.chars().nth(1).is_some()
}

/// Returns whether a word has at least two letters or digits before a single asterisk.
fn is_prefix(word: &str) -> bool {
    word.strip_suffix('*').is_some_and(|stem| {
        stem.chars().count() >= 2 && stem.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn read(query: &str) -> Parsed {
        parse(query, &|name| name == "lang")
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn operators_are_read() {
        let parsed = read(
            "rotate +keys -\"old way\" -legacy \"api gateway\" encryp* lang:de title:\"User guide\" -page:3",
        );
        assert_eq!(parsed.text, "rotate keys api gateway encryp");
        assert_eq!(parsed.must, strings(&["keys"]));
        assert_eq!(parsed.without, strings(&["old way", "legacy"]));
        assert_eq!(parsed.phrases, strings(&["api gateway"]));
        assert_eq!(parsed.prefixes, strings(&["encryp"]));
        let fields: Vec<_> = parsed
            .fields
            .iter()
            .map(|f| (f.field.as_str(), f.value.as_str(), f.negated))
            .collect();
        assert_eq!(
            fields,
            [
                ("lang", "de", false),
                ("$title", "User guide", false),
                ("$page", "3", true)
            ]
        );
    }

    #[test]
    fn what_only_looks_like_operators_is_plain() {
        for query in [
            "how does std::vec grow",
            "see http://example.com/a?b=c",
            "temperature of -5 degrees",
            "what does --verbose do",
            "an unclosed \" quote",
            "a - b + c",
            "what is find -name",
            "does tar -xzf unpack?",
            "note: this",
            "5 * 3 and f* x",
            "error:404",
            "list type:warning",
            "error:404 at file:main.rs line:12 type:warning",
            "\"\" empty",
        ] {
            assert_eq!(read(query), Parsed::plain(query), "{query}");
        }
        let only = read("-only");
        assert_eq!((only.text.as_str(), only.without), ("", strings(&["only"])));
    }

    #[test]
    fn typographic_quotes_are_quotes() {
        assert_eq!(read("„alte Brücke“ Bau").phrases, strings(&["alte Brücke"]));
        assert_eq!(read("«vieux pont»").text, "vieux pont");
    }

    proptest! {
        #[test]
        fn any_text_is_read(query in "\\PC{0,60}") {
            let parsed = read(&query);
            prop_assert!(parsed.text.len() <= query.len() + 8);
        }

        #[test]
        fn operators_in_any_order_are_read(query in "[-+\"a-c: *«»„“”]{0,40}") {
            let parsed = read(&query);
            prop_assert!(!parsed.text.is_empty() || !parsed.fields.is_empty() || !parsed.without.is_empty() || query.trim().is_empty());
        }
    }
}
