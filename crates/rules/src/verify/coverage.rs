//! A layer for the ATT&CK Navigator: for each technique the rules that claim it.
//!
//! Not here: whether they find anything, which a drill measures. The layer's format is 4.5.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Rule;

/// The layer of rules, named after where they come from. The score is the number of rules, the comment their titles.
pub fn navigator_layer(name: &str, rules: &[Rule]) -> Value {
    let mut titles: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for rule in rules {
        for technique in &rule.attack.techniques {
            let own = titles.entry(technique).or_default();
            if own.last() != Some(&rule.title.as_str()) {
                own.push(&rule.title);
            }
        }
    }
    // Rules of several packs may be of several versions: the layer is of the newest, which knows what became of the others.
    let by_number = |version: &&str| version.split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u32>>();
    let version = rules.iter().map(|rule| rule.attack.version.as_str()).filter(|v| !v.is_empty()).max_by_key(by_number);
    let mut versions = json!({ "navigator": "5.1.0", "layer": "4.5" });
    if let Some(version) = version {
        versions["attack"] = version.into();
    }
    let most = titles.values().map(Vec::len).max().unwrap_or(1).max(1);
    let untagged = rules.iter().filter(|rule| rule.attack.techniques.is_empty()).count();
    let techniques: Vec<Value> = titles
        .iter()
        .map(|(technique, titles)| {
            json!({
                "techniqueID": technique,
                "score": titles.len(),
                "comment": titles.join("; "),
                "enabled": true,
                "showSubtechniques": true,
            })
        })
        .collect();
    json!({
        "name": format!("Rules of {name}"),
        "versions": versions,
        "domain": "enterprise-attack",
        "description": format!(
            "{} rules claim {} techniques, {untagged} claim none; the score is the number of rules",
            rules.len(), titles.len()
        ),
        "sorting": 3,
        "hideDisabled": false,
        "techniques": techniques,
        "gradient": { "colors": ["#d6e6f4", "#2171b5"], "minValue": 0, "maxValue": most },
        "legendItems": [
            { "label": "one rule", "color": "#d6e6f4" },
            { "label": "most rules", "color": "#2171b5" }
        ],
        "showTacticRowBackground": true,
        "tacticRowBackground": "#dddddd",
        "selectTechniquesAcrossTactics": true,
        "selectSubtechniquesWithParent": false
    })
}
