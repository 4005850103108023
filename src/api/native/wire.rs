//! Errors, extractors, lists and authentication of `/kb/v1`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::extract::{auth, body, parameters, problem};
use crate::api::fault::FaultBody;
pub use crate::api::paging::{Pagination, Paging};
use crate::api::secret::SecretHeader;

/// An error as returned to callers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    error: FaultBody,
}

problem!(|error| Fault {
    error: error.into()
});
auth!(
    Problem,
    &[
        SecretHeader::Bearer,
        SecretHeader::ApiKey,
        SecretHeader::AgentToken
    ]
);
parameters!(Problem);
body!(Problem);
