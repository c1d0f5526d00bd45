//! A layer for the ATT&CK Navigator: for each technique the share of steps that were detected, as measured.
//!
//! Not here: which techniques a pack claims to cover. The layer's format is 4.5.

use serde_json::{Value, json};

use super::report::Report;

/// The layer of a report, for a version of ATT&CK such as `18`.
pub fn navigator_layer(report: &Report, attack_version: &str) -> Value {
    let techniques: Vec<Value> = report
        .techniques
        .iter()
        .map(|technique| {
            let share = technique.detected as f64 / technique.steps.max(1) as f64;
            json!({
                "techniqueID": technique.technique,
                "score": (share * 100.0).round(),
                "comment": format!(
                    "{} of {} steps detected; blinded {} of {}",
                    technique.detected, technique.steps, technique.blinded_detected, technique.blinded_steps
                ),
                "enabled": true,
                "showSubtechniques": true,
            })
        })
        .collect();
    let (found, all) = report.runs_detected(None);
    json!({
        "name": "Measured detection",
        "versions": { "attack": attack_version, "navigator": "5.1.0", "layer": "4.5" },
        "domain": "enterprise-attack",
        "description": format!("{found} of {all} simulated attacks detected; the score is the share of steps, in percent"),
        "filters": { "platforms": ["Containers", "Linux"] },
        "sorting": 3,
        "hideDisabled": false,
        "techniques": techniques,
        "gradient": { "colors": ["#d9534f", "#f0ad4e", "#5cb85c"], "minValue": 0, "maxValue": 100 },
        "legendItems": [
            { "label": "no step detected", "color": "#d9534f" },
            { "label": "every step detected", "color": "#5cb85c" }
        ],
        "showTacticRowBackground": true,
        "tacticRowBackground": "#dddddd",
        "selectTechniquesAcrossTactics": true,
        "selectSubtechniquesWithParent": false
    })
}
