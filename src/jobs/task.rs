//! Tasks: the kinds of jobs, their queues and their limits.

use serde::{Deserialize, Serialize};

/// Task of a job. Running one twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Parses, chunks, embeds and stores a document.
    Ingest {
        document_id: String,
        /// Whether its text is indexed already, and only its embeddings are missing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[serde(alias = "worded")]
        text_indexed: bool,
    },
    /// Indexes the rows of a folder that have changed.
    ShowRows { folder_id: String },
    /// Builds a document for a generation that is not live.
    Build {
        document_id: String,
        /// Set of chunks of the generation.
        set_id: String,
    },
    /// Removes the rows of a deleted folder from search.
    ClearRows { folder_id: String },
    /// Measures a configuration, or tunes one, on labelled queries.
    Evaluate { run_id: String },
    /// Crawls a website.
    Crawl { crawl_id: String },
    /// Starts a scheduled crawl of a site.
    Recrawl { site_id: String },
    /// Syncs a source.
    Sync { sync_id: String },
    /// Starts a scheduled sync of a source.
    Resync { source_id: String },
    /// Sends an event to an endpoint.
    Deliver {
        delivery_id: String,
        /// Number of previous attempts.
        attempt: i64,
    },
    /// Writes an export.
    Export {
        /// Id of the export's record.
        export_id: String,
    },
    /// Creates the export of a scheduled artifact.
    Artifact {
        /// Id of the artifact's record.
        artifact_id: String,
    },
    /// Sends a mail of a sequence.
    SendMail { mail_id: String },
    /// Evaluates the rules for leads that nobody has contacted.
    NoTouch,
    /// Sends a message to an agent through its gateway.
    TellAgent {
        agent_id: String,
        text: String,
        /// Whether the agent's answer leaves the gateway through a channel to people.
        deliver: bool,
        /// Beginning of the types of the entries about success and failure; empty for none.
        event: String,
        task_id: Option<String>,
        board_id: Option<String>,
    },
    /// Creates an agent at its gateway, or updates it there.
    ProvisionAgent {
        agent_id: String,
        /// A job of an earlier generation does nothing.
        generation: i64,
        update: bool,
        /// Whether its session begins anew.
        reset: bool,
        /// Whether it is told to begin.
        wake: bool,
        /// Whether it gets a new token.
        rotate: bool,
        /// Whether files that it may have changed are replaced.
        overwrite: bool,
    },
    /// Checks that an agent gave a sign of life after it was woken.
    CheckAgent { agent_id: String, generation: i64 },
    /// Removes an agent from its gateway.
    RemoveAgent { agent_id: String, generation: i64 },
    /// Runs an activity with the agent of its role.
    RunActivity { activity_id: String, run_id: String },
    /// Runs a recurring task of a team.
    RunRoutine { template: String },
    /// Imports leads from a file.
    ImportLeads { import_id: String },
    /// Looks after campaigns and approvals of a team.
    TendTeam,
    /// Removes what belonged to a deleted board.
    ClearBoard { board_id: String },
    /// Removes the data of a closed organisation.
    ClearTenant,
    /// Removes expired events, unused blobs and embeddings, old finished jobs.
    Housekeeping,
}

impl Task {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Ingest { .. } => "ingest",
            Self::ShowRows { .. } => "show_rows",
            Self::ClearRows { .. } => "clear_rows",
            Self::Deliver { .. } => "deliver",
            Self::Export { .. } => "export",
            Self::Artifact { .. } => "artifact",
            Self::SendMail { .. } => "send_mail",
            Self::NoTouch => "no_touch",
            Self::TellAgent { .. } => "tell_agent",
            Self::ProvisionAgent { .. } => "provision_agent",
            Self::CheckAgent { .. } => "check_agent",
            Self::RemoveAgent { .. } => "remove_agent",
            Self::RunActivity { .. } => "run_activity",
            Self::RunRoutine { .. } => "run_routine",
            Self::ImportLeads { .. } => "import_leads",
            Self::TendTeam => "tend_team",
            Self::ClearBoard { .. } => "clear_board",
            Self::ClearTenant => "clear_tenant",
            Self::Build { .. } => "build",
            Self::Evaluate { .. } => "evaluate",
            Self::Crawl { .. } => "crawl",
            Self::Recrawl { .. } => "recrawl",
            Self::Sync { .. } => "sync",
            Self::Resync { .. } => "resync",
            Self::Housekeeping => "housekeeping",
        }
    }

    /// Returns the queue of the task.
    pub(super) fn lane(&self) -> Queue {
        match self {
            Self::Crawl { .. } | Self::Sync { .. } => Queue::Crawl,
            Self::Deliver { .. } | Self::SendMail { .. } => Queue::Send,
            Self::TellAgent { .. }
            | Self::ProvisionAgent { .. }
            | Self::CheckAgent { .. }
            | Self::RemoveAgent { .. } => Queue::Gateway,
            Self::RunActivity { .. } => Queue::Agent,
            Self::Ingest { .. }
            | Self::ShowRows { .. }
            | Self::ClearRows { .. }
            | Self::Export { .. }
            | Self::Artifact { .. }
            | Self::Build { .. }
            | Self::Evaluate { .. }
            | Self::Recrawl { .. }
            | Self::Resync { .. }
            | Self::NoTouch
            | Self::RunRoutine { .. }
            | Self::ImportLeads { .. }
            | Self::TendTeam
            | Self::ClearBoard { .. }
            | Self::ClearTenant
            | Self::Housekeeping => Queue::Work,
        }
    }
}

/// Queues with separate workers, so that jobs that wait for others do not delay the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Jobs that use this machine.
    Work,
    /// Jobs that wait for the network.
    Crawl,
    /// Jobs that wait for the receivers of webhooks and mails.
    Send,
    /// Jobs that wait for gateways of agents.
    Gateway,
    /// Jobs that wait for language models.
    Agent,
}

impl Queue {
    pub(super) const ALL: [Self; 5] = [
        Self::Work,
        Self::Crawl,
        Self::Send,
        Self::Gateway,
        Self::Agent,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Crawl => "crawl",
            Self::Send => "send",
            Self::Gateway => "gateway",
            Self::Agent => "agent",
        }
    }
}
