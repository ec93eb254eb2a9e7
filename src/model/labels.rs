//! [`Labels`]: selects pods by their metadata and their zone.

use super::record::ServiceInfo;

/// Requirements on the metadata and the zone of a pod. Without requirements, every pod matches.
///
/// ```
/// use service_registry::{Labels, ServiceInfo, ServiceRegistration};
///
/// let pod = ServiceRegistration::new("checkout", "pod-1")
///     .with_zone("eu-1a")
///     .with_metadata("version", "2.3");
/// let pod = ServiceInfo::new(pod)?;
///
/// let wanted = Labels::new().one_of("version", ["2.2", "2.3"]).absent("canary").in_zone("eu-1a");
/// assert!(wanted.hold(&pod));
/// assert!(!wanted.none_of("version", ["2.3"]).hold(&pod));
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    all: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requirement {
    field: Field,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Field {
    Zone,
    Metadata(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    OneOf(Box<[Box<str>]>),
    NoneOf(Box<[Box<str>]>),
    Present,
    Absent,
}

fn texts<T: Into<Box<str>>>(values: impl IntoIterator<Item = T>) -> Box<[Box<str>]> {
    values.into_iter().map(Into::into).collect()
}

impl Labels {
    /// Creates labels without requirements, which every pod matches.
    #[must_use]
    pub const fn new() -> Labels {
        Labels { all: Vec::new() }
    }

    fn with_requirement(mut self, field: Field, test: Test) -> Labels {
        self.all.push(Requirement { field, test });
        self
    }

    /// Requires this value under `key` of the metadata.
    #[must_use]
    pub fn equal(self, key: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Labels {
        self.one_of(key, [value])
    }

    /// Requires one of these values under `key` of the metadata.
    #[must_use]
    pub fn one_of<T: Into<Box<str>>>(
        self,
        key: impl Into<Box<str>>,
        values: impl IntoIterator<Item = T>,
    ) -> Labels {
        self.with_requirement(Field::Metadata(key.into()), Test::OneOf(texts(values)))
    }

    /// Requires that `key` of the metadata has none of these values: another value, or no entry.
    #[must_use]
    pub fn none_of<T: Into<Box<str>>>(
        self,
        key: impl Into<Box<str>>,
        values: impl IntoIterator<Item = T>,
    ) -> Labels {
        self.with_requirement(Field::Metadata(key.into()), Test::NoneOf(texts(values)))
    }

    /// Requires an entry under `key` of the metadata.
    #[must_use]
    pub fn present(self, key: impl Into<Box<str>>) -> Labels {
        self.with_requirement(Field::Metadata(key.into()), Test::Present)
    }

    /// Requires that the metadata have no entry under `key`.
    #[must_use]
    pub fn absent(self, key: impl Into<Box<str>>) -> Labels {
        self.with_requirement(Field::Metadata(key.into()), Test::Absent)
    }

    /// Requires this zone.
    #[must_use]
    pub fn in_zone(self, zone: impl Into<Box<str>>) -> Labels {
        self.in_zones([zone])
    }

    /// Requires one of these zones.
    #[must_use]
    pub fn in_zones<T: Into<Box<str>>>(self, zones: impl IntoIterator<Item = T>) -> Labels {
        self.with_requirement(Field::Zone, Test::OneOf(texts(zones)))
    }

    /// Requires that the pod is in none of these zones. A pod whose zone is not known matches.
    #[must_use]
    pub fn outside_zones<T: Into<Box<str>>>(self, zones: impl IntoIterator<Item = T>) -> Labels {
        self.with_requirement(Field::Zone, Test::NoneOf(texts(zones)))
    }

    /// Adds the requirements of `others`.
    #[must_use]
    pub fn and(mut self, others: Labels) -> Labels {
        self.all.extend(others.all);
        self
    }

    /// Returns whether there are no requirements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns whether a pod meets all requirements. O(requirements and their values), allocates
    /// nothing.
    #[inline]
    pub fn hold(&self, pod: &ServiceInfo) -> bool {
        self.all.iter().all(|requirement| requirement.holds(pod))
    }
}

/// Returns whether two texts are equal. Compares short ones in place, since a call of `memcmp`
/// costs more than that.
#[inline]
pub(crate) fn is_same(one: &str, two: &str) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*text.first_chunk()?, *text.last_chunk()?))
    }
    let (one, two) = (one.as_bytes(), two.as_bytes());
    one.len() == two.len()
        && match one.len() {
            // The two ends overlap or meet, so they cover the whole text.
            4..=8 => ends::<4>(one) == ends::<4>(two),
            9..=16 => ends::<8>(one) == ends::<8>(two),
            2..4 => ends::<2>(one) == ends::<2>(two),
            0..2 => one.first() == two.first(),
            _ => one == two,
        }
}

impl Requirement {
    #[inline]
    fn holds(&self, pod: &ServiceInfo) -> bool {
        let found = match &self.field {
            Field::Zone => Some(pod.zone()).filter(|zone| !zone.is_empty()),
            Field::Metadata(key) => pod.metadata().get(&**key).map(String::as_str),
        };
        let is_among = |values: &[Box<str>]| {
            found.is_some_and(|found| values.iter().any(|value| is_same(value, found)))
        };
        match &self.test {
            Test::OneOf(values) => is_among(values),
            Test::NoneOf(values) => !is_among(values),
            Test::Present => found.is_some(),
            Test::Absent => found.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn texts_are_the_same_where_no_byte_differs() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        for len in 0..text.len() {
            let one = &text[..len];
            let copy = String::from(one);
            assert!(is_same(one, &copy) && !is_same(one, &text[..=len]));
            for at in 0..len {
                let mut other = one.to_owned();
                other.replace_range(at..=at, "A");
                assert!(!is_same(one, &other), "{one} {other}");
            }
        }
    }
}
