//! Types of the fields that users define: columns of folders, fields of collections, properties of events. Each of these allows some of the types.

use serde_json::Value;

use super::check::is_date;
use crate::db::words;

words! {
    /// Type of a value.
    pub enum ValueType {
        Text = "text",
        String = "string",
        Markdown = "markdown",
        Html = "html",
        Number = "number",
        Integer = "integer",
        Boolean = "boolean",
        /// A day or a time (RFC 3339).
        Date = "date",
        /// Same as `Date`.
        Datetime = "datetime",
        /// An http or https URL.
        Url = "url",
        Email = "email",
        /// Id of another record.
        Reference = "reference",
        /// Any value.
        Json = "json",
        Object = "object",
        List = "list",
        /// Same as `List`.
        Array = "array",
    }
}

impl ValueType {
    /// Returns whether a value, which is not null, is of the type.
    #[must_use]
    pub fn matches(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::String | Self::Markdown | Self::Html | Self::Reference => {
                value.is_string()
            }
            Self::Number => value.is_number(),
            Self::Integer => value.as_i64().is_some(),
            Self::Boolean => value.is_boolean(),
            Self::Date | Self::Datetime => value.as_str().is_some_and(is_date),
            Self::Url => value.as_str().is_some_and(|text| {
                url::Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
            }),
            Self::Email => value.as_str().is_some_and(|text| text.contains('@')),
            Self::Json => true,
            Self::Object => value.is_object(),
            Self::List | Self::Array => value.is_array(),
        }
    }

    /// Returns the words of some types, for messages.
    #[must_use]
    pub fn list(types: &[Self]) -> String {
        let words: Vec<&str> = types.iter().map(|t| t.as_str()).collect();
        words.join(", ")
    }
}
