//! Palisade inside a service: bytes in, findings out. No server, no lake.
//!
//! `cargo run --release -p palisade --example embed`

use palisade::{Ownership, Pipeline};

fn main() -> palisade::Result<()> {
    let payments =
        Ownership { owner: "team-payments".into(), namespace: Some("payments".into()), ..Ownership::default() };
    let mut pipeline = Pipeline::builder().source("audit", "k8s_audit").cluster("prod").owner(payments).build()?;

    let exec = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7d3f","stage":"ResponseStarted",
        "requestURI":"/api/v1/namespaces/payments/pods/api-0/exec?command=sh&stdin=true","verb":"create",
        "user":{"username":"mallory","groups":["system:authenticated"]},"sourceIPs":["203.0.113.9"],
        "userAgent":"kubectl/v1.33.0","objectRef":{"resource":"pods","namespace":"payments","name":"api-0",
        "apiVersion":"v1","subresource":"exec"},"responseStatus":{"code":101},
        "requestReceivedTimestamp":"2026-01-01T12:00:00.000000Z","stageTimestamp":"2026-01-01T12:00:00.100000Z"}"#;

    let mut findings = pipeline.push("audit", [exec])?;
    findings.extend(pipeline.finish()?);
    for finding in &findings {
        let owner = finding.owner.as_deref().unwrap_or("nobody");
        println!("{}: {} ({}, owned by {owner})", finding.severity.name(), finding.explanation, finding.entity);
    }
    assert!(pipeline.accounts().balance());
    assert!(!findings.is_empty(), "an interactive shell in a pod is worth a finding");
    Ok(())
}
