//! Facts of the directory: organisations, systems, resources.

use std::sync::Arc;

use crate::identifier::{DivisionCode, Uscc};
use crate::{ItemName, ResourceName, SystemId, TopicId};

/// A department (部门/单位), keyed by its unified social credit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// GB 32100.
    pub uscc: Uscc,
    /// The full legal name.
    pub name: String,
    /// The division that it serves.
    pub division: DivisionCode,
}

/// An information system (业务系统): the principal of every machine request, proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The certificate's common name.
    pub id: SystemId,
    /// Its organisation.
    pub organisation: Uscc,
    /// What people call it.
    pub name: String,
}

/// Whether other departments may have a thing (共享属性).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// 无条件共享: granted at once, by rule.
    Unconditional,
    /// 有条件共享: granted when the provider's officer answers.
    Conditional,
    /// 不予共享: cannot be applied for, granted or used in a filter. The basis is the law, administrative regulation
    /// or Party or State Council document that says so.
    NotShared {
        /// Never empty.
        basis: String,
    },
}

/// The directory's type of an item (数据类型): the letters C N Y D T L M G B I F.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the directory standard's own")]
pub enum ItemType {
    Character,
    Numeric,
    Currency,
    Date,
    DateTime,
    Logical,
    Memo,
    General,
    Double,
    Integer,
    Float,
}

/// One column of a resource (信息项), as its schema states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The Avro field's name.
    pub name: ItemName,
    /// 中文名.
    pub name_zh: String,
    /// 数据类型.
    pub item_type: ItemType,
    /// Data level 1 to 4.
    pub level: u8,
    /// The item's own share type.
    pub sharing: Sharing,
}

/// One entry of the directory (信息资源), and its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The topic's name.
    pub name: ResourceName,
    /// 信息资源名称.
    pub title_zh: String,
    /// 信息资源代码, `101001/1`.
    pub code: String,
    /// The organisation that answers for it.
    pub provider: Uscc,
    /// The one system that publishes; its organisation is the provider.
    pub publishing_system: SystemId,
    /// The resource's share type.
    pub sharing: Sharing,
    /// The key item.
    pub key: ItemName,
    /// The items that name the record's subjects.
    pub subjects: Vec<ItemName>,
    /// Whether grants may filter rows; then every record carries `before`.
    pub row_filters: bool,
    /// Partitions of the topic.
    pub partitions: u32,
    /// The topic's id; `None` until the topic is made.
    pub topic_id: Option<TopicId>,
    /// The registered versions of its schema, oldest first: schema id and Avro text.
    pub versions: Vec<Arc<SchemaVersion>>,
}

/// One registered version of a resource's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    /// Unique over the hub, never given twice.
    pub id: u32,
    /// Counts from 1 within the resource.
    pub version: u32,
    /// The Avro schema as JSON text.
    pub text: String,
}

impl Resource {
    /// Whether every record of the resource must carry the header `before`.
    #[must_use]
    pub fn before_on_every_record(&self) -> bool {
        self.row_filters
    }

    /// Whether a deletion must carry the row that it deletes in the header `before`.
    #[must_use]
    pub fn before_on_deletions(&self) -> bool {
        self.row_filters || !self.subjects.is_empty()
    }
}
