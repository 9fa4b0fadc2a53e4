//! The program: arguments, configuration, keys and certificates, wiring.

pub mod audit;
pub mod backup;
pub mod ca;
mod causes;
mod client;
pub mod clock;
pub mod command;
pub mod config;
pub mod demo;
pub mod directory;
mod doctor;
mod figure;
pub mod keys;
pub mod log_line;
pub mod operator;
mod secret_file;
mod seen_policy;
pub mod serve;
mod service;
pub mod synth;
pub mod telemetry;
pub mod tiles;
mod topics;

pub use secret_file::SecretFileError;
pub use seen_policy::SeenError;
