//! What per-token losses say about in-context learning.
