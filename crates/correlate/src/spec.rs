//! A correlation as written: TOML with a query, read and checked once.
//!
//! Everything that could make stream and history differ is refused here, with the key and the line that say it.

use palisade_events::finding::{Attack, Severity};
use serde::Deserialize;
use toml::Spanned;

use crate::plan::{self, Plan};
use crate::template::Template;

/// Longest window, in seconds: a day. Longer questions are for hunts over history.
const WINDOW_SECS_MAX: u64 = 86_400;

/// A checked correlation.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Stable id, part of finding ids.
    pub uid: String,
    /// One line.
    pub title: String,
    /// How bad a finding is.
    pub level: Severity,
    /// How sure a finding is, from 0 to 1.
    pub confidence: f64,
    /// Version of the text.
    pub version: String,
    /// Who wrote it.
    pub author: String,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else looks like this.
    pub false_positives: Vec<String>,
    /// What to do first.
    pub triage: Vec<String>,
    /// ATT&CK techniques.
    pub attack: Attack,
    /// What is normal instead.
    pub expected: String,
    window_secs: u64,
    sql: String,
    pub(crate) explanation: Template,
    pub(crate) plan: Plan,
}

/// What is wrong with a correlation's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}`{key}`: {why}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct SpecError {
    /// The key, or `toml` if the text is no TOML.
    pub key: String,
    /// Line of the key's value, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    uid: Spanned<String>,
    title: String,
    level: Spanned<String>,
    #[serde(default = "usual_confidence")]
    confidence: Spanned<f64>,
    version: String,
    author: String,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    false_positives: Vec<String>,
    #[serde(default)]
    triage: Vec<String>,
    #[serde(default)]
    attack: Option<Spanned<Attack>>,
    #[serde(default)]
    expected: Option<String>,
    window_secs: Spanned<u64>,
    #[serde(default)]
    step: Option<Spanned<String>>,
    sql: Spanned<String>,
    explanation: Spanned<String>,
}

fn usual_confidence() -> Spanned<f64> {
    Spanned::new(0..0, 0.8)
}

impl Spec {
    /// Reads a correlation.
    ///
    /// ```
    /// let spec = palisade_correlate::Spec::parse(r#"
    ///     uid = "many-failures"
    ///     title = "Many failed requests"
    ///     level = "low"
    ///     version = "1"
    ///     author = "me"
    ///     window_secs = 60
    ///     explanation = "{entity_name} failed {count} times."
    ///     sql = """
    ///         SELECT 'user' AS entity_kind, actor_user_name AS entity_name, cluster_name, count(*) AS count,
    ///                array_agg(event_uid ORDER BY time, event_uid) AS evidence
    ///         FROM events WHERE status_id = 2
    ///         GROUP BY actor_user_name, cluster_name HAVING count(*) >= 5
    ///     """
    /// "#).unwrap();
    /// assert_eq!(spec.uid, "many-failures");
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong, with its key and line.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let line_of = |at: usize| 1 + text.get(..at).unwrap_or_default().matches('\n').count();
        let wrong = |key: &str, at: std::ops::Range<usize>, why: String| SpecError {
            key: key.into(),
            line: (at.end > 0).then(|| line_of(at.start)),
            why,
        };
        let raw: Raw = toml::from_str(text).map_err(|e| SpecError {
            key: "toml".into(),
            line: e.span().map(|span| line_of(span.start)),
            why: e.message().into(),
        })?;
        if raw.uid.get_ref().trim().is_empty() {
            return Err(wrong("uid", raw.uid.span(), "is empty".into()));
        }
        let level = Severity::named(raw.level.get_ref()).ok_or_else(|| {
            let why = format!("`{}` is none of informational, low, medium, high, critical", raw.level.get_ref());
            wrong("level", raw.level.span(), why)
        })?;
        if !(0.0..=1.0).contains(raw.confidence.get_ref()) {
            return Err(wrong("confidence", raw.confidence.span(), "is not between 0 and 1".into()));
        }
        let window_secs = *raw.window_secs.get_ref();
        if !(1..=WINDOW_SECS_MAX).contains(&window_secs) {
            return Err(wrong("window_secs", raw.window_secs.span(), format!("is not from 1 to {WINDOW_SECS_MAX}")));
        }
        if let Some(step) = raw.step.filter(|step| step.get_ref() != "pane") {
            return Err(wrong("step", step.span(), "only `pane` is known: the query runs as panes close".into()));
        }
        if let Some(attack) = &raw.attack
            && let Some(technique) = attack.get_ref().techniques.iter().find(|technique| !is_technique(technique))
        {
            let why = format!("`{technique}` is no ATT&CK technique, such as T1611 or T1552.007");
            return Err(wrong("attack.techniques", attack.span(), why));
        }
        let plan = plan::compile(raw.sql.get_ref()).map_err(|why| wrong("sql", raw.sql.span(), why))?;
        if !plan.result_columns().iter().any(|column| column == "evidence") {
            let why = "the result has no column `evidence`: which events prove it?".into();
            return Err(wrong("sql", raw.sql.span(), why));
        }
        let explanation = Template::parse(raw.explanation.get_ref(), &plan.result_columns())
            .map_err(|why| wrong("explanation", raw.explanation.span(), why))?;
        Ok(Self {
            uid: raw.uid.into_inner(),
            title: raw.title,
            level,
            confidence: raw.confidence.into_inner(),
            version: raw.version,
            author: raw.author,
            references: raw.references,
            false_positives: raw.false_positives,
            triage: raw.triage,
            attack: raw.attack.map(Spanned::into_inner).unwrap_or_default(),
            expected: raw.expected.unwrap_or_else(|| format!("no such events together within {window_secs} s")),
            window_secs,
            sql: raw.sql.into_inner(),
            explanation,
            plan,
        })
    }

    /// Length of the window, in seconds. At the close of a pane it holds the events with
    /// `pane_end - window <= time < pane_end`.
    pub fn window_secs(&self) -> u64 {
        self.window_secs
    }

    /// The query, which runs as it is over any table `events` with the columns of the event schema.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Names of the event columns that are kept for the query.
    pub fn kept_columns(&self) -> Vec<&'static str> {
        self.plan.kept_columns()
    }

    /// Which rows are kept for the query, as an expression; `true` keeps all.
    pub fn kept_rows(&self) -> String {
        self.plan.keep.as_ref().map_or_else(|| "true".into(), ToString::to_string)
    }
}

fn is_technique(id: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = id.strip_prefix('T') else { return false };
    match number.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(number, 4),
    }
}
