//! The end of a consumer, which must not hold up the end of whoever drops the source.
//!
//! Closing commits what offsets wait and leaves the group. Where no broker can be reached, librdkafka waits for one as long
//! as the group would (`session.timeout.ms`) before it gives up the offsets of the last cut, which are for lag tools only.
//!
//! Not here: letting partitions go while the source lives (`Source::release`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::context::Context;

/// How long the end of a source waits for its consumer: a broker that is there answers within a fraction of it.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Closes a consumer on a thread of its own, once its source has let go of it. To be dropped after the source's own
/// reference, which the order of fields sees to.
#[derive(Default)]
pub(super) struct Closing(Option<Parting>);

struct Parting {
    /// Dropped when the source's reference is gone.
    go: SyncSender<()>,
    gone: Receiver<()>,
    thread: JoinHandle<()>,
    source: String,
}

impl Closing {
    /// Takes a last reference along. Without a thread the consumer is closed by whoever drops it, however long it takes.
    pub(super) fn begin(&mut self, consumer: Arc<BaseConsumer<Context>>, source: &str) {
        let (go, start) = sync_channel::<()>(0);
        let (done, gone) = sync_channel(1);
        let close = move || {
            // Nothing is ever sent: the other end goes away.
            let _ = start.recv();
            drop(consumer);
            let _ = done.send(());
        };
        let thread = std::thread::Builder::new().name("kafka-close".into()).spawn(close);
        self.0 = thread.ok().map(|thread| Parting { go, gone, thread, source: source.to_owned() });
    }
}

impl Drop for Closing {
    /// Waits for the consumer, but not for long. A thread that is left behind ends by itself when librdkafka gives up, and
    /// holds nothing but the consumer; joining it would be the wait that is to be avoided.
    fn drop(&mut self) {
        let Some(Parting { go, gone, thread, source }) = self.0.take() else { return };
        drop(go);
        match gone.recv_timeout(CLOSE_MAX) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(source, "no broker answers: the group is left without saying goodbye");
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => drop(thread.join()),
        }
    }
}
