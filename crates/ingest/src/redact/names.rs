//! What names say of the values under them: keys of JSON and columns of CSV, environment variables, arguments.
//!
//! Not here: names that a file of rules gives (`rules`).

use super::SecretKind;

/// What a key or the name of a header says of its text.
pub(super) fn kind_of_key(key: &str) -> Option<SecretKind> {
    of_folded(&folded(key))
}

fn of_folded(name: &str) -> Option<SecretKind> {
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&["password", "passwd", "passphrase"]) {
        Some(SecretKind::Password)
    } else if TOKEN_NAMES.contains(&name) || ends(&TOKENS) {
        Some(SecretKind::Token)
    } else if ends(&["secretaccesskey"]) || name.starts_with("awssecret") {
        Some(SecretKind::AwsSecretKey)
    } else if ends(&["clientsecret", "apikey"]) {
        Some(SecretKind::ApiKey)
    } else if name == "authorization" || name == "proxyauthorization" {
        Some(SecretKind::Authorization)
    } else {
        None
    }
}

/// Whole names of what lets its bearer in; cookies as headers hold them.
const TOKEN_NAMES: [&str; 3] = ["token", "cookie", "setcookie"];

/// Tokens that let their bearer in, unlike those that tell where a list goes on.
const TOKENS: [&str; 10] = [
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "bearertoken",
    "sessiontoken",
    "securitytoken",
    "identitytoken",
    "registrytoken",
    "authorizationtoken",
];

/// What the name of a variable says of its value: of an environment, or of the config map that fills one.
pub(super) fn kind_of_variable(name: &str) -> Option<SecretKind> {
    let folded = folded(name);
    of_folded(&folded).or_else(|| {
        if folded.ends_with("token") {
            Some(SecretKind::Token)
        } else if ["secret", "secretkey", "accesskey", "privatekey"].iter().any(|suffix| folded.ends_with(suffix)) {
            Some(SecretKind::ApiKey)
        } else if ["_pass", "_pwd"].iter().any(|suffix| ends_with(name, suffix)) {
            // Without anything before it, `PWD` is a folder.
            Some(SecretKind::Password)
        } else {
            None
        }
    })
}

/// What an argument says of the argument after it.
pub(super) fn announces(argument: &str) -> Option<SecretKind> {
    let option = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let option = folded(option);
    if ["password", "passwd", "passphrase"].iter().any(|suffix| option.ends_with(suffix)) {
        Some(SecretKind::Password)
    } else if option.ends_with("token") {
        Some(SecretKind::Token)
    } else {
        None
    }
}

fn ends_with(name: &str, suffix: &str) -> bool {
    let at = name.len().checked_sub(suffix.len());
    at.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// A name without case and without what joins its words.
pub(super) fn folded(name: &str) -> String {
    name.chars().filter(|c| !is_joint(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a character joins the words of a name.
pub(super) fn is_joint(c: char) -> bool {
    matches!(c, '_' | '-' | '.')
}
