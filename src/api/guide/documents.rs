//! The documents of the guide, as they are in the repository at build time.

/// A document of the guide.
pub(crate) struct Document {
    /// Path in the repository.
    pub(crate) path: &'static str,
    /// Markdown.
    pub(crate) text: &'static str,
}

impl Document {
    /// Returns the first heading.
    pub(super) fn title(&self) -> &'static str {
        let title = self.text.lines().find_map(|line| line.strip_prefix("# "));
        title.unwrap_or(self.path)
    }
}

/// Documents about one subject.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) documents: &'static [Document],
}

macro_rules! documents {
    ($($path:literal),* $(,)?) => {
        &[$(Document { path: $path, text: include_str!(concat!("../../../", $path)) }),*]
    };
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Start",
        documents: documents!(
            "README.md",
            "src/cli/README.md",
            "src/api/sandbox/README.md",
            "deploy/README.md",
        ),
    },
    Group {
        title: "Documents",
        documents: documents!(
            "ingest/README.md",
            "src/crawl/README.md",
            "src/sources/README.md",
            "src/importers/README.md",
        ),
    },
    Group {
        title: "Search and answers",
        documents: documents!(
            "src/search/README.md",
            "src/answers/README.md",
            "src/evaluation/README.md",
            "models/README.md",
        ),
    },
    Group {
        title: "Programs and tools",
        documents: documents!(
            "src/api/README.md",
            "src/api/SYSTEMS.md",
            "src/api/RETRIEVERS.md",
            "src/auth/README.md",
        ),
    },
    Group {
        title: "Records and teams",
        documents: documents!(
            "src/records/README.md",
            "src/crm/README.md",
            "src/outreach/README.md",
            "src/boards/README.md",
            "src/agency/README.md",
        ),
    },
    Group {
        title: "Inside",
        documents: documents!(
            "migrations/README.md",
            "benches/peers/README.md",
            "CHANGELOG.md",
        ),
    },
];

/// Returns every document.
pub(crate) fn all() -> impl Iterator<Item = &'static Document> {
    GROUPS.iter().flat_map(|group| group.documents)
}

/// Returns the document with a path, or the one that introduces a folder.
pub(super) fn find(path: &str) -> Option<&'static Document> {
    let folder = path.trim_matches('/');
    let introduction = format!("{folder}/README.md");
    all().find(|document| document.path == folder || document.path == introduction)
}
