//! Parses, tokenises and chunks one line of 1 to 64 MB, and prints the milliseconds per MB: constant values mean linear time. Runs each size once;
//! `CAIRN_BENCH_MB` sets the largest (64 when absent).

use std::path::PathBuf;
use std::time::Instant;

use cairn_ingest::chunk::chunk;
use cairn_ingest::{ChunkOptions, Input, Strategy, parse};
use cairn_models::{Cache, Tokens, resolve};

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

/// Returns a text of about `bytes` bytes: the pieces for consecutive numbers.
fn repeat(bytes: usize, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(bytes + 100);
    let mut n = 0;
    while text.len() < bytes {
        text.push_str(&piece(n));
        n += 1;
    }
    text
}

/// A kind of line: its name, the file name, and the line.
type Line = (&'static str, &'static str, fn(usize) -> String);

const LINES: [Line; 6] = [
    ("English sentences", "a.txt", |bytes| {
        repeat(bytes, |n| {
            format!("The tide number {n} rose slowly over the granite ledge, and nobody saw it. ")
        })
    }),
    ("English without full stops", "a.txt", |bytes| {
        repeat(bytes, |n| {
            format!("tide {n} granite ledge willow basin lantern ")
        })
    }),
    ("Chinese without punctuation", "a.txt", |bytes| {
        repeat(bytes, |n| {
            ["潮水慢慢地漫过花岗岩", "没有人看见它", "灯笼在盆地里发光"][n % 3].to_owned()
        })
    }),
    ("JSON lines as text", "a.txt", |bytes| {
        repeat(bytes, |n| {
            format!(
                "{{\"id\":{n},\"name\":\"tide {n}\",\"tags\":[\"a\",\"b\"],\"height\":{}.5}} ",
                n % 97
            )
        })
    }),
    ("base64", "a.txt", |bytes| {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 1_u64;
        (0..bytes)
            .map(|_| {
                // A linear congruential generator (Knuth).
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(LETTERS[(state >> 58) as usize])
            })
            .collect()
    }),
    ("English, as Markdown", "a.md", |bytes| {
        repeat(bytes, |n| {
            format!(
                "The *tide* number [{n}](x) rose slowly over the `granite` ledge, and nobody saw it. "
            )
        })
    }),
];

fn main() {
    let most: usize = std::env::var("CAIRN_BENCH_MB")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(64);
    let tokens = tokens();
    println!(
        "{:28} {:>5} {:>8} {:>9} {:>8}",
        "", "MB", "ms/MB", "chunks", "to 1 MB"
    );
    for (name, file_name, line) in LINES {
        let mut first = None;
        for megabytes in std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= most)
        {
            let text = line(megabytes << 20);
            let began = Instant::now();
            let document = parse(&Input {
                file_name,
                bytes: text.as_bytes(),
                ..Input::default()
            })
            .expect("parses");
            let starts = tokens.starts(&document.text).expect("tokenises");
            let options = ChunkOptions {
                strategy: Strategy::Markdown,
                size: 254,
                overlap: 32,
                delimiter: String::new(),
                most: usize::MAX,
            };
            let chunks = chunk(&document, &starts, &options).expect("any number");
            let each = began.elapsed().as_secs_f64() * 1000.0 / megabytes as f64;
            let one = *first.get_or_insert(each);
            println!(
                "{name:28} {megabytes:5} {each:8.0} {:9} {:8.2}",
                chunks.len(),
                each / one
            );
        }
    }
}
