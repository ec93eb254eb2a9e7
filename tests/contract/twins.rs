//! Stores with views that break one promise each.

use crate::law::views_tell_what_changed_between_them as told;
use crate::support::PATIENCE;
use crate::support::failing::{failure, must_fail};
use crate::support::twin::{Fault, twin};

use crate::readers::*;
use crate::snapshots::*;

#[test]
fn a_snapshot_of_two_moments_is_noticed() {
    must_fail(|| every_snapshot_is_of_one_moment(&twin(Fault::TwoMoments)));
    every_snapshot_is_of_one_moment(&twin(Fault::None));
}

#[test]
fn a_reader_that_is_late_is_noticed() {
    must_fail(|| a_reader_reads_like_the_store(&twin(Fault::LateReader)));
    must_fail(|| a_reader_shows_what_the_store_is(&twin(Fault::LateReader)));
    a_reader_reads_like_the_store(&twin(Fault::None));
    a_reader_shows_what_the_store_is(&twin(Fault::None));
}

#[test]
fn views_that_tell_changes_wrongly_are_noticed() {
    let said = failure(PATIENCE, || told(|| twin(Fault::ChangesShowSkipped)));
    assert!(said.contains("is no net effect"), "{said}");
    let said = failure(PATIENCE, || told(|| twin(Fault::ChangesLose)));
    assert!(said.contains("left == right"), "{said}");
    told(|| twin(Fault::None));
}

#[test]
fn a_reader_that_goes_back_is_noticed() {
    must_fail(|| a_reader_never_goes_backwards(&twin(Fault::ReaderGoesBack)));
    a_reader_never_goes_backwards(&twin(Fault::None));
}
