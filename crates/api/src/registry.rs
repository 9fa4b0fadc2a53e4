//! `/registry`: the Confluent Schema Registry's API, as far as Avro clients need it to publish and to consume, for the
//! schemas that the caller may see. Shapes and error codes are Confluent's.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shuniu_exchange::{Caller, Exchange, RegisteredSchema, Registry, RegistryRefused};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// An error in Confluent's form.
#[derive(Debug)]
pub(crate) struct RegistryError {
    status: StatusCode,
    code: u32,
    message: String,
    retry_after_seconds: Option<u64>,
}

impl RegistryError {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None }
    }

    fn no_subject(subject: &str) -> Self {
        let subject: String = subject.chars().take(100).collect();
        Self::new(StatusCode::NOT_FOUND, 40401, format!("Subject '{subject}' not found."))
    }

    fn no_version(version: &str) -> Self {
        let version: String = version.chars().take(20).collect();
        Self::new(StatusCode::NOT_FOUND, 40402, format!("Version {version} not found."))
    }

    fn no_schema(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 40403, format!("Schema {what} not found"))
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let body = json!({ "error_code": self.code, "message": self.message }).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A schema as a version of its subject.
#[derive(Serialize)]
struct VersionBody {
    subject: String,
    version: u32,
    id: u32,
    schema: String,
}

impl From<RegisteredSchema> for VersionBody {
    fn from(schema: RegisteredSchema) -> Self {
        Self { subject: schema.subject, version: schema.version, id: schema.id, schema: schema.text }
    }
}

/// What a client sends to look a schema up. Clients add fields of their own, which change nothing.
#[derive(Deserialize)]
struct LookupBody {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

/// What the path names; a path that cannot be read is answered in Confluent's form too.
struct Named<T>(T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = RegistryError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RegistryError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(rejected) => {
                let status = rejected.status();
                Err(RegistryError::new(status, u32::from(status.as_u16()), rejected.body_text()))
            }
        }
    }
}

type Answer = Result<Response, RegistryError>;

/// The routes under `/registry`.
pub(crate) fn router(exchange: Arc<Exchange>) -> Router {
    Router::new()
        .route("/schemas/types", get(|| async { render(&["AVRO"]) }))
        .route("/schemas/ids/{id}", get(schema_by_id))
        .route("/schemas/ids/{id}/versions", get(versions_by_id))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", axum::routing::post(lookup))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/config", get(config))
        .route("/config/{subject}", get(config))
        .fallback(|| async { RegistryError::new(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found") })
        .method_not_allowed_fallback(|| async {
            RegistryError::new(StatusCode::METHOD_NOT_ALLOWED, 405, "HTTP 405 Method Not Allowed")
        })
        .with_state(exchange)
}

async fn registry(exchange: &Exchange, caller: &Caller) -> Result<Registry, RegistryError> {
    exchange.registry(caller).await.map_err(|refused| {
        let (status, code) = match refused {
            RegistryRefused::Stale(_) => (StatusCode::SERVICE_UNAVAILABLE, 50003),
            RegistryRefused::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, 429),
        };
        let retry_after_seconds = refused.retry_after_seconds();
        RegistryError { retry_after_seconds, ..RegistryError::new(status, code, refused.to_string()) }
    })
}

async fn subjects(State(exchange): State<Arc<Exchange>>, Extension(caller): Extension<Caller>) -> Answer {
    Ok(render(&registry(&exchange, &caller).await?.subjects()))
}

async fn schema_by_id(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<String>,
) -> Answer {
    let schema = by_id(&exchange, &caller, &id).await?;
    Ok(render(&json!({ "schema": schema.text })))
}

async fn versions_by_id(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<String>,
) -> Answer {
    let schema = by_id(&exchange, &caller, &id).await?;
    Ok(render(&json!([{ "subject": schema.subject, "version": schema.version }])))
}

async fn by_id(exchange: &Exchange, caller: &Caller, id: &str) -> Result<RegisteredSchema, RegistryError> {
    let found = id.parse().ok();
    let registry = registry(exchange, caller).await?;
    found
        .and_then(|id| registry.schema(id))
        .ok_or_else(|| RegistryError::no_schema(&id.chars().take(20).collect::<String>()))
}

async fn versions(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named(subject): Named<String>,
) -> Answer {
    let versions = registry(&exchange, &caller).await?.versions(&subject);
    if versions.is_empty() {
        return Err(RegistryError::no_subject(&subject));
    }
    Ok(render(&versions.iter().map(|schema| schema.version).collect::<Vec<_>>()))
}

async fn version(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named((subject, version)): Named<(String, String)>,
) -> Answer {
    let mut versions = registry(&exchange, &caller).await?.versions(&subject);
    if versions.is_empty() {
        return Err(RegistryError::no_subject(&subject));
    }
    let found = if matches!(version.as_str(), "latest" | "-1") {
        versions.pop()
    } else {
        let wanted: u32 = version.parse().map_err(|_| {
            RegistryError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                "The specified version is not a valid version id.",
            )
        })?;
        versions.into_iter().find(|schema| schema.version == wanted)
    };
    found.map(|schema| render(&VersionBody::from(schema))).ok_or_else(|| RegistryError::no_version(&version))
}

async fn lookup(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named(subject): Named<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let schema = found(&exchange, &caller, &subject, body).await?;
    Ok(render(&VersionBody::from(schema)))
}

/// Registering: a schema that is there gives its id, as clients that register by themselves expect; a new one is for
/// the directory to add.
async fn register(
    State(exchange): State<Arc<Exchange>>,
    Extension(caller): Extension<Caller>,
    Named(subject): Named<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    match found(&exchange, &caller, &subject, body).await {
        Ok(schema) => Ok(render(&json!({ "id": schema.id }))),
        Err(error) if error.code == 40403 || error.code == 40401 => Err(RegistryError::new(
            StatusCode::FORBIDDEN,
            40301,
            "schemas are registered through the resource directory: add a version there, then publish with it",
        )),
        Err(error) => Err(error),
    }
}

async fn found(
    exchange: &Exchange,
    caller: &Caller,
    subject: &str,
    body: Result<Bytes, BytesRejection>,
) -> Result<RegisteredSchema, RegistryError> {
    let invalid = |message: String| RegistryError::new(StatusCode::UNPROCESSABLE_ENTITY, 42201, message);
    let body = body.map_err(|rejected| {
        RegistryError::new(rejected.status(), u32::from(rejected.status().as_u16()), rejected.body_text())
    })?;
    let body: LookupBody =
        serde_json::from_slice(&body).map_err(|error| invalid(format!("Invalid schema: {error}")))?;
    if body.schema_type.is_some_and(|kind| kind != "AVRO") {
        return Err(invalid("Invalid schema: only AVRO is served".to_owned()));
    }
    let registry = registry(exchange, caller).await?;
    if registry.versions(subject).is_empty() {
        return Err(RegistryError::no_subject(subject));
    }
    registry.lookup(subject, &body.schema).ok_or_else(|| RegistryError::no_schema("for this subject"))
}

/// Every subject has one rule, which the directory holds.
async fn config() -> Response {
    render(&json!({ "compatibilityLevel": "BACKWARD_TRANSITIVE" }))
}

fn render<T: Serialize + ?Sized>(body: &T) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(error) => {
            RegistryError::new(StatusCode::INTERNAL_SERVER_ERROR, 50001, error.to_string()).into_response()
        }
    }
}
