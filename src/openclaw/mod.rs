//! Client of OpenClaw gateways: WebSocket frames, handshake with a signed device, calls, and one kept connection per gateway. It speaks the protocol versions 3 and 4
//! and knows nothing of boards.

mod client;
mod device;
mod pool;

use std::time::Duration;

use serde_json::Value;

pub use client::{Connection, Hello};
pub use device::Device;
pub use pool::Pool;

use crate::error::{Error, Result};

/// A gateway to connect to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `ws://` or `wss://`.
    pub url: String,
    pub token: String,
    /// Whether any certificate is accepted.
    pub allow_insecure_tls: bool,
    /// Whether no device is sent: for gateways that refuse new devices.
    pub without_device: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Oldest version of gateways that is supported, as year, month, day.
pub const OLDEST: (u32, u32, u32) = (2026, 2, 9);
/// Time for an answer to an ordinary call.
pub const ANSWER: Duration = Duration::from_secs(15);

/// Error code of a gateway that cannot be reached, or whose connection broke.
pub const UNREACHABLE: &str = "gateway_unreachable";
/// Error code of a call that the gateway refused.
pub const REFUSED: &str = "gateway_refused";
/// Error code of a gateway that does not accept the token, the device or the protocol.
pub const UNAUTHORIZED: &str = "gateway_unauthorized";

/// Returns a version such as `2026.4.2` or `v2026.9.6-1` as numbers; `None` for other texts.
#[must_use]
pub fn version(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim().trim_start_matches('v');
    let mut numbers = text.split(['.', '-', '+']).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    Some((next()?, next()?, next()?))
}

/// Returns the error of an answer that is none.
fn refusal(error: &Value) -> Error {
    let member = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (code, message) = (member("code"), member("message"));
    let details = error.get("details");
    let detail = |name: &str| details.and_then(|d| d.get(name)).and_then(Value::as_str);
    let scope = detail("missingScope").or_else(|| {
        message
            .split_once("missing scope: ")
            .map(|(_, scope)| scope)
    });
    if let Some(scope) = scope {
        return Error::upstream(
            UNAUTHORIZED,
            format!(
                "the gateway does not grant the scope {scope}; approve the device of Cairn or use a token that has it"
            ),
        );
    }
    let kind = detail("code").unwrap_or(code);
    let is_about_access = kind.starts_with("AUTH_")
        || kind.starts_with("DEVICE_")
        || kind.starts_with("CONTROL_UI_")
        || matches!(
            kind,
            "NOT_PAIRED" | "PAIRING_REQUIRED" | "PROTOCOL_MISMATCH" | "FORBIDDEN"
        )
        || message.starts_with("unauthorized");
    if is_about_access {
        let what = if kind.is_empty() { code } else { kind };
        return Error::upstream(
            UNAUTHORIZED,
            format!(
                "the gateway refused the connection ({what}): {message}; check its token, and approve the device of Cairn with `openclaw devices approve`"
            ),
        );
    }
    if code == "UNAVAILABLE" {
        return Error::upstream(UNREACHABLE, format!("the gateway is not ready: {message}"));
    }
    let issues = details.and_then(|d| d.get("issues")).map(Value::to_string);
    let issues = issues.map(|i| format!(" {i}")).unwrap_or_default();
    Error::upstream(REFUSED, format!("{message}{issues}"))
}

/// Returns an error for a connection that broke or was never made.
fn broken(reason: impl std::fmt::Display) -> Error {
    Error::upstream(
        UNREACHABLE,
        format!("the gateway cannot be reached: {reason}"),
    )
}

/// Waits for a result, and fails after a time.
async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(broken(format!("no {what} within {} s", limit.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_by_day() {
        assert_eq!(version("2026.4.2"), Some((2026, 4, 2)));
        assert_eq!(version("v2026.09.6-3"), Some((2026, 9, 6)));
        assert!(version("2026.1.30") < Some(OLDEST) && version("dev").is_none());
    }

    #[test]
    fn refusals_say_what_to_do() {
        let code = |error: Value| refusal(&error).code();
        assert_eq!(
            code(json!({"code": "INVALID_REQUEST", "message": "missing scope: operator.admin"})),
            UNAUTHORIZED
        );
        assert_eq!(
            code(json!({"code": "NOT_PAIRED", "message": "x"})),
            UNAUTHORIZED
        );
        assert_eq!(
            code(json!({"code": "UNAVAILABLE", "message": "x"})),
            UNREACHABLE
        );
        let invalid = refusal(
            &json!({"code": "INVALID_REQUEST", "message": "bad", "details": {"issues": [{"path": "a"}]}}),
        );
        assert_eq!(invalid.code(), REFUSED);
        assert!(invalid.public_message().contains("path"));
    }
}
