//! Files of the data set: snapshots (RDB), which are written and read where all slots are.

pub(crate) mod load;
pub(crate) mod save;
