//! What is asked of the keys, and what comes back: in etcd's own terms, without their JSON.

/// A key with what it holds. All revisions are the cluster's: each change of any key counts one up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision at which it was created, last.
    pub create_revision: i64,
    /// The revision of its latest change.
    pub mod_revision: i64,
    /// How often it was put since it was created: 1 at first.
    pub version: i64,
    /// The lease that it goes with; 0 for none.
    pub lease: i64,
}

/// One key, or all keys that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub(super) key: Vec<u8>,
    /// The first key that is no longer meant; empty for a single key.
    pub(super) end: Vec<u8>,
}

impl Span {
    /// This key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), end: Vec::new() }
    }

    /// Every key that begins so. An empty prefix means all keys.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let key = prefix.into();
        if key.is_empty() {
            return Self { key: vec![0], end: vec![0] };
        }
        let mut end = key.clone();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            // Nothing but 0xff: all keys from there on.
            None => end.push(0),
        }
        Self { key, end }
    }
}

impl Span {
    /// The part of it from this key on.
    #[must_use]
    pub fn from(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into().max(self.key), ..self }
    }

    /// The part of it before this key.
    #[must_use]
    pub fn before(self, key: impl Into<Vec<u8>>) -> Self {
        Self { end: key.into(), ..self }
    }
}

/// A question for keys. By default it is linearizable: it sees all that was answered before it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub(super) span: Span,
    pub(super) serializable: bool,
    pub(super) keys_only: bool,
    pub(super) oldest_first: bool,
    pub(super) backwards: bool,
    pub(super) created_before: i64,
    pub(super) limit: i64,
}

impl Range {
    /// Asks for these keys, in the keys' order.
    pub fn of(span: Span) -> Self {
        Self {
            span,
            serializable: false,
            keys_only: false,
            oldest_first: false,
            backwards: false,
            created_before: 0,
            limit: 0,
        }
    }

    /// Is content with what the asked member knows, which may be old; needs no leader.
    #[must_use]
    pub fn serializable(self) -> Self {
        Self { serializable: true, ..self }
    }

    /// Leaves the values away.
    #[must_use]
    pub fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    /// Asks for them in the order in which they were created.
    #[must_use]
    pub fn oldest_first(self) -> Self {
        Self { oldest_first: true, ..self }
    }

    /// Asks for those only that were created before this revision, 2 or more. [`Found::count`] is of all.
    #[must_use]
    pub fn created_before(self, revision: i64) -> Self {
        Self { created_before: revision, ..self }
    }

    /// Asks for them in the opposite order.
    #[must_use]
    pub fn backwards(self) -> Self {
        Self { backwards: true, ..self }
    }

    /// Asks for no more than this many.
    #[must_use]
    pub fn at_most(self, limit: i64) -> Self {
        Self { limit, ..self }
    }
}

/// What a [`Range`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cluster's revision at which this was so: a watch from the one after it misses nothing.
    pub revision: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// How many there are, whatever the limit.
    pub count: i64,
}

/// How two numbers have to stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Mod,
    Create,
    Version,
    Lease,
}

/// A condition of a [`Txn`]. A key that is not there has revisions, version and lease 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    pub(super) key: Vec<u8>,
    pub(super) target: Target,
    pub(super) is: Is,
    pub(super) number: i64,
}

impl Compare {
    /// The revision of the key's latest change.
    pub fn mod_revision(key: impl Into<Vec<u8>>, is: Is, revision: i64) -> Self {
        Self { key: key.into(), target: Target::Mod, is, number: revision }
    }

    /// The revision at which the key was created.
    pub fn create_revision(key: impl Into<Vec<u8>>, is: Is, revision: i64) -> Self {
        Self { key: key.into(), target: Target::Create, is, number: revision }
    }

    /// How often the key was put.
    pub fn version(key: impl Into<Vec<u8>>, is: Is, version: i64) -> Self {
        Self { key: key.into(), target: Target::Version, is, number: version }
    }

    /// The lease that the key goes with.
    pub fn lease(key: impl Into<Vec<u8>>, is: Is, lease: i64) -> Self {
        Self { key: key.into(), target: Target::Lease, is, number: lease }
    }
}

/// One thing that a [`Txn`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces a key; with a lease (0 for none), it goes when the lease ends.
    Put {
        /// Which.
        key: Vec<u8>,
        /// What it is to hold.
        value: Vec<u8>,
        /// The lease.
        lease: i64,
    },
    /// Removes keys.
    Delete(Span),
    /// Looks.
    Range(Range),
}

impl Op {
    /// Creates or replaces a key that stays.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::put_leased(key, value, 0)
    }

    /// Creates or replaces a key that goes with a lease.
    pub fn put_leased(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease }
    }
}

/// A transaction: if all conditions hold, the one list of things is done, else the other, all at once. A key may be
/// put only once in a list, and etcd takes 128 things a list unless it was started with another limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// The conditions; none always hold.
    pub when: Vec<Compare>,
    /// What is done if they hold.
    pub then: Vec<Op>,
    /// What is done if they don't.
    pub or_else: Vec<Op>,
}

impl Txn {
    /// Whether it only looks: then it can be asked again, whatever became of it.
    pub(super) fn only_looks(&self) -> bool {
        self.then.iter().chain(&self.or_else).all(|op| matches!(op, Op::Range(_)))
    }
}

/// What became of a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The cluster's revision after it; of all that it has put.
    pub revision: i64,
    /// What its things answered, in their order.
    pub answers: Vec<OpAnswer>,
}

/// What one thing of a [`Txn`] answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpAnswer {
    /// It is put.
    Put,
    /// So many keys are gone.
    Deleted(i64),
    /// What there is.
    Range(Found),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(Span::prefix("a/").end, b"a0");
        assert_eq!(Span::prefix([b'a', 0xff, 0xff]).end, b"b");
        assert_eq!(Span::prefix([0xff]), Span { key: vec![0xff], end: vec![0] });
        assert_eq!(Span::prefix(""), Span { key: vec![0], end: vec![0] });
        assert_eq!(Span::key("a").end, b"");
    }
}
