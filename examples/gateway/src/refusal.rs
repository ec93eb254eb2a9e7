//! [`Refusal`]: what a client is told whose request was not granted.

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use service_registry::StoreError;

/// A status, what is wrong, and where: `{"error": "...", "where": "pod.zone"}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
    retry_after: Option<u16>,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    error: String,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Display) -> Refusal {
        Refusal {
            status,
            body: ErrorBody {
                error: error.to_string(),
                place: None,
            },
            retry_after: None,
        }
    }

    /// Names the part of the request that is wrong.
    pub(crate) fn at(mut self, place: impl Into<String>) -> Refusal {
        self.body.place = Some(place.into());
        self
    }

    /// Names the part of which a place is part: of `pod`, say.
    pub(crate) fn inside(mut self, whole: &str) -> Refusal {
        if let Some(place) = &mut self.body.place {
            *place = format!("{whole}.{place}");
        }
        self
    }

    /// There is no room now: come back in some seconds.
    pub(crate) fn full(error: impl Display, seconds: u16) -> Refusal {
        Refusal {
            retry_after: Some(seconds),
            ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error)
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::NotFound(_) => Refusal::new(StatusCode::NOT_FOUND, error),
            StoreError::Invalid(input) => {
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, &input).at(input.field())
            }
            StoreError::BatchRejected { source, .. } => (*source).into(),
            StoreError::Conflict(_) => Refusal::new(StatusCode::CONFLICT, error),
            StoreError::Closed => Refusal::full("the gateway is about to stop", 1),
            error => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
