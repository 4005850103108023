//! Modules of a workspace, which can be disabled.

use serde_json::json;

use super::access_log::{self, Action, Change};
use super::{Area, Caller, Scope};
use crate::clock::Clock;
use crate::db::{Db, args};
use crate::error::{Error, Result};

/// Parses a list of disabled modules into their areas.
pub(super) fn areas(modules_off: &str) -> Vec<Area> {
    let is_off = |area: &Area| modules_off.split(',').any(|name| name == area.name());
    Area::all().filter(is_off).collect()
}

/// Returns the disabled modules of a tenant, as stored.
pub(super) async fn disabled(db: &Db, tenant_id: &str) -> Result<String> {
    let found: Option<(String,)> = db
        .optional(
            "SELECT modules_off FROM tenants WHERE id = $1",
            args![tenant_id],
        )
        .await?;
    Ok(found.map(|(off,)| off).unwrap_or_default())
}

/// Lists the modules of the caller's workspace, and whether each is enabled.
///
/// # Errors
/// `scope_missing`.
pub async fn list(db: &Db, caller: &Caller) -> Result<Vec<(&'static str, bool)>> {
    caller.need_unconfined(Scope::KeysManage)?;
    let off = areas(&disabled(db, caller.tenant()).await?);
    Ok(Area::all()
        .filter_map(|area| Some((area.module()?, !off.contains(&area))))
        .collect())
}

/// Enables or disables a module of the caller's workspace; its records stay unchanged. Effective from the next request on.
///
/// # Errors
/// `scope_missing`, `module_unknown`.
pub async fn set(db: &Db, clock: &Clock, caller: &Caller, module: &str, on: bool) -> Result<()> {
    caller.need_unconfined(Scope::KeysManage)?;
    let area = Area::all()
        .find(|area| area.module() == Some(module))
        .ok_or_else(|| {
            let known: Vec<&str> = Area::all().filter_map(Area::module).collect();
            Error::not_found(
                "module_unknown",
                format!("unknown module {module:?}; use one of {}", known.join(", ")),
            )
        })?;
    let mut tx = db.begin().await?;
    // Locks the row, so that both of two concurrent changes count.
    tx.execute(
        "UPDATE tenants SET modules_off = modules_off WHERE id = $1",
        args![caller.tenant()],
    )
    .await?;
    let stored: Option<(String,)> = tx
        .optional(
            "SELECT modules_off FROM tenants WHERE id = $1",
            args![caller.tenant()],
        )
        .await?;
    let mut off = areas(&stored.map(|(off,)| off).unwrap_or_default());
    off.retain(|other| *other != area);
    if !on {
        off.push(area);
    }
    let names: Vec<&str> = off.into_iter().map(Area::name).collect();
    tx.execute(
        "UPDATE tenants SET modules_off = $1 WHERE id = $2",
        args![names.join(","), caller.tenant()],
    )
    .await?;
    let change = Change::by(
        caller,
        Action::ModuleChanged,
        module,
        module,
        json!({"enabled": on}),
    );
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await
}
