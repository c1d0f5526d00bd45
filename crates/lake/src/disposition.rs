//! Dispositions: what analysts decided about findings. Rows are only ever added; the newest one counts.
//!
//! Not here: joining them with findings, which is a view of `palisade-hunt`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use palisade_events::id;
use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

use crate::{CommitError, Error, Intent, Lake, Landed, Result, Table, TableWriter, WriterOptions};

/// What an analyst decided about one finding, or about a whole group of findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// The finding.
    pub finding_uid: Option<String>,
    /// The group, if it is about all findings of one rule about one entity on one day.
    pub group_uid: Option<String>,
    /// The decision.
    pub status: DispositionStatus,
    /// Why, in the analyst's words.
    pub reason: String,
    /// Who decided.
    pub by: String,
    /// When, in microseconds since the epoch.
    pub at: Micros,
}

/// The decisions that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispositionStatus {
    /// Nobody has looked, or it was opened again.
    Open,
    /// Someone is looking.
    Acknowledged,
    /// It is what it says, and is being worked on.
    Confirmed,
    /// It was what it says, and is dealt with.
    Resolved,
    /// It is not what it says.
    FalsePositive,
    /// It is what it says, and is allowed.
    Benign,
}

impl DispositionStatus {
    /// Every decision.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Acknowledged, Self::Confirmed, Self::Resolved, Self::FalsePositive, Self::Benign];

    /// The name as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Confirmed => "confirmed",
            Self::Resolved => "resolved",
            Self::FalsePositive => "false_positive",
            Self::Benign => "benign",
        }
    }

    /// Reads a stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing more is to be done.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Resolved | Self::FalsePositive | Self::Benign)
    }
}

/// Dispositions as rows of their table.
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn dispositions_batch(dispositions: &[Disposition]) -> Result<RecordBatch> {
    let text = |get: fn(&Disposition) -> Option<&str>| -> ArrayRef {
        Arc::new(dispositions.iter().map(get).collect::<StringArray>())
    };
    let at = dispositions.iter().map(|d| Some(d.at)).collect::<TimestampMicrosecondArray>();
    let columns = vec![
        text(|d| d.finding_uid.as_deref()),
        text(|d| d.group_uid.as_deref()),
        text(|d| Some(d.status.name())),
        text(|d| Some(&d.reason)),
        text(|d| Some(&d.by)),
        Arc::new(at.with_timezone("UTC")) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(Table::Dispositions.schema(), columns)?)
}

impl Lake {
    /// Adds dispositions. Analysts own no table and are never fenced; giving the same ones again adds nothing.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when one names neither a finding nor a group, or as for any commit.
    pub async fn dispose(&mut self, dispositions: &[Disposition]) -> Result<Landed, CommitError> {
        let table = Table::Dispositions;
        if dispositions.iter().any(|d| d.finding_uid.is_none() && d.group_uid.is_none()) {
            let why = "a disposition names neither a finding nor a group".into();
            return Err(CommitError::Conflict { table, why });
        }
        let failed = |source: Error| CommitError::Store { table, source };
        let mut writer = TableWriter::new(table, WriterOptions::default());
        writer.push(&dispositions_batch(dispositions).map_err(failed)?).map_err(failed)?;
        let files = writer.finish().map_err(failed)?;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let intent = Intent { commit_uid: id::uid("palisade.dispose.v1", &paths), owner: None, txns: Vec::new() };
        self.commit_intent(table, &files, &intent).await
    }

    /// All dispositions, oldest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn dispositions(&mut self) -> Result<Vec<Disposition>> {
        let schema = Table::Dispositions.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut all = Vec::new();
        for batch in self.rows(Table::Dispositions, &names).await? {
            let columns = crate::reading::cast_to(&batch, &schema)?;
            let text = |column: usize, row: usize| {
                let column = columns.column(column).as_string::<i32>();
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            for row in 0..columns.num_rows() {
                let status = text(2, row).unwrap_or_default();
                all.push(Disposition {
                    finding_uid: text(0, row),
                    group_uid: text(1, row),
                    status: DispositionStatus::named(&status).ok_or_else(|| Error::Table {
                        table: Table::Dispositions,
                        why: format!("unknown status `{status}`"),
                    })?,
                    reason: text(3, row).unwrap_or_default(),
                    by: text(4, row).unwrap_or_default(),
                    at: columns.column(5).as_primitive::<TimestampMicrosecondType>().value(row),
                });
            }
        }
        all.sort_by(|a, b| (a.at, &a.finding_uid, &a.group_uid).cmp(&(b.at, &b.finding_uid, &b.group_uid)));
        Ok(all)
    }
}
