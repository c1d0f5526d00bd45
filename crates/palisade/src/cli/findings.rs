//! `palisade findings`: what was found, and what analysts decided about it.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use palisade::hunt::{Hunt, Layout};
use palisade::lake::{Disposition, DispositionStatus, LakeOptions};
use palisade::{Error, Result};

use super::term::{printable, say};
use super::{LakeArgs, Level};

#[derive(Debug, Args)]
pub(crate) struct Findings {
    #[command(subcommand)]
    command: Action,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line per group of findings, newest first.
    List {
        /// From this level on.
        #[arg(long, value_enum, default_value_t = Level::Low)]
        level: Level,
        /// Also those that were closed or suppressed.
        #[arg(long)]
        all: bool,
        /// At most so many groups.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Everything about one finding, or about the newest of a group.
    Show {
        /// Finding or group id, or the beginning of just one.
        id: String,
    },
    /// Record a decision about a finding or a whole group. Earlier decisions are kept.
    Close {
        /// Finding or group id, or the beginning of just one.
        id: String,
        /// What it was.
        #[arg(long, value_enum, default_value_t = Verdict::Resolved)]
        status: Verdict,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Who says so.
        #[arg(long, env = "USER", default_value = "unknown")]
        by: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    Open,
    Acknowledged,
    Confirmed,
    Resolved,
    FalsePositive,
    Benign,
}

impl Verdict {
    fn status(self) -> DispositionStatus {
        match self {
            Self::Open => DispositionStatus::Open,
            Self::Acknowledged => DispositionStatus::Acknowledged,
            Self::Confirmed => DispositionStatus::Confirmed,
            Self::Resolved => DispositionStatus::Resolved,
            Self::FalsePositive => DispositionStatus::FalsePositive,
            Self::Benign => DispositionStatus::Benign,
        }
    }
}

impl Findings {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        let url = self.lake.lake;
        match self.command {
            Action::List { level, all, limit } => list(&url, level, all, limit, json),
            Action::Show { id } => show(&url, &id, json),
            Action::Close { id, status, reason, by } => close(&url, &id, status.status(), reason, by, json),
        }
    }
}

fn list(url: &str, level: Level, all: bool, limit: usize, json: bool) -> Result<ExitCode> {
    let table = if all { "findings_judged" } else { "findings_open" };
    let query = format!(
        "SELECT group_uid, max(severity_id) AS severity_id, \
         string_agg(DISTINCT coalesce(disposition_status, 'open'), ', ' ORDER BY coalesce(disposition_status, 'open')) \
         AS status, min(title) AS title, min(entity) AS entity, \
         sum(count) AS events, count(*) AS findings, min(first_seen) AS first_seen, max(last_seen) AS last_seen, \
         min(owner) AS owner FROM {table} WHERE severity_id >= {} GROUP BY group_uid \
         ORDER BY last_seen DESC, group_uid LIMIT {limit}",
        level.severity().id()
    );
    let layout = if json { Layout::Ndjson } else { Layout::Table };
    let text = ask(url, &query, layout)?;
    say(&format!("{}\n", printable(text.trim_end())))?;
    Ok(ExitCode::SUCCESS)
}

fn show(url: &str, id: &str, json: bool) -> Result<ExitCode> {
    let (column, uid) = match meant(url, id)? {
        Meant::Finding(uid) => ("finding_uid", uid),
        Meant::Group(uid) => ("group_uid", uid),
    };
    let query = format!("SELECT * FROM findings WHERE {column} = '{uid}' ORDER BY time DESC, finding_uid LIMIT 1");
    let text = ask(url, &query, Layout::Ndjson)?;
    if json {
        say(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row: serde_json::Value = serde_json::from_str(text.trim()).map_err(|e| Error::State(e.to_string()))?;
    for (key, value) in row.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) if text.is_empty() => {}
            serde_json::Value::String(text) => say(&format!("{key:<20} {}\n", printable(text)))?,
            serde_json::Value::Array(items) if items.is_empty() => {}
            serde_json::Value::Array(items) => {
                let items: Vec<String> =
                    items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), Into::into)).collect();
                say(&format!("{key:<20} {}\n", printable(&items.join("\n                     "))))?;
            }
            other => say(&format!("{key:<20} {other}\n"))?,
        }
    }
    let decided = format!(
        "SELECT d.at, d.status, d.\"by\", d.reason FROM dispositions d JOIN findings f \
         ON d.finding_uid = f.finding_uid OR d.group_uid = f.group_uid \
         WHERE f.{column} = '{uid}' GROUP BY 1, 2, 3, 4 ORDER BY 1"
    );
    say(&format!("\ndecisions\n{}\n", ask(url, &decided, Layout::Table)?.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

fn close(url: &str, id: &str, status: DispositionStatus, reason: String, by: String, json: bool) -> Result<ExitCode> {
    if reason.trim().is_empty() {
        return Err(Error::Usage("--reason is empty: whoever reads the decision later wants to know why".into()));
    }
    let (finding_uid, group_uid) = match meant(url, id)? {
        Meant::Finding(uid) => (Some(uid), None),
        Meant::Group(uid) => (None, Some(uid)),
    };
    let what = finding_uid.clone().or_else(|| group_uid.clone()).unwrap_or_default();
    let at = i64::try_from(now_us()).unwrap_or(i64::MAX);
    let disposition = Disposition { finding_uid, group_uid, status, reason, by, at };
    super::block_on(async {
        let mut lake = palisade::lake::Lake::open_existing_with(url, LakeOptions::default()).await?;
        lake.dispose(&[disposition]).await.map_err(|e| Error::State(e.to_string()))?;
        Ok::<_, Error>(())
    })??;
    if json {
        say(&format!("{}\n", serde_json::json!({ "uid": what, "status": status.name() })))?;
    } else {
        say(&format!("{what} is {}\n", status.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What an id, or the beginning of one, stands for.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Finding(String),
    Group(String),
}

fn meant(url: &str, id: &str) -> Result<Meant> {
    let id = checked(id)?;
    let find = |column: &str| -> Result<Vec<String>> {
        let query = format!("SELECT DISTINCT {column} FROM findings WHERE {column} LIKE '{id}%' LIMIT 2");
        Ok(ask(url, &query, Layout::Csv)?.lines().skip(1).map(str::to_owned).collect())
    };
    the_one(id, &find("finding_uid")?, &find("group_uid")?)
}

/// The only finding or the only group that begins so. A decision about another one than was meant would hide it, and a
/// look at another one would mislead.
fn the_one(id: &str, findings: &[String], groups: &[String]) -> Result<Meant> {
    match (findings, groups) {
        ([one], []) => Ok(Meant::Finding(one.clone())),
        ([], [one]) => Ok(Meant::Group(one.clone())),
        ([], []) => Err(Error::Usage(format!("no finding or group begins with {id}"))),
        _ => Err(Error::Usage(format!("{id} is the beginning of several ids: give more of it"))),
    }
}

fn ask(url: &str, query: &str, layout: Layout) -> Result<String> {
    super::block_on(async {
        let hunt = Hunt::open(url).await?;
        let batches = hunt.sql(query).await?;
        Ok::<_, Error>(palisade::hunt::layout(&batches, layout)?)
    })?
}

/// Ids are hex digits: anything else would be an error at best.
fn checked(id: &str) -> Result<&str> {
    if id.len() >= 4 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(Error::Usage(format!("`{id}` is no id: at least four hex digits")))
}

#[allow(clippy::disallowed_methods)] // an analyst decides at a time on the wall clock
fn now_us() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_stands_for_one_id_or_none() {
        let ids = |all: &[&str]| all.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let the_one = |findings: &[&str], groups: &[&str]| the_one("abcd", &ids(findings), &ids(groups)).ok();
        assert_eq!(the_one(&["abcd1"], &[]), Some(Meant::Finding("abcd1".into())));
        assert_eq!(the_one(&[], &["abcd2"]), Some(Meant::Group("abcd2".into())));
        let unclear: [(&[&str], &[&str]); 4] =
            [(&["abcd1", "abcd2"], &[]), (&[], &["abcd1", "abcd2"]), (&["abcd1"], &["abcd2"]), (&[], &[])];
        for (findings, groups) in unclear {
            assert_eq!(the_one(findings, groups), None, "{findings:?} {groups:?}");
        }
    }
}
