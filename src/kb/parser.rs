//! Parsing in a child process of the same program, with limits on memory, processor time and output: a hostile file kills its own process
//! and becomes an error with a sentence. Plain text and Markdown, which need no fragile parser, are read in this process. The files inside an
//! archive or a message are unpacked by the child into a folder of their own.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use cairn_ingest::parse::detect;
use cairn_ingest::{Document, Input, ParseError};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::error::{Error, Result};

/// Limits of a parse.
#[derive(Debug, Clone)]
pub struct Parser {
    /// Program to run as the child; this one, unless a test says otherwise.
    pub program: PathBuf,
    /// Address space in MiB.
    pub memory_mb: u64,
    /// Wall and processor time.
    pub time: Duration,
    /// Largest normalised text in bytes.
    pub text_limit: usize,
    /// Where files that are unpacked wait until they are stored.
    pub scratch: PathBuf,
    /// Languages of text recognition; absent: none is done.
    pub ocr: Option<String>,
}

/// A parsed file.
#[derive(Debug)]
pub struct Parsed {
    /// What was read.
    pub document: Document,
    /// Holds the bytes of the document's children; they are gone when this is dropped.
    pub room: TempDir,
}

/// Bytes of a file that tell whether it is plain text.
const HEAD: usize = 8192;
/// Largest file that a child may unpack.
const CHILD_FILE: u64 = 1 << 30;

/// Name of the hidden command that the child runs.
pub const COMMAND: &str = "parse-child";

/// What the child is told, as the only argument.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    file_name: String,
    mime_type: String,
    memory_mb: u64,
    seconds: u64,
    /// Folder for the files inside archives and mail.
    children: Option<PathBuf>,
    #[serde(default)]
    ocr: Option<String>,
}

impl Parser {
    /// Parses bytes.
    ///
    /// # Errors
    /// The inner result is about the file (stable code, sentence); the outer one about this machine.
    pub async fn parse(
        &self,
        file_name: &str,
        mime_type: &str,
        bytes: Bytes,
    ) -> Result<Result<Parsed, ParseError>> {
        // The beginning tells whether a child is needed; looking through a whole container is the child's work.
        let beginning = detect(&Input {
            file_name,
            mime_type: Some(mime_type),
            bytes: &bytes[..bytes.len().min(HEAD)],
            ocr: self.ocr.as_deref(),
            ..Input::default()
        });
        let room = self.folder().await?;
        let parsed = if beginning.is_ok_and(cairn_ingest::Format::is_harmless) {
            let (file_name, mime_type) = (file_name.to_owned(), mime_type.to_owned());
            tokio::task::spawn_blocking(move || {
                cairn_ingest::parse(&Input {
                    file_name: &file_name,
                    mime_type: Some(&mime_type),
                    bytes: &bytes,
                    ..Input::default()
                })
            })
            .await?
        } else {
            self.in_child(file_name, mime_type, bytes, &room).await?
        };
        Ok(parsed.and_then(|document| self.fit(document, room)))
    }

    /// Takes what another program read, under the same limit on the text.
    ///
    /// # Errors
    /// As the file system says.
    pub async fn accept(
        &self,
        converted: std::result::Result<Document, ParseError>,
    ) -> Result<std::result::Result<Parsed, ParseError>> {
        let room = self.folder().await?;
        Ok(converted.and_then(|document| self.fit(document, room)))
    }

    /// A folder for files that are not stored yet; it goes with its contents when this is dropped.
    ///
    /// # Errors
    /// As the file system says.
    pub async fn folder(&self) -> Result<TempDir> {
        let scratch = self.scratch.clone();
        Ok(tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&scratch)?;
            TempDir::new_in(&scratch)
        })
        .await??)
    }

    fn fit(&self, document: Document, room: TempDir) -> Result<Parsed, ParseError> {
        if document.text.len() > self.text_limit {
            Err(self.too_long())
        } else {
            Ok(Parsed { document, room })
        }
    }

    fn too_long(&self) -> ParseError {
        ParseError::new(
            "text_too_long",
            format!(
                "the text of the file is longer than {} MiB",
                self.text_limit >> 20
            ),
        )
    }

    async fn in_child(
        &self,
        file_name: &str,
        mime_type: &str,
        bytes: Bytes,
        room: &TempDir,
    ) -> Result<Result<Document, ParseError>> {
        let task = Task {
            file_name: file_name.to_owned(),
            mime_type: mime_type.to_owned(),
            memory_mb: self.memory_mb,
            seconds: self.time.as_secs(),
            children: Some(room.path().to_owned()),
            ocr: self.ocr.clone(),
        };
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(serde_json::to_string(&task)?)
            .env_clear()
            // Text recognition is a program, too.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| {
                Error::unavailable("parser_unavailable", "the parser process cannot be started")
                    .with_source(e)
            })?;
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let work = async {
            let write = async {
                if let Some(mut stdin) = stdin.take() {
                    // A child that has seen enough closes its end; what it says on its output decides.
                    let _ = stdin.write_all(&bytes).await;
                }
            };
            let read = async {
                let mut out = Vec::new();
                if let Some(stdout) = stdout {
                    // JSON escapes can double a text; spans and titles add to it.
                    stdout
                        .take(4 * self.text_limit as u64)
                        .read_to_end(&mut out)
                        .await?;
                }
                Ok::<_, std::io::Error>(out)
            };
            let ((), out) = tokio::join!(write, read);
            let out = out?;
            // A child that wrote more than we read would wait for ever.
            if out.len() >= 4 * self.text_limit {
                child.start_kill()?;
            }
            Ok::<_, std::io::Error>((out, child.wait().await?))
        };
        match tokio::time::timeout(self.time, work).await {
            Err(_) => Ok(Err(ParseError::new(
                "parse_timeout",
                format!("parsing took longer than {} seconds", self.time.as_secs()),
            ))),
            Ok(outcome) => {
                let (out, status) = outcome?;
                if out.len() >= 4 * self.text_limit {
                    return Ok(Err(self.too_long()));
                }
                if !status.success() {
                    let message = format!(
                        "the parser gave up on this file ({status}); it may be damaged, or need more than {} MiB of memory",
                        self.memory_mb
                    );
                    return Ok(Err(ParseError::new("parser_crashed", message)));
                }
                Ok(serde_json::from_slice(&out)?)
            }
        }
    }
}

/// The child: limits itself, reads the file from its input, writes the result to its output. Returns the exit code.
#[must_use]
pub fn child(argument: &str) -> i32 {
    let outcome = (|| -> std::io::Result<()> {
        let task: Task = serde_json::from_str(argument)?;
        let memory = task.memory_mb << 20;
        rlimit::setrlimit(rlimit::Resource::AS, memory, memory)?;
        rlimit::setrlimit(rlimit::Resource::CPU, task.seconds, task.seconds)?;
        rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
        rlimit::setrlimit(rlimit::Resource::FSIZE, CHILD_FILE, CHILD_FILE)?;
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        // Deeply nested pages are parsed recursively: give them a large stack instead of a crash.
        let parsed: Result<Document, ParseError> = std::thread::Builder::new()
            .stack_size(256 << 20)
            .spawn(move || {
                cairn_ingest::parse(&Input {
                    file_name: &task.file_name,
                    mime_type: Some(&task.mime_type),
                    bytes: &bytes,
                    children: task.children.as_deref(),
                    ocr: task.ocr.as_deref(),
                })
            })?
            .join()
            .unwrap_or_else(|_| {
                Err(ParseError::new(
                    "damaged_file",
                    "the file is damaged in a way the parser cannot handle",
                ))
            });
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        serde_json::to_writer(&mut out, &parsed)?;
        out.flush()
    })();
    i32::from(outcome.is_err())
}
