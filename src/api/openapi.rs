//! The OpenAPI document as a whole: tags by task, and what generators of clients need beyond the handlers' own descriptions.

use std::collections::{HashMap, HashSet};

use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, KnownFormat, Object, PathItem, Ref, RefOr, Server};
use utoipa::{Modify, OpenApi};

use super::examples::EXAMPLES;

#[derive(OpenApi)]
#[openapi(
    info(title = "Cairn", description = "Knowledge base and hybrid retrieval. Every operation except a few of the tag `system` requires `Authorization: Bearer <key>`; in a browser, the session of the sandbox is enough. Upload documents with `uploadDocuments`, search them with `search`."),
    modifiers(&Bearer),
    components(schemas(crate::kb::filter::Comparison, super::documents_form::WaitFor)),
    tags(
        (name = "documents", description = "Upload documents, follow their ingestion, read and edit their texts and chunks"),
        (name = "search", description = "Search, answers with citations, candidates, why a hit is missing"),
        (name = "datasets", description = "Datasets, and their generations: another model or chunking, built beside the active one"),
        (name = "sources", description = "Folders, buckets and feeds that a dataset is kept in step with: settings, schedules, syncs, the outcome for every item"),
        (name = "websites", description = "Websites that feed a dataset: settings, schedules, crawls, the outcome for every address"),
        (name = "evaluation", description = "Retrieval measured on your own data: query sets, runs, tuning, history"),
        (name = "administration", description = "Keys, users, agents, tenants, jobs, events, settings, the audit log"),
        (name = "compatible", description = "APIs that other tools speak: OpenAI's, external knowledge of Dify"),
        (name = "system", description = "Health, metrics, documentation"),
        (name = "leadmetrics dashboard", description = "Leadmetrics Dashboard API: knowledge base, campaigns, activities of agents, approvals, channels, leads, reports"),
        (name = "slab5 workspace", description = "Slab5 workspace API: CRM, support, tasks, content, assets, integrations, analytics definitions, business intelligence"),
        (name = "smartsaas agents", description = "SmartSaaS Agents API: research, knowledge, folders, projects, sales, templates, the agent channel"),
        (name = "clawcrm", description = "ClawCRM agent API: leads, pipeline, enrichment, campaigns of mails, notes, touchpoints, rules, feedback"),
        (name = "organizations", description = "OpenClaw Mission Control API: organisations, members, invitations"),
        (name = "boards", description = "Mission Control: boards"),
        (name = "board-groups", description = "Mission Control: groups of boards"),
        (name = "board-memory", description = "Mission Control: what is remembered of a board"),
        (name = "board-group-memory", description = "Mission Control: what is remembered of a group of boards"),
        (name = "board-onboarding", description = "Mission Control: the interview from which a board gets its goal and its lead"),
        (name = "board-webhooks", description = "Mission Control: addresses at which a board receives messages of other systems"),
        (name = "tasks", description = "Mission Control: tasks and their comments"),
        (name = "tags", description = "Mission Control: tags of tasks"),
        (name = "custom-fields", description = "Mission Control: fields of tasks that an organisation defines"),
        (name = "approvals", description = "Mission Control: decisions of people"),
        (name = "activity", description = "Mission Control: what happened"),
        (name = "agents", description = "Mission Control: agents, for people"),
        (name = "agent", description = "Mission Control: every operation that agents may use"),
        (name = "agent-lead", description = "Mission Control: operations of the lead agent of a board"),
        (name = "agent-worker", description = "Mission Control: operations of the agents of a board"),
        (name = "agent-main", description = "Mission Control: operations of the agent of a gateway"),
        (name = "gateways", description = "Mission Control: OpenClaw gateways"),
        (name = "skills", description = "Mission Control: skills of gateways, and packs of them"),
        (name = "souls-directory", description = "Mission Control: personalities for agents"),
        (name = "metrics", description = "Mission Control: figures of the dashboard"),
        (name = "users", description = "Mission Control: the user's own profile"),
        (name = "auth", description = "Mission Control: sign-in")
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let description = "An API key or an agent token. `/kb/v1` accepts it as X-API-Key and X-Agent-Token, too.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = SecurityScheme::Http(bearer.description(Some(description)).build());
        api.components
            .get_or_insert_default()
            .add_security_scheme("key", scheme);
    }
}

/// Returns the document without operations.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Completes the document of all dialects.
pub(super) fn finish(api: &mut utoipa::openapi::OpenApi) {
    api.servers = Some(vec![Server::new("/")]);
    name_operations(api);
    describe_responses(api);
    describe_parameters(api);
    add_server_errors(api);
    add_examples(api);
    let forms = forms(api);
    let components = api.components.get_or_insert_default();
    name_variants(components);
    for name in forms {
        if let Some(RefOr::T(Schema::Object(form))) = components.schemas.get_mut(&name) {
            describe_form(form);
        }
    }
}

/// Returns the operations of a path with their methods.
fn named_operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Makes operation ids unique, from which generators derive the names of functions: of those that share an id, the ones of the dashboard keep it, and the others are
/// named by method and path, as in `getApiV1Approvals`.
fn name_operations(api: &mut utoipa::openapi::OpenApi) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for operation in all_operations(api) {
        let id = operation.operation_id.clone().unwrap_or_default();
        *counts.entry(id).or_default() += 1;
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in named_operations(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            let is_shared = counts.get(&id).is_some_and(|count| *count > 1);
            if is_shared && !path.starts_with(super::leadmetrics::PREFIX) {
                let words = path.split(|c: char| !c.is_alphanumeric());
                let words = words.map(pascal).collect::<String>();
                operation.operation_id = Some(format!("{method}{words}"));
            }
        }
    }
}

fn all_operations(api: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = api.paths.paths.values_mut();
    items
        .flat_map(named_operations)
        .map(|(_, operation)| operation)
}

/// Adds descriptions to responses without one, by their status: OpenAPI requires a description, and generators reject documents without.
fn describe_responses(api: &mut utoipa::openapi::OpenApi) {
    for operation in all_operations(api) {
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(response) = response else {
                continue;
            };
            if response.description.is_empty() {
                response.description = match status.as_str() {
                    "200" => "Success",
                    "201" => "Created",
                    "202" => "Accepted; the work continues in the background",
                    "204" => "Success, without a body",
                    "507" => "The disk is full",
                    other if other.starts_with('5') => "Internal server error",
                    other if other.starts_with('4') => {
                        "The request cannot be fulfilled; the body gives the reason"
                    }
                    _ => "Response",
                }
                .to_owned();
            }
        }
    }
}

/// Adds the response to faults of the server, whose body is that of the client's faults.
fn add_server_errors(api: &mut utoipa::openapi::OpenApi) {
    for operation in all_operations(api) {
        let responses = &mut operation.responses.responses;
        if let Some(RefOr::T(refused)) = responses.get("4XX")
            && !responses.contains_key("5XX")
        {
            let mut failed = refused.clone();
            failed.description =
                "The server failed, or a service that it needs; the body gives the reason"
                    .to_owned();
            responses.insert("5XX".to_owned(), RefOr::T(failed));
        }
    }
}

/// Returns a name in words: `datasetId` and `dataset_id` become `dataset id`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(match letter {
            '_' | '-' => ' ',
            other => other.to_ascii_lowercase(),
        });
    }
    words.trim().to_owned()
}

/// Returns the description of a parameter that has none; `None` if its name does not say enough.
fn description(parameter: &Parameter) -> Option<String> {
    let name = parameter.name.as_str();
    match parameter.parameter_in {
        ParameterIn::Path => {
            let words = words(name);
            Some(match words.strip_suffix(" id") {
                Some(thing) => format!("Id of the {thing}."),
                None if words == "id" => "Id of the record.".to_owned(),
                None => format!("The {words}."),
            })
        }
        ParameterIn::Header if name == "Idempotency-Key" => Some(
            "A word of the client for this write: with the same word it takes effect once, even when it is sent again."
                .to_owned(),
        ),
        ParameterIn::Query | ParameterIn::QueryString => {
            let text = match name {
                "limit" | "pageSize" | "page_size" | "per_page" => "Most items of the answer.",
                "offset" => "Items to skip.",
                "cursor" => "Where the page before ended, as its answer says.",
                "page" => "Number of the page.",
                "query" | "search" | "q" => "Words to look for.",
                "status" | "filter.status" => "Only items of this status.",
                "sort" | "sortBy" | "sort_by" => "Order of the items.",
                _ => return None,
            };
            Some(text.to_owned())
        }
        ParameterIn::Header | ParameterIn::Cookie => None,
    }
}

fn describe_parameters(api: &mut utoipa::openapi::OpenApi) {
    for operation in all_operations(api) {
        for parameter in operation.parameters.iter_mut().flatten() {
            let RefOr::T(parameter) = parameter else {
                continue;
            };
            let is_described = parameter
                .description
                .as_ref()
                .is_some_and(|d| !d.is_empty());
            if !is_described {
                parameter.description = description(parameter);
            }
        }
    }
}

/// Adds the examples of request bodies.
fn add_examples(api: &mut utoipa::openapi::OpenApi) {
    for operation in all_operations(api) {
        let id = operation.operation_id.as_deref().unwrap_or_default();
        let example = EXAMPLES.iter().find(|(name, _)| *name == id);
        let Some(((_, text), RefOr::T(body))) = example.zip(operation.request_body.as_mut()) else {
            continue;
        };
        if let Some(RefOr::T(content)) = body.content.get_mut("application/json") {
            content.example = serde_json::from_str(text).ok();
        }
    }
}

/// Returns the names of the schemas that are forms.
fn forms(api: &mut utoipa::openapi::OpenApi) -> HashSet<String> {
    let bodies = all_operations(api).filter_map(|operation| operation.request_body.as_ref());
    let contents = bodies.filter_map(|body| match body {
        RefOr::T(body) => body.content.get("multipart/form-data"),
        RefOr::Ref(_) => None,
    });
    contents
        .filter_map(|content| match content {
            RefOr::T(content) => content.schema.as_ref(),
            RefOr::Ref(_) => None,
        })
        .filter_map(|schema| match schema {
            RefOr::Ref(schema) => schema.ref_location.rsplit('/').next(),
            RefOr::T(_) => None,
        })
        .map(str::to_owned)
        .collect()
}

/// Marks the files of a form as bytes, and takes `null` from its fields, which a form cannot carry.
fn describe_form(form: &mut Object) {
    let binary = || Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
    for property in form.properties.values_mut() {
        if let RefOr::T(Schema::Array(list)) = property
            && !list.content_media_type.is_empty()
        {
            let mut file = Object::with_type(Type::String);
            file.format = binary();
            list.content_media_type.clear();
            let file = Box::new(RefOr::T(Schema::Object(file)));
            list.items = utoipa::openapi::schema::ArrayItems::RefOrSchema(file);
        } else if let RefOr::T(Schema::Object(field)) = property {
            if !field.content_media_type.is_empty() {
                field.format = binary();
            }
            if let SchemaType::Array(types) = &field.schema_type {
                let own = types.iter().find(|t| !matches!(t, Type::Null));
                if let Some(own) = own.cloned() {
                    field.schema_type = SchemaType::Type(own);
                }
            }
        }
    }
}

/// Gives the variants of a choice that are written inside it schemas of their own. Generators give variants without names up, above all those that contain the
/// choice again.
fn name_variants(components: &mut Components) {
    let mut named = Vec::new();
    for (name, schema) in &mut components.schemas {
        let RefOr::T(Schema::OneOf(choice)) = schema else {
            continue;
        };
        for item in &mut choice.items {
            let RefOr::T(variant) = item else {
                continue;
            };
            if let Some(suffix) = suffix(variant) {
                let own = format!("{name}{suffix}");
                let reference = RefOr::Ref(Ref::from_schema_name(&own));
                named.push((own, std::mem::replace(item, reference)));
            }
        }
    }
    for (name, variant) in named {
        components.schemas.entry(name).or_insert(variant);
    }
}

/// Returns what distinguishes a variant: the only value of one of its fields, else the name of its only field.
fn suffix(variant: &Schema) -> Option<String> {
    if let Schema::AllOf(parts) = variant {
        return parts.items.iter().find_map(|part| match part {
            RefOr::T(part) => suffix(part),
            RefOr::Ref(_) => None,
        });
    }
    let Schema::Object(object) = variant else {
        return None;
    };
    let only_value = object.properties.values().find_map(|property| {
        let RefOr::T(Schema::Object(field)) = property else {
            return None;
        };
        match field.enum_values.as_deref() {
            Some([only]) => only.as_str().map(pascal),
            _ => None,
        }
    });
    only_value.or_else(|| match object.required.as_slice() {
        [only] => Some(pascal(only)),
        _ => None,
    })
}

fn pascal(name: &str) -> String {
    let mut made = String::new();
    for word in words(name).split(|c: char| !c.is_alphanumeric()) {
        let mut letters = word.chars();
        made.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        made.push_str(letters.as_str());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_words() {
        assert_eq!(words("datasetId"), "dataset id");
        assert_eq!(words("board_group_id"), "board group id");
        assert_eq!(pascal("text_delta"), "TextDelta");
        assert_eq!(pascal("openclaw:message"), "OpenclawMessage");
    }

    #[test]
    fn a_variant_is_named_by_its_value_or_its_field() {
        let mut tag = Object::with_type(Type::String);
        tag.enum_values = Some(vec!["text_delta".into()]);
        let mut object = Object::with_type(Type::Object);
        object.required = vec!["and".to_owned()];
        assert_eq!(
            suffix(&Schema::Object(object.clone())).as_deref(),
            Some("And")
        );
        object
            .properties
            .insert("type".to_owned(), RefOr::T(Schema::Object(tag)));
        assert_eq!(
            suffix(&Schema::Object(object)).as_deref(),
            Some("TextDelta")
        );
    }
}
