//! Errors outside of the registry: problem+json (RFC 9457) with stable codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error as the caller gets it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// A stable code.
    code: &'static str,
    /// What is wrong.
    title: &'static str,
    status: u16,
    /// What to do.
    detail: String,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { code, title, status: status.as_u16(), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A struct of strings and a number always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// The answer to a path that is not there.
pub(crate) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "path-unknown",
        "there is nothing at this path",
        "the schema registry is under /registry",
    )
}
