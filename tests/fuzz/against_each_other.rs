//! Programs on one store and on another, on odd texts, which the model is not asked about.

use arbitrary::{Arbitrary, Result, Unstructured};
use service_registry::{Change, MemoryStore, RegistryStore};

use crate::against_model::Named;
use crate::programs::{Names, WORKER, is_looked_at, until_the_end};
use crate::support::failure::Failure;
use crate::support::model::{Answer, Operation, ask};
use crate::support::stores::Required;
use crate::support::{at, observe};

/// Operations on odd texts, which the model is not asked about.
#[derive(Debug)]
pub(crate) struct Odd(pub(crate) Vec<Operation>);

impl<'a> Arbitrary<'a> for Odd {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Odd> {
        until_the_end(u, |u| Names::Odd.operation(u)).map(Odd)
    }
}

/// What a store answers, with the moments that it took from the clock put in
/// order, in the answer and in the store.
fn ask_without_clock(
    store: &impl RegistryStore,
    operation: &Operation,
) -> std::result::Result<Answer, Failure> {
    let mut answer = ask(store, operation)?;
    if let (Operation::Register(..), Answer::Service(info)) = (operation, &mut answer) {
        *info = info.clone().with_registered_at(at(0)).unwrap();
        store.save_service(info.clone()).unwrap();
    }
    if let Operation::Report(key, status) = operation {
        // A report of that time would be late.
        let reported = store.get_service(key).unwrap();
        let reported = reported.with_health(*status, at(0)).unwrap();
        store.save_service(reported).unwrap();
    }
    Ok(answer)
}

fn every_group(operations: &[Operation]) -> Vec<&str> {
    fn of_change(change: &Change) -> Vec<&str> {
        match change {
            Change::AddSubscription { service_group, .. }
            | Change::RemoveSubscription { service_group, .. } => vec![service_group],
            Change::ReplaceAll { subscriptions, .. } => {
                subscriptions.iter().map(|one| &*one.group).collect()
            }
            _ => Vec::new(),
        }
    }
    let mut groups: Vec<&str> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Change(change) => groups.extend(of_change(change)),
            Operation::Commit(changes) => groups.extend(changes.iter().flat_map(of_change)),
            Operation::Register(_, _, of) => groups.extend(of.iter().map(String::as_str)),
            Operation::Subscribers(of) | Operation::SubscriberServices(of) => groups.push(of),
            _ => {}
        }
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

pub(crate) fn answer_alike(
    name: &str,
    one: &impl RegistryStore,
    other: &impl RegistryStore,
    operations: &[Operation],
) {
    let groups = every_group(operations);
    for (n, operation) in operations.iter().enumerate() {
        let answers = (
            ask_without_clock(one, operation),
            ask_without_clock(other, operation),
        );
        assert_eq!(answers.0, answers.1, "operation {n}, {operation:?}");
        if is_looked_at(name, n, operations.len()) {
            let states = (observe(one, &groups), observe(other, &groups));
            assert_eq!(states.0, states.1, "after operation {n}, {operation:?}");
        }
    }
}

target!(stores_answer_alike, Odd, |program| {
    macro_rules! alike {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            if stringify!($store) != WORKER {
                let name = stringify!($store);
                let _named = Named(name);
                let other = service_registry::$store::new();
                answer_alike(name, &MemoryStore::new(), &other, &program.0);
            }
        };
    }
    shared_stores!(alike);
    answer_alike(
        "Required",
        &MemoryStore::new(),
        &Required::new(),
        &program.0,
    );
});

#[cfg(feature = "worker")]
target!(a_worker_answers_alike, Odd, |program| {
    let worker = service_registry::WorkerStore::new();
    answer_alike(WORKER, &MemoryStore::new(), &worker, &program.0);
});
