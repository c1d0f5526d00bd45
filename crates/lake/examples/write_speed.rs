//! Measures what writing costs: rows encoded per second on one core, bytes per row stored, and milliseconds per commit.
//!
//! The rows stand for Kubernetes audit events: 1.3 kB of JSON each, of which the audit id, times, names and addresses
//! differ from row to row while the rest repeats, as it does in a real cluster. Half of the batches come from one lane in
//! order; two lanes interleave, so that every row group has to be sorted.
//!
//! ```sh
//! cargo run --release -p palisade-lake --example write_speed -- [rows] [folder to keep the lake in]
//! ```
#![allow(clippy::disallowed_methods)] // it measures time

use std::sync::Arc;
use std::time::Instant;

use palisade_events::{EventBatch, EventBuilder, FieldPlan, Lane, LaneHash, col};
use palisade_lake::{EventWriter, Lake, LakeOptions, Table, WriterOptions};

const BATCH_ROWS: i64 = 8192;
const NOON: i64 = 1_769_860_800_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rows: i64 = args.next().map_or(Ok(524_288), |text| text.parse())?;
    let kept = args.next();
    let batches: Vec<EventBatch> = (0..rows / BATCH_ROWS)
        .map(|number| batch((number % 2) as i32, number / 2 * BATCH_ROWS))
        .collect::<Result<_, _>>()?;
    let count: usize = batches.iter().map(EventBatch::rows).sum();
    let raw: usize = batches.iter().map(|b| b.text(col::RAW).values().len()).sum();
    println!("{count} rows, {} bytes of original text per row", raw / count.max(1));

    let sorted = EventBatch::concat(batches.iter().step_by(2).take(4))?;
    let in_order: Vec<EventBatch> = (0..4 * BATCH_ROWS)
        .step_by(BATCH_ROWS as usize)
        .map(|row| sorted.slice(row as usize, BATCH_ROWS as usize))
        .collect();
    let level_3 = WriterOptions { zstd_level: 3, ..WriterOptions::default() };
    for (name, batches, options) in [
        ("two lanes", &batches, WriterOptions::default()),
        ("one lane", &in_order, WriterOptions::default()),
        ("two lanes, zstd 3", &batches, level_3),
    ] {
        let rows: usize = batches.iter().map(EventBatch::rows).sum();
        let text: usize = batches.iter().map(|b| b.text(col::RAW).slice(0, b.rows()).value_data().len()).sum();
        let (mut best, mut bytes) = (f64::INFINITY, 0);
        for _ in 0..5 {
            let started = cpu_secs();
            let files = encode(batches, options)?;
            best = best.min(cpu_secs() - started);
            bytes = files.iter().map(|file| file.bytes.content_length()).sum::<usize>();
        }
        println!(
            "encode, {name}: {:.0} rows per second of one core, {:.1} bytes per row stored, {} in",
            rows as f64 / best,
            bytes as f64 / rows as f64,
            text / rows.max(1)
        );
    }

    let few = [batches[0].slice(0, 500)];
    let files = encode(&few, WriterOptions::default())?;
    println!("a file of 500 rows has {} bytes", files[0].bytes.content_length());

    let folder = std::env::temp_dir().join(format!("palisade-write-speed-{}", std::process::id()));
    let place = kept.clone().unwrap_or_else(|| folder.display().to_string());
    for (name, options) in [("in memory of the system", LakeOptions::fast()), ("on the disk", LakeOptions::default())] {
        let mut lake = Lake::open(&place, options).await?;
        let owner = format!("speed {name}/owner");
        let started = Instant::now();
        let epoch = lake.own(&owner).await?;
        println!("own, {name}: {:.1} ms for {} tables", started.elapsed().as_secs_f64() * 1e3, Table::ALL.len());
        let mut millis = Vec::new();
        for (number, batch) in batches.iter().take(50).enumerate() {
            let files = encode(std::slice::from_ref(batch), WriterOptions::default())?;
            let started = Instant::now();
            let next = [(format!("speed {name}/logs/0"), number as i64)];
            lake.commit(Table::Events, files, &next, (&owner, epoch), &format!("{name} {number}")).await?;
            millis.push(started.elapsed().as_secs_f64() * 1e3);
        }
        millis.sort_by(f64::total_cmp);
        println!(
            "commit of {BATCH_ROWS} rows, {name}: median {:.2} ms, worst {:.2} ms",
            millis[millis.len() / 2],
            millis[millis.len() - 1]
        );
    }
    if kept.is_none() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Seconds that this thread has been on a core: what others do on the machine does not count.
fn cpu_secs() -> f64 {
    let nanos = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = nanos.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| START.with(Instant::elapsed).as_secs_f64(), |nanos| nanos / 1e9)
}

thread_local! {
    static START: Instant = Instant::now();
}

fn encode(batches: &[EventBatch], options: WriterOptions) -> palisade_lake::Result<Vec<palisade_lake::DataFile>> {
    let mut writer = EventWriter::new(options);
    for batch in batches {
        writer.push(batch)?;
    }
    writer.finish()
}

fn batch(partition: i32, first: i64) -> palisade_events::Result<EventBatch> {
    let hash = LaneHash::new(&Lane::kafka("audit", "k8s-audit", partition));
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::default()));
    for offset in first..first + BATCH_ROWS {
        let mix = (offset * 2 + i64::from(partition)).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) as u64;
        let time = NOON + offset * 1_500 + (mix >> 50) as i64;
        let uid = hash.event_uid(offset, 0);
        let stamp = palisade_events::time::format_rfc3339(time);
        let verb = ["get", "list", "watch", "update", "patch", "create"][(mix % 6) as usize];
        let namespace = format!("team-{}", mix >> 8 & 31);
        let pod = format!("web-{}-{:05x}", mix >> 16 & 63, mix >> 24 & 0xfff);
        let user = format!("system:serviceaccount:{namespace}:robot-{}", mix >> 12 & 15);
        let address = format!("10.0.{}.{}", mix >> 20 & 15, mix >> 28 & 255);
        let audit_id = format!("{:016x}-{:08x}", mix, offset);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/status");
        builder.put_text(col::EVENT_UID, std::str::from_utf8(&uid).unwrap_or_default());
        builder.put_time(col::TIME, time);
        builder.put_text(col::TIME_ORIGINAL, &stamp);
        builder.put_int(col::CLASS_UID, 6003);
        builder.put_int(col::ACTIVITY_ID, 1 + (mix % 6) as i32);
        builder.put_int(col::STATUS_ID, 1);
        builder.put_text(col::METADATA_UID, &audit_id);
        builder.put_word(col::METADATA_LOG_NAME, "ResponseComplete");
        builder.put_word(col::METADATA_PRODUCT_NAME, "kube-apiserver");
        builder.put_word(col::SOURCE, "audit");
        builder.put_word(col::FORMAT, "k8s_audit");
        builder.put_word(col::ORIGIN, "k8s-audit");
        builder.put_int(col::PARTITION, partition);
        builder.put_long(col::OFFSET, offset);
        builder.put_int(col::MESSAGE_INDEX, 0);
        builder.put_time(col::BROKER_TIME, time + 20_000);
        builder.put_time(col::LANE_MAX_BEFORE, time - 1_500);
        builder.put_flag(col::LATE, false);
        builder.put_word(col::CLUSTER_NAME, "prod-eu-1");
        builder.put_word(col::NAMESPACE_NAME, &namespace);
        builder.put_word(col::WORKLOAD_NAME, &pod[..pod.len() - 6]);
        builder.put_word(col::POD_NAME, &pod);
        builder.put_word(col::ACTOR_USER_NAME, &user);
        builder.put_words(col::ACTOR_USER_GROUPS, ["system:serviceaccounts", "system:authenticated"]);
        builder.put_word(col::ACTOR_SERVICE_ACCOUNT, &user[22..]);
        builder.put_word(col::HTTP_USER_AGENT, "kubelet/v1.31.2 (linux/amd64) kubernetes/5864a46");
        builder.put_text(col::HTTP_URL_PATH, &path);
        builder.put_word(col::API_OPERATION, verb);
        builder.put_word(col::API_VERSION, "v1");
        builder.put_int(col::API_RESPONSE_CODE, 200);
        builder.put_word(col::RESOURCE_TYPE, "pods");
        builder.put_word(col::RESOURCE_SUBRESOURCE, "status");
        builder.put_text(col::RESOURCE_NAME, &pod);
        builder.put_word(col::AUTHORIZATION_DECISION, "allow");
        builder.put_word(
            col::AUTHORIZATION_REASON,
            "RBAC: allowed by ClusterRoleBinding \"robots\" of ClusterRole \"robot\"",
        );
        builder.put_word(col::SRC_ENDPOINT_IP, &address);
        builder.put_words(col::SRC_ENDPOINT_IPS, [address.as_str()]);
        builder.put_text(
            col::RAW,
            &format!(
                "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"RequestResponse\",\
                 \"auditID\":\"{audit_id}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"{path}\",\
                 \"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\",\"uid\":\"{mix:x}\",\
                 \"groups\":[\"system:serviceaccounts\",\"system:authenticated\"],\
                 \"extra\":{{\"authentication.kubernetes.io/pod-name\":[\"{pod}\"]}}}},\
                 \"sourceIPs\":[\"{address}\"],\"userAgent\":\"kubelet/v1.31.2 (linux/amd64) kubernetes/5864a46\",\
                 \"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"{namespace}\",\"name\":\"{pod}\",\
                 \"apiVersion\":\"v1\",\"subresource\":\"status\"}},\"responseStatus\":{{\"metadata\":{{}},\"code\":200}},\
                 \"requestObject\":{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"True\",\
                 \"lastProbeTime\":null,\"lastTransitionTime\":\"{stamp}\"}},{{\"type\":\"ContainersReady\",\
                 \"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"{stamp}\"}}],\
                 \"podIP\":\"{address}\",\"hostIP\":\"10.1.0.{}\",\"containerStatuses\":[{{\"name\":\"web\",\
                 \"ready\":true,\"restartCount\":{},\"image\":\"registry.example.com/shop/web:1.4.{}\"}}]}}}},\
                 \"requestReceivedTimestamp\":\"{stamp}\",\"stageTimestamp\":\"{stamp}\",\
                 \"annotations\":{{\"authorization.k8s.io/decision\":\"allow\",\"authorization.k8s.io/reason\":\
                 \"RBAC: allowed by ClusterRoleBinding \\\"robots\\\" of ClusterRole \\\"robot\\\"\"}}}}",
                mix & 31,
                mix >> 40 & 3,
                mix >> 44 & 7
            ),
        );
        builder.end_row();
    }
    builder.finish()
}
