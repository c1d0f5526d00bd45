//! The tables beside `events`: what each of their columns holds, in words, and under the names of OCSF and ECS.
//!
//! Not here: their Arrow schemas, which stand beside what fills them ([`crate::finding`], [`crate::facts`],
//! [`crate::object`], the lake). Tests hold the two together: one of this crate for the tables that it knows, one across
//! crates for all that a lake has.

/// A table, as `docs/schema.md` tells of it.
#[derive(Clone, Copy, Debug)]
pub struct TableNotes {
    /// Name in the lake and in SQL.
    pub name: &'static str,
    /// What one row is.
    pub about: &'static str,
    /// Partition columns, outermost first.
    pub partitions: &'static [&'static str],
    /// Columns in table order, those that only the lake adds last.
    pub columns: &'static [Note],
}

/// One column of such a table.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// Column name.
    pub name: &'static str,
    /// Type, in the words of the page.
    pub kind: &'static str,
    /// OCSF attribute path; empty where OCSF has none.
    pub ocsf: &'static str,
    /// ECS field name; empty where ECS has none.
    pub ecs: &'static str,
    /// What it holds, in which unit, and when it is absent.
    pub meaning: &'static str,
}

macro_rules! notes {
    ($($name:literal $kind:ident $ocsf:literal $ecs:literal $meaning:literal;)*) => {
        &[$(Note { name: $name, kind: stringify!($kind), ocsf: $ocsf, ecs: $ecs, meaning: $meaning }),*]
    };
}

/// Every table beside `events`.
pub const TABLES: &[TableNotes] = &[FINDINGS, REJECTS, COVERAGE, OBJECTS, DECISIONS, SOURCES, DISPOSITIONS];

const FINDINGS: TableNotes = TableNotes {
    name: "findings",
    about: "One row is one detection: an OCSF Detection Finding (class 2004). Nothing in it depends on the wall clock.",
    partitions: &["date"],
    columns: notes! {
        "finding_uid" text "finding_info.uid" "event.id"
            "Deterministic id of the finding: 32 hex digits, a hash of rule, entity, and the pane or the first evidence.";
        "group_uid" text "metadata.correlation_uid" ""
            "Shared by the findings of one rule about one entity on one day (UTC): 32 hex digits.";
        "time" time "time" "@timestamp"
            "Time of the newest evidence, or the end of the pane.";
        "kind" text "finding_info.analytic.type" "rule.category"
            "What made it: `rule`, `anomaly` or `correlation`.";
        "rule_uid" text "finding_info.analytic.uid" "rule.id"
            "Id of the rule, the correlation or the detector.";
        "rule_version" text "finding_info.analytic.version" "rule.version"
            "Version of the rule: its date of change, its pack's version or the program's. No part of the ids.";
        "title" text "finding_info.title" "rule.name"
            "What was found, in one line.";
        "severity_id" int "severity_id" "event.severity"
            "How bad: 1 informational, 2 low, 3 medium, 4 high, 5 critical.";
        "severity" text "severity" ""
            "The same as a Sigma level: `informational` to `critical`.";
        "confidence" double "confidence_score" ""
            "How sure the detector is, from 0 to 1; OCSF counts to 100.";
        "entity" text "resources.uid" ""
            "What it is about: `kind:cluster/namespace/name`, or `kind:cluster/name`.";
        "entity_kind" text "resources.type" ""
            "Kind of the entity: workload, container, image, service_account, user, address, node, namespace or cluster.";
        "cluster_name" text "unmapped.cluster.name" "orchestrator.cluster.name"
            "Cluster of the entity; empty if its source states none.";
        "entities" words "observables.value" ""
            "Everything involved, the entity first, each written as `entity`.";
        "owner" text "resources.owner.name" ""
            "Who owns the entity, by the configuration; absent if nobody is named.";
        "count" long "count" ""
            "Events that it stands for.";
        "first_seen" time "finding_info.first_seen_time" "event.start"
            "Time of the oldest of these events.";
        "last_seen" time "finding_info.last_seen_time" "event.end"
            "Time of the newest of these events.";
        "detected_at" time "finding_info.created_time" "event.created"
            "When the stream could know it: the end of the pane, or when the carrier logged the event (else event time).";
        "author" text "" "rule.author"
            "Who wrote the rule.";
        "references" words "" "rule.reference"
            "Where to read more: URLs, or the paper of a statistical method.";
        "false_positives" words "" ""
            "What else looks like this.";
        "triage" words "remediation.desc" ""
            "What to do first, step by step.";
        "attack_version" text "finding_info.attacks.version" ""
            "Version of ATT&CK that the ids are from; empty if there are none.";
        "attack_techniques" words "finding_info.attacks.technique.uid" "threat.technique.id"
            "ATT&CK techniques, as `T1611` or `T1552.007`.";
        "attack_tactics" words "finding_info.attacks.tactic.name" "threat.tactic.name"
            "ATT&CK tactics by short name, as `privilege-escalation`.";
        "explanation" text "finding_info.desc" "event.reason"
            "What was seen and what was expected, in one or two sentences.";
        "observed" text "anomaly_analyses.anomalies.observations.value" ""
            "The number or the values seen, as text with unit.";
        "expected" text "anomaly_analyses.baselines.observations.value" ""
            "What was expected instead, as text with unit.";
        "p_value" double "" ""
            "Probability from 0 to 1 of something at least this extreme if nothing is wrong; absent for rules and correlations.";
        "evidence_event_uids" words "finding_info.related_events.uid" ""
            "`event_uid` of the events behind it, oldest first, bounded: `count` says how many there were.";
        "evidence" text "" ""
            "The same events as a JSON array of `event_uid`, `source` and `position` (topic, partition and offset, or file and line).";
        "excerpt" text "evidences.data" ""
            "The first event behind it as flat JSON; of an anomaly, its main columns.";
        "coverage" text "" ""
            "What was known of the completeness of its window: `complete`, `lossy` or `partial_assignment`.";
        "suppressed_by" text "status_detail" ""
            "Ids and reasons of the exceptions that suppressed it; absent if it stands.";
        "date" text "" ""
            "Day of `time` (UTC), as `2026-03-02`.";
    },
};

const REJECTS: TableNotes = TableNotes {
    name: "rejects",
    about: "One row is one input, or one part of it, that no decoder could read.",
    partitions: &["date"],
    columns: notes! {
        "source" text "" "" "Name of the source in the configuration.";
        "origin" text "" "" "Topic, file or channel.";
        "partition" int "" "" "Kafka partition; absent for files and channels.";
        "record_offset" long "" "" "Kafka offset; in a file the record's number, from 0.";
        "line" long "" "" "Line in the file, from 1; absent elsewhere.";
        "time" time "" "" "Time that the carrier gave the record; absent if it gave none.";
        "reason" text "" "" "Why, as a short and stable word, such as `not_json`, `missing_time` or `too_large`.";
        "detail" text "" "" "What exactly was wrong, in words that do not quote the input.";
        "raw" text "" "" "The input: secrets replaced, at most 4096 bytes of it, made UTF-8.";
        "date" text "" "" "Day of `time` (UTC), as `2026-03-02`; `1970-01-01` where that is absent.";
    },
};

const COVERAGE: TableNotes = TableNotes {
    name: "coverage",
    about: "One row is one fact about what a source lost or could not tell, in a window of event time.",
    partitions: &["date"],
    columns: notes! {
        "source" text "" "" "Name of the source in the configuration.";
        "origin" text "" "" "Topic, file or channel; empty where the whole source is meant.";
        "partition" int "" "" "Kafka partition; absent for files and channels.";
        "record_offset" long "" "" "Offset or number of the record that tells of it; -1 if no single record does.";
        "cluster_name" text "" "" "Cluster of the source; empty if none is stated.";
        "kind" text "" ""
            "What happened: `lost` and `gap` mean missing data; `silence` that none came for longer than they should; `health`, `future` and `truncated` mean neither.";
        "window_start" time "" "" "First moment that it concerns.";
        "window_end" time "" "" "Last moment that it concerns.";
        "count" long "" "" "Events or records lost or concerned; -1 if unknown.";
        "detail" text "" "" "In words.";
        "date" text "" "" "Day of `window_start` (UTC), as `2026-03-02`.";
    },
};

const OBJECTS: TableNotes = TableNotes {
    name: "objects",
    about: "One row is one version of a Kubernetes object: what one event showed of it. It holds from `time` until the next \
            version of the same `uid`, or until another object of its name is seen; the views `object_versions`, \
            `addresses` and `images` of `palisade sql` say until when.",
    partitions: &["date"],
    columns: notes! {
        "source" text "" "" "Name of the source in the configuration.";
        "origin" text "" "" "Topic, file or channel.";
        "partition" int "" "" "Kafka partition; absent for files and channels.";
        "record_offset" long "" "" "Kafka offset; in a file the record's number, from 0.";
        "message_index" int "" "" "Index of the event within its message, from 0: a list shows many objects.";
        "event_uid" text "" "event.id" "The event that showed it, whose `raw` has all of the object.";
        "cluster_name" text "unmapped.cluster.name" "orchestrator.cluster.name"
            "Cluster that it lives in; empty if none is stated.";
        "time" time "time" "@timestamp" "From when it is so: when this state was seen.";
        "change" text "" "" "`seen`: it is there and like this; `ended`: it is there and has run to its end, as a pod that succeeded or failed; `deleted`: it is gone, and this was its last state.";
        "kind" text "resources.type" "orchestrator.resource.type" "Kind as in manifests, singular: `Pod`.";
        "api_version" text "resources.version" "orchestrator.api_version" "API group and version: `v1`, `apps/v1`.";
        "namespace_name" text "unmapped.namespace.name" "orchestrator.namespace"
            "Namespace; absent for what lives in none.";
        "name" text "resources.name" "orchestrator.resource.name" "Name.";
        "uid" text "resources.uid" "orchestrator.resource.id" "Uid; empty if the message has none.";
        "resource_version" text "" "" "The API server's mark of this state: opaque, for comparing only.";
        "generation" long "" "" "Counts changes of what is wanted; absent for kinds without.";
        "workload_kind" text "unmapped.workload.kind" "orchestrator.resource.parent.type"
            "Kind of the topmost owner, as far as known: `Deployment`, `CronJob`; absent if it is not about a workload.";
        "workload_name" text "unmapped.workload.name" "orchestrator.resource.parent.name"
            "Name of the topmost owner, as far as known: of a ReplicaSet's pods the Deployment.";
        "owner_kind" text "" "" "Kind of the owner that controls it; absent if none does.";
        "owner_name" text "" "" "Name of the owner that controls it.";
        "owner_uid" text "" "" "Uid of the owner that controls it.";
        "labels" words "resources.labels" "orchestrator.resource.label" "Labels as `key=value`.";
        "addresses" words "" "orchestrator.resource.ip"
            "Addresses that lead to it: of a pod, of a service and its load balancer, of a node; external ones too.";
        "node" text "device.hostname" "host.name" "Node that a pod runs on; absent for other kinds.";
        "service_account" text "" "" "Service account that a pod runs as, or that a workload asks for.";
        "container_names" words "" "container.name"
            "Names of its containers. The lists about containers have one item each, in this order.";
        "container_images" words "container.image.name" "container.image.name" "Images as asked for, tags included.";
        "container_image_uids" words "container.image.uid" "container.image.hash.all"
            "Digests of the images that run, as `sha256:…`; null items where unknown.";
        "container_uids" words "container.uid" "container.id"
            "Ids of the running containers: 64 hex digits; null items where unknown.";
        "date" text "" "" "Day of `time` (UTC), as `2026-03-02`.";
    },
};

const DECISIONS: TableNotes = TableNotes {
    name: "decisions",
    about: "One row is one decision that time or an operator made, written down before what it caused; a replay repeats it.",
    partitions: &[],
    columns: notes! {
        "job" text "" "" "Job that made it.";
        "cut" long "" "" "Number of the cut that it was made in.";
        "index" int "" "" "Place among the decisions of the cut, from 0: they are replayed in this order.";
        "kind" text "" "" "What was decided: `start`, `join`, `leave`, `idle`, `wake`, `close`, `without`, `silent`, `believe` or `rules`.";
        "pane_end" time "" "" "End of the last pane that was closed by then; 1970-01-01 if none was.";
        "lanes" text "" ""
            "Next offsets by lane key, as JSON: of all lanes where a replay must repeat the decision, else of the lane concerned; may be empty.";
        "fingerprint" text "" "" "Hash of the configuration in force: 32 hex digits.";
        "detail" text "" "" "The key of the lane concerned, or what was decided in words; of `believe` the last time that is believed, of `rules` how many there are.";
    },
};

const SOURCES: TableNotes = TableNotes {
    name: "sources",
    about: "One row says how far one file was read at one cut that moved it: the ledger by which files are known again.",
    partitions: &[],
    columns: notes! {
        "job" text "" "" "Job that read it.";
        "cut" long "" "" "Number of the cut that recorded it.";
        "source" text "" "" "Name of the source in the configuration.";
        "fingerprint" text "" "" "Hash of the file's first record: 32 hex digits.";
        "generation" long "" "" "Tells apart files that share a fingerprint, from 0.";
        "path" text "" "" "Path at which it was last seen.";
        "records" long "" "" "Records read: the number of the next one.";
        "bytes" long "" "" "Bytes read, counted uncompressed.";
        "prefix_hash" text "" "" "blake3 hash of these bytes: 64 hex digits.";
        "compression" text "" "" "How it was packed: `none`, `gzip` or `zstd`.";
        "far_bytes" long "" ""
            "Bytes that were ever read, counted uncompressed: more than `bytes` where a crash left tables ahead of the ledger.";
        "far_hash" text "" "" "blake3 hash of those bytes: 64 hex digits.";
    },
};

const DISPOSITIONS: TableNotes = TableNotes {
    name: "dispositions",
    about: "One row is what an analyst decided about a finding or a group. Rows are only added; the newest counts.",
    partitions: &[],
    columns: notes! {
        "finding_uid" text "" "" "The finding; absent if it is about a whole group.";
        "group_uid" text "" "" "The group; absent if it is about one finding.";
        "status" text "" ""
            "The decision: `open`, `acknowledged`, `confirmed`, `resolved`, `false_positive` or `benign`; the last three close it.";
        "reason" text "" "" "Why, in the analyst's words.";
        "by" text "" "" "Who decided. A word of SQL: write it in quotes.";
        "at" time "" "" "When it was decided, by the analyst's clock.";
    },
};
