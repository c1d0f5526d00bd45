//! Arrow batches that the service already has: any batch with a `time` column and some of the event columns. They are of
//! the format that their source declares, so that the starter pack's rules and correlations for it apply.
//!
//! `cargo run --release -p palisade --example arrow_batches`

use std::sync::Arc;

use palisade::Pipeline;
use palisade::arrow::array::{ArrayRef, Int32Array, StringArray, TimestampMicrosecondArray};
use palisade::arrow::record_batch::RecordBatch;
use palisade::events::FindingKind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pipeline = Pipeline::builder()
        .source("gateway", "k8s_audit")
        .cluster("edge")
        .settings("[anomaly]\nfirst_seen_off = true\n[anomaly.event_rate]\nfalse_findings_per_day = 1.0")
        .build()?;
    // Two hours of a steady service in front of the API server, then a burst. Once, somebody opens a session in a pod.
    let mut findings = Vec::new();
    for minute in 0..120i64 {
        let count = if minute == 119 { 600 } else { 12 };
        if minute == 60 {
            findings.extend(pipeline.push_batch("gateway", &minute_of_requests(minute, 1, "create", Some("exec"))?)?);
        }
        findings.extend(pipeline.push_batch("gateway", &minute_of_requests(minute, count, "get", None)?)?);
    }
    findings.extend(pipeline.finish()?);
    for finding in &findings {
        match finding.kind {
            FindingKind::Anomaly => {
                println!("{}: observed {}, expected {}", finding.entity, finding.observed, finding.expected);
            }
            _ => println!("{}: {}", finding.entity, finding.explanation),
        }
    }
    let kinds = |kind: FindingKind| findings.iter().filter(|finding| finding.kind == kind).count();
    assert!(kinds(FindingKind::Rule) > 0, "a session in a pod is worth a finding of the starter pack");
    assert!(kinds(FindingKind::Anomaly) > 0, "fifty times the usual rate is worth a finding");
    Ok(())
}

/// Requests about pods, as many as there are, evenly over a minute.
fn minute_of_requests(
    minute: i64,
    count: i64,
    verb: &str,
    subresource: Option<&str>,
) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    // Microseconds since 1970, UTC; other units of Arrow timestamps will do as well.
    let start = 1_767_225_600_000_000 + minute * 60_000_000;
    let times: TimestampMicrosecondArray = (0..count).map(|i| Some(start + i * 60_000_000 / count)).collect();
    let rows = times.len();
    let same = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times.with_timezone("UTC"))),
        ("class_uid", Arc::new(Int32Array::from(vec![6003; rows]))),
        ("namespace_name", same(Some("shop"))),
        ("workload_name", same(Some("gateway"))),
        ("actor_user_name", same(Some("customer"))),
        ("api_operation", same(Some(verb))),
        ("resource_type", same(Some("pods"))),
        ("resource_subresource", same(subresource)),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
}
