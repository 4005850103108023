//! Rows in search. A block is a document in the dataset of the data area whose pages are its rows: the number of a page is the position of the row, its label the row's id, so
//! that every hit and every citation leads to one row. What of a row is searched is the folder's choice (`searchText`).

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{Block, Row, rows_of};
use crate::app::App;
use crate::auth::Area;
use crate::data::FOLDER;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::documents::{self, DocumentSource, NewDocument, changed_now};
use crate::kb::index_log;
use crate::kb::row_blocks::{Line, MIME};
use crate::records::{search_text, store};

/// The text of rows that is searched, as their folder defines it.
enum RowText<'a> {
    /// Every field under its name.
    Everything,
    /// Nothing: rows are not searched.
    Nothing,
    /// Some fields under their names.
    Fields(Vec<&'a str>),
    /// A template over the fields.
    Template(Box<Environment<'a>>),
}

/// Work that one row's template may do.
const FUEL: u64 = 20_000;
/// Largest template, in bytes.
const TEMPLATE: usize = 16_384;

/// Most text of one row, in bytes.
const TEXT: usize = 1 << 20;

type Filter = fn(String) -> String;

/// Operations of templates on a field.
const FILTERS: &[(&str, Filter)] = &[
    ("upper", |text| text.to_uppercase()),
    ("lower", |text| text.to_lowercase()),
    ("trim", |text| text.trim().to_owned()),
];

/// A text that may only become so long.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + piece.len() > TEXT {
            return Err(std::io::Error::other("the text of a row is too long"));
        }
        self.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Refuses templates that compute: joining and repeating texts makes gigabytes of a line, which no count of steps prevents.
fn plain(template: &str) -> std::result::Result<(), String> {
    let mut rest = template;
    while let Some(begin) = rest.find('{') {
        rest = &rest[begin..];
        let Some(close) = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
            .into_iter()
            .find_map(|(open, close)| rest.starts_with(open).then_some(close))
        else {
            rest = &rest[1..];
            continue;
        };
        let end = rest.find(close).map_or(rest.len(), |at| at + 2);
        let inside = rest[2..end].trim_start_matches(['-', '+', ' ', '\n']);
        let begins = |word: &str| inside.starts_with(word);
        let computes = inside.contains(['*', '~', '+', '[']);
        if close != "#}" && (computes || begins("set") || begins("with") || begins("filter")) {
            return Err(
                "searchText may show fields and use if and for; it cannot compute, set or join"
                    .to_owned(),
            );
        }
        rest = &rest[end..];
    }
    Ok(())
}

fn row_text(setting: Option<&Value>) -> Result<RowText<'_>> {
    let invalid = |message: String| Error::invalid("search_text_invalid", message);
    match setting {
        None | Some(Value::Null | Value::Bool(true)) => Ok(RowText::Everything),
        Some(Value::Bool(false)) => Ok(RowText::Nothing),
        Some(Value::Array(names)) => {
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            Ok(RowText::Fields(names.ok_or_else(|| {
                invalid("searchText must list field names".to_owned())
            })?))
        }
        Some(Value::String(template)) if template.len() <= TEMPLATE => {
            plain(template).map_err(invalid)?;
            // Nothing that is there by itself: what can make much out of little is not for callers.
            let mut environment = Environment::empty();
            environment.set_fuel(Some(FUEL));
            for (name, filter) in FILTERS {
                environment.add_filter(*name, *filter);
            }
            environment.set_undefined_behavior(UndefinedBehavior::Lenient);
            environment
                .add_template("row", template)
                .map_err(|e| invalid(format!("searchText is not a valid template: {e}")))?;
            Ok(RowText::Template(Box::new(environment)))
        }
        Some(_) => Err(invalid(format!(
            "searchText must be a template such as \"{{{{ name }}}}: {{{{ notes }}}}\" of at most {TEMPLATE} bytes, a list of fields, or false"
        ))),
    }
}

/// Checks a `searchText`.
///
/// # Errors
/// `search_text_invalid`.
pub(crate) fn check_search_text(setting: Option<&Value>) -> Result<()> {
    row_text(setting).map(|_| ())
}

impl RowText<'_> {
    /// The text of a row; `Err` with the reason when the template fails.
    fn render(&self, row: &Map<String, Value>) -> std::result::Result<String, String> {
        match self {
            Self::Everything => Ok(search_text::text_of("", row, &[])),
            Self::Nothing => Ok(String::new()),
            Self::Fields(names) => {
                let picked = names
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone())))
                    .collect();
                Ok(search_text::text_of("", &picked, &[]))
            }
            Self::Template(environment) => {
                let mut out = Bounded(Vec::new());
                environment
                    .get_template("row")
                    .and_then(|template| template.render_captured_to(row, &mut out).map(|_| ()))
                    .map_err(|e| e.to_string())?;
                Ok(String::from_utf8_lossy(&out.0).into_owned())
            }
        }
    }
}

/// The document of a block, by its external id.
fn external_id(folder_id: &str, first_seq: i64) -> String {
    format!("{folder_id}~{first_seq}")
}

/// Indexes every block of a folder that has changed; the job of [`jobs::Task::ShowRows`].
///
/// # Errors
/// As the database and the store say.
pub(crate) async fn index(
    app: &App,
    job: &Job,
    folder_id: &str,
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = job.tenant_id.as_str();
    while !cancel.is_cancelled() {
        let Ok(folder) = store::get(app, tenant_id, &FOLDER, folder_id).await else {
            // Removed meanwhile.
            return Ok(());
        };
        let block: Option<Block> = app
            .db
            .optional(
                "SELECT first_seq, last_seq, version, body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 AND shown < version ORDER BY first_seq LIMIT 1",
                args![folder_id, tenant_id],
            )
            .await?;
        let Some(block) = block else {
            return Ok(());
        };
        let body = folder.body()?;
        let dataset = datasets::area_dataset(app, tenant_id, Area::Data).await?;
        let (first, version) = (block.first_seq, block.version);
        let setting = body.get("searchText").cloned();
        let (file, last, block) = tokio::task::spawn_blocking(move || {
            written(&block, setting.as_ref()).map(|(file, last)| (file, last, block))
        })
        .await??;
        let new = match file {
            Some(file) => {
                let name = format!("{} rows {first} to {last}.jsonl", file_name(&folder.title));
                let stored = app.blobs.put_bytes(&app.db, tenant_id, file).await?;
                Some(NewDocument {
                    title: Some(folder.title.clone()),
                    source: DocumentSource::PublishedContent,
                    metadata: json!({"kind": "row", "folderId": folder_id, "tags": body.get("dataTags")}),
                    chunk_settings: ChunkSettings {
                        chunk_overlap: Some(0),
                        ..ChunkSettings::default()
                    },
                    external_id: Some(external_id(folder_id, first)),
                    ..NewDocument::new(name, MIME, stored)
                })
            }
            None => None,
        };
        let mut tx = app.db.begin().await?;
        index_log::lock_dataset(&mut tx, tenant_id, &dataset.id).await?;
        // Removed meanwhile: nothing of it may come back.
        let there: Option<(String,)> = tx
            .optional(
                "SELECT id FROM records WHERE tenant_id = $1 AND id = $2 AND kind = 'folder'",
                args![tenant_id, folder_id],
            )
            .await?;
        if there.is_none() {
            return Ok(());
        }
        let ours = tx
            .execute(
                "UPDATE row_blocks SET shown = $1 WHERE folder_id = $2 AND first_seq = $3 AND tenant_id = $4 AND version = $1",
                args![version, folder_id, first, tenant_id],
            )
            .await?;
        // Changed meanwhile: it is read again.
        if ours == 1 {
            older(app, &mut tx, tenant_id, &block.body).await?;
            match new {
                Some(new) => {
                    documents::add_in(app, &mut tx, tenant_id, &dataset.id, &new).await?;
                }
                None => {
                    remove(app, &mut tx, tenant_id, &external_id(folder_id, first)).await?;
                }
            }
            jobs::progressed(&mut tx, tenant_id, &job.id).await?;
            app.commit(tx).await?;
        }
    }
    // There is more to do.
    Err(Error::unavailable("cancelled", "the job was interrupted"))
}

/// A title as part of a file name.
fn file_name(title: &str) -> String {
    title
        .chars()
        .map(|c| if c == '/' || c.is_control() { ' ' } else { c })
        .take(200)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The file of a block, `None` when nothing of it is searched, and the position of its last row.
fn written(block: &Block, setting: Option<&Value>) -> Result<(Option<Vec<u8>>, i64)> {
    let text_of_rows = row_text(setting)?;
    let (mut file, mut last) = (Vec::new(), block.first_seq);
    if matches!(text_of_rows, RowText::Nothing) {
        return Ok((None, last));
    }
    for row in rows_of(&block.body)? {
        last = row.seq;
        let Value::Object(fields) = &row.data else {
            continue;
        };
        // A row that the template cannot say is said with all its fields, and the document tells so.
        let text = match text_of_rows.render(fields) {
            Ok(text) => text,
            Err(reason) => {
                let line = json!({"position": row.seq, "id": row.id, "text": search_text::text_of("", fields, &[]), "failed": reason});
                serde_json::to_writer(&mut file, &line)?;
                file.push(b'\n');
                continue;
            }
        };
        if text.trim().is_empty() {
            continue;
        }
        let line = Line {
            position: row.seq,
            id: row.id,
            text,
        };
        serde_json::to_writer(&mut file, &line)?;
        file.push(b'\n');
    }
    Ok(((!file.is_empty()).then_some(file), last))
}

/// Takes all blocks of a folder out of search at once; what is left of them is cleared away later.
pub(super) async fn hide_all(tx: &mut Tx, tenant_id: &str, folder_id: &str) -> Result<()> {
    let dataset = Area::Data.dataset_id(tenant_id);
    index_log::lock_dataset(tx, tenant_id, &dataset).await?;
    tx.execute(
        concat!(
            "UPDATE kb_documents SET enabled = FALSE, ",
            changed_now!(),
            " WHERE tenant_id = $1 AND dataset_id = $2 AND external_id LIKE $3"
        ),
        args![tenant_id, &dataset, format!("{folder_id}~%")],
    )
    .await?;
    Ok(())
}

/// Takes a row that is removed out of search at once; the block's document follows.
pub(super) async fn hide(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    folder_id: &str,
    first_seq: i64,
    row: &Row,
    gone: bool,
) -> Result<()> {
    if gone {
        let dataset = Area::Data.dataset_id(tenant_id);
        let id = external_id(folder_id, first_seq);
        if let Some(document) = documents::by_external_in(tx, tenant_id, &dataset, &id).await? {
            documents::remove_page_in(tx, &document, row.seq).await?;
        }
        remove(app, tx, tenant_id, &row.id).await?;
    }
    Ok(())
}

/// Takes a block out of search.
pub(super) async fn forget(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    folder_id: &str,
    first_seq: i64,
    body: &str,
) -> Result<()> {
    remove(app, tx, tenant_id, &external_id(folder_id, first_seq)).await?;
    older(app, tx, tenant_id, body).await
}

/// Removes the documents that rows had for themselves before there were blocks.
async fn older(app: &App, tx: &mut Tx, tenant_id: &str, body: &str) -> Result<()> {
    for row in rows_of(body)? {
        if !row.id.contains('-') {
            remove(app, tx, tenant_id, &row.id).await?;
        }
    }
    Ok(())
}

async fn remove(app: &App, tx: &mut Tx, tenant_id: &str, external_id: &str) -> Result<()> {
    let dataset = Area::Data.dataset_id(tenant_id);
    match documents::by_external_in(tx, tenant_id, &dataset, external_id).await? {
        Some(document) => documents::remove_in(app, tx, tenant_id, &document.id).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(setting: Value, row: Value) -> std::result::Result<String, String> {
        row_text(Some(&setting))
            .expect("a setting")
            .render(row.as_object().expect("an object"))
    }

    #[test]
    fn a_folder_defines_the_text_of_its_rows() {
        let row = json!({"name": "Anchor", "price": 12.5, "notes": null});
        assert_eq!(
            text(json!(true), row.clone()).as_deref(),
            Ok("name: Anchor\nprice: 12.5\n")
        );
        assert_eq!(
            text(json!(["price"]), row.clone()).as_deref(),
            Ok("price: 12.5\n")
        );
        assert_eq!(
            text(
                json!("{{ name }}{% if notes %}: {{ notes }}{% endif %}"),
                row.clone()
            )
            .as_deref(),
            Ok("Anchor")
        );
        let much = json!({"a": vec!["x"; 9000], "b": "y".repeat(100_000)});
        let endless = json!("{% for x in a %}{% for y in a %}x{% endfor %}{% endfor %}");
        assert!(text(endless, much.clone()).is_err(), "out of fuel");
        assert!(
            text(json!("{% for x in a %}{{ b }}{% endfor %}"), much).is_err(),
            "too long"
        );
        for computes in [
            "{{ 'x' * 100000000 }}",
            "{% set a = name ~ name %}",
            "{{ name ~ name }}",
            "{{- name + name }}",
            "{{ [name, name] }}",
        ] {
            assert!(
                check_search_text(Some(&json!(computes))).is_err(),
                "{computes}"
            );
        }
        let shown = text(json!("2 * 3 + {{ name|upper }}"), row);
        assert_eq!(shown.as_deref(), Ok("2 * 3 + ANCHOR"));
        for wrong in [json!("{{ name"), json!(7), json!([1])] {
            assert_eq!(
                check_search_text(Some(&wrong)).expect_err("wrong").code(),
                "search_text_invalid"
            );
        }
    }

    #[test]
    fn every_row_is_a_page() {
        let block = Block {
            first_seq: 7,
            last_seq: 9,
            version: 1,
            body: "[7,\"f-7\",0,{\"a\":\"one\"}]\n[9,\"f-9\",0,{\"a\":\"two\\u0000\"}]\n"
                .to_owned(),
        };
        let (file, last) = written(&block, None).expect("written");
        let document = crate::kb::row_blocks::parsed(&file.expect("a file")).expect("readable");
        assert_eq!((document.text.as_str(), last), ("a: one\n\na: two\n\n", 9));
        let labels: Vec<(u32, Option<&str>)> = document
            .pages
            .iter()
            .map(|p| (p.number, p.label.as_deref()))
            .collect();
        assert_eq!(labels, [(7, Some("f-7")), (9, Some("f-9"))]);
    }
}
