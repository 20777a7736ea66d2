//! What JSON says of a holder and of a freeze: the Go tool's fields, and ours after them.

use serde_json::{Map, Value, json};

use crate::Error;
use crate::protocol::{Abandoned, Freeze, Lapse, Liveness, Mode, Name, Now, Record, Refusal, Standing};

/// A denial, with the Go tool's fields.
pub(super) fn denial(name: &Name, error: &Error) -> Value {
    let mut object = Map::new();
    object.insert("status".into(), json!("blocked"));
    object.insert("name".into(), json!(name.as_str()));
    // Without a refusal it was the lock directory itself that could not be had in time.
    let (Some(refusal), Some(now)) = (error.refusal(), error.refused_at()) else {
        return Value::Object(object);
    };
    match refusal {
        Refusal::Held { record: Some(record), standing, mode, others } => {
            object.extend(holder_fields("holder", record, standing, now));
            object.insert("holder_acquired_ts".into(), json!(whole_seconds(&record.acquired_ts)));
            if let Some(expiry) = &record.expires_at {
                object.insert("holder_expires_at".into(), json!(whole_seconds(expiry)));
            }
            own_fields(&mut object, record);
            mode_fields(&mut object, *mode, others.len() + 1);
        }
        Refusal::OtherMode { record, held, holders, .. } => {
            let standing = Standing::Held { lapse: Lapse::Never, liveness: Liveness::Unknown };
            object.extend(holder_fields("holder", record, &standing, now));
            own_fields(&mut object, record);
            mode_fields(&mut object, *held, *holders);
        }
        Refusal::Frozen(freeze) => {
            object.insert("frozen".into(), json!(true));
            object.extend(freeze_fields(freeze, now));
        }
        Refusal::Queued { ahead, .. } => {
            object.insert("waiters_ahead".into(), json!(ahead));
        }
        _ => {}
    }
    Value::Object(object)
}

/// The fields of a freeze; the Go tool's, and the note.
pub(super) fn freeze_fields(freeze: &Freeze, now: &Now) -> Map<String, Value> {
    let lapse = freeze.left.map_or(Lapse::Never, Lapse::Left);
    let standing = Standing::Held { lapse, liveness: Liveness::Unknown };
    let mut fields = holder_fields("freeze", &freeze.record, &standing, now);
    fields.remove("freeze_pid_status");
    if let Some(note) = &freeze.record.note {
        fields.insert("freeze_note".into(), json!(note));
    }
    fields
}

/// How several hold a name together; nothing of one who holds it alone.
pub(super) fn mode_fields(object: &mut Map<String, Value>, mode: Mode, holders: usize) {
    if mode == Mode::Shared {
        object.insert("shared".into(), json!(true));
    }
    if let Some(slots) = mode.slots() {
        object.insert("slots".into(), json!(slots));
    }
    if mode != Mode::Exclusive {
        object.insert("holders".into(), json!(holders));
    }
}

/// Our fields of a holder, after the Go tool's.
pub(super) fn own_fields(object: &mut Map<String, Value>, record: &Record) {
    if !record.lock_id.is_empty() {
        object.insert("holder_lock_id".into(), json!(record.lock_id));
    }
    if let Some(note) = &record.note {
        object.insert("holder_note".into(), json!(note));
    }
    if let Some(slot) = record.slot {
        object.insert("holder_slot".into(), json!(slot));
    }
}

/// The Go tool's fields of a holder, empty ones left out as it does.
pub(super) fn holder_fields(
    role: &str,
    record: &Record,
    standing: &Standing,
    now: &Now,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value, shown: bool| {
        if shown {
            fields.insert(format!("{role}_{key}"), value);
        }
    };
    let age = record.age(now).as_secs();
    let left = left_sec(standing);
    put("owner", json!(record.owner), !record.owner.is_empty());
    put("host", json!(record.host), !record.host.is_empty());
    put("pid", json!(record.pid), record.pid != 0);
    put("agent_id", json!(record.agent_id), !record.agent_id.is_empty());
    put("age_sec", json!(age), age > 0);
    put("ttl_sec", json!(record.ttl_sec), record.ttl_sec.is_some());
    put("remaining_sec", json!(left), left.is_some_and(|left| left > 0));
    put("expired", json!(true), is_expired(standing));
    put("pid_status", json!(pid_status(standing)), true);
    fields
}

/// What is left of the lease, in whole seconds.
pub(super) fn left_sec(standing: &Standing) -> Option<u64> {
    standing.left().map(|left| left.as_secs())
}

/// Whether the lease has lapsed.
pub(super) fn is_expired(standing: &Standing) -> bool {
    matches!(standing, Standing::Lapsed { .. } | Standing::Abandoned(Abandoned::TtlPassed))
}

/// `alive`, `dead` or `unknown`.
pub(super) fn pid_status(standing: &Standing) -> &'static str {
    match standing {
        Standing::Held { liveness: Liveness::Alive, .. } | Standing::Lapsed { liveness: Liveness::Alive } => {
            "alive"
        }
        Standing::Abandoned(Abandoned::HolderDead | Abandoned::PidGone) => "dead",
        _ => "unknown",
    }
}

/// A time without its fraction of a second, as the Go tool prints times in JSON.
pub(super) fn whole_seconds(time: &str) -> String {
    let Some((seconds, rest)) = time.split_once('.') else {
        return time.to_owned();
    };
    let zone = rest.find(|c: char| !c.is_ascii_digit()).map_or("", |at| &rest[at..]);
    format!("{seconds}{zone}")
}
