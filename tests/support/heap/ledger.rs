//! Whether each record is dropped exactly once.
//!
//! A `ServiceInfo` runs no code of a test when it is dropped, but its texts are
//! given back to the allocator. So each marked record carries a *payload*: a text
//! of one odd size, which begins with a mark and a number of its own. The allocator
//! knows it by these when it comes back, and notes the death here. A payload that is not alive when it dies was freed twice, or copied.
//!
//! A record and its clones share one registration, so a payload lives as long as
//! the last of them.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use service_registry::{ServiceInfo, ServiceRegistration};

/// The size of a payload in bytes. Odd and prime, as hardly any buffer is.
const SIZE: usize = 521;
const MARK: &str = "a payload of the ledger, number ";
const DIGITS: usize = 8;

/// How many payloads there may be in one process.
const CAPACITY: usize = 1 << 21;

const UNBORN: u8 = 0;
const ALIVE: u8 = 1;
const DEAD: u8 = 2;

pub(crate) struct Ledger<const N: usize> {
    states: [AtomicU8; N],
    born: AtomicUsize,
    /// How many deaths there were of what was not alive.
    faults: AtomicUsize,
    /// The number of the last of them.
    faulty: AtomicUsize,
}

pub(super) static LEDGER: Ledger<CAPACITY> = Ledger::new();

impl<const N: usize> Ledger<N> {
    pub(crate) const fn new() -> Ledger<N> {
        Ledger {
            states: [const { AtomicU8::new(UNBORN) }; N],
            born: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            faulty: AtomicUsize::new(0),
        }
    }

    /// Enters a birth, and answers with the number.
    pub(crate) fn born(&self) -> usize {
        let number = self.born.fetch_add(1, SeqCst);
        let before = self.states[number].swap(ALIVE, SeqCst);
        assert_eq!(before, UNBORN, "number {number} is used twice");
        number
    }

    /// Enters a death. Does not panic: it is called by the allocator.
    pub(crate) fn died(&self, number: usize) {
        let state = self.states.get(number);
        if state.is_none_or(|state| state.swap(DEAD, SeqCst) != ALIVE) {
            self.faulty.store(number, SeqCst);
            self.faults.fetch_add(1, SeqCst);
        }
    }

    /// Enters the death of a payload with this content, if it is one.
    pub(super) fn freed(&self, content: &[u8]) {
        if let Some(number) = number_in(content) {
            self.died(number);
        }
    }

    /// Begins a book of the payloads that are born from now on.
    pub(crate) fn open(&self) -> LedgerScope<'_, N> {
        LedgerScope {
            ledger: self,
            first: self.born.load(SeqCst),
            faults: self.faults.load(SeqCst),
        }
    }
}

/// The payloads of one test.
pub(crate) struct LedgerScope<'a, const N: usize> {
    ledger: &'a Ledger<N>,
    first: usize,
    faults: usize,
}

/// A book of the one ledger that the allocator keeps.
pub(crate) type PayloadScope = LedgerScope<'static, CAPACITY>;

pub(crate) fn open() -> PayloadScope {
    LEDGER.open()
}

impl<const N: usize> LedgerScope<'_, N> {
    /// How many were born.
    pub(crate) fn born(&self) -> usize {
        self.ledger.born.load(SeqCst) - self.first
    }

    /// The numbers of those that have been born and have not died.
    pub(crate) fn alive(&self) -> BTreeSet<usize> {
        let numbers = self.first..self.ledger.born.load(SeqCst);
        numbers
            .filter(|&number| self.ledger.states[number].load(SeqCst) == ALIVE)
            .collect()
    }

    /// Checks that nothing has died twice.
    #[track_caller]
    pub(crate) fn check_deaths(&self) {
        let faults = self.ledger.faults.load(SeqCst) - self.faults;
        let last = self.ledger.faulty.load(SeqCst);
        assert_eq!(
            faults, 0,
            "{faults} payloads died that were not alive, number {last} was the last"
        );
    }

    /// Checks that exactly these are alive, and that nothing has died twice.
    #[track_caller]
    pub(crate) fn check(&self, expected: &BTreeSet<usize>, when: &str) {
        self.check_deaths();
        let alive = self.alive();
        let leaked: Vec<_> = alive.difference(expected).take(10).collect();
        let lost: Vec<_> = expected.difference(&alive).take(10).collect();
        assert!(
            leaked.is_empty() && lost.is_empty(),
            "{when}: {} are alive instead of {}; too many are {leaked:?}, too few {lost:?}",
            alive.len(),
            expected.len()
        );
    }

    /// Checks that each payload has died, once.
    #[track_caller]
    pub(crate) fn check_all_died(&self, when: &str) {
        assert!(self.born() > 0, "{when}: nothing was marked");
        self.check(&BTreeSet::new(), when);
    }
}

pub(super) fn has_the_size(layout: Layout) -> bool {
    layout.size() == SIZE && layout.align() == 1
}

fn number_in(content: &[u8]) -> Option<usize> {
    let digits = content.strip_prefix(MARK.as_bytes())?.get(..DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(number * 10 + usize::from(digit))
    })
}

/// A registration with a payload.
pub(crate) fn mark(mut registration: ServiceRegistration) -> ServiceRegistration {
    let number = LEDGER.born();
    let mut payload = String::with_capacity(SIZE);
    write!(payload, "{MARK}{number:0DIGITS$}").expect("a text has room");
    payload.extend(std::iter::repeat_n('.', SIZE - payload.len()));
    registration.notification_url = payload;
    registration
}

/// The number of the payload that a record carries.
pub(crate) fn number(info: &ServiceInfo) -> usize {
    number_in(info.notification_url().as_bytes()).expect("the record is marked")
}

/// Keeps something for ever, as broken stores do on purpose, where the
/// leak detection of a sanitizer takes no offence.
pub(crate) fn keep_for_ever(record: ServiceInfo) {
    static KEPT: Mutex<Vec<ServiceInfo>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(record);
}
