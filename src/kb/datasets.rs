//! Datasets: sets of documents with one embedding model, one chunking configuration and one keyword analysis.

mod activity;
mod settings;

use std::collections::BTreeSet;

use cairn_models::Calibration;

use crate::app::App;
use crate::auth::{Area, Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::page::{Listing, MAX_LIMIT, Page};
use crate::search::analysis;
pub use activity::{Activity, activity};
pub use settings::{CHUNK_OVERLAP, CHUNK_SIZE, ChunkSettings, DELIMITER, IndexSettings};
use settings::{checked_delimiter, checked_name};

/// A dataset with its counts.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Dataset {
    pub id: String,
    pub tenant_id: String,
    /// Unique in the tenant.
    pub name: String,
    pub description: Option<String>,
    /// Language of the keyword analysis: a two-letter code, `none`, or `auto` to detect it for every chunk.
    pub language: String,
    #[sqlx(flatten)]
    pub indexing: IndexSettings,
    /// JSON array of agent roles.
    pub allowed_agent_roles: String,
    /// Generation: a combination of model and chunking.
    pub generation: i64,
    /// Set of chunks that is searched.
    pub live_set: String,
    /// Last position of its index log.
    pub log_seq: i64,
    /// Incremented by every change that may affect search results.
    pub version: i64,
    /// JSON object with defaults for search settings that a request omits.
    pub search_defaults: String,
    /// Whether queries are recorded.
    pub query_history: bool,
    pub created_on: Time,
    /// Time of the last change of settings.
    pub updated_on: Time,
    /// Number of documents.
    pub total_files: i64,
    /// Number of chunks.
    pub total_chunks: i64,
    /// Number of documents that are not finished.
    pub unfinished: i64,
    /// Number of documents that failed.
    pub failed: i64,
}

impl Dataset {
    /// Returns `building` while a document is unfinished, `error` when every document failed, `active` otherwise.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.unfinished > 0 {
            "building"
        } else if self.failed > 0 && self.failed == self.total_files {
            "error"
        } else {
            "active"
        }
    }

    /// Returns the roles that agents may have to use the dataset.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        serde_json::from_str(&self.allowed_agent_roles).unwrap_or_default()
    }
}

/// A dataset to create.
#[derive(Debug, Clone, Default)]
pub struct NewDataset {
    /// Unique in the tenant.
    pub name: String,
    pub description: Option<String>,
    /// Language of the keyword analysis; auto when absent.
    pub language: Option<String>,
    pub chunk_settings: ChunkSettings,
    /// Delimiter at which `MANUAL` splits; a line of three dashes when absent.
    pub delimiter: Option<String>,
    /// Agent roles that may use the dataset; empty for all.
    pub allowed_agent_roles: Vec<String>,
    /// Calibration of its vectors; that of the model when absent.
    pub calibration: Option<Calibration>,
}

/// A partial change of settings.
#[derive(Debug, Clone, Default)]
pub struct DatasetPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    /// Applies to documents ingested from now on.
    pub chunk_settings: ChunkSettings,
    /// Delimiter at which `MANUAL` splits.
    pub delimiter: Option<String>,
    /// Agent roles that may use the dataset.
    pub allowed_agent_roles: Option<Vec<String>>,
}

/// Creates a dataset for the configured embedding model.
///
/// # Errors
/// `name_missing`, `dataset_exists`, `language_unknown`, and those of [`ChunkSettings::check`].
pub async fn create(app: &App, caller: &Caller, new: NewDataset) -> Result<Dataset> {
    caller.need_unconfined(Scope::KbWrite)?;
    create_as(app, caller, &app.clock.id(), new).await
}

/// Returns the area dataset with the texts of an area, creating it when missing.
///
/// # Errors
/// Those of the database.
pub(crate) async fn area_dataset(app: &App, tenant_id: &str, area: Area) -> Result<Dataset> {
    let title = match area {
        Area::Knowledge => "Knowledge",
        Area::Data => "Data",
        Area::Projects => "Projects",
        Area::Plans => "Business plans",
        Area::Sales => "Sales",
        Area::Templates => "Templates",
        Area::Crm => "CRM",
        Area::Support => "Support",
        Area::Tasks => "Tasks",
        Area::Activity => "Activity",
        Area::Cms => "Content",
        Area::Assets => "Assets",
        Area::Integrations => "Integrations",
        Area::Analytics => "Analytics",
        Area::Bi => "Business intelligence",
        Area::Boards => "Boards",
        Area::Marketing => "Marketing",
    };
    managed(app, tenant_id, &area.dataset_id(tenant_id), title).await
}

/// Returns the dataset with the texts of a part of an area, such as a board, creating it when missing with a name after `title`.
///
/// # Errors
/// Those of the database.
pub(crate) async fn part_dataset(
    app: &App,
    tenant_id: &str,
    area: Area,
    part: &str,
    title: &str,
) -> Result<Dataset> {
    let id = area.part_dataset_id(tenant_id, part);
    let title: String = title
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME_OF_PART)
        .collect();
    managed(app, tenant_id, &id, title.trim()).await
}

/// Characters of a part's title in the name of its dataset.
const NAME_OF_PART: usize = 80;

/// Returns a dataset that follows records, creating it when missing.
async fn managed(app: &App, tenant_id: &str, id: &str, title: &str) -> Result<Dataset> {
    let caller = Caller::local(tenant_id);
    match settings(app, &caller, id).await {
        Err(error) if error.code() == "dataset_not_found" => {}
        found => return found,
    }
    // The name may be in use, or a concurrent request may create the dataset.
    for name in [
        title.to_owned(),
        format!("{title} of agents"),
        id.to_owned(),
    ] {
        let new = NewDataset {
            name,
            description: Some("Content written by agents; maintained by Cairn".to_owned()),
            ..NewDataset::default()
        };
        match create_as(app, &caller, id, new).await {
            Err(error) if matches!(error.code(), "dataset_exists" | "name_missing") => {}
            made => return made,
        }
        if let Ok(made) = settings(app, &caller, id).await {
            return Ok(made);
        }
    }
    Err(Error::internal("an area dataset could not be created"))
}

/// Returns the error for a dataset name that is in use.
pub(crate) fn exists(name: &str) -> Error {
    Error::conflict(
        "dataset_exists",
        format!("a dataset named {name:?} already exists"),
    )
}

async fn create_as(app: &App, caller: &Caller, id: &str, new: NewDataset) -> Result<Dataset> {
    let mut tx = app.db.begin().await?;
    create_in(app, &mut tx, caller, id, &new).await?;
    app.commit(tx).await?;
    get(app, caller, id).await
}

/// Creates a dataset in the transaction that causes it.
///
/// # Errors
/// Those of [`create`].
pub(crate) async fn create_in(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    id: &str,
    new: &NewDataset,
) -> Result<Dataset> {
    let name = checked_name(&new.name)?;
    let language = new
        .language
        .as_deref()
        .unwrap_or(analysis::AUTO)
        .to_lowercase();
    analysis::check_language(&language)?;
    new.chunk_settings.check(CHUNK_SIZE, CHUNK_OVERLAP)?;
    let delimiter = checked_delimiter(new.delimiter.as_deref().unwrap_or(DELIMITER))?;
    let model = app.embedder().await?;
    let spec = model.spec();
    let calibration = match new.calibration {
        Some(own) => Some(own),
        None => app.calibration(&spec.model).await?,
    };
    let now = app.clock.now();
    let created = tx
        .execute(
            "INSERT INTO kb_datasets (id, tenant_id, name, description, language, embedding_provider, embedding_model, vector_size, chunk_size,
             chunk_overlap, parse_type, parser_engine, delimiter, calibration_low, calibration_high, allowed_agent_roles, generation, live_set,
             created_on, updated_on)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1, $1, $17, $17) ON CONFLICT DO NOTHING",
            args![
                id,
                caller.tenant(),
                name,
                &new.description,
                &language,
                &spec.provider,
                &spec.model,
                i64::try_from(spec.dimensions).unwrap_or(0),
                new.chunk_settings.chunk_size.unwrap_or(CHUNK_SIZE),
                new.chunk_settings.chunk_overlap.unwrap_or(CHUNK_OVERLAP),
                new.chunk_settings.parse_type.as_deref().unwrap_or("MARKDOWN"),
                new.chunk_settings.parser_engine.as_deref().unwrap_or("NODE_NATIVE"),
                delimiter,
                calibration.map(|c| f64::from(c.low)),
                calibration.map(|c| f64::from(c.high)),
                serde_json::to_string(&new.allowed_agent_roles)?,
                now,
            ],
        )
        .await?;
    if created == 0 {
        return Err(exists(name));
    }
    first_generation(tx, caller.tenant(), id).await?;
    events::append(
        tx,
        &app.clock,
        caller.tenant(),
        &Event::DatasetChanged {
            dataset_id: id.to_owned(),
            name: name.to_owned(),
        },
    )
    .await?;
    settings_in(tx, caller, id).await
}

macro_rules! columns {
    () => {
        "d.id, d.tenant_id, d.name, d.description, d.language, d.embedding_provider, d.embedding_model, d.vector_size, d.chunk_size,
         d.chunk_overlap, d.parse_type, d.parser_engine, d.delimiter, d.calibration_low, d.calibration_high, d.allowed_agent_roles, d.generation, d.live_set,
         (SELECT g.log_seq FROM kb_generations g WHERE g.set_id = d.live_set) AS log_seq, d.version, d.search_defaults, d.query_history,
         d.created_on, d.updated_on"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", (SELECT COUNT(*) FROM kb_documents f WHERE f.dataset_id = d.id) AS total_files,
             (SELECT COUNT(*) FROM kb_chunks c WHERE c.set_id = d.live_set) AS total_chunks,
             (SELECT COUNT(*) FROM kb_documents f WHERE f.dataset_id = d.id AND f.status IN ('pending', 'parsing', 'embedding', 'stored')) AS unfinished,
             (SELECT COUNT(*) FROM kb_documents f WHERE f.dataset_id = d.id AND f.status = 'error') AS failed
             FROM kb_datasets d ",
            $rest
        )
    };
}

/// Returns a dataset that the caller may see.
///
/// # Errors
/// `dataset_not_found`.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Dataset> {
    one(
        app,
        caller,
        id,
        select!("WHERE d.tenant_id = $1 AND d.id = $2"),
    )
    .await
}

/// Same as [`get`] without counts (they are 0): for paths that only need the settings and must not pay for counting.
///
/// # Errors
/// `dataset_not_found`.
pub async fn settings(app: &App, caller: &Caller, id: &str) -> Result<Dataset> {
    one(app, caller, id, UNCOUNTED).await
}

const UNCOUNTED: &str = concat!(
    "SELECT ",
    columns!(),
    ", CAST(0 AS BIGINT) AS total_files, CAST(0 AS BIGINT) AS total_chunks, CAST(0 AS BIGINT) AS unfinished, CAST(0 AS BIGINT) AS failed
     FROM kb_datasets d WHERE d.tenant_id = $1 AND d.id = $2"
);

/// Same as [`settings`], inside a transaction.
async fn settings_in(tx: &mut Tx, caller: &Caller, id: &str) -> Result<Dataset> {
    tx.optional(UNCOUNTED, args![caller.tenant(), id])
        .await?
        .ok_or_else(missing)
}

/// Returns the error for a dataset that does not exist, or that the caller may not see.
#[must_use]
pub fn missing() -> Error {
    Error::not_found("dataset_not_found", "dataset not found")
}

async fn one(app: &App, caller: &Caller, id: &str, sql: &'static str) -> Result<Dataset> {
    if !caller.sees(id) {
        return Err(missing());
    }
    app.db
        .optional(sql, args![caller.tenant(), id])
        .await?
        .ok_or_else(missing)
}

/// Returns a dataset by name or id, as typed on a command line.
///
/// # Errors
/// `dataset_not_found`.
pub async fn by_name(app: &App, caller: &Caller, name: &str) -> Result<Dataset> {
    // PostgreSQL refuses texts with it.
    if name.contains('\0') {
        return Err(missing());
    }
    let found: Option<Dataset> = app
        .db
        .optional(
            // A name that is the id of another dataset does not refer to that one.
            select!(
                "WHERE d.tenant_id = $1 AND (d.name = $2 OR d.id = $2) ORDER BY CASE WHEN d.id = $2 THEN 0 ELSE 1 END LIMIT 1"
            ),
            args![caller.tenant(), name],
        )
        .await?;
    if let Some(dataset) = found.filter(|d| caller.sees(&d.id)) {
        return Ok(dataset);
    }
    let page = Page::read(Some(MAX_LIMIT), None, MAX_LIMIT)?;
    let known = seen(app, caller, &page).await?.items;
    Err(unknown(name, known.iter().map(|d| d.name.as_str())))
}

/// Least similarity of a name that is suggested instead of an unknown one, as by Jaro and Winkler, 0 to 1.
const SIMILAR: f64 = 0.85;

/// Returns the error for a dataset that is not among the known ones, with the one that is most likely meant.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let wanted = name.to_lowercase();
    let similarity = |known: &&str| strsim::jaro_winkler(&wanted, &known.to_lowercase());
    let best = known.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let hint = match best {
        Some(best) if similarity(&best) >= SIMILAR => format!("; did you mean {best:?}?"),
        _ => String::new(),
    };
    Error::not_found(
        "dataset_not_found",
        format!("dataset {name:?} not found{hint}"),
    )
}

/// Lists the datasets that the caller may see, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(app: &App, caller: &Caller, page: &Page) -> Result<Listing<Dataset>> {
    caller.need(Scope::KbRead)?;
    seen(app, caller, page).await
}

/// Lists the datasets that the caller may search, ordered by id, also for keys that may do nothing else.
///
/// # Errors
/// `scope_missing`.
pub async fn visible(app: &App, caller: &Caller, page: &Page) -> Result<Listing<Dataset>> {
    caller.need(Scope::KbSearch)?;
    seen(app, caller, page).await
}

/// Returns all datasets that the caller may search, ordered by id.
///
/// # Errors
/// `scope_missing`.
pub async fn all_visible(app: &App, caller: &Caller) -> Result<Vec<Dataset>> {
    let mut all = Vec::new();
    let mut page = Page::read(Some(MAX_LIMIT), None, MAX_LIMIT)?;
    loop {
        let listing = visible(app, caller, &page).await?;
        all.extend(listing.items);
        match listing.next {
            Some(next) => page = Page::read(Some(MAX_LIMIT), Some(&next), MAX_LIMIT)?,
            None => return Ok(all),
        }
    }
}

/// Returns the names of the embedding models that the caller may use: the configured one, and those of the datasets that it may search.
///
/// # Errors
/// `scope_missing`; those of loading the configured model.
pub async fn embedding_models(app: &App, caller: &Caller) -> Result<BTreeSet<String>> {
    caller.need(Scope::KbSearch)?;
    let rows: Vec<(String,)> = match caller.datasets() {
        None => {
            let all = "SELECT DISTINCT embedding_model FROM kb_datasets WHERE tenant_id = $1";
            app.db.all(all, args![caller.tenant()]).await?
        }
        Some(ids) => {
            let some = "SELECT DISTINCT embedding_model FROM kb_datasets WHERE tenant_id = $1 AND id IN ($LIST)";
            app.db.all_in(some, args![caller.tenant()], ids).await?
        }
    };
    let mut names = BTreeSet::from([app.embedder().await?.spec().model.clone()]);
    names.extend(rows.into_iter().map(|(name,)| name));
    Ok(names)
}

async fn seen(app: &App, caller: &Caller, page: &Page) -> Result<Listing<Dataset>> {
    let rows: Vec<Dataset> = match caller.datasets() {
        None => {
            app.db
                .all(
                    select!("WHERE d.tenant_id = $1 AND d.id > $2 ORDER BY d.id LIMIT $3"),
                    args![caller.tenant(), &page.after, page.fetch()],
                )
                .await?
        }
        Some(ids) => {
            let mut rows: Vec<Dataset> = app
                .db
                .all_in(
                    select!("WHERE d.tenant_id = $1 AND d.id > $2 AND d.id IN ($LIST)"),
                    args![caller.tenant(), &page.after],
                    ids,
                )
                .await?;
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            rows
        }
    };
    let mut listing = page.listing(rows, |d| d.id.clone());
    // A page may be shorter than requested, but nothing is left out.
    listing.items.retain(|d| caller.sees(&d.id));
    Ok(listing)
}

/// Changes settings. Size, overlap and parse type apply to documents ingested from now on; nothing is ingested again automatically.
///
/// # Errors
/// Those of [`create`].
pub async fn update(app: &App, caller: &Caller, id: &str, patch: DatasetPatch) -> Result<Dataset> {
    caller.need_manage(id)?;
    let dataset = settings(app, caller, id).await?;
    let name = checked_name(patch.name.as_deref().unwrap_or(&dataset.name))?;
    patch
        .chunk_settings
        .check(dataset.indexing.chunk_size, dataset.indexing.chunk_overlap)?;
    let delimiter = checked_delimiter(
        patch
            .delimiter
            .as_deref()
            .unwrap_or(&dataset.indexing.delimiter),
    )?;
    let roles = patch
        .allowed_agent_roles
        .as_ref()
        .map(serde_json::to_string)
        .transpose()?;
    let mut tx = app.db.begin().await?;
    let taken: Option<(String,)> = tx
        .optional(
            "SELECT id FROM kb_datasets WHERE tenant_id = $1 AND name = $2 AND id <> $3",
            args![caller.tenant(), name, id],
        )
        .await?;
    if taken.is_some() {
        return Err(Error::conflict(
            "dataset_exists",
            format!("a dataset named {name:?} already exists"),
        ));
    }
    tx.execute(
        "UPDATE kb_datasets SET name = $1, description = COALESCE($2, description), chunk_size = COALESCE($3, chunk_size),
         chunk_overlap = COALESCE($4, chunk_overlap), parse_type = COALESCE($5, parse_type), parser_engine = COALESCE($6, parser_engine),
         delimiter = $7, allowed_agent_roles = COALESCE($8, allowed_agent_roles), updated_on = $9 WHERE tenant_id = $10 AND id = $11",
        args![
            name,
            &patch.description,
            patch.chunk_settings.chunk_size,
            patch.chunk_settings.chunk_overlap,
            &patch.chunk_settings.parse_type,
            &patch.chunk_settings.parser_engine,
            delimiter,
            roles,
            app.clock.now(),
            caller.tenant(),
            id
        ],
    )
    .await?;
    events::append(
        &mut tx,
        &app.clock,
        caller.tenant(),
        &Event::DatasetChanged {
            dataset_id: id.to_owned(),
            name: name.to_owned(),
        },
    )
    .await?;
    app.commit(tx).await?;
    get(app, caller, id).await
}

/// Removes a dataset with its documents and chunks, in the transaction that removes its source. Searches exclude it at once; the indexes remove it
/// later.
///
/// # Errors
/// Those of the database.
pub(crate) async fn delete_in(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    dataset: &Dataset,
) -> Result<()> {
    let id = dataset.id.as_str();
    for statement in [
        "DELETE FROM kb_query_history WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_eval_runs WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_queries WHERE tenant_id = $1 AND query_set_id IN (SELECT id FROM kb_query_sets WHERE tenant_id = $1 AND dataset_id = $2)",
        "DELETE FROM kb_query_sets WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_search_defaults WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_file_batches WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_chunks WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_chunk_edits WHERE tenant_id = $1 AND document_id IN (SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2)",
        "DELETE FROM kb_generation_documents WHERE tenant_id = $1 AND document_id IN (SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2)",
        "DELETE FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_index_log WHERE dataset_id IN (SELECT set_id FROM kb_generations WHERE tenant_id = $1 AND dataset_id = $2)",
        "DELETE FROM kb_generations WHERE tenant_id = $1 AND dataset_id = $2",
        "DELETE FROM kb_datasets WHERE tenant_id = $1 AND id = $2",
    ] {
        tx.execute(statement, args![caller.tenant(), id]).await?;
    }
    events::append(
        tx,
        &app.clock,
        caller.tenant(),
        &Event::DatasetDeleted {
            dataset_id: dataset.id.clone(),
        },
    )
    .await
}

/// Adds the first generation of a new dataset.
async fn first_generation(tx: &mut Tx, tenant_id: &str, dataset_id: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO kb_generations (set_id, tenant_id, dataset_id, number, status, embedding_provider, embedding_model, vector_size, chunk_size,
         chunk_overlap, parse_type, parser_engine, delimiter, calibration_low, calibration_high, log_seq, created_on)
         SELECT id, tenant_id, id, generation, 'live', embedding_provider, embedding_model, vector_size, chunk_size, chunk_overlap, parse_type,
         parser_engine, delimiter, calibration_low, calibration_high, 0, created_on FROM kb_datasets WHERE tenant_id = $1 AND id = $2",
        args![tenant_id, dataset_id],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_one_that_is_meant() {
        let said = |name: &str| unknown(name, ["papers", "handbook"].into_iter()).to_string();
        assert!(
            said("Papers").ends_with("did you mean \"papers\"?"),
            "{}",
            said("Papers")
        );
        assert!(said("handbok").contains("\"handbook\""));
        assert!(said("zebra").ends_with("not found"));
    }

    #[test]
    fn ranges_are_checked_against_what_stays() {
        let cut = |size, overlap| ChunkSettings {
            chunk_size: size,
            chunk_overlap: overlap,
            ..ChunkSettings::default()
        };
        assert!(
            cut(None, None).check(256, 32).is_ok()
                && cut(Some(2048), Some(512)).check(256, 32).is_ok()
        );
        assert_eq!(
            cut(Some(127), None)
                .check(256, 32)
                .expect_err("small")
                .code(),
            "chunk_size_out_of_range"
        );
        assert_eq!(
            cut(Some(128), None)
                .check(256, 128)
                .expect_err("equal")
                .code(),
            "chunk_overlap_out_of_range"
        );
        assert_eq!(
            cut(None, Some(513))
                .check(2048, 32)
                .expect_err("large")
                .code(),
            "chunk_overlap_out_of_range"
        );
    }
}
