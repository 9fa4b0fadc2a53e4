//! The program: arguments, configuration, keys and certificates, wiring.

pub mod ca;
pub mod clock;
pub mod command;
pub mod config;
pub mod demo;
pub mod keys;
pub mod operator;
mod secret_file;
pub mod synth;

pub use secret_file::SecretFileError;
