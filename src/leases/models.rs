//! What leases promise to threads, for loom; and twins that it rejects.

use std::sync::Arc;

use loom::thread;

use super::LeaseLost;
use super::slot::Slot;
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;

const TTL: u64 = 10;

type Renew = fn(&Slot, u64) -> Result<(), LeaseLost>;
type Expire = fn(&Slot, u64) -> bool;

/// A renewal meets a sweep that finds the lease due: one of them wins, and a second renewal
/// is answered as the first one, or later in their order.
fn renewal_against_sweep(renew: Renew, expire: Expire) {
    loom::model(move || {
        let key = ServiceKey::new("web", "1").unwrap();
        let slot = Arc::new(Slot::new(key, Revision::from(1), 0, TTL, 0));
        let renewing = thread::spawn({
            let slot = slot.clone();
            move || [renew(&slot, TTL), renew(&slot, TTL + 1)]
        });
        let has_expired = expire(&slot, TTL);
        let renewals = renewing.join().unwrap();
        assert!(renewals[0].is_ok() || renewals[1].is_err(), "came back");
        assert_eq!(slot.is_lost(), has_expired, "came back");
        assert_eq!(renewals[1].is_err(), has_expired, "both have won");
    });
}

#[test]
fn models_of_a_renewal_and_a_sweep_one_wins() {
    renewal_against_sweep(Slot::renew, Slot::expire);
}

#[test]
#[should_panic(expected = "both have won")]
fn models_twin_a_sweep_that_looks_and_then_ends_the_lease_is_rejected() {
    renewal_against_sweep(Slot::renew, Slot::expire_in_two_steps);
}

#[test]
#[should_panic(expected = "came back")]
fn models_twin_a_renewal_that_looks_and_then_stores_is_rejected() {
    renewal_against_sweep(Slot::renew_in_two_steps, Slot::expire);
}
