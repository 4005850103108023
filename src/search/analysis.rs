//! Keyword analysis: from text to terms. Words are runs of letters, digits, marks and `_`, lower-cased, without stop words, stemmed by the dataset's
//! language. Stop words are kept separately: they count only where a query contains nothing else, and in phrases and conditions. Identifiers and
//! versions are indexed whole and in parts (`HTTP_PROXY`, `getUserName`, `x.y.z`, `C++`); scripts that do not space their words become pairs of
//! characters, and Han characters are also indexed singly. A term with diacritics also has a folded form, which matches without them at a lower rank.

pub mod questions;
mod tokenizer;

use std::collections::HashMap;
use std::sync::LazyLock;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, RawTokenizer, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream,
};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

use crate::error::{Error, Result};
use tokenizer::is_unspaced;
pub use tokenizer::{Tokens, Words};

/// Version of the analysis and of the fields of the index, raised with every change: indexes written with another version are rebuilt.
pub const VERSION: u32 = 7;

/// Languages with a stemmer, by two-letter code.
const LANGUAGES: [(&str, Language); 18] = [
    ("ar", Language::Arabic),
    ("da", Language::Danish),
    ("nl", Language::Dutch),
    ("en", Language::English),
    ("fi", Language::Finnish),
    ("fr", Language::French),
    ("de", Language::German),
    ("el", Language::Greek),
    ("hu", Language::Hungarian),
    ("it", Language::Italian),
    ("no", Language::Norwegian),
    ("pt", Language::Portuguese),
    ("ro", Language::Romanian),
    ("ru", Language::Russian),
    ("es", Language::Spanish),
    ("sv", Language::Swedish),
    ("ta", Language::Tamil),
    ("tr", Language::Turkish),
];

/// Setting that detects the language of every chunk.
pub const AUTO: &str = "auto";

/// Language of texts that are too short or too unusual (code, tables) to be detected.
const UNRECOGNISED: &str = "en";

/// In prose, at least one word in this many is a stop word.
const STOP_WORDS_IN: usize = 12;

/// Marker before a folded term; no text contains it.
const FOLDED: char = '\u{1}';

/// Marker before a stop word; no text contains it.
const STOP: char = '\u{2}';

/// Rejects languages without an analysis.
///
/// # Errors
/// `language_unknown`, whose message lists the known ones.
pub fn check_language(code: &str) -> Result<()> {
    if code == AUTO || code == "none" || LANGUAGES.iter().any(|(c, _)| *c == code) {
        return Ok(());
    }
    let known: Vec<&str> = LANGUAGES.iter().map(|(c, _)| *c).collect();
    Err(Error::invalid(
        "language_unknown",
        format!("language must be auto, none or one of {}", known.join(", ")),
    ))
}

/// Returns the language in which a text is analysed under a dataset's setting: the setting itself, or the detected language. Languages without a
/// stemmer are `none`.
#[must_use]
pub fn language_of(setting: &str, text: &str) -> &'static str {
    if setting == AUTO {
        return recognised(text).unwrap_or(UNRECOGNISED);
    }
    known(setting)
}

/// Returns the language of a text, when it can be detected reliably.
#[must_use]
pub fn recognised(text: &str) -> Option<&'static str> {
    use whatlang::Lang;
    let found = whatlang::detect(text).filter(whatlang::Info::is_reliable)?;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the languages without a stemmer are all alike here"
    )]
    let language = match found.lang() {
        Lang::Ara => "ar",
        Lang::Dan => "da",
        Lang::Nld => "nl",
        Lang::Eng => "en",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Hun => "hu",
        Lang::Ita => "it",
        Lang::Nob => "no",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tur => "tr",
        _ => "none",
    };
    // Code and lists of names use the letters of some language, but not its words.
    has_stop_words(language, text).then_some(language)
}

/// Returns whether enough words of a text are stop words of a language; true for a language without known stop words.
fn has_stop_words(language: &str, text: &str) -> bool {
    let stops = LANGUAGES
        .iter()
        .any(|(code, l)| *code == language && StopWordFilter::new(*l).is_some());
    if !stops {
        return true;
    }
    let (all, kept) = (tokens("none", text).len(), tokens(language, text).len());
    (all - kept) * STOP_WORDS_IN >= all
}

fn known(code: &str) -> &'static str {
    LANGUAGES
        .iter()
        .find(|(c, _)| *c == code)
        .map_or("none", |(c, _)| c)
}

static ANALYSERS: LazyLock<HashMap<&'static str, TextAnalyzer>> = LazyLock::new(|| {
    let codes = LANGUAGES.iter().map(|(code, _)| *code).chain(["none"]);
    codes.map(|code| (code, build(code))).collect()
});

/// Returns the tokens of a text in a language, without folded forms: those of a query.
#[must_use]
pub fn tokens(language: &str, text: &str) -> Vec<Token> {
    let composed = Composed::of(text);
    let read = composed.as_ref().map_or(text, |c| c.text.as_str());
    let mut analyser = ANALYSERS[known(language)].clone();
    let mut stream = analyser.token_stream(read);
    let mut tokens = Vec::new();
    while stream.advance() {
        let mut token = stream.token().clone();
        if let Some(composed) = &composed {
            (token.offset_from, token.offset_to) =
                composed.place(token.offset_from, token.offset_to);
        }
        tokens.push(token);
    }
    tokens
}

/// A text normalised for tokenization: composed (NFC), half- and full-width forms replaced by ordinary ones, without characters of no width inside
/// words. Token offsets are mapped back to the original text.
struct Composed {
    text: String,
    /// Of each piece that may differ: its start in this text, and its start and end in the original.
    pieces: Vec<(usize, usize, usize)>,
}

impl Composed {
    /// Returns `None` for a text that is already normalised.
    fn of(text: &str) -> Option<Self> {
        let odd = |c: char| is_zero_width(c) || is_width_form(c);
        if text.is_ascii() || !text.contains(odd) && is_nfc_quick(text.chars()) == IsNormalized::Yes
        {
            return None;
        }
        let mut composed = Self {
            text: String::with_capacity(text.len()),
            pieces: Vec::new(),
        };
        for (at, cluster) in text.grapheme_indices(true) {
            let start = composed.text.len();
            let visible = cluster.chars().filter(|c| !is_zero_width(*c));
            if cluster.contains(is_width_form) {
                composed.text.extend(visible.nfkc());
            } else {
                composed.text.extend(visible.nfc());
            }
            if composed.text.len() > start {
                composed.pieces.push((start, at, at + cluster.len()));
            }
        }
        Some(composed)
    }

    /// Maps a range of this text to the original.
    fn place(&self, from: usize, to: usize) -> (usize, usize) {
        let piece = |at: usize| {
            let after = self.pieces.partition_point(|(start, ..)| *start <= at);
            self.pieces.get(after.saturating_sub(1))
        };
        let start = piece(from).map_or(0, |(_, start, _)| *start);
        let end = piece(to.saturating_sub(1)).map_or(start, |(.., end)| *end);
        (start, end.max(start))
    }
}

/// Returns whether a character has no width: a line-break hint, or no meaning at all.
fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// Returns whether a character is half-width kana or Hangul, or a full-width letter or digit.
fn is_width_form(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ffee}')
}

/// Returns the stop words of a text in a language, marked as such and at their positions among all words; none where the language's stop words are
/// unknown.
#[must_use]
pub fn stop_words(language: &str, text: &str) -> Vec<Token> {
    stop_words_beside(&tokens(language, text), language, text)
}

/// Returns the stop words of a text, given the other tokens that it has in a language.
fn stop_words_beside(kept: &[Token], language: &str, text: &str) -> Vec<Token> {
    if known(language) == "none" {
        return Vec::new();
    }
    let mut kept = kept.iter().map(|t| (t.offset_from, t.offset_to)).peekable();
    let mut stops = Vec::new();
    for mut token in tokens("none", text) {
        let place = (token.offset_from, token.offset_to);
        if kept.peek() == Some(&place) {
            kept.next();
        } else {
            token.text.insert(0, STOP);
            stops.push(token);
        }
    }
    stops
}

/// Returns the word of a marked stop word; `None` for other terms.
#[must_use]
pub fn as_stop_word(term: &str) -> Option<&str> {
    term.strip_prefix(STOP)
}

/// Returns the tokens of a text in a language with folded forms: those that are indexed.
#[must_use]
pub fn indexed(language: &str, text: &str) -> Vec<Token> {
    with_twins(language, text, tokens(language, text))
}

/// Returns the indexed tokens of a text in a language, and its stop words separately.
#[must_use]
pub fn indexed_apart(language: &str, text: &str) -> (Vec<Token>, Vec<Token>) {
    let kept = tokens(language, text);
    let stops = stop_words_beside(&kept, language, text);
    (with_twins(language, text, kept), stops)
}

/// Adds folded forms and single Han characters to tokens.
fn with_twins(language: &str, text: &str, kept: Vec<Token>) -> Vec<Token> {
    let mut all = Vec::new();
    for token in kept {
        let twin = folded(&token.text).map(|text| Token {
            text,
            ..token.clone()
        });
        // Stemmers distinguish accents: a word typed without them may have another stem.
        let surface = &text[token.offset_from..token.offset_to];
        let typed = folded(&surface.to_lowercase()).and_then(|plain| {
            let stem = tokens(language, shown(&plain)).into_iter().next()?.text;
            let text = twin_of_plain(&stem);
            let new = twin.as_ref().is_none_or(|t| t.text != text);
            new.then(|| Token {
                text,
                ..token.clone()
            })
        });
        let characters = single_characters(text, &token, all.last());
        all.push(token);
        all.extend(twin);
        all.extend(typed);
        all.extend(characters);
    }
    all
}

/// Returns the Han characters of a pair that the previous pair does not contain: each is also a word of its own.
fn single_characters(text: &str, pair: &Token, before: Option<&Token>) -> Vec<Token> {
    let is_han = |c: char| matches!(u32::from(c), 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF);
    if pair.text.chars().count() != 2 || !pair.text.chars().all(is_unspaced) {
        return Vec::new();
    }
    let mut at = pair.offset_from;
    let seen = before.map_or(0, |token| token.offset_to);
    let mut singles = Vec::new();
    for c in text[pair.offset_from..pair.offset_to].chars() {
        let end = at + c.len_utf8();
        if is_han(c) && end > seen {
            singles.push(Token {
                text: c.to_string(),
                offset_from: at,
                offset_to: end,
                ..pair.clone()
            });
        }
        at = end;
    }
    singles
}

/// Returns the folded form of a term with diacritics.
#[must_use]
pub fn folded(term: &str) -> Option<String> {
    if term.is_ascii() {
        return None;
    }
    let plain = without_diacritics(term);
    (plain != term).then(|| format!("{FOLDED}{plain}"))
}

/// Returns the folded form by which a term without diacritics matches those with some.
#[must_use]
pub fn twin_of_plain(term: &str) -> String {
    format!("{FOLDED}{}", without_diacritics(term))
}

/// Returns a term as shown to users.
#[must_use]
pub fn shown(term: &str) -> &str {
    term.trim_start_matches([FOLDED, STOP])
}

/// Returns whether a term is a folded form.
#[must_use]
pub fn is_twin(term: &str) -> bool {
    term.starts_with(FOLDED)
}

fn without_diacritics(term: &str) -> String {
    static FOLDING: LazyLock<TextAnalyzer> = LazyLock::new(|| {
        TextAnalyzer::builder(RawTokenizer::default())
            .filter(AsciiFoldingFilter)
            .build()
    });
    let mut folding = FOLDING.clone();
    let mut stream = folding.token_stream(term);
    let latin = if stream.advance() {
        stream.token().text.clone()
    } else {
        term.to_owned()
    };
    if latin.is_ascii() {
        return latin;
    }
    let mut plain = String::with_capacity(latin.len());
    let mut base = ' ';
    for c in latin.nfd() {
        if !is_combining_mark(c) {
            base = c;
            plain.push(match c {
                'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
                'ى' => 'ي',
                'ة' => 'ه',
                'ς' => 'σ',
                other => other,
            });
        } else if !is_optional_mark(base, c) {
            plain.push(c);
        }
    }
    plain.retain(|c| c != TATWEEL);
    plain.nfc().collect()
}

/// Arabic elongation character.
const TATWEEL: char = '\u{640}';

/// Returns whether a mark may be omitted in writing: accents of Latin, Greek and Cyrillic (but й is a letter of its own), points of Hebrew and Arabic.
/// Vowel signs of other scripts are letters.
fn is_optional_mark(base: char, mark: char) -> bool {
    match u32::from(base) {
        0x0041..=0x024F | 0x1E00..=0x1EFF | 0x0370..=0x03FF | 0x1F00..=0x1FFF => true,
        0x0400..=0x052F => mark != '\u{306}',
        0x0590..=0x05FF | 0x0600..=0x06FF | 0x0750..=0x077F => true,
        _ => false,
    }
}

/// Builds the analyzer of a language; `none` neither drops stop words nor stems.
fn build(code: &str) -> TextAnalyzer {
    let builder = TextAnalyzer::builder(Words::default());
    match LANGUAGES.iter().find(|(c, _)| *c == code) {
        None => builder.build(),
        Some((_, language)) => match StopWordFilter::new(*language) {
            Some(stop_words) => builder
                .filter(stop_words)
                .filter(Stemmer::new(*language))
                .build(),
            None => builder.filter(Stemmer::new(*language)).build(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(language: &str, text: &str) -> Vec<String> {
        let all = tokens(language, text);
        assert!(
            all.iter()
                .all(|t| text.is_char_boundary(t.offset_from) && text.is_char_boundary(t.offset_to))
        );
        all.into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn languages_are_recognised_where_the_text_suffices() {
        let texts = [
            (
                "de",
                "Der Hafen wurde im Mittelalter gebaut und liegt an der Mündung des Flusses, wo die Schiffe ankern.",
            ),
            (
                "en",
                "The harbour was built in the middle ages and lies at the mouth of the river, where ships anchor.",
            ),
            ("none", "这个港口建于中世纪，位于河口，船只在那里停泊。"),
        ];
        for (language, text) in texts {
            assert_eq!(language_of(AUTO, text), language, "{text}");
        }
        assert_eq!(language_of(AUTO, "x = 1"), "en");
        assert_eq!(language_of("fr", texts[0].1), "fr", "a setting is kept to");
    }

    #[test]
    fn terms_with_diacritics_have_a_folded_twin() {
        let indexed: Vec<String> = indexed("none", "Málaga bay")
            .into_iter()
            .map(|t| t.text)
            .collect();
        assert_eq!(indexed, ["málaga", &twin_of_plain("malaga"), "bay"]);
        assert_eq!(folded("straße"), Some(twin_of_plain("strasse")));
        assert_eq!(folded("plain"), None);
    }

    #[test]
    fn stop_words_are_kept_apart_at_their_positions() {
        let of = |language: &str, text: &str| -> Vec<(String, usize)> {
            let found = stop_words(language, text).into_iter();
            found
                .map(|t| (shown(&t.text).to_owned(), t.position))
                .collect()
        };
        assert_eq!(
            of("en", "To be, or not to see"),
            [
                ("to".to_owned(), 0),
                ("be".to_owned(), 1),
                ("or".to_owned(), 2),
                ("not".to_owned(), 3),
                ("to".to_owned(), 4)
            ]
        );
        assert_eq!(of("none", "to be"), []);
        assert_eq!(of("de", "Der IT-Leiter"), [("der".to_owned(), 0)]);
    }

    #[test]
    fn prose_is_stemmed_without_stop_words() {
        assert_eq!(
            terms("en", "The engines were running, and don't stop!"),
            ["engin", "were", "run", "don", "t", "stop"]
        );
        assert_eq!(terms("none", "The engines"), ["the", "engines"]);
    }

    #[test]
    fn identifiers_and_versions_are_found_whole_and_in_parts() {
        assert_eq!(terms("none", "HTTP_PROXY"), ["http_proxy", "http", "proxy"]);
        assert_eq!(
            terms("none", "getUserName HTTPServer"),
            [
                "getusername",
                "get",
                "user",
                "name",
                "httpserver",
                "http",
                "server"
            ]
        );
        assert_eq!(
            terms("none", "v1.2.3, CVE-2024-1234."),
            [
                "v1",
                "2",
                "3",
                "v1.2.3",
                "1.2.3",
                "1",
                "cve",
                "2024",
                "1234",
                "cve-2024-1234"
            ]
        );
        assert_eq!(
            terms("none", "C++ and C# in main.rs"),
            ["c", "c++", "and", "c", "c#", "in", "main", "rs", "main.rs"]
        );
        assert_eq!(
            terms("none", "__init__ _id _"),
            ["__init__", "init", "_id", "id"]
        );
        assert_eq!(
            terms("none", "state-of-the-art"),
            ["state", "of", "the", "art"]
        );
    }

    #[test]
    fn unspaced_scripts_become_pairs_and_marks_stay_in_their_words() {
        assert_eq!(
            terms("en", "検索エンジン"),
            ["検索", "索エ", "エン", "ンジ", "ジン"]
        );
        assert_eq!(terms("en", "中"), ["中"]);
        assert_eq!(terms("none", "हिन्दी खोज"), ["हिन्दी", "खोज"]);
    }

    #[test]
    fn ways_of_writing_the_same_characters_are_one() {
        let pairs = ["デー", "ータ"];
        assert_eq!(terms("none", "データ"), pairs);
        assert_eq!(terms("none", "ﾃﾞｰﾀ"), pairs);
        assert_eq!(terms("none", "テ\u{3099}ータ"), pairs);
        assert_eq!(terms("none", "한국"), terms("none", "한국"));
        assert_eq!(terms("none", "Ｃａｆｅ\u{301}"), ["café"]);
        let broken = "Kraft\u{200b}fahr\u{ad}zeug";
        assert_eq!(terms("none", broken), ["kraftfahrzeug"]);
        let token = &tokens("none", &format!("x {broken} y"))[1];
        assert_eq!((token.offset_from, token.offset_to), (2, 2 + broken.len()));
    }

    #[test]
    fn han_characters_are_found_alone() {
        let all: Vec<String> = indexed("none", "喝茶。茶叶")
            .into_iter()
            .map(|t| t.text)
            .collect();
        assert_eq!(all, ["喝茶", "喝", "茶", "茶叶", "茶", "叶"]);
        assert_eq!(terms("none", "喝茶叶"), ["喝茶", "茶叶"]);
    }

    #[test]
    fn marks_that_are_not_always_written_are_folded() {
        for (written, plain) in [
            ("ёлка", "елка"),
            ("за\u{301}мок", "замок"),
            ("μέλι", "μελι"),
            ("שָׁלוֹם", "שלום"),
            ("أَحْمَد", "احمد"),
        ] {
            assert_eq!(folded(written), Some(twin_of_plain(plain)), "{written}");
            assert_eq!(shown(&twin_of_plain(written)), plain);
        }
        assert_eq!(folded("край"), None, "й is a letter");
        assert_eq!(folded("हिन्दी"), None, "vowel signs are letters");
        assert_eq!(terms("none", "İSTANBUL"), ["istanbul"]);
    }

    #[test]
    fn unknown_languages_are_refused() {
        assert!(check_language("de").is_ok() && check_language("none").is_ok());
        assert_eq!(
            check_language("xx").expect_err("unknown").code(),
            "language_unknown"
        );
    }
}
