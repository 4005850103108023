//! The parser process: applies resource limits to itself, then parses and splits the files that it is sent, one after the other, until its input ends.
//! With a file name in its argument it parses a single file from its input and prints the document as JSON, for debugging a parser.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use cairn_ingest::{Document, Input, ParseError};
use cairn_models::Tokens;
use serde::Deserialize;

use super::cut::{Cut, Pieces, cut};
use super::protocol::{self, Answer, Limits, Reply, Source, Task};
use super::too_long;

/// Largest file that may be unpacked, in bytes.
const CHILD_FILE: u64 = 1 << 30;
/// Stack of the parsing thread in bytes: deeply nested pages are parsed recursively.
const STACK: usize = 256 << 20;

/// Argument of the process.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Argument {
    /// A single file on the input.
    Single(Single),
    /// Frames with tasks on the input.
    Many(Limits),
}

/// A file to parse.
#[derive(Debug, Deserialize)]
struct Single {
    #[serde(flatten)]
    limits: Limits,
    file_name: String,
    mime_type: String,
    children: PathBuf,
    ocr: Option<String>,
}

impl Single {
    fn task(self) -> Task {
        Task {
            source: Source::File {
                file_name: self.file_name,
                mime_type: self.mime_type,
                children: Some(self.children),
                ocr: self.ocr,
            },
            cut: None,
            text_limit: usize::MAX,
        }
    }
}

/// Tokenizers by file.
type Tokenizers = HashMap<PathBuf, Tokens>;

/// Runs the process and returns its exit code.
#[must_use]
pub fn run(argument: &str) -> i32 {
    let outcome = (|| -> io::Result<()> {
        let (limits, single) = match serde_json::from_str(argument)? {
            Argument::Single(file) => (file.limits.clone(), Some(file)),
            Argument::Many(limits) => (limits, None),
        };
        // The program itself, which is large with all its symbols, does not count against the limit of a file.
        let memory = (limits.memory_mb << 20).saturating_add(address_space());
        rlimit::setrlimit(rlimit::Resource::AS, memory, memory)?;
        rlimit::setrlimit(rlimit::Resource::CPU, limits.seconds, limits.seconds)?;
        rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
        rlimit::setrlimit(rlimit::Resource::FSIZE, CHILD_FILE, CHILD_FILE)?;
        end_with_parent();
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || serve(single))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the parser panicked")))
    })();
    i32::from(outcome.is_err())
}

/// Answers the tasks on the input until it ends, or only `single`.
fn serve(single: Option<Single>) -> io::Result<()> {
    let mut tokenizers = Tokenizers::default();
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    if let Some(file) = single {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let answer = caught(file.task(), bytes, &mut tokenizers);
        let document = answer.map(|(reply, text)| Document {
            text,
            ..reply.document
        });
        serde_json::to_writer(&mut out, &document)?;
        return out.flush();
    }
    while let Some((task, bytes)) = protocol::read::<Task>(&mut input)? {
        let (answer, text): (Answer, String) = match caught(task, bytes, &mut tokenizers) {
            Ok((reply, text)) => (Ok(reply), text),
            Err(error) => (Err(error), String::new()),
        };
        protocol::write(&mut out, &answer, text.as_bytes())?;
    }
    Ok(())
}

/// Returns the bytes of address space that the process uses now; 0 where that is unknown.
fn address_space() -> u64 {
    let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Runs a task; a panic becomes an error of the file.
fn caught(
    task: Task,
    bytes: Vec<u8>,
    tokenizers: &mut Tokenizers,
) -> Result<(Reply, String), ParseError> {
    // A tokenizer is inserted when it is complete.
    let parsing = AssertUnwindSafe(|| answer(task, bytes, tokenizers));
    catch_unwind(parsing).unwrap_or_else(|_| {
        Err(ParseError::new(
            "damaged_file",
            "the file is damaged in a way the parser cannot handle",
        ))
    })
}

/// Ends the process when its parent is gone, even in the middle of a task.
fn end_with_parent() {
    #[cfg(unix)]
    {
        let parent = std::os::unix::process::parent_id();
        std::thread::spawn(move || {
            // Nothing else could wake this thread.
            let (_wake, never) = std::sync::mpsc::channel::<()>();
            while std::os::unix::process::parent_id() == parent {
                let _ = never.recv_timeout(Duration::from_secs(1));
            }
            std::process::exit(1);
        });
    }
}

fn answer(
    task: Task,
    bytes: Vec<u8>,
    tokenizers: &mut Tokenizers,
) -> Result<(Reply, String), ParseError> {
    let mut document = match task.source {
        Source::File {
            file_name,
            mime_type,
            children,
            ocr,
        } => cairn_ingest::parse(&Input {
            file_name: &file_name,
            mime_type: Some(&mime_type),
            bytes: &bytes,
            children: children.as_deref(),
            ocr: ocr.as_deref(),
        })?,
        Source::Document(document) => {
            let text = String::from_utf8(bytes);
            Document {
                text: text.map_err(|e| ParseError::new("not_utf8", e.to_string()))?,
                ..*document
            }
        }
    };
    if document.text.len() > task.text_limit {
        return Err(too_long(task.text_limit));
    }
    let pieces = match &task.cut {
        Some(how) => Some(pieces(&document, how, tokenizers)?),
        None => None,
    };
    if pieces.is_some() {
        // Needed for chunking only; of the pages only the number of the last one is used.
        document.headings = Vec::new();
        document.tables = Vec::new();
        document.symbols = Vec::new();
        document.pages = document.pages.pop().into_iter().collect();
    }
    let text = std::mem::take(&mut document.text);
    Ok((Reply { document, pieces }, text))
}

fn pieces(
    document: &Document,
    how: &Cut,
    tokenizers: &mut Tokenizers,
) -> Result<Pieces, ParseError> {
    let tokens = match tokenizers.entry(how.tokenizer.clone()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => {
            let read = Tokens::from_file("tokenizer", &how.tokenizer).map_err(|e| {
                ParseError::new(
                    "tokenizer_missing",
                    format!("the model's tokenizer cannot be read: {e}"),
                )
            })?;
            place.insert(read)
        }
    };
    cut(document, tokens, how)
}
