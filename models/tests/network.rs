//! Downloads and remote embeddings against a local server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_models::{
    Cache, Error, Files, Loaded, Priority, RemoteEmbedder, RemoteOptions, Result, Source, Tokens,
    resolve,
};

/// A request: its first line, its `authorization` header, its body.
struct Request {
    line: String,
    authorization: String,
    body: String,
}

/// Answers each request with a status and a body, on a free port of loopback; gives the address.
fn serve(answer: impl Fn(&Request) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that went away is none of the test's business.
            let _ = stream.and_then(|stream| respond(stream, &answer));
        }
    });
    address
}

fn respond(
    mut stream: TcpStream,
    answer: &impl Fn(&Request) -> (u16, String),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = Request {
        line: String::new(),
        authorization: String::new(),
        body: String::new(),
    };
    reader.read_line(&mut request.line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a number"),
            "authorization" => value.trim().clone_into(&mut request.authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8(body).expect("text");
    let (status, body) = answer(&request);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A word-level tokenizer, the smallest that the format allows.
const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},
    "post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;

fn connect(url: &str, dimensions: usize) -> Result<Loaded> {
    let options = RemoteOptions {
        url: format!("{url}/v1"),
        key: Some("secret".to_owned()),
        model: "text-embedding-test".to_owned(),
        dimensions,
        max_tokens: 100,
        batch: 2,
        timeout: Duration::from_secs(10),
    };
    RemoteEmbedder::connect(
        options,
        Tokens::from_bytes("test", Path::new("none"), TOKENIZER.as_bytes())?,
    )
}

/// Embeds a text as its length and 1, answering in reverse order as the protocol allows.
fn embeddings(request: &Request) -> (u16, String) {
    let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(
        (&body["model"], &body["encoding_format"]),
        (
            &serde_json::json!("text-embedding-test"),
            &serde_json::json!("float")
        )
    );
    let input = body["input"].as_array().expect("texts");
    let mut data: Vec<serde_json::Value> = input
        .iter()
        .enumerate()
        .map(|(index, text)| serde_json::json!({"index": index, "embedding": [text.as_str().expect("text").len(), 1]}))
        .collect();
    data.reverse();
    (200, serde_json::json!({"data": data}).to_string())
}

#[test]
fn a_remote_model_is_asked_in_batches_and_gives_unit_vectors_in_order() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let url = serve(move |request| {
        assert!(
            request.line.starts_with("POST /v1/embeddings "),
            "{}",
            request.line
        );
        assert_eq!(request.authorization, "Bearer secret");
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        seen.lock()
            .expect("not poisoned")
            .push(body["input"].as_array().map_or(0, Vec::len));
        embeddings(request)
    });
    let model = connect(&url, 2).expect("connects");
    let vectors = model
        .embed(
            &["abc".to_owned(), "x".to_owned(), "abcd".to_owned()],
            Priority::Bulk,
        )
        .expect("embeds");
    let expected = [3.0_f32, 1.0, 4.0].map(|n| {
        let norm = n.hypot(1.0);
        vec![n / norm, 1.0 / norm]
    });
    for (vector, expected) in vectors.iter().zip(&expected) {
        assert!(
            vector
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
    }
    assert_eq!(
        *sizes.lock().expect("not poisoned"),
        [1, 2, 1],
        "a probe, then two batches"
    );
}

#[test]
fn what_is_wrong_with_an_endpoint_shows_when_connecting() {
    let wrong = connect(&serve(embeddings), 3)
        .err()
        .expect("other dimensions");
    assert!(
        matches!(
            wrong,
            Error::Dimensions {
                expected: 3,
                found: 2,
                ..
            }
        ),
        "{wrong}"
    );
    let refused = connect(&serve(|_| (401, "no such key".to_owned())), 2)
        .err()
        .expect("refused");
    assert!(
        !refused.is_retryable() && refused.to_string().contains("no such key"),
        "{refused}"
    );
    let busy = connect(&serve(|_| (503, "busy".to_owned())), 2)
        .err()
        .expect("busy");
    assert!(busy.is_retryable());
    let rubbish = connect(&serve(|_| (200, "{}".to_owned())), 2)
        .err()
        .expect("rubbish");
    assert!(!rubbish.is_retryable());
}

#[test]
fn sources_are_tried_in_order_and_every_cause_is_told() {
    let hub = serve(|request| match request.line.split(' ').nth(1) {
        Some("/second/resolve/main/config.json") => (200, "{}".to_owned()),
        _ => (404, String::new()),
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let cache = Cache::new(directory.path(), false).with_hub(&hub);
    let mut manifest = resolve("all-MiniLM-L6-v2").expect("known");
    manifest.files = vec![Files {
        name: "config.json".to_owned(),
        sha256: None,
    }];
    let source = |repo: &str| Source::Hub {
        repo: repo.to_owned(),
    };
    manifest.sources = vec![source("first"), source("second")];
    let found = cache
        .pull(&manifest, &|_, _, _| {})
        .expect("the second has it");
    assert_eq!(
        std::fs::read(found.join("config.json")).expect("readable"),
        b"{}"
    );
    cache.verify(&manifest).expect("as it was at the download");

    manifest.sources = vec![source("third"), source("fourth")];
    let error = cache
        .pull(&manifest, &|_, _, _| {})
        .expect_err("nobody has it")
        .to_string();
    assert!(
        error.contains("third") && error.contains("fourth") && error.contains("404"),
        "{error}"
    );
}
