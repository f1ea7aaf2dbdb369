//! The data types behind the keys: pure structures, no keyspace, no clock.
