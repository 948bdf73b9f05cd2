//! Files of a run: shards, index, maps.
