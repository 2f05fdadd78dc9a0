//! The library through its C ABI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod actors;
mod common;
mod header;
mod http;
mod lifecycle;
