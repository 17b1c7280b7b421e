//! What Wattle remembers and how it is checked: the shared prompt prefix, who warms it for whom, and the ledger of
//! tokens and money.
//!
//! Pure: no network, no git, no clock. Request bytes for a model come from [`prefix`] and from nowhere else.

pub mod fork;
pub mod ledger;
pub mod prefix;
pub mod price;
pub mod warm;
