//! `palisade run`: the deployed detector.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use palisade::metrics::Metrics;
use palisade::run::http::HttpServer;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Plan, Result};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file. With --json and no sink in it, findings go to standard output.
    #[arg(long, short, env = "PALISADE_CONFIG", default_value = "palisade.toml")]
    config: PathBuf,
    /// End when everything that is there has been read, instead of waiting for more.
    #[arg(long)]
    until_caught_up: bool,
}

impl Run {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        let config = Config::load(&self.config)?;
        let plan = Plan::new(&config)?;
        for problem in &plan.problems {
            tracing::warn!("{problem}");
        }
        let metrics = Arc::new(Metrics::new());
        let server = match &config.http.listen {
            Some(address) => Some(HttpServer::start(address, Arc::clone(&metrics))?),
            None => None,
        };
        if let Some(server) = &server {
            tracing::info!(address = server.address(), "metrics and health");
        }
        let mut sinks = palisade::sink::sinks(&config.sinks)?;
        // Who configured a sink has said where findings go; --json is then about logs.
        if json && sinks.is_empty() {
            sinks.push(Box::new(palisade::sink::Lines::new("stdout", std::io::stdout())));
        }
        let until = if self.until_caught_up { Until::CaughtUp } else { Until::Stopped };
        let options = RunOptions { stop: super::stop_on_signals()?, until, metrics, sinks };
        let summary = palisade::run::run(&config, &plan, options)?;
        if json {
            super::summarise(&summary);
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!(
            "{} records read, {} events, {} rejected, {} findings; last cut {} in {}",
            summary.records, summary.events, summary.rejected, summary.findings, summary.cut, config.lake.url
        );
        Ok(ExitCode::SUCCESS)
    }
}
