//! Rules that change while a run goes on: their files are watched, read and compiled beside the loop, and taken over at a
//! barrier. What does not load changes nothing.
//!
//! Correlations, mappings and all other settings are read once, at the start: they hold state, or decide what an event is.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::Run;
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Entries of rule folders that a look counts at most: a folder given by mistake must not keep a disk busy.
const ENTRIES_MAX: usize = 100_000;

/// A thread that watches the files of rules.
pub(super) struct Reload {
    /// Dropped to end the thread.
    end: Option<SyncSender<()>>,
    fresh: Arc<Mutex<Option<Fresh>>>,
    thread: Option<JoinHandle<()>>,
}

/// What a change of the files came to.
enum Fresh {
    Plan(Box<Plan>),
    Broken(String),
}

/// What a file looks like from outside.
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl Reload {
    /// Starts to watch; `None` if there is nothing to watch.
    pub(super) fn start(config: &Config, plan: &Plan) -> Result<Option<Self>> {
        let every = clock::secs(config.rules.reload_secs);
        if config.rules.paths.is_empty() || every.is_zero() {
            return Ok(None);
        }
        let (end, ended) = sync_channel(1);
        let fresh = Arc::new(Mutex::new(None));
        let watch = Watch { config: config.clone(), plan: plan.clone(), every, fresh: Arc::clone(&fresh) };
        let thread = std::thread::Builder::new().name("rules".into()).spawn(move || watch.go(&ended));
        let thread = thread.map_err(Error::io("starting the thread that watches rules"))?;
        Ok(Some(Self { end: Some(end), fresh, thread: Some(thread) }))
    }

    /// Whether a change waits to be taken over.
    pub(super) fn is_waiting(&self) -> bool {
        self.fresh.lock().is_ok_and(|fresh| fresh.is_some())
    }

    fn take(&self) -> Option<Fresh> {
        self.fresh.lock().ok()?.take()
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    config: Config,
    plan: Plan,
    every: Duration,
    fresh: Arc<Mutex<Option<Fresh>>>,
}

impl Watch {
    fn go(mut self, ended: &Receiver<()>) {
        // What changed between reading and watching is a change too: the first look loads, and mostly finds the same.
        let mut known = Stamp::new();
        let mut seen = Stamp::new();
        while ended.recv_timeout(self.every) == Err(RecvTimeoutError::Timeout) {
            let now = stamp(&self.config.rules.paths);
            // Twice the same: nobody is writing just now.
            let is_settled = now == seen;
            seen = now;
            if is_settled && seen != known {
                known.clone_from(&seen);
                self.load();
            }
        }
    }

    fn load(&mut self) {
        let fresh = match self.plan.with_rules_anew(&self.config) {
            Err(error) => Fresh::Broken(error.to_string()),
            Ok(plan) => {
                let is_news =
                    |problem: &&palisade_rules::Problem| problem.fatal && !self.plan.problems.contains(problem);
                match plan.problems.iter().find(is_news) {
                    Some(problem) => Fresh::Broken(problem.to_string()),
                    None => {
                        self.plan = plan.clone();
                        Fresh::Plan(Box::new(plan))
                    }
                }
            }
        };
        if let Ok(mut place) = self.fresh.lock() {
            // A change that loaded and waits to be taken over is not undone by one that does not load.
            match (&*place, &fresh) {
                (Some(Fresh::Plan(_)), Fresh::Broken(why)) => {
                    tracing::error!("rules have changed and do not load: {why}")
                }
                _ => *place = Some(fresh),
            }
        }
    }
}

/// Every file below the paths, in order, with its length and the time of its last change.
fn stamp(paths: &[PathBuf]) -> Stamp {
    let mut files = Vec::new();
    paths.iter().for_each(|path| gather(path, &mut files));
    files
}

fn gather(path: &Path, files: &mut Stamp) {
    if files.len() >= ENTRIES_MAX {
        return;
    }
    // Follows links, as loading does: a mounted ConfigMap is a link that is swapped.
    let Ok(meta) = std::fs::metadata(path) else { return };
    if !meta.is_dir() {
        files.push((path.to_owned(), meta.len(), meta.modified().ok()));
        return;
    }
    let entries = palisade_rules::entries(path).unwrap_or_default();
    entries.iter().for_each(|entry| gather(entry, files));
}

impl Run<'_> {
    /// Takes over rules that have changed. All lanes are at home.
    pub(super) fn take_rules(&mut self) -> Result<()> {
        match self.reload.as_ref().and_then(Reload::take) {
            None => {}
            Some(Fresh::Broken(why)) => {
                tracing::error!("rules have changed and do not load, so the old ones stay: {why}");
                self.metrics.rule_reloads("refused");
                self.metrics.degrade("rules", format!("changed rules do not load, the old ones stay: {why}"));
            }
            Some(Fresh::Plan(plan)) => {
                self.metrics.recover("rules");
                if plan.fingerprint() == self.plan.fingerprint() {
                    return Ok(());
                }
                self.engine.take_rules(plan.stages(), |lane| plan.decoder(lane))?;
                tracing::info!(rules = plan.stages().rules.rules().len(), "rules have changed");
                self.metrics.rule_reloads("taken");
                self.plan = std::borrow::Cow::Owned(*plan);
            }
        }
        Ok(())
    }
}
