//! Which properties of Kafka clients go together, and which ones this build can serve: told when a configuration is
//! checked, not when a broker is spoken to.
//!
//! Not here: whether a broker lets anybody in.

use std::path::Path;

use super::properties::Properties;

/// What this build can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// No TLS, and of SASL only PLAIN.
    Plain,
    /// With the feature `tls`.
    Tls,
}

/// This build.
pub(super) const BUILD: Build = if cfg!(feature = "tls") { Build::Tls } else { Build::Plain };

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
const OAUTH: &str = "OAUTHBEARER";
/// Both names of the property that names the mechanism.
const MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];

/// A key under the source or sink, and what is wrong with it.
type Wrong = (String, String);

/// Finds the first property that does not go with the others or with the build.
pub(super) fn check(properties: &Properties, token_file: Option<&Path>, build: Build) -> Result<(), Wrong> {
    let fail = |name: &str, why: String| Err((format!("properties.{name}"), why));
    let protocol = properties.get("security.protocol").map_or("plaintext".into(), |p| p.to_ascii_lowercase());
    let mechanism = MECHANISM.iter().find_map(|name| Some((*name, properties.get(*name)?.as_str())));
    if build == Build::Plain {
        no_tls(properties, &protocol, mechanism, token_file)?;
    }
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return fail("security.protocol", format!("is none of {}", PROTOCOLS.join(", ")));
    }
    let (over_sasl, over_tls) = (protocol.starts_with("sasl_"), protocol.ends_with("ssl"));
    if let Some(name) = properties.keys().find(|name| !over_tls && name.starts_with("ssl.")) {
        return fail(
            name,
            format!("says nothing while `security.protocol` is {protocol}: it has to be ssl or sasl_ssl"),
        );
    }
    let idle = properties.keys().find(|name| !over_sasl && name.starts_with("sasl."));
    if let Some(name) = idle {
        let why =
            format!("says nothing while `security.protocol` is {protocol}: it has to be sasl_ssl or sasl_plaintext");
        return fail(name, why);
    }
    let is_oauth = over_sasl && mechanism.is_some_and(|(_, mechanism)| mechanism == OAUTH);
    if token_file.is_some() && !is_oauth {
        return Err(("oauth_token_file".into(), format!("goes with the `sasl.mechanism` {OAUTH}, and only with it")));
    }
    if !over_sasl {
        return Ok(());
    }
    let (name, mechanism) = match mechanism {
        None => return fail(MECHANISM[0], format!("is missing: {}", MECHANISMS.join(", "))),
        Some((name, mechanism)) if !MECHANISMS.contains(&mechanism) => {
            return fail(name, format!("is none of {}", MECHANISMS.join(", ")));
        }
        Some(known) => known,
    };
    if mechanism != OAUTH {
        let missing = ["sasl.username", "sasl.password"].into_iter().find(|name| !properties.contains_key(*name));
        return missing.map_or(Ok(()), |missing| fail(missing, format!("is missing: `{name}` is {mechanism}")));
    }
    check_oauth(properties, token_file)
}

fn check_oauth(properties: &Properties, token_file: Option<&Path>) -> Result<(), Wrong> {
    let is = |name: &str, value: &str| properties.get(name).is_some_and(|is| is.eq_ignore_ascii_case(value));
    let file = "name a file in `oauth_token_file` that something else keeps fresh";
    if is("sasl.oauthbearer.method", "oidc") {
        let why = format!("no tokens are asked for by this program: {file}");
        return Err(("properties.sasl.oauthbearer.method".into(), why));
    }
    if token_file.is_none() && !is("enable.sasl.oauthbearer.unsecure.jwt", "true") {
        return Err(("oauth_token_file".into(), format!("is missing: {file}")));
    }
    Ok(())
}

/// Finds the first thing that a build without TLS cannot do.
fn no_tls(
    properties: &Properties,
    protocol: &str,
    mechanism: Option<(&str, &str)>,
    token_file: Option<&Path>,
) -> Result<(), Wrong> {
    let needs = |key: String| Err((key, "needs a build with the feature `tls`, which this one is not".to_owned()));
    if protocol.ends_with("ssl") {
        return needs("properties.security.protocol".into());
    }
    if let Some((name, _)) = mechanism.filter(|(_, mechanism)| mechanism.starts_with("SCRAM-") || *mechanism == OAUTH) {
        return needs(format!("properties.{name}"));
    }
    let begin = ["ssl.", "enable.ssl.", "sasl.oauthbearer.", "enable.sasl.oauthbearer."];
    if let Some(name) = properties.keys().find(|name| begin.iter().any(|begin| name.starts_with(begin))) {
        return needs(format!("properties.{name}"));
    }
    if token_file.is_some() { needs("oauth_token_file".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(properties: &[(&str, &str)], token: Option<&str>, build: Build) -> Option<String> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (key, why) = check(&Properties(properties), token.map(Path::new), build).err()?;
        assert!(!why.contains("hunter2"), "{why}");
        Some(key)
    }

    #[test]
    fn what_does_not_go_together_is_told_by_its_key() {
        let user = [("sasl.username", "u"), ("sasl.password", "hunter2")];
        let with_user = |more: &[(&'static str, &'static str)]| [more, &user[..]].concat();
        for (properties, token, expected) in [
            (vec![], None, None),
            (vec![("security.protocol", "SSL"), ("ssl.ca.location", "/ca")], None, None),
            (with_user(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN")]), None, None),
            (with_user(&[("security.protocol", "sasl_ssl"), ("sasl.mechanisms", "SCRAM-SHA-512")]), None, None),
            (vec![("security.protocol", "sasl_ssl"), ("sasl.mechanism", "OAUTHBEARER")], Some("/t"), None),
            (vec![("security.protocol", "hunter2")], None, Some("properties.security.protocol")),
            (with_user(&[]), None, Some("properties.sasl.password")),
            (vec![("ssl.ca.location", "/ca")], None, Some("properties.ssl.ca.location")),
            (with_user(&[("security.protocol", "sasl_ssl")]), None, Some("properties.sasl.mechanism")),
            (
                with_user(&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "plain")]),
                None,
                Some("properties.sasl.mechanism"),
            ),
            (
                with_user(&[("security.protocol", "sasl_ssl"), ("sasl.mechanisms", "GSSAPI")]),
                None,
                Some("properties.sasl.mechanisms"),
            ),
            (
                vec![("security.protocol", "sasl_ssl"), ("sasl.mechanism", "PLAIN"), ("sasl.username", "u")],
                None,
                Some("properties.sasl.password"),
            ),
            (
                vec![("security.protocol", "sasl_ssl"), ("sasl.mechanism", "OAUTHBEARER")],
                None,
                Some("oauth_token_file"),
            ),
            (
                vec![
                    ("security.protocol", "sasl_ssl"),
                    ("sasl.mechanism", "OAUTHBEARER"),
                    ("sasl.oauthbearer.method", "OIDC"),
                ],
                Some("/t"),
                Some("properties.sasl.oauthbearer.method"),
            ),
            (
                with_user(&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "PLAIN")]),
                Some("/t"),
                Some("oauth_token_file"),
            ),
            (vec![], Some("/t"), Some("oauth_token_file")),
        ] {
            assert_eq!(wrong(&properties, token, Build::Tls).as_deref(), expected, "{properties:?} {token:?}");
        }
    }

    #[test]
    fn what_a_build_cannot_do_is_told_before_it_is_tried() {
        let protocol = ("security.protocol", "sasl_plaintext");
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        for (properties, token, expected) in [
            // This is served by every build.
            ([&[protocol, ("sasl.mechanism", "PLAIN")][..], &user[..]].concat(), None, None),
            (vec![("compression.type", "zstd")], None, None),
            (vec![("security.protocol", "ssl")], None, Some("properties.security.protocol")),
            (vec![("security.protocol", "SASL_SSL")], None, Some("properties.security.protocol")),
            (vec![("ssl.ca.location", "/ca")], None, Some("properties.ssl.ca.location")),
            (
                [&[protocol, ("sasl.mechanism", "SCRAM-SHA-256")][..], &user[..]].concat(),
                None,
                Some("properties.sasl.mechanism"),
            ),
            (vec![protocol, ("sasl.mechanisms", "OAUTHBEARER")], Some("/t"), Some("properties.sasl.mechanisms")),
            (vec![], Some("/t"), Some("oauth_token_file")),
        ] {
            assert_eq!(wrong(&properties, token, Build::Plain).as_deref(), expected, "{properties:?} {token:?}");
        }
        let why = check(&Properties::default(), Some(Path::new("/t")), Build::Plain).unwrap_err().1;
        assert!(why.contains("feature `tls`"), "{why}");
    }
}
