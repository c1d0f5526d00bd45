//! Surprises of load: a load test, a batch job that keeps its node busy, a schedule that drifts.
//!
//! Not here: what is changed on purpose (see `change`).

use palisade_events::time::{Micros, SECOND};

use super::scene::{CREATED, Flow, Scene};
use crate::act::End;
use crate::audit::{AUTOSCALERS, CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS, Request};
use crate::cluster::{CRONJOB_CONTROLLER, JOB_CONTROLLER, Pod, REPLICASET_CONTROLLER};

/// Twenty minutes.
pub(super) const LOAD_TEST_SCENES: u32 = 240;
pub(super) const LOAD_TEST_STEP: Micros = 5 * SECOND;

/// Ten minutes.
pub(super) const NOISY_SCENES: u32 = 300;
pub(super) const NOISY_STEP: Micros = 2 * SECOND;

pub(super) const DRIFTING_RUNS: u32 = 6;

/// Where the cluster's controllers hold the autoscaler's.
const AUTOSCALER: usize = 3;

/// Clients call the shop's ingress five times as often as they usually do; the autoscaler adds pods, and takes them
/// away.
pub(super) fn load_test(scene: &mut Scene<'_>) {
    // When a pod is added, by scene; they go in the last quarter.
    const ADDED_AT: [u32; 4] = [12, 24, 30, 48];
    let cluster = scene.cluster;
    let namespace = scene.namespace();
    let usual = scene.pods(namespace, "web", 50);
    let ingresses = scene.pods("ingress-nginx", "ingress-nginx", 50);
    let databases = scene.pods(namespace, "db", 50);
    let (Some(first), false, false) = (usual.first().copied(), ingresses.is_empty(), databases.is_empty()) else {
        return;
    };
    let added: Vec<Pod> = ADDED_AT.iter().map(|_| scene.sibling(first)).collect();
    let client = ["10.60.9.14", "10.60.9.15", "10.60.12.40"][scene.cast.below(3) as usize];
    let number = scene.number;
    let ends = LOAD_TEST_SCENES / 4 * 3;

    let mut web = usual;
    // A pod takes requests ten seconds after it was asked for.
    let ready = |added_at: u32, nth: u32| number >= added_at + 2 && number < ends + nth * 3;
    web.extend((0..).zip(&added).zip(ADDED_AT).filter(|((nth, _), at)| ready(*at, *nth)).map(|((_, pod), _)| pod));
    for _ in 0..scene.portion(20, (LOAD_TEST_STEP / SECOND) as u64) {
        let random = &mut scene.wire.random;
        let after = random.between(0, LOAD_TEST_STEP);
        let (ingress, pod, database) = (*random.pick(&ingresses), *random.pick(&web), *random.pick(&databases));
        let (sent, received) = (500 + random.below(1_800), 2_000 + random.below(50_000));
        let lasts = random.between(5_000, 700_000);
        let (new_client, asks) = (random.chance(1, 8), random.chance(1, 6));
        if new_client {
            let flow = Flow { port: 443, sent: sent * 40, received: received * 40, lasts: lasts * 10 };
            let outside = End::Outside { ip: client, name: "" };
            scene.connect(after, (outside, End::Pod(ingress)), flow, None);
        }
        let flow = Flow { port: 8_080, sent, received, lasts };
        scene.connect(after + 800, (End::Pod(ingress), End::Pod(pod)), flow, None);
        if asks {
            let flow = Flow { port: 5_432, sent: sent / 2, received: received / 2, lasts };
            scene.connect(after + 2_500, (End::Pod(pod), End::Pod(database)), flow, None);
        }
    }

    let Some(autoscaler) = cluster.controllers.get(AUTOSCALER) else { return };
    if number.is_multiple_of(3) {
        let request = Request::new(autoscaler, "get", DEPLOYMENTS, namespace, "web");
        scene.request(SECOND / 5, &Request { subresource: "scale", ..request });
        let request = Request::new(autoscaler, "update", AUTOSCALERS, namespace, "web");
        scene.request(SECOND / 4, &Request { subresource: "status", ..request });
    }
    let leaves = number.checked_sub(ends).filter(|past| past.is_multiple_of(3)).map(|past| (past / 3) as usize);
    let comes = ADDED_AT.iter().position(|at| *at == number);
    let Some(pod) = comes.or(leaves).and_then(|nth| added.get(nth)) else { return };
    let request = Request::new(autoscaler, "update", DEPLOYMENTS, namespace, "web");
    scene.request(SECOND / 3, &Request { subresource: "scale", ..request });
    let set = pod.name.rsplit_once('-').map_or("web", |(set, _)| set);
    let Some(controller) = cluster.controllers.first() else { return };
    scene.ask(SECOND / 2, controller, "update", REPLICA_SETS, namespace, set);
    if comes.is_some() {
        scene.start_pod(SECOND * 2 / 3, REPLICASET_CONTROLLER, pod);
    } else if let Some(controller) = cluster.controllers.get(REPLICASET_CONTROLLER) {
        scene.stop_pod(SECOND * 2 / 3, controller, pod);
    }
}

/// A rebuild of an index, which calls a program for each of its parts.
pub(super) fn noisy_neighbour(scene: &mut Scene<'_>) {
    const PROGRAMS: [(&str, &[&str]); 8] = [
        ("/usr/bin/gzip", &["gzip", "-dc", "/data/part.gz"]),
        ("/bin/sh", &["sh", "-c", "sort -S 64M -u /data/part | split -l 50000 - /data/out."]),
        ("/usr/bin/awk", &["awk", "-F", "\t", "{print $1,$4}", "/data/part"]),
        ("/usr/bin/sort", &["sort", "-S", "64M", "-u", "/data/part"]),
        ("/usr/bin/base64", &["base64", "-d", "/data/part.b64"]),
        ("/usr/bin/python3", &["python3", "-m", "indexer.merge", "--part", "17"]),
        ("/usr/bin/curl", &["curl", "-fsS", "http://search:8080/index/parts"]),
        ("/usr/bin/find", &["find", "/data", "-name", "*.gz", "-newer", "/data/.done"]),
    ];
    let namespace = scene.namespace();
    let image = format!("registry.example.com/{namespace}/indexer");
    let pod = scene.new_pod(namespace, "indexer", "indexer", (&image, "3.9.1"));
    if scene.number == 0 {
        begin_job(scene, "rebuild-index", &pod);
        return;
    }
    for _ in 0..scene.portion(25, (NOISY_STEP / SECOND) as u64) {
        let after = scene.wire.random.between(0, NOISY_STEP);
        let (exe, argv) = *scene.wire.random.pick(&PROGRAMS);
        let process = scene.inside(after, &pod, exe, argv);
        let lasts = scene.wire.random.between(2_000, 900_000);
        scene.launch(lasts, &process);
    }
    if scene.number + 1 == NOISY_SCENES {
        end_job(scene, "rebuild-index", &pod);
    }
}

/// An export that should come twice an hour, but comes when the one before it allows, and grows.
pub(super) fn drifting_schedule(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let namespace = scene.namespace();
    let storage = "192.0.2.61";
    let image = format!("registry.example.com/{namespace}/exporter");
    let run = scene.number / 2;
    let pods: Vec<Pod> =
        (0..DRIFTING_RUNS).map(|_| scene.new_pod(namespace, "export", "export", (&image, "2.4.0"))).collect();
    let Some(pod) = pods.get(run as usize) else { return };
    let job = format!("export-{}", 29_000_000 + run);
    let Some(controller) = cluster.controllers.get(CRONJOB_CONTROLLER) else { return };
    if scene.number % 2 == 1 {
        end_job(scene, &job, pod);
        let request = Request::new(controller, "update", CRON_JOBS, namespace, "export");
        scene.request(2 * SECOND, &Request { subresource: "status", ..request });
        return;
    }
    scene.create(0, controller, JOBS, (namespace, &job), "");
    begin_pod_of_job(scene, pod);
    let shell = scene.inside(SECOND * 6 / 5, pod, "/bin/sh", &["sh", "/jobs/export.sh"]);
    scene.launch(40 * SECOND, &shell);
    let query: &[&str] = &["psql", "-h", "db", "-U", "export", "-Atc", "copy (select * from orders) to stdout"];
    let psql = scene.child(SECOND * 13 / 10, 20 * SECOND, &shell, "/usr/bin/psql", query);
    if let Some(database) = scene.pods(namespace, "db", 1).first().copied() {
        let received = u64::from(run + 1) * (20_000_000 + scene.wire.random.below(9_000_000));
        let flow = Flow { port: 5_432, sent: 4_000, received, lasts: 20 * SECOND };
        scene.connect(SECOND * 14 / 10, (End::Pod(pod), End::Pod(database)), flow, Some(psql));
    }
    scene.lookup(SECOND * 3 / 2, pod, "exports.storage.example.com", storage);
    let upload: &[&str] = &["curl", "-fsS", "-T", "/tmp/export.csv.gz", "https://exports.storage.example.com/daily/"];
    let curl = scene.child(SECOND * 3 / 2, 15 * SECOND, &shell, "/usr/bin/curl", upload);
    let sent = u64::from(run + 1) * (3_000_000 + scene.wire.random.below(2_000_000));
    let flow = Flow { port: 443, sent, received: 6_000, lasts: 15 * SECOND };
    let to = End::Outside { ip: storage, name: "exports.storage.example.com" };
    scene.connect(SECOND * 8 / 5, (End::Pod(pod), to), flow, Some(curl));
}

fn begin_job(scene: &mut Scene<'_>, job: &str, pod: &Pod) {
    let deployer = &scene.cluster.deployer;
    let request = Request::new(deployer, "create", JOBS, &pod.namespace, job);
    scene.request(0, &Request { query: "fieldManager=kubectl-create", answer: CREATED, ..request });
    begin_pod_of_job(scene, pod);
}

fn begin_pod_of_job(scene: &mut Scene<'_>, pod: &Pod) {
    scene.start_pod(SECOND / 10, JOB_CONTROLLER, pod);
}

fn end_job(scene: &mut Scene<'_>, job: &str, pod: &Pod) {
    let cluster = scene.cluster;
    let Some(controller) = cluster.controllers.get(JOB_CONTROLLER) else { return };
    let request = Request::new(controller, "update", JOBS, &pod.namespace, job);
    scene.request(SECOND / 10, &Request { subresource: "status", ..request });
    scene.stop_pod(SECOND, controller, pod);
}
