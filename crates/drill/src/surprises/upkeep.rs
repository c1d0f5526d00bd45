//! Surprises of upkeep: an administrator works on nodes, a backup reads everything.
//!
//! Not here: what is done at the API by hand (see `people`).

use palisade_events::time::SECOND;

use super::scene::{Flow, Scene, Shell};
use crate::act::{Access, End, Login, Parent, Place, Process, Terminal};
use crate::audit::{
    CONFIG_MAPS, CRON_JOBS, DEPLOYMENTS, INGRESSES, JOBS, LEASES, NAMESPACES, NODES, PODS, ROLE_BINDINGS, Request,
    Resource, SECRETS, SERVICE_ACCOUNTS, SERVICES,
};
use crate::body;
use crate::cluster;

/// Scenes on one node.
const ON_NODE: u32 = 6;
const NODES_MAX: u32 = 3;
pub(super) const MAINTENANCE_SCENES: u32 = ON_NODE * NODES_MAX;

pub(super) const BACKUP_SCENES: u32 = RESOURCES.len() as u32 + 2;

/// An administrator goes from node to node: upgrades packages, edits a setting, restarts the kubelet.
pub(super) fn maintenance(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let first = scene.cast.below(cluster.nodes.len() as u64) as usize;
    let edited = *scene.cast.pick(&[
        "/etc/sysctl.d/90-network.conf",
        "/etc/ssh/sshd_config",
        "/etc/systemd/system/kubelet.service.d/20-limits.conf",
        "/etc/cron.d/image-prune",
        "/etc/sudoers.d/platform",
    ]);
    let nth = scene.number / ON_NODE;
    if nth as usize >= cluster.nodes.len() {
        return;
    }
    let node = (first + nth as usize) % cluster.nodes.len();
    let mut shell = scene.shell(node);
    shell.bash.pid += u64::from(nth);
    shell.bash.started = scene.time_of(nth * ON_NODE) + SECOND / 5;
    match scene.number % ON_NODE {
        0 => log_in(scene, &shell),
        1 => {
            let argv: &[&str] = &["sudo", "apt-get", "update"];
            let apt = scene.sudo(0, 6 * SECOND, &shell, "/usr/bin/apt-get", argv);
            scene.touch(20_000, &Process { exe: "/usr/bin/sudo", ..apt }, Access::Read, "/etc/shadow");
            let argv: &[&str] = &["/usr/lib/apt/methods/https"];
            let method = scene.child(SECOND / 4, 4 * SECOND, &apt, "/usr/lib/apt/methods/https", argv);
            let received = 2_000_000 + scene.wire.random.below(30_000_000);
            fetch(scene, node, received, method);
        }
        2 => upgrade(scene, &shell),
        3 => {
            let argv = ["sudo", "vi", edited];
            let vi = scene.sudo(0, 40 * SECOND, &shell, "/usr/bin/vim.basic", &argv);
            scene.touch(SECOND, &vi, Access::Write, edited);
            scene.sudo(SECOND * 3 / 2, SECOND / 10, &shell, "/usr/sbin/sysctl", &["sudo", "sysctl", "--system"]);
        }
        4 => restart_kubelet(scene, &shell),
        _ => {
            let argv: &[&str] = &["journalctl", "-u", "kubelet", "--since", "-5m"];
            scene.run(0, SECOND, &shell, "/usr/bin/journalctl", argv);
            scene.sudo(SECOND, SECOND / 5, &shell, "/usr/bin/crictl", &["sudo", "crictl", "ps"]);
            let message =
                "op=logout id=1000 exe=\"/usr/sbin/sshd\" hostname=10.60.3.11 addr=10.60.3.11 terminal=ssh res=success";
            scene.host(SECOND * 3 / 2, node, "USER_LOGOUT", shell.login, message);
        }
    }
}

fn log_in(scene: &mut Scene<'_>, shell: &Shell) {
    let from = "hostname=10.60.3.11 addr=10.60.3.11 terminal=ssh res=success";
    for (after, kind, what) in [
        (0, "USER_AUTH", "op=pubkey acct=\"sam\" exe=\"/usr/sbin/sshd\""),
        (20_000, "USER_ACCT", "op=PAM:accounting grantors=pam_permit acct=\"sam\" exe=\"/usr/sbin/sshd\""),
        (60_000, "USER_START", "op=PAM:session_open grantors=pam_unix,pam_systemd acct=\"sam\" exe=\"/usr/sbin/sshd\""),
        (90_000, "USER_LOGIN", "op=login id=1000 exe=\"/usr/sbin/sshd\""),
    ] {
        scene.host(after, shell.node, kind, shell.login, &[what, " ", from].concat());
    }
    let Parent { pid, exe, started, .. } = shell.bash;
    let sshd = Parent { pid: pid - 1, exe: "/usr/sbin/sshd", arguments: "", started: started - SECOND / 10 };
    let bash = Process {
        place: Place::Node(shell.node),
        pid,
        exe,
        argv: &["-bash"],
        cwd: "/home/sam",
        uid: 1_000,
        login: shell.login,
        terminal: Terminal::Attached,
        parent: sshd,
        started,
    };
    scene.launch(600 * SECOND, &bash);
    scene.run(SECOND, SECOND / 100, shell, "/usr/bin/uname", &["uname", "-a"]);
    scene.run(SECOND * 3 / 2, SECOND / 10, shell, "/usr/bin/df", &["df", "-h"]);
}

fn fetch(scene: &mut Scene<'_>, node: usize, received: u64, by: Process<'_>) {
    let flow = Flow { port: 443, sent: 9_000, received, lasts: 3 * SECOND };
    let to = End::Outside { ip: "192.0.2.40", name: "packages.example.com" };
    scene.connect(SECOND / 3, (End::Node(node), to), flow, Some(by));
}

/// A few packages are unpacked and set up, among them what attackers like to replace.
fn upgrade(scene: &mut Scene<'_>, shell: &Shell) {
    const PACKAGES: [(&str, &str, &str); 7] = [
        ("openssh-server", "/var/cache/apt/archives/openssh-server.deb", "/usr/sbin/sshd"),
        ("sudo", "/var/cache/apt/archives/sudo.deb", "/usr/bin/sudo"),
        ("libc-bin", "/var/cache/apt/archives/libc-bin.deb", "/usr/bin/ldd"),
        ("libpam-modules", "/var/cache/apt/archives/libpam-modules.deb", "/etc/pam.d/common-auth"),
        ("cron", "/var/cache/apt/archives/cron.deb", "/etc/crontab"),
        ("containerd.io", "/var/cache/apt/archives/containerd.deb", "/usr/bin/containerd"),
        ("curl", "/var/cache/apt/archives/curl.deb", "/usr/bin/curl"),
    ];
    let argv: &[&str] = &["sudo", "apt-get", "-y", "upgrade"];
    let apt = scene.sudo(0, 30 * SECOND, shell, "/usr/bin/apt-get", argv);
    let first = scene.cast.below(PACKAGES.len() as u64) as usize;
    let count = 2 + scene.cast.below(3) as usize;
    for (nth, (package, archive, file)) in (0..).zip(PACKAGES.iter().cycle().skip(first).take(count)) {
        let after = SECOND / 5 + nth * SECOND / 4;
        let argv = ["/usr/bin/dpkg", "--status-fd", "17", "--no-triggers", "--unpack", archive];
        let dpkg = scene.child(after, SECOND / 5, &apt, "/usr/bin/dpkg", &argv);
        scene.child(after + 8_000, SECOND / 20, &dpkg, "/usr/bin/dpkg-deb", &["dpkg-deb", "--fsys-tarfile", archive]);
        let fresh = [file, ".dpkg-new"].concat();
        scene.touch(after + 30_000, &dpkg, Access::Create, &fresh);
        scene.touch(after + 31_000, &dpkg, Access::Attributes, &fresh);
        scene.touch(after + 33_000, &dpkg, Access::Rename, file);
        let script = ["/var/lib/dpkg/info/", package, ".postinst"].concat();
        let argv = ["/bin/sh", &script, "configure"];
        scene.child(after + 60_000, SECOND / 10, &dpkg, "/usr/bin/dash", &argv);
    }
    let ldconfig = scene.child(SECOND * 3 / 2, SECOND / 10, &apt, "/usr/sbin/ldconfig", &["ldconfig"]);
    scene.touch(SECOND * 3 / 2 + 20_000, &ldconfig, Access::Rename, "/etc/ld.so.cache");
}

fn restart_kubelet(scene: &mut Scene<'_>, shell: &Shell) {
    let cluster = scene.cluster;
    let Some(node) = cluster.nodes.get(shell.node) else { return };
    let argv: &[&str] = &["sudo", "systemctl", "restart", "kubelet"];
    scene.sudo(0, SECOND, shell, "/usr/bin/systemctl", argv);
    let unit =
        "unit=kubelet comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? res=success";
    scene.host(100_000, shell.node, "SERVICE_STOP", Login::None, unit);
    scene.host(SECOND / 2, shell.node, "SERVICE_START", Login::None, unit);
    let started = scene.now + SECOND / 2;
    let kubelet = Process {
        place: Place::Node(shell.node),
        pid: scene.wire.next_pid(shell.node),
        exe: "/usr/bin/kubelet",
        argv: &["/usr/bin/kubelet", "--config=/var/lib/kubelet/config.yaml"],
        cwd: "/",
        uid: 0,
        login: Login::None,
        terminal: Terminal::None,
        parent: Parent { pid: 1, exe: "/usr/lib/systemd/systemd", arguments: "", started: started - 86_400 * SECOND },
        started,
    };
    scene.launch(3_600 * SECOND, &kubelet);
    // It introduces itself again.
    let name = node.name.as_str();
    scene.ask(2 * SECOND, &node.kubelet, "get", NODES, "", name);
    let patch = body::node_status(scene.wire, node, scene.now + 2 * SECOND);
    let request = Request::new(&node.kubelet, "patch", NODES, "", name);
    scene.request(2 * SECOND + 40_000, &Request { subresource: "status", request_object: &patch, ..request });
    scene.ask(3 * SECOND, &node.kubelet, "get", LEASES, "kube-node-lease", name);
    for (after, resource) in [(2, SECRETS), (2, CONFIG_MAPS), (3, PODS), (3, SERVICES)] {
        let query = format!("fieldSelector=spec.nodeName%3D{name}&limit=500&resourceVersion=0");
        let query = if resource == PODS { query.as_str() } else { "limit=500&resourceVersion=0" };
        let request = Request::new(&node.kubelet, "list", resource, "", "");
        scene.request(after * SECOND, &Request { query, ..request });
    }
}

/// What a backup holds, in the order in which it is asked for.
const RESOURCES: [Resource; 14] = [
    NAMESPACES,
    SECRETS,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    ROLE_BINDINGS,
    Resource("rbac.authorization.k8s.io", "v1", "roles"),
    DEPLOYMENTS,
    Resource("apps", "v1", "statefulsets"),
    SERVICES,
    INGRESSES,
    JOBS,
    CRON_JOBS,
    Resource("", "v1", "persistentvolumeclaims"),
    PODS,
];

const BACKUPS: Resource = Resource("velero.io", "v1", "backups");

/// The backup operator lists every kind of object in every namespace, secrets among them, and stores it outside.
pub(super) fn backup(scene: &mut Scene<'_>) {
    /// Namespaces that are asked for one by one, at most.
    const NAMESPACES_MAX: usize = 200;
    let cluster = scene.cluster;
    let (ip, name) = ("192.0.2.61", "backups.storage.example.com");
    let pod = scene.new_pod("velero", "velero", "velero", ("registry.example.com/platform/velero", "1.16.2"));
    let extra = cluster::jti(&mut scene.cast);
    let agent = "velero-server/v1.16.2 (linux/amd64) 0a8f6e1";
    let operator = cluster::service_account("velero", "velero", "velero", &extra, &pod.ip, agent, &mut scene.cast);
    let backup = format!("weekly-{}", scene.began.div_euclid(SECOND));
    let Some(number) = scene.number.checked_sub(1) else {
        let actor = if scene.cast.chance(1, 2) { &cluster.admin } else { &operator };
        scene.create(0, actor, BACKUPS, ("velero", &backup), "");
        scene.request(
            SECOND,
            &Request { subresource: "status", ..Request::new(&operator, "patch", BACKUPS, "velero", &backup) },
        );
        return;
    };
    let Some(resource) = RESOURCES.get(number as usize) else {
        scene.lookup(0, &pod, name, ip);
        let argv: &[&str] = &["/plugins/velero-plugin-for-objects"];
        let process = scene.inside(10_000, &pod, "/plugins/velero-plugin-for-objects", argv);
        scene.launch(40 * SECOND, &process);
        let sent = 60_000_000 + scene.wire.random.below(40_000_000);
        let flow = Flow { port: 443, sent, received: 90_000, lasts: 30 * SECOND };
        scene.connect(30_000, (End::Pod(&pod), End::Outside { ip, name }), flow, Some(process));
        scene.request(
            40 * SECOND,
            &Request { subresource: "status", ..Request::new(&operator, "patch", BACKUPS, "velero", &backup) },
        );
        return;
    };
    let query = "limit=500";
    if *resource == NAMESPACES {
        scene.request(0, &Request { query, ..Request::new(&operator, "list", *resource, "", "") });
        return;
    }
    let system = ["kube-system", "ci", "monitoring", "cert-manager", "ingress-nginx"];
    let own = cluster.namespaces.iter().map(String::as_str);
    for (nth, namespace) in (0..).zip(system.into_iter().chain(own).take(NAMESPACES_MAX)) {
        scene.request(nth * 15_000, &Request { query, ..Request::new(&operator, "list", *resource, namespace, "") });
    }
}
