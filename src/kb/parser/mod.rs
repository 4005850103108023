//! Parsing and chunking in child processes of the same program, with limits on memory, time and output: a hostile file ends its own process and becomes
//! an error with a message. A process that runs a fragile parser serves one file; one that only reads and splits plain text is reused. The files inside
//! an archive or a message are unpacked into a folder of their own.

pub mod child;
mod cut;
mod protocol;

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_ingest::parse::detect;
use cairn_ingest::{Document, Input, ParseError};
use protocol::{Answer, LONGEST_HEAD, Limits, Reply, Source, Task};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
pub use cut::{Context, Cut, Piece, Pieces};

/// Bytes at the start of a file that decide whether it is plain text.
const HEAD: usize = 8192;
/// Time after which an idle process is ended.
const IDLE: Duration = Duration::from_secs(30);
/// Number of texts after which a process is replaced.
const TEXTS: usize = 4096;
/// Size of a text in bytes after which a process is replaced, because it does not return memory.
const LARGE: usize = 4 << 20;
/// Limit of processor seconds of a reused process.
const STAYS: u64 = 24 * 3600;

/// Name of the hidden command that a process runs.
pub const COMMAND: &str = "parse-child";

/// Starts parser processes and sends them tasks.
#[derive(Debug)]
pub struct Parser {
    /// Program to run; this one, unless a test sets another.
    pub program: PathBuf,
    /// Limit of a process's address space in MiB.
    pub memory_mb: u64,
    /// Limit of wall and processor time per file.
    pub time: Duration,
    /// Maximum size of the normalised text in bytes.
    pub text_limit: usize,
    /// Directory of unpacked files until they are stored.
    pub scratch: PathBuf,
    /// Languages of text recognition; `None` disables it.
    pub ocr: Option<String>,
    slots: Semaphore,
    idle: Arc<Mutex<Idle>>,
}

/// Processes kept for the next text; starting one takes longer than parsing most texts.
#[derive(Debug, Default)]
struct Idle {
    /// Each with the time at which it became idle, ascending.
    processes: Vec<(Process, Instant)>,
    /// Whether a task ends them.
    swept: bool,
}

/// A parsed file.
#[derive(Debug)]
pub struct Parsed {
    /// Parsed document. With [`pieces`](Self::pieces) it has no headings, tables and symbols, and of its pages only the last.
    pub document: Document,
    /// Chunks, if requested.
    pub pieces: Option<Pieces>,
    /// Temporary directory with the bytes of the document's children, removed on drop; `None` for formats without.
    pub folder: Option<TempDir>,
}

/// Input of the parser.
#[derive(Debug)]
pub enum Given<'a> {
    /// A file.
    File {
        /// Name with extension.
        file_name: &'a str,
        /// Media type, as detected.
        mime_type: &'a str,
        bytes: Bytes,
    },
    /// A document that was parsed elsewhere.
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
    /// Creates a parser with a maximum number of concurrent processes.
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
            idle: Arc::default(),
        }
    }

    /// Parses the input and, with `cut`, splits it into chunks. Dropping the future ends the process that works on it.
    ///
    /// # Errors
    /// The inner error is about the file (stable code, sentence); the outer one about this machine.
    pub async fn read(
        &self,
        given: Given<'_>,
        cut: Option<Cut>,
    ) -> Result<Result<Parsed, ParseError>> {
        let mut folder = None;
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
                let stays = beginning.is_ok_and(cairn_ingest::Format::is_harmless);
                if !stays {
                    folder = Some(self.folder().await?);
                }
                let source = Source::File {
                    file_name: file_name.to_owned(),
                    mime_type: mime_type.to_owned(),
                    children: folder.as_ref().map(|f| f.path().to_owned()),
                    ocr: self.ocr.clone(),
                };
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

    /// Creates a folder for files that are not stored yet. It is removed with its contents on drop.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn folder(&self) -> Result<TempDir> {
        let scratch = self.scratch.clone();
        Ok(tokio::task::spawn_blocking(move || {
            crate::disk::private_directory(&scratch)?;
            TempDir::new_in(&scratch)
        })
        .await??)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a process for the next text, for a limited time.
    fn keep(&self, process: Process) {
        let mut idle = self.idle();
        idle.processes.push((process, Instant::now()));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::clone(&self.idle)));
        }
    }

    /// Sends a task to an idle process, or to a new one.
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
        let waiting = if stays {
            self.idle().processes.pop().map(|(process, _)| process)
        } else {
            None
        };
        let was_waiting = waiting.is_some();
        let mut process = match waiting {
            Some(process) => process,
            None => self.start(stays)?,
        };
        let mut asked = tokio::time::timeout(self.time, process.ask(task, &bytes, self.text_limit));
        let mut outcome = asked.await;
        if was_waiting && matches!(outcome, Ok(Err(_))) {
            // An idle process may have ended for a reason unrelated to this file.
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
                // The exit status is more specific than the end of the output.
                let status = process.end().await;
                let ended = status.map_or_else(|| error.to_string(), |s| s.to_string());
                Ok(Err(ParseError::new(
                    "parser_crashed",
                    format!(
                        "the parser stopped on this file ({ended}); it may be damaged, or need more than {} MiB of memory",
                        self.memory_mb
                    ),
                )))
            }
            Ok(Ok(answer)) => {
                process.served += 1;
                if stays && process.served < TEXTS && bytes.len() < LARGE {
                    self.keep(process);
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
            // Text recognition runs an external program, too.
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

/// Ends processes that have been idle for long, until none is left.
async fn sweep(idle: Arc<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.processes.retain(|(_, since)| since.elapsed() < IDLE);
        if idle.processes.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

impl Process {
    /// Sends a task and reads the reply. After an error the process must not be used again.
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
                return Err(io::Error::other("the response of the parser is too large"));
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

    /// Returns the exit status of the process, which is about to end.
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
