//! The correlations that ship with Palisade, in `packs/starter/correlations`.

use crate::spec::{Spec, SpecError};

/// File names and texts.
pub const TEXTS: [(&str, &str); 18] = [
    ("accounts_guessed.toml", include_str!("../../../packs/starter/correlations/accounts_guessed.toml")),
    ("alert_after_exec.toml", include_str!("../../../packs/starter/correlations/alert_after_exec.toml")),
    ("cloud_looked_over.toml", include_str!("../../../packs/starter/correlations/cloud_looked_over.toml")),
    ("cloud_many_refused.toml", include_str!("../../../packs/starter/correlations/cloud_many_refused.toml")),
    ("cloud_much_deleted.toml", include_str!("../../../packs/starter/correlations/cloud_much_deleted.toml")),
    (
        "cloud_secrets_after_listing.toml",
        include_str!("../../../packs/starter/correlations/cloud_secrets_after_listing.toml"),
    ),
    ("data_in_names.toml", include_str!("../../../packs/starter/correlations/data_in_names.toml")),
    ("denied_then_allowed.toml", include_str!("../../../packs/starter/correlations/denied_then_allowed.toml")),
    ("image_put_back.toml", include_str!("../../../packs/starter/correlations/image_put_back.toml")),
    ("image_tag_moved.toml", include_str!("../../../packs/starter/correlations/image_tag_moved.toml")),
    ("logins_refused.toml", include_str!("../../../packs/starter/correlations/logins_refused.toml")),
    ("many_names_tried.toml", include_str!("../../../packs/starter/correlations/many_names_tried.toml")),
    ("many_ports_tried.toml", include_str!("../../../packs/starter/correlations/many_ports_tried.toml")),
    ("requests_refused.toml", include_str!("../../../packs/starter/correlations/requests_refused.toml")),
    ("rights_asked.toml", include_str!("../../../packs/starter/correlations/rights_asked.toml")),
    ("secrets_after_exec.toml", include_str!("../../../packs/starter/correlations/secrets_after_exec.toml")),
    ("secrets_one_by_one.toml", include_str!("../../../packs/starter/correlations/secrets_one_by_one.toml")),
    ("written_then_run.toml", include_str!("../../../packs/starter/correlations/written_then_run.toml")),
];

/// Reads them all.
///
/// # Errors
/// Never as shipped; a test reads them.
pub fn starter() -> Result<Vec<Spec>, SpecError> {
    TEXTS.iter().map(|(_, text)| Spec::parse(text)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_events::seam::{Detector, PaneCoverage, Panes};
    use palisade_events::time::SECOND;
    use palisade_events::{EventBatch, EventBuilder, col};

    use super::starter;
    use crate::{Bounds, SqlCorrelation};

    /// Seconds, verb, resource, subresource, stage and status of what eve did; without a verb, an alert in her pod.
    type Record = (i64, &'static str, &'static str, &'static str, &'static str, i32);

    fn opened(secs: i64) -> Record {
        (secs, "get", "pods", "exec", "ResponseStarted", 101)
    }

    fn ended(secs: i64) -> Record {
        (secs, "get", "pods", "exec", "ResponseComplete", 101)
    }

    fn secret(secs: i64) -> Record {
        (secs, "get", "secrets", "", "ResponseComplete", 200)
    }

    fn alert(secs: i64) -> Record {
        (secs, "", "", "", "", 0)
    }

    fn batch(uid: u64, record: &Record) -> EventBatch {
        let (secs, verb, resource, subresource, stage, code) = *record;
        let mut b = EventBuilder::new(Arc::default());
        b.put_text(col::EVENT_UID, &format!("{uid:032x}"));
        b.put_time(col::TIME, secs * SECOND);
        b.put_int(col::CLASS_UID, 6003);
        b.put_int(col::ACTIVITY_ID, 1);
        b.put_word(col::SOURCE, "s");
        b.put_word(col::ORIGIN, "topic");
        b.put_int(col::PARTITION, 0);
        b.put_long(col::OFFSET, uid as i64);
        b.put_flag(col::LATE, false);
        b.put_word(col::NAMESPACE_NAME, "shop");
        b.put_word(col::POD_NAME, "db-0");
        if verb.is_empty() {
            b.put_word(col::FORMAT, "falco");
            b.put_word(col::FINDING_INFO_TITLE, "Terminal shell in container");
            b.put_int(col::SEVERITY_ID, 4);
        } else {
            b.put_word(col::FORMAT, "k8s_audit");
            b.put_int(col::API_RESPONSE_CODE, code);
            b.put_int(col::STATUS_ID, if code >= 400 { 2 } else { 1 });
            for (column, value) in [
                (col::ACTOR_USER_NAME, "eve"),
                (col::API_OPERATION, verb),
                (col::RESOURCE_TYPE, resource),
                (col::RESOURCE_SUBRESOURCE, subresource),
                (col::METADATA_LOG_NAME, stage),
            ] {
                if !value.is_empty() {
                    b.put_word(column, value);
                }
            }
        }
        b.end_row();
        b.finish().unwrap()
    }

    /// The counts of the findings over records, whose panes close in order.
    fn counts(uid: &str, records: &[Record]) -> Vec<i64> {
        let spec = starter().unwrap().into_iter().find(|spec| spec.uid.ends_with(uid)).unwrap();
        let mut detector = SqlCorrelation::new(spec, Bounds::default()).unwrap();
        let (mut counts, mut fold) = (Vec::new(), detector.lane());
        let pane_of = |record: &Record| Panes::new(10 * SECOND).of(record.0 * SECOND);
        for (place, record) in records.iter().enumerate() {
            let pane = pane_of(record);
            fold.fold(&batch(place as u64 + 1, record), &[(pane, vec![0])]).unwrap();
            if records.get(place + 1).is_some_and(|next| pane_of(next) == pane) {
                continue;
            }
            let partial = fold.take(pane).unwrap();
            let findings = detector.close(pane, PaneCoverage::Complete, &Vec::from_iter(partial)).unwrap();
            counts.extend(findings.iter().map(|finding| finding.count));
        }
        counts
    }

    #[test]
    fn end_of_a_session_is_no_session() {
        type Then = fn(i64) -> Record;
        for (uid, then) in [("secrets_after_exec", secret as Then), ("alert_after_exec", alert)] {
            assert_eq!(counts(uid, &[opened(0), then(20), ended(40)]), vec![2], "{uid}: told once, of two events");
            assert_eq!(counts(uid, &[opened(0), ended(1_000), then(1_020)]), Vec::<i64>::new(), "{uid}");
        }
        let watched: Record = (20, "watch", "secrets", "", "ResponseStarted", 200);
        let watch_ended: Record = (1_020, "watch", "secrets", "", "ResponseComplete", 200);
        assert_eq!(counts("secrets_after_exec", &[opened(0), watched]), vec![2]);
        assert_eq!(counts("secrets_after_exec", &[opened(1_000), watch_ended]), Vec::<i64>::new());
    }

    #[test]
    fn refusal_that_is_recorded_twice_counts_once() {
        const KINDS: [&str; 12] = [
            "secrets",
            "nodes",
            "pods",
            "services",
            "roles",
            "events",
            "jobs",
            "leases",
            "ingresses",
            "daemonsets",
            "endpoints",
            "configmaps",
        ];
        let allowed = |resource| (300, "list", resource, "", "ResponseComplete", 200);
        let refused = |kinds: &[&'static str], allowed: Record| -> Vec<Record> {
            let stages = |(n, kind): (usize, &&'static str)| {
                let at = 20 * n as i64;
                [
                    (at, "watch", *kind, "", "ResponseStarted", 403),
                    (at + 10, "watch", *kind, "", "ResponseComplete", 403),
                ]
            };
            kinds.iter().enumerate().flat_map(stages).chain([allowed]).collect()
        };
        assert_eq!(counts("denied_then_allowed", &refused(&KINDS[..6], allowed("secrets"))), Vec::<i64>::new());
        assert_eq!(counts("denied_then_allowed", &refused(&KINDS[..], allowed("secrets"))), vec![13]);
        assert_eq!(counts("denied_then_allowed", &refused(&KINDS[..], allowed("pods"))), Vec::<i64>::new());
        // One more refusal after the success hides nothing.
        let mut probing = refused(&KINDS[..], allowed("secrets"));
        probing.push((301, "list", "nodes", "", "ResponseComplete", 403));
        assert_eq!(counts("denied_then_allowed", &probing), vec![14]);
    }

    #[test]
    fn end_of_what_was_allowed_before_is_no_success_after_refusals() {
        let refused = (0..12).map(|n| {
            let resource = ["secrets", "nodes", "pods", "services", "roles", "events"][n % 6];
            (10 * n as i64, "list", resource, "", "ResponseComplete", 403)
        });
        let refused: Vec<Record> = refused.collect();
        let with = |last: Record| refused.iter().copied().chain([last]).collect::<Vec<_>>();
        assert_eq!(counts("denied_then_allowed", &with(ended(200))), Vec::<i64>::new());
        assert_eq!(counts("denied_then_allowed", &with(opened(200))), vec![13]);
    }
}
