//! `/metrics`, `/healthz` and `/readyz` over plain HTTP, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tiny_http::{Method, Response, Server};

use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// How often the server looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
/// A run loop that has not come round for so long hangs: its longest honest waits are questions to a broker, of ten
/// seconds each.
const STALLED: Duration = Duration::from_secs(120);

/// A running server. Ends when dropped.
pub struct HttpServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    address: String,
}

impl HttpServer {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(address: &str, metrics: Arc<Metrics>) -> Result<Self> {
        let server = Server::http(address).map_err(|e| Error::Io {
            what: format!("listening on {address}"),
            why: std::io::Error::other(e.to_string()),
        })?;
        let bound = server.server_addr().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(Some(request)) = server.recv_timeout(LOOK) {
                    let (status, body) = answer(request.method(), request.url(), &metrics);
                    // A client that went away is no concern of ours.
                    let _ = request.respond(Response::from_string(body).with_status_code(status));
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(serve)
            .map_err(Error::io("starting the http thread"))?;
        Ok(Self { stop, thread: Some(thread), address: bound })
    }

    /// The address that was bound, as when port 0 was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(method: &Method, url: &str, metrics: &Metrics) -> (u16, String) {
    let health = metrics.health();
    let degraded: Vec<String> = health.degraded.iter().map(|(what, words)| format!("{what}: {words}")).collect();
    let words = if degraded.is_empty() { "ok".to_owned() } else { degraded.join("\n") };
    let stalled = health.beat.map(|beat| beat.elapsed()).filter(|still| *still > STALLED);
    match (method, url.split('?').next().unwrap_or_default()) {
        (Method::Get | Method::Head, "/metrics") => (200, metrics.encode()),
        (Method::Get | Method::Head, "/healthz" | "/readyz") if stalled.is_some() => {
            (503, format!("the run loop has not come round for {} s", stalled.unwrap_or_default().as_secs()))
        }
        // Degraded is alive: a restart would not bring back a lost partition.
        (Method::Get | Method::Head, "/healthz") => (200, words),
        (Method::Get | Method::Head, "/readyz") if health.ready => (200, words),
        (Method::Get | Method::Head, "/readyz") => (503, format!("not ready\n{words}")),
        _ => (404, "there are /metrics, /healthz and /readyz".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_health_and_unknown_paths_are_refused() {
        let metrics = Metrics::new();
        assert_eq!(answer(&Method::Get, "/readyz", &metrics).0, 503);
        metrics.set_health(|h| h.ready = true);
        assert_eq!(answer(&Method::Get, "/readyz", &metrics).0, 200);
        metrics.degrade("lake", "no route to it".into());
        assert_eq!(answer(&Method::Get, "/healthz", &metrics), (200, "lake: no route to it".into()));
        metrics.recover("lake");
        assert_eq!(answer(&Method::Get, "/healthz", &metrics), (200, "ok".into()));
        metrics.set_health(|h| h.beat = crate::clock::now().checked_sub(STALLED * 2));
        assert_eq!(answer(&Method::Get, "/healthz", &metrics).0, 503, "a loop that hangs is not alive");
        metrics.set_health(|h| h.beat = Some(crate::clock::now()));
        assert_eq!(answer(&Method::Get, "/healthz", &metrics).0, 200);
        metrics.records.inc_by(7);
        assert!(answer(&Method::Get, "/metrics", &metrics).1.contains("palisade_records_in_total 7"));
        assert_eq!(answer(&Method::Post, "/metrics", &metrics).0, 404);
    }
}
