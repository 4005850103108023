//! The keyword side of a search among 20,000 chunks: analysis, two hundred candidates, exact scores of single chunks.
//! Whole searches with the model and the vectors are measured by `cairn bench`.

use std::sync::Arc;

use std::hint::black_box;

use cairn::search::keyword::{Change, KeywordStore};
use cairn::search::live::{LiveSet, Passing};
use cairn::search::syntax::Parsed;
use criterion::{Criterion, criterion_group, criterion_main};
use uuid::Uuid;

fn bench(c: &mut Criterion) {
    let words: Vec<&str> = include_str!("../src/search/README.md")
        .split_whitespace()
        .collect();
    let directory = tempfile::tempdir().expect("temporary directory");
    let index = KeywordStore::new(directory.path().to_owned(), Arc::default())
        .index("bench", 1, "en")
        .expect("opens");
    let changes = (0..20_000_u128).map(|n| {
        let start = usize::try_from(n * 37 % (words.len() as u128 - 150)).expect("small");
        Change::Put {
            id: Uuid::from_u128(n),
            text: format!("number{n} {}", words[start..start + 150].join(" ")),
        }
    });
    index.apply(changes.collect(), 1, false).expect("applies");
    let query = &Parsed::plain("how is the bound of a keyword score computed");
    let analysed = index.analyse(query).expect("analyses");
    let ids: Vec<Uuid> = (0..200).map(|n| Uuid::from_u128(n * 97)).collect();
    let names: Vec<String> = (0..2500).map(|n| n.to_string()).collect();
    let chunks = (0..20_000_usize).map(|n| (Uuid::from_u128(n as u128), names[n / 8].as_str()));
    let live = LiveSet::of_chunks(chunks);
    let some = |share: usize| {
        let passing = (0..20_000).filter(|n| n * 37 % 100 < share);
        Passing::new(passing.collect())
    };
    let mut group = c.benchmark_group("search");
    group.bench_function("analyse", |b| b.iter(|| index.analyse(black_box(query))));
    group.bench_function("200 candidates", |b| {
        b.iter(|| index.search(black_box(&analysed), &live, None, 200))
    });
    for share in [1, 10, 50] {
        let passing = some(share);
        group.bench_function(format!("200 candidates among {share} %"), |b| {
            b.iter(|| index.search(black_box(&analysed), &live, Some(&passing), 200))
        });
    }
    group.bench_function("scores of 200 chunks", |b| {
        b.iter(|| index.scores(black_box(&analysed), &live, &ids))
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
