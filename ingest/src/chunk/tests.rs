//! Offsets, sizes and coverage on random text; headings and delimiters on small ones.

use proptest::prelude::{
    Just, ProptestConfig, prop_assert, prop_assert_eq, prop_assume, prop_oneof, proptest,
};

use super::*;
use crate::input::Input;
use crate::parse::parse;

/// A mock tokenizer: one token per word and per punctuation mark.
fn token_starts(text: &str) -> Vec<usize> {
    let mut inside = false;
    let mut starts = Vec::new();
    for (i, c) in text.char_indices() {
        let word = c.is_alphanumeric();
        if (word && !inside) || (!word && !c.is_whitespace()) {
            starts.push(i);
        }
        inside = word;
    }
    starts
}

/// Splits a document with few chunks.
fn cut(document: &Document, token_starts: &[usize], options: &ChunkOptions) -> Vec<Chunk> {
    chunk(document, token_starts, options).expect("not too many")
}

fn options(strategy: Strategy, size: usize, overlap: usize) -> ChunkOptions {
    ChunkOptions {
        strategy,
        size,
        overlap,
        delimiter: "\n---\n".to_owned(),
        most: 100_000,
    }
}

fn markdown(text: &str) -> Document {
    parse(&Input {
        file_name: "a.md",
        bytes: text.as_bytes(),
        ..Input::default()
    })
    .expect("parses")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chunks_are_spans_within_the_size_and_cover_the_text(
        text in "(# [a-zä]{1,8}\n|[a-zA-Zé.,!]{1,12} |[a-z]{1,9}\n\n|中文字 |- [a-z]{3} [a-z]{4}\n|```\n[a-z ]{1,20}\n```\n|\\| a \\| b \\|\n){1,120}",
        size in 8_usize..64,
        share in 0_usize..4,
        strategy in prop_oneof![Just(Strategy::Naive), Just(Strategy::Markdown)],
    ) {
        prop_assume!(!text.trim().is_empty());
        let document = markdown(&text);
        let starts = token_starts(&document.text);
        let overlap = size * share / 8;
        let chunks = cut(&document, &starts, &options(strategy, size, overlap));
        let mut covered = vec![false; document.text.len()];
        for chunk in &chunks {
            let shown = &document.text[chunk.start..chunk.end];
            prop_assert!(!shown.trim().is_empty());
            prop_assert!(chunk.tokens <= size, "{} > {size}: {shown:?}", chunk.tokens);
            prop_assert_eq!(chunk.tokens, starts.iter().filter(|s| (chunk.start..chunk.end).contains(s)).count());
            covered[chunk.start..chunk.end].fill(true);
        }
        for (i, c) in document.text.char_indices() {
            prop_assert!(c.is_whitespace() || covered[i], "{c:?} at {i} is in no chunk");
        }
        prop_assert!(chunks.is_sorted_by_key(|c| c.end));
        for pair in chunks.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            prop_assert!(b.start > a.start, "{:?} is contained in {:?}", &document.text[a.start..a.end], &document.text[b.start..b.end]);
        }
    }
}

/// A paragraph of a number of tokens.
fn paragraph(tokens: usize) -> String {
    let words: Vec<String> = (1..tokens).map(|n| format!("w{n}")).collect();
    format!("{}.", words.join(" "))
}

#[test]
fn a_text_that_fits_is_one_chunk_whatever_the_overlap() {
    for strategy in [Strategy::Naive, Strategy::Markdown, Strategy::Manual] {
        let document = markdown(&format!("{}\n\n{}\n", paragraph(30), paragraph(30)));
        let starts = token_starts(&document.text);
        let chunks = cut(&document, &starts, &options(strategy, 60, 20));
        assert_eq!(chunks.len(), 1, "{strategy:?}");
        assert_eq!(chunks[0].tokens, 60);
    }
}

#[test]
fn a_section_that_fits_is_one_chunk_among_longer_ones() {
    let (long, half) = (paragraph(90), paragraph(28));
    let document = markdown(&format!(
        "# A\n\n{long}\n\n# B\n\n{half}\n\n{half}\n\n# C\n\n{long}\n"
    ));
    let starts = token_starts(&document.text);
    let chunks = cut(&document, &starts, &options(Strategy::Markdown, 60, 20));
    let of_b: Vec<&Chunk> = chunks.iter().filter(|c| c.heading_path == ["B"]).collect();
    assert_eq!(of_b.len(), 1, "{chunks:#?}");
    assert!(document.text[of_b[0].start..of_b[0].end].starts_with("# B"));
}

#[test]
fn a_short_page_is_not_repeated_whole_on_the_next() {
    let mut document = markdown(&format!("The results show that\n\n{}\n", paragraph(40)));
    let next = document.text.find("w1 ").expect("there");
    let page = |number, start, end| Page {
        number,
        label: None,
        start,
        end,
    };
    document.pages = vec![page(1, 0, next), page(2, next, document.text.len())];
    let starts = token_starts(&document.text);
    let chunks = cut(&document, &starts, &options(Strategy::Naive, 60, 20));
    let shown: Vec<&str> = chunks
        .iter()
        .map(|c| &document.text[c.start..c.end])
        .collect();
    assert_eq!(shown[0], "The results show that");
    assert!(shown[1].starts_with("results show that"), "{shown:#?}");
}

#[test]
fn a_heading_stays_with_its_text_and_names_the_path() {
    let body = "word ".repeat(30);
    let document = markdown(&format!(
        "# Guide\n\n{body}\n\n## Install\n\n{body}\n\n### Linux\n\n{body}\n"
    ));
    let chunks = cut(
        &document,
        &token_starts(&document.text),
        &options(Strategy::Markdown, 40, 0),
    );
    let paths: Vec<String> = chunks.iter().map(|c| c.heading_path.join(" > ")).collect();
    assert_eq!(
        paths,
        ["Guide", "Guide > Install", "Guide > Install > Linux"]
    );
    assert!(document.text[chunks[1].start..chunks[1].end].starts_with("## Install\n\nword"));
}

#[test]
fn manual_cuts_exactly_at_the_delimiter() {
    let document = markdown("first piece\n---\nsecond piece\n---\nthird");
    let chunks = cut(
        &document,
        &token_starts(&document.text),
        &options(Strategy::Manual, 64, 8),
    );
    let shown: Vec<&str> = chunks
        .iter()
        .map(|c| &document.text[c.start..c.end])
        .collect();
    assert_eq!(shown, ["first piece", "second piece", "third"]);
}

#[test]
fn a_text_without_spaces_is_cut_all_the_same() {
    let document = markdown(&"中".repeat(500));
    let starts: Vec<usize> = document.text.char_indices().map(|(i, _)| i).collect();
    let chunks = cut(&document, &starts, &options(Strategy::Naive, 32, 0));
    assert!(chunks.len() >= 500 / 32 && chunks.iter().all(|c| c.tokens <= 32));
}

#[test]
fn the_context_repeats_nothing() {
    assert_eq!(
        context("Guide", &["Guide".to_owned(), "Install".to_owned()]),
        "Guide\nInstall"
    );
    assert_eq!(context("", &[]), "");
}

#[test]
fn a_chunk_has_one_page() {
    let pages = [
        "short first page.",
        "the second page is a little longer than the first.",
        "third.",
    ];
    let mut document = Document::default();
    for (number, page) in (1..).zip(pages) {
        let start = document.text.len();
        document.text.push_str(page);
        document.pages.push(crate::Page {
            start,
            end: document.text.len(),
            number,
            label: None,
        });
        document.text.push_str("\n\n");
    }
    let chunks = cut(
        &document,
        &token_starts(&document.text),
        &options(Strategy::Markdown, 64, 0),
    );
    assert_eq!(
        chunks
            .iter()
            .map(|c| {
                (
                    c.page.as_ref().map(|p| p.number),
                    &document.text[c.start..c.end],
                )
            })
            .collect::<Vec<_>>(),
        [
            (Some(1), pages[0]),
            (Some(2), pages[1]),
            (Some(3), pages[2])
        ]
    );
}

#[test]
fn a_table_is_cut_between_rows_and_repeats_its_header() {
    let rows: String = (1..=40)
        .map(|n| format!("| item {n} | {n}00 |\n"))
        .collect();
    let document = markdown(&format!(
        "# Stock\n\nWhat there is.\n\n| name | amount |\n| --- | --- |\n{rows}\nThat was all."
    ));
    let chunks = cut(
        &document,
        &token_starts(&document.text),
        &options(Strategy::Markdown, 64, 8),
    );
    let with_rows: Vec<_> = chunks
        .iter()
        .filter_map(|c| Some((c, c.table.as_ref()?)))
        .collect();
    assert!(with_rows.len() > 3);
    let mut next = 1;
    for (chunk, table) in &with_rows {
        assert_eq!(
            (table.table, table.first),
            (1, next),
            "no row is torn, lost or repeated"
        );
        next = table.last + 1;
        let text = document.text[chunk.start..chunk.end].trim_end();
        assert!(
            text.ends_with('|') && chunk.tokens <= 64,
            "{} tokens: {text}",
            chunk.tokens
        );
        assert_eq!(chunk.heading_path, ["Stock"]);
        match &table.header {
            Some(header) => assert_eq!(
                &document.text[header.clone()],
                "| name | amount |\n| --- | --- |\n"
            ),
            None => assert!(text.contains("What there is.") && text.contains("| name |")),
        }
    }
    assert_eq!(next, 41);
    assert!(document.text[chunks[chunks.len() - 1].start..].starts_with("That was all."));
}

#[test]
fn a_table_may_end_with_the_line_break_after_its_page() {
    let text = "| a | b |\n| --- | --- |\n| one two three four | five six seven |\n| one two three four | five six seven |\n";
    let mut document = markdown(text);
    // The page ends before the line break with which the table ends.
    document.pages.push(crate::Page {
        start: 0,
        end: document.text.trim_end().len(),
        number: 1,
        label: None,
    });
    for table in &mut document.tables {
        table.end = document.text.len();
    }
    assert_eq!(document.tables.len(), 1);
    let starts = token_starts(&document.text);
    let chunks = cut(&document, &starts, &options(Strategy::Markdown, 12, 0));
    assert!(chunks.len() > 1, "{chunks:?}");
}

#[test]
fn small_tables_lists_and_code_blocks_are_not_torn() {
    let block = "```\nlet a = 1;\nlet b = 2;\n```";
    let list = "- one apple\n- two pears\n- three plums";
    let table = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |";
    let filler = "Some words before it that fill most of the chunk, so that the next block does not fit any more.";
    for whole in [block, list, table] {
        let document = markdown(&format!("{filler}\n\n{whole}\n\n{filler}"));
        let chunks = cut(
            &document,
            &token_starts(&document.text),
            &options(Strategy::Markdown, 40, 0),
        );
        let holding = chunks
            .iter()
            .filter(|c| document.text[c.start..c.end].contains(whole))
            .count();
        assert_eq!(holding, 1, "{whole} was torn");
    }
}

#[test]
fn code_is_cut_by_symbol_and_counts_lines() {
    let function = |name: &str| {
        format!(
            "/// Says {name}.\nfn {name}() {{\n    let words = [\"a\", \"b\", \"c\"];\n    println!(\"{{words:?}}\");\n}}\n\n"
        )
    };
    let source: String = ["alpha", "beta", "gamma"]
        .into_iter()
        .map(function)
        .collect();
    let document = parse(&Input {
        file_name: "a.rs",
        bytes: source.as_bytes(),
        ..Input::default()
    })
    .expect("parses");
    let chunks = cut(
        &document,
        &token_starts(&document.text),
        &options(Strategy::Markdown, 50, 8),
    );
    let seen: Vec<_> = chunks
        .iter()
        .map(|c| (c.heading_path.join("/"), c.lines))
        .collect();
    assert_eq!(
        seen,
        [
            ("alpha".to_owned(), Some((1, 5))),
            ("beta".to_owned(), Some((7, 11))),
            ("gamma".to_owned(), Some((13, 17)))
        ]
    );
}

/// Ratio of the bytes passed to the splitter to the bytes of the text.
#[test]
fn the_splitter_sees_each_part_of_a_long_line_a_few_times() {
    let one_line = "The quick brown fox jumps over the lazy dog and runs on. ".repeat(20_000);
    let document = markdown(&one_line);
    let starts = token_starts(&document.text);
    let mut shown = 0;
    let sizer = Sizer {
        base: document.text.as_ptr() as usize,
        starts: &starts,
    };
    let whole = 0..document.text.len();
    let cut = windows::structured(&document.text, whole, 100, &sizer, &[], |part| {
        shown += part.len();
        vec![(part.start, part.end)]
    });
    // Without a boundary everything but the last window is split as plain text.
    assert!(shown < 100_000, "{shown}");
    assert!(cut.len() > 2_000);
    assert_eq!(cut.first().map(|c| c.0), Some(0));
}

#[test]
fn windows_cut_as_the_splitter_would_in_one_go() {
    // Short enough for a single splitter call, and several windows long.
    let text: String = (0..400)
        .map(|n| {
            format!(
                "Sentence number {n} of this text says little. {}",
                if n % 7 == 0 { "\n\n" } else { "" }
            )
        })
        .collect();
    let document = markdown(&text);
    let starts = token_starts(&document.text);
    let sizer = Sizer {
        base: document.text.as_ptr() as usize,
        starts: &starts,
    };
    let splitter = text_splitter::TextSplitter::new(ChunkConfig::new(10).with_sizer(&sizer));
    let whole = spans(splitter.chunk_indices(&document.text), 0);
    let windows = naive(&document.text, 0..document.text.len(), 10, &sizer);
    assert_eq!(windows, whole);
}

#[test]
fn too_many_chunks_are_refused_before_they_are_made() {
    let document = markdown(&"x\n".repeat(10_000));
    let starts = token_starts(&document.text);
    let options = ChunkOptions {
        delimiter: "\n".to_owned(),
        most: 1000,
        ..options(Strategy::Manual, 64, 0)
    };
    let error = chunk(&document, &starts, &options).expect_err("too many");
    assert_eq!(error.code, "too_many_chunks");
}
