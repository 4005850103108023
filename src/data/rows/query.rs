//! Questions about the rows of a folder: filters, order, pages, groups. Blocks are read in order, a few at a time, and on all cores; of each row only
//! the fields that the question names are read. The answer says what was there while it was read: rows that come or change meanwhile may be in it or not.

mod groups;
mod pick;
mod values;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::{TryStreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{Block, Row, folder};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::data::folders;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::filter::{Comparison, Filter, Operator, value_at};
use crate::page;
use crate::records::ValueType;
use groups::Groups;
pub use groups::{Aggregate, Operation};
pub(super) use pick::names;
use values::{Key, date};

/// Most rows of a page.
pub const LIMIT: usize = 1000;
/// Bytes of a page of rows; one that would be larger ends sooner, after at least one row.
const BYTES: usize = 8 << 20;
/// Blocks of one read.
const READ: i64 = 16;
/// Fields that a question may name.
const FIELDS: usize = 50;

/// A question about rows.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Query {
    /// Which rows: the same filters as those of searches, over the fields of a row; dots lead into nested objects.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Fields to answer with; all of them when empty.
    pub select: Vec<String>,
    /// The order, most important first; rows that are equal in it, or without any, come in the order of appending. Groups are ordered by their own fields
    /// and by names of aggregates.
    pub sort: Vec<Sort>,
    /// Rows or groups of a page, 1 to 1000; 100 when absent.
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// Whether to count all rows that the filter lets through.
    pub count: bool,
    /// Fields whose values make groups; absent and null are one value.
    pub group_by: Vec<String>,
    /// Aggregates of each group, or of all rows when there is no `groupBy`.
    pub aggregates: Vec<Aggregate>,
}

/// One part of an order.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// The field, or the name of an aggregate.
    pub field: String,
    /// Which end comes first; rows without the field come last in both.
    #[serde(default)]
    pub order: Order,
}

/// Which end comes first. Numbers come before text, text before true and false, those before lists and objects.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest.
    #[default]
    Asc,
    /// The largest.
    Desc,
}

/// Result of a query.
#[derive(Debug)]
pub struct Answer {
    /// The rows; empty when the question was about groups.
    pub rows: Vec<Row>,
    /// Groups, each an object of its fields and its aggregates.
    pub groups: Option<Vec<Map<String, Value>>>,
    /// All rows that the filter lets through, or all groups; when it was asked for.
    pub total: Option<usize>,
    /// Where to go on.
    pub next_cursor: Option<String>,
}

/// Content of a cursor.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The question it belongs to.
    of: String,
    /// The last row's place in the order; of groups, how many were answered.
    after: Vec<Key>,
    seq: i64,
}

/// A question that was checked.
struct Asked {
    filter: Option<Filter>,
    sort: Vec<Sort>,
    group_by: Vec<String>,
    aggregates: Vec<Aggregate>,
    /// Top-level names of the fields to read.
    fields: Vec<String>,
    /// Columns that hold dates.
    dates: BTreeSet<String>,
    limit: usize,
    after: Option<(Vec<Key>, i64)>,
    is_grouped: bool,
    /// Whether rows are kept as they pass, because they cannot be read again.
    keeps: bool,
    /// Whether rows after the page need not be looked at.
    stops: bool,
}

/// A row that may be on the page.
struct Candidate {
    keys: Vec<Key>,
    seq: i64,
    block: i64,
    size: usize,
    /// The row itself, when it is kept.
    line: Option<String>,
}

/// Rows and groups found in some blocks.
#[derive(Default)]
struct Part {
    page: Vec<Candidate>,
    total: usize,
    groups: Groups,
}

/// Answers a question.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `filter_invalid`, `field_unknown`, `query_invalid`, `limit_out_of_range`, `cursor_invalid`, `too_many_groups`.
pub async fn query(
    app: &Arc<App>,
    caller: &Caller,
    folder_id: &str,
    query: &Query,
) -> Result<Answer> {
    caller.need_unconfined(Area::Data.read())?;
    let folder = folder(app, caller.tenant(), folder_id).await?;
    let columns = folders::columns_of(&folder)?;
    let blocks = blocks(
        Arc::clone(app),
        caller.tenant().to_owned(),
        folder_id.to_owned(),
    );
    over(
        app,
        Some((caller.tenant(), folder_id)),
        blocks,
        &columns,
        query,
    )
    .await
}

/// Answers a question about rows that come in blocks: those of a folder, or others, which are kept as they pass when they may be on the page.
///
/// # Errors
/// As [`query`].
pub(crate) async fn over(
    app: &Arc<App>,
    folder: Option<(&str, &str)>,
    blocks: impl stream::Stream<Item = Result<Vec<Block>>> + Send,
    columns: &[folders::Column],
    query: &Query,
) -> Result<Answer> {
    let mut asked = Asked::read(query, columns)?;
    asked.keeps = folder.is_none();
    let asked = Arc::new(asked);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let parts = blocks
        .map_ok(|blocks| {
            let asked = Arc::clone(&asked);
            async move { tokio::task::spawn_blocking(move || asked.look(&blocks)).await? }
        })
        .try_buffered(cores);
    futures::pin_mut!(parts);
    let mut all = Part::default();
    while let Some(part) = parts.try_next().await? {
        all.total += part.total;
        all.groups.merge(part.groups, &asked.aggregates)?;
        all.page.extend(part.page);
        asked.cut(&mut all.page);
        if asked.stops && all.page.len() > asked.limit {
            break;
        }
    }
    let of = asked.mark();
    if asked.is_grouped {
        return asked.grouped(all.groups, query, &of);
    }
    let more = all.page.len() > asked.limit;
    all.page.truncate(asked.limit);
    let mut size = 0;
    let fitting = all
        .page
        .iter()
        .take_while(|c| {
            let first = size == 0;
            size += c.size;
            first || size <= BYTES
        })
        .count();
    let more = more || fitting < all.page.len();
    all.page.truncate(fitting);
    let next_cursor = match all.page.last() {
        Some(last) if more => Some(Cursor::write(&of, last.keys.clone(), last.seq)?),
        _ => None,
    };
    let rows = match folder {
        Some((tenant_id, folder_id)) => {
            full(app, tenant_id, folder_id, &all.page, &query.select).await?
        }
        None => kept(&all.page, &query.select)?,
    };
    Ok(Answer {
        rows,
        groups: None,
        total: query.count.then_some(all.total),
        next_cursor,
    })
}

/// All rows that a question lets through, in their order, in one pass: its filter and its selection hold.
///
/// # Errors
/// As [`query`].
pub(crate) fn all(
    blocks: impl stream::Stream<Item = Result<Vec<Block>>> + Send,
    columns: &[folders::Column],
    query: &Query,
) -> Result<impl stream::Stream<Item = Result<Vec<Value>>> + Send> {
    let narrowed = Query {
        filter: query.filter.clone(),
        ..Query::default()
    };
    let asked = Arc::new(Asked::read(&narrowed, columns)?);
    let select = query.select.clone();
    Ok(blocks.and_then(move |blocks| {
        let (asked, select) = (Arc::clone(&asked), select.clone());
        async move {
            tokio::task::spawn_blocking(move || {
                let mut found = Vec::new();
                for line in blocks.iter().flat_map(|b| b.body.lines()) {
                    if asked.lets(line)? {
                        let data = Row::read(line)?.data;
                        found.push(if select.is_empty() {
                            data
                        } else {
                            selected(&data, &select)
                        });
                    }
                }
                Ok(found)
            })
            .await?
        }
    }))
}

/// The blocks of a folder in order, a few at a time.
pub(crate) fn blocks(
    app: Arc<App>,
    tenant_id: String,
    folder_id: String,
) -> impl stream::Stream<Item = Result<Vec<Block>>> + Send {
    stream::try_unfold(0_i64, move |after| {
        let (app, tenant_id, folder_id) = (Arc::clone(&app), tenant_id.clone(), folder_id.clone());
        async move {
            let blocks: Vec<Block> = app
                .db
                .all(
                    "SELECT first_seq, last_seq, version, body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 AND first_seq > $3 ORDER BY first_seq LIMIT $4",
                    args![&folder_id, &tenant_id, after, READ],
                )
                .await?;
            Ok(blocks.last().map(|b| b.first_seq).map(|at| (blocks, at)))
        }
    })
}

/// The rows of a page with their fields, in its order; one that was removed meanwhile is left out.
async fn full(
    app: &App,
    tenant_id: &str,
    folder_id: &str,
    page: &[Candidate],
    select: &[String],
) -> Result<Vec<Row>> {
    let mut wanted: HashMap<i64, Vec<i64>> = HashMap::new();
    for candidate in page {
        wanted
            .entry(candidate.block)
            .or_default()
            .push(candidate.seq);
    }
    let mut rows: HashMap<i64, Row> = HashMap::with_capacity(page.len());
    for (first, seqs) in wanted {
        let block: Option<(String,)> = app
            .db
            .optional(
                "SELECT body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 AND first_seq = $3",
                args![folder_id, tenant_id, first],
            )
            .await?;
        let select = select.to_vec();
        let found = tokio::task::spawn_blocking(move || {
            let body = block.map_or_else(String::new, |(body,)| body);
            let mut found = Vec::with_capacity(seqs.len());
            for line in body.lines() {
                if pick::position(line).is_some_and(|seq| seqs.contains(&seq)) {
                    let mut row = Row::read(line)?;
                    if !select.is_empty() {
                        row.data = selected(&row.data, &select);
                    }
                    found.push(row);
                }
            }
            Ok::<_, Error>(found)
        })
        .await??;
        rows.extend(found.into_iter().map(|row| (row.seq, row)));
    }
    Ok(page.iter().filter_map(|c| rows.remove(&c.seq)).collect())
}

/// The rows of a page that were kept.
fn kept(page: &[Candidate], select: &[String]) -> Result<Vec<Row>> {
    page.iter()
        .filter_map(|c| c.line.as_deref())
        .map(|line| {
            let mut row = Row::read(line)?;
            if !select.is_empty() {
                row.data = selected(&row.data, select);
            }
            Ok(row)
        })
        .collect()
}

/// Some fields of a row, each under the name that was asked for.
fn selected(data: &Value, select: &[String]) -> Value {
    let picked = select
        .iter()
        .filter_map(|name| Some((name.clone(), value_at(data, name)?.clone())))
        .collect();
    Value::Object(picked)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("query_invalid", message.into())
}

impl Asked {
    fn read(query: &Query, columns: &[folders::Column]) -> Result<Self> {
        let limit = query.limit.unwrap_or(100);
        if !(1..=LIMIT).contains(&limit) {
            return Err(Error::invalid(
                "limit_out_of_range",
                format!("limit must be between 1 and {LIMIT}"),
            ));
        }
        let is_grouped = !query.group_by.is_empty() || !query.aggregates.is_empty();
        if is_grouped && !query.select.is_empty() {
            return Err(invalid(
                "select cannot be used with groupBy; groups have the fields of groupBy and the aggregates",
            ));
        }
        let dates: BTreeSet<String> = columns
            .iter()
            .filter(|c| c.kind == ValueType::Date)
            .map(|c| c.name.clone())
            .collect();
        let mut filter = query
            .filter
            .as_ref()
            .filter(|f| !f.is_null())
            .map(Filter::read)
            .transpose()?;
        let mut fields = BTreeSet::new();
        if let Some(filter) = &mut filter {
            prepare(filter, &dates, &mut fields)?;
        }
        let aggregates = groups::named(&query.aggregates, &query.group_by)?;
        let of_rows = (!is_grouped)
            .then(|| query.sort.iter().map(|s| &s.field))
            .into_iter()
            .flatten();
        let of_aggregates = aggregates.iter().filter_map(|a| a.field.as_ref());
        for name in of_rows.chain(&query.group_by).chain(of_aggregates) {
            field(name)?;
            fields.insert(name.clone());
        }
        if is_grouped {
            for sort in &query.sort {
                let known = query.group_by.contains(&sort.field)
                    || aggregates
                        .iter()
                        .any(|a| a.name.as_ref() == Some(&sort.field));
                if !known {
                    return Err(invalid(format!(
                        "groups cannot be sorted by {}; use a field of groupBy or the name of an aggregate",
                        sort.field
                    )));
                }
            }
        }
        if fields.len() > FIELDS || query.select.len() > 10 * FIELDS {
            return Err(invalid(format!(
                "a query may name at most {FIELDS} fields and select at most {}",
                10 * FIELDS
            )));
        }
        let mut asked = Self {
            stops: !is_grouped && query.sort.is_empty() && !query.count,
            filter,
            sort: query.sort.clone(),
            group_by: query.group_by.clone(),
            aggregates,
            // A dot may lead into an object, or be part of a name.
            fields: fields
                .iter()
                .flat_map(|f| [f.as_str(), f.split('.').next().unwrap_or(f)])
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            dates,
            limit,
            after: None,
            is_grouped,
            keeps: false,
        };
        if let Some(cursor) = query.cursor.as_deref().filter(|c| !c.is_empty()) {
            asked.after = Some(Cursor::read(cursor, &asked.mark(), asked.sort.len())?);
        }
        Ok(asked)
    }

    /// Returns the hash of the query to which a cursor belongs. The folder is no part of it: positions of another one do no harm.
    fn mark(&self) -> String {
        let asked = serde_json::json!([self.sort, self.group_by, self.aggregates, self.filter]);
        hex::encode(&Sha256::digest(asked.to_string())[..8])
    }

    /// The named fields of a row, with dates as they are compared; and its position.
    fn fields(&self, line: &str) -> Result<(i64, Value)> {
        let (seq, mut data) = pick::row(line, &self.fields)?;
        if let Value::Object(fields) = &mut data {
            for (name, value) in fields {
                if self.dates.contains(name)
                    && let Some(canonical) = value.as_str().and_then(date)
                {
                    *value = Value::String(canonical);
                }
            }
        }
        Ok((seq, data))
    }

    /// Whether the filter lets a row through.
    fn lets(&self, line: &str) -> Result<bool> {
        match &self.filter {
            None => Ok(true),
            Some(filter) => Ok(filter.holds(&self.fields(line)?.1)),
        }
    }

    /// Looks at the rows of some blocks.
    fn look(&self, blocks: &[Block]) -> Result<Part> {
        let mut part = Part::default();
        for block in blocks {
            for line in block.body.lines() {
                let (seq, data) = self.fields(line)?;
                if self.filter.as_ref().is_some_and(|f| !f.holds(&data)) {
                    continue;
                }
                part.total += 1;
                if self.is_grouped {
                    part.groups.add(&data, &self.group_by, &self.aggregates)?;
                    continue;
                }
                let candidate = Candidate {
                    keys: self
                        .sort
                        .iter()
                        .map(|s| Key::of(value_at(&data, &s.field)))
                        .collect(),
                    seq,
                    block: block.first_seq,
                    size: line.len(),
                    line: None,
                };
                let is_after = self
                    .after
                    .as_ref()
                    .is_none_or(|(keys, at)| self.order(&candidate, keys, *at).is_gt());
                if is_after {
                    let line = self.keeps.then(|| line.to_owned());
                    part.page.push(Candidate { line, ..candidate });
                }
            }
        }
        self.cut(&mut part.page);
        Ok(part)
    }

    fn order(&self, one: &Candidate, keys: &[Key], seq: i64) -> std::cmp::Ordering {
        values::order(&one.keys, keys, self.sort.iter().map(|s| s.order)).then(one.seq.cmp(&seq))
    }

    /// Leaves the first of the page, and one more that tells whether there are others.
    fn cut(&self, page: &mut Vec<Candidate>) {
        if page.len() > self.limit + 1 || !self.sort.is_empty() {
            page.sort_by(|a, b| self.order(a, &b.keys, b.seq));
            page.truncate(self.limit + 1);
        }
    }

    fn grouped(&self, groups: Groups, query: &Query, of: &str) -> Result<Answer> {
        let mut groups = groups.finish(&self.group_by, &self.aggregates)?;
        let total = groups.len();
        let keys = |group: &Map<String, Value>| -> Vec<Key> {
            self.sort
                .iter()
                .map(|s| Key::of(group.get(&s.field)))
                .collect()
        };
        groups.sort_by_cached_key(|group| {
            // Equal ones in the order of their fields, so that pages are the same at every call.
            let own: Vec<Key> = self
                .group_by
                .iter()
                .map(|name| Key::of(group.get(name)))
                .collect();
            values::Ordered {
                keys: keys(group),
                orders: self.sort.iter().map(|s| s.order).collect(),
                own,
            }
        });
        let begin = self
            .after
            .as_ref()
            .map_or(0, |(_, at)| usize::try_from(*at).unwrap_or(0));
        let page: Vec<Map<String, Value>> =
            groups.into_iter().skip(begin).take(self.limit).collect();
        let end = begin + page.len();
        let next_cursor = if end < total && !page.is_empty() {
            let none = vec![Key::Missing; self.sort.len()];
            Some(Cursor::write(
                of,
                none,
                i64::try_from(end).unwrap_or(i64::MAX),
            )?)
        } else {
            None
        };
        Ok(Answer {
            rows: Vec::new(),
            groups: Some(page),
            total: query.count.then_some(total),
            next_cursor,
        })
    }
}

/// Notes the fields of a filter, and compares dates as the rows have them.
fn prepare(
    filter: &mut Filter,
    dates: &BTreeSet<String>,
    fields: &mut BTreeSet<String>,
) -> Result<()> {
    match filter {
        Filter::And { and: parts } | Filter::Or { or: parts } => {
            for part in parts {
                prepare(part, dates, fields)?;
            }
        }
        Filter::Not { not } => prepare(not, dates, fields)?,
        Filter::Is(Comparison {
            field: name,
            op,
            value,
        }) => {
            field(name)?;
            fields.insert(name.clone());
            let is_part = matches!(op, Operator::Contains | Operator::Starts | Operator::Ends);
            if dates.contains(name) && !is_part {
                match value {
                    Value::String(text) => {
                        if let Some(canonical) = date(text) {
                            *text = canonical;
                        }
                    }
                    Value::Array(list) => {
                        for value in list {
                            if let Some(canonical) = value.as_str().and_then(date) {
                                *value = Value::String(canonical);
                            }
                        }
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
                }
            }
        }
    }
    Ok(())
}

fn field(name: &str) -> Result<()> {
    if name.starts_with('$') {
        return Err(Error::invalid(
            "field_unknown",
            format!("{name} is not a valid field name"),
        ));
    }
    Ok(())
}

impl Cursor {
    fn write(of: &str, after: Vec<Key>, seq: i64) -> Result<String> {
        let cursor = Self {
            of: of.to_owned(),
            after,
            seq,
        };
        Ok(page::encode(&serde_json::to_string(&cursor)?))
    }

    fn read(cursor: &str, of: &str, sorts: usize) -> Result<(Vec<Key>, i64)> {
        page::decode(cursor)
            .and_then(|json| serde_json::from_str::<Self>(&json).ok())
            .filter(|c| c.of == of && c.after.len() == sorts)
            .map(|c| (c.after, c.seq))
            .ok_or_else(|| {
                Error::invalid(
                    "cursor_invalid",
                    "the cursor was not returned by this query",
                )
            })
    }
}
