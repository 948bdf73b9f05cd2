//! What a head's weights say by themselves: circuits kept as factors, never multiplied out.
//!
//! Shapes are TransformerLens', rows multiplying from the left: `W_E (vocab, d_model)`, `W_Q W_K W_V (..., d_model,
//! d_head)`, `W_O (..., d_head, d_model)`, `W_U (d_model, vocab)`. A circuit is a product of such factors whose inner
//! width is `d_head`; everything here works on matrices of that width.

mod composition;
mod copying_score;
mod eigenvalues;
mod inner_products;
mod ov;
mod panels;
mod previous_token;
mod product;
mod registers;
mod triangular;
mod weights;

pub use composition::{Kind, Weights, composition_scores};
pub use copying_score::copying_score;
pub use eigenvalues::Complex;
pub use ov::{factored_eigenvalues, ov_copying_statistic, ov_eigenvalues};
pub use previous_token::{qk_previous_token_term, qk_previous_token_traces};
