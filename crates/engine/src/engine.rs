//! The engine: opening, the seam, closing.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use shuniu_broker::{BoxFuture, Connection, Node, NodeId, Upstream, UpstreamError};
use shuniu_model::Clock;
use shuniu_wire::{ApiKey, Request, Response};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commits::Commits;
use crate::config::EngineConfig;
use crate::database::Database;
use crate::error::EngineError;
use crate::folder::{FolderLock, sync_folder};
use crate::group::Groups;
use crate::log::partition::{LogContext, hold};
use crate::serve::producer_ids::ProducerIds;
use crate::topics::Topics;
use crate::{NODE, maintenance, serve};

/// The record engine of one folder. Close it with [`Engine::close`]; a process that ends without doing so loses
/// nothing that was acknowledged.
pub struct Engine {
    core: Arc<Core>,
}

/// What every call works on.
pub(crate) struct Core {
    pub(crate) context: Arc<LogContext>,
    pub(crate) database: Database,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) commits: Arc<Commits>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) cluster_id: String,
    /// Held while topics or settings change: one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    closed: AtomicBool,
    lock: Mutex<Option<FolderLock>>,
}

impl Engine {
    /// Opens the folder, recovering what a crash left. Fails if another process has it.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]. Nothing is served then.
    pub async fn open(config: EngineConfig, clock: Clock, tracker: TaskTracker) -> Result<Self, EngineError> {
        let folder = config.folder.clone();
        let topics_folder = folder.join("topics");
        fs::create_dir_all(&topics_folder).map_err(EngineError::disk("make", &topics_folder))?;
        let lock = FolderLock::take(&folder)?;
        sync_folder(&folder).map_err(EngineError::disk("sync", &folder))?;
        let database = Database::open(&folder).await?;
        let cluster_id = database.cluster_id(&uuid::Uuid::new_v4().simple().to_string()).await?;
        let rows = database.topics().await?;
        let committed = database.committed().await?;
        let context = Arc::new(LogContext { config, clock, tracker, maintenance: Notify::new() });
        let opening = Arc::clone(&context);
        let topics = context.tracker.spawn_blocking(move || Topics::open(rows, &opening));
        let topics = Arc::new(topics.await.map_err(|_| EngineError::Stopped)??);
        let stop = CancellationToken::new();
        let groups = Groups::start(&context.config, committed, &context.tracker, stop.clone());
        let commits = Commits::new(database.clone(), Arc::clone(&groups), context.tracker.clone());
        maintenance::start(&context, Arc::clone(&topics), stop.clone());
        let core = Core {
            context,
            database,
            topics,
            groups,
            commits,
            producer_ids: ProducerIds::default(),
            cluster_id,
            changing: tokio::sync::Mutex::new(()),
            stop,
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// How many consumer groups there are, with or without members.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.core.groups.count()
    }

    /// Refuses new calls, lets what was submitted finish, and gives the folder back.
    pub async fn close(&self) {
        self.core.closed.store(true, Ordering::Release);
        self.core.stop.cancel();
        // A change of topics that is under way is let finish.
        drop(self.core.changing.lock().await);
        let topics = Arc::clone(&self.core.topics);
        let drained = self.core.context.tracker.spawn_blocking(move || {
            topics.all().iter().flat_map(|topic| topic.partitions()).for_each(|partition| partition.drain());
        });
        if drained.await.is_err() {
            tracing::warn!("the runtime stopped before the engine had closed its partitions");
        }
        self.core.commits.drain().await;
        self.core.database.close().await;
        drop(hold(&self.core.lock).take());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The background tasks end; connections that are still held answer `Closed`.
        self.core.closed.store(true, Ordering::Release);
        self.core.stop.cancel();
    }
}

impl Upstream for Engine {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, UpstreamError>> {
        Box::pin(std::future::ready(Ok(vec![Node { id: NODE, rack: None }])))
    }

    fn connect(&self, node: NodeId) -> BoxFuture<'_, Result<Arc<dyn Connection>, UpstreamError>> {
        let connection: Result<Arc<dyn Connection>, _> = if node != NODE {
            Err(UpstreamError::NoSuchNode(node))
        } else if self.core.closed.load(Ordering::Acquire) {
            Err(UpstreamError::Closed)
        } else {
            Ok(Arc::new(Local { core: Arc::clone(&self.core) }))
        };
        Box::pin(std::future::ready(connection))
    }
}

/// A connection within the process.
struct Local {
    core: Arc<Core>,
}

impl Connection for Local {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>> {
        if self.core.closed.load(Ordering::Acquire) {
            return Box::pin(std::future::ready(Err(UpstreamError::Closed)));
        }
        let core = Arc::clone(&self.core);
        match request {
            Request::Produce(request) => answered(serve::produce::produce(&core, request)),
            Request::Fetch(request) => {
                self.while_open(async move { serve::fetch::fetch(&core, request).await })
            }
            Request::ListOffsets(request) => Box::pin(async move {
                serve::list_offsets::list_offsets(&core, request).await.map(Response::from)
            }),
            Request::OffsetForLeaderEpoch(request) => {
                ready(serve::list_offsets::offset_for_leader_epoch(&core, &request))
            }
            Request::Metadata(request) => ready(serve::metadata::metadata(&core, request)),
            Request::DescribeCluster(request) => ready(serve::metadata::describe_cluster(&core, &request)),
            Request::FindCoordinator(request) => ready(serve::metadata::find_coordinator(&request)),
            Request::DescribeConfigs(request) => ready(serve::configs::describe(&core, request)),
            Request::InitProducerId(request) => {
                self.apart(async move { serve::producer_ids::init(&core, &request).await })
            }
            Request::CreateTopics(request) => {
                self.apart(async move { serve::admin::create_topics(&core, request).await })
            }
            Request::CreatePartitions(request) => {
                self.apart(async move { serve::admin::create_partitions(&core, request).await })
            }
            Request::DeleteRecords(request) => {
                self.apart(async move { serve::delete_records::delete_records(&core, request).await })
            }
            Request::IncrementalAlterConfigs(request) => {
                self.apart(async move { serve::configs::alter(&core, request).await })
            }
            Request::JoinGroup(request) => self.while_open(core.groups.join(request)),
            Request::SyncGroup(request) => self.while_open(core.groups.sync(request)),
            Request::Heartbeat(request) => ready(core.groups.heartbeat(&request)),
            Request::LeaveGroup(request) => ready(core.groups.leave(request)),
            Request::OffsetCommit(request) => answered(serve::offsets::commit(&core, request)),
            Request::OffsetFetch(request) => answered(serve::offsets::fetch(&core, request)),
            // Groups of the newer kind are a cluster's.
            Request::ConsumerGroupHeartbeat(_) => {
                Box::pin(std::future::ready(Err(UpstreamError::Unsupported {
                    api: "ConsumerGroupHeartbeat".to_owned(),
                })))
            }
        }
    }

    fn has(&self, _: ApiKey) -> bool {
        false
    }
}

impl Local {
    /// For calls that may wait long for others: closing ends the wait.
    fn while_open<T>(
        &self,
        work: impl Future<Output = Result<T, UpstreamError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Response, UpstreamError>>
    where
        Response: From<T>,
    {
        let stop = self.core.stop.clone();
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = work => answer.map(Response::from),
                () = stop.cancelled() => Err(UpstreamError::Closed),
            }
        })
    }

    /// Runs to its end even if the caller goes away.
    fn apart<T>(
        &self,
        work: impl Future<Output = Result<T, UpstreamError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Response, UpstreamError>>
    where
        Response: From<T>,
        T: Send + 'static,
    {
        let task = self.core.context.tracker.spawn(work);
        Box::pin(async move { task.await.map_err(|_| UpstreamError::Closed)?.map(Response::from) })
    }
}

/// A call that is submitted already.
fn answered<T>(
    work: impl Future<Output = Result<T, UpstreamError>> + Send + 'static,
) -> BoxFuture<'static, Result<Response, UpstreamError>>
where
    Response: From<T>,
{
    Box::pin(async move { work.await.map(Response::from) })
}

/// A call that is answered already.
fn ready<T>(response: T) -> BoxFuture<'static, Result<Response, UpstreamError>>
where
    Response: From<T>,
{
    Box::pin(std::future::ready(Ok(Response::from(response))))
}
