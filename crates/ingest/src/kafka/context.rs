//! What librdkafka calls back: rebalances, errors with their reasons, and tokens to authenticate with.
//!
//! Not here: what follows from any of them.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::KafkaSettings;
use super::rebalances::Rebalances;
use super::security::{TokenFile, no_token};

/// A consumer's context.
#[derive(Default)]
pub(super) struct Context {
    pub(super) rebalances: Rebalances,
    token: Option<TokenFile>,
    /// What librdkafka said last about connections that fail.
    reason: Mutex<Option<String>>,
}

impl Context {
    pub(super) fn new(settings: &KafkaSettings) -> Self {
        let token = settings.oauth_token_file.clone().map(TokenFile::new);
        Self { token, ..Self::default() }
    }

    /// Why brokers cannot be reached, in librdkafka's words, as far as it has told.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They can be.
    pub(super) fn forget_reason(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Errors also come back from polling, where they are judged, without their reasons; a partition's end is none.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let code = error.rdkafka_error_code();
        // That all brokers are down says nothing about why.
        let tells = !matches!(code, Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AllBrokersDown));
        if tells {
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token.as_ref().map_or_else(no_token, TokenFile::token)
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.rebalances.note(consumer, err, list);
    }
}
