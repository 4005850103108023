//! Folders: rows of data with columns that have types. Each row is checked against the columns, and can be searched.

use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::{self, Kind, NewRecord, Record, Searchable};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Any text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A day or a time, as RFC 3339 has them.
    Date,
    /// Anything.
    Json,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether every row has it.
    pub required: bool,
}

/// Columns of a folder.
const MOST_COLUMNS: usize = 500;

/// Reads columns as callers write them: `"name"`, `["name", "type"]`, or `{"name", "type", "required"}`; a list that is wrapped once more is unwrapped.
///
/// # Errors
/// `schema_invalid`.
pub fn columns(given: &Value) -> Result<Vec<Column>> {
    let invalid = |what: String| {
        Error::invalid(
            "schema_invalid",
            format!(
                "{what}; a column is a name, [name, type] or {{name, type, required}}, and types are text, number, boolean, date, json"
            ),
        )
    };
    let Value::Array(list) = given else {
        return Err(invalid("dataSchema must be a list".to_owned()));
    };
    // A list of columns inside a list.
    if let [Value::Array(inner)] = list.as_slice()
        && inner.iter().any(|c| !c.is_string() || inner.len() != 2)
    {
        return columns(&Value::Array(inner.clone()));
    }
    if list.len() > MOST_COLUMNS {
        return Err(invalid(format!(
            "there are more than {MOST_COLUMNS} columns"
        )));
    }
    let mut found: Vec<Column> = Vec::new();
    for column in list {
        let (name, kind, required) = match column {
            Value::String(name) => (name.clone(), "text", false),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(name)] => (name.clone(), "text", false),
                [Value::String(name), Value::String(kind)] => (name.clone(), kind.as_str(), false),
                _ => return Err(invalid(format!("{column} is no column"))),
            },
            Value::Object(map) => {
                let word = |name: &str| map.get(name).and_then(Value::as_str);
                let name = word("name")
                    .or_else(|| word("title"))
                    .ok_or_else(|| invalid(format!("{column} has no name")))?;
                (
                    name.to_owned(),
                    word("type").unwrap_or("text"),
                    map.get("required")
                        .and_then(Value::as_bool)
                        .unwrap_or(false),
                )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                return Err(invalid(format!("{column} is no column")));
            }
        };
        let kind = match kind.to_lowercase().as_str() {
            "text" | "string" => ColumnType::Text,
            "number" | "integer" | "float" => ColumnType::Number,
            "boolean" | "bool" => ColumnType::Boolean,
            "date" | "datetime" => ColumnType::Date,
            "json" | "object" | "array" => ColumnType::Json,
            other => return Err(invalid(format!("{other:?} is no type"))),
        };
        if name.trim().is_empty() || found.iter().any(|c| c.name == name) {
            return Err(invalid(format!(
                "the column name {name:?} is empty or there twice"
            )));
        }
        found.push(Column {
            name,
            kind,
            required,
        });
    }
    Ok(found)
}

fn fits(kind: ColumnType, value: &Value) -> bool {
    match kind {
        ColumnType::Text => value.is_string(),
        ColumnType::Number => value.is_number(),
        ColumnType::Boolean => value.is_boolean(),
        ColumnType::Date => value.as_str().is_some_and(|text| {
            chrono::DateTime::parse_from_rfc3339(text).is_ok()
                || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
        }),
        ColumnType::Json => true,
    }
}

/// Checks a row: what a column says must hold, null and absence count as none, and fields without a column are welcome.
///
/// # Errors
/// `row_invalid` names the column.
pub fn check(columns: &[Column], row: &Map<String, Value>) -> Result<()> {
    for column in columns {
        match row.get(&column.name) {
            None | Some(Value::Null) if column.required => {
                return Err(Error::invalid(
                    "row_invalid",
                    format!("the column {} is missing", column.name),
                ));
            }
            None | Some(Value::Null) => {}
            Some(value) if fits(column.kind, value) => {}
            Some(value) => {
                let kind = format!("{:?}", column.kind).to_lowercase();
                return Err(Error::invalid(
                    "row_invalid",
                    format!("the column {} must be {kind}, and is {value}", column.name),
                ));
            }
        }
    }
    Ok(())
}

/// Creates a folder; `dataSchema` in its body tells its columns.
///
/// # Errors
/// `scope_missing`, `schema_invalid`, `parent_not_found`, and those of [`records::create`].
pub async fn create(app: &App, caller: &Caller, new: NewRecord) -> Result<Record> {
    caller.need_unconfined(Area::Data.write())?;
    if let Some(schema) = new.body.get("dataSchema") {
        columns(schema)?;
    }
    if let Some(parent) = &new.parent_id
        && records::load(&app.db, caller.tenant(), Kind::Folder, parent)
            .await?
            .is_none()
    {
        return Err(Error::not_found(
            "parent_not_found",
            "there is no such folder to put it in",
        ));
    }
    records::create(app, caller, new).await
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Id.
    pub id: String,
    /// Its place in the folder, from 1.
    pub seq: i64,
}

/// Appends a row to a folder.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `row_invalid`.
pub async fn append(
    app: &App,
    caller: &Caller,
    folder_id: &str,
    row: Map<String, Value>,
) -> Result<Row> {
    caller.need_unconfined(Area::Data.write())?;
    let folder = records::load(&app.db, caller.tenant(), Kind::Folder, folder_id)
        .await?
        .ok_or_else(|| Error::not_found("record_not_found", "there is no such folder"))?;
    if row.is_empty() {
        return Err(Error::invalid(
            "row_invalid",
            "a row has at least one field",
        ));
    }
    let schema = folder
        .body()?
        .get("dataSchema")
        .map(columns)
        .transpose()?
        .unwrap_or_default();
    check(&schema, &row)?;
    let (id, now) = (app.clock.id(), app.clock.now());
    let text = Searchable::of_row(&folder, &id, &row);
    let body = Value::Object(row).to_string();
    let ready = text.prepare(app, caller.tenant()).await?;
    let mut tx = app.db.begin().await?;
    // Holds the folder, so that rows are numbered one after the other.
    tx.execute(
        "UPDATE records SET updated_on = $1 WHERE tenant_id = $2 AND id = $3",
        args![now, caller.tenant(), folder_id],
    )
    .await?;
    let last: Option<(i64,)> = tx
        .optional(
            "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM data_rows WHERE folder_id = $1",
            args![folder_id],
        )
        .await?;
    let seq = last.map_or(0, |(n,)| n) + 1;
    tx.execute(
        "INSERT INTO data_rows (folder_id, seq, tenant_id, id, body, created_on) VALUES ($1, $2, $3, $4, $5, $6)",
        args![folder_id, seq, caller.tenant(), &id, &body, now],
    )
    .await?;
    if let Some(ready) = ready {
        ready.publish(app, &mut tx, caller.tenant()).await?;
    }
    tx.commit().await?;
    app.bell.ring();
    Ok(Row { id, seq })
}

/// Rows that were asked for.
#[derive(Debug)]
pub struct Rows {
    /// Rows with their fields.
    pub rows: Vec<(Row, Value)>,
    /// Where to go on; absent at the end.
    pub next: Option<i64>,
}

/// Rows looked at in one call.
const LOOKED_AT: i64 = 100_000;

/// Rows of a folder in the order of appending, after a position, whose fields equal some values. At most 100,000 rows are looked at; `next` goes on from there.
///
/// # Errors
/// `scope_missing`, `record_not_found`.
pub async fn query(
    app: &App,
    caller: &Caller,
    folder_id: &str,
    equals: &Map<String, Value>,
    after: i64,
    limit: usize,
) -> Result<Rows> {
    records::get(app, caller, Kind::Folder, folder_id).await?;
    let (mut rows, mut at) = (Vec::new(), after);
    while at - after < LOOKED_AT {
        let part: Vec<(String, i64, String)> = app
            .db
            .all(
                "SELECT id, seq, body FROM data_rows WHERE folder_id = $1 AND tenant_id = $2 AND seq > $3 ORDER BY seq LIMIT 1000",
                args![folder_id, caller.tenant(), at],
            )
            .await?;
        if part.is_empty() {
            return Ok(Rows { rows, next: None });
        }
        for (id, seq, body) in part {
            if rows.len() >= limit {
                return Ok(Rows {
                    rows,
                    next: Some(at),
                });
            }
            at = seq;
            let body: Value = serde_json::from_str(&body)?;
            if equals
                .iter()
                .all(|(name, value)| body.get(name) == Some(value))
            {
                rows.push((Row { id, seq }, body));
            }
        }
    }
    Ok(Rows {
        rows,
        next: Some(at),
    })
}

/// Rows of folders: how many each has.
///
/// # Errors
/// As the database says.
pub async fn counts(app: &App, caller: &Caller, folders: &[String]) -> Result<Vec<(String, i64)>> {
    app.db
        .all_in(
            "SELECT folder_id, COUNT(*) FROM data_rows WHERE tenant_id = $1 AND folder_id IN ($LIST) GROUP BY folder_id",
            args![caller.tenant()],
            folders,
        )
        .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_read_in_every_form() {
        let expected = vec![
            Column {
                name: "a".to_owned(),
                kind: ColumnType::Text,
                required: false,
            },
            Column {
                name: "b".to_owned(),
                kind: ColumnType::Number,
                required: false,
            },
            Column {
                name: "c".to_owned(),
                kind: ColumnType::Date,
                required: true,
            },
        ];
        let given = json!(["a", ["b", "number"], {"name": "c", "type": "date", "required": true}]);
        assert_eq!(columns(&given).expect("valid"), expected);
        assert_eq!(columns(&json!([given])).expect("valid"), expected);
        assert_eq!(columns(&json!([])).expect("valid"), []);
        for wrong in [
            json!("a"),
            json!([1]),
            json!([["a", "colour"]]),
            json!(["a", "a"]),
        ] {
            assert_eq!(
                columns(&wrong).expect_err("invalid").code(),
                "schema_invalid",
                "{wrong}"
            );
        }
    }

    #[test]
    fn rows_fit_their_columns() {
        let schema =
            columns(&json!([{"name": "n", "type": "number", "required": true}, ["d", "date"]]))
                .expect("valid");
        let ok = |row: Value| check(&schema, row.as_object().expect("an object")).is_ok();
        assert!(
            ok(json!({"n": 1, "d": "2026-04-01", "more": "x"})) && ok(json!({"n": 1.5, "d": null}))
        );
        assert!(
            !ok(json!({"d": "2026-04-01"}))
                && !ok(json!({"n": "1"}))
                && !ok(json!({"n": 1, "d": "soon"}))
        );
    }
}
