//! Placeholder until the first milestone lands.
pub mod config;
