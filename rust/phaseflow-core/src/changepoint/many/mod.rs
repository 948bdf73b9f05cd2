//! Many short series at once.

mod penalised;
mod series;
mod single;

pub use penalised::{Change, detect_many};
pub use series::Series;
pub use single::{Direction, Single, single_change};
