//! Sends one request, and handles its failure.

use std::time::Duration;

use etcd_client::Error as ClientError;
use tokio::time::timeout;

use crate::Error;
use crate::backoff::Backoff;
use crate::state::Why;

/// Returns the answer of a request, or the reason why none came in time.
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

/// Maps an error that says that etcd has compacted the requested revision, or has not reached it
/// yet. Neither has a code of its own, so this compares the messages.
pub(crate) fn revision_error(error: &ClientError) -> Option<Why> {
    let ClientError::GRpcStatus(status) = error else {
        return None;
    };
    let message = status.message();
    if message.contains("required revision has been compacted") {
        Some(Why::Compacted)
    } else if message.contains("required revision is a future revision") {
        Some(Why::OtherEtcd)
    } else {
        None
    }
}

pub(crate) fn disconnected(error: &ClientError) -> Why {
    Why::Disconnected(error.to_string())
}

/// Repeats a request until it is answered, with growing waits. The request must be safe to repeat.
///
/// # Errors
///
/// Returns an error that etcd would return again for the same request.
pub(crate) async fn retry<T, F>(
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
            // A stopped member still accepts requests; the next attempt may reach another one.
            Err(_) => patience = patience.max(LONGEST.min(2 * patience)),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Returns whether etcd would refuse the same request again. Compares the numeric gRPC codes,
/// because the crate that names them is not a dependency of this one.
fn is_final(error: &ClientError) -> bool {
    const INVALID_ARGUMENT: i32 = 3;
    // The lease does not exist.
    const NOT_FOUND: i32 = 5;
    const PERMISSION_DENIED: i32 = 7;
    // The time to live is too long.
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
