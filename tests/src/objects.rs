//! An S3-compatible object store on this machine: `s3s` with its file system, which checks signatures and conditions. It
//! looks and then writes, as no real store does; here its writes happen one at a time, so that conditions hold between
//! replicas.
//!
//! Test binaries take this file in by its path: it needs `s3s` and `hyper` besides the standard library.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};

/// A store with the bucket `tiles`, for the access key `hub` with the secret `geheim`.
pub struct ObjectServer {
    folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub passes_over_conditions: Arc<AtomicBool>,
}

struct Bucket {
    files: s3s_fs::FileSystem,
    /// Held while an object is looked at and written.
    writing: tokio::sync::Mutex<()>,
    passes_over_conditions: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let _one = self.writing.lock().await;
        if self.passes_over_conditions.load(Ordering::SeqCst) {
            (request.input.if_match, request.input.if_none_match) = (None, None);
        }
        self.files.put_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _one = self.writing.lock().await;
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }
}

impl ObjectServer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tiles")).unwrap();
        let passes_over_conditions = Arc::new(AtomicBool::new(false));
        let bucket = Bucket {
            files: s3s_fs::FileSystem::new(folder.path()).unwrap(),
            writing: tokio::sync::Mutex::default(),
            passes_over_conditions: Arc::clone(&passes_over_conditions),
        };
        let mut service = S3ServiceBuilder::new(bucket);
        service.set_auth(SimpleAuth::from_single("hub", "geheim"));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, tls) = (service.clone(), tls.clone());
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await.ok(),
                        // A client that does not trust the certificate ends the handshake.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await.ok(),
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { folder, address, passes_over_conditions }
    }

    /// Where an object of the bucket is.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("tiles").join(name)
    }
}
