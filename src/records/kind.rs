//! Kinds of records as tables of fields. Bodies are checked against them, lists filter by them, the OpenAPI document is written from them; what a kind needs
//! beyond its fields is a hook beside them. The kinds themselves stand in the areas ([`crate::crm`] and the others).

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::body::Body;
use super::plan::Change;
use super::record::Record;
use crate::auth::Area;
use crate::clock::Clock;
use crate::error::Result;

/// Type of a field.
#[derive(Debug, Clone, Copy)]
pub enum FieldType {
    /// Text on one line, of at most so many characters.
    Line(usize),
    /// Text of at most so many characters.
    Text(usize),
    /// A word of lower-case letters, digits, `_`, `-` and `.`, unique within its kind and tenant.
    Key,
    /// A whole number in a range, both ends included.
    Integer(i64, i64),
    /// Money in minor units of its currency; never negative.
    Cents,
    /// A currency by its three letters (ISO 4217).
    Currency,
    /// True or false.
    Flag,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A record of one of these kinds, by its public id.
    Link(&'static [&'static Kind]),
    /// A user or an agent that is no record, by an id of its own.
    Actor,
    /// A mail address.
    Email,
    /// An http or https address.
    Url,
    /// A time (RFC 3339) or a day.
    Time,
    /// An object.
    Object,
    /// A list of at most so many.
    List(usize),
    /// A list of at most so many words.
    Words(usize),
}

/// A field of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its canonical name.
    pub name: &'static str,
    /// Its type.
    pub field_type: FieldType,
    /// Whether a record must have it.
    pub required: bool,
    /// Whether lists filter by it.
    pub filter: bool,
}

impl Field {
    /// Returns an optional field that lists do not filter by.
    #[must_use]
    pub const fn new(name: &'static str, field_type: FieldType) -> Self {
        Self {
            name,
            field_type,
            required: false,
            filter: false,
        }
    }

    /// Returns the field as one that every record has.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Returns the field as one that lists filter by.
    #[must_use]
    pub const fn filter(mut self) -> Self {
        self.filter = true;
        self
    }
}

/// The statuses of a kind's records.
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle {
    /// Every status; new records have the first.
    pub statuses: &'static [&'static str],
    /// Allowed transitions by status; all are allowed when empty.
    pub transitions: &'static [(&'static str, &'static [&'static str])],
}

impl Lifecycle {
    /// Returns a lifecycle in which every status may follow every other.
    #[must_use]
    pub const fn free(statuses: &'static [&'static str]) -> Self {
        Self {
            statuses,
            transitions: &[],
        }
    }
}

/// Permitted statuses of a kind's records.
#[derive(Debug, Clone, Copy)]
pub enum Status {
    /// Records have none.
    None,
    /// Any word, with the one that new records have.
    Word(Option<&'static str>),
    /// One of a lifecycle.
    Lifecycle(Lifecycle),
}

/// Completes and checks a change of a record: fills in fields, adds other writes and effects to its plan, or refuses it.
pub type Hook = for<'h, 'a> fn(&'h mut Change<'a>) -> BoxFuture<'h, Result<()>>;

/// Computes values that lists filter by from a record and its fields, each with a name.
pub type Derived = fn(&Record, &Body) -> Vec<(&'static str, String)>;

/// A kind of record.
#[derive(Debug)]
pub struct Kind {
    /// Its name in rows, in metadata of documents and in answers.
    pub name: &'static str,
    /// Prefix of its public ids, before `_`; empty when public ids are those of rows.
    pub prefix: &'static str,
    /// Name of its records in types of events, such as `lead` in `lead.created`.
    pub noun: &'static str,
    /// Whose rights it needs, and in whose dataset its texts are searched.
    pub area: Area,
    /// The field that titles it.
    pub title: &'static str,
    /// Its fields; others are kept as they come.
    pub fields: &'static [Field],
    /// Its statuses.
    pub status: Status,
    /// Whether bodies are the callers' own: any JSON object, null included.
    pub open: bool,
    /// Fields that some dialects require and others do not: lists ask for records that have them.
    pub present: &'static [&'static str],
    /// Values that lists filter by beside those of its fields, each with a name.
    pub derived: Option<Derived>,
    /// Values of a body, beside those of fields of the type [`FieldType::Key`], that only one record of the kind may have, each as `name:value`.
    pub keys: Option<fn(&Body) -> Option<String>>,
    /// Checks and completes new records and changes, beyond their fields.
    pub hook: Option<Hook>,
    /// Fields whose texts are searched; all when empty.
    pub texts: &'static [&'static str],
    /// Returns the part of the area, such as a board, in whose dataset the text of a record is searched; `None` for the dataset of the whole area.
    pub part: Option<fn(&Record) -> Option<&str>>,
}

impl Kind {
    /// Returns a kind whose title is its field `title` and whose records have no status.
    #[must_use]
    pub const fn new(
        name: &'static str,
        prefix: &'static str,
        area: Area,
        fields: &'static [Field],
    ) -> Self {
        Self {
            name,
            prefix,
            noun: name,
            area,
            title: "title",
            fields,
            status: Status::None,
            open: false,
            present: &[],
            derived: None,
            keys: None,
            hook: None,
            texts: &[],
            part: None,
        }
    }

    /// Returns a kind of records whose bodies and statuses are the callers' own, without prefixed ids; new records have the status `first`.
    #[must_use]
    pub const fn open(name: &'static str, area: Area, first: Option<&'static str>) -> Self {
        Self {
            open: true,
            status: Status::Word(first),
            ..Self::new(name, "", area, &[])
        }
    }

    /// Returns the kind with another field as its title.
    #[must_use]
    pub const fn titled(mut self, field: &'static str) -> Self {
        self.title = field;
        self
    }

    /// Returns the kind with a name of its own in types of events.
    #[must_use]
    pub const fn noun(mut self, noun: &'static str) -> Self {
        self.noun = noun;
        self
    }

    /// Returns the kind with statuses.
    #[must_use]
    pub const fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.status = Status::Lifecycle(lifecycle);
        self
    }

    /// Returns the kind with fields by whose presence lists can ask.
    #[must_use]
    pub const fn present(mut self, fields: &'static [&'static str]) -> Self {
        self.present = fields;
        self
    }

    /// Returns the kind with more values that lists filter by.
    #[must_use]
    pub const fn derived(mut self, derived: Derived) -> Self {
        self.derived = Some(derived);
        self
    }

    /// Returns the kind with another unique value.
    #[must_use]
    pub const fn unique(mut self, key: fn(&Body) -> Option<String>) -> Self {
        self.keys = Some(key);
        self
    }

    /// Returns the kind with the only fields whose texts are searched.
    #[must_use]
    pub const fn texts(mut self, fields: &'static [&'static str]) -> Self {
        self.texts = fields;
        self
    }

    /// Returns the kind with texts that are searched in the dataset of a part of the area.
    #[must_use]
    pub const fn part(mut self, part: fn(&Record) -> Option<&str>) -> Self {
        self.part = Some(part);
        self
    }

    /// Returns the kind with a hook.
    #[must_use]
    pub const fn hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Returns the public id of a row.
    #[must_use]
    pub fn public_id(&self, id: &str) -> String {
        if self.prefix.is_empty() {
            id.to_owned()
        } else {
            format!("{}_{id}", self.prefix)
        }
    }

    /// Returns the id of the row of a public id; `None` for ids of other kinds.
    #[must_use]
    pub fn row_id<'a>(&self, public_id: &'a str) -> Option<&'a str> {
        let id = if self.prefix.is_empty() {
            public_id
        } else {
            public_id.strip_prefix(self.prefix)?.strip_prefix('_')?
        };
        Clock::is_id(id).then_some(id)
    }

    /// Returns a field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// Returns the lifecycle of its records, if they have one.
    #[must_use]
    pub fn statuses(&self) -> Option<&Lifecycle> {
        match &self.status {
            Status::Lifecycle(lifecycle) => Some(lifecycle),
            Status::None | Status::Word(_) => None,
        }
    }

    /// Returns a record of the kind as JSON: its public id, its fields under canonical names, its status and times.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn to_json(&self, record: &Record) -> Result<Value> {
        let mut json = Body::new();
        json.insert("id".to_owned(), json!(self.public_id(&record.id)));
        json.extend(record.body()?);
        if let Some(status) = &record.status {
            json.insert("status".to_owned(), json!(status));
        }
        let (created, updated) = (record.created_on.rfc3339(), record.updated_on.rfc3339());
        json.insert("created_at".to_owned(), json!(created));
        json.insert("updated_at".to_owned(), json!(updated));
        Ok(Value::Object(json))
    }

    /// Whether this is the same kind.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Type of a one-line field.
pub const LINE: FieldType = FieldType::Line(300);
/// Type of a long text.
pub const NOTE: FieldType = FieldType::Text(100_000);
/// The required field `name`.
pub const NAME: Field = Field::new("name", LINE).required();
/// The field `notes`.
pub const NOTES: Field = Field::new("notes", NOTE);
/// The field `description`.
pub const DESCRIPTION: Field = Field::new("description", NOTE);
/// The field `custom_fields`.
pub const CUSTOM: Field = Field::new("custom_fields", FieldType::Object);
/// The required and unique field `key`.
pub const KEY: Field = Field::new("key", FieldType::Key).required().filter();
