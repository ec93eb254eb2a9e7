//! Twins: what a watch tells arrives with a fault. No store can have these, since it is the
//! log of this crate that tells, and its streams.

use service_registry::Result;
use service_registry::changes::{Difference, Event};

use super::{Follower, STREAM_OF_COMMITS, STREAMS};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryFault {
    /// Nothing to notice.
    #[default]
    None,
    /// Whoever watches is told of skipped records.
    ShowsSkipped,
    /// A stream loses every fifth event,
    StreamLoses,
    /// or tells every event twice,
    StreamTellsTwice,
    /// or one before its predecessor,
    StreamReorders,
    /// or one when its watch has gone on to the next,
    StreamLags,
    /// or all that is pending as if it were one commit.
    StreamFolds,
}

/// A fault, and how far it has come.
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
    /// As [`take`](Self::take), with the fault.
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
