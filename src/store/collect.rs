//! Copying many records out of a store.

use crate::model::record::ServiceInfo;

/// How many records are fetched before the first of them is cloned.
const AHEAD: usize = 16;

/// Clones what an iterator yields.
///
/// Cloning a record adds one to a counter that lies in memory of its own, and
/// an atomic addition lets no later load start before it is done: copying one
/// record after the other waits for each of those cache misses in turn. So a
/// chunk of records is looked up and their counters are read first, which the
/// processor overlaps, and then the chunk is cloned out of the cache.
pub(crate) fn clone_all<'a>(records: impl Iterator<Item = &'a ServiceInfo>) -> Vec<ServiceInfo> {
    let mut records = records.fuse();
    let mut copies = Vec::with_capacity(records.size_hint().0);
    loop {
        let mut chunk: [Option<&ServiceInfo>; AHEAD] = [None; AHEAD];
        let mut fetched = 0;
        for (place, record) in chunk.iter_mut().zip(&mut records) {
            *place = Some(record);
            fetched += 1;
        }
        for record in chunk.iter().flatten() {
            std::hint::black_box(record.touch());
        }
        copies.extend(chunk.iter().flatten().copied().cloned());
        if fetched < AHEAD {
            return copies;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceRegistration;

    #[test]
    fn every_record_is_copied_once_whatever_their_number() {
        for n in [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD] {
            let pods: Vec<_> = (0..n)
                .map(|pod| {
                    ServiceInfo::new(ServiceRegistration {
                        service_name: "s".into(),
                        pod_name: pod.to_string(),
                        ..Default::default()
                    })
                    .unwrap()
                })
                .collect();
            assert_eq!(clone_all(pods.iter()), pods);
        }
    }
}
