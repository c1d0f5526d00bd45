//! `palisade rules coverage`: a layer for the ATT&CK Navigator of what rules claim. What they find, a drill measures.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use palisade::rules::verify::navigator_layer;
use palisade::rules::{Reading, RuleSet};
use palisade::{Error, Result};

use super::{bundles, tell};
use crate::cli::term::say;

#[derive(Debug, Args)]
pub(crate) struct Coverage {
    /// Packs, folders and files of rules; the pack that is built in if absent.
    paths: Vec<PathBuf>,
    /// Write the layer to this file; to standard output if absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Coverage {
    pub(super) fn carry_out(self) -> Result<ExitCode> {
        let mut all = RuleSet::default();
        let mut names = Vec::new();
        for bundle in bundles(&self.paths)? {
            let (rules, problems) = bundle.load(Reading::Taxonomy).map_err(|e| Error::Rules(e.to_string()))?;
            tell(&problems, false);
            names.push(bundle.name.clone());
            all = all.merge(rules);
        }
        if all.rules().is_empty() {
            return Err(Error::Usage(format!("there are no rules in {}", names.join(", "))));
        }
        let layer = navigator_layer(&names.join(", "), all.rules());
        let text = serde_json::to_string_pretty(&layer).map_err(|e| Error::State(e.to_string()))? + "\n";
        match &self.out {
            None => say(&text)?,
            Some(path) => std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
