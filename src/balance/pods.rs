//! [`Pods`]: the pods of a service, from a view or a list.

use crate::model::record::ServiceInfo;
use crate::store::RegistryView;

/// The pods of a service: a view and the name, or a list. Every call of
/// [`pods`](Self::pods) starts again from the first.
pub trait Pods<'p>: Copy {
    /// Returns an iterator over the pods.
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo>;
}

impl<'p, V: RegistryView + ?Sized> Pods<'p> for (&'p V, &str) {
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo> {
        self.0.services_by_name(self.1)
    }
}

impl<'p> Pods<'p> for &'p [ServiceInfo] {
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo> {
        self.iter()
    }
}

impl<'p, const N: usize> Pods<'p> for &'p [ServiceInfo; N] {
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo> {
        self.iter()
    }
}

impl<'p> Pods<'p> for &'p Vec<ServiceInfo> {
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo> {
        self.iter()
    }
}
