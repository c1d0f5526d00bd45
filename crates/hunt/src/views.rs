//! The views that every hunt has, as SQL.

use palisade_events::schema::{COLUMNS, Column};
use palisade_lake::DispositionStatus;

/// `CREATE VIEW` statements, each after those that it uses.
pub(crate) fn all() -> Vec<String> {
    vec![
        events_ecs(),
        dispositions_newest("finding_uid", "true"),
        dispositions_newest("group_uid", "finding_uid IS NULL"),
        findings_judged(),
        findings_open(),
        findings_grouped(),
        object_versions(),
        addresses(),
        images(),
    ]
}

/// Events under the names of the Elastic Common Schema, and `event_uid` to join by.
fn events_ecs() -> String {
    let named = COLUMNS.iter().filter(|c| !c.ecs.is_empty());
    let column = |c: &Column| match c.ecs {
        "event.outcome" => {
            let outcome = "CASE status_id WHEN 1 THEN 'success' WHEN 2 THEN 'failure' ELSE 'unknown' END";
            format!("{outcome} AS \"{}\"", c.ecs)
        }
        ecs => format!("\"{}\" AS \"{ecs}\"", c.name),
    };
    let columns: Vec<String> = named.map(column).collect();
    format!("CREATE VIEW events_ecs AS SELECT event_uid, date, {} FROM events", columns.join(", "))
}

/// What was decided last about each finding, or about each group. A disposition that names both is about the finding.
/// Of two at the same moment the one that sorts last counts, so that every reader sees the same.
fn dispositions_newest(key: &str, about: &str) -> String {
    format!(
        "CREATE VIEW dispositions_by_{key} AS SELECT {key}, status, reason, \"by\", at FROM ( \
           SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY at DESC, status DESC, reason DESC, \"by\" DESC) AS place \
           FROM dispositions WHERE {key} IS NOT NULL AND {about}) WHERE place = 1"
    )
}

/// Findings with what was decided last: about the finding or about its group, whichever is newer.
fn findings_judged() -> String {
    let newer = |column: &str| {
        format!("CASE WHEN g.at IS NULL OR d.at >= g.at THEN d.{column} ELSE g.{column} END AS disposition_{column}")
    };
    format!(
        "CREATE VIEW findings_judged AS SELECT f.*, {}, {}, {}, {} FROM findings f \
         LEFT JOIN dispositions_by_finding_uid AS d ON d.finding_uid = f.finding_uid \
         LEFT JOIN dispositions_by_group_uid AS g ON g.group_uid = f.group_uid",
        newer("status"),
        newer("reason"),
        newer("\"by\"").replace("disposition_\"by\"", "disposition_by"),
        newer("at")
    )
}

/// Findings that stand: no exception suppressed them, and no analyst has closed them.
fn findings_open() -> String {
    let closed: Vec<String> = DispositionStatus::ALL
        .into_iter()
        .filter(|status| status.is_closed())
        .map(|status| format!("'{}'", status.name()))
        .collect();
    format!(
        "CREATE VIEW findings_open AS SELECT * FROM findings_judged \
         WHERE suppressed_by IS NULL AND coalesce(disposition_status, 'open') NOT IN ({})",
        closed.join(", ")
    )
}

/// One row per group: what a person is paged for once. Suppressed findings are counted beside, not in.
fn findings_grouped() -> String {
    "CREATE VIEW findings_grouped AS SELECT group_uid, min(rule_uid) AS rule_uid, min(title) AS title, \
     min(entity) AS entity, min(cluster_name) AS cluster_name, min(owner) AS owner, \
     max(CASE WHEN suppressed_by IS NULL THEN severity_id END) AS severity_id, \
     count(*) FILTER (WHERE suppressed_by IS NULL) AS findings, \
     count(*) FILTER (WHERE suppressed_by IS NOT NULL) AS suppressed, \
     sum(count) FILTER (WHERE suppressed_by IS NULL) AS events, \
     min(first_seen) AS first_seen, max(last_seen) AS last_seen FROM findings GROUP BY group_uid"
        .into()
}

/// The object of a row and when the row is true, of versions that were there and had not ended.
const WHOSE: &str = "kind, namespace_name, name, uid, workload_kind, workload_name, node, valid_from, valid_to \
                     FROM object_versions WHERE change = 'seen'";

/// Objects with the time over which each version held: `valid_from` is inside, `valid_to` is not, and a version that
/// still holds has none. What is gone holds for no time.
///
/// A version ends with the next one of its uid, or when another object of its kind and name is seen: names are unique
/// within a cluster, so the end of the older one was missed. Kinds of other API groups are other kinds. What has run to
/// its end is there until it is deleted.
fn object_versions() -> String {
    let order = "\"time\", record_offset, message_index, origin, \"partition\", source";
    format!(
        "CREATE VIEW object_versions AS SELECT *, \"time\" AS valid_from, \
         CASE WHEN change = 'deleted' THEN \"time\" ELSE least( \
           lead(\"time\") OVER (PARTITION BY cluster_name, uid, kind, namespace_name, name ORDER BY {order}), \
           lead(CASE WHEN change <> 'deleted' THEN \"time\" END) IGNORE NULLS OVER (PARTITION BY cluster_name, \
             split_part(api_version, '/', 1), kind, namespace_name, name ORDER BY {order})) END AS valid_to \
         FROM objects"
    )
}

/// Who had which address when: one row per address of a version.
fn addresses() -> String {
    format!("CREATE VIEW addresses AS SELECT cluster_name, unnest(addresses) AS address, {WHOSE}")
}

/// What ran when: one row per container of a version. A pod that has ended runs nothing, so that the version before tells
/// until when its containers ran.
fn images() -> String {
    format!(
        "CREATE VIEW images AS SELECT cluster_name, unnest(container_names) AS container_name, \
         unnest(container_images) AS container_image_name, unnest(container_image_uids) AS container_image_uid, \
         unnest(container_uids) AS container_uid, CASE WHEN kind = 'Pod' THEN name END AS pod_name, {WHOSE}"
    )
}
