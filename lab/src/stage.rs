//! The interface between the coordinator and a contender.
//!
//! A measuring process opens a [`Stage`]: a contender in one cell, filled and warm, with its
//! threads asleep at a barrier. It runs one [slice](Stage::slice) per request of the coordinator.
//! The coordinator knows nothing of stores, the stage nothing of rounds.

use std::time::Duration;

use crate::fault::Fault;

/// The result of one slice: a figure for each metric of the cell, in its order and unit.
pub type Slice = Vec<f64>;

/// A contender in a cell, ready to be measured.
pub trait Stage {
    /// Works for about `length`. The first part warms caches and does not count.
    ///
    /// The first slice of a stage warms it, and its result is discarded. The values of an open-loop
    /// cell are percentiles of *all* slices since the second, because its tail shows only in many:
    /// of these, the coordinator keeps the result of the last slice of a life.
    ///
    /// # Errors
    ///
    /// Returns an error if the store gave a wrong answer, which ends the run.
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault>;

    /// Ends the threads and checks the content of the store.
    ///
    /// # Errors
    ///
    /// Returns an error if that is not the result of the operations.
    fn finish(self: Box<Self>) -> Result<(), Fault>;
}

/// A stage without state between slices.
impl<F: FnMut(Duration) -> Result<Slice, Fault>> Stage for F {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        self(length)
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}
