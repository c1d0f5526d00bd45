//! Paths of raw fields, and what is told apart under them.

use super::*;

fn plan() -> FieldPlan {
    FieldPlan::new(["a.b", "a.b.c", "verb", "annotations.authorization.k8s.io/decision"])
}

#[test]
fn keys_with_dots_are_reached_both_ways() {
    let plan = plan();
    let tree = plan.tree();
    let root = tree.root().unwrap();
    assert_eq!(tree.step(root, "a.b").unwrap().leaves, [plan.number("a.b").unwrap()]);
    let a = tree.step(root, "a").unwrap().child.unwrap();
    let b = tree.step(a, "b").unwrap();
    assert_eq!(b.leaves, [plan.number("a.b").unwrap()]);
    assert!(tree.step(b.child.unwrap(), "c").is_some());
    let annotations = tree.step(root, "annotations").unwrap().child.unwrap();
    assert_eq!(tree.step(annotations, "authorization.k8s.io/decision").unwrap().leaves.len(), 1);
}

#[test]
fn missing_null_and_many_are_told_apart() {
    let mut fields = FieldsBuilder::new(Arc::new(FieldPlan::new(["x"])));
    fields.end_row();
    fields.put(0, FieldRef::Null);
    fields.end_row();
    fields.put(0, FieldRef::Str("a"));
    fields.abandon_row();
    fields.put(0, FieldRef::Str("b"));
    fields.put(0, FieldRef::Int(1));
    fields.end_row();
    fields.end_row();
    let column = &fields.finish(4)[0];
    let row = |row: usize| column.codes(row).iter().map(|&c| column.values()[c as usize].clone()).collect::<Vec<_>>();
    assert_eq!(row(0), []);
    assert_eq!(row(1), [FieldValue::Null]);
    assert_eq!(row(2), [FieldValue::Str("b".into()), FieldValue::Int(1)]);
    assert_eq!(row(3), []);
    assert_eq!(column.slice(1, 2).codes(0), column.codes(1));
    assert_eq!(column.slice(1, 2).codes(1), column.codes(2));
}

#[test]
fn a_path_of_many_dots_makes_a_small_tree() {
    let path = vec!["k"; 60].join(".");
    let plan = FieldPlan::new([path.as_str(), "k.k", "other.k"]);
    assert!(plan.tree().nodes.len() < 200, "{}", plan.tree().nodes.len());
    // It can still be cut at any dot.
    let tree = plan.tree();
    let through = |node: usize, keys: &str| tree.step(node, keys).and_then(|step| step.child);
    let middle = through(tree.root().unwrap(), &vec!["k"; 25].join(".")).unwrap();
    let end = tree.step(middle, &vec!["k"; 35].join(".")).unwrap();
    assert_eq!(end.leaves, [plan.number(&path).unwrap()]);
}

#[test]
fn every_key_of_a_large_plan_is_found_and_no_other() {
    let paths: Vec<String> =
        (0..500).map(|n| format!("k{n}")).chain(["a.b".into(), "aa".into(), "ab".into()]).collect();
    let plan = FieldPlan::new(&paths);
    let tree = plan.tree();
    let root = tree.root().unwrap();
    for path in &paths {
        assert_eq!(tree.step(root, path).unwrap().leaves, [plan.number(path).unwrap()]);
    }
    for other in ["", "k", "k500", "K1", "k01", "b", "aab", "1k"] {
        assert_eq!(tree.step(root, other), None, "{other}");
    }
}

#[test]
fn texts_that_repeat_share_a_code_in_every_batch() {
    let mut fields = FieldsBuilder::new(Arc::new(FieldPlan::new(["x"])));
    for batch in 0..2 {
        for row in 0..100 {
            fields.put(0, FieldRef::Str(&format!("text {}", row % 30 + batch)));
            fields.put(0, FieldRef::Int(7));
            fields.end_row();
        }
        let column = &fields.finish(100)[0];
        assert_eq!(column.values().len(), 31);
        for row in 0..100 {
            let values: Vec<FieldValue> =
                column.codes(row).iter().map(|&c| column.values()[c as usize].clone()).collect();
            assert_eq!(values, [FieldValue::Str(format!("text {}", row % 30 + batch).into()), FieldValue::Int(7)]);
        }
    }
}

#[test]
fn the_payload_as_a_whole_is_no_field() {
    let plan = Arc::new(FieldPlan::new(["a", "", "a.b"]));
    let tree = plan.tree();
    // A key or a column of a table without a name is not it.
    assert_eq!((plan.number(""), tree.step(tree.root().unwrap(), "")), (None, None));
    let whole = plan.whole().unwrap();
    let mut fields = FieldsBuilder::new(Arc::clone(&plan));
    fields.end_row();
    fields.put_whole();
    fields.end_row();
    let column = &fields.finish(2)[whole];
    assert_eq!((column.codes(0).len(), column.codes(1).len()), (0, 1));
    assert_eq!(column.values(), [FieldValue::Object]);
    assert_eq!(FieldPlan::new(["a"]).whole(), None);
    assert_eq!(FieldPlan::new([""]).tree().root(), None);
}
