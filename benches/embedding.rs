//! The default model in both precisions: passages of about 200 tokens, and short queries.

use std::path::PathBuf;

use cairn_models::{Cache, Priority, load_local, resolve};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn bench(c: &mut Criterion) {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let root = std::env::var_os("CAIRN_MODELS_DIR")
        .map_or_else(|| home.join(".cache/cairn/models"), PathBuf::from);
    let cache = Cache::new(root, false);
    let words: Vec<&str> = include_str!("../src/search/README.md")
        .split_whitespace()
        .collect();
    let passages: Vec<String> = words.chunks(130).take(16).map(|w| w.join(" ")).collect();
    let query = vec!["how are the scores of both indexes blended".to_owned()];
    let mut group = c.benchmark_group("embedding");
    group.sample_size(10);
    for name in ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-fp32"] {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let model = load_local(
            &resolve(name).expect("known"),
            &cache,
            None,
            threads,
            &|_, _, _| {},
        )
        .expect("loads");
        group.throughput(Throughput::Elements(passages.len() as u64));
        group.bench_function(format!("{name} passages"), |b| {
            b.iter(|| model.embed(&passages, Priority::Bulk))
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name} query"), |b| {
            b.iter(|| model.embed(&query, Priority::Query))
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
