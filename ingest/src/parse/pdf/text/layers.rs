//! Optional content: layers that are hidden when the file is opened.

use std::collections::HashSet;

use hayro_syntax::object::{Array, Dict, Name, ObjRef};

type Id = (u32, i32);

/// The hidden layers.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    off: HashSet<Id>,
}

impl Layers {
    pub(crate) fn new(catalog: &Dict<'_>) -> Self {
        let mut off = HashSet::new();
        let Some(properties) = catalog.get::<Dict<'_>>(b"OCProperties") else {
            return Self::default();
        };
        let Some(config) = properties.get::<Dict<'_>>(b"D") else {
            return Self::default();
        };
        if config
            .get::<Name<'_>>(b"BaseState")
            .is_some_and(|n| *n == *b"OFF")
        {
            off.extend(groups(&properties, b"OCGs"));
            for shown in groups(&config, b"ON") {
                off.remove(&shown);
            }
        }
        off.extend(groups(&config, b"OFF"));
        Self { off }
    }

    /// Returns whether the content of the group or membership dictionary under `key` is visible.
    pub(crate) fn shows(&self, owner: &Dict<'_>, key: &[u8]) -> bool {
        if self.off.is_empty() {
            return true;
        }
        let Some(dict) = owner.get::<Dict<'_>>(key) else {
            return true;
        };
        if dict
            .get::<Name<'_>>(b"Type")
            .is_some_and(|n| *n == *b"OCMD")
        {
            return self.member_shown(&dict);
        }
        owner
            .get_ref(key)
            .is_none_or(|group| !self.off.contains(&id(group)))
    }

    fn member_shown(&self, member: &Dict<'_>) -> bool {
        let mut of = groups(member, b"OCGs");
        of.extend(member.get_ref(b"OCGs").map(id));
        if of.is_empty() {
            return true;
        }
        let off = |group: &Id| self.off.contains(group);
        match member.get::<Name<'_>>(b"P").as_deref() {
            Some(b"AllOn") => !of.iter().any(off),
            Some(b"AnyOff") => of.iter().any(off),
            Some(b"AllOff") => of.iter().all(off),
            _ => !of.iter().all(off),
        }
    }
}

fn groups(dict: &Dict<'_>, key: &[u8]) -> Vec<Id> {
    dict.get::<Array<'_>>(key)
        .map(|groups| {
            groups
                .raw_iter()
                .filter_map(|g| g.as_obj_ref())
                .map(id)
                .collect()
        })
        .unwrap_or_default()
}

fn id(reference: ObjRef) -> Id {
    (reference.obj_number, reference.gen_number)
}
