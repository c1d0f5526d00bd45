//! An inventory of a cluster: versions of its objects land once, whatever write the process dies at.

use palisade_events::time::format_rfc3339;

use super::*;

/// Watch events of a cluster, each about one pod.
const RECORDS: i64 = 1200;
/// Midnight of 2026-03-02.
const MIDNIGHT: i64 = 1_772_409_600_000_000;

/// A pod comes, changes its node, and goes.
fn watch_event(number: i64) -> String {
    let (pod, step) = (number / 3, number % 3);
    let change = ["ADDED", "MODIFIED", "DELETED"][step as usize];
    let time = format_rfc3339(MIDNIGHT + number * 1_000_000);
    serde_json::json!({
        "type": change,
        "object": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("cart-{pod}"),
                "namespace": "shop",
                "uid": format!("00000000-0000-4000-8000-{pod:012}"),
                "resourceVersion": number.to_string(),
                "creationTimestamp": format_rfc3339(MIDNIGHT + pod * 3_000_000),
                "managedFields": [{ "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": time }],
            },
            "spec": {
                "nodeName": format!("node-{step}"),
                "containers": [{ "name": "cart", "image": "registry.example/shop/cart:1.4" }],
            },
            "status": { "phase": "Running", "podIP": format!("10.1.{}.{}", pod / 200, pod % 200) },
        },
    })
    .to_string()
}

/// A world whose first source is the inventory.
fn inventory() -> World {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<String> = (0..RECORDS).map(watch_event).collect();
    std::fs::write(folder.path().join("objects.json"), records.join("\n") + "\n").unwrap();
    std::fs::write(folder.path().join("audit.log"), "this is no event\n").unwrap();
    let source = |name: &str, format: &str, path: PathBuf| {
        format!(
            "[[source]]\nkind = \"files\"\nname = \"{name}\"\nformat = \"{format}\"\ncluster = \"c\"\npaths = [{}]\n",
            toml::Value::from(path.display().to_string())
        )
    };
    let text = format!(
        "job = \"j\"\n[lake]\ncommit_interval_secs = 0.0\ncommit_rows_max = 1\nfsync = false\n\
         [pipeline]\npatience_secs = 0.0\nidle_secs = 3600.0\nlateness_secs = 5.0\npane_secs = 1.0\n{}{}{}",
        source("inventory", "k8s_objects", folder.path().join("objects.json")),
        source("audit", "k8s_audit", folder.path().join("audit.log")),
        source("alerts", "falco", "-".into()),
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let plan = Plan::new(&config).unwrap();
    World { folder, config, plan, alerts: Arc::default(), pause_after: usize::MAX }
}

/// What the lake holds of the inventory.
fn versions(lake: &Path) -> Vec<String> {
    rows(lake, "SELECT * FROM objects ORDER BY record_offset, event_uid, name")
}

#[test]
fn versions_of_objects_land_once_whatever_write_the_process_dies_at() {
    let world = inventory();
    let reference = world.lake("reference");
    world.live(&reference, Life::default(), &Kept::default()).unwrap();
    let expected = versions(&reference);
    assert_eq!(expected.len(), RECORDS as usize, "each record shows one object");
    let told = "SELECT count(*) AS n FROM objects o JOIN events e ON e.event_uid = o.event_uid \
                WHERE o.record_offset = e.record_offset AND o.cluster_name = 'c'";
    assert_eq!(number(&rows(&reference, told).join(""), "n"), RECORDS as u64, "each names its event");
    let mut deaths = 0;
    for seed in 0..3 {
        let lake = world.lake(&format!("lake-{seed}"));
        deaths += live_until_done(&world, &lake, &mut Dice(seed), 9, &Kept::default());
        same(&expected, &versions(&lake), &format!("seed {seed}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let problems = runtime.block_on(palisade_lake::verify(&lake.display().to_string(), LakeOptions::fast()));
        assert_eq!(problems.unwrap(), [], "seed {seed}");
    }
    assert!(deaths > 3, "{deaths}");
}
