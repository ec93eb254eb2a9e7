//! Programs of operations.

use arbitrary::{Arbitrary, Result, Unstructured};
use service_registry::changes::{LogOptions, Subscription};
use service_registry::{
    Cause, Change, Expected, OnForeign, ServiceInfo, ServiceKey, ServiceStatus,
};

use crate::support::model::{GROUPS, Operation, PODS, SERVICES};
use crate::support::{at, version};
use crate::watching::{self, Step};

/// The operations of a program, what those do who watch, and where in between the store is
/// closed.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) log: LogOptions,
    /// Each with the steps of watches behind it.
    pub(crate) operations: Vec<(Operation, Vec<Step>)>,
    pub(crate) close_at: Option<usize>,
}

/// How many operations a program has at most.
const LONGEST: usize = 48;

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Program> {
        let close_at = u
            .ratio(1, 8)?
            .then(|| u.choose_index(LONGEST))
            .transpose()?;
        let log = watching::log(u)?;
        let operation = |u: &mut Unstructured<'_>| {
            let operation = Names::Few.operation(u)?;
            Ok((operation, watching::steps(u)?))
        };
        Ok(Program {
            log,
            operations: until_the_end(u, operation)?,
            close_at,
        })
    }
}

/// Which names the operations are about.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    /// Those of the model, so that operations meet.
    Few,
    /// Texts that are as odd as can be.
    Odd,
}

/// Draws operations while there are bytes.
pub(crate) fn until_the_end<T>(
    u: &mut Unstructured<'_>,
    mut operation: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut operations = Vec::new();
    while !u.is_empty() && operations.len() < LONGEST {
        operations.push(operation(u)?);
    }
    Ok(operations)
}

impl Names {
    fn service(self, u: &mut Unstructured<'_>) -> Result<String> {
        match self {
            Names::Few => Ok((*u.choose(&SERVICES)?).into()),
            Names::Odd => crate::text::short(u),
        }
    }

    fn pod(self, u: &mut Unstructured<'_>) -> Result<String> {
        match self {
            Names::Few => Ok((*u.choose(&PODS)?).into()),
            Names::Odd => crate::text::short(u),
        }
    }

    fn key(self, u: &mut Unstructured<'_>) -> Result<String> {
        match self {
            Names::Few if u.ratio(1, 20)? => {
                Ok((*u.choose(&["", "a", ":1", "a:", ":", "c:1"])?).into())
            }
            Names::Few => Ok(format!("{}:{}", self.service(u)?, self.pod(u)?)),
            Names::Odd => crate::text::short(u),
        }
    }

    fn group(self, u: &mut Unstructured<'_>) -> Result<String> {
        match self {
            Names::Few if u.ratio(1, 20)? => Ok(String::new()),
            Names::Few => Ok((*u.choose(GROUPS)?).into()),
            Names::Odd => crate::text::short(u),
        }
    }

    fn record(self, u: &mut Unstructured<'_>) -> Result<ServiceInfo> {
        let (service, pod) = match self {
            Names::Few => (self.service(u)?, self.pod(u)?),
            Names::Odd => {
                let (service, pod) = (self.service(u)?, self.pod(u)?);
                // Whether that is a name is asked elsewhere.
                match ServiceKey::new(&service, &pod) {
                    Ok(_) => (service, pod),
                    Err(_) => ("a".into(), "1".into()),
                }
            }
        };
        let record = version(&service, &pod, u.int_in_range(0..=1)?);
        Ok(if u.arbitrary()? {
            record.with_health(status(u)?, moment(u)?).unwrap()
        } else {
            record
        })
    }

    fn change(self, u: &mut Unstructured<'_>) -> Result<Change> {
        Ok(match u.int_in_range(0..=14)? {
            0..=3 => Change::SaveService(self.record(u)?),
            4 | 5 => Change::DeleteService {
                key: self.key(u)?.into(),
            },
            6 | 7 => Change::UpdateHealthStatus {
                key: self.key(u)?.into(),
                status: status(u)?,
                checked_at: moment(u)?,
            },
            8..=11 => Change::AddSubscription {
                subscriber_key: self.key(u)?.into(),
                service_group: self.group(u)?.into(),
            },
            12 | 13 => Change::RemoveSubscription {
                subscriber_key: self.key(u)?.into(),
                service_group: self.group(u)?.into(),
            },
            _ => Change::RemoveAllSubscriptions {
                subscriber_key: self.key(u)?.into(),
            },
        })
    }

    fn expected(u: &mut Unstructured<'_>) -> Result<Expected> {
        Ok(match u.int_in_range(0..=7)? {
            0 => Expected::Absent,
            1 | 2 => Expected::Present,
            3..=5 => Expected::Incarnation(u.int_in_range(0..=20)?.into()),
            _ => Expected::Revision(u.int_in_range(0..=20)?.into()),
        })
    }

    fn source(self, u: &mut Unstructured<'_>) -> Result<String> {
        match self {
            Names::Few => Ok((*u.choose(&["etcd", "file"])?).into()),
            Names::Odd => crate::text::short(u),
        }
    }

    /// A few records, each of another key.
    fn records(self, u: &mut Unstructured<'_>) -> Result<Vec<ServiceInfo>> {
        let len = u.int_in_range(0..=4)?;
        let mut services: Vec<ServiceInfo> = Vec::new();
        for _ in 0..len {
            let record = self.record(u)?;
            if services.iter().all(|other| other.key() != record.key()) {
                services.push(record);
            }
        }
        Ok(services)
    }

    /// A few subscriptions of keys that can be one, in groups that can be named.
    fn subscriptions(self, u: &mut Unstructured<'_>) -> Result<Vec<Subscription>> {
        let len = u.int_in_range(0..=3)?;
        let mut subscriptions = Vec::new();
        for _ in 0..len {
            if let Ok(subscriber) = self.key(u)?.parse() {
                subscriptions.push(Subscription::new(subscriber, *u.choose(GROUPS)?));
            }
        }
        Ok(subscriptions)
    }

    /// A change, a condition, or what a source has.
    fn change_of_batch(self, u: &mut Unstructured<'_>) -> Result<Change> {
        Ok(match u.int_in_range(0..=24)? {
            0..=10 => self.change(u)?,
            11 => Change::RegisterService(self.record(u)?),
            12 | 13 => Change::RemoveIf {
                key: self.key(u)?.into(),
                expected: Names::expected(u)?,
                cause: Cause::Expired,
            },
            14 | 15 => Change::UpdateHealthIf {
                key: self.key(u)?.into(),
                expected: Names::expected(u)?,
                status: status(u)?,
                checked_at: moment(u)?,
            },
            16 => Change::Require {
                key: self.key(u)?.into(),
                expected: Names::expected(u)?,
            },
            17 => Change::RequireUnchangedSince {
                revision: u.int_in_range(0..=20)?.into(),
            },
            18 => Change::ReplaceAll {
                services: self.records(u)?,
                subscriptions: self.subscriptions(u)?,
            },
            _ => {
                let services = self.records(u)?;
                Change::ReplaceSource {
                    source: self.source(u)?.into(),
                    services,
                    on_foreign: *u.choose(&[OnForeign::Reject, OnForeign::Skip])?,
                }
            }
        })
    }

    pub(crate) fn operation(self, u: &mut Unstructured<'_>) -> Result<Operation> {
        Ok(match u.int_in_range(0..=49)? {
            0..=21 => Operation::Change(self.change(u)?),
            22..=28 => {
                let len = u.int_in_range(0..=7)?;
                let changes = (0..len).map(|_| self.change_of_batch(u));
                Operation::Commit(changes.collect::<Result<_>>()?)
            }
            29 | 30 => Operation::Swap(self.key(u)?, status(u)?, u.int_in_range(0..=2)?),
            31 | 32 => Operation::Take(self.key(u)?),
            33 => Operation::Get(self.key(u)?),
            34 => Operation::With(self.key(u)?),
            35 => Operation::Visit(self.key(u)?),
            36 => Operation::ByName(match self {
                Names::Few => (*u.choose(&["a", "b", "c", "", "a:1"])?).into(),
                Names::Odd => self.service(u)?,
            }),
            37 => Operation::All,
            38 => Operation::Subscribers(self.group(u)?),
            39 => Operation::SubscriberServices(self.group(u)?),
            40 => match u.int_in_range(0..=3)? {
                0 => Operation::Stats,
                1 => Operation::Revision,
                2 => Operation::Ping,
                _ => Operation::Clear,
            },
            41..=44 => {
                let (service, pod) = (self.service(u)?, self.pod(u)?);
                let len = u.int_in_range(0..=3)?;
                let groups = (0..len).map(|_| match self {
                    Names::Few => Ok((*u.choose(GROUPS)?).into()),
                    Names::Odd => self.group(u),
                });
                Operation::Register(service, pod, groups.collect::<Result<_>>()?)
            }
            45..=47 => Operation::Unregister(self.service(u)?, self.pod(u)?),
            _ => Operation::Report(self.key(u)?, status(u)?),
        })
    }
}

fn status(u: &mut Unstructured<'_>) -> Result<ServiceStatus> {
    Ok(*u.choose(&[
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ])?)
}

fn moment(u: &mut Unstructured<'_>) -> Result<std::time::SystemTime> {
    Ok(at(u.int_in_range(0..=2)?))
}

/// A question to this store is a round trip to another thread. On a busy
/// machine it would leave the others time for hardly any program, so that it
/// has targets of its own.
pub(crate) const WORKER: &str = "WorkerStore";

/// Whether everything is looked at after operation `n`.
pub(crate) fn is_looked_at(store: &str, n: usize, operations: usize) -> bool {
    store != WORKER || n + 1 == operations
}
