//! `palisade rules eval`: rules over lines of JSON as they are written, without field maps, formats or exceptions of a
//! pipeline.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use palisade::rules::verify::Replay;
use palisade::rules::{Reading, RuleSet};
use palisade::{Error, Result};

use super::tell;
use crate::cli::must_exist;
use crate::cli::term::say;

/// Bytes of a line that are read: longer ones are left out. Events of sources are bounded far below.
const LINE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Folders, packs and files of rules, separated by commas.
    #[arg(long, required = true, value_delimiter = ',', value_name = "DIR")]
    rules: Vec<PathBuf>,
    /// File with an event a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
}

impl Eval {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        must_exist(&self.rules)?;
        must_exist(std::slice::from_ref(&self.events))?;
        let unusable = |e: palisade::rules::Error| Error::Rules(e.to_string());
        let (rules, problems) = RuleSet::load_as(&self.rules, Reading::AsWritten).map_err(unusable)?;
        tell(&problems, json);
        if rules.rules().is_empty() {
            let shown: Vec<String> = self.rules.iter().map(|path| path.display().to_string()).collect();
            eprintln!("there are no rules in {}, so that nothing will match", shown.join(", "));
        }
        let mut replay = Replay::new(rules.as_of(super::at())).map_err(unusable)?;
        let shown = self.events.display().to_string();
        let read = |why| Error::io(format!("reading {shown}"))(why);
        let mut input: Box<dyn BufRead> = if self.events.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::with_capacity(1 << 20, File::open(&self.events).map_err(read)?))
        };
        let mut refused = 0u64;
        let mut number = 0u64;
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut within = (&mut input).take(LINE_BYTES_MAX);
            if within.read_until(b'\n', &mut line).map_err(read)? == 0 {
                break;
            }
            number += 1;
            let why = if within.limit() == 0 && !line.ends_with(b"\n") {
                input.skip_until(b'\n').map_err(read)?;
                Some(format!("longer than {LINE_BYTES_MAX} bytes"))
            } else {
                replay.push(number, &line)?
            };
            if let Some(why) = why {
                refused += 1;
                if json {
                    eprintln!("{}", serde_json::json!({ "line": number, "why": why }));
                } else {
                    eprintln!("{shown}:{number}: line left out: {why}");
                }
            }
        }
        let events = replay.events();
        for (rule, matches) in replay.finish()? {
            // Written by hand for the order of the keys.
            let rule = serde_json::Value::from(rule);
            let matches = serde_json::Value::from(matches);
            say(&format!("{{\"rule\": {rule}, \"matches\": {matches}}}\n"))?;
        }
        if refused > 0 && events == 0 {
            eprintln!("nothing could be read: events are JSON objects, one a line");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}
