//! Errors, extractors, lists and authentication of the dashboard dialect.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::extract::{auth, body, parameters, problem};
use crate::api::fault::FaultBody;
pub use crate::api::paging::{Pagination, Paging};
use crate::api::secret::SecretHeader;

/// An error as returned to callers.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardFault {
    error: FaultBody,
}

problem!(|error| DashboardFault {
    error: error.into()
});
auth!(Problem, &[SecretHeader::Bearer]);
parameters!(Problem);
body!(Problem);
