//! What stands between who measures and what is measured.
//!
//! A measuring process opens a [`Stage`]: a contender in one cell, filled and warm, its
//! threads asleep at a barrier. It then runs a [slice](Stage::slice) for each token that
//! the coordinator hands out. The coordinator knows nothing of stores, the stage nothing
//! of rounds.

use std::time::Duration;

use crate::fault::Fault;

/// What one slice yields: a figure for each metric of the cell, in its order and unit.
pub type Slice = Vec<f64>;

/// A contender in a cell, ready to be measured.
pub trait Stage {
    /// Works for about `length`; the first part of it warms caches and does not count.
    ///
    /// The first slice of a stage is there to warm it: what it yields is thrown away. The
    /// values of an open-loop cell are percentiles of *all* slices since the second, as its
    /// tail shows only in many: of these, the coordinator keeps what the last slice of a
    /// life yields.
    ///
    /// # Errors
    ///
    /// Where the store did not do what it was to do: a wrong answer ends the run.
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault>;

    /// Ends the threads and looks at what the store holds now.
    ///
    /// # Errors
    ///
    /// Where that is not what the operations should have left.
    fn finish(self: Box<Self>) -> Result<(), Fault>;
}

/// What begins each slice with nothing, and leaves nothing.
impl<F: FnMut(Duration) -> Result<Slice, Fault>> Stage for F {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        self(length)
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}
