//! [`Moment`]: a time that a record can hold.

use std::time::{Duration, SystemTime};

use super::error::{InvalidInput, Problem};

/// The last second of 9999, counted from 1970.
const LAST: u64 = 253_402_300_799;

/// A time between 1970 and 9999, in 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, packed(4))]
pub(crate) struct Moment {
    /// One word: if its halves were stored separately and loaded together, the load would stall.
    seconds: u64,
    nanos: u32,
}

impl Moment {
    /// Stands for "never".
    pub(super) const NEVER: Moment = Moment {
        seconds: u64::MAX,
        nanos: u32::MAX,
    };

    /// Converts a time given by a caller, and checks its range.
    #[inline]
    pub(crate) fn new(field: &'static str, time: SystemTime) -> Result<Moment, InvalidInput> {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if since.as_secs() <= LAST => Ok(Moment::since_1970(since)),
            _ => Err(refused(field, time)),
        }
    }

    fn since_1970(since: Duration) -> Moment {
        Moment {
            seconds: since.as_secs(),
            nanos: since.subsec_nanos(),
        }
    }

    #[inline]
    pub(super) fn time(self) -> SystemTime {
        let Moment { seconds, nanos } = self;
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }
}

#[cold]
fn refused(field: &'static str, time: SystemTime) -> InvalidInput {
    let (sign, away) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ("", after),
        Err(before) => ("-", before.duration()),
    };
    let value = format!("{sign}{}.{:09} s", away.as_secs(), away.subsec_nanos());
    InvalidInput::new(field, &value, Problem::OutOfTime)
}

#[cfg(feature = "serde")]
pub(super) mod wire {
    //! Times are RFC 3339 texts. The form that serde gives a `SystemTime` is read, too.

    use std::time::{Duration, SystemTime};

    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub(in super::super) fn write<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = OffsetDateTime::from(*time).format(&Rfc3339);
        serializer.serialize_str(&text.map_err(S::Error::custom)?)
    }

    #[allow(clippy::ref_option)] // what serde asks for
    pub(in super::super) fn write_some<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => write(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a time as an RFC 3339 text")]
    enum Read {
        Text(String),
        Since {
            secs_since_epoch: u64,
            nanos_since_epoch: u32,
        },
    }

    fn out_of_range<E: serde::de::Error>() -> E {
        E::custom("a time that this system cannot tell")
    }

    impl Read {
        fn time<E: serde::de::Error>(self) -> Result<SystemTime, E> {
            match self {
                Read::Text(text) => {
                    let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(|error| {
                        let text = super::super::excerpt::Excerpt::new(&text);
                        E::custom(format_args!("{text} is no RFC 3339 time: {error}"))
                    })?;
                    let since = time - OffsetDateTime::UNIX_EPOCH;
                    let away = since.unsigned_abs();
                    let time = if since.is_negative() {
                        SystemTime::UNIX_EPOCH.checked_sub(away)
                    } else {
                        SystemTime::UNIX_EPOCH.checked_add(away)
                    };
                    time.ok_or_else(out_of_range)
                }
                Read::Since {
                    secs_since_epoch: seconds,
                    nanos_since_epoch: nanos,
                } => {
                    // As in serde, nanoseconds beyond a second carry over into the seconds.
                    let since = Duration::from_secs(seconds)
                        .checked_add(Duration::from_nanos(nanos.into()));
                    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
                    time.ok_or_else(out_of_range)
                }
            }
        }
    }

    pub(in super::super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        Read::deserialize(deserializer)?.time()
    }

    pub(in super::super) fn read_some<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let read = Option::<Read>::deserialize(deserializer)?;
        read.map(Read::time).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_they_were_made_of_and_in_order() {
        let times = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::new(u64::from(u32::MAX), 999_999_999),
            Duration::new(1 << 32, 0),
            Duration::new(LAST, 999_999_999),
        ]
        .map(|since| SystemTime::UNIX_EPOCH + since);
        let moments = times.map(|time| Moment::new("time", time).unwrap());
        assert_eq!(moments.map(Moment::time), times);
        assert!(moments.is_sorted());
        assert!(moments.iter().all(|moment| *moment < Moment::NEVER));
    }

    #[test]
    fn times_outside_are_refused() {
        let epoch = SystemTime::UNIX_EPOCH;
        for (time, value) in [
            (epoch - Duration::from_millis(1), "-0.001000000 s"),
            (
                epoch + Duration::from_secs(LAST + 1),
                "253402300800.000000000 s",
            ),
        ] {
            let refused = Moment::new("checked_at", time).err().unwrap();
            assert_eq!((refused.field(), refused.value()), ("checked_at", value));
        }
    }
}
