//! Scores read off attention patterns.
