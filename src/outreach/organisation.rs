//! The organisation of a tenant: its profile, its plan, and how much of the plan is used.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{SEQUENCE, stages};
use crate::app::App;
use crate::auth::Caller;
use crate::auth::plans::{self, Plan as Tariff, Profile};
use crate::crm::LEAD;
use crate::db::Tx;
use crate::error::Result;
use crate::records::body::Body;
use crate::records::plan::{Effect, Plan};
use crate::records::store;

/// Sets members of the tenant's profile.
#[derive(Debug)]
struct SetProfile {
    tenant_id: String,
    members: Profile,
}

#[async_trait]
impl Effect for SetProfile {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        plans::merge_profile(tx, &self.tenant_id, &self.members).await?;
        Ok(None)
    }
}

/// Returns a plan that sets members of the profile and makes the pipeline have these stages. Repeating it changes nothing.
///
/// # Errors
/// Those of [`stages::put_all`].
pub async fn set_up(
    app: &App,
    caller: &Caller,
    profile: Profile,
    wanted: Vec<Body>,
) -> Result<Plan> {
    let mut plan = stages::put_all(app, caller, wanted).await?;
    // After the stages, in the order in which leads are created: their texts, then the tenant.
    plan.after.push(Box::new(SetProfile {
        tenant_id: caller.tenant().to_owned(),
        members: profile,
    }));
    Ok(plan)
}

/// The plan of a tenant and how much of it is used.
#[derive(Debug)]
pub struct Usage {
    pub plan: Option<Tariff>,
    pub leads: i64,
    pub campaigns: i64,
}

/// Returns the plan of the caller's tenant and how much of it is used.
///
/// # Errors
/// Those of the database.
pub async fn usage(app: &App, caller: &Caller) -> Result<Usage> {
    Ok(Usage {
        plan: plans::of(&app.db, caller.tenant()).await?,
        leads: store::count(&app.db, caller.tenant(), &LEAD).await?,
        campaigns: store::count(&app.db, caller.tenant(), &SEQUENCE).await?,
    })
}

impl Usage {
    /// Returns the limits as the API shows them; null for no limit.
    #[must_use]
    pub fn limits(&self) -> Value {
        json!({
            "leads": self.plan.map(Tariff::leads),
            "campaigns": self.plan.and_then(Tariff::campaigns),
        })
    }
}
