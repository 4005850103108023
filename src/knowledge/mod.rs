//! Knowledge of agents: articles, research findings, business plans.

pub mod findings;

use crate::auth::Area;
use crate::records::kind::Kind;

/// A knowledge article.
pub static ARTICLE: Kind = Kind::open("article", Area::Knowledge, None);
/// Research findings.
pub static FINDING: Kind = Kind::open("finding", Area::Knowledge, None);
/// A business plan.
pub static BUSINESS_PLAN: Kind = Kind::open("business_plan", Area::Plans, None);
