//! The client: a method for each call, and how a call is tried on one member after the other until its deadline.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::{Access, Address, Endpoint, User};
use super::call::{Call, Effect, Miss, Trouble};
use super::error::{Error, Fault};
use super::http::Connection;
use super::json::Number;
use super::keys::{Done, Found, Range, Span, Txn};
use super::pool::Pool;
use super::tls::Tls;
use super::watch::{News, Watch};
use super::wire::{
    Anything, AuthRequest, AuthResponse, GrantRequest, LeaseRequest, LeaseResponse, MembersResponse, Nothing,
    RangeRequest, RangeResponse, StatusResponse, TxnRequest, TxnResponse,
};
use crate::host::clock::monotonic;

/// For how long an answer proves that a member is of use: what must not be sent twice is sent to no other.
const PROOF: Duration = Duration::from_secs(1);
/// The pause after a round in which no member was of use: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(320));

/// A client of one cluster. Its calls may be made by many threads at once; a copy shares its connections.
///
/// Every call takes at most `within`, and is tried on the other members when one is of no use; one that does not answer
/// gets a part of the time only. What must not be done twice is sent only to a member that has just shown that it is
/// there and has a leader, and only once.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Shared>);

/// What its copies and its watches share.
pub(super) struct Shared {
    pub pool: Pool,
    user: Option<User>,
}

/// A lease: keys that go with it are deleted when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its identity.
    pub id: i64,
    /// How many whole seconds it has left.
    pub ttl_s: i64,
    /// To how many seconds a renewal sets it. etcd may grant more than was asked for.
    pub granted_s: i64,
}

/// How a member sees the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which cluster.
    pub cluster_id: u64,
    /// Which member.
    pub member_id: u64,
    /// Whom it takes for the leader; 0 for nobody.
    pub leader_id: u64,
    /// The term of that leader.
    pub term: u64,
    /// Its version.
    pub version: String,
}

/// A member of the cluster, as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub id: u64,
    /// Its name; empty before it has started once.
    pub name: String,
    /// Where it says that it serves clients.
    pub client_urls: Vec<String>,
}

impl Client {
    /// A client of the cluster at `address`. It reads the files of `access`, and connects to nobody yet.
    ///
    /// # Errors
    ///
    /// A file can't be used.
    pub fn new(address: &Address, access: &Access) -> Result<Self, Error> {
        let tls = if address.tls { Some(Tls::new(access)?) } else { None };
        let user = access.user.clone();
        Ok(Self(Arc::new(Shared { pool: Pool::new(address, tls), user })))
    }

    /// Where it looks for members.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.0.pool.endpoints()
    }

    /// Looks at keys.
    ///
    /// # Errors
    ///
    /// [`Error`]; nothing has changed.
    pub fn range(&self, range: &Range, within: Duration) -> Result<Found, Error> {
        let mut call = Call::new("/v3/kv/range", &RangeRequest::from(range))?;
        call.leader = !range.serializable;
        self.0.call::<RangeResponse>(&call, within).map(Found::from)
    }

    /// Makes a transaction. One that changes something is never sent twice.
    ///
    /// # Errors
    ///
    /// [`Error`]; its outcome says whether the transaction may have been made.
    pub fn txn(&self, txn: &Txn, within: Duration) -> Result<Done, Error> {
        let mut call = Call::new("/v3/kv/txn", &TxnRequest::from(txn))?;
        call.effect = if txn.only_looks() { Effect::Nothing } else { Effect::Once };
        self.0.call::<TxnResponse>(&call, within).map(Done::from)
    }

    /// Asks for a lease of `ttl_s` seconds, 1 or more. If the answer is lost, there may be one more that nobody knows,
    /// which ends by itself.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn grant(&self, ttl_s: i64, within: Duration) -> Result<Lease, Error> {
        let call = repeatable("/v3/lease/grant", &GrantRequest { ttl: Number(ttl_s) })?;
        let lease: LeaseResponse = self.0.call(&call, within)?;
        Ok(Lease { id: lease.id.0, ttl_s: lease.ttl.0, granted_s: lease.ttl.0 })
    }

    /// Renews a lease once: the seconds that it has from now on, or `None` if it is gone.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn keep_alive(&self, lease: i64, within: Duration) -> Result<Option<i64>, Error> {
        let mut call = repeatable("/v3/lease/keepalive", &LeaseRequest { id: Number(lease) })?;
        call.streamed = true;
        let lease: LeaseResponse = self.0.call(&call, within)?;
        Ok((lease.ttl.0 > 0).then_some(lease.ttl.0))
    }

    /// Ends a lease and deletes its keys; `false` if it was gone.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn revoke(&self, lease: i64, within: Duration) -> Result<bool, Error> {
        let call = repeatable("/v3/lease/revoke", &LeaseRequest { id: Number(lease) })?;
        match self.0.call::<Anything>(&call, within) {
            Ok(_) => Ok(true),
            Err(error) if error.is_lease_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a lease has left; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn time_to_live(&self, lease: i64, within: Duration) -> Result<Option<Lease>, Error> {
        let call = Call::new("/v3/lease/timetolive", &LeaseRequest { id: Number(lease) })?;
        let found: LeaseResponse = self.0.call(&call, within)?;
        let left = Lease { id: lease, ttl_s: found.ttl.0, granted_s: found.granted.0 };
        Ok((left.ttl_s >= 0 && left.granted_s > 0).then_some(left))
    }

    /// How the member at one endpoint sees the cluster; no other is asked.
    ///
    /// # Errors
    ///
    /// [`Error`]; also if it is none of [`endpoints`](Self::endpoints).
    pub fn status(&self, endpoint: &Endpoint, within: Duration) -> Result<Status, Error> {
        let Some(index) = self.endpoints().iter().position(|one| one == endpoint) else {
            return Err(Error::setup(format!("{endpoint} is none of the endpoints")));
        };
        let mut call = Call::new("/v3/maintenance/status", &Nothing {})?;
        call.leader = false;
        let by = monotonic() + within;
        match self.0.attempt::<StatusResponse>(index, &call, by, by) {
            Ok(status) => Ok(Status {
                cluster_id: status.header.cluster_id.0.cast_unsigned(),
                member_id: status.header.member_id.0.cast_unsigned(),
                leader_id: status.leader.0.cast_unsigned(),
                term: status.term.0.cast_unsigned(),
                version: status.version,
            }),
            Err(Miss::Final(fault) | Miss::Token(fault)) => Err(Error::refused(endpoint, fault)),
            Err(Miss::NotSent(trouble) | Miss::Lost(trouble)) => {
                Err(Error::unreachable(vec![(endpoint.clone(), trouble.words)]))
            }
        }
    }

    /// Who belongs to the cluster.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn members(&self, within: Duration) -> Result<Vec<Member>, Error> {
        let found: MembersResponse =
            self.0.call(&Call::new("/v3/cluster/member/list", &Nothing {})?, within)?;
        let member = |member: super::wire::MemberResponse| Member {
            id: member.id.0.cast_unsigned(),
            name: member.name,
            client_urls: member.client_urls,
        };
        Ok(found.members.into_iter().map(member).collect())
    }

    /// Watches keys from a revision on (0: from now on), in a thread of its own, which calls `tell` for each event,
    /// in the order of the revisions, each once. If the member is lost, it goes on with another.
    ///
    /// # Errors
    ///
    /// There can't be one more thread.
    pub fn watch(
        &self,
        span: &Span,
        from: i64,
        tell: impl FnMut(News) + Send + 'static,
    ) -> Result<Watch, Error> {
        Watch::start(Arc::clone(&self.0), span, from, Box::new(tell))
    }
}

fn repeatable(path: &'static str, request: &impl Serialize) -> Result<Call, Error> {
    Ok(Call { effect: Effect::Repeatable, ..Call::new(path, request)? })
}

impl Shared {
    /// Tries a call on all members, again and again, until one has answered it or the time is over.
    fn call<R: DeserializeOwned>(&self, call: &Call, within: Duration) -> Result<R, Error> {
        let by = monotonic() + within;
        let count = self.pool.endpoints().len() as u32;
        let mut tried: Vec<(usize, Trouble)> = Vec::new();
        let mut lost = None;
        let mut pause = PAUSES.0;
        loop {
            for (place, (index, endpoint)) in (0..).zip(self.pool.order()) {
                let left = by.saturating_sub(monotonic());
                if left.is_zero() {
                    break;
                }
                // One share each for those that are still to be tried, and one for a second round.
                let soon = by - left + left / (count - place + 1);
                let trouble = match self.attempt(index, call, soon, by) {
                    Ok(answer) => {
                        self.pool.prefer(index);
                        return Ok(answer);
                    }
                    Err(Miss::Final(fault) | Miss::Token(fault)) => {
                        return Err(Error::refused(endpoint, fault));
                    }
                    Err(Miss::Lost(trouble)) if call.effect == Effect::Once => {
                        self.pool.forget(index);
                        return Err(Error::lost(endpoint, trouble.words));
                    }
                    Err(Miss::Lost(trouble)) => {
                        lost = Some((endpoint, trouble.words.clone()));
                        trouble
                    }
                    Err(Miss::NotSent(trouble)) => trouble,
                };
                self.pool.forget(index);
                tried.retain(|(of, _)| *of != index);
                tried.push((index, trouble));
            }
            let left = by.saturating_sub(monotonic());
            let hopeless = tried.len() == count as usize && tried.iter().all(|(_, trouble)| trouble.lasting);
            if left.is_zero() || hopeless {
                break;
            }
            thread::park_timeout(pause.min(left));
            pause = (pause * 2).min(PAUSES.1);
        }
        Err(match lost {
            Some((endpoint, why)) if call.effect != Effect::Nothing => Error::lost(endpoint, why),
            _ => self.unreachable(tried),
        })
    }

    fn unreachable(&self, mut tried: Vec<(usize, Trouble)>) -> Error {
        tried.sort_by_key(|(index, _)| *index);
        let endpoints = self.pool.endpoints();
        let words = |(index, trouble): (usize, Trouble)| Some((endpoints.get(index)?.clone(), trouble.words));
        Error::unreachable(tried.into_iter().filter_map(words).collect())
    }

    /// Makes a call on one member. What can be made again has to be answered `soon`; all that comes before the rest
    /// has to be, too.
    pub fn attempt<R: DeserializeOwned>(
        &self,
        index: usize,
        call: &Call,
        soon: Duration,
        by: Duration,
    ) -> Result<R, Miss> {
        let mut connection =
            self.pool.connect(index, soon).map_err(|error| Miss::NotSent(Trouble::of(&error)))?;
        let until = if call.effect == Effect::Once { by } else { soon };
        let mut refused = false;
        loop {
            let token = self.token(&mut connection, soon)?;
            let unproven = connection.proven.is_none_or(|proven| proven + PROOF < monotonic());
            if call.effect == Effect::Once && unproven {
                ask_whether_ready(&mut connection, token.as_deref(), soon)?;
            }
            let (result, reusable) = call.make(&mut connection, token.as_deref(), until);
            if let (Err(Miss::Token(_)), Some(token)) = (&result, &token) {
                self.pool.forget_token(token);
                if reusable && !refused {
                    refused = true;
                    continue;
                }
            }
            if reusable {
                self.pool.keep(index, connection);
            }
            return result;
        }
    }

    /// The token to show, if there is a user and the cluster asks for one.
    pub fn token(&self, connection: &mut Connection, by: Duration) -> Result<Option<Arc<str>>, Miss> {
        let Some(user) = &self.user else { return Ok(None) };
        if let Some(token) = self.pool.token() {
            return Ok(Some(token));
        }
        let request = AuthRequest { name: &user.name, password: &user.password };
        let call = Call::new("/v3/auth/authenticate", &request)
            .map_err(|error| Miss::NotSent(Trouble::lasting(error.to_string())))?;
        let (result, reusable) = call.make::<AuthResponse>(connection, None, by);
        let token: Arc<str> = match result {
            Ok(answer) => answer.token.into(),
            // An empty one is shown to nobody.
            Err(Miss::Final(Fault { message, .. })) if message.contains("authentication is not enabled") => {
                "".into()
            }
            Err(Miss::Lost(trouble)) => return Err(Miss::NotSent(trouble)),
            Err(miss) => return Err(miss),
        };
        self.pool.set_token(Arc::clone(&token));
        if reusable {
            Ok(Some(token))
        } else {
            Err(Miss::NotSent(Trouble::passing("it closes the connection after each answer")))
        }
    }

    /// Whether a member is there and has a leader.
    pub fn check(&self, index: usize, by: Duration) -> Result<(), Miss> {
        let mut connection =
            self.pool.connect(index, by).map_err(|error| Miss::NotSent(Trouble::of(&error)))?;
        ask_whether_ready(&mut connection, self.pool.token().as_deref(), by)?;
        self.pool.keep(index, connection);
        Ok(())
    }
}

/// Asks a member for its status, which it tells without the others, but not without a leader.
fn ask_whether_ready(connection: &mut Connection, token: Option<&str>, by: Duration) -> Result<(), Miss> {
    let call = Call::new("/v3/maintenance/status", &Nothing {})
        .map_err(|error| Miss::NotSent(Trouble::lasting(error.to_string())))?;
    match call.make::<StatusResponse>(connection, token, by) {
        (Ok(_), false) => Err(Miss::NotSent(Trouble::passing("it closes the connection after each answer"))),
        (Ok(status), true) if status.leader.0 == 0 => Err(Miss::NotSent(Trouble::passing("no leader"))),
        // Whether we may ask is another question.
        (Ok(_) | Err(Miss::Token(_) | Miss::Final(_)), true) => Ok(()),
        (Err(Miss::Lost(trouble) | Miss::NotSent(trouble)), _) => Err(Miss::NotSent(trouble)),
        (Err(miss), false) => Err(miss),
    }
}
