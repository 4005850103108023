//! Data of agents: folders with columns, and the rows in them.

pub mod folders;
pub mod rows;

use crate::auth::Area;
use crate::records::kind::Kind;

/// A folder of rows and of other folders.
pub static FOLDER: Kind = Kind::open("folder", Area::Data, None)
    .hook(|change| Box::pin(async move { folders::check_settings(&change.body) }));
