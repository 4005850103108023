//! Who may do what: everybody of the team reads and works, administrators decide.

use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};

/// Demands the right to read the work of the team.
///
/// # Errors
/// `scope_missing`, `key_confined`.
pub fn read(caller: &Caller) -> Result<()> {
    caller.need_unconfined(Scope::MarketingRead)
}

/// Demands the right to take part in the work of the team.
///
/// # Errors
/// `scope_missing`, `key_confined`.
pub fn write(caller: &Caller) -> Result<()> {
    caller.need_unconfined(Scope::MarketingWrite)
}

/// Demands an administrator: somebody with the right to manage keys.
///
/// # Errors
/// `scope_missing`, `admin_required`, `key_confined`.
pub fn admin(caller: &Caller) -> Result<()> {
    write(caller)?;
    if caller.may(Scope::KeysManage) {
        Ok(())
    } else {
        Err(Error::forbidden(
            "admin_required",
            "only administrators may do this",
        ))
    }
}
