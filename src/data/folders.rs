//! Folders: they hold rows (see [`rows`]) and other folders, and say which columns rows have, of which types.

use serde_json::{Map, Value};

use super::{FOLDER, rows};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Clock;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::write::{self, New, Patch};
use crate::records::{Record, ValueType, store};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `Text`, `Number`, `Boolean`, `Date` or `Json`.
    pub kind: ValueType,
    /// Whether every row has it.
    pub required: bool,
}

/// Returns the id of a folder that is named by its id or by its exact title, for clients that know folders by title. What names no folder is returned as it is.
///
/// # Errors
/// `folder_ambiguous` when several folders have the title.
pub async fn id_of(app: &App, caller: &Caller, named: &str) -> Result<String> {
    let knows = caller.may(Area::Data.read()) || caller.may(Area::Data.write());
    if Clock::is_id(named) || !knows || named.contains('\0') {
        return Ok(named.to_owned());
    }
    let mut found: Vec<(String,)> = app
        .db
        .all(
            "SELECT id FROM records WHERE tenant_id = $1 AND kind = 'folder' AND title = $2 ORDER BY id LIMIT 2",
            args![caller.tenant(), named],
        )
        .await?;
    if found.len() > 1 {
        return Err(Error::conflict(
            "folder_ambiguous",
            format!("several folders are named {named:?}; use the id"),
        ));
    }
    Ok(found.pop().map_or_else(|| named.to_owned(), |(id,)| id))
}

/// Columns of a folder.
pub(crate) const MOST_COLUMNS: usize = 500;

/// Types of fields whose values are lists or objects, and those whose values are texts; in lower case. Beside our own names these are those of SmartSaaS.
const JSON_TYPES: [&str; 19] = [
    "json",
    "object",
    "array",
    "multicheck",
    "tags",
    "images",
    "daterange",
    "group",
    "location",
    "dataset",
    "product_select",
    "data_items",
    "template_select",
    "crm_item_select",
    "customer_datas",
    "team",
    "user_stores",
    "user_select",
    "timeslider",
];
const TEXT_TYPES: [&str; 24] = [
    "text",
    "string",
    "textarea",
    "multiline",
    "email",
    "password",
    "url",
    "website",
    "phone",
    "mobile",
    "dropdown",
    "select",
    "country",
    "currency",
    "color",
    "image",
    "barcode",
    "city",
    "address",
    "sign",
    "time",
    "uuid",
    "enum",
    "file",
];

/// Reads columns as callers write them: `"name"`, `["name", "type"]`, or `{"name", "type", "required"}`, in a list or as the `fields` of an object; a list that
/// is wrapped once more is unwrapped.
///
/// # Errors
/// `schema_invalid`.
pub fn columns(given: &Value) -> Result<Vec<Column>> {
    let invalid = |what: String| {
        Error::invalid(
            "schema_invalid",
            format!(
                "{what}; a column must be a name, [name, type] or {{name, type, required}}, with the type text, number, boolean, date or json"
            ),
        )
    };
    let list = match given {
        Value::Array(list) => list,
        // As the scripts of SmartSaaS write it, with what else they keep in a schema.
        Value::Object(schema) => match schema.get("fields") {
            Some(Value::Array(list)) => list,
            _ => return Err(invalid("dataSchema must have a list of fields".to_owned())),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(invalid("dataSchema must be a list".to_owned()));
        }
    };
    // A list of columns inside a list.
    if let [Value::Array(inner)] = list.as_slice()
        && inner.iter().any(|c| !c.is_string() || inner.len() != 2)
    {
        return columns(&Value::Array(inner.clone()));
    }
    if list.len() > MOST_COLUMNS {
        return Err(invalid(format!(
            "a folder may have at most {MOST_COLUMNS} columns"
        )));
    }
    let mut found: Vec<Column> = Vec::new();
    for column in list {
        let (name, kind, required) = match column {
            Value::String(name) => (name.clone(), "text", false),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(name)] => (name.clone(), "text", false),
                [Value::String(name), Value::String(kind)] => (name.clone(), kind.as_str(), false),
                _ => return Err(invalid(format!("{column} is not a column"))),
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
                return Err(invalid(format!("{column} is not a column")));
            }
        };
        let kind = match kind.to_lowercase().as_str() {
            "number" | "integer" | "float" | "price" | "slider" => ValueType::Number,
            "boolean" | "bool" | "checkbox" => ValueType::Boolean,
            "date" | "datetime" => ValueType::Date,
            other if JSON_TYPES.contains(&other) => ValueType::Json,
            other if TEXT_TYPES.contains(&other) => ValueType::Text,
            other => return Err(invalid(format!("{other:?} is not a type"))),
        };
        if name.trim().is_empty() || found.iter().any(|c| c.name == name) {
            return Err(invalid(format!(
                "the column name {name:?} is empty or a duplicate"
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
            Some(value) if column.kind.matches(value) => {}
            Some(value) => {
                let kind = column.kind;
                return Err(Error::invalid(
                    "row_invalid",
                    format!("the column {} must be {kind}, but is {value}", column.name),
                ));
            }
        }
    }
    Ok(())
}

/// Returns a plan that creates a folder; `dataSchema` among its fields defines its columns, `searchText` what of its rows is searched.
///
/// # Errors
/// `scope_missing`, `schema_invalid`, `search_text_invalid`, `parent_not_found`, `parent_invalid`, and those of [`write::create`].
pub async fn create(app: &App, caller: &Caller, new: New) -> Result<Plan> {
    caller.need_unconfined(Area::Data.write())?;
    if let Some(parent) = &new.parent_id {
        check_parent(app, caller.tenant(), "", parent).await?;
    }
    write::create(app, caller, &FOLDER, new).await
}

/// The columns of a folder; none when it has no schema.
///
/// # Errors
/// When the row is damaged.
pub fn columns_of(folder: &Record) -> Result<Vec<Column>> {
    match folder.body()?.get("dataSchema") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(schema) => columns(schema),
    }
}

/// Levels of folders in folders.
const DEEPEST: usize = 64;

/// Returns a plan that changes a folder. Rows that are there already are not checked against new columns.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `title_too_long`, `schema_invalid`, `search_text_invalid`, `parent_not_found`, `parent_invalid`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: Patch) -> Result<Plan> {
    caller.need_unconfined(Area::Data.write())?;
    check_settings(&patch.body)?;
    if let Some(Some(parent)) = &patch.parent_id {
        check_parent(app, caller.tenant(), id, parent).await?;
    }
    let before = store::get(app, caller.tenant(), &FOLDER, id).await?;
    let mut plan = write::update(app, caller, &FOLDER, before.clone(), patch).await?;
    if let Some(after) = plan.record()
        && let Some(reindex) = rows::Reindex::after(&before, after)?
    {
        plan.before.push(Box::new(reindex));
    }
    Ok(plan)
}

/// Refuses a parent that is not there, or that is inside the folder.
async fn check_parent(app: &App, tenant_id: &str, id: &str, parent: &str) -> Result<()> {
    let mut at = Some(parent.to_owned());
    for _ in 0..DEEPEST {
        let Some(above) = at else { return Ok(()) };
        if above == id {
            break;
        }
        let folder = store::optional(&app.db, tenant_id, &FOLDER, &above).await?;
        at = folder.ok_or_else(no_parent)?.parent_id;
    }
    Err(Error::invalid(
        "parent_invalid",
        format!("a folder must not be inside itself, and at most {DEEPEST} levels deep"),
    ))
}

fn no_parent() -> Error {
    Error::not_found("parent_not_found", "parent folder not found")
}

/// Checks the columns of a folder, and what of its rows is searched.
pub(super) fn check_settings(body: &Map<String, Value>) -> Result<()> {
    if let Some(schema) = body.get("dataSchema").filter(|s| !s.is_null()) {
        columns(schema)?;
    }
    rows::check_search_text(body.get("searchText"))
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
                kind: ValueType::Text,
                required: false,
            },
            Column {
                name: "b".to_owned(),
                kind: ValueType::Number,
                required: false,
            },
            Column {
                name: "c".to_owned(),
                kind: ValueType::Date,
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
