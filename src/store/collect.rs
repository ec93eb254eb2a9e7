//! Copies many records out of a store.

use crate::model::record::ServiceInfo;

/// How many records are fetched before the first of them is cloned.
const AHEAD: usize = 16;

/// Clones the records that an iterator yields.
///
/// Cloning a record increments a counter in a separate allocation, and no later
/// load starts before an atomic addition is done. Copying one record after the
/// other would wait for each of these cache misses in turn. Therefore a chunk of
/// records is looked up and their counters are read first, which the processor
/// overlaps. Then the chunk is cloned out of the cache.
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
