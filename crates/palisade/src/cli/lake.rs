//! `palisade lake`: what is in a lake, and whether it is whole.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use palisade::Result;
use palisade::events::time::format_rfc3339;
use palisade::lake::LakeOptions;

use super::LakeArgs;

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
    /// Look for duplicates, missing files and gaps. Exits with 1 if there is anything wrong.
    Verify,
}

impl Lake {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        match self.command {
            LakeCommand::Status => status(&self.lake.lake, json),
            LakeCommand::Verify => verify(&self.lake.lake, json),
        }
    }
}

fn status(url: &str, json: bool) -> Result<ExitCode> {
    let tables = super::block_on(palisade::lake::status(url, LakeOptions::default()))??;
    if !json {
        println!("{:<13} {:>12} {:>7} {:>14} {:>8}  time", "table", "rows", "files", "bytes", "version");
    }
    for table in tables {
        if json {
            println!("{}", serde_json::to_string(&table).unwrap_or_default());
            continue;
        }
        let range = table
            .times
            .map_or_else(String::new, |(min, max)| format!("{} .. {}", format_rfc3339(min), format_rfc3339(max)));
        println!(
            "{:<13} {:>12} {:>7} {:>14} {:>8}  {range}",
            table.table.name(),
            table.rows,
            table.files,
            table.bytes,
            table.version
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(url: &str, json: bool) -> Result<ExitCode> {
    let problems = super::block_on(palisade::lake::verify(url, LakeOptions::default()))??;
    for problem in &problems {
        if json {
            println!("{}", serde_json::to_string(problem).unwrap_or_default());
        } else {
            let table = problem.table.map_or_else(String::new, |table| format!("{}: ", table.name()));
            println!("{table}{}", problem.what);
        }
    }
    if problems.is_empty() {
        if !json {
            println!("nothing is missing, nothing is there twice");
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
