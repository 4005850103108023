//! Parsing and chunking in processes of the same program, with limits on memory, time and output: a hostile file ends its own process and becomes an error
//! with a sentence. A process that reads what needs a fragile parser serves one file; one that only reads and cuts plain text stays for the next.
//! The files inside an archive or a message are unpacked into a folder of their own.

pub mod child;
mod cut;
mod protocol;

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_ingest::parse::detect;
use cairn_ingest::{Document, Input, ParseError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;

pub use cut::{Context, Cut, Piece, Pieces};
use protocol::{Answer, LONGEST_HEAD, Limits, Reply, Source, Task};

use crate::error::{Error, Result};

/// Bytes of a file that tell whether it is plain text.
const HEAD: usize = 8192;
/// Processes that wait for the next text.
const IDLE: usize = 2;
/// A process is replaced after so many texts,
const TEXTS: usize = 256;
/// or after a text of so many bytes: it does not give memory back.
const LARGE: usize = 4 << 20;
/// Processor seconds of a process that stays.
const STAYS: u64 = 24 * 3600;

/// Name of the hidden command that a process runs.
pub const COMMAND: &str = "parse-child";

/// Starts processes and asks them.
#[derive(Debug)]
pub struct Parser {
    /// Program to run; this one, unless a test says otherwise.
    pub program: PathBuf,
    /// Address space of a process in MiB.
    pub memory_mb: u64,
    /// Wall and processor time of a file.
    pub time: Duration,
    /// Largest normalised text in bytes.
    pub text_limit: usize,
    /// Where files that are unpacked wait until they are stored.
    pub scratch: PathBuf,
    /// Languages of text recognition; absent: none is done.
    pub ocr: Option<String>,
    slots: Semaphore,
    idle: Mutex<Vec<Process>>,
}

/// A parsed file.
#[derive(Debug)]
pub struct Parsed {
    /// What was read. With [`pieces`](Self::pieces) it has no headings, tables and symbols, and of its pages only the last.
    pub document: Document,
    /// Its chunks, when they were asked for.
    pub pieces: Option<Pieces>,
    /// Holds the bytes of the document's children; they are gone when this is dropped.
    pub folder: TempDir,
}

/// What is to be read.
#[derive(Debug)]
pub enum Given<'a> {
    /// A file.
    File {
        /// Name with extension.
        file_name: &'a str,
        /// Media type, as detected.
        mime_type: &'a str,
        /// Its content.
        bytes: Bytes,
    },
    /// A document that something else has read.
    Document(Box<Document>),
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    served: usize,
}

fn too_long(limit: usize) -> ParseError {
    let limit = limit >> 20;
    ParseError::new(
        "text_too_long",
        format!("the text of the file is longer than {limit} MiB"),
    )
}

impl Parser {
    /// A parser with at most so many processes at work at the same time.
    #[must_use]
    pub fn new(
        program: PathBuf,
        scratch: PathBuf,
        processes: usize,
        config: &crate::config::Config,
    ) -> Self {
        Self {
            program,
            memory_mb: config.parse_memory_mb,
            time: Duration::from_secs(config.parse_seconds),
            text_limit: config.parse_text_mb << 20,
            scratch,
            ocr: config.ocr.then(|| config.ocr_languages.clone()),
            slots: Semaphore::new(processes),
            idle: Mutex::default(),
        }
    }

    /// Reads what is given and, with `cut`, cuts it into chunks. Dropping the future ends the process that works on it.
    ///
    /// # Errors
    /// The inner result is about the file (stable code, sentence); the outer one about this machine.
    pub async fn read(
        &self,
        given: Given<'_>,
        cut: Option<Cut>,
    ) -> Result<Result<Parsed, ParseError>> {
        let folder = self.folder().await?;
        let (source, bytes, stays) = match given {
            Given::File {
                file_name,
                mime_type,
                bytes,
            } => {
                let beginning = detect(&Input {
                    file_name,
                    mime_type: Some(mime_type),
                    bytes: &bytes[..bytes.len().min(HEAD)],
                    ocr: self.ocr.as_deref(),
                    ..Input::default()
                });
                let source = Source::File {
                    file_name: file_name.to_owned(),
                    mime_type: mime_type.to_owned(),
                    children: folder.path().to_owned(),
                    ocr: self.ocr.clone(),
                };
                let stays = beginning.is_ok_and(cairn_ingest::Format::is_harmless);
                (source, bytes, stays)
            }
            Given::Document(mut document) => {
                let text = std::mem::take(&mut document.text);
                (Source::Document(document), text.into(), true)
            }
        };
        let task = Task {
            source,
            cut,
            text_limit: self.text_limit,
        };
        let answer = self.ask(&task, bytes, stays).await?;
        Ok(answer.map(|(reply, text)| Parsed {
            document: Document {
                text,
                ..reply.document
            },
            pieces: reply.pieces,
            folder,
        }))
    }

    /// A folder for files that are not stored yet; it goes with its contents when this is dropped.
    ///
    /// # Errors
    /// As the file system says.
    pub async fn folder(&self) -> Result<TempDir> {
        let scratch = self.scratch.clone();
        Ok(tokio::task::spawn_blocking(move || {
            crate::disk::private_directory(&scratch)?;
            TempDir::new_in(&scratch)
        })
        .await??)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a process: one that waits, or a new one.
    async fn ask(
        &self,
        task: &Task,
        bytes: Bytes,
        stays: bool,
    ) -> Result<Result<(Reply, String), ParseError>> {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|e| Error::internal("the parser was closed").with_source(e))?;
        let waiting = if stays { self.idle().pop() } else { None };
        let was_waiting = waiting.is_some();
        let mut process = match waiting {
            Some(process) => process,
            None => self.start(stays)?,
        };
        let mut asked = tokio::time::timeout(self.time, process.ask(task, &bytes, self.text_limit));
        let mut outcome = asked.await;
        if was_waiting && matches!(outcome, Ok(Err(_))) {
            // It may have ended while it waited, for a reason that is none of this file's.
            process = self.start(stays)?;
            asked = tokio::time::timeout(self.time, process.ask(task, &bytes, self.text_limit));
            outcome = asked.await;
        }
        match outcome {
            Err(_) => Ok(Err(ParseError::new(
                "parse_timeout",
                format!("parsing took longer than {} seconds", self.time.as_secs()),
            ))),
            Ok(Err(error)) => {
                // What the process says of itself is more than that its output ended.
                let status = process.end().await;
                let ended = status.map_or_else(|| error.to_string(), |s| s.to_string());
                Ok(Err(ParseError::new(
                    "parser_crashed",
                    format!(
                        "the parser gave up on this file ({ended}); it may be damaged, or need more than {} MiB of memory",
                        self.memory_mb
                    ),
                )))
            }
            Ok(Ok(answer)) => {
                process.served += 1;
                if stays && process.served < TEXTS && bytes.len() < LARGE {
                    let mut idle = self.idle();
                    if idle.len() < IDLE {
                        idle.push(process);
                    }
                }
                Ok(answer)
            }
        }
    }

    fn start(&self, stays: bool) -> Result<Process> {
        let limits = Limits {
            memory_mb: self.memory_mb,
            seconds: if stays { STAYS } else { self.time.as_secs() },
        };
        let unavailable = |cause: io::Error| {
            Error::unavailable("parser_unavailable", "the parser process cannot be started")
                .with_source(cause)
        };
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(serde_json::to_string(&limits)?)
            .env_clear()
            // Text recognition is a program, too.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(unavailable)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Process {
                child,
                input,
                output: BufReader::new(output),
                served: 0,
            }),
            _ => Err(unavailable(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Process {
    /// Sends a task and reads the answer. After an error the process is of no more use.
    async fn ask(
        &mut self,
        task: &Task,
        bytes: &[u8],
        text_limit: usize,
    ) -> io::Result<Result<(Reply, String), ParseError>> {
        let head = serde_json::to_vec(task)?;
        let (input, output) = (&mut self.input, &mut self.output);
        let write = async {
            input
                .write_all(&protocol::lengths(head.len(), bytes.len()))
                .await?;
            input.write_all(&head).await?;
            input.write_all(bytes).await?;
            input.flush().await
        };
        let read = async {
            let mut lengths = [0; 16];
            output.read_exact(&mut lengths).await?;
            let (head, body) = protocol::read_lengths(lengths);
            if head > LONGEST_HEAD || body > text_limit as u64 {
                return Err(io::Error::other("the answer is too long"));
            }
            let head = part(output, head).await?;
            let body = part(output, body).await?;
            let text = String::from_utf8(body).map_err(io::Error::other)?;
            let answer: Answer = serde_json::from_slice(&head)?;
            Ok(answer.map(|reply| (reply, text)))
        };
        let ((), answer) = tokio::try_join!(write, read)?;
        Ok(answer)
    }

    /// How the process ended, which it is about to do.
    async fn end(&mut self) -> Option<std::process::ExitStatus> {
        let ended = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
        ended.ok()?.ok()
    }
}

async fn part(output: &mut BufReader<ChildStdout>, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    output.take(length).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 == length {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
