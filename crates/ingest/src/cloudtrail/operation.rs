//! What an operation of an AWS service does, by its name: CloudTrail states no more of it than whether it changed
//! anything.
//!
//! Not here: what an operation was done to.

use crate::activity::DETECTION;

/// OCSF API activity.
pub(crate) const API: i32 = 6003;
/// OCSF authentication.
const AUTHENTICATION: i32 = 3002;

const CREATE: i32 = 1;
const READ: i32 = 2;
const UPDATE: i32 = 3;
const DELETE: i32 = 4;
const OTHER: i32 = 99;

/// First words of operations.
const VERBS: [(i32, &[&str]); 4] = [
    (
        READ,
        &[
            "Get", "List", "Describe", "Head", "Lookup", "Search", "Query", "Scan", "Select", "View", "Check",
            "Filter", "Download", "Simulate", "Preview", "Validate", "Test", "Estimate", "Resolve", "Read",
        ],
    ),
    (
        CREATE,
        &[
            "Create",
            "Put",
            "Run",
            "Register",
            "Allocate",
            "Issue",
            "Import",
            "Request",
            "Upload",
            "Publish",
            "Generate",
            "Copy",
            "Purchase",
            "Provision",
            "Launch",
            "Initiate",
        ],
    ),
    (
        UPDATE,
        &[
            "Update",
            "Modify",
            "Set",
            "Attach",
            "Detach",
            "Associate",
            "Disassociate",
            "Change",
            "Enable",
            "Disable",
            "Tag",
            "Untag",
            "Authorize",
            "Revoke",
            "Replace",
            "Reset",
            "Rotate",
            "Restore",
            "Move",
            "Assign",
            "Unassign",
            "Grant",
            "Add",
            "Write",
            "Accept",
            "Complete",
        ],
    ),
    (DELETE, &["Delete", "Terminate", "Remove", "Deregister", "Release", "Purge", "Abort", "Cancel"]),
];

/// OCSF class and activity of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) class: i32,
    pub(crate) activity: i32,
}

impl Operation {
    /// What an operation of a service does. Signing in and taking over a role are authentication, as in OCSF's own
    /// mapping of CloudTrail.
    pub(crate) fn of(service: &str, name: &str, read_only: Option<bool>) -> Self {
        let authentication = |activity| Self { class: AUTHENTICATION, activity };
        match (service, name) {
            ("signin.amazonaws.com", "ExitRole" | "Logout") => authentication(2),
            (
                "signin.amazonaws.com" | "sso.amazonaws.com",
                "ConsoleLogin" | "SwitchRole" | "Authenticate" | "Federate",
            ) => authentication(1),
            (
                "signin.amazonaws.com",
                "CheckMfa" | "CredentialChallenge" | "CredentialVerification" | "UserAuthentication",
            ) => authentication(OTHER),
            ("sts.amazonaws.com", "GetFederationToken" | "GetSessionToken") => authentication(1),
            ("sts.amazonaws.com", name) if name.starts_with("Assume") => authentication(1),
            ("rolesanywhere.amazonaws.com", "CreateSession") => authentication(1),
            _ => Self { class: API, activity: activity_of(name, read_only) },
        }
    }

    /// Unusual activity that CloudTrail itself found, when it began or ended.
    pub(crate) fn insight(state: Option<&str>) -> Self {
        let activity = match state {
            Some("End") => 3,
            _ => 1,
        };
        Self { class: DETECTION, activity }
    }
}

/// The activity by an operation's first word; what is not known is reading if it changed nothing.
fn activity_of(name: &str, read_only: Option<bool>) -> i32 {
    let name = ["Batch", "Admin"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let end = name.bytes().skip(1).position(|b| !b.is_ascii_lowercase()).map_or(name.len(), |at| at + 1);
    let verb = name.get(..end).unwrap_or_default();
    let known = VERBS.iter().find(|(_, verbs)| verbs.contains(&verb)).map(|(activity, _)| *activity);
    known.unwrap_or(if read_only == Some(true) { READ } else { OTHER })
}

/// The cluster that a request to EKS names. Only of operations on clusters is a plain name the cluster's.
pub(super) fn cluster_of<'i>(name: &str, cluster: Option<&'i str>, plain: Option<&'i str>) -> Option<&'i str> {
    cluster.or(plain.filter(|_| name.contains("Cluster")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_tell_what_is_done() {
        for (name, read_only, activity) in [
            ("GetObject", Some(true), 2),
            ("BatchGetImage", None, 2),
            ("HeadBucket", None, 2),
            ("Headset", None, 99),
            ("RunInstances", Some(false), 1),
            ("PutObject", None, 1),
            ("AttachUserPolicy", None, 3),
            ("UpdateFunctionCode20150331v2", None, 3),
            ("AdminDisableUser", None, 3),
            ("DeleteTrail", None, 4),
            ("TerminateSession", None, 4),
            ("StopLogging", Some(false), 99),
            ("InvokeModel", Some(true), 2),
            ("", None, 99),
            ("é", None, 99),
        ] {
            assert_eq!(Operation::of("x.amazonaws.com", name, read_only), Operation { class: API, activity }, "{name}");
        }
    }

    #[test]
    fn only_sign_ins_are_authentication() {
        for (service, name, class, activity) in [
            ("signin.amazonaws.com", "ConsoleLogin", 3002, 1),
            ("signin.amazonaws.com", "ExitRole", 3002, 2),
            ("sts.amazonaws.com", "AssumeRoleWithWebIdentity", 3002, 1),
            ("sts.amazonaws.com", "GetCallerIdentity", 6003, 2),
            ("iam.amazonaws.com", "AssumeNothing", 6003, 99),
        ] {
            assert_eq!(Operation::of(service, name, None), Operation { class, activity }, "{service} {name}");
        }
        assert_eq!(Operation::insight(Some("Start")), Operation { class: 2004, activity: 1 });
        assert_eq!(Operation::insight(Some("End")), Operation { class: 2004, activity: 3 });
    }
}
