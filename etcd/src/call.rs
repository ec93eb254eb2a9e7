//! One request, and what to do where it fails.

use std::time::Duration;

use etcd_client::Error as ClientError;
use tokio::time::timeout;

use crate::Error;
use crate::backoff::Backoff;
use crate::state::Why;

/// The answer of a request, or why there is none in time.
pub(crate) async fn once<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Why> {
    match timeout(patience, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(disconnected(&error)),
        Err(_) => Err(no_answer()),
    }
}

pub(crate) fn no_answer() -> Why {
    Why::Disconnected("no answer in time".into())
}

/// What it means where etcd says that it was compacted up to a revision, or has not come to it.
/// There is no number for either.
pub(crate) fn of_another_time(error: &ClientError) -> Option<Why> {
    let ClientError::GRpcStatus(status) = error else {
        return None;
    };
    let said = status.message();
    if said.contains("required revision has been compacted") {
        Some(Why::Compacted)
    } else if said.contains("required revision is a future revision") {
        Some(Why::OtherEtcd)
    } else {
        None
    }
}

pub(crate) fn disconnected(error: &ClientError) -> Why {
    Why::Disconnected(error.to_string())
}

/// Makes a request again until it is answered, and waits longer each time. It has to be one that
/// may happen twice.
///
/// # Errors
///
/// What etcd refuses, and would refuse again.
pub(crate) async fn until_answered<T, F>(
    patience: Duration,
    mut request: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ClientError>>,
{
    const LONGEST: Duration = Duration::from_secs(5);
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut patience = patience;
    loop {
        match timeout(patience, request()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if is_final(&error) => return Err(error.into()),
            Ok(Err(_)) => {}
            // A member that is stopped takes requests, and the next one may be of another.
            Err(_) => patience = patience.max(LONGEST.min(2 * patience)),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Whether etcd would refuse the same request again. By number, as gRPC has them: the crate that
/// names them is no dependency of this one.
fn is_final(error: &ClientError) -> bool {
    const INVALID_ARGUMENT: i32 = 3;
    // Of a lease.
    const NOT_FOUND: i32 = 5;
    const PERMISSION_DENIED: i32 = 7;
    // A time to live that is too long.
    const OUT_OF_RANGE: i32 = 11;
    const UNIMPLEMENTED: i32 = 12;
    const UNAUTHENTICATED: i32 = 16;
    match error {
        ClientError::GRpcStatus(status) => matches!(
            status.code() as i32,
            INVALID_ARGUMENT
                | NOT_FOUND
                | PERMISSION_DENIED
                | OUT_OF_RANGE
                | UNIMPLEMENTED
                | UNAUTHENTICATED
        ),
        ClientError::InvalidArgs(_) | ClientError::InvalidUri(_) => true,
        _ => false,
    }
}
