//! Findings as a tokio stream: the pipeline runs on a thread of its own, the service awaits what it finds.
//!
//! `cargo run --release -p palisade --example stream`

use futures::StreamExt;
use palisade::{Finding, Pipeline};
use palisade_drill::{Attack, Drill, Settings, Stream};
use tokio::sync::mpsc;

/// Findings that may wait for the service before the pipeline waits for it.
const WAITING_MAX: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> palisade::Result<()> {
    let (sender, receiver) = mpsc::channel::<Finding>(WAITING_MAX);
    let work = move || -> palisade::Result<()> {
        let mut pipeline = Pipeline::builder().source("audit", "k8s_audit").cluster("drill").build()?;
        let drill = Drill::new(Settings {
            duration_secs: 600,
            attacks: vec![Attack::new("stolen-ci-token", 300)],
            ..Settings::default()
        })
        .map_err(|e| palisade::Error::State(e.to_string()))?;
        for record in drill.filter(|record| record.stream == Stream::K8sAudit) {
            for finding in pipeline.push("audit", [&record.payload])? {
                // The service has gone: there is nobody to find anything for.
                if sender.blocking_send(finding).is_err() {
                    return Ok(());
                }
            }
        }
        for finding in pipeline.finish()? {
            let _ = sender.blocking_send(finding);
        }
        Ok(())
    };
    let worker = std::thread::Builder::new().name("pipeline".into()).spawn(work);
    let worker = worker.map_err(palisade::Error::io("starting the pipeline"))?;
    let stream =
        futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|f| (f, receiver)) });
    let mut worst = stream.filter(|f| std::future::ready(f.severity >= palisade::Severity::High)).boxed();
    let mut count = 0;
    while let Some(finding) = worst.next().await {
        println!("{} {} {}", finding.severity.name(), finding.title, finding.entity);
        count += 1;
    }
    worker.join().map_err(|_| palisade::Error::Thread("pipeline"))??;
    assert!(count > 0, "the drill's attack is found");
    Ok(())
}
