//! The OpenAPI document of a dialect, from its table of operations and the fields of their kinds.

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder};

use super::dialect::Dialect;
use super::operation::{Answers, Member, Operation, Parameters, Takes, Whole};
use super::shape::Shape;
use crate::records::kind::{Field, FieldType, Kind};

/// Schemas of a dialect's responses and errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Describe {
    /// Name of the error schema.
    pub fault: &'static str,
    /// Schemas by name, including the error schema.
    pub schemas: fn() -> Vec<(String, RefOr<Schema>)>,
    /// Returns the schema of a response.
    pub answer: fn(&Operation) -> Schema,
    /// Returns the schema of a query parameter that is not a field of the operation's kind.
    pub parameter: fn(&Operation, &str) -> Option<Schema>,
}

/// Returns a builder for a schema of a plain type.
pub(super) fn plain(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind))
}

/// Returns the schema of a string enumeration.
pub(super) fn one_of(words: &[&'static str]) -> Schema {
    plain(Type::String)
        .enum_values(Some(words.iter().copied()))
        .build()
        .into()
}

/// Returns the schema of a field.
fn schema(field: &Field) -> Schema {
    let text = || plain(Type::String);
    match field.field_type {
        FieldType::Line(most) | FieldType::Text(most) => {
            text().max_length(Some(most)).build().into()
        }
        FieldType::Key => text()
            .max_length(Some(100))
            .pattern(Some("^[a-z0-9_.-]+$"))
            .build()
            .into(),
        FieldType::Integer(least, most) => plain(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most))
            .build()
            .into(),
        FieldType::Cents => plain(Type::Integer).minimum(Some(0)).build().into(),
        FieldType::Currency => text().pattern(Some("^[A-Z]{3}$")).build().into(),
        FieldType::Flag => plain(Type::Boolean).build().into(),
        FieldType::OneOf(words) => one_of(words),
        FieldType::Link(_)
        | FieldType::Actor
        | FieldType::Email
        | FieldType::Url
        | FieldType::Time => text().build().into(),
        FieldType::Object => plain(Type::Object).build().into(),
        FieldType::List(most) => ArrayBuilder::new()
            .items(plain(Type::Object).build())
            .max_items(Some(most))
            .build()
            .into(),
        FieldType::Words(most) => ArrayBuilder::new()
            .items(plain(Type::String).build())
            .max_items(Some(most))
            .build()
            .into(),
    }
}

/// Returns the schema of the body member that holds the idempotency key.
fn idempotency_key() -> Schema {
    plain(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .build()
        .into()
}

fn member_type(member: Member) -> Type {
    match member {
        Member::Text => Type::String,
        Member::Integer => Type::Integer,
        Member::Flag => Type::Boolean,
        Member::Object => Type::Object,
    }
}

/// Returns the schema of an operation's request body.
pub(super) fn request(dialect: &Dialect, operation: &Operation) -> Schema {
    let mut object = plain(Type::Object);
    if let Some(member) = dialect.key_member.filter(|_| operation.writes()) {
        object = object.property(member, idempotency_key());
    }
    match operation.takes {
        Takes::Fields(kind, whole) => {
            for field in kind.fields {
                object = object.property(field.name, schema(field));
                if whole == Whole::Yes && field.required {
                    object = object.required(field.name);
                }
            }
            if let Some(lifecycle) = kind.statuses() {
                object = object.property("status", one_of(lifecycle.statuses));
            }
        }
        Takes::Members(members) => {
            for (name, of_type) in members {
                object = object.property(*name, plain(member_type(*of_type)).build());
            }
        }
        Takes::Shape(shape, _) => return shape.schema(),
        Takes::Either(_, one, other) => {
            let either = AnyOfBuilder::new()
                .item(Ref::from_schema_name(one.name))
                .item(Ref::from_schema_name(other.name));
            return Schema::AnyOf(either.build());
        }
        Takes::Nothing | Takes::Object => {}
    }
    object.build().into()
}

/// Returns the schema of a response that has a shape.
fn shape(operation: &Operation) -> Option<Schema> {
    let named = |shape: &Shape| RefOr::<Schema>::from(Ref::from_schema_name(shape.name));
    match operation.answers {
        Answers::One | Answers::Many => None,
        Answers::Shape(shape) => Some(Schema::AllOf(
            AllOfBuilder::new().item(named(shape)).build(),
        )),
        Answers::Shapes(shape) => Some(Schema::Array(
            ArrayBuilder::new().items(named(shape)).build(),
        )),
        Answers::Pages(shape) => {
            let items = ArrayBuilder::new().items(named(shape)).build();
            let page = plain(Type::Object)
                .property("data", items)
                .property("pagination", Ref::from_schema_name("Pagination"))
                .required("data")
                .required("pagination");
            Some(page.build().into())
        }
        Answers::Part(shape) => {
            let number = |least: i64| plain(Type::Integer).minimum(Some(least)).build();
            let items = ArrayBuilder::new().items(named(shape)).build();
            let part = plain(Type::Object)
                .property("items", items)
                .property("total", number(0))
                .property("limit", number(1))
                .property("offset", number(0));
            let required = ["items", "total", "limit", "offset"];
            let part = required.into_iter().fold(part, ObjectBuilder::required);
            Some(part.build().into())
        }
        Answers::Text => Some(plain(Type::String).build().into()),
    }
}

/// Returns the shapes of an operation's body and response.
fn shapes(operation: &Operation) -> Vec<&'static Shape> {
    let mut found = Vec::new();
    match operation.takes {
        Takes::Shape(shape, _) => shape.all(&mut found),
        Takes::Either(_, one, other) => {
            one.all(&mut found);
            other.all(&mut found);
        }
        Takes::Nothing | Takes::Fields(..) | Takes::Members(_) | Takes::Object => {}
    }
    match operation.answers {
        Answers::Shape(shape)
        | Answers::Shapes(shape)
        | Answers::Pages(shape)
        | Answers::Part(shape) => {
            shape.all(&mut found);
        }
        Answers::One | Answers::Many | Answers::Text => {}
    }
    found
}

/// Returns the content of an operation's request body: shapes by their names.
fn body(dialect: &Dialect, operation: &Operation) -> Content {
    match operation.takes {
        Takes::Shape(shape, _) => json(Ref::from_schema_name(shape.name)),
        Takes::Nothing
        | Takes::Fields(..)
        | Takes::Members(_)
        | Takes::Object
        | Takes::Either(..) => json(request(dialect, operation)),
    }
}

/// Returns the names of the query parameters.
pub(super) fn parameters(operation: &Operation) -> Vec<&'static str> {
    match (operation.parameters, operation.kind) {
        (Parameters::Named(names), _) => names.to_vec(),
        (Parameters::List, None) => Vec::new(),
        (Parameters::List, Some(kind)) => filters(kind),
    }
}

fn filters(kind: &Kind) -> Vec<&'static str> {
    let mut names = vec!["limit", "cursor", "query"];
    if kind.statuses().is_some() {
        names.push("status");
    }
    let fields = kind.fields.iter().filter(|f| f.filter);
    names.extend(fields.map(|field| match field.name {
        "event_types" => "event_type",
        name => name,
    }));
    if kind.field("custom_fields").is_some() {
        names.extend(["custom_field_key", "custom_field_value"]);
    }
    names
}

/// Returns the schema of a query parameter.
pub(super) fn parameter(dialect: &Dialect, operation: &Operation, name: &str) -> Schema {
    if let Some(schema) = (dialect.describe.parameter)(operation, name) {
        return schema;
    }
    let kind = operation.kind;
    match (name, kind.and_then(Kind::statuses)) {
        ("status", Some(lifecycle)) => one_of(lifecycle.statuses),
        _ => kind
            .and_then(|k| k.field(name))
            .map_or_else(|| plain(Type::String).build().into(), schema),
    }
}

fn json(schema: impl Into<RefOr<Schema>>) -> Content {
    Content::new(Some(schema))
}

/// Returns the schema of a list of objects, or of one object.
pub(super) fn data(operation: &Operation) -> RefOr<Schema> {
    match operation.answers {
        Answers::Many => ArrayBuilder::new()
            .items(plain(Type::Object).build())
            .build()
            .into(),
        Answers::One
        | Answers::Shape(_)
        | Answers::Shapes(_)
        | Answers::Pages(_)
        | Answers::Part(_)
        | Answers::Text => plain(Type::Object).build().into(),
    }
}

/// Adds the operations of a dialect to the OpenAPI document.
pub(super) fn write(api: &mut OpenApi, dialect: &Dialect) {
    let fault = Ref::from_schema_name(dialect.describe.fault);
    let components = api.components.get_or_insert_default();
    for (name, schema) in (dialect.describe.schemas)() {
        components.schemas.entry(name).or_insert(schema);
    }
    let mut paths = PathsBuilder::new();
    for operation in dialect.operations.iter().copied().flatten() {
        for shape in shapes(operation) {
            let name = shape.name.to_owned();
            components
                .schemas
                .entry(name)
                .or_insert_with(|| shape.schema().into());
        }
        let own = [dialect.tag];
        let tags = if operation.tags.is_empty() {
            &own[..]
        } else {
            operation.tags
        };
        let item = tags
            .iter()
            .fold(OperationBuilder::new(), |item, tag| item.tag(*tag));
        let item = match operation.hints {
            Some(hints) => item.extensions(Some(
                ExtensionsBuilder::new()
                    .add("x-llm-intent", hints.intent)
                    .add("x-when-to-use", [hints.when])
                    .add("x-routing-policy", [hints.when])
                    .build(),
            )),
            None => item,
        };
        let done = ResponseBuilder::new().description("Done.");
        let done = if operation.success == 204 {
            done
        } else {
            let answer = shape(operation);
            let answer = answer.unwrap_or_else(|| (dialect.describe.answer)(operation));
            done.content("application/json", json(answer))
        };
        let mut item = item
            .operation_id(Some(operation.id))
            .summary(Some(operation.summary))
            .security(SecurityRequirement::new::<_, [&str; 0], &str>("key", []))
            .response(operation.success.to_string(), done.build())
            .response(
                "4XX",
                ResponseBuilder::new()
                    .description("Refused.")
                    .content("application/json", json(fault.clone()))
                    .build(),
            );
        for name in operation.path_parameters() {
            item = item.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(plain(Type::String).build())),
            );
        }
        for name in parameters(operation) {
            item = item.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
                    .schema(Some(parameter(dialect, operation, name))),
            );
        }
        if operation.writes() {
            item = item.parameter(
                ParameterBuilder::new()
                    .name("Idempotency-Key")
                    .parameter_in(ParameterIn::Header)
                    .required(Required::False)
                    .schema(Some(plain(Type::String).max_length(Some(255)).build())),
            );
        }
        if operation.has_body() {
            item = item.request_body(Some(
                RequestBodyBuilder::new()
                    .required((!operation.is_body_optional).then_some(Required::True))
                    .content("application/json", body(dialect, operation))
                    .build(),
            ));
        }
        let method = match operation.method {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths = paths.path(
            format!("{}{}", dialect.prefix, operation.path),
            PathItem::new(method, item),
        );
    }
    api.paths.merge(paths.build());
}
