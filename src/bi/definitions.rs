//! Kinds of records: dashboards, datasets, reports, metrics, exports, artifacts.

use super::complete;
use crate::auth::Area;
use crate::records::Kind;
use crate::records::kind::{DESCRIPTION, Field, FieldType, LINE, Lifecycle, NAME};

pub(super) const DRAFTED: Lifecycle = Lifecycle::free(&["draft", "active", "archived"]);

pub(super) const FORMAT: Field =
    Field::new("format", FieldType::OneOf(&["csv", "jsonl", "parquet"])).required();
pub(super) static DATASETS: [&Kind; 1] = [&DATASET];

pub(super) static REPORTS: [&Kind; 1] = [&REPORT];

pub(super) const OF_DATASET: Field = Field::new("dataset_id", FieldType::Link(&DATASETS)).filter();

pub(super) const OF_REPORT: Field = Field::new("report_id", FieldType::Link(&REPORTS)).filter();

/// A dashboard.
pub static DASHBOARD: Kind = Kind::new(
    "bi_dashboard",
    "dash",
    Area::Bi,
    &[NAME, DESCRIPTION, Field::new("layout", FieldType::Object)],
)
.titled("name")
.lifecycle(DRAFTED);

/// A source with a question that narrows it.
pub static DATASET: Kind = Kind::new(
    "bi_dataset",
    "bids",
    Area::Bi,
    &[
        NAME,
        DESCRIPTION,
        Field::new(
            "kind",
            FieldType::OneOf(&["mock", "table", "view", "semantic"]),
        )
        .required()
        .filter(),
        Field::new("source", LINE),
        Field::new("query", FieldType::Object),
        Field::new("rows", FieldType::List(1000)),
    ],
)
.titled("name")
.lifecycle(DRAFTED)
.hook(|change| Box::pin(complete(change)));

/// A dataset with a question.
pub static REPORT: Kind = Kind::new(
    "bi_report",
    "rep",
    Area::Bi,
    &[
        NAME,
        DESCRIPTION,
        Field::new("dashboard_id", FieldType::Link(&[&DASHBOARD])).filter(),
        OF_DATASET.required(),
        Field::new("query", FieldType::Object),
        Field::new("chart", FieldType::Object),
    ],
)
.titled("name")
.lifecycle(DRAFTED)
.hook(|change| Box::pin(complete(change)));

/// An aggregate over a dataset.
pub static METRIC: Kind = Kind::new(
    "bi_metric",
    "metric",
    Area::Bi,
    &[
        NAME,
        DESCRIPTION,
        OF_DATASET.required(),
        Field::new("aggregate", FieldType::Object).required(),
        Field::new("filter", FieldType::Object),
        Field::new("unit", FieldType::Line(50)),
    ],
)
.titled("name")
.lifecycle(DRAFTED)
.hook(|change| Box::pin(complete(change)));

/// A file with the rows of a question.
pub static EXPORT: Kind = Kind::new(
    "bi_export",
    "export",
    Area::Bi,
    &[
        Field::new("name", LINE),
        OF_DATASET,
        OF_REPORT,
        FORMAT,
        Field::new("query", FieldType::Object),
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&[
    "pending",
    "completed",
    "failed",
    "archived",
]))
.hook(|change| Box::pin(complete(change)));

/// An export by schedule.
pub static ARTIFACT: Kind = Kind::new(
    "bi_artifact",
    "sched",
    Area::Bi,
    &[
        NAME,
        OF_DATASET,
        OF_REPORT,
        FORMAT,
        Field::new("cron", FieldType::Line(100)).required(),
        Field::new("query", FieldType::Object),
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&["active", "paused", "archived"]))
.hook(|change| Box::pin(complete(change)));
