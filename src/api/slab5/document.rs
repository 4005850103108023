//! The OpenAPI document of the dialect, from its table of operations and the fields of its kinds.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::operations::{ALL, Does, Operation, Special};
use super::wire::WorkspaceFault;
use crate::workspace::spec::{self, Kind};
use crate::workspace::webhooks;

fn plain(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind))
}

/// What a field holds.
fn schema(field: &spec::Field) -> Schema {
    let text = || plain(Type::String);
    match field.holds {
        spec::Type::Line(most) | spec::Type::Text(most) => {
            text().max_length(Some(most)).build().into()
        }
        spec::Type::Key => text()
            .max_length(Some(100))
            .pattern(Some("^[a-z0-9_.-]+$"))
            .build()
            .into(),
        spec::Type::Integer(least, most) => plain(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most))
            .build()
            .into(),
        spec::Type::Cents => plain(Type::Integer).minimum(Some(0)).build().into(),
        spec::Type::Currency => text().pattern(Some("^[A-Z]{3}$")).build().into(),
        spec::Type::Flag => plain(Type::Boolean).build().into(),
        spec::Type::OneOf(words) => text()
            .enum_values(Some(words.iter().copied()))
            .build()
            .into(),
        spec::Type::Link(_) | spec::Type::Actor => text().build().into(),
        spec::Type::Email | spec::Type::Url | spec::Type::Time => text().build().into(),
        spec::Type::Object => plain(Type::Object).build().into(),
        spec::Type::List(most) => ArrayBuilder::new()
            .items(plain(Type::Object).build())
            .max_items(Some(most))
            .build()
            .into(),
        spec::Type::Words(most) => ArrayBuilder::new()
            .items(plain(Type::String).build())
            .max_items(Some(most))
            .build()
            .into(),
    }
}

/// The member that makes a write safe to repeat; the header of the same name wins.
fn idempotency_key() -> Schema {
    plain(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .build()
        .into()
}

/// What a body holds; `whole` when what is required must be there.
fn body(kind: &Kind, whole: bool) -> Schema {
    let mut object = plain(Type::Object).property("idempotency_key", idempotency_key());
    for field in kind.fields {
        object = object.property(field.name, schema(field));
        if whole && field.required {
            object = object.required(field.name);
        }
    }
    if let Some(life) = kind.life {
        let status = plain(Type::String).enum_values(Some(life.all.iter().copied()));
        object = object.property("status", status.build());
    }
    object.build().into()
}

/// Members of a body that belong to no kind.
fn members(special: Special) -> &'static [(&'static str, Type)] {
    match special {
        Special::ConvertLead => &[
            ("create_deal", Type::Boolean),
            ("deal_name", Type::String),
            ("amount_cents", Type::Integer),
            ("currency", Type::String),
        ],
        Special::CompleteUpload => &[
            ("byte_size", Type::Integer),
            ("checksum_sha256", Type::String),
        ],
        Special::ValidateEvent => &[("name", Type::String), ("properties", Type::Object)],
        Special::RunQuery => &[
            ("source", Type::String),
            ("dataset_id", Type::String),
            ("report_id", Type::String),
            ("metric_id", Type::String),
            ("query", Type::Object),
        ],
        Special::UpdateBi => &[
            ("name", Type::String),
            ("description", Type::String),
            ("status", Type::String),
        ],
        Special::Workspace
        | Special::AddMessage
        | Special::AddComment
        | Special::SearchEntries
        | Special::OpenUpload
        | Special::GetAsset
        | Special::EventTypes
        | Special::TestWebhook
        | Special::UpdateWebhook
        | Special::Deliveries
        | Special::ReplayDelivery
        | Special::ArchiveBi => &[],
    }
}

/// The schema of the body that an operation takes.
pub(super) fn request(operation: &Operation) -> Schema {
    if let Some(kind) = operation.kind() {
        let whole = !matches!(
            operation.does,
            Does::Update(_) | Does::Special(Special::UpdateWebhook)
        );
        return body(kind, whole);
    }
    let mut object = plain(Type::Object);
    if operation.writes() {
        object = object.property("idempotency_key", idempotency_key());
    }
    if let Does::Special(special) = operation.does {
        for (name, holds) in members(special) {
            object = object.property(*name, plain(holds.clone()).build());
        }
    }
    object.build().into()
}

/// The schema of a parameter of the query string.
pub(super) fn parameter(operation: &Operation, name: &str) -> Schema {
    let words = |words: &[&'static str]| -> Schema {
        plain(Type::String)
            .enum_values(Some(words.iter().copied()))
            .build()
            .into()
    };
    let kind = operation.kind();
    match name {
        "limit" => plain(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(100))
            .build()
            .into(),
        "status" if matches!(operation.does, Does::Special(Special::Deliveries)) => {
            words(&webhooks::STATES)
        }
        "status" => match kind.and_then(|k| k.life) {
            Some(life) => words(life.all),
            None => plain(Type::String).build().into(),
        },
        _ => kind
            .and_then(|k| k.field(name))
            .map_or_else(|| plain(Type::String).build().into(), schema),
    }
}

fn answer(operation: &Operation) -> Schema {
    let data: RefOr<Schema> = match operation.does {
        Does::List(_) | Does::ListOfTicket(_) => ArrayBuilder::new()
            .items(plain(Type::Object).build())
            .build()
            .into(),
        Does::Special(special) if special.lists() => ArrayBuilder::new()
            .items(plain(Type::Object).build())
            .build()
            .into(),
        Does::Create(_) | Does::Update(_) | Does::Archive(_) | Does::Special(_) => {
            plain(Type::Object).build().into()
        }
    };
    plain(Type::Object)
        .property("data", data)
        .property("request_id", plain(Type::String).build())
        .required("data")
        .required("request_id")
        .build()
        .into()
}

fn json(schema: impl Into<RefOr<Schema>>) -> Content {
    Content::new(Some(schema))
}

/// Adds the operations to a document.
pub(super) fn write(api: &mut OpenApi) {
    let fault = Ref::from_schema_name("WorkspaceFault");
    let components = api.components.get_or_insert_default();
    components
        .schemas
        .insert("WorkspaceFault".to_owned(), WorkspaceFault::schema());
    let mut nested = Vec::new();
    <WorkspaceFault as ToSchema>::schemas(&mut nested);
    for (name, schema) in nested {
        components.schemas.entry(name).or_insert(schema);
    }
    let mut paths = PathsBuilder::new();
    for operation in ALL {
        let success = match operation.does {
            Does::Create(_)
            | Does::Special(Special::AddMessage | Special::AddComment | Special::OpenUpload) => {
                "201"
            }
            Does::Special(Special::TestWebhook) => "202",
            Does::List(_)
            | Does::ListOfTicket(_)
            | Does::Update(_)
            | Does::Archive(_)
            | Does::Special(_) => "200",
        };
        let mut item = OperationBuilder::new()
            .tag("workspace")
            .operation_id(Some(operation.id))
            .summary(Some(operation.summary))
            .security(SecurityRequirement::new::<_, [&str; 0], &str>("key", []))
            .response(
                success,
                ResponseBuilder::new()
                    .description("Done.")
                    .content("application/json", json(answer(operation)))
                    .build(),
            )
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
        for name in operation.parameters() {
            item = item.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
                    .schema(Some(parameter(operation, name))),
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
                    .content("application/json", json(request(operation)))
                    .build(),
            ));
        }
        let method = match operation.method {
            "POST" => HttpMethod::Post,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths = paths.path(
            format!("/v1{}", operation.path),
            PathItem::new(method, item),
        );
    }
    api.paths.merge(paths.build());
}
