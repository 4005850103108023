//! Scopes: what a key may do, as `area:verb`, with `area:*` and `*` as wildcards. `admin` is another word for `*`.

use crate::error::{Error, Result};

/// Something a key may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// List and read datasets, documents, chunks, events.
    KbRead,
    /// Create, change and delete them.
    KbWrite,
    /// Search.
    KbSearch,
    /// Create, list and revoke keys.
    KeysManage,
    /// Jobs, settings, metrics of the installation.
    SystemRead,
}

/// Every scope.
pub const ALL: [Scope; 5] = [
    Scope::KbRead,
    Scope::KbWrite,
    Scope::KbSearch,
    Scope::KeysManage,
    Scope::SystemRead,
];

impl Scope {
    /// The name in keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KbRead => "kb:read",
            Self::KbWrite => "kb:write",
            Self::KbSearch => "kb:search",
            Self::KeysManage => "keys:manage",
            Self::SystemRead => "system:read",
        }
    }
}

/// Whether a granted scope, possibly a wildcard, covers a wanted one. Reading implies searching.
pub(crate) fn covers(granted: &str, wanted: Scope) -> bool {
    let name = wanted.name();
    granted == "*"
        || granted == name
        || granted
            .strip_suffix('*')
            .is_some_and(|area| area.ends_with(':') && name.starts_with(area))
        || (wanted == Scope::KbSearch && granted == "kb:read")
}

/// Reads scopes as a person gives them.
///
/// # Errors
/// `scope_unknown` lists the known ones.
pub fn read(given: &[String]) -> Result<Vec<String>> {
    let mut scopes = Vec::new();
    for word in given
        .iter()
        .flat_map(|g| g.split(','))
        .map(str::trim)
        .filter(|w| !w.is_empty())
    {
        let scope = if word == "admin" { "*" } else { word };
        if !ALL.iter().any(|s| covers(scope, *s)) {
            let known = ALL.map(Scope::name).join(", ");
            return Err(Error::invalid(
                "scope_unknown",
                format!("{word:?} is no scope; scopes are {known}, wildcards like kb:*, and admin"),
            ));
        }
        if !scopes.iter().any(|s| s == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if scopes.is_empty() {
        Err(Error::invalid(
            "scope_missing",
            "a key needs at least one scope",
        ))
    } else {
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_their_area_only() {
        assert!(
            covers("kb:*", Scope::KbWrite)
                && covers("*", Scope::KeysManage)
                && covers("kb:read", Scope::KbSearch)
        );
        assert!(
            !covers("kb:*", Scope::KeysManage)
                && !covers("kb:search", Scope::KbRead)
                && !covers("k*", Scope::KbRead)
        );
    }

    #[test]
    fn unknown_scopes_are_refused_with_the_known_ones() {
        let error = read(&["kb:fly".to_owned()])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("kb:write"), "{error}");
        assert_eq!(read(&["admin".to_owned()]).expect("known"), ["*"]);
    }
}
