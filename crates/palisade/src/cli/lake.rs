//! `palisade lake`: what is in a lake, and whether it is whole.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use palisade::Result;
use palisade::events::time::format_rfc3339;
use palisade::lake::{LakeOptions, MaintenanceOptions};

use super::LakeArgs;
use super::term::say;

#[derive(Debug, Args)]
pub(crate) struct Lake {
    #[command(subcommand)]
    command: LakeCommand,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    /// Rows, files, bytes, time range and offsets of each table.
    Status,
    /// Look for duplicates, missing files and gaps. Exits with 1 if anything is missing or there twice.
    Verify,
    /// Merge small files, and optionally delete files that nothing names any more. A detector may go on writing.
    Maintain {
        /// Files are merged, within their partition, up to about this size.
        #[arg(long, default_value_t = 128)]
        merge_mib: u64,
        /// Delete files that no version of the last so many hours names.
        #[arg(long)]
        vacuum_hours: Option<u32>,
    },
}

impl Lake {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        match self.command {
            LakeCommand::Status => status(&self.lake.lake, json),
            LakeCommand::Verify => verify(&self.lake.lake, json),
            LakeCommand::Maintain { merge_mib, vacuum_hours } => {
                let options = MaintenanceOptions {
                    merge_bytes: Some(merge_mib << 20),
                    vacuum_hours,
                    ..MaintenanceOptions::default()
                };
                maintain(&self.lake.lake, options, json)
            }
        }
    }
}

fn status(url: &str, json: bool) -> Result<ExitCode> {
    let tables = super::block_on(palisade::lake::status(url, LakeOptions::default()))??;
    if !json {
        say(&format!("{:<13} {:>12} {:>7} {:>14} {:>8}  time\n", "table", "rows", "files", "bytes", "version"))?;
    }
    for table in tables {
        if json {
            say(&format!("{}\n", serde_json::to_string(&table).unwrap_or_default()))?;
            continue;
        }
        let range = table
            .times
            .map_or_else(String::new, |(min, max)| format!("{} .. {}", format_rfc3339(min), format_rfc3339(max)));
        say(&format!(
            "{:<13} {:>12} {:>7} {:>14} {:>8}  {range}\n",
            table.table.name(),
            table.rows,
            table.files,
            table.bytes,
            table.version
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn maintain(url: &str, options: MaintenanceOptions, json: bool) -> Result<ExitCode> {
    let report = super::block_on(async {
        let mut lake = palisade::lake::Lake::open_existing(url).await?;
        lake.maintain(options).await
    })??;
    if json {
        say(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default()))?;
    } else {
        say(&format!(
            "{} files merged into {}, {} deleted; {} checkpoints written\n",
            report.files_merged, report.files_written, report.files_deleted, report.checkpoints
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(url: &str, json: bool) -> Result<ExitCode> {
    let problems = super::block_on(palisade::lake::verify(url, LakeOptions::default()))??;
    for problem in &problems {
        if json {
            say(&format!("{}\n", serde_json::to_string(problem).unwrap_or_default()))?;
        } else {
            let table = problem.table.map_or_else(String::new, |table| format!("{}: ", table.name()));
            say(&format!("{table}{}\n", problem.what))?;
        }
    }
    if problems.iter().any(|problem| problem.kind.is_fatal()) {
        return Ok(ExitCode::FAILURE);
    }
    if !json {
        say("nothing is missing, nothing is there twice\n")?;
    }
    Ok(ExitCode::SUCCESS)
}
