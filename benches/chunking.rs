//! Chunking of a Markdown document of about 200 KB: with tokenising, and with given token positions.

use std::hint::black_box;
use std::path::PathBuf;

use cairn_ingest::chunk::chunk;
use cairn_ingest::{ChunkOptions, Input, Strategy, parse};
use cairn_models::{Cache, Tokens, resolve};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Returns the documentation of the repository, repeated with numbered headings.
fn text() -> String {
    let base = include_str!("../src/search/README.md");
    (0..)
        .map(|n| format!("# Part {n}\n\n{base}\n\n"))
        .scan(0, |size, part| {
            *size += part.len();
            (*size < 200_000).then_some(part)
        })
        .collect()
}

fn tokens() -> Tokens {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let root = std::env::var_os("CAIRN_MODELS_DIR")
        .map_or_else(|| home.join(".cache/cairn/models"), PathBuf::from);
    let manifest = resolve("all-MiniLM-L6-v2").expect("known");
    let directory = Cache::new(root, false)
        .pull(&manifest, &|_, _, _| {})
        .expect("the model can be had");
    Tokens::from_file("bench", &directory.join("tokenizer.json")).expect("a tokenizer")
}

fn bench(c: &mut Criterion) {
    let (text, tokens) = (text(), tokens());
    let document = parse(&Input {
        file_name: "a.md",
        bytes: text.as_bytes(),
        ..Input::default()
    })
    .expect("parses");
    let starts = tokens.starts(&document.text).expect("tokenises");
    let mut group = c.benchmark_group("chunking");
    group
        .throughput(Throughput::Bytes(text.len() as u64))
        .sample_size(10);
    group.bench_function("parse markdown", |b| {
        b.iter(|| {
            parse(&Input {
                file_name: "a.md",
                bytes: black_box(text.as_bytes()),
                ..Input::default()
            })
        })
    });
    group.bench_function("tokenise", |b| {
        b.iter(|| tokens.starts(black_box(&document.text)))
    });
    for (name, strategy) in [("naive", Strategy::Naive), ("markdown", Strategy::Markdown)] {
        let options = ChunkOptions {
            strategy,
            size: 254,
            overlap: 32,
            delimiter: String::new(),
            most: usize::MAX,
        };
        group.bench_function(name, |b| {
            b.iter(|| chunk(black_box(&document), &starts, &options))
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
