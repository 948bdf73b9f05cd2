//! The one error of the crate. Every variant carries its data and says, in lower case, which argument or
//! file it speaks of, what was expected and what was found.

use std::path::PathBuf;

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument has the wrong number of axes.
    #[error("{argument} must have axes {expected}, got {got} {}", if *got == 1 { "axis" } else { "axes" })]
    WrongRank {
        /// Name of the argument.
        argument: &'static str,
        /// The axes it should have, by name: `(batch, head, query_pos, key_pos)`.
        expected: &'static str,
        /// How many axes it has.
        got: usize,
    },

    /// One axis of an argument does not fit another argument.
    #[error("{argument} has {got} along {axis}, expected {expected}")]
    ShapeMismatch {
        /// Name of the argument.
        argument: &'static str,
        /// Name of the axis.
        axis: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        got: usize,
    },

    /// An axis that must hold something is empty, or shorter than the computation needs.
    #[error("{argument} has {got} along {axis}, needs at least {least}")]
    TooShort {
        /// Name of the argument.
        argument: &'static str,
        /// Name of the axis.
        axis: &'static str,
        /// The least length that makes sense.
        least: usize,
        /// The length it has.
        got: usize,
    },

    /// A parameter lies outside what it may be.
    #[error("{argument} is {got}, expected {expected}")]
    OutOfRange {
        /// Name of the argument.
        argument: &'static str,
        /// What it may be, in words.
        expected: String,
        /// What it is.
        got: String,
    },

    /// A number that must be finite is NaN or infinite.
    #[error("{argument}[{index}] is {value}, expected a finite number")]
    NotFinite {
        /// Name of the argument.
        argument: &'static str,
        /// Where: the index along the first axis, or all of them, as text.
        index: String,
        /// The value.
        value: f64,
    },

    /// A name that is not one of the known ones.
    #[error("{argument} is \"{got}\", known: {}", known.join(", "))]
    UnknownName {
        /// Name of the argument.
        argument: &'static str,
        /// What was asked for.
        got: String,
        /// What there is.
        known: Vec<String>,
    },

    /// Two choices that do not go together.
    #[error("{what}; {next}")]
    Unsupported {
        /// What was asked for and why it cannot be.
        what: String,
        /// What to do instead.
        next: String,
    },

    /// A file on disk is not what it should be.
    #[error("{}: {object}: expected {expected}, found {found}; {next}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Which part of it: "header length", "tensor attention/repeated/L00".
        object: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// The next thing to do.
        next: String,
    },

    /// The operating system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// [`crate::Cancel`] was raised.
    #[error("interrupted")]
    Interrupted,
}
