//! Tending the tables: checkpoints of the log, log clean-up, merging small files, deleting those that nothing names.
//!
//! None of it is part of a commit, and none of it changes a row. Every step may be interrupted and repeated, and may run
//! beside a writer: merging conflicts with nothing that only appends.

use std::num::NonZeroU64;

use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;

use crate::encode::writer_properties;
use crate::{Lake, Result, Table, WriterOptions};

/// What maintenance may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// A log that has grown by so many commits gets a checkpoint, and what is older than its retention is deleted.
    pub checkpoint_every: u64,
    /// Files smaller than this are merged, within their partition, into files of about this size. `None` merges nothing.
    pub merge_bytes: Option<u64>,
    /// Files that no table version of the last so many hours names are deleted. `None` deletes nothing. Must be longer
    /// than any commit or query takes.
    pub vacuum_hours: Option<u32>,
    /// How merged files are written.
    pub writer: WriterOptions,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self { checkpoint_every: 100, merge_bytes: None, vacuum_hours: None, writer: WriterOptions::default() }
    }
}

/// What maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MaintenanceReport {
    /// Tables whose log got a checkpoint.
    pub checkpoints: u32,
    /// Log files deleted.
    pub log_files_deleted: usize,
    /// Files merged away.
    pub files_merged: u64,
    /// Files that took their place.
    pub files_written: u64,
    /// Files deleted because nothing names them.
    pub files_deleted: usize,
}

impl Lake {
    /// Tends all tables.
    ///
    /// # Errors
    /// When the store fails, or another process merges the same files at the same time. What was done stays done.
    pub async fn maintain(&mut self, options: MaintenanceOptions) -> Result<MaintenanceReport> {
        let mut report = MaintenanceReport::default();
        for table in Table::ALL {
            if let Some(bytes) = options.merge_bytes.and_then(NonZeroU64::new) {
                self.merge(table, bytes, &options.writer, &mut report).await?;
            }
            if let Some(hours) = options.vacuum_hours {
                self.vacuum(table, hours, &mut report).await?;
            }
            self.checkpoint(table, options.checkpoint_every, &mut report).await?;
        }
        self.refresh().await?;
        Ok(report)
    }

    async fn merge(
        &mut self,
        table: Table,
        bytes: NonZeroU64,
        writer: &WriterOptions,
        report: &mut MaintenanceReport,
    ) -> Result<()> {
        let delta = self.delta(table).await?.clone();
        let (_, metrics) = delta
            .optimize()
            .with_type(OptimizeType::Compact)
            .with_target_size(bytes)
            // Without our own properties the merged files would lose their bloom filters.
            .with_writer_properties(writer_properties(table, writer)?)
            .with_max_concurrent_tasks(1)
            .with_commit_properties(quiet())
            .await?;
        report.files_merged += metrics.num_files_removed;
        report.files_written += metrics.num_files_added;
        Ok(())
    }

    async fn vacuum(&mut self, table: Table, hours: u32, report: &mut MaintenanceReport) -> Result<()> {
        let delta = self.delta(table).await?.clone();
        // Full mode also finds files of commits that never landed. The state of jobs lies outside of the tables.
        let (_, metrics) = delta
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(chrono::Duration::hours(hours.into()))
            .with_enforce_retention_duration(false)
            .with_commit_properties(quiet())
            .await?;
        report.files_deleted += metrics.files_deleted.len();
        Ok(())
    }

    async fn checkpoint(&mut self, table: Table, every: u64, report: &mut MaintenanceReport) -> Result<()> {
        let since = self.known(table).head.checkpoint;
        let delta = self.delta(table).await?.clone();
        let Some(version) = delta.version() else { return Ok(()) };
        if version.saturating_sub(since.unwrap_or(0)) < every.max(1) {
            return Ok(());
        }
        create_checkpoint(&delta, None).await?;
        report.checkpoints += 1;
        report.log_files_deleted += cleanup_metadata(&delta, None).await?;
        self.known_mut(table).head.checkpoint = Some(version);
        Ok(())
    }
}

/// Checkpoints and log clean-up are their own step.
fn quiet() -> CommitProperties {
    CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false))
}
