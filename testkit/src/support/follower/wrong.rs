//! Events of a watch that arrive with a fault. No store can have these faults, since the log of
//! this crate and its streams deliver the events.

use service_registry::Result;
use service_registry::changes::{Difference, Event};

use super::{Follower, STREAM_OF_COMMITS, STREAMS};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryFault {
    /// No fault.
    #[default]
    None,
    /// Watches receive skipped records.
    ShowsSkipped,
    /// A stream loses every fifth event.
    StreamLoses,
    /// A stream delivers every event twice.
    StreamTellsTwice,
    /// A stream delivers an event before its predecessor.
    StreamReorders,
    /// A stream delivers an event when its watch has already advanced to the next one.
    StreamLags,
    /// A stream delivers everything that is pending as one commit.
    StreamFolds,
}

/// A fault, and its state.
#[derive(Default)]
pub struct FaultyDelivery {
    pub(super) fault: DeliveryFault,
    told: usize,
    held: Option<Event>,
}

impl FaultyDelivery {
    pub(super) fn new(fault: DeliveryFault) -> FaultyDelivery {
        FaultyDelivery {
            fault,
            ..FaultyDelivery::default()
        }
    }
}

impl Follower {
    /// Receives an event as [`take`](Self::take) does, with the fault.
    pub(super) fn take_wrongly(&mut self, way: usize) -> Result<Option<Event>> {
        if self.delivery.fault == DeliveryFault::ShowsSkipped {
            let event = self.take(way)?;
            return Ok(event.map(|mut event| {
                if let Event::Changes { changes, .. } = &mut event
                    && let Some(Difference::Added(info)) = changes.first().cloned()
                {
                    changes.push(Difference::skipped(info));
                }
                event
            }));
        }
        if let Some(held) = self.delivery.held.take() {
            return Ok(Some(held));
        }
        if !STREAMS.contains(&way) {
            return self.take(way);
        }
        if self.delivery.fault == DeliveryFault::StreamFolds && way == STREAM_OF_COMMITS {
            return self.take(STREAMS.start);
        }
        let event = self.take(way)?;
        let Some(Event::Changes { .. }) = event else {
            return Ok(event);
        };
        self.delivery.told += 1;
        match self.delivery.fault {
            DeliveryFault::StreamLoses if self.delivery.told.is_multiple_of(5) => self.take(way),
            DeliveryFault::StreamTellsTwice => {
                self.delivery.held.clone_from(&event);
                Ok(event)
            }
            DeliveryFault::StreamReorders => {
                let next = self.take(way)?;
                if next.is_none() {
                    return Ok(event);
                }
                self.delivery.held = event;
                Ok(next)
            }
            DeliveryFault::StreamLags => {
                self.delivery.held = self.take(way)?;
                Ok(event)
            }
            _ => Ok(event),
        }
    }
}
