//! The messages of the gateway, as JSON: numbers of 64 bits are strings, bytes are base64, and what is zero, false or
//! empty is left away. Fields are read by either of protobuf's JSON names.

use serde::{Deserialize, Serialize};

use super::json::{Bytes, Number};
use super::keys::{Compare, Done, Found, Is, KeyValue, Op, OpAnswer, Range, Target, Txn};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Header {
    pub revision: Number,
}

#[derive(Serialize)]
pub(super) struct RangeRequest {
    key: Bytes,
    #[serde(skip_serializing_if = "is_default")]
    range_end: Bytes,
    #[serde(skip_serializing_if = "is_default")]
    limit: Number,
    #[serde(skip_serializing_if = "is_default")]
    serializable: bool,
    #[serde(skip_serializing_if = "is_default")]
    keys_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_target: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_order: Option<&'static str>,
    #[serde(skip_serializing_if = "is_default")]
    max_create_revision: Number,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl From<&Range> for RangeRequest {
    fn from(range: &Range) -> Self {
        Self {
            key: Bytes(range.span.key.clone()),
            range_end: Bytes(range.span.end.clone()),
            limit: Number(range.limit),
            serializable: range.serializable,
            keys_only: range.keys_only,
            sort_target: match (range.oldest_first, range.backwards) {
                (true, _) => Some("CREATE"),
                (false, true) => Some("KEY"),
                (false, false) => None,
            },
            sort_order: match (range.oldest_first, range.backwards) {
                (_, true) => Some("DESCEND"),
                (true, false) => Some("ASCEND"),
                (false, false) => None,
            },
            max_create_revision: Number((range.created_before - 1).max(0)),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RangeResponse {
    header: Header,
    kvs: Vec<Kv>,
    count: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Kv {
    key: Bytes,
    value: Bytes,
    #[serde(alias = "createRevision")]
    create_revision: Number,
    #[serde(alias = "modRevision")]
    mod_revision: Number,
    version: Number,
    lease: Number,
}

impl From<Kv> for KeyValue {
    fn from(kv: Kv) -> Self {
        Self {
            key: kv.key.0,
            value: kv.value.0,
            create_revision: kv.create_revision.0,
            mod_revision: kv.mod_revision.0,
            version: kv.version.0,
            lease: kv.lease.0,
        }
    }
}

impl From<RangeResponse> for Found {
    fn from(response: RangeResponse) -> Self {
        Self {
            revision: response.header.revision.0,
            kvs: response.kvs.into_iter().map(KeyValue::from).collect(),
            count: response.count.0,
        }
    }
}

#[derive(Serialize)]
pub(super) struct TxnRequest {
    compare: Vec<CompareRequest>,
    success: Vec<OpRequest>,
    failure: Vec<OpRequest>,
}

#[derive(Serialize)]
struct CompareRequest {
    key: Bytes,
    target: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_revision: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Number>,
}

#[derive(Serialize)]
enum OpRequest {
    #[serde(rename = "request_put")]
    Put { key: Bytes, value: Bytes, lease: Number },
    #[serde(rename = "request_delete_range")]
    Delete { key: Bytes, range_end: Bytes },
    #[serde(rename = "request_range")]
    Range(RangeRequest),
}

impl From<&Txn> for TxnRequest {
    fn from(txn: &Txn) -> Self {
        Self {
            compare: txn.when.iter().map(CompareRequest::from).collect(),
            success: txn.then.iter().map(OpRequest::from).collect(),
            failure: txn.or_else.iter().map(OpRequest::from).collect(),
        }
    }
}

impl From<&Compare> for CompareRequest {
    fn from(compare: &Compare) -> Self {
        let number = |target| (compare.target == target).then_some(Number(compare.number));
        Self {
            key: Bytes(compare.key.clone()),
            target: match compare.target {
                Target::Mod => "MOD",
                Target::Create => "CREATE",
                Target::Version => "VERSION",
                Target::Lease => "LEASE",
            },
            result: match compare.is {
                Is::Equal => "EQUAL",
                Is::NotEqual => "NOT_EQUAL",
                Is::Greater => "GREATER",
                Is::Less => "LESS",
            },
            mod_revision: number(Target::Mod),
            create_revision: number(Target::Create),
            version: number(Target::Version),
            lease: number(Target::Lease),
        }
    }
}

impl From<&Op> for OpRequest {
    fn from(op: &Op) -> Self {
        match op {
            Op::Put { key, value, lease } => {
                Self::Put { key: Bytes(key.clone()), value: Bytes(value.clone()), lease: Number(*lease) }
            }
            Op::Delete(span) => {
                Self::Delete { key: Bytes(span.key.clone()), range_end: Bytes(span.end.clone()) }
            }
            Op::Range(range) => Self::Range(range.into()),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TxnResponse {
    header: Header,
    succeeded: bool,
    responses: Vec<OpResponse>,
}

/// Which one it is tells which field is there; a put may answer with nothing in it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct OpResponse {
    #[serde(alias = "responseRange")]
    response_range: Option<RangeResponse>,
    #[serde(alias = "responseDeleteRange")]
    response_delete_range: Option<Deleted>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Deleted {
    deleted: Number,
}

impl From<TxnResponse> for Done {
    fn from(response: TxnResponse) -> Self {
        let revision = response.header.revision.0;
        let answer = |response: OpResponse| match (response.response_range, response.response_delete_range) {
            // Within a transaction, an answer's own header is that of the time before it.
            (Some(found), _) => OpAnswer::Range(Found { revision, ..found.into() }),
            (_, Some(gone)) => OpAnswer::Deleted(gone.deleted.0),
            (None, None) => OpAnswer::Put,
        };
        let answers = response.responses.into_iter().map(answer).collect();
        Self { succeeded: response.succeeded, revision, answers }
    }
}

#[derive(Serialize)]
pub(super) struct GrantRequest {
    #[serde(rename = "TTL")]
    pub ttl: Number,
}

#[derive(Serialize)]
pub(super) struct LeaseRequest {
    #[serde(rename = "ID")]
    pub id: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct LeaseResponse {
    #[serde(rename = "ID")]
    pub id: Number,
    #[serde(rename = "TTL")]
    pub ttl: Number,
    #[serde(rename = "grantedTTL")]
    pub granted: Number,
}

#[derive(Serialize)]
pub(super) struct AuthRequest<'a> {
    pub name: &'a str,
    pub password: &'a str,
}

#[derive(Deserialize)]
pub(super) struct AuthResponse {
    pub token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct StatusResponse {
    pub header: StatusHeader,
    pub version: String,
    pub leader: Number,
    #[serde(rename = "raftTerm", alias = "raft_term")]
    pub term: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct StatusHeader {
    #[serde(alias = "clusterId")]
    pub cluster_id: Number,
    #[serde(alias = "memberId")]
    pub member_id: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct MembersResponse {
    pub members: Vec<MemberResponse>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct MemberResponse {
    #[serde(rename = "ID")]
    pub id: Number,
    pub name: String,
    #[serde(rename = "clientURLs", alias = "client_urls")]
    pub client_urls: Vec<String>,
}

/// A request without fields.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// An answer of which nothing is of interest.
#[derive(Deserialize)]
pub(super) struct Anything {}

#[derive(Serialize)]
pub(super) struct WatchRequest {
    pub create_request: WatchCreate,
}

#[derive(Serialize)]
pub(super) struct WatchCreate {
    pub key: Bytes,
    #[serde(skip_serializing_if = "is_default")]
    pub range_end: Bytes,
    #[serde(skip_serializing_if = "is_default")]
    pub start_revision: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WatchResponse {
    pub header: Header,
    pub created: bool,
    pub canceled: bool,
    #[serde(alias = "cancelReason")]
    pub cancel_reason: String,
    #[serde(alias = "compactRevision")]
    pub compact_revision: Number,
    pub events: Vec<WatchEvent>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WatchEvent {
    /// `DELETE`; that it is a put is left away.
    #[serde(rename = "type")]
    pub kind: String,
    pub kv: Kv,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::keys::Span;

    #[test]
    fn what_is_left_away_is_zero() {
        let found: RangeResponse = serde_json::from_str(r#"{"header":{"cluster_id":"1"}}"#).unwrap();
        assert_eq!(Found::from(found), Found { revision: 0, kvs: Vec::new(), count: 0 });
        let done: TxnResponse = serde_json::from_str(
            r#"{"header":{"revision":"9"},"responses":[{"response_put":{}},{"response_range":{"kvs":[]}},
                {"response_delete_range":{"header":{"revision":"9"},"deleted":"2"}}]}"#,
        )
        .unwrap();
        let done = Done::from(done);
        assert!(!done.succeeded);
        let found = OpAnswer::Range(Found { revision: 9, kvs: Vec::new(), count: 0 });
        assert_eq!(done.answers, [OpAnswer::Put, found, OpAnswer::Deleted(2)]);
    }

    #[test]
    fn keys_are_read_by_either_name() {
        for text in [
            r#"{"key":"YQ==","create_revision":"2","mod_revision":"3","version":"1","value":"Yg==","lease":"7"}"#,
            r#"{"key":"YQ==","createRevision":"2","modRevision":"3","version":"1","value":"Yg==","lease":"7"}"#,
        ] {
            let kv = KeyValue::from(serde_json::from_str::<Kv>(text).unwrap());
            assert_eq!((kv.key, kv.value), (b"a".to_vec(), b"b".to_vec()));
            assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (2, 3, 1, 7));
        }
    }

    #[test]
    fn a_transaction_is_written_as_etcd_wants_it() {
        let txn = Txn {
            when: vec![Compare::lease("a", Is::NotEqual, 5)],
            then: vec![Op::put_leased("a", "b", 5), Op::Delete(Span::prefix("c/"))],
            or_else: vec![Op::Range(Range::of(Span::key("a")).oldest_first().at_most(1))],
        };
        let written = serde_json::to_value(TxnRequest::from(&txn)).unwrap();
        let wanted = serde_json::json!({
            "compare": [{"key": "YQ==", "target": "LEASE", "result": "NOT_EQUAL", "lease": "5"}],
            "success": [
                {"request_put": {"key": "YQ==", "value": "Yg==", "lease": "5"}},
                {"request_delete_range": {"key": "Yy8=", "range_end": "YzA="}},
            ],
            "failure": [
                {"request_range": {"key": "YQ==", "limit": "1", "sort_target": "CREATE", "sort_order": "ASCEND"}},
            ],
        });
        assert_eq!(written, wanted);
    }
}
