//! JSON Schemas of the plan file and of what a planning agent may submit. They describe shape; what only the whole
//! plan tells (cycles, unknown needs) is `validate`'s.

use serde_json::{Value, json};

use crate::file::STEPS_MAX;
use crate::id::ID_BYTES_MAX;

/// JSON Schema of the plan file.
pub fn plan_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wattle plan, version 1",
        "type": "object",
        "required": ["version", "task", "steps"],
        "additionalProperties": false,
        "patternProperties": { "^x-": {} },
        "properties": plan_properties(),
        "$defs": definitions(step()),
    })
}

/// JSON Schema of what a planning agent submits: steps, and checks it would add. What decides trust or money
/// (`model`, `via`) is not in it.
pub fn submit_plan_schema() -> Value {
    let mut step = step();
    remove(&mut step, "expect");
    // A model has no commit to name.
    remove(&mut step, "revert");
    step["oneOf"] = executors(&["run", "rewrite", "agent"]);
    let mut definitions = definitions(step);
    for key in ["model", "via", "context", "max_usd", "use"] {
        remove(&mut definitions["agent"], key);
    }
    remove(&mut definitions["check"], "env");
    json!({
        "type": "object",
        "required": ["steps"],
        "additionalProperties": false,
        "properties": {
            "steps": steps(),
            "proposed_checks": {
                "description": "Commands that should also pass before anything lands. They are added to those of the run and replace none.",
                "type": "array",
                "items": { "$ref": "#/$defs/check" },
            },
        },
        "$defs": definitions,
    })
}

fn remove(schema: &mut Value, key: &str) {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.shift_remove(key);
    }
}

fn steps() -> Value {
    json!({ "type": "array", "minItems": 1, "maxItems": STEPS_MAX, "items": { "$ref": "#/$defs/step" } })
}

fn plan_properties() -> Value {
    json!({
        "version": { "const": 1 },
        "task": { "type": "string", "minLength": 1, "description": "What is to be done, for people and for agents." },
        "target": { "type": ["string", "null"], "description": "The branch to land on; default: the one checked out." },
        "checks": {
            "description": "Must pass on the exact tree that lands; an empty list lands unverified.",
            "type": "array", "items": { "$ref": "#/$defs/check" },
        },
        "setup": object(&["run"], json!({
            "run": text("Prepares a slot."),
            "key": texts("Files whose change makes it run again."),
            "timeout": { "$ref": "#/$defs/duration" },
            "env": { "$ref": "#/$defs/env" },
        })),
        "checkout": object(&[], json!({
            "submodules": { "type": "boolean", "description": "Whether slots hold submodules that the repository has; default true." },
            "lfs": { "type": "boolean", "description": "Whether slots hold the content of LFS files, not pointers; default true." },
            "sparse": texts("Folders that slots hold; default: everything."),
        })),
        "limits": object(&[], json!({
            "jobs": { "type": ["integer", "null"], "minimum": 1 },
            "checks": { "type": ["integer", "null"], "minimum": 1 },
            "usd": { "type": ["number", "null"], "minimum": 0 },
            "tokens": { "type": ["integer", "null"], "minimum": 0 },
            "disk": { "type": ["string", "null"], "pattern": "^[0-9]+ *([KMGT]i?)?B$" },
        })),
        "defaults": object(&[], json!({
            "retries": { "type": "integer", "minimum": 0 },
            "timeout": { "$ref": "#/$defs/duration" },
            "idle": { "anyOf": [{ "$ref": "#/$defs/duration" }, { "type": "null" }] },
        })),
        "groups": {
            "description": "Steps that land in one move.",
            "type": "object",
            "propertyNames": { "$ref": "#/$defs/id" },
            "additionalProperties": object(&[], json!({ "land": { "const": "together" } })),
        },
        "discard": globs("Restored before a step's commit."),
        "generated": {
            "description": "Files that landing makes anew.",
            "type": "array",
            "items": object(&["path", "run"], json!({ "path": text("The file."), "run": text("Makes it.") })),
        },
        "commit": object(&[], json!({
            "style": { "enum": ["merge", "squash"] },
            "sign_off": { "type": "boolean" },
        })),
        "notify": object(&["run"], json!({
            "run": text("Gets the event as JSON on its input."),
            "on": { "type": "array", "items": { "enum": ["needs_input", "review", "failed", "finished"] } },
        })),
        "steps": steps(),
    })
}

fn definitions(step: Value) -> Value {
    json!({
        "id": { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$", "maxLength": ID_BYTES_MAX },
        "duration": { "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$", "examples": ["30s", "10m", "1h"] },
        "env": { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } },
        "check": object(&["name", "run"], json!({
            "name": text("Unique."),
            "run": text("For `sh -c`."),
            "at": { "enum": ["step", "land", "final"], "default": "land" },
            "paths": globs("It runs only when one of these changed."),
            "timeout": { "$ref": "#/$defs/duration" },
            "env": { "$ref": "#/$defs/env" },
        })),
        "rewrite": {
            "description": "A structural rewrite: an ast-grep rule file, its text, or a pattern.",
            "oneOf": [
                object(&["rule"], json!({ "rule": text("Path of a rule file.") })),
                object(&["inline"], json!({ "inline": { "type": ["string", "object"] } })),
                object(&["pattern", "lang"], json!({
                    "pattern": text("What to find, with $META variables."),
                    "fix": { "type": "string" },
                    "lang": text("The language."),
                })),
            ],
        },
        "agent": object(&["prompt"], json!({
            "use": {
                "type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$",
                "description": "Name of an agent definition of the base commit (.wattle/agents or .claude/agents): how this agent works. It can only narrow what the step may do.",
            },
            "prompt": text("What the agent is told."),
            "model": { "type": "string", "description": "PROVIDER/NAME or script:FILE." },
            "via": { "const": "wattle" },
            "context": { "enum": ["auto", "fresh", "fork"] },
            "max_turns": { "type": "integer", "minimum": 1 },
            "max_usd": { "type": "number", "minimum": 0 },
        })),
        "step": step,
    })
}

fn step() -> Value {
    let mut repair = object(
        &[],
        json!({
            "run": text("For `sh -c`."),
            "rewrite": { "$ref": "#/$defs/rewrite" },
            "agent": { "$ref": "#/$defs/agent" },
            "attempts": { "type": "integer", "minimum": 1 },
        }),
    );
    repair["oneOf"] = executors(&["run", "rewrite", "agent"]);
    let properties = json!({
        "id": { "$ref": "#/$defs/id" },
        "title": text("For people."),
        "group": { "$ref": "#/$defs/id" },
        "mode": { "enum": ["read", "write", "scratch"], "description": "Default: write with `touches` or `rewrite`, else read." },
        "needs": { "type": "array", "items": { "type": "string" }, "description": "Ids of steps, or globs over ids." },
        "touches": globs("What a write step may change; default: everything, alone."),
        "run": text("A command for `sh -c`."),
        "rewrite": { "$ref": "#/$defs/rewrite" },
        "agent": { "$ref": "#/$defs/agent" },
        "revert": {
            "description": "Undoes what differs between two commits of the target, newest first; `wattle revert` writes it.",
            "type": "array", "minItems": 1, "items": object(&["before", "after"], json!({
                "before": text("The commit before the change, its full id."),
                "after": text("The commit with it, its full id."),
                "of": texts("What it was: RUN/STEP."),
            })),
        },
        "expect": { "const": "none", "description": "A read step with a rewrite that fails if the rule matches." },
        "check": object(&["run"], json!({ "run": text("For `sh -c`."), "timeout": { "$ref": "#/$defs/duration" } })),
        "repair": repair,
        "tools": texts("Tools an agent may use; default: by mode."),
        "env": { "$ref": "#/$defs/env" },
        "ok_exit": { "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 0, "maximum": 255 } },
        "retries": { "type": "integer", "minimum": 0 },
        "timeout": { "$ref": "#/$defs/duration" },
        "idle": { "anyOf": [{ "$ref": "#/$defs/duration" }, { "type": "null" }] },
    });
    let mut step = object(&["id"], properties);
    step["oneOf"] = executors(&["run", "rewrite", "agent", "revert"]);
    step
}

fn executors(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": description })
}

fn texts(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn globs(description: &str) -> Value {
    texts(&format!("Globs relative to the root; `*` stops at `/`, `**` crosses it. {description}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::file::{PLAN_KEYS, STEP_KEYS};

    fn keys(schema: &Value) -> BTreeSet<&str> {
        let properties = schema["properties"].as_object().unwrap();
        properties.keys().map(String::as_str).collect()
    }

    #[test]
    fn knows_the_keys_that_are_read() {
        let schema = plan_schema();
        assert_eq!(keys(&schema), BTreeSet::from(PLAN_KEYS));
        assert_eq!(keys(&schema["$defs"]["step"]), BTreeSet::from(STEP_KEYS));
    }

    #[test]
    fn an_agent_is_not_offered_what_it_may_not_decide() {
        let schema = submit_plan_schema();
        assert_eq!(keys(&schema), BTreeSet::from(["steps", "proposed_checks"]));
        assert_eq!(keys(&schema["$defs"]["agent"]), BTreeSet::from(["prompt", "max_turns"]));
        assert!(!keys(&schema["$defs"]["check"]).contains("env"));
    }

    /// Every `$ref` of `value`.
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for schema in [plan_schema(), submit_plan_schema()] {
            let mut found = Vec::new();
            references(&schema, &mut found);
            assert!(found.len() > 5);
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(schema.pointer(pointer).is_some(), "{reference}");
            }
        }
    }
}
