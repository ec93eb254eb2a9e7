//! Which server versions report progress reliably.

/// Returns whether a server reports progress only after the events that belong to it: from 3.4.25
/// and 3.5.8 on (etcd#15220).
pub(crate) fn reports_progress_in_order(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    match (major, minor) {
        (3, 4) => patch >= 25,
        (3, 5) => patch >= 8,
        newer => newer > (3, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::reports_progress_in_order;

    #[test]
    fn old_servers_and_unknown_ones_are_not_trusted() {
        for old in [
            "3.4.23", "3.4.24", "3.5.0", "3.5.7", "3.3.30", "2.9.99", "", "3.6", "x.y.z",
        ] {
            assert!(!reports_progress_in_order(old), "{old}");
        }
        for new in [
            "3.4.25",
            "3.4.40",
            "3.5.8",
            "3.6.0-alpha.0",
            "3.7.1",
            "4.0.0",
            "3.5.21+git",
        ] {
            assert!(reports_progress_in_order(new), "{new}");
        }
    }
}
