//! Rebalances as librdkafka tells of them, kept until the caller of the source has dealt with them.
//!
//! Not here: the answers (`Source::start` and `Source::release`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// Remembers rebalances.
#[derive(Default)]
pub(super) struct Rebalances {
    events: Mutex<VecDeque<Rebalance>>,
    /// The consumer is being closed: there is nobody left to answer a rebalance, so it is answered at once.
    closing: AtomicBool,
}

/// Partitions, by topic and number, that came or are to be let go.
pub(super) enum Rebalance {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
}

impl Rebalances {
    /// What happened since the last call, in order.
    pub(super) fn take_all(&self) -> VecDeque<Rebalance> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on nobody answers but this.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Remembers one, or answers it if the consumer is being closed.
    pub(super) fn note<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        err: RDKafkaRespErr,
        list: &TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            // Errors here mean that the group is gone already.
            let _ = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            return;
        }
        let partitions = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        let event = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assigned(partitions),
            _ => Rebalance::Revoked(partitions),
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}
