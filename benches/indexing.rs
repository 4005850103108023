//! Applying changes to the keyword index: one chunk with its commit, and a thousand.

use std::sync::Arc;

use cairn::search::keyword::{Change, KeywordStore};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

fn changes(from: u128, count: u128) -> Vec<Change> {
    let words: Vec<&str> = include_str!("../src/search/README.md")
        .split_whitespace()
        .collect();
    (from..from + count)
        .map(|n| {
            let start = usize::try_from(n * 37 % (words.len() as u128 - 150)).expect("small");
            Change::Put {
                id: Uuid::from_u128(n),
                text: words[start..start + 150].join(" "),
            }
        })
        .collect()
}

fn bench(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let index = KeywordStore::new(directory.path().to_owned(), Arc::default())
        .index("bench", 1, "en")
        .expect("opens");
    let mut group = c.benchmark_group("indexing");
    group.sample_size(10);
    let mut next = 0;
    for count in [1, 1000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} chunks"), |b| {
            b.iter_batched(
                || {
                    next += u128::from(count);
                    changes(next, u128::from(count))
                },
                |batch| index.apply(batch, 1, false).expect("applies"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
