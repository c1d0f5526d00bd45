//! The correlations that ship with Palisade, in `packs/starter/correlations`.

use crate::spec::{Spec, SpecError};

/// File names and texts.
pub const TEXTS: [(&str, &str); 3] = [
    ("secrets_after_exec.toml", include_str!("../../../packs/starter/correlations/secrets_after_exec.toml")),
    ("denied_then_allowed.toml", include_str!("../../../packs/starter/correlations/denied_then_allowed.toml")),
    ("alert_after_exec.toml", include_str!("../../../packs/starter/correlations/alert_after_exec.toml")),
];

/// Reads them all.
///
/// # Errors
/// Never as shipped; a test reads them.
pub fn starter() -> Result<Vec<Spec>, SpecError> {
    TEXTS.iter().map(|(_, text)| Spec::parse(text)).collect()
}
