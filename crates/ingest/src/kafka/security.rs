//! What sources and sinks of Kafka share: librdkafka's properties without their secrets showing, and tokens for
//! OAUTHBEARER out of a file that somebody else keeps fresh.
//!
//! Nobody is asked for a token here: in a cluster that is a sidecar's or the kubelet's work (a projected service account
//! token), and librdkafka's own way would need another HTTP client. Which properties go together says the configuration's
//! check, before anything is connected.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

/// Largest token that is read: some carry the groups of their owner, none comes near this.
const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// How long a token counts as good that does not say so itself. librdkafka asks for the next after four fifths of it.
const LIFETIME_MS: i64 = 5 * 60 * 1000;
/// A token that says it is good for longer is read again after this nevertheless: its file may have been replaced.
const LIFETIME_MS_MAX: i64 = 60 * 60 * 1000;
/// Whom tokens are said to be for; brokers go by what is in the token.
const PRINCIPAL: &str = "palisade";

/// Makes a client's configuration of librdkafka properties. A client that checks the broker's certificate and is not told
/// against what does so against the certificates of the system: the OpenSSL that is compiled in knows no place for them.
pub fn client_config(properties: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(name, value);
    }
    let protocol = properties.get("security.protocol");
    let over_tls = protocol.is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    let told = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|name| properties.contains_key(*name));
    if over_tls && !told {
        config.set("ssl.ca.location", "probe");
    }
    config
}

/// An error of the client library in words, without the value of the property that was refused: it may be a password.
pub fn without_secrets(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, name, value) if value.is_empty() => format!("the property `{name}`: {why}"),
        KafkaError::ClientConfig(_, why, name, value) => {
            format!("the property `{name}`: {}", why.replace(value.as_str(), "…"))
        }
        other => other.to_string(),
    }
}

/// A file with a token to authenticate with, read again whenever librdkafka wants the next one.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Names the file. It is not read yet, and may come later.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The token that the file holds now, for `ClientContext::generate_oauth_token`. A failure is also logged, because
    /// librdkafka tells of it late; it asks again after some seconds.
    ///
    /// # Errors
    /// When the file cannot be read, holds no token, or holds one that is no longer good.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        read_token(&self.path, wall_ms()).map_err(|why| {
            tracing::warn!(file = %self.path.display(), why, "no token to authenticate with");
            format!("{}: {why}", self.path.display()).into()
        })
    }
}

/// What a client without a token file says when it is asked for a token.
pub(super) fn no_token() -> Result<OAuthToken, Box<dyn Error>> {
    Err("no file with a token is configured".into())
}

fn read_token(path: &Path, now_ms: i64) -> Result<OAuthToken, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("the file is empty".into());
    }
    if text.len() as u64 > TOKEN_BYTES_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the file holds something else than one token".into());
    }
    let lifetime = expires_ms(token).map_or(LIFETIME_MS, |at| at - now_ms);
    if lifetime <= 0 {
        return Err(format!("the token has expired {} s ago", -lifetime / 1000));
    }
    let lifetime_ms = now_ms + lifetime.min(LIFETIME_MS_MAX);
    Ok(OAuthToken { token: token.to_owned(), principal_name: PRINCIPAL.into(), lifetime_ms })
}

/// When a token that is a JWT says it expires, in milliseconds since 1970.
fn expires_ms(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let secs = claims.get("exp")?.as_f64()?;
    // Beyond this no date is meant.
    (0.0..1e12).contains(&secs).then_some((secs * 1000.0) as i64)
}

/// A token's life is measured in real time; nothing that is stored depends on it.
#[allow(clippy::disallowed_methods)]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
