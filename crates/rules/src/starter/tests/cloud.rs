//! The rules for accounts of clouds over recorded attacks and over what looks like them.

use std::collections::BTreeMap;

use serde_json::Deserializer;

use super::*;

/// Recorded attacks and the rules that tell of them. The two that are missing read secrets one by one, or a handful at a
/// time, as programs do: only how many they read tells, which is the matter of a correlation.
const ATTACKS: [(&str, &str); 33] = [
    ("aws.credential-access.ec2-get-password-data", "Password Of A Windows Instance Asked For"),
    (
        "aws.credential-access.ec2-steal-instance-credentials",
        "Role Of An Instance Asks Who It Is, Script Run On Instances Through Systems Manager",
    ),
    ("aws.credential-access.secretsmanager-batch-retrieve-secrets", "Secrets Fetched Many At Once"),
    ("aws.defense-evasion.cloudtrail-delete", "CloudTrail Stopped Or Deleted"),
    ("aws.defense-evasion.cloudtrail-event-selectors", "CloudTrail Made To Record Less"),
    ("aws.defense-evasion.cloudtrail-stop", "CloudTrail Stopped Or Deleted"),
    ("aws.defense-evasion.dns-delete-logs", "Network Logs Of The Account Stopped"),
    ("aws.defense-evasion.organizations-leave", "Account Taken Out Of Its Organization"),
    ("aws.defense-evasion.vpc-remove-flow-logs", "Network Logs Of The Account Stopped"),
    ("aws.discovery.ec2-download-user-data", "Start Script Of An Instance Read"),
    ("aws.execution.ec2-launch-unusual-instances", "Instances For Mining Started"),
    ("aws.execution.ec2-user-data", "Start Script Of An Instance Changed"),
    ("aws.execution.ssm-send-command", "Script Run On Instances Through Systems Manager"),
    ("aws.execution.ssm-start-session", "Session Opened On An Instance Through Systems Manager"),
    ("aws.exfiltration.ec2-security-group-open-port-22-ingress", "Ports For Administration Opened To The World"),
    ("aws.exfiltration.ec2-share-ami", "Image Or Snapshot Shared With Others"),
    ("aws.exfiltration.ec2-share-ebs-snapshot", "Image Or Snapshot Shared With Others"),
    ("aws.exfiltration.rds-share-snapshot", "Image Or Snapshot Shared With Others"),
    ("aws.impact.bedrock-invoke-model", "Models Of Bedrock Enabled"),
    ("aws.initial-access.console-login-without-mfa", "Console Login Without A Second Factor"),
    ("aws.lateral-movement.ec2-instance-connect", "SSH Key Pushed To An Instance"),
    (
        "aws.lateral-movement.ec2-serial-console-send-ssh-public-key",
        "SSH Key Pushed To An Instance, Serial Console Of Instances Enabled",
    ),
    ("aws.persistence.iam-backdoor-role", "Role Made To Trust Other Identities"),
    ("aws.persistence.iam-backdoor-user", "Access Key Created For Another User"),
    (
        "aws.persistence.iam-create-admin-user",
        "Access Key Created For Another User, Administrator Rights Granted, User Created",
    ),
    ("aws.persistence.iam-create-backdoor-role", "Administrator Rights Granted, Role Created For Another Account"),
    ("aws.persistence.iam-create-user-login-profile", "Console Password Set For Another User"),
    ("aws.persistence.lambda-backdoor-function", "Function Opened To Everybody Or Another Account"),
    ("aws.persistence.lambda-layer-extension", "Layer Put Under A Function"),
    ("aws.persistence.lambda-overwrite-code", "Code Of A Function Replaced With A Long-Lived Key"),
    ("aws.persistence.rolesanywhere-create-trust-anchor", "Certificate Authority Trusted By Roles Anywhere"),
    ("aws.persistence.sts-federation-token", "Session Made From A Long-Lived Key"),
    ("aws.privilege-escalation.iam-update-user-login-profile", "Console Password Set For Another User"),
];

/// The recorded events of attacks, each with the technique that it belongs to.
fn recorded() -> Option<Vec<(String, Value)>> {
    let folder = crate::testing::shared("cloudtrail")?;
    let origin = fs::read_to_string(folder.join("stratus_detonation_logs.origin.tsv")).unwrap();
    let techniques = origin.lines().skip(1).map(|line| line.rsplit('\t').next().unwrap().to_owned());
    Some(techniques.zip(events("stratus_detonation_logs.ndjson")?).collect())
}

fn events(file: &str) -> Option<Vec<Value>> {
    let text = fs::read_to_string(crate::testing::shared("cloudtrail")?.join(file)).unwrap();
    Some(Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap())
}

fn told<'e>(events: impl IntoIterator<Item = &'e Value>) -> Vec<String> {
    titles(events.into_iter().map(|event| ("cloudtrail", event.clone())))
}

#[test]
fn recorded_cloud_attacks_are_noticed() {
    let Some(recorded) = recorded() else { return };
    let techniques: BTreeSet<&str> = recorded.iter().map(|(technique, _)| technique.as_str()).collect();
    assert_eq!((recorded.len(), techniques.len()), (310, 35));
    let mut titles: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for told in told(recorded.iter().map(|(_, event)| event)) {
        let (row, title) = told.split_once(' ').unwrap();
        titles.entry(&recorded[row.parse::<usize>().unwrap()].0).or_default().insert(title.to_owned());
    }
    for technique in techniques {
        let titles: Vec<String> = titles.remove(technique).into_iter().flatten().collect();
        let expected = ATTACKS.iter().find(|(of, _)| *of == technique).map_or("", |(_, titles)| titles);
        assert_eq!(titles.join(", "), expected, "{technique}");
    }
}

#[test]
fn looking_around_by_an_ordinary_role_is_not_told_of() {
    let Some(recorded) = recorded() else { return };
    let role = json!({"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/monitoring/collector"});
    let reads = |event: &Value| {
        let name = event["eventName"].as_str().unwrap_or_default();
        ["Describe", "List", "Get"].iter().any(|verb| name.starts_with(verb))
            && !["GetPasswordData", "GetFederationToken"].contains(&name)
            && event["requestParameters"]["attribute"] != "userData"
    };
    let mut twins: Vec<Value> = recorded.into_iter().map(|(_, event)| event).filter(reads).collect();
    assert!(twins.len() > 150, "{}", twins.len());
    twins.iter_mut().for_each(|event| event["userIdentity"] = role.clone());
    assert_eq!(told(&twins), Vec::<String>::new());
}

/// Somebody looks around in the console, and objects are then fetched with the role of an instance that passes requests
/// on: none of these requests differs from an ordinary one.
#[test]
fn recorded_browsing_is_not_told_of() {
    let Some(events) = events("otrf/ec2_proxy_s3_exfiltration_2020-09-14011940.json") else { return };
    assert_eq!(told(&events), Vec::<String>::new());
}
