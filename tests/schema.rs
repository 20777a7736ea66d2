//! The schemas in `docs/schemas/`, and JSON held against them.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::{Resource, Validator};
use serde_json::{Value, json};

/// Where relative references between schemas lead.
const BASE: &str = "lokt:///";

/// What others may write more into: a record by a later version, an event by another tool.
const OPEN: [&str; 3] = ["record", "audit", "audit-event"];

pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/schemas")
}

/// Every schema, by its name.
pub fn schemas() -> Vec<(String, Value)> {
    let files = fs::read_dir(dir()).unwrap().flatten();
    let named = files.filter_map(|file| {
        let name = file.file_name().to_string_lossy().strip_suffix(".schema.json")?.to_owned();
        Some((name, serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap()))
    });
    named.collect()
}

fn validator(schema: &str) -> Validator {
    let all = schemas();
    let own = &all.iter().find(|(name, _)| name == schema).expect("a schema of that name").1;
    let mut options = jsonschema::options().with_base_uri(format!("{BASE}{schema}.schema.json"));
    for (name, other) in &all {
        let resource = Resource::from_contents(other.clone()).unwrap();
        options = options.with_resource(format!("{BASE}{name}.schema.json"), resource);
    }
    options.build(own).unwrap()
}

/// Checks that `text` is JSON as the schema describes it, and that the schema would notice if it were not.
#[track_caller]
pub fn validate(schema: &str, text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let validator = validator(schema);
    let wrong: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(wrong.is_empty(), "not as {schema}.schema.json has it: {wrong:#?}\n{value:#}");
    for broken in mutants(&value).into_iter().chain(swollen(&value).filter(|_| !OPEN.contains(&schema))) {
        assert!(!validator.is_valid(&broken), "{schema}.schema.json takes this too:\n{broken:#}");
    }
    value
}

/// The value with a field more than there is; a record is open to what a later version writes.
fn swollen(value: &Value) -> impl Iterator<Item = Value> {
    let object = if value.is_array() { value.get(0) } else { Some(value) };
    let swollen = object.and_then(Value::as_object).cloned().map(|mut fields| {
        fields.insert("surplus".into(), json!(1));
        Value::Object(fields)
    });
    let listed = value.is_array();
    swollen.map(|object| if listed { json!([object]) } else { object }).into_iter()
}

/// The value with one thing changed that makes it wrong, for each thing: what nobody expects in a value's place.
fn mutants(value: &Value) -> Vec<Value> {
    let mut all = vec![json!({ "unexpected": [null] })];
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                all.extend(mutants(field).into_iter().map(|mutant| {
                    let mut fields = fields.clone();
                    fields[key] = mutant;
                    Value::Object(fields)
                }));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                all.extend(mutants(item).into_iter().map(|mutant| {
                    let mut items = items.clone();
                    items[at] = mutant;
                    Value::Array(items)
                }));
            }
        }
        _ => {}
    }
    all
}
