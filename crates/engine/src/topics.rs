//! The topics there are, and making more of them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, PoisonError, RwLock};

use shuniu_wire::messages::ResponseError;
use uuid::Uuid;

use crate::EngineError;
use crate::database::{Database, TopicRow};
use crate::epochs::Epochs;
use crate::folder::{partition_folder, sync_folder};
use crate::log::open::Kept;
use crate::log::partition::{LogContext, Partition, Refused, SettingsCell};
use crate::settings::Settings;

/// A topic.
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) settings: Arc<SettingsCell>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn partition_count(&self) -> i32 {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        i32::try_from(partitions.len()).unwrap_or(i32::MAX)
    }
}

/// All topics, by name and by id.
#[derive(Default)]
pub(crate) struct Topics(RwLock<Directory>);

#[derive(Default)]
struct Directory {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// By name, or by id where the name is empty; else Kafka's code for what is not there.
    pub(crate) fn find(&self, name: &str, id: Uuid) -> Result<Arc<Topic>, ResponseError> {
        if name.is_empty() {
            self.by_id(id).ok_or(ResponseError::UnknownTopicId)
        } else {
            self.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
    }

    /// In the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.len()
    }

    fn insert(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut directory = self.0.write().unwrap_or_else(PoisonError::into_inner);
        directory.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        directory.by_id.insert(topic.id, Arc::clone(&topic));
        Arc::clone(&topic)
    }

    /// Opens every stored topic. Blocking.
    pub(crate) fn open(rows: Vec<TopicRow>, context: &Arc<LogContext>) -> Result<Self, EngineError> {
        let topics = Self::default();
        for row in rows {
            let settings = Settings::new(row.settings, context.config.segment_bytes).map_err(|error| {
                let path = context.config.folder.join("engine.db");
                EngineError::Unintelligible { path, what: format!("for topic `{}`: {error}", row.name) }
            })?;
            let (name, settings) = (Arc::<str>::from(row.name), SettingsCell::new(settings));
            let indexes = 0..row.partitions;
            let partitions = open_partitions(&name, indexes, &row.epochs, context, &settings, Kept::Stored)?;
            topics.insert(Topic { name, id: row.id, settings, partitions: RwLock::new(partitions) });
        }
        Ok(topics)
    }
}

/// Makes a topic: folders first, then its row, so that a topic that is stored has its folders. A crash between the
/// two leaves empty folders, which the next attempt takes over.
pub(crate) async fn create(
    topics: &Topics,
    database: &Database,
    context: &Arc<LogContext>,
    row: TopicRow,
    settings: Settings,
) -> Result<Arc<Topic>, Refused> {
    let name = Arc::<str>::from(row.name.as_str());
    let settings = SettingsCell::new(settings);
    let partitions = make_partitions(&name, 0..row.partitions, context, &settings).await?;
    database.insert_topic(&row).await.map_err(|error| storage(&error))?;
    let topic = Topic { name, id: row.id, settings, partitions: RwLock::new(partitions) };
    Ok(topics.insert(topic))
}

/// Gives a topic more partitions.
pub(crate) async fn grow(
    topic: &Topic,
    database: &Database,
    context: &Arc<LogContext>,
    partitions: i32,
) -> Result<(), Refused> {
    let more = topic.partition_count()..partitions;
    let more = make_partitions(&topic.name, more, context, &topic.settings).await?;
    database.set_partitions(&topic.name, partitions).await.map_err(|error| storage(&error))?;
    topic.partitions.write().unwrap_or_else(PoisonError::into_inner).extend(more);
    Ok(())
}

async fn make_partitions(
    name: &Arc<str>,
    indexes: std::ops::Range<i32>,
    context: &Arc<LogContext>,
    settings: &Arc<SettingsCell>,
) -> Result<Vec<Arc<Partition>>, Refused> {
    let (name, context, settings) = (Arc::clone(name), Arc::clone(context), Arc::clone(settings));
    let tracker = context.tracker.clone();
    let made = tracker.spawn_blocking(move || {
        let topics = context.config.folder.join("topics");
        for index in indexes.clone() {
            let folder = partition_folder(&context.config.folder, &name, index);
            fs::create_dir_all(&folder).map_err(EngineError::disk("make", &folder))?;
        }
        sync_folder(&topics).map_err(EngineError::disk("sync", &topics))?;
        open_partitions(&name, indexes, &BTreeMap::new(), &context, &settings, Kept::Made)
    });
    made.await.map_err(|error| storage(&error))?.map_err(|error| storage(&error))
}

fn open_partitions(
    name: &Arc<str>,
    indexes: std::ops::Range<i32>,
    epochs: &BTreeMap<i32, Epochs>,
    context: &Arc<LogContext>,
    settings: &Arc<SettingsCell>,
    kept: Kept,
) -> Result<Vec<Arc<Partition>>, EngineError> {
    indexes
        .map(|index| {
            let epochs = epochs.get(&index).cloned().unwrap_or_default();
            let folder = partition_folder(&context.config.folder, name, index);
            let (context, settings) = (Arc::clone(context), Arc::clone(settings));
            Partition::open(Arc::clone(name), (index, epochs), &folder, context, settings, kept)
        })
        .collect()
}

/// Whether Kafka would take this as a topic's name.
pub(crate) fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

pub(crate) fn storage(error: &(dyn std::error::Error + 'static)) -> Refused {
    let mut text = format!("the record store cannot write: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Refused::new(ResponseError::KafkaStorageError, text)
}
