//! The log in etcd, read: what there is in the order of its times, then what comes in the order in which it was written.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::etcd::{self, Client, KeyValue, News, Range, Span, Watch};
use super::{EtcdStore, LOOK};
use crate::audit::{Entry, Query, Source};

/// How many keys are asked for at once.
const PAGE: i64 = 256;

/// The events of all transactions.
pub(super) struct Events {
    client: Client,
    query: Query,
    /// Those that are still to be read of what there was when it began.
    rest: Option<Span>,
    /// So many of them that are wanted are not: the first ones.
    too_many: usize,
    all: Span,
    /// The cluster's revision when it began.
    revision: i64,
    come: Arc<Mutex<Come>>,
    watch: Option<Watch>,
}

/// What has come since.
#[derive(Default)]
struct Come {
    values: VecDeque<Vec<u8>>,
    error: Option<String>,
}

impl Events {
    /// The log from where the events begin that `query` wants.
    pub(super) fn begin(store: &EtcdStore, query: &Query) -> Result<Self, etcd::Error> {
        let all = Span::prefix(store.keys.audit());
        // No event is in a key of an earlier time than its own.
        let rest = match query.since {
            Some(since) => all.clone().from(store.keys.events_from(since)),
            None => all.clone(),
        };
        let look = Range::of(rest.clone()).keys_only().at_most(1);
        let revision = store.client.range(&look, LOOK)?.revision;
        let (rest, too_many) = match query.last {
            Some(last) => from_the_last(&store.client, rest, last, query)?,
            None => (Some(rest), 0),
        };
        let (client, query) = (store.client.clone(), query.clone());
        Ok(Self { client, query, rest, too_many, all, revision, come: Arc::default(), watch: None })
    }

    /// The next of those that there were; `None` if they have been read.
    fn next_page(&mut self, within: Duration) -> Result<Option<Vec<KeyValue>>, etcd::Error> {
        let Some(rest) = self.rest.take() else {
            return Ok(None);
        };
        let page = self.client.range(&Range::of(rest.clone()).at_most(PAGE), within)?.kvs;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.rest = Some(rest.from([&*last.key, b"\0"].concat()));
        Ok(Some(page))
    }
}

/// The part of `span` in which the last events are that `query` wants, and how many too many of them are in it.
fn from_the_last(
    client: &Client,
    span: Span,
    last: usize,
    query: &Query,
) -> Result<(Option<Span>, usize), etcd::Error> {
    let mut found = 0;
    let mut rest = span.clone();
    let mut first: Option<Vec<u8>> = None;
    while found < last {
        let page = client.range(&Range::of(rest.clone()).backwards().at_most(PAGE), LOOK)?.kvs;
        if page.is_empty() {
            return Ok((Some(span), 0));
        }
        for kv in page {
            found += lines(&kv.value).filter_map(Entry::parse).filter(|entry| query.wants(entry)).count();
            rest = rest.before(kv.key.as_slice());
            first = Some(kv.key);
            if found >= last {
                break;
            }
        }
    }
    Ok((first.map(|first| span.from(first)), found - last))
}

fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

impl Source for Events {
    fn look_again(&mut self) -> io::Result<()> {
        if self.watch.is_none() {
            let come = Arc::clone(&self.come);
            let watch = self.client.watch(&self.all, self.revision + 1, move |news| {
                let mut come = come.lock().unwrap_or_else(PoisonError::into_inner);
                match news {
                    News::Put(kv) => come.values.push_back(kv.value),
                    News::Refused(error) => come.error = Some(error.to_string()),
                    News::Compacted { .. } => {
                        come.error = Some("what came meanwhile is forgotten".to_owned())
                    }
                    News::Began { .. } | News::Deleted { .. } | News::Interrupted(_) => {}
                }
            });
            self.watch = Some(watch.map_err(io::Error::other)?);
        }
        match self.come.lock().unwrap_or_else(PoisonError::into_inner).error.take() {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(()),
        }
    }

    fn read_on(&mut self, show: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<bool> {
        let revision = self.revision;
        if let Some(page) = self.next_page(LOOK).map_err(io::Error::other)? {
            // What came since is told by the watch.
            for kv in page.iter().filter(|kv| kv.mod_revision <= revision) {
                for line in lines(&kv.value) {
                    if self.too_many > 0 && Entry::parse(line).is_some_and(|entry| self.query.wants(&entry)) {
                        self.too_many -= 1;
                    } else {
                        show(Some(line));
                    }
                }
            }
            return Ok(true);
        }
        let next = self.come.lock().unwrap_or_else(PoisonError::into_inner).values.pop_front();
        let found = next.is_some();
        next.iter().flat_map(|value| lines(value)).for_each(|line| show(Some(line)));
        Ok(found)
    }
}
