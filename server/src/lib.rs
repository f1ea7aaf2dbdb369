//! Placeholder until the first milestone lands.
