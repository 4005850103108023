//! The workspace for MCP clients, at `/mcp/slab5`: every operation is a tool, named after the operation in snake case (`createContact` is `create_contact`). Its
//! arguments are the parameters of path and query string and the members of the body; what it does, checks and answers is that of the HTTP operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use heck::ToSnakeCase;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};

use super::operations::ALL;
use super::wire::WorkspaceFault;
use super::{DIALECT, envelope};
use crate::api::dialect::{base, take_key};
use crate::api::operation::{Call, Operation, perform};
use crate::api::{document, mcp};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};

/// Where it is served.
pub(in crate::api) const PATH: &str = "/mcp/slab5";

/// What models are told about the server as a whole.
const INSTRUCTIONS: &str = "A workspace with CRM, support, tasks, content, assets, webhooks, analytics definitions and reports. Start with get_workspace, which lists the enabled modules. Writes accept idempotency_key: use a new one for each logical write, and retry with the same key when the outcome is unknown. Page through lists with next_cursor.";

/// Shorter names under which clients of the contract know some tools.
const ALIASES: [(&str, &str); 3] = [
    ("update_entry", "updateCmsEntry"),
    ("create_entry", "createCmsEntry"),
    ("get_workspace_summary", "getWorkspace"),
];

/// The server; it lives for one request.
#[derive(Clone)]
pub(in crate::api) struct Workspace(pub Arc<App>);

fn name_of(operation: &Operation) -> String {
    operation.id.to_snake_case()
}

fn operation(name: &str) -> Option<&'static Operation> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    ALL.iter().find(|operation| match alias {
        Some((_, id)) => operation.id == *id,
        None => name_of(operation) == name,
    })
}

/// The schema of a tool's arguments.
fn input(operation: &Operation) -> Result<Map<String, Value>> {
    let mut schema = if operation.has_body() {
        serde_json::to_value(document::request(&DIALECT, operation))?
    } else {
        json!({"type": "object"})
    };
    let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    for name in document::parameters(operation) {
        schema["properties"][name] =
            serde_json::to_value(document::parameter(&DIALECT, operation, name))?;
    }
    for name in operation.path_parameters() {
        schema["properties"][name] = json!({"type": "string"});
        required.push(json!(name));
    }
    if operation.writes() {
        schema["properties"]["idempotency_key"] =
            json!({"type": "string", "minLength": 1, "maxLength": 255});
    }
    if schema["properties"].is_null() {
        schema["properties"] = json!({});
    }
    schema["required"] = Value::Array(required);
    Ok(serde_json::from_value(schema)?)
}

fn tool(operation: &'static Operation) -> Result<Tool> {
    let scopes: Vec<&str> = operation.scopes.iter().map(|s| s.name()).collect();
    let description = format!(
        "{} ({} /v1{}; scope: {})",
        operation.summary,
        operation.method,
        operation.path,
        scopes.join(" or ")
    );
    let annotations = ToolAnnotations::new()
        .read_only(!operation.writes())
        .destructive(operation.method == "DELETE")
        .open_world(false);
    let tool = Tool::new(name_of(operation), description, Arc::new(input(operation)?));
    Ok(tool.with_annotations(annotations))
}

/// The value of a parameter as it would stand in a query string.
fn plain(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Error::invalid(
            "parameter_invalid",
            format!("{name} must be text or a number"),
        )),
    }
}

async fn call(
    app: &Arc<App>,
    caller: &Caller,
    operation: &'static Operation,
    mut given: Map<String, Value>,
    base: &str,
) -> Result<Value> {
    app.rates.take(caller.tenant())?;
    operation.allow(caller)?;
    let mut path: BTreeMap<String, String> = BTreeMap::new();
    for name in operation.path_parameters() {
        let value = given
            .shift_remove(name)
            .ok_or_else(|| Error::invalid("parameter_missing", format!("{name} is missing")))?;
        path.insert(name.to_owned(), plain(name, &value)?);
    }
    let key = take_key(None, DIALECT.key_member, &mut given)?;
    let mut query: Vec<(String, String)> = Vec::new();
    if !operation.has_body() {
        for (name, value) in std::mem::take(&mut given) {
            if !value.is_null() {
                let value = plain(&name, &value)?;
                query.push((name, value));
            }
        }
    }
    let query = (DIALECT.query)(operation, &path, query)?;
    let call = Call {
        app,
        caller,
        operation,
        path: &path,
        query: &query,
        body: &given,
    };
    envelope(perform(call, key, DIALECT.view).await?, base)
}

impl ServerHandler for Workspace {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "cairn-workspace",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = ALL.iter().map(tool).collect::<Result<Vec<Tool>>>();
        Ok(ListToolsResult {
            tools: tools.map_err(|e| mcp::refused(&e))?,
            ..ListToolsResult::default()
        })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = mcp::caller_of(&context)?;
        let name = &request.name;
        let operation = operation(name)
            .ok_or_else(|| ErrorData::invalid_params(format!("unknown tool {name:?}"), None))?;
        let given = request.arguments.unwrap_or_default();
        let base = base(&mcp::parts_of(&context)?.headers);
        let result = match call(&self.0, &caller, operation, given, &base).await {
            Ok(value) => CallToolResult::structured(value),
            Err(error) => {
                if error.kind() == Kind::Internal {
                    tracing::error!(error = %error, "a tool failed because of an internal error");
                }
                let fault = WorkspaceFault::from(&error);
                CallToolResult::structured_error(
                    serde_json::to_value(fault).map_err(|e| mcp::refused(&e.into()))?,
                )
            }
        };
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_a_tool_with_a_schema() {
        for operation in ALL {
            let tool = tool(operation).expect("a tool");
            assert_eq!(
                super::operation(&tool.name).map(|o| o.id),
                Some(operation.id)
            );
            let properties = &tool.input_schema["properties"];
            for name in operation
                .path_parameters()
                .chain(document::parameters(operation))
            {
                assert!(properties[name].is_object(), "{} {name}", tool.name);
            }
        }
        for (alias, id) in ALIASES {
            assert_eq!(operation(alias).map(|o| o.id), Some(id));
        }
    }
}
