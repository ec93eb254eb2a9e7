//! Reads a dump.

use std::io::Read;
use std::sync::Arc;

use hashbrown::HashTable;
use serde::Deserialize;
use std::hash::BuildHasher;

use super::lines::LineReader;
use super::{DumpHeader, Error, FORMAT, Flaw, Health, SubscriptionLine, VERSION, trailer};
use crate::hash::RandomState;
use crate::model::batch::Batch;
use crate::model::error::{InvalidInput, Problem, StoreError};
use crate::model::key::ServiceKey;
use crate::model::limits::check_service_name;
use crate::model::record::ServiceInfo;
use crate::model::subscription::Subscription;

/// The maximum capacity to reserve for the counts of a header, which may be wrong.
const EXPECTED: u64 = 1 << 16;

/// Reads a dump to its end, and returns a batch that replaces the contents of a store by it
/// ([`replace_all`](Batch::replace_all)). Conditions can be added to the batch before it is
/// committed.
///
/// The whole dump is checked: it is refused if it is truncated, altered, of another version, or
/// not what a store can hold. O(*n*), with memory for all the records.
///
/// ```
/// use service_registry::dump::{self, Health};
/// use service_registry::{MemoryStore, Registry, Revision, ServiceRegistration, StoreError};
///
/// let registry = Registry::new(MemoryStore::new());
/// let mut file = Vec::new();
/// registry.dump(&mut file)?;
/// registry.register(ServiceRegistration::new("checkout", "pod-1"))?;
///
/// // Restores only into a store that nothing has been written to.
/// let mut batch = dump::read(&file[..], Health::Forget)?;
/// batch.require_unchanged_since(Revision::ZERO);
/// let refused = registry.commit(batch).unwrap_err();
/// assert!(matches!(refused, StoreError::BatchRejected { .. }));
/// assert!(registry.contains_service("checkout:pod-1")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Refused`](Error::Refused), with the line; [`Io`](Error::Io) if the reader fails.
pub fn read(reader: impl Read, health: Health) -> Result<Batch, Error> {
    let mut lines = LineReader::new(reader);
    let header = header(&mut lines)?;
    let services = services(&mut lines, header.services, health)?;
    let subscriptions = subscriptions(&mut lines, header.subscriptions)?;
    let (before, checksum) = lines.sum();
    if lines.next()? != trailer(before, checksum).as_bytes() {
        return Err(lines.refuse(Flaw::Checksum));
    }
    if !lines.is_at_end()? {
        return Err(Error::at(lines.number() + 1, Flaw::GoesOn));
    }
    let mut batch = Batch::with_capacity(1);
    batch.replace_all(services, subscriptions);
    Ok(batch)
}

fn header(lines: &mut LineReader<impl Read>) -> Result<DumpHeader, Error> {
    /// The fields that the first line has in every version.
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: u64,
    }

    let line = lines.next()?;
    let version = serde_json::from_slice::<Version>(line);
    let header = serde_json::from_slice::<DumpHeader>(line);
    match (version, header) {
        (Ok(named), _) if named.format != FORMAT => Err(lines.refuse(Flaw::NoDump)),
        (Ok(named), _) if named.version != VERSION => Err(lines.refuse(Flaw::Version {
            found: named.version,
            known: VERSION,
        })),
        (Err(_), _) => Err(lines.refuse(Flaw::NoDump)),
        (_, Err(error)) => Err(lines.refuse(Flaw::malformed(&error))),
        (Ok(_), Ok(header)) => Ok(header),
    }
}

fn parse<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Result<T, Flaw> {
    serde_json::from_slice(line).map_err(|error| Flaw::malformed(&error))
}

fn room_for(count: u64) -> usize {
    usize::try_from(count.min(EXPECTED)).unwrap_or_default()
}

fn services(
    lines: &mut LineReader<impl Read>,
    count: u64,
    health: Health,
) -> Result<Vec<ServiceInfo>, Error> {
    let mut services: Vec<ServiceInfo> = Vec::with_capacity(room_for(count));
    let hasher = RandomState::default();
    let mut places: HashTable<usize> = HashTable::with_capacity(room_for(count));
    for _ in 0..count {
        let service = parse::<ServiceInfo>(lines.next()?);
        let mut service = service.map_err(|flaw| lines.refuse(flaw))?;
        if health == Health::Forget {
            service = service.without_health();
        }
        let hash = |place: &usize| hasher.hash_one(services[*place].key());
        let key = service.key();
        let of_key = hasher.hash_one(key);
        if places
            .find(of_key, |place| services[*place].key() == key)
            .is_some()
        {
            let repeated = InvalidInput::new("key", key, Problem::Repeated);
            return Err(lines.refuse(Flaw::Invalid(repeated)));
        }
        places.insert_unique(of_key, services.len(), hash);
        services.push(service);
    }
    Ok(services)
}

fn subscriptions(
    lines: &mut LineReader<impl Read>,
    count: u64,
) -> Result<Vec<Subscription>, Error> {
    let mut subscriptions: Vec<Subscription> = Vec::with_capacity(room_for(count));
    for _ in 0..count {
        // The subscriptions of a group are adjacent, and share its name.
        let last = subscriptions.last().map(|last| &last.group);
        let subscription = parse(lines.next()?).and_then(|line| subscription(&line, last));
        subscriptions.push(subscription.map_err(|flaw| lines.refuse(flaw))?);
    }
    Ok(subscriptions)
}

fn subscription(
    line: &SubscriptionLine<'_>,
    last: Option<&Arc<str>>,
) -> Result<Subscription, Flaw> {
    let group = match last {
        Some(last) if **last == *line.group => last.clone(),
        _ => {
            check_service_name("group", &line.group).map_err(Flaw::Invalid)?;
            Arc::from(&*line.group)
        }
    };
    let subscriber: Result<ServiceKey, StoreError> = line.subscriber.parse();
    match subscriber {
        Ok(subscriber) => Ok(Subscription::new(subscriber, group)),
        Err(StoreError::Invalid(invalid)) => Err(Flaw::Invalid(*invalid)),
        Err(other) => unreachable!("a key is refused as invalid, not with {other}"),
    }
}
