//! `palisade drill`: a simulated cluster with labelled attacks, as files, on standard output or on Kafka; and the score of
//! a pipeline over it.
//!
//! Not here: what the cluster does and how findings are judged, which is the drill crate's.

mod arguments;
mod pipeline;
mod play;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use palisade::{Error, Result};
use palisade_drill::score::{Report, navigator_layer};
use palisade_drill::{Scenario, scenarios};

use self::arguments::Shape;
use self::pipeline::Judged;
use super::Level;

#[derive(Debug, Args)]
pub(crate) struct DrillCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a drill into a folder: a file for each stream, the truth, and what was lost.
    Write {
        /// Folder, made if it is not there.
        folder: PathBuf,
        /// Compress the streams.
        #[arg(long)]
        gzip: bool,
        /// Records a second; as fast as it can if absent.
        #[arg(long)]
        speed: Option<f64>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Write a drill's records to standard output, one a line, or to Kafka topics with the truth in a header.
    Stream {
        /// Kafka's bootstrap servers; standard output if absent. Topics are named as the streams.
        #[arg(long)]
        brokers: Option<String>,
        /// What topics begin with.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Further client properties, as security.protocol=ssl.
        #[arg(long = "property", value_parser = property)]
        properties: Vec<(String, String)>,
        /// Records a second; as fast as it can if absent.
        #[arg(long)]
        speed: Option<f64>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Run a pipeline over a drill and say what it detected, after how long, and what it should not have found.
    Score {
        /// A folder that `drill write` made; a new drill if absent.
        folder: Option<PathBuf>,
        /// Configuration of the pipeline; its sources, sinks, job and lake are left aside.
        #[arg(long, short)]
        config: Option<PathBuf>,
        /// Leave findings below this level out.
        #[arg(long, value_enum, default_value = "low")]
        level: Level,
        /// Keep the lake here, which must be empty or new.
        #[arg(long)]
        lake: Option<PathBuf>,
        /// Write the report here, as JSON.
        #[arg(long)]
        report: Option<PathBuf>,
        /// Write a layer for the ATT&CK Navigator here.
        #[arg(long)]
        layer: Option<PathBuf>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Say what is different between two reports of `drill score --report`.
    Diff {
        /// The earlier one.
        before: PathBuf,
        /// The later one.
        after: PathBuf,
    },
    /// List the scenarios that ship, or tell one's story.
    Scenarios {
        /// The scenario's id.
        id: Option<String>,
    },
}

impl DrillCommand {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        match self.what {
            What::Write { folder, gzip, speed, shape } => play::write(&folder, gzip, speed, &shape, json),
            What::Stream { brokers: None, speed, shape, .. } => play::print(speed, &shape),
            What::Stream { brokers: Some(brokers), prefix, properties, speed, shape } => {
                play::produce(&brokers, &prefix, &properties, speed, &shape, json)
            }
            What::Score { folder, config, level, lake, report, layer, shape } => {
                let judged =
                    pipeline::score(folder.as_deref(), config.as_deref(), lake, level.severity(), &shape, json)?;
                tell(&judged, report.as_deref(), layer.as_deref(), json)
            }
            What::Diff { before, after } => {
                anstream::print!("{}", read(&before)?.diff(&read(&after)?));
                Ok(ExitCode::SUCCESS)
            }
            What::Scenarios { id } => list(id.as_deref(), json),
        }
    }
}

fn tell(judged: &Judged, report: Option<&Path>, layer: Option<&Path>, json: bool) -> Result<ExitCode> {
    let as_json = serde_json::to_value(&judged.report).map_err(|e| Error::State(e.to_string()))?;
    if let Some(path) = report {
        save(path, &as_json)?;
    }
    if let Some(path) = layer {
        save(path, &navigator_layer(&judged.report, &judged.attack_version))?;
    }
    if json {
        anstream::println!("{as_json}");
    } else {
        anstream::print!("{}", judged.report.to_text());
    }
    Ok(ExitCode::SUCCESS)
}

fn save(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::State(e.to_string()))?;
    std::fs::write(path, text + "\n").map_err(Error::io(format!("writing {}", path.display())))
}

fn read(path: &Path) -> Result<Report> {
    let file = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    serde_json::from_reader(BufReader::new(file))
        .map_err(|e| Error::Usage(format!("{} is no report of `drill score`: {e}", path.display())))
}

fn list(id: Option<&str>, json: bool) -> Result<ExitCode> {
    let all = scenarios().map_err(|e| Error::State(e.to_string()))?;
    if let Some(id) = id {
        let Some(scenario) = all.iter().find(|scenario| scenario.id == id) else {
            return Err(Error::Usage(format!("there is no scenario {id}; `palisade drill scenarios` lists them")));
        };
        anstream::println!("{}: {}\n\n{}\n", scenario.id, scenario.title, scenario.story.trim());
        for (role, steps) in [("step", &scenario.steps), ("twin", &scenario.twins)] {
            for step in steps {
                let at = step.at as f64 / 1e6;
                anstream::println!(
                    "  {role} {:<32} {:<10} from {at:.1} s, {} times",
                    step.id,
                    step.technique,
                    step.repeat
                );
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    for scenario in &all {
        if json {
            anstream::println!(
                "{}",
                serde_json::json!({
                    "id": scenario.id,
                    "title": scenario.title,
                    "attack_version": scenario.attack_version,
                    "variants": scenario.variants.iter().map(|variant| variant.name()).collect::<Vec<_>>(),
                    "techniques": techniques(scenario),
                })
            );
        } else {
            anstream::println!(
                "{:<40} {}\n{:<40} {}",
                scenario.id,
                scenario.title,
                "",
                techniques(scenario).join(", ")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn techniques(scenario: &Scenario) -> Vec<&str> {
    let mut techniques: Vec<&str> = scenario.steps.iter().map(|step| step.technique.as_str()).collect();
    techniques.sort_unstable();
    techniques.dedup();
    techniques
}

fn property(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write it as name=value")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}
