//! Request bytes.
