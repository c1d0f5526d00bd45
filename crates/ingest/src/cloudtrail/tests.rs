//! Which parts of a CloudTrail record fill which columns, what is none, and what digests tell.

use std::collections::BTreeMap;

use palisade_events::{EventBatch, FieldValue};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::{Decoded, Format};
use crate::testing::{decode, shared};

fn decode_with<'p>(plan: &[&str], payloads: impl IntoIterator<Item = &'p str>) -> (EventBatch, Decoded) {
    let payloads: Vec<&str> = payloads.into_iter().collect();
    decode(&Format::CloudTrail, plan, &payloads)
}

fn reasons(out: &Decoded) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for reject in &out.rejects {
        *reasons.entry(reject.reason.as_str()).or_default() += 1;
    }
    reasons
}

fn event(part: &Json) -> Json {
    let mut event = json!({
        "eventVersion": "1.09", "eventTime": "2026-02-03T10:15:30Z", "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeInstances", "awsRegion": "eu-central-1", "eventID": "e-1", "requestID": "r-1",
        "recipientAccountId": "111122223333", "eventCategory": "Management",
    });
    for (key, value) in part.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

#[test]
fn parts_of_a_record_fill_their_columns() {
    let arn = "arn:aws:iam::111122223333:user/marta";
    let role = "arn:aws:sts::111122223333:assumed-role/ci/build-7";
    let cases = [
        (
            json!({"eventSource": "ec2.amazonaws.com", "readOnly": true, "userAgent": "aws-cli", "apiVersion": "2016-11-15",
                "sourceIPAddress": "198.51.100.7", "tlsDetails": {"clientProvidedHostHeader": "ec2.example"}}),
            json!({
                "class_uid": 6003, "activity_id": 2, "api_operation": "DescribeInstances", "status_id": 1,
                "api_service_name": "ec2.amazonaws.com", "metadata_original_uid": "e-1", "api_request_uid": "r-1",
                "metadata_correlation_uid": "r-1", "metadata_product_name": "cloudtrail", "cloud_provider": "AWS",
                "cloud_account_uid": "111122223333", "cloud_region": "eu-central-1", "metadata_log_name": "Management",
                "time": "2026-02-03T10:15:30.000000Z", "time_original": "2026-02-03T10:15:30Z",
                "src_endpoint_ip": "198.51.100.7", "http_request_user_agent": "aws-cli", "api_version": "2016-11-15",
                "dst_endpoint_hostname": "ec2.example", "truncated": null, "src_endpoint_hostname": null,
            }),
        ),
        (
            json!({"userIdentity": {"type": "IAMUser", "principalId": "AIDA", "arn": arn, "accountId": "1", "userName": "marta",
                "accessKeyId": "key-7"}}),
            json!({
                "actor_user_name": "marta", "actor_user_uid": arn, "actor_user_type": "IAMUser",
                "actor_user_credential_uid": "key-7", "actor_session_issuer": null,
            }),
        ),
        (
            json!({"userIdentity": {"type": "AssumedRole", "arn": role, "sessionContext": {"sessionIssuer":
                {"type": "Role", "arn": "arn:aws:iam::111122223333:role/ci", "userName": "ci"}, "attributes": {"userName": "no"}}}}),
            json!({
                "actor_user_name": "ci", "actor_user_uid": role, "actor_user_type": "AssumedRole",
                "actor_session_issuer": "arn:aws:iam::111122223333:role/ci",
            }),
        ),
        (
            json!({"userIdentity": {"type": "AssumedRole", "arn": role, "sessionContext": {"sessionIssuer": {}}}}),
            json!({"actor_user_name": "build-7"}),
        ),
        (
            json!({"userIdentity": {"type": "Root", "arn": "arn:aws:iam::1:root", "accountId": "1", "userName": "alias"}}),
            json!({"actor_user_name": "root", "actor_user_uid": "arn:aws:iam::1:root"}),
        ),
        (
            json!({"userIdentity": {"type": "AWSService", "invokedBy": "eks.amazonaws.com"}, "sourceIPAddress": "eks.amazonaws.com"}),
            json!({
                "actor_user_name": "eks.amazonaws.com", "actor_user_uid": null, "src_endpoint_ip": null,
                "src_endpoint_hostname": "eks.amazonaws.com",
            }),
        ),
        (
            json!({"userIdentity": {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"},
                "sourceIPAddress": "AWS Internal"}),
            json!({"actor_user_name": "ANONYMOUS_PRINCIPAL", "src_endpoint_ip": null, "src_endpoint_hostname": "AWS Internal"}),
        ),
        (
            json!({"userIdentity": {"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u-1"}, "credentialId": "c-1"},
                "additionalEventData": {"UserName": "jana"}}),
            json!({"actor_user_name": "jana", "actor_user_uid": "u-1", "actor_user_credential_uid": "c-1"}),
        ),
        (
            json!({"eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "errorMessage": "Failed authentication",
                "userIdentity": {"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS", "accountId": "1"},
                "responseElements": {"ConsoleLogin": "Failure"}}),
            json!({
                "class_uid": 3002, "activity_id": 1, "status_id": 2, "status_detail": "Failed authentication",
                "actor_user_name": "1", "api_response_error": null,
            }),
        ),
        (
            json!({"eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}}),
            json!({"status_id": 1}),
        ),
        (
            json!({"eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}),
            json!({"status_id": 2}),
        ),
        (
            json!({"eventSource": "sts.amazonaws.com", "eventName": "AssumeRole", "requestParameters": {"roleArn": "arn:role"},
                "sharedEventID": "shared"}),
            json!({
                "class_uid": 3002, "activity_id": 1, "resource_uid": "arn:role", "metadata_correlation_uid": "shared",
            }),
        ),
        (
            json!({"errorCode": "Client.UnauthorizedOperation", "errorMessage": "You are not authorized"}),
            json!({
                "status_id": 2, "api_response_error": "Client.UnauthorizedOperation", "status_detail": "You are not authorized",
                "authorization_decision": "forbid",
            }),
        ),
        (
            json!({"errorCode": "NoSuchBucket"}),
            json!({"status_id": 2, "status_detail": "NoSuchBucket", "authorization_decision": null}),
        ),
        (
            json!({"eventSource": "s3.amazonaws.com", "eventName": "PutObject", "requestParameters": {"key": "k", "bucketName": "b"},
                "resources": [{"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::b/"},
                    {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b"}, {"ARN": "arn:other", "type": "x"}]}),
            json!({
                "activity_id": 1, "resource_uid": "arn:aws:s3:::b", "resource_type": "AWS::S3::Bucket", "resource_name": "b",
            }),
        ),
        (
            json!({"resources": [{"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::b/"}]}),
            json!({"resource_uid": "arn:aws:s3:::b/", "resource_type": "AWS::S3::Object"}),
        ),
        (
            json!({"eventSource": "iam.amazonaws.com", "eventName": "AttachUserPolicy",
                "requestParameters": {"policyArn": "arn:p", "userName": "deploy-bot"}, "responseElements": null, "resources": null}),
            json!({"class_uid": 6003, "activity_id": 3, "resource_name": "deploy-bot", "resource_uid": null}),
        ),
        (
            json!({"eventSource": "eks.amazonaws.com", "eventName": "UpdateClusterConfig", "requestParameters": {"name": "shop-prod"}}),
            json!({"cluster_name": "shop-prod", "resource_name": "shop-prod"}),
        ),
        (
            json!({"eventSource": "eks.amazonaws.com", "eventName": "CreateNodegroup",
                "requestParameters": {"clusterName": "shop-prod", "nodegroupName": "ng"}}),
            json!({"cluster_name": "shop-prod", "resource_name": "ng"}),
        ),
        (
            json!({"eventSource": "eks.amazonaws.com", "eventName": "CreateEksAnywhereSubscription", "requestParameters": {"name": "x"}}),
            json!({"cluster_name": null}),
        ),
        (
            json!({"eventSource": "ecr.amazonaws.com", "eventName": "PutImage",
                "requestParameters": {"repositoryName": "shop/web", "imageTag": "1.4"},
                "responseElements": {"image": {"registryId": "111122223333", "imageId": {"imageDigest": "sha256:ff"}}}}),
            json!({
                "container_image_name": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop/web",
                "container_image_tag": "1.4", "container_image_uid": "sha256:ff", "activity_id": 1,
            }),
        ),
        (
            json!({"eventSource": "ecr.amazonaws.com", "eventName": "BatchGetImage", "awsRegion": "cn-north-1",
                "requestParameters": {"repositoryName": "web", "registryId": "9", "imageIds": [{"imageTag": "a"}, {"imageTag": "b"}]}}),
            json!({
                "container_image_name": "9.dkr.ecr.cn-north-1.amazonaws.com.cn/web", "container_image_tag": "a", "activity_id": 2,
            }),
        ),
        (
            json!({"eventSource": "ecr.amazonaws.com", "eventName": "PolicyExecutionEvent", "eventType": "AwsServiceEvent",
                "serviceEventDetails": {"repository-name": "web", "image-digest": "sha256:aa", "image-tags": ["x", "y"]}}),
            json!({"container_image_uid": "sha256:aa", "container_image_tag": "x", "activity_id": 99}),
        ),
        (json!({"responseElements": {"omitted": true}}), json!({"truncated": true})),
        (
            json!({"eventTime": null, "@timestamp": "2020-09-14T00:44:23.000Z"}),
            json!({"time": "2020-09-14T00:44:23.000000Z"}),
        ),
        (json!({"eventCategory": null, "eventType": "AwsApiCall"}), json!({"metadata_log_name": "AwsApiCall"})),
        (
            json!({"addendum": {"reason": "UPDATED_DATA", "originalEventID": "e-0"}}),
            json!({"metadata_correlation_uid": "e-0", "metadata_original_uid": "e-1"}),
        ),
        (
            json!({"userIdentity": "x", "requestParameters": [1], "responseElements": "y", "resources": {"ARN": "z"}, "readOnly": "true",
                "eventName": "Frobnicate"}),
            json!({"actor_user_name": null, "resource_uid": null, "activity_id": 2}),
        ),
    ];
    for (part, expected) in cases {
        let payload = event(&part).to_string();
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {part}");
        }
    }
}

#[test]
fn insights_are_findings() {
    let insight = json!({"eventVersion": "1.07", "eventTime": "2026-02-03T10:15:00Z", "awsRegion": "us-east-1", "eventID": "i-1",
        "eventType": "AwsCloudTrailInsight", "recipientAccountId": "1", "sharedEventID": "pair", "eventCategory": "Insight",
        "insightDetails": {"state": "Start", "eventSource": "ssm.amazonaws.com", "eventName": "UpdateInstanceInformation",
            "insightType": "ApiCallRateInsight", "insightContext": {"statistics": {"insight": {"average": 664}}}}});
    let (batch, _) = decode_with(&[], [insight.to_string().as_str()]);
    let row = batch.row_json(0);
    for (column, value) in [
        ("class_uid", json!(2004)),
        ("activity_id", json!(1)),
        ("finding_info_title", json!("ApiCallRateInsight")),
        ("api_operation", json!("UpdateInstanceInformation")),
        ("metadata_correlation_uid", json!("pair")),
        ("status_id", Json::Null),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
}

#[test]
fn a_digest_and_what_was_left_out_are_coverage() {
    let digest = json!({"digestStartTime": "2026-02-03T09:00:00Z", "digestEndTime": "2026-02-03T10:00:00Z", "logFiles": [{}, {}]});
    let (batch, out) = decode_with(&[], [digest.to_string().as_str()]);
    assert_eq!((batch.rows(), out.counts.coverage, out.rejects.len()), (0, 1, 0));
    assert_eq!(
        (out.coverage[0].kind, out.coverage[0].window_end - out.coverage[0].window_start),
        (CoverageKind::Health, 3_600_000_000)
    );
    assert_eq!(out.coverage[0].detail, "digest of 2 log files");
    let (batch, out) = decode_with(&[], [event(&json!({"requestParameters": {"omitted": true}})).to_string().as_str()]);
    assert_eq!((batch.rows(), out.coverage[0].kind, out.coverage[0].count), (1, CoverageKind::Truncated, 1));
}

#[test]
fn every_sample_decodes_and_what_is_bad_is_refused() {
    let (batch, out) = decode_with(&[], include_str!("../../samples/cloudtrail.ndjson").lines());
    assert_eq!(
        (batch.rows(), out.counts.records, out.counts.used, out.rejects.len()),
        (10, 9, 9, 0),
        "{:?}",
        out.rejects
    );
    let (batch, out) = decode_with(&[], include_str!("../../samples/cloudtrail.bad.ndjson").lines());
    assert_eq!((batch.rows(), out.counts.rejected, out.counts.coverage), (0, 3, 1));
    let expected = [("missing_time", 1), ("not_a_cloudtrail_event", 2)];
    assert_eq!(reasons(&out), BTreeMap::from(expected));
}

#[test]
fn the_same_event_delivered_twice_has_one_id() {
    let payload = event(&json!({})).to_string();
    let file = json!({"Records": [event(&json!({})), event(&json!({"eventID": "e-2"}))]}).to_string();
    let (batch, _) = decode_with(&[], [payload.as_str(), file.as_str()]);
    let ids: Vec<Json> = (0..batch.rows()).map(|row| batch.row_json(row)["metadata_original_uid"].clone()).collect();
    assert_eq!(ids, ["e-1", "e-1", "e-2"]);
}

#[test]
fn rules_name_fields_of_the_record() {
    let payload =
        event(&json!({"requestParameters": {"userName": "x"}, "resources": [{"ARN": "a"}, {"ARN": "b"}]})).to_string();
    let (batch, _) = decode_with(&["eventName", "requestParameters.userName", "resources.ARN"], [payload.as_str()]);
    let values: Vec<&[FieldValue]> = batch.fields().iter().map(|field| field.values()).collect();
    let text = |text: &str| FieldValue::Str(text.into());
    assert_eq!(values, [&[text("DescribeInstances")][..], &[text("x")], &[text("a"), text("b")]]);
}

#[test]
fn recorded_attacks_decode() {
    for (file, events, actors) in [
        ("stratus_detonation_logs.ndjson", 310, 310),
        ("otrf/ec2_proxy_s3_exfiltration_2020-09-14011940.json", 103, 103),
    ] {
        let Some(path) = shared(&format!("cloudtrail/{file}")) else { return };
        let text = std::fs::read_to_string(path).unwrap();
        let (batch, out) = decode_with(&[], text.lines());
        assert_eq!((batch.rows(), out.rejects.len()), (events, 0), "{file}: {:?}", reasons(&out));
        // The recordings are of attacks days apart, which a lane's clock notes; the records themselves tell of no loss.
        assert!(out.coverage.iter().all(|fact| fact.kind == CoverageKind::Future), "{file}");
        let mut ids = std::collections::BTreeSet::new();
        let mut named = 0;
        for row in 0..batch.rows() {
            let row = batch.row_json(row);
            ids.insert(row["metadata_original_uid"].to_string());
            named += usize::from(row["actor_user_name"].is_string());
            assert!(row["src_endpoint_ip"].is_string() || row["src_endpoint_hostname"].is_string(), "{row}");
        }
        assert_eq!((ids.len(), named), (events, actors), "{file}");
    }
}
