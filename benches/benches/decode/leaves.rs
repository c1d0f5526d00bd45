//! The leaves of each format that `arrow-json` is asked for: those that the format's own decoder puts into columns or
//! decides columns by, as far as their type is the same in all records. What less than one in a hundred records holds
//! is left out, and so is what lies in a wrapping, which the decoder opens: there the peer reads nulls.
//!
//! A path goes through objects by `/` and into the members of an array by `[]`. `|` stands between keys that share the
//! rest of the path, before and behind them: `a|b/c|d` is four leaves. `~1` is a slash in a key; a dot is part of its
//! key. What ends in `:i` is an integer, in `:b` a boolean, and all others are text, numbers of more than one spelling
//! among them.

use std::sync::Arc;

use palisade::arrow::datatypes::{DataType, Field, Fields, Schema};

/// The leaves of a format; `None` for what is no JSON.
pub(crate) fn of(format: &str) -> Option<&'static [&'static str]> {
    LEAVES.iter().find(|(name, _)| *name == format).map(|(_, leaves)| *leaves)
}

const LEAVES: &[(&str, &[&str])] = &[
    ("k8s_audit", K8S_AUDIT),
    ("k8s_objects", K8S_OBJECTS),
    ("falco", FALCO),
    ("tetragon", TETRAGON),
    ("tracee", TRACEE),
    ("hubble", HUBBLE),
    ("calico", CALICO),
    ("docker", DOCKER),
    ("kubearmor", KUBEARMOR),
    ("registry", REGISTRY),
    ("cloudtrail", CLOUDTRAIL),
    ("ocsf", OCSF),
    ("ecs", ECS),
];

const K8S_AUDIT: &[&str] = &[
    "kind|apiVersion|auditID|stage|verb|requestURI|userAgent|stageTimestamp|requestReceivedTimestamp",
    "sourceIPs[]",
    "user/username|uid|groups[]",
    "user/extra/authentication.kubernetes.io~1pod-name[]|authentication.kubernetes.io~1credential-id[]",
    "objectRef/resource|subresource|namespace|name|apiGroup|apiVersion",
    "requestObject/metadata/uid",
    "responseStatus/code:i",
    "responseStatus/message|reason",
    "annotations/authorization.k8s.io~1decision|authorization.k8s.io~1reason",
];

/// One record of eight is a list, whose members are nulls here. Of a watch's events the status is left out, which is
/// the text of an error in one of them.
const K8S_OBJECTS: &[&str] = &[
    "type|kind|apiVersion|reason|message|lastTimestamp",
    "metadata/name|namespace|uid|resourceVersion|creationTimestamp",
    "metadata/generation:i",
    "metadata/labels/app|k8s-app|kubernetes.io~1hostname|pod-template-hash",
    "metadata/ownerReferences[]/controller:b",
    "metadata/ownerReferences[]/kind|name|uid",
    "metadata/managedFields[]/time",
    "spec/nodeName|serviceAccountName|serviceAccount|clusterIP|clusterIPs[]|externalIPs[]",
    "spec/hostNetwork:b",
    "spec/containers[]|initContainers[]/name|image",
    "spec/template/spec/serviceAccountName",
    "spec/template/spec/containers[]/name|image",
    "spec/jobTemplate/spec/template/spec/serviceAccountName",
    "spec/jobTemplate/spec/template/spec/containers[]/name|image",
    "status/phase|startTime|podIP",
    "status/podIPs[]/ip",
    "status/loadBalancer/ingress[]/ip",
    "status/addresses[]/type|address",
    "status/conditions[]/lastTransitionTime|lastUpdateTime|lastHeartbeatTime",
    "status/containerStatuses[]|initContainerStatuses[]/name|imageID|containerID",
    "status/containerStatuses[]/state/running/startedAt",
    "status/containerStatuses[]|initContainerStatuses[]/state/terminated/startedAt|finishedAt",
    "status/containerStatuses[]/lastState/terminated/finishedAt",
    "object/kind|apiVersion|reason|message",
    "object/code:i",
    "object/metadata/name|namespace|uid|resourceVersion|creationTimestamp|deletionTimestamp",
    "object/metadata/labels/app|pod-template-hash",
    "object/metadata/ownerReferences[]/controller:b",
    "object/metadata/ownerReferences[]/kind|name|uid",
    "object/spec/nodeName|serviceAccountName|serviceAccount",
    "object/spec/containers[]|initContainers[]/name|image",
];

const FALCO: &[&str] = &[
    "time|rule|priority|source|hostname|output|tags[]",
    "output_fields/container.id|container.name|container.image.repository|container.image.tag",
    "output_fields/k8s.ns.name|k8s.pod.name",
    "output_fields/proc.name|proc.pname|proc.cmdline|proc.exepath",
    "output_fields/user.name|user.uid|user.loginuid",
    "output_fields/fd.name|evt.type",
    "output_fields/evt.time|scap.n_drops|scap.n_evts:i",
];

/// Each kind of event has an object of its own, with a process and its parent: only the three kinds that make half of
/// the records are asked for. Columns for the other twelve, nearly all nulls, would more than halve the peer's speed.
const TETRAGON: &[&str] = &[
    "node_name|cluster_name|time",
    "aggregation_info/count",
    "process_exec|process_exit|process_kprobe/process/exec_id|parent_exec_id|binary|arguments|cwd|flags",
    "process_exec|process_exit|process_kprobe/process/start_time|docker",
    "process_exec|process_exit|process_kprobe/process/pid|uid|auid:i",
    "process_exec|process_exit|process_kprobe/process/pod/namespace|name|uid|workload|workload_kind",
    "process_exec|process_exit|process_kprobe/process/pod/pod_labels/app.kubernetes.io~1name|tier",
    "process_exec|process_exit|process_kprobe/process/pod/container/id|name",
    "process_exec|process_exit|process_kprobe/process/pod/container/pid:i",
    "process_exec|process_exit|process_kprobe/process/pod/container/image/id|name",
    "process_exec|process_exit|process_kprobe/parent/exec_id|parent_exec_id|binary|arguments",
    "process_exec|process_exit|process_kprobe/parent/pid:i",
    "process_exec/process/user/name",
    "process_exec/ancestors[]/binary",
    "process_exit/time|signal",
    "process_exit/status:i",
    "process_kprobe/function_name|policy_name|action|return_action|message|tags[]",
    "process_kprobe/return/int_arg:i",
    "process_kprobe/args[]/string_arg|size_arg",
    "process_kprobe/args[]/int_arg:i",
    "process_kprobe/args[]/file_arg/path",
    "process_kprobe/args[]/capability_arg|module_arg/name",
    "process_kprobe/args[]/sock_arg/saddr|daddr|protocol",
    "process_kprobe/args[]/sock_arg/sport|dport:i",
    "process_kprobe/args[]/sockaddr_arg/addr",
    "process_kprobe/args[]/sockaddr_arg/port:i",
];

/// The values of arguments have every type there is, and the newest shape's numbers are bare or wrapped: both are left
/// out, and so is the time, which is a number, a text or an object.
const TRACEE: &[&str] = &[
    // `trace.Event`
    "eventName|processName|hostName|syscall|processEntityId|parentEntityId",
    "threadStartTime|returnValue:i",
    "processId|threadId|parentProcessId|hostProcessId|hostThreadId|hostParentProcessId|userId:i",
    "executable/path",
    "containerId|containerName|containerImage|podName|podNamespace|podUID",
    "container/id|name|image|imageDigest",
    "kubernetes/podName|podNamespace|podUID",
    "matchedPolicies[]",
    "args[]/name",
    "metadata/Description",
    "metadata/Properties/signatureID|signatureName|Category|external_id",
    "metadata/Properties/Severity:i",
    // `v1beta1.Event`
    "name",
    "policies/matched[]",
    "workload/process/executable/path",
    "workload/process/thread/name|syscall",
    "workload/process/ancestors[]/executable/path",
    "workload/process/ancestors[]/thread/name",
    "workload/container/id|name",
    "workload/container/image/name|repo_digests[]",
    "workload/k8s/namespace/name",
    "workload/k8s/pod/name|uid",
    "workload/k8s/pod/labels/app",
    "threat/name|description",
    "threat/severity:i",
    "threat/mitre/technique/id",
    "threat/mitre/tactic/name",
    "threat/properties/signatureID",
    "detected_from/name",
    "detected_from/data[]/name|str",
    "data[]/name|str|int64",
    "data[]/int32:i",
    "data[]/str_array/value[]",
    "data[]/sockaddr/sin_addr",
    "data[]/sockaddr/sin_port:i",
    "data[]/packet_metadata/src_ip|dst_ip",
    "data[]/packet_metadata/src_port|dst_port|protocol|packet_len|direction:i",
    "data[]/dns_responses/responses[]/dns_query_data/query|query_type",
    "data[]/dns_responses/responses[]/dns_answer[]/answer",
];

const HUBBLE: &[&str] = &[
    "time|node_name",
    "flow/time|node_name|uuid|verdict|Type|Summary|drop_reason_desc|traffic_direction",
    "flow/trace_observation_point|sock_xlate_point",
    "flow/drop_reason:i",
    // `is_reply` is bare or wrapped.
    "flow/reply:b",
    "flow/IP/source|destination",
    "flow/l4/TCP|UDP|SCTP/source_port|destination_port:i",
    "flow/l4/TCP/flags/SYN|ACK|FIN|RST:b",
    "flow/l4/ICMPv4/type:i",
    "flow/source|destination/ID:i",
    "flow/source|destination/namespace|pod_name|labels[]",
    "flow/source|destination/workloads[]/name|kind",
    "flow/source/cluster_name",
    "flow/source_names[]|destination_names[]",
    "flow/destination_service/namespace|name",
    "flow/event_type/type:i",
    "flow/egress_allowed_by[]|ingress_allowed_by[]|egress_denied_by[]/namespace|name",
    "flow/aggregate/ingress_flow_count|unknown_direction_flow_count:i",
    "flow/trace_context/parent/trace_id",
    "flow/l7/type",
    "flow/l7/dns/query|qtypes[]|cnames[]|ips[]",
    "flow/l7/dns/rcode:i",
    "flow/l7/http/method|url",
    "flow/l7/http/code:i",
    "flow/l7/http/headers[]/key|value",
    "flow/l7/kafka/api_key|topic",
    "flow/l7/kafka/error_code:i",
    // A flow without an envelope.
    "verdict|Type|Summary|traffic_direction|trace_observation_point",
    "IP/source|destination",
    "l4/TCP/source_port|destination_port:i",
    "l4/TCP/flags/ACK:b",
    "source/ID:i",
    "source/namespace|pod_name|labels[]",
    "destination/namespace|pod_name",
    "event_type/type:i",
    // What is no flow.
    "agent_event|debug_event/type",
    "agent_event/unknown/type|notification",
    "agent_event/policy_update/labels[]",
    "agent_event/endpoint_regenerate/id|error|labels[]",
    "agent_event/ipcache_update/cidr|namespace|pod_name",
    "agent_event/service_upsert/id|namespace|name",
    "debug_event/message",
    "debug_event/source/ID:i",
    "debug_event/source/namespace|pod_name|labels[]",
];

/// Policies and labels are lists in some spellings and objects in others: those of the root are left out.
const CALICO: &[&str] = &[
    // Enterprise, and Whisker.
    "start_time|end_time|reporter|action|proto|protocol|host|cluster",
    "@timestamp:i",
    "source_ip|source_name|source_name_aggr|source_namespace|source_type",
    "dest_ip|dest_name|dest_name_aggr|dest_namespace|dest_type|dest_service_namespace|dest_service_name",
    "source_port|dest_port:i",
    "dest_domains[]|original_source_ips[]",
    "num_flows|num_connections_started|num_connections_completed|num_connections_live:i",
    "bytes_in|bytes_out|packets_in|packets_out:i",
    "process_name|process_id|process_args[]",
    // Goldmane, as Go writes it.
    "Key/reporter|action|source_type|dest_type|dest_port:i",
    "Key/proto|source_name|source_namespace|dest_name|dest_namespace|dest_service_namespace|dest_service_name",
    "Key/policies/enforced_policies[]/policy_index:i",
    "Key/policies/enforced_policies[]/namespace|name",
    "Key/policies/enforced_policies[]/trigger/name",
    // Goldmane, as protobuf writes it.
    "flow/startTime|endTime|bytesIn|bytesOut|packetsIn|packetsOut|numConnectionsStarted|numConnectionsCompleted",
    "flow/sourceLabels[]|destLabels[]",
    "flow/Key/reporter|action|proto|sourceName|sourceNamespace|sourceType",
    "flow/Key/destName|destNamespace|destType|destPort|destServiceNamespace|destServiceName",
    "flow/Key/policies/enforcedPolicies[]/policyIndex|namespace|name",
];

/// Attributes are the labels of containers and images, and all are read.
const DOCKER: &[&str] = &[
    "Type|Action|status|id|from",
    "time|timeNano:i",
    "Actor/ID",
    "Actor/Attributes/name|image|container|execID|exitCode|execDuration|signal|oldName|driver|type|destination",
    "Actor/Attributes/propagation|read~1write|reclaimed|debug|live-restore|maintainer|updatestate.new",
    "Actor/Attributes/com.docker.swarm.node.id|com.docker.swarm.service.name|com.docker.swarm.task.name",
    "Actor/Attributes/io.kubernetes.container.name|io.kubernetes.pod.name|io.kubernetes.pod.namespace",
    "Actor/Attributes/io.kubernetes.pod.uid|com.example.team",
];

const KUBEARMOR: &[&str] = &[
    // As relays write it.
    "Type|Operation|UpdatedTime|ClusterName|HostName|NamespaceName|PodName|Labels",
    "Timestamp:i",
    "Owner/Name|Ref",
    "ContainerID|ContainerName|ContainerImage",
    "HostPID|HostPPID|PID|PPID|UID:i",
    "UserName|ProcessName|ParentProcessName|Cwd|TTY",
    "ExecEvent/ExecID",
    "PolicyName|Severity|Tags|ATags[]|Message|Source|Resource|Data|Action|Result",
    // As the daemon does.
    "type|operation|updatedTime|clusterName|hostName|namespaceName|podName|labels",
    "timestamp:i",
    "owner/name|ref",
    "containerID|containerName|containerImage",
    "hostPid|hostPPid|pid|ppid|uid:i",
    "processName|parentProcessName|source|resource|data|result",
];

/// One record of seven is a list, whose member is nulls here.
const REGISTRY: &[&str] = &[
    "id|timestamp|action",
    "target/mediaType|digest|repository|tag|url",
    "request/id|addr|host|method|useragent",
    "actor/name",
    "source/addr",
];

/// Two records of nine are wrapped, a file's list and an event bus's envelope: they are nulls here.
const CLOUDTRAIL: &[&str] = &[
    "eventTime|@timestamp|eventSource|eventName|eventID|eventType|eventCategory|awsRegion|recipientAccountId",
    "sourceIPAddress|userAgent|requestID|sharedEventID|errorCode|errorMessage",
    // A boolean, or the text of one.
    "readOnly",
    "userIdentity/type|principalId|arn|accountId|userName|invokedBy|accessKeyId",
    "userIdentity/sessionContext/sessionIssuer/arn|userName",
    "tlsDetails/clientProvidedHostHeader",
    "requestParameters/userName|secretId|name|roleArn|repositoryName|registryId|imageTag",
    "responseElements/ConsoleLogin",
    "responseElements/image/repositoryName|registryId",
    "responseElements/image/imageId/imageTag|imageDigest",
    "resources[]/ARN|type",
];

/// Resources are a list or an object, and groups texts or objects: both are left out.
const OCSF: &[&str] = &[
    "class_uid|activity_id|time|time_dt|status|status_detail|action|disposition|rcode",
    "type_uid|severity_id|status_id|action_id|disposition_id|count:i",
    "metadata/uid|correlation_uid|original_event_uid|original_time|log_name|labels[]",
    "metadata/is_truncated:b",
    "metadata/product/name|vendor_name",
    "metadata/product/feature/name",
    "actor/authorizations/decision",
    "actor/authorizations/policy/desc",
    "actor/session/uid|issuer|terminal",
    "actor/user/name|uid|type|credential_uid",
    "actor/process/name|uid|cmd_line",
    "actor/process/pid:i",
    "actor/process/file/path",
    "actor/process/user/name|uid",
    "actor/process/parent_process/name",
    "actor/process/parent_process/pid:i",
    "actor/process/parent_process/parent_process/name",
    "actor/process/parent_process/parent_process/parent_process/name",
    "user/name|uid|type",
    "api/operation|version",
    "api/service/name",
    "api/response/code|message",
    "http_request/uid|http_method|user_agent|x_forwarded_for[]",
    "http_request/url/path|url_string",
    "http_response/code:i",
    "cloud/provider|region|account_uid",
    "device/hostname|name",
    "unmapped/eks_cluster_name",
    "unmapped/cluster|pod/name",
    "unmapped/workload/name|kind",
    "policy/name",
    "process/name|uid|cmd_line",
    "process/pid|auid|created_time:i",
    "process/file/path|name",
    "process/user/name|uid",
    "process/container/uid|name",
    "process/container/image/name",
    "process/ancestry[]/name|cmd_line",
    "process/ancestry[]/pid:i",
    "file/path|name",
    "src_endpoint/ip|port|domain|intermediate_ips[]",
    "dst_endpoint/ip|svc_name",
    "dst_endpoint/port:i",
    "connection_info/protocol_name|direction",
    "connection_info/protocol_num|direction_id:i",
    "traffic/bytes_in|bytes_out|packets_in|packets_out:i",
    "query/hostname|type",
    "answers[]/rdata",
    "finding_info/uid|title|desc",
    "finding_info/analytic/name",
    "finding_info/attacks[]/technique|sub_technique/uid",
    "evidences[]/actor/user/name",
    "evidences[]/process/name",
    "evidences[]/process/pid:i",
    "evidences[]/process/container/uid",
    "evidences[]/src_endpoint/ip",
];

/// Categories, actions with dots in their key, and the address of a source are a text or a list: they are left out.
const ECS: &[&str] = &[
    "@timestamp|message|tags[]",
    "event/kind|action|type[]|outcome|provider|module|dataset|id|created|reason",
    "event.kind|event.category[]|event.type[]|event.outcome|event.provider|event.module|event.dataset|event.id",
    "event.original_id",
    "event.severity:i",
    "agent/type",
    "data_stream/dataset",
    "auditd/data/syscall",
    "labels/team|tier",
    "log/flags[]",
    "rule/name",
    "threat.technique.id[]|threat.technique.subtechnique.id[]",
    "trace/id",
    "error/code|message",
    "falco/priority|output|hostname",
    "cloud/provider|region",
    "cloud/account/id",
    "host/name|hostname",
    "observer/hostname|product",
    "host.name|observer.product|orchestrator.cluster.name",
    "orchestrator/cluster/name",
    "container/id|name",
    "container/image/name|tag[]",
    "container/image/hash/all[]",
    "kubernetes/namespace",
    "kubernetes/node|deployment/name",
    "kubernetes/pod/name|uid",
    "kubernetes/labels/app|app_kubernetes_io~1name",
    "kubernetes/container/id|name|image",
    "kubernetes/audit/verb|auditID|stage|requestURI|userAgent",
    "kubernetes/audit/user/username|groups[]",
    "kubernetes/audit/objectRef/resource|subresource|name|namespace",
    "kubernetes/audit/responseStatus/code:i",
    "user/id|name",
    "user/audit/id",
    "user/group/name",
    "user.name|user.audit.id",
    "process/name|pid|entity_id|executable|command_line|args[]|title|working_directory|start",
    "process/exit_code:i",
    "process/user/id|name",
    "process/parent/name|executable|command_line",
    "process/parent/pid:i",
    "process.executable",
    "process.pid:i",
    "file/path",
    "source.ip",
    "source/port|bytes|packets:i",
    "destination/ip|domain",
    "destination/port|bytes|packets:i",
    "client|server/ip",
    "client|server/port:i",
    "network/transport|iana_number|direction",
    "dns/type|response_code",
    "dns/question/name|type",
    "dns/answers[]/data",
    "http/request/id|method",
    "http/response/status_code:i",
    "url/original",
    "user_agent/original",
];

/// The schema of some leaves.
pub(crate) fn schema(leaves: &[&str]) -> Schema {
    let mut root = Node::default();
    for leaf in leaves {
        let (path, kind) = match leaf.rsplit_once(':') {
            Some((path, "i")) => (path, DataType::Int64),
            Some((path, "b")) => (path, DataType::Boolean),
            _ => (*leaf, DataType::Utf8),
        };
        root.add(path, &kind);
    }
    Schema::new(root.fields())
}

/// A value on the way to leaves; children in the order in which they were named.
#[derive(Default)]
struct Node {
    children: Vec<(String, Node)>,
    kind: Option<DataType>,
    is_list: bool,
}

impl Node {
    fn add(&mut self, path: &str, kind: &DataType) {
        let (names, rest) = path.split_once('/').map_or((path, None), |(names, rest)| (names, Some(rest)));
        for name in names.split('|') {
            let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
            let child = self.child(&name.replace("~1", "/"));
            child.is_list |= is_list;
            match rest {
                Some(rest) => child.add(rest, kind),
                None => child.kind = Some(kind.clone()),
            }
            assert!(child.kind.is_none() || child.children.is_empty(), "{name} is a leaf and holds others");
        }
    }

    fn child(&mut self, name: &str) -> &mut Self {
        let at = self.children.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.children.push((name.to_owned(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    fn fields(&self) -> Fields {
        self.children.iter().map(|(name, node)| Field::new(name, node.data_type(), true)).collect()
    }

    fn data_type(&self) -> DataType {
        let one = self.kind.clone().unwrap_or_else(|| DataType::Struct(self.fields()));
        if self.is_list { DataType::List(Arc::new(Field::new("item", one, true))) } else { one }
    }
}
