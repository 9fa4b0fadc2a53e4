//! An S3-compatible object store on this machine: `s3s` with its file system. It looks and then writes, as no real store
//! does; here its writes happen one at a time, so that conditions hold between replicas.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// The bucket that is there.
pub(crate) const BUCKET: &str = "tiles";
/// The access key's id, and its secret.
pub(crate) const ACCESS: (&str, &str) = ("hub", "geheim");

/// The store, with an address for each of those who use it.
pub struct Objects {
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Held while an object is looked at and written.
    writing: tokio::sync::Mutex<()>,
    /// Nothing can be written.
    full: AtomicBool,
    /// Who wrote last, by their address.
    writer: AtomicUsize,
}

struct Bucket {
    files: s3s_fs::FileSystem,
    shared: Arc<Shared>,
    user: usize,
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let _one = self.shared.writing.lock().await;
        if self.shared.full.load(Ordering::SeqCst) {
            return Err(s3_error!(InternalError, "no space is left"));
        }
        let put = self.files.put_object(request).await;
        if put.is_ok() {
            self.shared.writer.store(self.user, Ordering::SeqCst);
        }
        put
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _one = self.shared.writing.lock().await;
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }
}

impl Objects {
    /// Starts the store on the runtime, for so many users.
    #[must_use]
    pub fn start(runtime: &Handle, users: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let shared = Arc::new(Shared {
            writing: tokio::sync::Mutex::default(),
            full: AtomicBool::new(false),
            writer: AtomicUsize::new(0),
        });
        let mut addresses = Vec::new();
        for user in 0..users {
            let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
            let mut service = S3ServiceBuilder::new(Bucket { files, shared: Arc::clone(&shared), user });
            service.set_auth(SimpleAuth::from_single(ACCESS.0, ACCESS.1));
            let service = service.build();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            addresses.push(listener.local_addr().unwrap());
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let service = service.clone();
                    tokio::spawn(async move {
                        let http = hyper::server::conn::http1::Builder::new();
                        // A client that breaks off has its reasons.
                        http.serve_connection(TokioIo::new(stream), service).await.ok();
                    });
                }
            });
        }
        Self { folder, addresses, shared }
    }

    /// Where a user reaches it.
    #[must_use]
    pub fn address(&self, user: usize) -> SocketAddr {
        self.addresses[user]
    }

    /// The file of an object.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(name)
    }

    /// Whether writing fails, as with a full disk.
    pub fn set_full(&self, full: bool) {
        self.shared.full.store(full, Ordering::SeqCst);
    }

    /// The user that wrote last.
    #[must_use]
    pub fn writer(&self) -> usize {
        self.shared.writer.load(Ordering::SeqCst)
    }
}
