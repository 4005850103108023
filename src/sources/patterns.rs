//! Patterns that choose files by their paths.

use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};

use crate::error::{Error, Result};

/// Maximum number of patterns.
const MOST: usize = 50;

/// Patterns of a source: files that match one of those to include, or all, without those to exclude.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    root: PathBuf,
    patterns: Override,
}

fn invalid(message: String) -> Error {
    Error::invalid("source_settings_invalid", message)
}

impl Patterns {
    /// Reads patterns that are relative to a folder.
    ///
    /// # Errors
    /// `source_settings_invalid`.
    pub(super) fn new(root: &Path, include: &[String], exclude: &[String]) -> Result<Self> {
        if include.len() + exclude.len() > MOST {
            return Err(invalid(format!(
                "a source may have at most {MOST} patterns"
            )));
        }
        let mut all = OverrideBuilder::new(root);
        let excluded: Vec<String> = exclude.iter().map(|glob| format!("!{glob}")).collect();
        for glob in include.iter().chain(&excluded) {
            all.add(glob)
                .map_err(|e| invalid(format!("the pattern {glob:?} is not valid: {e}")))?;
        }
        Ok(Self {
            root: root.to_owned(),
            patterns: all.build().map_err(|e| invalid(e.to_string()))?,
        })
    }

    /// Returns whether the patterns leave a folder out, with all that is in it.
    pub(super) fn leave_out_folder(&self, folder: &Path) -> bool {
        self.patterns.matched(folder, true).is_ignore()
    }

    /// Returns whether the patterns leave a file below the folder out, by itself or by a folder that it is in.
    pub(super) fn leave_out(&self, file: &Path) -> bool {
        let mut folders = file
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.root);
        self.patterns.matched(file, false).is_ignore()
            || folders.any(|folder| self.leave_out_folder(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluding(glob: &str) -> Result<Patterns> {
        Patterns::new(Path::new("/"), &[], &[glob.to_owned()])
    }

    #[test]
    fn patterns_are_checked() {
        assert!(excluding("**/*.tmp").is_ok());
        assert!(excluding("a{").is_err());
    }

    #[test]
    fn a_file_is_left_out_with_its_folder() {
        let patterns = excluding("drafts/").expect("valid");
        assert!(patterns.leave_out(Path::new("/drafts/a/b.md")));
        assert!(!patterns.leave_out(Path::new("/notes/b.md")));
    }
}
