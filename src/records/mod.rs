//! The record engine. A record is a title, a status where its kind has one, and a JSON object of fields under canonical names; a [`kind`] is a table of fields.
//! Every write is a [`plan`], made from the present state and executed ([`execute`](mod@execute)) in one transaction with all its side effects: facets and unique keys ([`facets`]), the
//! audit ([`audit`]), the answer under an idempotency key ([`idempotency`]), deliveries of webhooks ([`deliveries`]) and the text that search finds
//! ([`search_text`]). Kinds and their rules stand in the areas above.

pub mod audit;
pub mod body;
pub mod check;
pub mod deliveries;
pub mod execute;
pub mod facets;
pub mod idempotency;
pub mod kind;
pub mod limit;
pub mod plan;
pub mod record;
pub mod request;
pub mod search_text;
pub mod secrets;
pub mod store;
pub mod value_type;
pub mod write;

pub use execute::execute;
pub use kind::Kind;
pub use plan::Plan;
pub(crate) use record::columns;
pub(crate) use record::{DEEPEST, is_deeper};
pub use record::{Record, titled};
pub use request::{Once, Request};
pub use value_type::ValueType;
