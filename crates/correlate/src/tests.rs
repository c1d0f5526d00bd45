//! Promises that need the whole crate: stream and history, kept rows and all rows, refusals, the starter correlations.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use palisade_events::finding::findings_batch;
use palisade_events::seam::{Detector, Pane, PaneCoverage, Panes};
use palisade_events::time::{Micros, SECOND};
use palisade_events::{EventBatch, EventBuilder, Finding, col};
use proptest::prelude::*;

use crate::plan;
use crate::retain::{Keep, reduce};
use crate::table::{self, WindowTable};
use crate::{Bounds, LateRows, Spec, SqlCorrelation, run_over, starter};

mod closing;

/// One event of a test; empty text is null.
#[derive(Clone, Debug, Default)]
struct Event {
    uid: u64,
    time: Micros,
    format: &'static str,
    user: &'static str,
    verb: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'static str,
    name: String,
    pod: &'static str,
    alert: &'static str,
    address: &'static str,
    tag: &'static str,
    digest: &'static str,
    /// Service of a cloud that was asked.
    service: &'static str,
    code: i32,
    late: bool,
}

fn batch(events: &[Event]) -> EventBatch {
    let mut b = EventBuilder::new(Arc::default());
    for e in events {
        b.put_text(col::EVENT_UID, &format!("{:032x}", e.uid));
        b.put_time(col::TIME, e.time);
        b.put_int(col::CLASS_UID, 6003);
        b.put_int(col::ACTIVITY_ID, 1);
        b.put_word(col::SOURCE, "audit");
        b.put_word(col::ORIGIN, "topic");
        b.put_int(col::PARTITION, 0);
        b.put_long(col::OFFSET, e.uid as i64);
        b.put_flag(col::LATE, e.late);
        b.put_word(col::FORMAT, if e.format.is_empty() { "k8s_audit" } else { e.format });
        b.put_word(col::CLUSTER_NAME, "prod");
        for (column, value) in [
            (col::ACTOR_USER_NAME, e.user),
            (col::API_OPERATION, e.verb),
            (col::RESOURCE_TYPE, e.resource),
            (col::RESOURCE_SUBRESOURCE, e.subresource),
            (col::NAMESPACE_NAME, e.namespace),
            (col::POD_NAME, e.pod),
            (col::WORKLOAD_NAME, palisade_events::entity::workload_of_pod(e.pod)),
            (col::FINDING_INFO_TITLE, e.alert),
            (col::SRC_ENDPOINT_IP, e.address),
            (col::CONTAINER_IMAGE_TAG, e.tag),
            (col::API_SERVICE_NAME, e.service),
            (col::AUTHORIZATION_DECISION, if e.format == "cloudtrail" && e.code == 403 { "forbid" } else { "" }),
        ] {
            if !value.is_empty() {
                b.put_word(column, value);
            }
        }
        if !e.name.is_empty() {
            b.put_text(col::RESOURCE_NAME, &e.name);
        }
        if !e.digest.is_empty() {
            b.put_text(col::RESOURCE_UID, e.digest);
        }
        if e.code > 0 {
            b.put_int(col::API_RESPONSE_CODE, e.code);
            b.put_int(col::STATUS_ID, if e.code >= 400 { 2 } else { 1 });
        }
        if !e.alert.is_empty() {
            b.put_int(col::SEVERITY_ID, 4);
        }
        b.end_row();
    }
    b.finish().unwrap()
}

const PANE: Micros = 10 * SECOND;

#[derive(Clone, Copy, Debug)]
struct Cut {
    batch: usize,
    lanes: usize,
    restart: bool,
}

const WHOLE: Cut = Cut { batch: usize::MAX, lanes: 1, restart: false };

fn stream(spec: &Arc<Spec>, events: &[Event], cut: Cut, bounds: Bounds) -> (Vec<Finding>, SqlCorrelation) {
    let panes = Panes::new(PANE);
    let fresh = || SqlCorrelation::new(Arc::clone(spec), bounds).unwrap();
    let mut detector = fresh();
    let mut folds: Vec<_> = (0..cut.lanes).map(|_| detector.lane()).collect();
    let mut by_pane: BTreeMap<Pane, Vec<Event>> = BTreeMap::new();
    for event in events.iter().filter(|e| !e.late) {
        by_pane.entry(panes.of(event.time)).or_default().push(event.clone());
    }
    let mut findings = Vec::new();
    for (pane, events) in by_pane {
        let mut lanes = vec![Vec::new(); cut.lanes];
        for event in events {
            lanes[event.uid as usize % cut.lanes].push(event);
        }
        for (fold, events) in folds.iter_mut().zip(&lanes) {
            for events in events.chunks(cut.batch) {
                fold.fold(&batch(events), &[(pane, (0..events.len() as u32).collect())]).unwrap();
            }
            if cut.restart {
                let stored = fold.snapshot().unwrap();
                *fold = detector.lane();
                stored.iter().for_each(|(pane, partial)| fold.restore(*pane, partial).unwrap());
            }
        }
        let partials: Vec<_> = folds.iter_mut().filter_map(|fold| fold.take(pane).unwrap()).collect();
        findings.extend(detector.close(pane, PaneCoverage::Complete, &partials).unwrap());
        if cut.restart {
            let pieces = detector.snapshot().unwrap();
            detector = fresh();
            detector.restore(&pieces).unwrap();
            assert_eq!(detector.snapshot().unwrap(), pieces);
        }
    }
    (findings, detector)
}

/// The table as the lake has it: plain text, and rows in no particular order.
fn stored(events: &[Event]) -> RecordBatch {
    let mut events = events.to_vec();
    events.sort_by_key(|e| (e.uid * 7919) % 101);
    let batch = batch(&events);
    let schema = table::schema();
    let columns = schema.fields().iter().zip(batch.columns().columns());
    let columns = columns.map(|(field, column)| arrow::compute::cast(column, field.data_type()).unwrap()).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn history(spec: &Arc<Spec>, events: &[Event], range: (Micros, Micros), late: LateRows) -> Vec<Finding> {
    let rows = stored(events);
    let parts = [0, rows.num_rows() / 2]
        .map(|at| vec![rows.slice(at, if at == 0 { rows.num_rows() / 2 } else { rows.num_rows() - at })]);
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    context.register_table("events", Arc::new(MemTable::try_new(rows.schema(), parts.to_vec()).unwrap())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let panes = Panes::new(PANE);
    runtime.block_on(run_over(Arc::clone(spec), &context, range, panes, late, Bounds::default())).unwrap()
}

fn bytes(findings: &[Finding]) -> RecordBatch {
    findings_batch(findings).unwrap()
}

fn named(uid: &str) -> Arc<Spec> {
    Arc::new(starter().unwrap().into_iter().find(|spec| spec.uid.ends_with(uid)).unwrap())
}

fn event(uid: u64, secs: i64, user: &'static str) -> Event {
    Event { uid, time: secs * SECOND, user, code: 200, namespace: "shop", ..Default::default() }
}

fn session(uid: u64, secs: i64, user: &'static str, pod: &'static str) -> Event {
    Event {
        verb: "create",
        resource: "pods",
        subresource: "exec",
        pod,
        name: pod.into(),
        code: 101,
        ..event(uid, secs, user)
    }
}

fn secret(uid: u64, secs: i64, user: &'static str) -> Event {
    Event { verb: "get", resource: "secrets", name: format!("key-{uid}"), ..event(uid, secs, user) }
}

/// A request to a service of a cloud.
fn cloud(uid: u64, user: &'static str, service: &'static str, verb: &'static str, code: i32) -> Event {
    Event { format: "cloudtrail", service, verb, code, name: format!("thing-{uid}"), ..event(uid, 2_700, user) }
}

/// What people do to an account of a cloud within a second: one lists and reads secrets, one is refused this and that, one
/// asks about everything, one deletes; and three who do their work.
fn clouded() -> Vec<Event> {
    const SERVICES: [&str; 5] =
        ["ec2.amazonaws.com", "iam.amazonaws.com", "rds.amazonaws.com", "lambda.amazonaws.com", "eks.amazonaws.com"];
    const READS: [&str; 3] = ["ListThings", "DescribeThings", "GetThing"];
    const SECRETS: &str = "secretsmanager.amazonaws.com";
    let mut events = vec![
        cloud(400, "nina", SECRETS, "ListSecrets", 200),
        cloud(401, "pia", "sts.amazonaws.com", "GetCallerIdentity", 200),
        cloud(402, "app", "sts.amazonaws.com", "GetCallerIdentity", 200),
    ];
    for i in 0..30u64 {
        let (service, read) = (SERVICES[i as usize % 5], READS[i as usize % 3]);
        events.push(cloud(500 + i, "pia", service, read, 200));
        events.push(cloud(600 + i, "quinn", SERVICES[0], "TerminateInstances", 200));
        events.push(cloud(700 + i, "app", SERVICES[0], read, 200));
        events.push(cloud(800 + i, "broken", SERVICES[0], "DescribeThings", 403));
        if i < 12 {
            events.push(cloud(930 + i, "nina", SECRETS, "GetSecretValue", 200));
            events.push(cloud(950 + i, "oleg", service, "CreateThing", 403));
            events.push(cloud(970 + i, "app", SECRETS, "GetSecretValue", 200));
        }
    }
    events
}

fn noise(count: u64) -> Vec<Event> {
    (0..count)
        .map(|i| Event {
            verb: "list",
            resource: "pods",
            ..event(10_000 + i, (i as i64 * 13) % 3_000, ["ann", "bob", "eve"][i as usize % 3])
        })
        .collect()
}

fn story() -> Vec<Event> {
    let mut events = noise(600);
    events.extend(clouded());
    events.extend([
        secret(1, 95, "eve"),
        session(2, 100, "eve", "web-7d4b9c6d5f-x2v9k"),
        secret(3, 160, "eve"),
        secret(4, 200, "eve"),
        secret(5, 390, "eve"),
        secret(6, 500, "eve"),
        session(7, 1_000, "bob", "db-0"),
        secret(8, 1_000, "ann"),
        secret(9, 1_310, "bob"),
        session(20, 2_000, "eve", "web-7d4b9c6d5f-x2v9k"),
        secret(21, 2_010, "eve"),
        Event {
            format: "falco",
            alert: "Terminal shell in container",
            pod: "web-7d4b9c6d5f-x2v9k",
            user: "",
            code: 0,
            ..event(22, 2_030, "")
        },
        Event {
            format: "falco",
            alert: "Read sensitive file untrusted",
            pod: "db-0",
            user: "",
            code: 0,
            ..event(23, 2_040, "")
        },
    ]);
    for i in 0..12u64 {
        let resource = ["secrets", "nodes", "clusterroles", "configmaps", "serviceaccounts", "pods"][i as usize % 6];
        events.push(Event { verb: "list", resource, code: 403, ..event(100 + i, 2_500 + i as i64, "mallory") });
    }
    events.push(Event { verb: "create", resource: "pods", code: 201, ..event(120, 2_530, "mallory") });
    for i in 0..50u64 {
        events.push(Event {
            verb: "update",
            resource: "leases",
            code: 403,
            ..event(200 + i, 2_400 + i as i64 * 3, "broken")
        });
        events.push(Event {
            verb: "get",
            resource: "pods",
            code: 200,
            ..event(300 + i, 2_401 + i as i64 * 3, "broken")
        });
    }
    // An address that tries out credentials, and one whose credential has expired.
    for i in 0..10u64 {
        let at = 700 + i as i64 * 9;
        let (resource, stale) = (["selfsubjectreviews", "namespaces"][i as usize % 2], "selfsubjectreviews");
        let refused =
            |uid, resource, address| Event { verb: "create", resource, address, code: 401, ..event(uid, at, "") };
        events.push(refused(400 + i, resource, "203.0.113.9"));
        events.push(refused(420 + i, stale, "10.0.0.21"));
        // Somebody who asks for all that he may do, and somebody who asks once.
        let reviews = "selfsubjectaccessreviews";
        let asked = |uid, user| Event { verb: "create", resource: reviews, code: 201, ..event(uid, at, user) };
        events.push(asked(440 + i, "vera"));
        if i == 0 {
            events.push(asked(460, "carl"));
        }
    }
    // An image that is taken and put back, and one that is built.
    let image = |uid, secs, verb, tag, digest| Event {
        format: "registry",
        verb,
        resource: "manifests",
        name: "shop/web".into(),
        tag,
        digest,
        ..event(uid, secs, "builder")
    };
    events.extend([image(500, 800, "pull", "1.3", "sha256:a"), image(501, 860, "push", "1.5", "sha256:b")]);
    events.extend([image(502, 1_200, "pull", "1.4", "sha256:a"), image(503, 1_260, "push", "1.4", "sha256:c")]);
    events
}

#[test]
fn what_is_tried_out_one_by_one_is_found_and_what_is_done_once_is_not() {
    for (uid, expected) in [
        ("logins_refused", "203.0.113.9"),
        ("rights_asked", "vera"),
        ("requests_refused", "mallory"),
        ("secrets_one_by_one", "eve"),
        ("image_put_back", "shop/web:1.4"),
    ] {
        let (findings, _) = stream(&named(uid), &story(), WHOLE, Bounds::default());
        assert!(!findings.is_empty(), "{uid}");
        assert!(findings.iter().all(|f| f.entity.name == expected), "{uid}: {findings:?}");
    }
}

#[test]
fn secrets_after_a_session_are_one_finding_per_incident() {
    let (findings, _) = stream(&named("secrets_after_exec"), &story(), WHOLE, Bounds::default());
    let told: Vec<(&str, i64)> = findings.iter().map(|f| (f.entity.name.as_str(), f.detected_at / SECOND)).collect();
    assert_eq!(told, [("eve", 170), ("eve", 2_020)]);
    let first = &findings[0];
    assert_eq!((first.first_seen, first.last_seen, first.count), (100 * SECOND, 160 * SECOND, 2));
    assert_eq!(first.evidence.iter().map(|e| e.position.to_string()).collect::<Vec<_>>(), ["topic[0]@2", "topic[0]@3"]);
    assert_eq!(
        first.finding_uid,
        palisade_events::id::finding_uid(&first.rule_uid, "user:prod/eve", &format!("{:032x}", 2))
    );
    assert!(
        first.explanation.contains("eve ran a command in web-7d4b9c6d5f-x2v9k and read secrets (shop/key-3)"),
        "{}",
        first.explanation
    );
    assert!(first.excerpt.contains("\"resource_subresource\":\"exec\""));
}

#[test]
fn alert_after_a_session_joins_sources_by_pod() {
    let (findings, _) = stream(&named("alert_after_exec"), &story(), WHOLE, Bounds::default());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].entity.to_string(), "workload:prod/shop/web");
    assert_eq!(findings[0].evidence.len(), 2);
    assert!(findings[0].explanation.starts_with("eve opened a session in web-7d4b9c6d5f-x2v9k (shop)"));
}

#[test]
fn different_denials_then_success_are_found_and_a_broken_loop_is_not() {
    let (findings, _) = stream(&named("denied_then_allowed"), &story(), WHOLE, Bounds::default());
    let told: Vec<&str> = findings.iter().map(|f| f.entity.name.as_str()).collect();
    assert_eq!(told, ["mallory"]);
    assert_eq!(findings[0].count, 13);
    assert!(findings[0].explanation.contains("was denied 12 requests of 6 kinds"), "{}", findings[0].explanation);
}

#[test]
fn what_is_done_to_a_cloud_tells_who_attacks_it() {
    for (uid, user, count) in [
        ("cloud_secrets_after_listing", "nina", 13),
        ("cloud_many_refused", "oleg", 12),
        ("cloud_looked_over", "pia", 31),
        ("cloud_much_deleted", "quinn", 30),
    ] {
        let (findings, _) = stream(&named(uid), &story(), WHOLE, Bounds::default());
        let told: Vec<(&str, i64)> = findings.iter().map(|f| (f.entity.name.as_str(), f.count)).collect();
        assert_eq!(told, [(user, count)], "{uid}");
    }
}

#[test]
fn cuts_lanes_and_restarts_change_no_byte() {
    // Those that the story is about; the others need rows of files, of flows, of logins or of a registry.
    for spec in ["secrets_after_exec", "denied_then_allowed", "alert_after_exec"].map(named) {
        let mut events = story();
        let whole = bytes(&stream(&spec, &events, WHOLE, Bounds::default()).0);
        assert!(whole.num_rows() > 0);
        for cut in [
            Cut { batch: 1, lanes: 1, restart: false },
            Cut { batch: 7, lanes: 3, restart: false },
            Cut { batch: 7, lanes: 2, restart: true },
        ] {
            events.reverse();
            assert_eq!(bytes(&stream(&spec, &events, cut, Bounds::default()).0), whole, "{} {cut:?}", spec.uid);
        }
    }
}

#[test]
fn history_finds_what_the_stream_found() {
    for spec in starter().unwrap().into_iter().map(Arc::new) {
        let mut events = story();
        events.push(Event { late: true, ..secret(900, 1_005, "bob") });
        let live = stream(&spec, &events, WHOLE, Bounds::default()).0;
        let all = history(&spec, &events, (i64::MIN, 4_000 * SECOND), LateRows::LeaveOut);
        assert_eq!(bytes(&all), bytes(&live), "{}", spec.uid);
        let part = history(&spec, &events, (1_500 * SECOND, 2_600 * SECOND), LateRows::LeaveOut);
        let expected: Vec<Finding> =
            live.into_iter().filter(|f| f.detected_at > 1_500 * SECOND && f.detected_at <= 2_600 * SECOND).collect();
        assert_eq!(bytes(&part), bytes(&expected), "{}", spec.uid);
    }
}

#[test]
fn late_rows_show_what_they_would_have_changed() {
    let mut events = story();
    events.push(Event { late: true, ..secret(900, 1_005, "bob") });
    let range = (0, 4_000 * SECOND);
    let spec = named("secrets_after_exec");
    let (without, with) =
        (history(&spec, &events, range, LateRows::LeaveOut), history(&spec, &events, range, LateRows::TakeIn));
    assert_eq!(with.len(), without.len() + 1);
    assert!(with.iter().any(|f| f.entity.name == "bob"));
}

#[test]
fn only_what_the_query_needs_is_kept() {
    let spec = named("secrets_after_exec");
    assert!(spec.kept_columns().len() < 30, "{:?}", spec.kept_columns());
    assert!(spec.kept_rows().contains("secrets"), "{}", spec.kept_rows());
    let (_, detector) = stream(&spec, &noise(600), WHOLE, Bounds::default());
    assert_eq!(detector.rows(), 0);
}

#[test]
fn full_windows_drop_the_oldest_and_say_so() {
    let spec = named("secrets_after_exec");
    let mut events = vec![session(1, 5, "eve", "db-0")];
    events.extend((0..40).map(|i| secret(10 + i, 12 + i as i64, "ann")));
    events.extend([session(90, 60, "bob", "db-0"), secret(91, 61, "bob")]);
    for cut in [WHOLE, Cut { batch: 3, lanes: 4, restart: true }] {
        let (findings, detector) = stream(&spec, &events, cut, Bounds { rows_max: 10, ..Default::default() });
        let told: Vec<(&str, &str)> = findings.iter().map(|f| (f.entity.name.as_str(), f.coverage.as_str())).collect();
        assert_eq!(told, [("bob", "lossy")], "{cut:?}");
        assert_eq!(detector.rows(), 10);
        assert!(detector.counters().rows_dropped > 20);
    }
}

#[test]
fn damaged_state_is_refused() {
    let spec = named("secrets_after_exec");
    let events = [session(1, 5, "eve", "db-0"), secret(2, 15, "eve")];
    let (_, mut detector) = stream(&spec, &events, WHOLE, Bounds::default());
    let pieces = detector.snapshot().unwrap();
    assert!(pieces.len() > 1);
    for place in 0..pieces.len() {
        let mut damaged = pieces.clone();
        damaged[place].1.truncate(9);
        assert!(detector.restore(&damaged).is_err());
    }
    let mut missing = pieces.clone();
    missing.retain(|(name, _)| name != "shared");
    assert!(detector.restore(&missing).is_err());
    let mut other = SqlCorrelation::new(named("alert_after_exec"), Bounds::default()).unwrap();
    assert!(other.restore(&pieces).is_err(), "rows kept for another query");
    detector.restore(&pieces).unwrap();
}

fn spec_of(sql: &str) -> Result<Spec, crate::SpecError> {
    Spec::parse(&format!(
        "uid = 'u'\ntitle = 't'\nlevel = 'low'\nversion = '1'\nauthor = 'a'\nwindow_secs = 60\n\
         explanation = 'x'\nsql = '''{sql}'''"
    ))
}

#[test]
fn what_would_make_stream_and_history_differ_is_refused_by_name() {
    const HEAD: &str = "SELECT 'user' AS entity_kind, actor_user_name AS entity_name";
    for (sql, told) in [
        (format!("{HEAD} FROM events WHERE time > now()"), "`now`"),
        (format!("{HEAD} FROM events WHERE random() < 0.5"), "`random`"),
        (format!("{HEAD} FROM events WHERE actor_user_name IN (SELECT actor_user_name FROM events WHERE time > now())"), "`now`"),
        (format!("{HEAD} FROM events LIMIT 5"), "LIMIT"),
        (format!("{HEAD} FROM events ORDER BY time LIMIT 5"), "LIMIT"),
        (format!("{HEAD}, row_number() OVER (ORDER BY time) AS n FROM events"), "row_number"),
        (format!("{HEAD}, array_agg(event_uid) AS evidence FROM events GROUP BY 2"), "array_agg"),
        (format!("{HEAD}, array_agg(event_uid ORDER BY time) AS evidence FROM events GROUP BY 2"), "array_agg"),
        (format!("{HEAD}, first_value(event_uid ORDER BY time) AS f FROM events GROUP BY 2"), "first_value"),
        ("SELECT DISTINCT ON (actor_user_name) 'user' AS entity_kind, actor_user_name AS entity_name FROM events ORDER BY actor_user_name, time".to_string(), "DISTINCT ON"),
        (format!("{HEAD}, 'x' AS event_uid FROM events ORDER BY event_uid LIMIT 1"), "LIMIT"),
        (
            format!(
                "{HEAD}, string_agg(DISTINCT pod_name, ',' ORDER BY pod_name) AS a,
                 string_agg(DISTINCT namespace_name, ',' ORDER BY namespace_name) AS b FROM events GROUP BY 2"
            ),
            "Conflicting ordering",
        ),
        (format!("{HEAD} FROM people"), "`people`"),
        (format!("{HEAD} FROM events JOIN generate_series(1, 3) AS g(v) ON true"), "events"),
        ("DROP TABLE events".into(), "only a query"),
        ("INSERT INTO events VALUES (1)".into(), ""),
        ("SELECT 1 AS one FROM events".into(), "entity_kind"),
        (format!("{HEAD}, time AS count FROM events"), "`count`"),
        (format!("{HEAD}, event_uid AS evidence FROM events"), "`evidence`"),
        (format!("{HEAD} FROM events"), "`evidence`"),
        ("SELECT 'person' AS entity_kind, actor_user_name AS entity_name FROM events".into(), "`person`"),
        (format!("{HEAD} FROM events UNION ALL SELECT 'person', actor_user_name FROM events"), "`person`"),
        (format!("{HEAD} FROM events WHERE nonsense = 1"), "nonsense"),
        ("SELECT FROM".into(), ""),
    ] {
        let error = spec_of(&sql).unwrap_err();
        assert_eq!((error.key.as_str(), error.line), ("sql", Some(8)), "{sql}");
        assert!(error.why.contains(told), "{sql}: {}", error.why);
    }
    const ONE: &str = "make_array(event_uid) AS evidence";
    const ALL: &str = "array_agg(event_uid ORDER BY time, event_uid) AS evidence";
    for sql in [
        format!("{HEAD}, {ONE}, event_uid AS e FROM events ORDER BY time, event_uid LIMIT 5"),
        format!("{HEAD}, {ONE}, row_number() OVER (ORDER BY time, event_uid) AS n FROM events"),
        format!("{HEAD}, {ONE}, count(*) OVER (PARTITION BY actor_user_name) AS n FROM events"),
        format!("{HEAD}, {ALL}, string_agg(DISTINCT pod_name, ',' ORDER BY pod_name) AS pods FROM events GROUP BY 2"),
        format!(
            "{HEAD}, make_array(x.id) AS evidence FROM (SELECT actor_user_name, event_uid AS id, time FROM events) x
             ORDER BY x.time, x.id LIMIT 1"
        ),
        format!("{HEAD}, {ONE} FROM events WHERE lower(actor_user_name) LIKE 'a%'"),
    ] {
        spec_of(&sql).unwrap();
    }
}

#[test]
fn wrong_keys_are_named_with_their_line() {
    let good = "uid = 'u'\ntitle = 't'\nlevel = 'low'\nversion = '1'\nauthor = 'a'\nwindow_secs = 60\nexplanation = 'x {entity_name}'\n\
        sql = \"SELECT 'user' AS entity_kind, actor_user_name AS entity_name, make_array(event_uid) AS evidence FROM events\"\n\
        [attack]\nversion = '18'\ntechniques = ['T1078']\ntactics = []\n";
    Spec::parse(good).unwrap();
    for (from, to, key, line) in [
        ("'low'", "'bad'", "level", 3),
        ("60", "0", "window_secs", 6),
        ("{entity_name}", "{nobody}", "explanation", 7),
        ("title", "titel", "toml", 2),
        ("'u'", "' '", "uid", 1),
        ("author = 'a'", "author = 'a'\nstep = 'hour'", "step", 6),
        ("'T1078'", "'T1078', 'privilege escalation'", "attack.techniques", 9),
    ] {
        let error = Spec::parse(&good.replace(from, to)).unwrap_err();
        assert_eq!((error.key.as_str(), error.line), (key, Some(line)), "{error}");
    }
}

fn rows_of(sql: &str, rows: RecordBatch) -> Vec<String> {
    let table = Arc::new(WindowTable::default());
    table.put(vec![rows]);
    let session = plan::session(table).unwrap();
    let context = SessionContext::new_with_state(session);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result = runtime.block_on(async { context.sql(sql).await.unwrap().collect().await.unwrap() });
    let text = arrow::util::pretty::pretty_format_batches(&result).unwrap().to_string();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

const QUERIES: [&str; 9] = [
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, count(*) AS count FROM events WHERE api_response_code >= 400 GROUP BY 2",
    "SELECT 'user' AS entity_kind, a.actor_user_name AS entity_name, array_agg(b.event_uid ORDER BY b.time, b.event_uid, a.event_uid) AS evidence
     FROM events a JOIN events b ON a.actor_user_name = b.actor_user_name
     WHERE a.resource_type = 'pods' AND b.resource_type = 'secrets' AND b.time > a.time GROUP BY 2",
    "SELECT 'user' AS entity_kind, a.actor_user_name AS entity_name, a.event_uid AS one, b.event_uid AS other
     FROM events a LEFT JOIN events b ON a.actor_user_name = b.actor_user_name AND b.api_response_code = 403
     WHERE a.api_operation = 'list'",
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, event_uid AS u FROM events e
     WHERE resource_type = 'secrets' AND EXISTS (SELECT 1 FROM events x WHERE x.actor_user_name = e.actor_user_name AND x.api_operation = 'create')",
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, event_uid AS u FROM events
     WHERE actor_user_name NOT IN (SELECT coalesce(actor_user_name, '') FROM events WHERE api_response_code = 200) AND api_operation = 'get'",
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, count(*) AS count FROM events GROUP BY 2
     HAVING count(*) > (SELECT avg(n) FROM (SELECT count(*) AS n FROM events WHERE resource_type <> 'pods' GROUP BY actor_user_name))",
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, event_uid AS u FROM events
     WHERE CASE WHEN api_response_code = 200 THEN 10 / (api_response_code - 200) > 0 ELSE api_operation = 'get' END IS NULL OR resource_type = 'secrets'",
    "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, event_uid AS u FROM events WHERE resource_type = 'pods' AND api_operation = 'get'
     UNION ALL SELECT 'user', actor_user_name, event_uid FROM events WHERE api_response_code = 403 AND lower(resource_type) LIKE 's%'",
    "SELECT 'user' AS entity_kind, a.actor_user_name AS entity_name, b.event_uid AS u FROM events a
     FULL JOIN events b ON a.event_uid = b.event_uid AND a.resource_type = 'pods' AND b.api_operation = 'list'",
];

fn random_event() -> impl Strategy<Value = Event> {
    let word = |words: &'static [&'static str]| proptest::sample::select(words);
    (
        word(&["", "ann", "bob", "eve"]),
        word(&["get", "list", "create", ""]),
        word(&["pods", "secrets", "nodes", ""]),
        proptest::sample::select(vec![0, 201, 403, 404]),
        0i64..30,
    )
        .prop_map(|(user, verb, resource, code, secs)| Event {
            user,
            verb,
            resource,
            code,
            time: secs * SECOND,
            ..Default::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn query_over_kept_rows_equals_query_over_all(events in proptest::collection::vec(random_event(), 0..40)) {
        let events: Vec<Event> = events.into_iter().enumerate().map(|(uid, e)| Event { uid: uid as u64, ..e }).collect();
        let whole = batch(&events);
        for sql in QUERIES {
            let plan = plan::compile(sql).unwrap();
            let session = plan::session(Arc::default()).unwrap();
            let kept = reduce(&Keep::new(&session, &plan).unwrap(), &plan.kept, whole.columns(), None).unwrap();
            let plain = reduce(&Keep::plain(&session, &plan).unwrap(), &plan.kept, whole.columns(), None).unwrap();
            prop_assert_eq!(&kept, &plain);
            let every = (0..table::schema().fields().len()).collect::<Vec<_>>();
            let all = reduce(&Keep::All, &every, whole.columns(), None).unwrap();
            prop_assert_eq!(rows_of(sql, kept), rows_of(sql, all), "{}", sql);
        }
    }
}
