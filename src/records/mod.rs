//! Records: what agents keep beside documents, from findings to forecasts. Their shape is mostly the agents' own, so a record is a title, a status where
//! its kind has one, and a JSON object; the kinds with rules have a file each. Everything textual in a record can be searched (see [`searchable`]), and so can the rows of folders.

pub mod channel;
pub mod findings;
pub mod folders;
pub mod projects;
pub mod rows;
pub mod sales;
mod searchable;
pub mod users;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::kb::documents;
pub use searchable::{Ready, Searchable};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A knowledge article.
    Article,
    /// Research findings.
    Finding,
    /// A business plan.
    BusinessPlan,
    /// A project.
    Project,
    /// A part of a project.
    WorkPackage,
    /// A task of a work package.
    Task,
    /// A sales campaign.
    Campaign,
    /// A lead of a campaign.
    Lead,
    /// A sales forecast.
    Forecast,
    /// An e-mail template.
    EmailTemplate,
    /// A document template.
    DocumentTemplate,
    /// A web page template.
    WebpageTemplate,
    /// An invoice template.
    InvoiceTemplate,
    /// Media for templates.
    Media,
    /// A folder of rows.
    Folder,
    /// What an agent is doing.
    AgentTask,
}

impl Kind {
    /// Its name in rows, metadata and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Article => "article",
            Self::Finding => "finding",
            Self::BusinessPlan => "business_plan",
            Self::Project => "project",
            Self::WorkPackage => "work_package",
            Self::Task => "task",
            Self::Campaign => "campaign",
            Self::Lead => "lead",
            Self::Forecast => "forecast",
            Self::EmailTemplate => "email_template",
            Self::DocumentTemplate => "document_template",
            Self::WebpageTemplate => "webpage_template",
            Self::InvoiceTemplate => "invoice_template",
            Self::Media => "media",
            Self::Folder => "folder",
            Self::AgentTask => "agent_task",
        }
    }

    /// Whose rights it needs, and on whose shelf it is searched.
    #[must_use]
    pub fn area(self) -> Area {
        match self {
            Self::Article | Self::Finding => Area::Knowledge,
            Self::BusinessPlan => Area::Plans,
            Self::Project | Self::WorkPackage | Self::Task | Self::AgentTask => Area::Projects,
            Self::Campaign | Self::Lead | Self::Forecast => Area::Sales,
            Self::EmailTemplate
            | Self::DocumentTemplate
            | Self::WebpageTemplate
            | Self::InvoiceTemplate
            | Self::Media => Area::Templates,
            Self::Folder => Area::Data,
        }
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Record {
    /// Id.
    pub id: String,
    /// Owner.
    pub tenant_id: String,
    /// Name of its [`Kind`].
    pub kind: String,
    /// The record that holds it.
    pub parent_id: Option<String>,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// What it is called.
    pub title: String,
    /// Where it is in its life, for kinds that have one.
    pub status: Option<String>,
    /// JSON object: everything else.
    pub body: String,
    /// The document by which search finds it.
    pub document_id: Option<String>,
    /// The key that wrote it.
    pub author: Option<String>,
    /// Time of creation.
    pub created_on: Time,
    /// Time of the last change.
    pub updated_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, parent_id, external_id, title, status, body, document_id, author, created_on, updated_on"
    };
}
pub(crate) use columns;

impl Record {
    /// Everything else.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn body(&self) -> Result<Map<String, Value>> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// A record to write.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// What it is.
    pub kind: Kind,
    /// The record that holds it.
    pub parent_id: Option<String>,
    /// What it is called; taken from the body's words when absent.
    pub title: Option<String>,
    /// Where it is in its life.
    pub status: Option<String>,
    /// Everything else.
    pub body: Map<String, Value>,
}

/// Levels of lists and objects that are kept: fewer than what JSON readers take, which read them inside others.
pub(crate) const DEEPEST: usize = 64;

/// Whether a value is nested deeper than this.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels == 0 || list.iter().any(|v| is_deeper(v, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|v| is_deeper(v, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Longest title, in characters.
const TITLE: usize = 300;

/// A title as given, or the first line of a text.
///
/// # Errors
/// `title_too_long`.
pub(crate) fn titled(given: Option<&str>, text: &str, otherwise: &str) -> Result<String> {
    let title = given.map(str::trim).filter(|t| !t.is_empty());
    if title.is_some_and(|t| t.chars().count() > TITLE) {
        return Err(Error::invalid(
            "title_too_long",
            format!("a title has at most {TITLE} characters"),
        ));
    }
    let line = text
        .lines()
        .map(|l| l.trim_start_matches(['#', '-', '*', ' ']).trim())
        .find(|l| !l.is_empty());
    Ok(title
        .or(line)
        .unwrap_or(otherwise)
        .chars()
        .take(120.max(title.map_or(0, str::len)))
        .collect())
}

/// Writes a record, and in the same transaction what search finds it by.
///
/// # Errors
/// `scope_missing`, `title_too_long`, `parent_not_found`.
pub async fn create(app: &App, caller: &Caller, new: NewRecord) -> Result<Record> {
    caller.need_unconfined(new.kind.area().write())?;
    let kind = new.kind;
    let record = draft(app, caller, new)?;
    let ready = Searchable::of(kind, &record)?
        .prepare(app, caller.tenant())
        .await?;
    let mut tx = app.db.begin().await?;
    let record = insert(app, &mut tx, record, ready.as_ref()).await?;
    app.commit(tx).await?;
    Ok(record)
}

/// A record as it will be written.
pub(crate) fn draft(app: &App, caller: &Caller, new: NewRecord) -> Result<Record> {
    let title = titled(new.title.as_deref(), "", new.kind.name())?;
    let (id, now) = (app.clock.id(), app.clock.now());
    Ok(Record {
        id,
        tenant_id: caller.tenant().to_owned(),
        kind: new.kind.name().to_owned(),
        parent_id: new.parent_id,
        external_id: None,
        title,
        status: new.status,
        body: Value::Object(new.body).to_string(),
        document_id: None,
        author: caller.key_id().map(str::to_owned),
        created_on: now,
        updated_on: now,
    })
}

/// Writes a record whose text is ready, in the transaction that causes it.
pub(crate) async fn insert(
    app: &App,
    tx: &mut Tx,
    mut record: Record,
    ready: Option<&searchable::Ready>,
) -> Result<Record> {
    if let Some(ready) = ready {
        record.document_id = Some(ready.publish(app, tx, &record.tenant_id).await?.id);
    }
    tx.execute(
        concat!(
            "INSERT INTO records (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        ),
        args![
            &record.id,
            &record.tenant_id,
            &record.kind,
            &record.parent_id,
            &record.external_id,
            &record.title,
            &record.status,
            &record.body,
            &record.document_id,
            &record.author,
            record.created_on,
            record.updated_on
        ],
    )
    .await?;
    Ok(record)
}

/// Times that a change is tried again because somebody else was faster.
const TRIES: usize = 8;

/// Changes a record: `change` gets it as it is, and again when somebody else was faster. What search finds follows in the same transaction.
///
/// # Errors
/// `record_not_found`; `record_busy` when others were faster again and again; as `change` says.
pub(crate) async fn change(
    app: &App,
    tenant_id: &str,
    kind: Kind,
    id: &str,
    change: impl Fn(&mut Record) -> Result<()>,
) -> Result<Record> {
    for _ in 0..TRIES {
        let mut record = load(&app.db, tenant_id, kind, id)
            .await?
            .ok_or_else(not_found)?;
        let before = record.clone();
        let seen = before.updated_on;
        change(&mut record)?;
        // Later than before in any case: two changes in one millisecond are two.
        record.updated_on = Time(app.clock.now().0.max(seen.0 + 1));
        let ready = Searchable::of(kind, &record)?
            .prepare(app, tenant_id)
            .await?;
        let mut tx = app.db.begin().await?;
        if !lock_record(&mut tx, &record, seen).await? {
            continue;
        }
        if kind == Kind::Folder {
            rows::follow(app, &mut tx, &before, &record).await?;
        }
        let record = update_in(app, &mut tx, record, ready.as_ref()).await?;
        app.commit(tx).await?;
        return Ok(record);
    }
    Err(Error::conflict(
        "record_busy",
        "others change this record at the same time; try again",
    ))
}

/// Changes of a record's own fields; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Title.
    pub title: Option<String>,
    /// Fields to set; null removes one.
    pub body: Map<String, Value>,
}

impl Changes {
    /// Applies the changes to a record.
    ///
    /// # Errors
    /// `title_too_long`.
    pub(crate) fn apply(&self, record: &mut Record) -> Result<()> {
        if let Some(title) = &self.title {
            record.title = titled(Some(title), "", &record.title)?;
        }
        let mut body = record.body()?;
        for (name, value) in &self.body {
            if value.is_null() {
                body.shift_remove(name);
            } else {
                body.insert(name.clone(), value.clone());
            }
        }
        record.body = Value::Object(body).to_string();
        Ok(())
    }
}

/// Changes a record of a kind that has no rules of its own.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `title_too_long`, `record_busy`.
pub async fn update(
    app: &App,
    caller: &Caller,
    kind: Kind,
    id: &str,
    changes: Changes,
) -> Result<Record> {
    caller.need_unconfined(kind.area().write())?;
    change(app, caller.tenant(), kind, id, |record| {
        changes.apply(record)
    })
    .await
}

pub(crate) async fn update_in(
    app: &App,
    tx: &mut Tx,
    mut record: Record,
    ready: Option<&searchable::Ready>,
) -> Result<Record> {
    if let Some(ready) = ready {
        record.document_id = Some(ready.publish(app, tx, &record.tenant_id).await?.id);
    }
    let changed = tx
        .execute(
            "UPDATE records SET title = $1, status = $2, body = $3, document_id = $4, updated_on = $5, parent_id = $8 WHERE tenant_id = $6 AND id = $7",
            args![
                &record.title,
                &record.status,
                &record.body,
                &record.document_id,
                record.updated_on,
                &record.tenant_id,
                &record.id,
                &record.parent_id
            ],
        )
        .await?;
    if changed == 0 {
        Err(not_found())
    } else {
        Ok(record)
    }
}

fn not_found() -> Error {
    Error::not_found("record_not_found", "there is no such record")
}

/// A record of a kind.
///
/// # Errors
/// `scope_missing`, `record_not_found`.
pub async fn get(app: &App, caller: &Caller, kind: Kind, id: &str) -> Result<Record> {
    caller.need_unconfined(kind.area().read())?;
    load(&app.db, caller.tenant(), kind, id)
        .await?
        .ok_or_else(not_found)
}

pub(crate) async fn load(db: &Db, tenant_id: &str, kind: Kind, id: &str) -> Result<Option<Record>> {
    load_named(db, tenant_id, kind.name(), id).await
}

/// A record of a kind that has this name, or `None`.
pub(crate) async fn load_named(
    db: &Db,
    tenant_id: &str,
    kind: &str,
    id: &str,
) -> Result<Option<Record>> {
    if id.contains('\0') {
        // No id has one, and PostgreSQL takes none.
        return Ok(None);
    }
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND kind = $2 AND id = $3"
        ),
        args![tenant_id, kind, id],
    )
    .await
}

/// Makes a record that was last changed at `seen` the one that this transaction changes; `false` when somebody else was faster.
pub(crate) async fn lock_record(tx: &mut Tx, after: &Record, seen: Time) -> Result<bool> {
    let ours = tx
        .execute(
            "UPDATE records SET updated_on = $1 WHERE tenant_id = $2 AND id = $3 AND updated_on = $4",
            args![after.updated_on, &after.tenant_id, &after.id, seen],
        )
        .await?;
    Ok(ours > 0)
}

/// Removes a record and what search found it by.
///
/// # Errors
/// `scope_missing`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, kind: Kind, id: &str) -> Result<()> {
    caller.need_unconfined(kind.area().write())?;
    let record = load(&app.db, caller.tenant(), kind, id)
        .await?
        .ok_or_else(not_found)?;
    let mut tx = app.db.begin().await?;
    delete_in(app, &mut tx, &record).await?;
    app.commit(tx).await?;
    Ok(())
}

/// The same in the transaction that causes it.
pub(crate) async fn delete_in(app: &App, tx: &mut Tx, record: &Record) -> Result<()> {
    if let Some(document_id) = &record.document_id {
        documents::remove_in(app, tx, &record.tenant_id, document_id).await?;
    }
    tx.execute(
        "DELETE FROM records WHERE tenant_id = $1 AND id = $2",
        args![&record.tenant_id, &record.id],
    )
    .await?;
    Ok(())
}

/// Which records, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// From 1.
    pub page: i64,
    /// Records of a page, 1 to 100.
    pub limit: i64,
    /// `updatedAt`, `createdAt` or `title`.
    pub sort_by: SortBy,
    /// Whether the smallest comes first.
    pub ascending: bool,
}

/// What lists are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// Time of the last change.
    Updated,
    /// Time of creation.
    Created,
    /// Title.
    Title,
}

impl Default for Numbered {
    fn default() -> Self {
        Self {
            page: 1,
            limit: 10,
            sort_by: SortBy::Updated,
            ascending: false,
        }
    }
}

/// A page of records, and how many there are in all.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The records.
    pub items: Vec<Record>,
    /// In all.
    pub total: i64,
}

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Held by this record.
    pub parent_id: Option<String>,
    /// In this status.
    pub status: Option<String>,
}

/// Records of some kinds (of one area).
///
/// # Errors
/// `scope_missing`.
pub async fn list(
    app: &App,
    caller: &Caller,
    kinds: &[Kind],
    filter: &Filter,
    page: &Numbered,
) -> Result<Listed> {
    if let Some(kind) = kinds.first() {
        caller.need_unconfined(kind.area().read())?;
    }
    // A page of two kinds at most; the second repeats the first when there is one.
    let first = kinds.first().map_or("", |k| k.name());
    let second = kinds.get(1).map_or(first, |k| k.name());
    macro_rules! listing {
        ($order:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM records WHERE kind IN ($1, $2) AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR parent_id = $4) AND (CAST($5 AS TEXT) IS NULL OR status = $5) ORDER BY ",
                $order,
                " LIMIT $6 OFFSET $7"
            )
        };
    }
    let sql = match (page.sort_by, page.ascending) {
        (SortBy::Updated, false) => listing!("updated_on DESC, id DESC"),
        (SortBy::Updated, true) => listing!("updated_on, id"),
        (SortBy::Created, false) => listing!("created_on DESC, id DESC"),
        (SortBy::Created, true) => listing!("created_on, id"),
        (SortBy::Title, false) => listing!("title DESC, id DESC"),
        (SortBy::Title, true) => listing!("title, id"),
    };
    let (tenant_id, parent_id, status) = (caller.tenant(), &filter.parent_id, &filter.status);
    let items = app
        .db
        .all(
            sql,
            args![
                first,
                second,
                tenant_id,
                parent_id,
                status,
                page.limit,
                (page.page - 1) * page.limit
            ],
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE kind IN ($1, $2) AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR parent_id = $4) AND (CAST($5 AS TEXT) IS NULL OR status = $5)",
            args![first, second, tenant_id, parent_id, status],
        )
        .await?;
    Ok(Listed { items, total })
}

/// Records by id, in no particular order.
pub(crate) async fn by_ids(db: &Db, tenant_id: &str, ids: &[String]) -> Result<Vec<Record>> {
    db.all_in(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND id IN ($LIST)"
        ),
        args![tenant_id],
        ids,
    )
    .await
}

/// A record by the caller's own id.
pub(crate) async fn by_external(
    db: &Db,
    tenant_id: &str,
    kind: Kind,
    external_id: &str,
) -> Result<Option<Record>> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND kind = $2 AND external_id = $3"
        ),
        args![tenant_id, kind.name(), external_id],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::titled;

    #[test]
    fn titles_are_given_or_the_first_line() {
        assert_eq!(titled(Some(" A "), "b", "c").expect("valid"), "A");
        assert_eq!(
            titled(Some(" "), "\n## First line\nsecond", "c").expect("valid"),
            "First line"
        );
        assert_eq!(titled(None, " ", "project").expect("valid"), "project");
        assert!(titled(Some(&"x".repeat(301)), "", "c").is_err());
    }
}
