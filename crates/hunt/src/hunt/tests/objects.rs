//! Objects over time: until when a version held, and what was true at the moment of an event.

use palisade_events::object::objects_batch;
use palisade_events::{Lane, ObjectChange, ObjectImage, ObjectVersion};

use super::*;
use crate::{Layout, layout};

/// A version of a pod of the workload that its name begins with, at a microsecond after midnight.
fn pod(at: i64, name: &str, uid: &str, addresses: &[&str]) -> ObjectVersion {
    ObjectVersion {
        cluster: "c".into(),
        time: MIDNIGHT + at,
        kind: "Pod".into(),
        api_version: "v1".into(),
        namespace: Some("shop".into()),
        name: name.into(),
        uid: uid.into(),
        workload_kind: Some("StatefulSet".into()),
        workload_name: name.split('-').next().map(Into::into),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        ..ObjectVersion::default()
    }
}

fn gone(version: ObjectVersion) -> ObjectVersion {
    ObjectVersion { change: ObjectChange::Deleted, ..version }
}

fn ended(version: ObjectVersion) -> ObjectVersion {
    ObjectVersion { change: ObjectChange::Ended, ..version }
}

/// An event of cluster `c` for each moment after midnight and address that it went to.
fn connections(all: &[(i64, &str)]) -> EventBatch {
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::default()));
    for (row, (at, address)) in all.iter().enumerate() {
        builder.put_text(col::EVENT_UID, &format!("{row:032x}"));
        builder.put_time(col::TIME, MIDNIGHT + at);
        builder.put_int(col::CLASS_UID, 4001);
        builder.put_int(col::ACTIVITY_ID, 1);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "x");
        }
        builder.put_long(col::OFFSET, row as i64);
        builder.put_flag(col::LATE, false);
        builder.put_word(col::CLUSTER_NAME, "c");
        builder.put_word(col::DST_ENDPOINT_IP, address);
        builder.end_row();
    }
    builder.finish().unwrap()
}

/// A lake with versions in the order in which they came, each a commit of its own.
async fn place(versions: Vec<ObjectVersion>, events: &[EventBatch]) -> Place {
    let place = Place::new(events, &[], &[]).await;
    let mut lake = Lake::open(place.url(), LakeOptions::fast()).await.unwrap();
    let epoch = lake.own("j/owner").await.unwrap();
    for (offset, version) in (0..).zip(versions) {
        let version = ObjectVersion { lane: Arc::new(Lane::kafka("s", "objects", 0)), offset, ..version };
        let mut writer = TableWriter::new(Table::Objects, WriterOptions::default());
        writer.push(&objects_batch(&[version]).unwrap()).unwrap();
        let files = writer.finish().unwrap();
        lake.commit(Table::Objects, files, &[], ("j/owner", epoch), &format!("o{offset}")).await.unwrap();
    }
    place
}

async fn lines(hunt: &Hunt, query: &str) -> Vec<String> {
    let text = layout(&hunt.sql(query).await.unwrap(), Layout::Ndjson).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_address_is_whose_it_was_at_the_moment_of_the_event() {
    let versions = vec![
        pod(10, "cart-0", "u1", &["10.0.0.1", "fd00::1"]),
        pod(20, "cart-0", "u1", &["10.0.0.2"]),
        gone(pod(30, "cart-0", "u1", &["10.0.0.2"])),
        pod(40, "db-0", "u2", &["10.0.0.1"]),
        // Nobody saw the first one go.
        pod(50 + DAY, "db-0", "u3", &["10.0.0.9"]),
    ];
    let moments = [
        (9, "10.0.0.1", None),
        (10, "10.0.0.1", Some("cart")),
        (10, "fd00::1", Some("cart")),
        (19, "10.0.0.1", Some("cart")),
        (20, "10.0.0.1", None),
        (20, "10.0.0.2", Some("cart")),
        (29, "10.0.0.2", Some("cart")),
        (30, "10.0.0.2", None),
        (39, "10.0.0.1", None),
        (40, "10.0.0.1", Some("db")),
        (49 + DAY, "10.0.0.1", Some("db")),
        (50 + DAY, "10.0.0.1", None),
        (50 + DAY, "10.0.0.9", Some("db")),
        (50 + 30 * DAY, "10.0.0.9", Some("db")),
        (50, "192.0.2.1", None),
    ];
    let events: Vec<(i64, &str)> = moments.iter().map(|(at, address, _)| (*at, *address)).collect();
    let place = place(versions, &[connections(&events)]).await;
    let hunt = place.hunt().await;
    let query = "SELECT e.record_offset AS n, a.workload_name AS whose FROM events e LEFT JOIN addresses a \
                 ON a.cluster_name = coalesce(e.cluster_name, '') AND a.address = e.dst_endpoint_ip \
                 AND e.time >= a.valid_from AND (a.valid_to IS NULL OR e.time < a.valid_to) ORDER BY n";
    let found = lines(&hunt, query).await;
    assert_eq!(found.len(), moments.len(), "{found:#?}");
    for (row, (moment, found)) in moments.iter().zip(&found).enumerate() {
        let expected = match moment.2 {
            Some(whose) => format!("{{\"n\":{row},\"whose\":\"{whose}\"}}"),
            None => format!("{{\"n\":{row}}}"),
        };
        assert_eq!(*found, expected, "{moment:?}");
    }
}

#[tokio::test]
async fn a_version_ends_with_the_next_of_its_uid_or_of_its_name() {
    let service = |at: i64, api_version: &str, uid: &str| ObjectVersion {
        kind: "Service".into(),
        api_version: api_version.into(),
        ..pod(at, "front", uid, &[])
    };
    let cases = [
        (pod(10, "cart-0", "u1", &[]), Some(20)),
        (pod(20, "cart-0", "u1", &[]), Some(30)),
        // What is gone is so for no time.
        (gone(pod(30, "cart-0", "u1", &[])), Some(30)),
        (pod(40, "db-0", "u2", &[]), Some(50)),
        (pod(50, "db-0", "u3", &[]), None),
        // The end of another object of that name says nothing about this one, however late it comes.
        (gone(pod(60, "db-0", "u2", &[])), Some(60)),
        // What has ended is there until it goes, or another one of its name comes.
        (pod(10, "job-0", "u7", &[]), Some(20)),
        (ended(pod(20, "job-0", "u7", &[])), Some(30)),
        (gone(pod(30, "job-0", "u7", &[])), Some(30)),
        (pod(10, "job-1", "u8", &[]), Some(25)),
        (ended(pod(25, "job-1", "u9", &[])), None),
        // The same kind in another group is another kind.
        (service(10, "v1", "u4"), None),
        (service(15, "serving.example.dev/v1", "u5"), None),
        // Another cluster, another object.
        (ObjectVersion { cluster: "d".into(), ..pod(12, "cart-0", "u6", &[]) }, None),
    ];
    let place = place(cases.iter().map(|(version, _)| version.clone()).collect(), &[]).await;
    let hunt = place.hunt().await;
    let query = format!(
        "SELECT record_offset AS n, CAST(valid_from AS BIGINT) - {MIDNIGHT} AS since, \
         CAST(valid_to AS BIGINT) - {MIDNIGHT} AS until FROM object_versions ORDER BY n"
    );
    let expected = cases.iter().enumerate().map(|(row, (version, until))| {
        let until = until.map_or_else(String::new, |until| format!(",\"until\":{until}"));
        format!("{{\"n\":{row},\"since\":{}{until}}}", version.time - MIDNIGHT)
    });
    assert_eq!(lines(&hunt, &query).await, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_container_is_a_row_of_what_it_ran() {
    let image = |container: &str, digest: Option<&str>, uid: Option<&str>| ObjectImage {
        container: container.into(),
        image: format!("registry.example/{container}:1"),
        digest: digest.map(Into::into),
        container_uid: uid.map(Into::into),
    };
    let images = vec![image("cart", Some("sha256:aa"), Some("c1")), image("proxy", None, Some("c2"))];
    let first = ObjectVersion { images, ..pod(10, "cart-0", "u1", &[]) };
    let second = ObjectVersion { images: vec![image("cart", None, None)], ..pod(20, "cart-0", "u1", &[]) };
    let end = gone(ObjectVersion { time: MIDNIGHT + 30, ..second.clone() });
    // A pod that has ended runs nothing from then on, although it is there, and its spec still names its containers.
    let job = ObjectVersion { images: vec![image("job", None, None)], ..pod(15, "job-0", "u2", &[]) };
    let done = ended(ObjectVersion { time: MIDNIGHT + 40, ..job.clone() });
    let place = place(vec![first, second, end, job, done], &[]).await;
    let hunt = place.hunt().await;
    let query = format!(
        "SELECT container_name AS name, container_image_name AS image, container_image_uid AS digest, container_uid AS uid, \
         pod_name, CAST(valid_from AS BIGINT) - {MIDNIGHT} AS since, CAST(valid_to AS BIGINT) - {MIDNIGHT} AS until \
         FROM images ORDER BY valid_from, container_name"
    );
    let expected = [
        r#"{"name":"cart","image":"registry.example/cart:1","digest":"sha256:aa","uid":"c1","pod_name":"cart-0","since":10,"until":20}"#,
        r#"{"name":"proxy","image":"registry.example/proxy:1","uid":"c2","pod_name":"cart-0","since":10,"until":20}"#,
        r#"{"name":"job","image":"registry.example/job:1","pod_name":"job-0","since":15,"until":40}"#,
        r#"{"name":"cart","image":"registry.example/cart:1","pod_name":"cart-0","since":20,"until":30}"#,
    ];
    assert_eq!(lines(&hunt, &query).await, expected);
}
