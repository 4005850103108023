//! The service through HTTP, on SQLite and PostgreSQL, with the real model and real indexes.

#![expect(
    clippy::disallowed_methods,
    reason = "tests speak HTTP as any client does, and name databases by time"
)]

mod support;

#[path = "api/access.rs"]
mod access;
#[path = "api/access_log.rs"]
mod access_log;
#[path = "api/agency/mod.rs"]
mod agency;
#[path = "api/agents.rs"]
mod agents;
#[path = "api/answers.rs"]
mod answers;
#[path = "api/ask.rs"]
mod ask;
#[path = "api/attack.rs"]
mod attack;
#[path = "api/calibration.rs"]
mod calibration;
#[path = "api/clawcrm/mod.rs"]
mod clawcrm;
#[path = "api/clients.rs"]
mod clients;
#[path = "api/command_line.rs"]
mod command_line;
#[path = "api/commands.rs"]
mod commands;
#[path = "api/crash.rs"]
mod crash;
#[path = "api/crawl.rs"]
mod crawl;
#[path = "api/dashboard.rs"]
mod dashboard;
#[path = "api/dataset_roles.rs"]
mod dataset_roles;
#[path = "api/days.rs"]
mod days;
#[path = "api/dify.rs"]
mod dify;
#[path = "api/evaluation.rs"]
mod evaluation;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/generations.rs"]
mod generations;
#[path = "api/guide.rs"]
mod guide;
#[path = "api/imports.rs"]
mod imports;
#[path = "api/ingestion.rs"]
mod ingestion;
#[path = "api/jobs.rs"]
mod jobs;
#[path = "api/kb.rs"]
mod kb;
#[path = "api/langserve.rs"]
mod langserve;
#[path = "api/layers.rs"]
mod layers;
#[path = "api/mcp.rs"]
mod mcp;
#[path = "api/memory.rs"]
mod memory;
#[path = "api/mission_control/mod.rs"]
mod mission_control;
#[path = "api/oidc.rs"]
mod oidc;
#[path = "api/openapi.rs"]
mod openapi;
#[path = "api/portable.rs"]
mod portable;
#[path = "api/principals.rs"]
mod principals;
#[path = "api/qdrant.rs"]
mod qdrant;
#[path = "api/quotas.rs"]
mod quotas;
#[path = "api/ragflow.rs"]
mod ragflow;
#[path = "api/records.rs"]
mod records;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/rows.rs"]
mod rows;
#[path = "api/sandbox.rs"]
mod sandbox;
#[path = "api/search.rs"]
mod search;
#[path = "api/slab5.rs"]
mod slab5;
#[path = "api/smartsaas.rs"]
mod smartsaas;
#[path = "api/snapshots.rs"]
mod snapshots;
#[path = "api/sources/mod.rs"]
mod sources;
#[path = "api/visibility.rs"]
mod visibility;
#[path = "api/why_not.rs"]
mod why_not;
#[path = "api/workspace.rs"]
mod workspace;
