//! Dialects for MCP clients: operations as tools. The arguments of a tool are the parameters of path and query string and the members of the body; what it does,
//! checks and answers is that of the HTTP operation.

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

use super::dialect::{Dialect, base, take_key};
use super::operation::{Call, Operation, perform};
use super::{document, mcp};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};

/// The tools of a dialect.
#[derive(Debug)]
pub(super) struct ToolSet {
    /// Path of the server.
    pub path: &'static str,
    /// Name of the server.
    pub server: &'static str,
    /// Instructions for models about the server as a whole.
    pub instructions: &'static str,
    pub dialect: &'static Dialect,
    /// Names of tools with the ids of their operations. When empty, every operation is a tool, named after it in snake case (`createContact` is `create_contact`).
    pub chosen: &'static [(&'static str, &'static str)],
    /// Further names with the ids of their operations.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Converts an error into a result.
    pub fault: fn(&Error) -> Result<Value>,
}

impl ToolSet {
    /// Returns the operations with the names of their tools.
    fn all(&self) -> impl Iterator<Item = (String, &'static Operation)> {
        let operations = self.dialect.operations.iter().copied().flatten();
        let chosen = self.chosen.iter().filter_map(move |(name, id)| {
            let operation = operations.clone().find(|o| o.id == *id)?;
            Some(((*name).to_owned(), operation))
        });
        let operations = self.dialect.operations.iter().copied().flatten();
        let every = operations.filter(|_| self.chosen.is_empty());
        chosen.chain(every.map(|o| (o.id.to_snake_case(), o)))
    }

    fn operation(&self, name: &str) -> Option<&'static Operation> {
        if let Some((_, id)) = self.aliases.iter().find(|(alias, _)| *alias == name) {
            let mut operations = self.dialect.operations.iter().copied().flatten();
            return operations.find(|o| o.id == *id);
        }
        let found = self.all().find(|(known, _)| known == name);
        found.map(|(_, operation)| operation)
    }

    /// Returns the schema of a tool's arguments.
    fn input(&self, operation: &Operation) -> Result<Map<String, Value>> {
        let mut schema = if operation.has_body() {
            serde_json::to_value(document::request(self.dialect, operation))?
        } else {
            json!({"type": "object"})
        };
        let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
        for name in document::parameters(operation) {
            schema["properties"][name] =
                serde_json::to_value(document::parameter(self.dialect, operation, name))?;
        }
        for name in operation.path_parameters() {
            schema["properties"][name] = json!({"type": "string"});
            required.push(json!(name));
        }
        if operation.writes()
            && let Some(member) = self.dialect.key_member
        {
            schema["properties"][member] =
                json!({"type": "string", "minLength": 1, "maxLength": 255});
        }
        if schema["properties"].is_null() {
            schema["properties"] = json!({});
        }
        schema["required"] = Value::Array(required);
        Ok(serde_json::from_value(schema)?)
    }

    fn tool(&self, name: String, operation: &'static Operation) -> Result<Tool> {
        let scopes: Vec<&str> = operation.scopes.iter().map(|s| s.name()).collect();
        let description = if self.chosen.is_empty() {
            format!(
                "{} ({} {}{}; scope: {})",
                operation.summary,
                operation.method,
                self.dialect.prefix,
                operation.path,
                scopes.join(" or ")
            )
        } else {
            operation.summary.to_owned()
        };
        let annotations = ToolAnnotations::new()
            .read_only(!operation.writes())
            .destructive(operation.method == "DELETE")
            .open_world(false);
        let tool = Tool::new(name, description, Arc::new(self.input(operation)?));
        Ok(tool.with_annotations(annotations))
    }
}

/// The server of a set of tools; it lives for one request.
#[derive(Clone)]
pub(super) struct ToolServer {
    pub app: Arc<App>,
    pub tools: &'static ToolSet,
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
    dialect: &'static Dialect,
    app: &Arc<App>,
    caller: &Caller,
    operation: &'static Operation,
    mut given: Map<String, Value>,
    base: &str,
) -> Result<Value> {
    (dialect.admit)(app, caller)?;
    operation.allow(caller)?;
    let mut path: BTreeMap<String, String> = BTreeMap::new();
    for name in operation.path_parameters() {
        let value = given
            .shift_remove(name)
            .ok_or_else(|| Error::invalid("parameter_missing", format!("{name} is missing")))?;
        path.insert(name.to_owned(), plain(name, &value)?);
    }
    let key = take_key(None, dialect.key_member, &mut given)?;
    let mut query: Vec<(String, String)> = Vec::new();
    if !operation.has_body() {
        for (name, value) in std::mem::take(&mut given) {
            if !value.is_null() {
                let value = plain(&name, &value)?;
                query.push((name, value));
            }
        }
    }
    let query = (dialect.query)(operation, &path, query)?;
    let call = Call {
        app,
        caller,
        operation,
        path: &path,
        query: &query,
        body: &given,
    };
    (dialect.envelope)(perform(call, key, dialect.view).await?, base)
}

impl ServerHandler for ToolServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                self.tools.server,
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(self.tools.instructions)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self
            .tools
            .all()
            .map(|(name, operation)| self.tools.tool(name, operation));
        let tools = tools.collect::<Result<Vec<Tool>>>();
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
        let caller = match self.tools.dialect.enter {
            Some(enter) => enter(&self.app, caller.clone())
                .await
                .map_err(|e| mcp::refused(&e))?,
            None => caller.clone(),
        };
        let name = &request.name;
        let operation = self
            .tools
            .operation(name)
            .ok_or_else(|| ErrorData::invalid_params(format!("unknown tool {name:?}"), None))?;
        let given = request.arguments.unwrap_or_default();
        let base = base(&mcp::parts_of(&context)?.headers);
        let result = match call(
            self.tools.dialect,
            &self.app,
            &caller,
            operation,
            given,
            &base,
        )
        .await
        {
            Ok(value) => CallToolResult::structured(value),
            Err(error) => {
                if error.kind() == Kind::Internal {
                    tracing::error!(error = %error, "a tool failed because of an internal error");
                }
                CallToolResult::structured_error(
                    (self.tools.fault)(&error).map_err(|e| mcp::refused(&e))?,
                )
            }
        };
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{clawcrm, slab5};
    use super::*;

    #[test]
    fn every_tool_is_an_operation_with_a_schema() {
        for set in [&slab5::TOOLS, &clawcrm::TOOLS] {
            for (name, operation) in set.all() {
                let tool = set.tool(name, operation).expect("a tool");
                let found = set.operation(&tool.name).map(|o| o.id);
                assert_eq!(found, Some(operation.id));
                let properties = &tool.input_schema["properties"];
                for name in operation
                    .path_parameters()
                    .chain(document::parameters(operation))
                {
                    assert!(properties[name].is_object(), "{} {name}", tool.name);
                }
            }
            let ids = set.chosen.iter().chain(set.aliases);
            for (name, id) in ids {
                assert_eq!(set.operation(name).map(|o| o.id), Some(*id));
            }
        }
    }
}
