//! Multipart uploads: files are stored while they arrive, everything is bounded, and errors are domain errors for the dialects to convert.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use cairn_ingest::Input;
use cairn_ingest::parse::detect;
use futures::{Stream, StreamExt};
use multer::{Field, Multipart};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::app::App;
use crate::blobs::{self, Stored};
use crate::error::{Error, Result};
use crate::kb::datasets::ChunkSettings;
use crate::kb::documents::UploadPolicy;

/// Longest field that is not a file, in bytes.
const TEXT_FIELD: usize = 1 << 20;
/// Longest field of a form with one file, in bytes.
const SHORT_FIELD: usize = 4096;
/// Maximum number of fields besides files.
const FIELDS: usize = 32;
/// Bytes that may arrive without progress in a field: limits the head of a field and the preamble.
const HEAD: usize = 64 << 10;

/// Destination of uploaded files.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The blobs of a tenant.
    Blobs(&'a str),
    /// A folder, with files numbered from 0.
    Folder(&'a Path),
}

/// A received file.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) file_name: String,
    pub(crate) mime_type: String,
    pub(crate) stored: Stored,
}

/// The content of an upload.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(crate) files: Vec<Received>,
    pub(crate) chunk_settings: ChunkSettings,
    pub(crate) metadata: Option<Value>,
    pub(crate) external_ids: Option<String>,
    pub(crate) titles: Option<String>,
    pub(crate) urls: Option<String>,
    pub(crate) meeting: UploadPolicy,
}

/// Parts of a form, with memory bounded to [`HEAD`] and one chunk of the body.
struct Parts {
    multipart: Multipart<'static>,
    /// Bytes read since the last progress in a field.
    unclaimed: Arc<AtomicUsize>,
}

impl Parts {
    fn read(headers: &HeaderMap, body: Body) -> Result<Self> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(kind).map_err(|_| {
            Error::invalid(
                "form_invalid",
                "send a form with Content-Type: multipart/form-data and its boundary",
            )
        })?;
        let unclaimed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&unclaimed);
        let mut pieces = body.into_data_stream();
        let mut rested = true;
        let pieces = futures::stream::poll_fn(move |context| {
            // The reader drains the stream while it is ready, so only one chunk is made ready at a time.
            if !std::mem::replace(&mut rested, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if counted.load(Ordering::Relaxed) > HEAD {
                return Poll::Ready(Some(Err(head_too_long())));
            }
            pieces.poll_next_unpin(context).map(|piece| {
                rested = false;
                let piece = piece?.map_err(|e| broken(&e));
                if let Ok(piece) = &piece {
                    counted.fetch_add(piece.len(), Ordering::Relaxed);
                }
                Some(piece)
            })
        });
        Ok(Self {
            multipart: Multipart::new(pieces, boundary),
            unclaimed,
        })
    }

    async fn next(&mut self) -> Result<Option<Field<'static>>> {
        let field = self.multipart.next_field().await.map_err(failed)?;
        self.unclaimed.store(0, Ordering::Relaxed);
        Ok(field)
    }

    /// Returns the content of a field as a stream.
    fn content(
        &self,
        field: Field<'static>,
    ) -> impl Stream<Item = Result<Bytes>> + Unpin + Send + use<> {
        let unclaimed = Arc::clone(&self.unclaimed);
        field.map(move |piece| {
            unclaimed.store(0, Ordering::Relaxed);
            piece.map_err(failed)
        })
    }

    /// Reads a field that is not a file into memory, up to the limit.
    async fn text(&self, field: Field<'static>) -> Result<String> {
        let (mut bytes, mut content) = (Vec::new(), self.content(field));
        while let Some(piece) = content.next().await {
            let piece = piece?;
            if bytes.len() + piece.len() > TEXT_FIELD {
                return Err(Error::too_large(
                    "field_too_large",
                    "a field that is not a file may have at most 1 MB",
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        String::from_utf8(bytes)
            .map_err(|_| Error::invalid("form_invalid", "a field of the form is not UTF-8"))
    }

    async fn number(&self, name: &str, field: Field<'static>) -> Result<i64> {
        let text = self.text(field).await?;
        text.trim()
            .parse()
            .map_err(|_| Error::invalid("number_invalid", format!("{name} must be a whole number")))
    }
}

fn head_too_long() -> Error {
    Error::invalid(
        "form_invalid",
        "the headers of a field are longer than 64 KiB, or the form does not start with its boundary",
    )
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::invalid(
        "form_invalid",
        format!("the form is truncated or malformed: {error}"),
    )
}

/// Converts an error of the multipart reader, or returns the domain error that it wraps.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]
fn failed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => broken(&other),
        },
        other => broken(&other),
    }
}

/// Checks that the announced length of the body is within the upload limit.
///
/// # Errors
/// `batch_too_large`.
pub(crate) fn check_length(app: &App, headers: &HeaderMap) -> Result<()> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    // The multipart framing adds some hundred bytes per file.
    let most = (app.config.upload_batch_mb << 20) + (1 << 20);
    match announced {
        Some(length) if length > most => Err(batch_too_large(app)),
        _ => Ok(()),
    }
}

/// Receives a form and stores its files while they arrive.
///
/// # Errors
/// `form_invalid`, `field_unknown`, `field_too_large`, `too_many_files`, `batch_too_large`, `file_too_large`, `empty_file`, `unsupported_format`,
/// and those of the form's fields.
pub(crate) async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    target: Target<'_>,
) -> Result<Form> {
    let mut parts = Parts::read(headers, body)?;
    let (mut form, mut total, mut fields) = (Form::default(), 0_u64, 0);
    while let Some(field) = parts.next().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let name = name.trim_end_matches("[]");
        if matches!(name, "files" | "file") {
            if form.files.len() >= app.config.upload_files {
                return Err(Error::invalid(
                    "too_many_files",
                    format!(
                        "an upload may have at most {} files",
                        app.config.upload_files
                    ),
                ));
            }
            let left = (app.config.upload_batch_mb << 20).saturating_sub(total);
            let number = form.files.len();
            let file = store(app, &parts, field, target, number, left).await?;
            total += file.stored.size;
            form.files.push(file);
            continue;
        }
        fields += 1;
        if fields > FIELDS {
            return Err(Error::invalid(
                "too_many_fields",
                format!("a form may have at most {FIELDS} fields besides its files"),
            ));
        }
        match name {
            "chunkSize" => form.chunk_settings.chunk_size = Some(parts.number(name, field).await?),
            "chunkOverlap" => {
                form.chunk_settings.chunk_overlap = Some(parts.number(name, field).await?)
            }
            "parseType" => form.chunk_settings.parse_type = Some(parts.text(field).await?),
            "parserEngine" => form.chunk_settings.parser_engine = Some(parts.text(field).await?),
            "metadata" => {
                let value = serde_json::from_str(&parts.text(field).await?);
                form.metadata = Some(value.map_err(|e| {
                    Error::invalid(
                        "metadata_invalid",
                        format!("metadata is not valid JSON: {e}"),
                    )
                })?);
            }
            "externalIds" | "externalId" => form.external_ids = Some(parts.text(field).await?),
            "titles" => form.titles = Some(parts.text(field).await?),
            "urls" => form.urls = Some(parts.text(field).await?),
            "onDuplicate" => form.meeting.on_duplicate = parts.text(field).await?.parse()?,
            "versions" => {
                let value = parts.text(field).await?.to_lowercase();
                form.meeting.versions = value.trim().parse().map_err(|_| {
                    Error::invalid("versions_invalid", "versions must be true or false")
                })?;
            }
            other => {
                return Err(Error::invalid(
                    "field_unknown",
                    format!("unknown form field {other:?}"),
                ));
            }
        }
    }
    Ok(form)
}

/// Returns a file's name as sent, with its folders (`guide/README.md`): files of one name in different folders are different files. Roots, `.` and `..` are
/// removed; of a path on a Windows drive, which old browsers send, only the last part is kept.
fn named(sent: &str) -> String {
    let mut parts = sent
        .split(['/', '\\'])
        .filter(|part| !matches!(*part, "" | "." | ".."));
    let is_drive = sent.as_bytes().get(1) == Some(&b':');
    if is_drive || sent.starts_with("\\\\") {
        parts.next_back().unwrap_or_default().to_owned()
    } else {
        parts.collect::<Vec<_>>().join("/")
    }
}

async fn store(
    app: &App,
    parts: &Parts,
    field: Field<'static>,
    target: Target<'_>,
    number: usize,
    left: u64,
) -> Result<Received> {
    let limit = app.config.upload_file_mb << 20;
    let file_name = named(field.file_name().unwrap_or_default());
    if file_name.is_empty() {
        return Err(Error::invalid(
            "file_name_invalid",
            "every file must have a name",
        ));
    }
    let stated = field.content_type().map(ToString::to_string);
    let (content, most) = (parts.content(field), limit.min(left));
    let stored = match target {
        Target::Blobs(tenant) => app.blobs.put(&app.db, tenant, content, most).await,
        Target::Folder(folder) => write(&folder.join(number.to_string()), content, most).await,
    };
    let stored = stored.map_err(|error| match error.code() {
        "file_too_large" if left < limit => batch_too_large(app),
        "file_too_large" => Error::invalid(
            "file_too_large",
            format!(
                "{file_name} is larger than {} MB",
                app.config.upload_file_mb
            ),
        ),
        _ => error,
    })?;
    if stored.size == 0 {
        return Err(Error::invalid(
            "empty_file",
            format!("{file_name} is empty"),
        ));
    }
    let input = Input {
        file_name: &file_name,
        mime_type: stated.as_deref(),
        bytes: &stored.head,
        ocr: app.parser.ocr.as_deref(),
        ..Input::default()
    };
    let format = detect(&input)
        .map_err(|e| Error::invalid("unsupported_format", format!("{file_name}: {e}")))?;
    Ok(Received {
        mime_type: format.mime_type(&file_name).to_owned(),
        file_name,
        stored,
    })
}

/// Writes a file into a folder. It is not a blob, so it has no hash.
async fn write(
    path: &Path,
    mut content: impl Stream<Item = Result<Bytes>> + Unpin,
    most: u64,
) -> Result<Stored> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut stored = Stored {
        hash: String::new(),
        size: 0,
        head: Vec::new(),
    };
    while let Some(piece) = content.next().await {
        let piece = piece?;
        stored.size += piece.len() as u64;
        if stored.size > most {
            return Err(blobs::too_large(most));
        }
        let room = blobs::HEAD - stored.head.len();
        stored
            .head
            .extend_from_slice(&piece[..piece.len().min(room)]);
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(stored)
}

fn batch_too_large(app: &App) -> Error {
    Error::too_large(
        "batch_too_large",
        format!(
            "an upload may have at most {} MB in total",
            app.config.upload_batch_mb
        ),
    )
}

/// A form with one small file, in memory.
#[derive(Debug, Default)]
pub(crate) struct SmallForm {
    pub(crate) file: Option<Vec<u8>>,
    /// The other fields.
    pub(crate) fields: HashMap<String, String>,
}

impl SmallForm {
    /// Returns the file as text.
    ///
    /// # Errors
    /// `file_missing`, `file_invalid`.
    pub(crate) fn text(&mut self) -> Result<String> {
        let file = self.file.take().ok_or_else(|| {
            Error::invalid("file_missing", "send the file as the part file of the form")
        })?;
        String::from_utf8(file)
            .map_err(|_| Error::invalid("file_invalid", "the file is not a text in UTF-8"))
    }
}

/// Receives a form with one file, named `file`, which is stored while it arrives, and returns it with the other fields.
///
/// # Errors
/// Those of [`receive`]; `too_many_files`.
pub(crate) async fn one_file(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    target: Target<'_>,
) -> Result<(Option<Received>, HashMap<String, String>)> {
    let mut parts = Parts::read(headers, body)?;
    let (mut file, mut fields, mut seen) = (None, HashMap::new(), 0);
    while let Some(field) = parts.next().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            if file.is_some() {
                let message = "send one file in the field file";
                return Err(Error::invalid("too_many_files", message));
            }
            let left = app.config.upload_batch_mb << 20;
            file = Some(store(app, &parts, field, target, 0, left).await?);
            continue;
        }
        seen += 1;
        if seen > FIELDS {
            return Err(Error::invalid(
                "too_many_fields",
                format!("a form may have at most {FIELDS} fields besides its file"),
            ));
        }
        let value = parts.text(field).await?;
        if value.len() > SHORT_FIELD {
            return Err(Error::too_large(
                "field_too_large",
                format!("the field {name:?} may have at most {SHORT_FIELD} bytes"),
            ));
        }
        fields.insert(name, value);
    }
    Ok((file, fields))
}

/// Reads a form with one file of at most `largest` bytes, named `file`.
///
/// # Errors
/// `form_invalid`, `file_too_large`, `field_too_large`, `too_many_fields`.
pub(crate) async fn small_form(
    headers: &HeaderMap,
    body: Body,
    largest: usize,
) -> Result<SmallForm> {
    let mut parts = Parts::read(headers, body)?;
    let mut form = SmallForm::default();
    while let Some(field) = parts.next().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if form.fields.len() > FIELDS {
            return Err(Error::invalid(
                "too_many_fields",
                format!("a form may have at most {FIELDS} fields"),
            ));
        }
        if name != "file" {
            let value = parts.text(field).await?;
            form.fields.insert(name, value);
            continue;
        }
        let (mut bytes, mut content) = (Vec::new(), parts.content(field));
        while let Some(piece) = content.next().await {
            let piece = piece?;
            if bytes.len() + piece.len() > largest {
                return Err(Error::invalid(
                    "file_too_large",
                    format!("the file may have at most {} KB", largest >> 10),
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        form.file = Some(bytes);
    }
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_folders_and_lead_nowhere() {
        for (sent, kept) in [
            ("tides.pdf", "tides.pdf"),
            ("guide/README.md", "guide/README.md"),
            ("guide\\README.md", "guide/README.md"),
            ("../../etc/passwd", "etc/passwd"),
            ("/var/./x.txt", "var/x.txt"),
            ("C:\\fakepath\\x.txt", "x.txt"),
            ("\\\\server\\share\\x.txt", "x.txt"),
            ("..", ""),
            ("/", ""),
        ] {
            assert_eq!(named(sent), kept, "{sent}");
        }
    }

    const FORM: &str = "multipart/form-data; boundary=b";

    /// Reads a form whose body arrives in these pieces.
    async fn read(pieces: Vec<Vec<u8>>) -> Result<Vec<(String, usize)>> {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, FORM.parse().expect("a header"))]);
        let pieces = pieces.into_iter().map(|p| Ok::<_, Error>(Bytes::from(p)));
        let body = Body::from_stream(futures::stream::iter(pieces));
        let mut parts = Parts::read(&headers, body)?;
        let mut read = Vec::new();
        while let Some(field) = parts.next().await? {
            let name = field.name().unwrap_or_default().to_owned();
            read.push((name, parts.text(field).await?.len()));
        }
        Ok(read)
    }

    fn field(name: &str, content: &str) -> Vec<u8> {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
            .into_bytes()
    }

    #[tokio::test]
    async fn fields_are_read_however_they_are_cut() {
        let long = "x".repeat(300_000);
        let body = [field("a", "1"), field("b", &long), b"--b--\r\n".to_vec()].concat();
        for size in [7, 1000, 100_000, body.len()] {
            let pieces = body.chunks(size).map(<[u8]>::to_vec).collect();
            let read = read(pieces).await.expect("read");
            assert_eq!(
                read,
                [("a".to_owned(), 1), ("b".to_owned(), 300_000)],
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn heads_without_end_are_refused_early() {
        let endless = |first: &[u8]| {
            let more = std::iter::repeat_n(vec![b'x'; 10_000], 1000);
            std::iter::once(first.to_vec()).chain(more).collect()
        };
        for first in [
            &b"--b\r\nContent-Disposition: form-data; name=\""[..],
            b"no boundary",
        ] {
            let error = read(endless(first)).await.expect_err("refused");
            assert!(error.to_string().contains("64 KiB"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_reader_holds_no_more_than_one_piece() {
        let fed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fed);
        let first = field("a", &"y".repeat(10_000));
        let more = std::iter::repeat_n(vec![b'y'; 10_000], 1000);
        let pieces = std::iter::once(first).chain(more).map(move |piece| {
            counted.fetch_add(piece.len(), Ordering::Relaxed);
            Ok::<_, Error>(Bytes::from(piece))
        });
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, FORM.parse().expect("a header"))]);
        let body = Body::from_stream(futures::stream::iter(pieces));
        let mut parts = Parts::read(&headers, body).expect("a form");
        let field = parts.next().await.expect("read").expect("a field");
        let mut content = parts.content(field);
        content.next().await.expect("a piece").expect("read");
        assert!(fed.load(Ordering::Relaxed) < 40_000, "{fed:?}");
    }
}
