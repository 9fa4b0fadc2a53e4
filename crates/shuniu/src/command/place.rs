//! Which hub a command works on.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError};

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The hub's configuration: where its data folder and its directory are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The hub's data folder [default: the configuration's, or `data`].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Place {
    /// The configuration, with the data folder that was given.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        if let Some(data) = &self.data {
            config.hub.data_folder.clone_from(data);
        }
        Ok(config)
    }

    /// The configuration's file; `None` where every key has its default.
    pub(super) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The data folder.
    pub(super) fn data(&self) -> Result<PathBuf, ConfigError> {
        Ok(self.config()?.hub.data_folder)
    }
}
