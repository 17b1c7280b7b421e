//! What Wattle remembers and how it is checked: the shared prompt prefix, who warms it for whom, and the ledger of
//! tokens and money; what a request shows of a conversation, and what of it is kept elsewhere.
//!
//! Pure: no network, no git, no clock. Request bytes for a model come from [`prefix`] and from nowhere else.

pub mod fork;
pub mod ledger;
pub mod offload;
pub mod prefix;
pub mod price;
pub mod reads;
pub mod view;
pub mod warm;
