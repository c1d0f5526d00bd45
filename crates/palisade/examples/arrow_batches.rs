//! Arrow batches that the service already has: any batch with a `time` column and some of the event columns.
//!
//! `cargo run --release -p palisade --example arrow_batches`

use std::sync::Arc;

use palisade::Pipeline;
use palisade::arrow::array::{ArrayRef, Int32Array, StringArray, TimestampMicrosecondArray};
use palisade::arrow::record_batch::RecordBatch;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pipeline = Pipeline::builder()
        .source("gateway", "k8s_audit")
        .settings("[rules]\nstarter = false\n[anomaly]\nfirst_seen_off = true\n[anomaly.event_rate]\nfalse_findings_per_day = 1.0")
        .build()?;
    // Two hours of a steady service, then a burst.
    let mut findings = Vec::new();
    for minute in 0..120i64 {
        let count = if minute == 119 { 600 } else { 12 };
        findings.extend(pipeline.push_batch("gateway", &minute_of_requests(minute, count)?)?);
    }
    findings.extend(pipeline.finish()?);
    for finding in &findings {
        println!("{}: observed {}, expected {}", finding.entity, finding.observed, finding.expected);
    }
    assert!(!findings.is_empty(), "fifty times the usual rate is worth a finding");
    Ok(())
}

fn minute_of_requests(minute: i64, count: i64) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let start = 1_767_225_600_000_000 + minute * 60_000_000;
    let times: TimestampMicrosecondArray = (0..count).map(|i| Some(start + i * 60_000_000 / count)).collect();
    let rows = times.len();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times.with_timezone("UTC"))),
        ("class_uid", Arc::new(Int32Array::from(vec![6003; rows]))),
        ("cluster_name", Arc::new(StringArray::from(vec!["edge"; rows]))),
        ("namespace_name", Arc::new(StringArray::from(vec!["shop"; rows]))),
        ("workload_name", Arc::new(StringArray::from(vec!["gateway"; rows]))),
        ("actor_user_name", Arc::new(StringArray::from(vec!["customer"; rows]))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
