//! The load, measured and told once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use service_registry::RegistryView;

use crate::shared::Shared;
use crate::show;

pub(crate) async fn sample(shared: Arc<Shared>) {
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let view = shared.registry.store().snapshot();
        shared.load.sample(since, |key| view.get(key).is_some());
        since = Instant::now();
        shared
            .load_updates
            .send_replace(show::load(&shared, &view).into());
    }
}
