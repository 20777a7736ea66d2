//! The JSON of a status: the Go tool's fields, then ours.

use serde_json::{Map, Value, json};

use crate::cli::fields::{is_expired, left_sec, mode_fields, pid_status, whole_seconds};
use crate::locks::Status;
use crate::protocol::{Freeze, Record, Standing, Stored};
use crate::words;

/// A name's objects in the list: its lock, its freeze.
pub(super) fn objects(status: &Status) -> Vec<Value> {
    let mut objects = Vec::new();
    objects.extend(holders(status));
    if objects.is_empty() && status.view.stored != Stored::Empty {
        let state = words::state(&status.view.standing, false);
        objects.push(json!({ "name": status.name.as_str(), "state": state }));
    }
    objects.extend(status.view.freeze.as_ref().map(|freeze| frozen(freeze, status)));
    objects
}

/// One lock's object, whatever stands in its place.
pub(super) fn one(status: &Status) -> Value {
    let mut all = holders(status);
    let Some(mut first) = all.next() else {
        let state = words::state(&status.view.standing, status.view.freeze.is_some());
        return json!({ "name": status.name.as_str(), "state": state });
    };
    let others: Vec<Value> = all.collect();
    if let (false, Value::Object(fields)) = (others.is_empty(), &mut first) {
        fields.insert("others".into(), json!(others));
    }
    first
}

/// An object for each who holds it.
fn holders(status: &Status) -> impl Iterator<Item = Value> {
    status.view.held_by().map(|(record, standing)| object(record, standing, status))
}

/// The Go tool's fields, then ours.
fn object(record: &Record, standing: &Standing, status: &Status) -> Value {
    let view = &status.view;
    let mut fields = common(record, status, standing);
    let state = words::state(standing, view.freeze.is_some());
    own(&mut fields, record, state, left_sec(standing));
    if let Some(slot) = record.slot {
        fields.insert("slot".into(), json!(slot));
    }
    mode_fields(&mut fields, view.mode(), view.count());
    let waiters: Vec<Value> = status
        .waiters
        .iter()
        .map(|waiter| {
            json!({
                "owner": waiter.owner,
                "host": waiter.host,
                "pid": waiter.pid,
                "agent_id": waiter.agent_id,
                "since_ts": whole_seconds(&waiter.since_ts),
            })
        })
        .collect();
    fields.insert("waiters".into(), json!(waiters));
    Value::Object(fields)
}

/// What the Go tool does not tell of a lock or a freeze.
fn own(fields: &mut Map<String, Value>, record: &Record, state: &str, left: Option<u64>) {
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    put("state", json!(state));
    if let Some(kind) = record.kind {
        put("kind", json!(kind));
    }
    if !record.lock_id.is_empty() {
        put("lock_id", json!(record.lock_id));
    }
    if let Some(token) = record.token {
        put("token", json!(token));
    }
    if let Some(note) = &record.note {
        put("note", json!(note));
    }
    if let Some(left) = left {
        put("remaining_sec", json!(left));
    }
}

fn common(record: &Record, status: &Status, standing: &Standing) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value, shown: bool| {
        if shown {
            fields.insert(key.to_owned(), value);
        }
    };
    put("version", json!(record.version), true);
    put("name", json!(status.name.as_str()), true);
    put("owner", json!(record.owner), true);
    put("host", json!(record.host), true);
    put("pid", json!(record.pid), true);
    put("pid_start_ns", json!(record.pid_start_ns), record.pid_start_ns.is_some());
    put("agent_id", json!(record.agent_id), !record.agent_id.is_empty());
    put("acquired_ts", json!(whole_seconds(&record.acquired_ts)), true);
    put("ttl_sec", json!(record.ttl_sec), record.ttl_sec.is_some());
    put("expires_at", json!(record.expires_at.as_deref().map(whole_seconds)), record.expires_at.is_some());
    put("age_sec", json!(record.age(&status.view.now).as_secs()), true);
    put("expired", json!(is_expired(standing)), true);
    put("pid_status", json!(pid_status(standing)), true);
    fields
}

fn frozen(freeze: &Freeze, status: &Status) -> Value {
    let mut fields = common(&freeze.record, status, &Standing::Free);
    fields.insert("freeze".into(), json!(true));
    let left = freeze.left.map(|left| left.as_secs());
    own(&mut fields, &freeze.record, words::state(&Standing::Free, true), left);
    Value::Object(fields)
}
