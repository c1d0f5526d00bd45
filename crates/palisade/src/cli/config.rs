//! `palisade config`: files to start from, and a check of what was made of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use palisade::{Config, Error, Plan, Result};

use super::term::say;

#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write palisade.toml, a Kubernetes audit policy, rules for auditd and shipper examples. Overwrites nothing.
    Init {
        /// Folder to write to.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Check a configuration, the rules it loads and its correlations. Contacts nobody.
    Check {
        /// Configuration file.
        #[arg(long, short, env = "PALISADE_CONFIG", default_value = "palisade.toml")]
        config: PathBuf,
    },
}

/// What `init` writes: name and content.
const FILES: &[(&str, &str)] = &[
    ("palisade.toml", palisade::config::TEMPLATE),
    ("audit-policy.yaml", include_str!("../../../../docs/audit-policy.yaml")),
    ("audit.rules", include_str!("../../../../docs/audit.rules")),
    ("shippers/README.md", include_str!("../../../../docs/shippers/README.md")),
    ("shippers/fluent-bit.yaml", include_str!("../../../../docs/shippers/fluent-bit.yaml")),
    ("shippers/vector.yaml", include_str!("../../../../docs/shippers/vector.yaml")),
];

impl ConfigCommand {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        match self.command {
            Action::Init { folder } => init(&folder, json),
            Action::Check { config } => check(&config, json),
        }
    }
}

fn init(folder: &Path, json: bool) -> Result<ExitCode> {
    if let Some((name, _)) = FILES.iter().find(|(name, _)| folder.join(name).exists()) {
        let why = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(Error::Io { what: format!("writing {}", folder.join(name).display()), why });
    }
    for (name, content) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(format!("making {}", parent.display())))?;
        }
        std::fs::write(&path, content).map_err(Error::io(format!("writing {}", path.display())))?;
        if json {
            say(&format!("{}\n", serde_json::json!({ "wrote": path })))?;
        } else {
            say(&format!("wrote {}\n", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(path: &Path, json: bool) -> Result<ExitCode> {
    let config = Config::load(path)?;
    let plan = Plan::new(&config)?;
    if json {
        say(&format!("{}\n", serde_json::json!({ "fingerprint": plan.fingerprint(), "problems": plan.problems })))?;
    } else {
        for problem in &plan.problems {
            say(&format!("{problem}\n"))?;
        }
        say(&format!(
            "{}: {} sources, {} rules; fingerprint {}\n",
            path.display(),
            config.sources.len(),
            plan.stages().rules.rules().len(),
            plan.fingerprint()
        ))?;
    }
    let left_out = plan.problems.iter().any(|problem| problem.fatal);
    Ok(if left_out { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
