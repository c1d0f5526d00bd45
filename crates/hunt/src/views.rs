//! The views that every hunt has, as SQL.

use palisade_events::schema::COLUMNS;
use palisade_lake::DispositionStatus;

/// `CREATE VIEW` statements, each after those that it uses.
pub(crate) fn all() -> Vec<String> {
    vec![events_ecs(), dispositions_newest("finding_uid"), dispositions_newest("group_uid"), findings_open(), findings_grouped()]
}

/// Events under the names of the Elastic Common Schema, and `event_uid` to join by.
fn events_ecs() -> String {
    let named = COLUMNS.iter().filter(|c| !c.ecs.is_empty());
    let columns: Vec<String> = named.map(|c| format!("\"{}\" AS \"{}\"", c.name, c.ecs)).collect();
    format!("CREATE VIEW events_ecs AS SELECT event_uid, date, {} FROM events", columns.join(", "))
}

/// What was decided last about each finding, or about each group.
fn dispositions_newest(key: &str) -> String {
    format!(
        "CREATE VIEW dispositions_by_{key} AS SELECT {key}, last_value(status ORDER BY at) AS status \
         FROM dispositions WHERE {key} IS NOT NULL GROUP BY {key}"
    )
}

/// Findings that no analyst has closed.
fn findings_open() -> String {
    let closed: Vec<String> = DispositionStatus::ALL
        .into_iter()
        .filter(|status| status.is_closed())
        .map(|status| format!("'{}'", status.name()))
        .collect();
    let closed = closed.join(", ");
    format!(
        "CREATE VIEW findings_open AS SELECT f.* FROM findings f \
         LEFT JOIN dispositions_by_finding_uid AS by_finding ON by_finding.finding_uid = f.finding_uid \
         LEFT JOIN dispositions_by_group_uid AS by_group ON by_group.group_uid = f.group_uid \
         WHERE NOT coalesce(by_finding.status IN ({closed}), false) AND NOT coalesce(by_group.status IN ({closed}), false)"
    )
}

/// One row per group: what a person is paged for once.
fn findings_grouped() -> String {
    "CREATE VIEW findings_grouped AS SELECT group_uid, min(rule_uid) AS rule_uid, min(title) AS title, \
     min(entity) AS entity, max(severity_id) AS severity_id, sum(count) AS events, count(*) AS findings, \
     min(first_seen) AS first_seen, max(last_seen) AS last_seen, min(owner) AS owner FROM findings GROUP BY group_uid"
        .into()
}
