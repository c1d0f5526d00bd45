//! The event table, column by column, and what is told of the tables beside it.
//!
//! Event columns are OCSF attribute paths joined by `_`; one table holds all classes. `docs/schema.md` is written from
//! [`COLUMNS`] and [`tables`], and tests keep page and code equal. A column's constant in [`col`] carries its type, so
//! reading one is checked by the compiler and costs an index, not a look-up by name.
//!
//! Not here: the values (see [`crate::batch`]) and how they are filled (see [`crate::build`]).

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use self::page::to_markdown;

pub mod tables;
mod page;

/// How a column stores its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8, mostly distinct values.
    Text,
    /// UTF-8 from a small set, dictionary-encoded in memory.
    Word,
    /// A list of UTF-8 values.
    Words,
    /// Microseconds since the epoch, UTC.
    Time,
    /// Signed 64-bit integer.
    Long,
    /// Signed 32-bit integer.
    Int,
    /// Boolean.
    Flag,
}

impl Kind {
    /// The Arrow type of a column of this kind.
    pub fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Word => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Kind::Words => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Long => DataType::Int64,
            Kind::Int => DataType::Int32,
            Kind::Flag => DataType::Boolean,
        }
    }

    /// The type of the stored column: as in memory, but plain where memory has a dictionary.
    pub fn stored_type(self) -> DataType {
        match self {
            Kind::Word => DataType::Utf8,
            other => other.data_type(),
        }
    }
}

/// What is known of one event column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Column name: the OCSF path joined by `_`, or a plain word where OCSF has none.
    pub name: &'static str,
    /// Storage.
    pub kind: Kind,
    /// OCSF attribute path; empty where OCSF has none.
    pub ocsf: &'static str,
    /// ECS field name; empty where ECS has none.
    pub ecs: &'static str,
    /// Formats that fill it: `all`, or names of decoders. A mapping fills what it names; some columns only that does.
    pub filled_by: &'static str,
    /// What it holds.
    pub meaning: &'static str,
}

macro_rules! handles {
    ($($(#[$doc:meta])* $handle:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $handle(pub(crate) usize);
        impl $handle {
            /// The column's place in the event schema.
            pub const fn index(self) -> usize {
                self.0
            }
            /// The column's name.
            pub fn name(self) -> &'static str {
                COLUMNS[self.0].name
            }
        }
    )*};
}

handles!(
    /// Handle of a [`Kind::Text`] column.
    Text,
    /// Handle of a [`Kind::Word`] column.
    Word,
    /// Handle of a [`Kind::Words`] column.
    Words,
    /// Handle of a [`Kind::Time`] column.
    Time,
    /// Handle of a [`Kind::Long`] column.
    Long,
    /// Handle of a [`Kind::Int`] column.
    Int,
    /// Handle of a [`Kind::Flag`] column.
    Flag
);

/// Any column's handle, for code that learns its columns from a rule or a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AnyColumn {
    Text(Text),
    Word(Word),
    Words(Words),
    Time(Time),
    Long(Long),
    Int(Int),
    Flag(Flag),
}

impl AnyColumn {
    /// Finds an event column by name.
    pub fn named(name: &str) -> Option<Self> {
        let index = COLUMNS.iter().position(|c| c.name == name)?;
        Some(match COLUMNS[index].kind {
            Kind::Text => Self::Text(Text(index)),
            Kind::Word => Self::Word(Word(index)),
            Kind::Words => Self::Words(Words(index)),
            Kind::Time => Self::Time(Time(index)),
            Kind::Long => Self::Long(Long(index)),
            Kind::Int => Self::Int(Int(index)),
            Kind::Flag => Self::Flag(Flag(index)),
        })
    }

    /// The column's place in the event schema.
    pub fn index(self) -> usize {
        match self {
            Self::Text(Text(i))
            | Self::Word(Word(i))
            | Self::Words(Words(i))
            | Self::Time(Time(i))
            | Self::Long(Long(i))
            | Self::Int(Int(i))
            | Self::Flag(Flag(i)) => i,
        }
    }
}

macro_rules! columns {
    ($($id:ident $kind:ident $name:literal $ocsf:literal $ecs:literal $by:literal $meaning:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(usize)]
        enum Place { $($id),* }

        /// Every event column, in table order.
        pub const COLUMNS: &[Column] = &[$(Column {
            name: $name, kind: Kind::$kind, ocsf: $ocsf, ecs: $ecs, filled_by: $by, meaning: $meaning,
        }),*];

        /// Typed handles of the event columns.
        pub mod col {
            use super::Place;
            $(#[doc = $meaning] pub const $id: super::$kind = super::$kind(Place::$id as usize);)*
        }
    };
}

columns! {
    EVENT_UID Text "event_uid" "metadata.uid" "event.id" "all"
        "Deterministic id of the event: 32 hex digits.";
    TIME Time "time" "time" "@timestamp" "all"
        "Event time.";
    TIME_ORIGINAL Text "time_original" "metadata.original_time" "" "all"
        "Event time exactly as the source wrote it.";
    CLASS_UID Int "class_uid" "class_uid" "" "all"
        "OCSF class (6003 API activity, 1007 process, 1001 file system, 4001 network, 4002 HTTP, 4003 DNS, 5023 inventory, 1002 kernel extension, 1005 module, 3002 authentication, 2004 detection, 0 base).";
    ACTIVITY_ID Int "activity_id" "activity_id" "" "all"
        "OCSF activity within the class.";
    SEVERITY_ID Int "severity_id" "severity_id" "event.severity" "falco, tracee, kubearmor, ocsf, ecs"
        "OCSF severity stated by the source, 1 informational to 6 fatal.";
    STATUS_ID Int "status_id" "status_id" "event.outcome" "k8s_audit, falco, tetragon, tracee, hubble, calico, docker, kubearmor, registry, cloudtrail, ocsf, ecs, auditd"
        "Outcome: 1 success, 2 failure, absent if unknown.";
    STATUS_DETAIL Text "status_detail" "status_detail" "event.reason" "k8s_audit, tetragon, hubble, docker, kubearmor, cloudtrail, ocsf, ecs, auditd"
        "Why it failed, in the source's words.";
    MESSAGE Text "message" "message" "message" "k8s_objects, falco, tetragon, tracee, hubble, kubearmor, ocsf, ecs"
        "The source's own sentence.";
    METADATA_UID Text "metadata_original_uid" "metadata.original_event_uid" "event.original_id" "k8s_audit, k8s_objects, falco, hubble, registry, cloudtrail, ocsf, ecs, auditd"
        "The source's id of the event: auditID, audit serial.";
    METADATA_CORRELATION_UID Text "metadata_correlation_uid" "metadata.correlation_uid" "transaction.id" "k8s_audit, falco, hubble, calico, docker, registry, cloudtrail, ocsf, ecs, auditd"
        "Shared by the events of one request or one assembled record set.";
    METADATA_PRODUCT_NAME Word "metadata_product_name" "metadata.product.name" "observer.product" "all"
        "Product that wrote the event.";
    METADATA_LOG_NAME Word "metadata_log_name" "metadata.log_name" "event.dataset" "k8s_audit, k8s_objects, falco, tetragon, hubble, docker, kubearmor, cloudtrail, ocsf, ecs, auditd"
        "Sub-stream: audit stage, Falco source, auditd record type.";
    METADATA_LABELS Words "metadata_labels" "metadata.labels" "tags" "falco, tetragon, tracee, hubble, docker, kubearmor, ocsf, ecs, auditd"
        "Tags the source attached: Falco tags, auditd keys.";
    FINDING_INFO_TITLE Word "finding_info_title" "finding_info.title" "rule.name" "falco, tracee, kubearmor, ocsf, ecs"
        "Name of the source's own rule that fired.";
    ATTACK_TECHNIQUES Words "attack_techniques" "attacks.technique.uid" "threat.technique.id" "falco, tracee, kubearmor, ocsf, ecs"
        "ATT&CK techniques that the source itself states.";
    POLICY_NAMES Words "policy_names" "policy.name" "" "tetragon, tracee, hubble, calico, kubearmor, ocsf"
        "Policies of the source that matched or decided.";
    ACTION Word "action" "action" "" "tetragon, hubble, calico, kubearmor, ocsf, ecs"
        "What enforcement did: `allowed`, `denied`, or `observed` where it only watched.";
    SOURCE Word "source" "" "" "all"
        "Name of the source in the configuration.";
    FORMAT Word "format" "" "" "all"
        "Decoder that read it.";
    ORIGIN Word "origin" "" "log.file.path" "all"
        "Topic, file or channel.";
    PARTITION Int "partition" "" "" "all"
        "Kafka partition; absent for files and channels.";
    OFFSET Long "record_offset" "" "log.offset" "all"
        "Kafka offset; in a file the record's number from 0.";
    LINE Long "line" "" "" "all"
        "Line in the file, from 1; absent elsewhere.";
    MESSAGE_INDEX Int "message_index" "" "" "all"
        "Index of the event within its message, from 0.";
    BROKER_TIME Time "metadata_logged_time" "metadata.logged_time" "event.created" "all"
        "Time the record's carrier gave it (Kafka record timestamp).";
    RECORD_KEY Text "record_key" "" "" "all"
        "Key of the Kafka record.";
    TRACE_UID Text "trace_uid" "trace.uid" "trace.id" "all"
        "Trace that the record was sent in: the W3C trace context of its headers.";
    TRACE_SPAN_UID Text "trace_span_uid" "trace.span.uid" "span.id" "all"
        "Span that sent the record.";
    LANE_MAX_BEFORE Time "lane_max_before" "" "" "all"
        "What `late` was judged by: the largest event time at earlier records of the lane, one too far ahead of its broker's time counted as that time. Absent until a second row has borne the first one out.";
    LATE Flag "late" "" "" "all"
        "The row was behind its lane's watermark and is in no pane. Exactly: not `time_doubtful`, and `time < lane_max_before - lateness_secs`; false where `lane_max_before` is absent.";
    TIME_DOUBTFUL Flag "time_doubtful" "" "" "all"
        "The event time lies too far in the future to be believed: the row is in no pane, and dated by its carrier.";
    RECORDS Int "records" "" "" "all"
        "Number of records that made this event.";
    EVENT_COUNT Long "event_count" "count" "" "tetragon, hubble, calico, ocsf"
        "How many occurrences the source rolled up into this event; absent for one.";
    REDACTED Int "redacted" "" "" "all"
        "Number of secrets replaced in this event before anything saw it.";
    TRUNCATED Flag "truncated" "" "" "all"
        "The event is not whole: its source had cut its body, or a bound of the decoder cut it. Absent if it is whole.";
    CLOUD_PROVIDER Word "cloud_provider" "cloud.provider" "cloud.provider" "k8s_audit, cloudtrail, ocsf, ecs"
        "Cloud: `AWS`, `Azure`, `GCP`.";
    CLOUD_ACCOUNT_UID Word "cloud_account_uid" "cloud.account.uid" "cloud.account.id" "k8s_audit, cloudtrail, ocsf, ecs"
        "Cloud account.";
    CLOUD_REGION Word "cloud_region" "cloud.region" "cloud.region" "k8s_audit, falco, cloudtrail, ocsf, ecs"
        "Cloud region.";
    CLUSTER_NAME Word "cluster_name" "unmapped.cluster.name" "orchestrator.cluster.name" "all"
        "Cluster: named by a header, a topic, a wrapping or the source's configuration; by the event itself where none of them does.";
    DEVICE_HOSTNAME Word "device_hostname" "device.hostname" "host.name" "k8s_objects, falco, tetragon, tracee, hubble, calico, docker, kubearmor, registry, ocsf, ecs, auditd"
        "Node.";
    NAMESPACE_NAME Word "namespace_name" "resources.namespace" "orchestrator.namespace" "k8s_audit, k8s_objects, falco, tetragon, tracee, hubble, calico, docker, kubearmor, ocsf, ecs"
        "Kubernetes namespace.";
    WORKLOAD_NAME Word "workload_name" "unmapped.workload.name" "orchestrator.resource.parent.name" "k8s_audit, k8s_objects, falco, tetragon, tracee, hubble, calico, docker, kubearmor, ocsf, ecs"
        "Workload: the owner of the pod, from its name where nothing better is known.";
    WORKLOAD_KIND Word "workload_kind" "unmapped.workload.kind" "" "k8s_audit, k8s_objects, tetragon, hubble, kubearmor, ocsf, ecs"
        "Kind of the workload: Deployment, DaemonSet, StatefulSet, Job, CronJob, Pod.";
    POD_NAME Word "pod_name" "unmapped.pod.name" "kubernetes.pod.name" "k8s_audit, k8s_objects, falco, tetragon, tracee, hubble, calico, docker, kubearmor, ocsf, ecs"
        "Pod.";
    POD_UID Word "container_pod_uuid" "container.pod_uuid" "kubernetes.pod.uid" "k8s_audit, k8s_objects, falco, tetragon, tracee, docker, ecs"
        "Pod uid.";
    POD_LABELS Words "pod_labels" "unmapped.pod.labels" "" "k8s_objects, tetragon, tracee, hubble, calico, kubearmor, ecs"
        "Labels of the pod as `key=value`.";
    CONTAINER_UID Word "container_uid" "container.uid" "container.id" "k8s_objects, falco, tetragon, tracee, docker, kubearmor, ocsf, ecs"
        "Container id as the source wrote it (12, 31 or 64 hex digits).";
    CONTAINER_UID_SHORT Word "container_uid_short" "" "" "k8s_objects, falco, tetragon, tracee, docker, kubearmor, ocsf, ecs"
        "First 12 hex digits of the container id: the join key between sources.";
    CONTAINER_NAME Word "container_name" "container.name" "container.name" "k8s_audit, k8s_objects, falco, tetragon, tracee, docker, kubearmor, ocsf, ecs"
        "Container.";
    CONTAINER_IMAGE_NAME Word "container_image_name" "container.image.name" "container.image.name" "k8s_audit, k8s_objects, falco, tetragon, tracee, docker, kubearmor, registry, cloudtrail, ocsf, ecs"
        "Image repository; of Docker Hub without its name.";
    CONTAINER_IMAGE_TAG Word "container_image_tag" "container.image.tag" "container.image.tag" "k8s_audit, k8s_objects, falco, tetragon, tracee, docker, kubearmor, registry, cloudtrail, ocsf, ecs"
        "Image tag.";
    CONTAINER_IMAGE_UID Word "container_image_uid" "container.image.uid" "container.image.hash.all" "k8s_audit, k8s_objects, falco, tetragon, tracee, docker, kubearmor, registry, cloudtrail, ecs"
        "Image digest.";
    ACTOR_USER_NAME Word "actor_user_name" "actor.user.name" "user.name" "k8s_audit, falco, tetragon, kubearmor, registry, cloudtrail, ocsf, ecs, auditd"
        "Who did it.";
    ACTOR_USER_UID Word "actor_user_uid" "actor.user.uid" "user.id" "k8s_audit, falco, tetragon, tracee, kubearmor, cloudtrail, ocsf, ecs, auditd"
        "Who did it, by id.";
    ACTOR_USER_GROUPS Words "actor_user_groups" "actor.user.groups" "user.group.name" "k8s_audit, falco, ocsf, ecs"
        "Groups of the user.";
    ACTOR_LOGIN_UID Word "actor_session_uid" "actor.session.uid" "user.audit.id" "falco, tetragon, ocsf, ecs, auditd"
        "Login uid (auid), which survives su and sudo; absent if unset.";
    ACTOR_SERVICE_ACCOUNT Word "actor_service_account" "" "" "k8s_audit, falco, ocsf, ecs"
        "Service account as namespace/name, if the user is one.";
    ACTOR_IMPERSONATED_NAME Word "actor_impersonated_user_name" "actor.impersonated_user.name" "user.effective.name" "k8s_audit, falco"
        "User that the actor acted as.";
    ACTOR_IMPERSONATED_GROUPS Words "actor_impersonated_user_groups" "actor.impersonated_user.groups" "" "k8s_audit"
        "Groups that the actor acted as a member of.";
    ACTOR_USER_TYPE Word "actor_user_type" "actor.user.type" "" "cloudtrail, ocsf"
        "Kind of the user: `IAMUser`, `AssumedRole`, `AWSService`, `Root`.";
    ACTOR_CREDENTIAL_UID Word "actor_user_credential_uid" "actor.user.credential_uid" "" "k8s_audit, cloudtrail, ocsf"
        "Id of the credential, such as an access key id.";
    ACTOR_SESSION_ISSUER Word "actor_session_issuer" "actor.session.issuer" "" "cloudtrail, ocsf"
        "Role that issued the session.";
    ACTOR_SESSION_TERMINAL Word "actor_session_terminal" "actor.session.terminal" "process.tty.name" "kubearmor, ocsf, auditd"
        "Terminal.";
    HTTP_USER_AGENT Word "http_request_user_agent" "http_request.user_agent" "user_agent.original" "k8s_audit, falco, tetragon, tracee, hubble, registry, cloudtrail, ocsf, ecs"
        "User agent: client supplied, so never proof.";
    HTTP_METHOD Word "http_request_http_method" "http_request.http_method" "http.request.method" "tetragon, tracee, hubble, registry, ocsf, ecs"
        "HTTP method.";
    HTTP_URL_PATH Text "http_request_url_path" "http_request.url.path" "url.path" "k8s_audit, falco, tetragon, tracee, hubble, registry, ocsf, ecs"
        "Request URI.";
    API_OPERATION Word "api_operation" "api.operation" "event.action" "k8s_audit, k8s_objects, falco, tetragon, tracee, hubble, docker, kubearmor, registry, cloudtrail, ocsf, ecs, auditd"
        "Verb, system call or record type.";
    API_SERVICE_NAME Word "api_service_name" "api.service.name" "event.provider" "k8s_audit, k8s_objects, falco, hubble, registry, cloudtrail, ocsf, ecs"
        "Service or API group that served it.";
    API_VERSION Word "api_version" "api.version" "" "k8s_audit, k8s_objects, ocsf"
        "Version of the resource's API.";
    API_RESPONSE_CODE Int "api_response_code" "api.response.code" "http.response.status_code" "k8s_audit, falco, tetragon, hubble, ocsf, ecs"
        "Response code.";
    API_RESPONSE_ERROR Word "api_response_error" "api.response.error" "error.code" "falco, cloudtrail, ecs"
        "Error code of the response.";
    API_REQUEST_UID Text "api_request_uid" "api.request.uid" "http.request.id" "registry, cloudtrail, ocsf, ecs"
        "Id that the service gave the request.";
    RESOURCE_TYPE Word "resource_type" "resources.type" "orchestrator.resource.type" "k8s_audit, k8s_objects, falco, hubble, docker, registry, cloudtrail, ocsf, ecs"
        "Resource, in the plural as in the API.";
    RESOURCE_SUBRESOURCE Word "resource_subresource" "" "" "k8s_audit, falco, ecs"
        "Subresource: exec, attach, status.";
    RESOURCE_NAME Text "resource_name" "resources.name" "orchestrator.resource.name" "k8s_audit, k8s_objects, falco, tetragon, hubble, docker, kubearmor, registry, cloudtrail, ocsf, ecs"
        "Name of the object acted on.";
    RESOURCE_UID Text "resource_uid" "resources.uid" "orchestrator.resource.id" "k8s_audit, k8s_objects, hubble, docker, registry, cloudtrail, ocsf"
        "Uid of the object.";
    AUTHORIZATION_DECISION Word "authorization_decision" "actor.authorizations.decision" "" "k8s_audit, falco, cloudtrail, ocsf"
        "allow or forbid.";
    AUTHORIZATION_REASON Word "authorization_reason" "actor.authorizations.policy.desc" "" "k8s_audit, falco, ocsf"
        "The grant that allowed it.";
    PROCESS_NAME Word "process_name" "process.name" "process.name" "falco, tetragon, tracee, calico, kubearmor, ocsf, ecs, auditd"
        "Process name.";
    PROCESS_PID Long "process_pid" "process.pid" "process.pid" "falco, tetragon, tracee, calico, kubearmor, ocsf, ecs, auditd"
        "Process id.";
    PROCESS_UID Text "process_uid" "process.uid" "process.entity_id" "tetragon, tracee, docker, kubearmor, ocsf, ecs"
        "Process id that is unique over time (exec_id).";
    PROCESS_CREATED_TIME Time "process_created_time" "process.created_time" "process.start" "tetragon, tracee, ocsf, ecs"
        "When the process began.";
    PROCESS_NAMESPACE_PID Long "process_namespace_pid" "process.namespace_pid" "" "falco, tetragon, tracee, kubearmor"
        "Process id inside its own pid namespace.";
    PROCESS_CMD_LINE Text "process_cmd_line" "process.cmd_line" "process.command_line" "falco, tetragon, tracee, calico, docker, kubearmor, ocsf, ecs, auditd"
        "Command line.";
    PROCESS_FILE_PATH Word "process_file_path" "process.file.path" "process.executable" "falco, tetragon, tracee, calico, kubearmor, ocsf, ecs, auditd"
        "Executable.";
    PROCESS_CWD Word "process_working_directory" "process.working_directory" "process.working_directory" "falco, tetragon, kubearmor, ecs, auditd"
        "Working directory.";
    PROCESS_USER_NAME Word "process_user_name" "process.user.name" "process.user.name" "falco, tetragon, kubearmor, ocsf, ecs, auditd"
        "Effective user of the process.";
    PROCESS_USER_UID Word "process_user_uid" "process.user.uid" "process.user.id" "falco, tetragon, tracee, kubearmor, ocsf, ecs, auditd"
        "Effective uid of the process.";
    PARENT_PROCESS_NAME Word "process_parent_name" "process.parent_process.name" "process.parent.name" "falco, tetragon, tracee, kubearmor, ocsf, ecs"
        "Parent process.";
    PARENT_PROCESS_PID Long "process_parent_pid" "process.parent_process.pid" "process.parent.pid" "falco, tetragon, tracee, kubearmor, ocsf, ecs, auditd"
        "Parent process id.";
    PARENT_PROCESS_UID Text "process_parent_uid" "process.parent_process.uid" "process.parent.entity_id" "tetragon, tracee, ocsf"
        "Parent process id that is unique over time.";
    PARENT_PROCESS_CMD_LINE Text "process_parent_cmd_line" "process.parent_process.cmd_line" "process.parent.command_line" "falco, tetragon, kubearmor, ocsf, ecs"
        "Parent command line.";
    PARENT_PROCESS_FILE_PATH Word "process_parent_file_path" "process.parent_process.file.path" "process.parent.executable" "falco, tetragon, tracee, kubearmor, ocsf, ecs"
        "Parent executable.";
    PROCESS_ANCESTORS Words "process_ancestors" "process.parent_process.parent_process.name" "process.parent.group_leader.name" "falco, tetragon, tracee, ocsf"
        "Names of the ancestors, nearest first, parent excluded.";
    SYSCALL Word "syscall" "unmapped.syscall" "process.syscall.name" "falco, tetragon, tracee, kubearmor, ecs, auditd"
        "System call or event type, by name.";
    EXIT_CODE Long "exit_code" "exit_code" "process.exit_code" "falco, tetragon, tracee, docker, ecs, auditd"
        "Return value of the call: negative error numbers as the kernel gives them.";
    FILE_PATH Text "file_path" "file.path" "file.path" "falco, tetragon, tracee, kubearmor, ocsf, ecs, auditd"
        "File acted on.";
    SRC_ENDPOINT_IP Word "src_endpoint_ip" "src_endpoint.ip" "source.ip" "k8s_audit, falco, tetragon, tracee, hubble, calico, kubearmor, registry, cloudtrail, ocsf, ecs, auditd"
        "Where it came from. Kubernetes: the last address, the only one a client cannot forge.";
    SRC_ENDPOINT_PORT Int "src_endpoint_port" "src_endpoint.port" "source.port" "falco, tetragon, tracee, hubble, calico, kubearmor, registry, ocsf, ecs, auditd"
        "Source port.";
    SRC_ENDPOINT_HOSTNAME Word "src_endpoint_hostname" "src_endpoint.hostname" "source.domain" "hubble, calico, registry, cloudtrail, ocsf"
        "Source name.";
    SRC_ENDPOINT_NAMESPACE Word "src_endpoint_namespace_name" "" "" "k8s_audit, tetragon, hubble, calico"
        "Namespace of the source.";
    SRC_ENDPOINT_POD Word "src_endpoint_pod_name" "" "" "k8s_audit, tetragon, hubble, calico"
        "Pod that is the source.";
    SRC_ENDPOINT_WORKLOAD Word "src_endpoint_workload_name" "" "" "k8s_audit, tetragon, hubble, calico"
        "Workload of the source.";
    SRC_ENDPOINT_LABELS Words "src_endpoint_labels" "" "" "hubble, calico"
        "Labels of the source as `key=value`; `reserved:world` and its kin as they are.";
    SRC_ENDPOINT_IPS Words "src_endpoint_intermediate_ips" "src_endpoint.intermediate_ips" "" "k8s_audit, falco, calico, ocsf"
        "All addresses as given, forgeable ones included.";
    DST_ENDPOINT_IP Word "dst_endpoint_ip" "dst_endpoint.ip" "destination.ip" "falco, tetragon, tracee, hubble, calico, kubearmor, ocsf, ecs, auditd"
        "Where it went.";
    DST_ENDPOINT_PORT Int "dst_endpoint_port" "dst_endpoint.port" "destination.port" "falco, tetragon, tracee, hubble, calico, kubearmor, ocsf, ecs, auditd"
        "Destination port.";
    DST_ENDPOINT_HOSTNAME Word "dst_endpoint_hostname" "dst_endpoint.hostname" "destination.domain" "tetragon, tracee, hubble, calico, cloudtrail, ecs"
        "Destination name.";
    DST_ENDPOINT_NAMESPACE Word "dst_endpoint_namespace_name" "" "" "hubble, calico"
        "Namespace of the destination.";
    DST_ENDPOINT_POD Word "dst_endpoint_pod_name" "" "" "hubble, calico"
        "Pod that is the destination.";
    DST_ENDPOINT_WORKLOAD Word "dst_endpoint_workload_name" "" "" "hubble, calico"
        "Workload of the destination.";
    DST_ENDPOINT_LABELS Words "dst_endpoint_labels" "" "" "hubble, calico"
        "Labels of the destination as `key=value`; `reserved:world` and its kin as they are.";
    DST_ENDPOINT_SERVICE Word "dst_endpoint_svc_name" "dst_endpoint.svc_name" "" "hubble, calico, ocsf"
        "Service that was called, as namespace/name.";
    CONNECTION_PROTOCOL Word "connection_info_protocol_name" "connection_info.protocol_name" "network.transport" "falco, tetragon, tracee, hubble, calico, kubearmor, ocsf, ecs"
        "Transport protocol.";
    CONNECTION_DIRECTION Word "connection_info_direction" "connection_info.direction" "network.direction" "tetragon, tracee, hubble, calico, kubearmor, ocsf, ecs"
        "`inbound` or `outbound`, seen from the endpoint that was observed.";
    CONNECTION_UID Text "connection_info_community_uid" "connection_info.community_uid" "network.community_id" "falco, tetragon, tracee, hubble, calico, kubearmor, ocsf, ecs"
        "Community ID of the connection (version 1, seed 0): the same for both directions and for every reporter.";
    OBSERVATION_POINT Word "observation_point" "" "" "hubble, calico"
        "Who saw it: the reporting side (`src`, `dst`, `fwd`) or the trace point. Several may tell of one connection.";
    TRAFFIC_BYTES_OUT Long "traffic_bytes_out" "traffic.bytes_out" "source.bytes" "tetragon, tracee, calico, ocsf, ecs"
        "Bytes from source to destination since the last report.";
    TRAFFIC_BYTES_IN Long "traffic_bytes_in" "traffic.bytes_in" "destination.bytes" "tetragon, calico, ocsf, ecs"
        "Bytes from destination to source since the last report.";
    TRAFFIC_PACKETS_OUT Long "traffic_packets_out" "traffic.packets_out" "source.packets" "tetragon, calico, ocsf, ecs"
        "Packets from source to destination since the last report.";
    TRAFFIC_PACKETS_IN Long "traffic_packets_in" "traffic.packets_in" "destination.packets" "tetragon, calico, ocsf, ecs"
        "Packets from destination to source since the last report.";
    DNS_QUERY Word "dns_query_hostname" "query.hostname" "dns.question.name" "tetragon, tracee, hubble, kubearmor, ocsf, ecs"
        "Name asked for.";
    DNS_QUERY_TYPE Word "dns_query_type" "query.type" "dns.question.type" "tetragon, tracee, hubble, kubearmor, ocsf, ecs"
        "Type of the question: A, AAAA, TXT.";
    DNS_RCODE Word "dns_rcode" "rcode" "dns.response_code" "tetragon, tracee, hubble, ocsf, ecs"
        "Answer code of DNS: NOERROR, NXDOMAIN.";
    DNS_ANSWERS Words "dns_answers" "answers.rdata" "dns.resolved_ip" "tetragon, tracee, hubble, ocsf, ecs"
        "What DNS answered.";
    RAW Text "raw" "raw_data" "event.original" "all"
        "The original payload, secrets replaced.";
}

/// The schema of event batches in memory.
pub fn events() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(Kind::data_type));
    Arc::clone(&SCHEMA)
}

/// The schema of events as stored: dictionaries become plain strings, and `date` is added for partitioning.
pub fn events_stored() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields: Vec<Field> = schema_of(Kind::stored_type).fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("date", DataType::Utf8, false));
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

fn schema_of(data_type: fn(Kind) -> DataType) -> SchemaRef {
    Arc::new(Schema::new(
        COLUMNS.iter().map(|c| Field::new(c.name, data_type(c.kind), !is_required(c.name))).collect::<Vec<_>>(),
    ))
}

fn is_required(name: &str) -> bool {
    matches!(name, "event_uid" | "time" | "class_uid" | "activity_id" | "source" | "format" | "origin" | "late")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_point_at_their_columns() {
        for (index, column) in COLUMNS.iter().enumerate() {
            assert_eq!(AnyColumn::named(column.name).map(AnyColumn::index), Some(index), "{}", column.name);
        }
        assert_eq!(col::EVENT_UID.name(), "event_uid");
        assert_eq!(col::RAW.name(), "raw");
    }
}
