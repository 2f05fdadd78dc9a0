//! The library through its C ABI.

mod common;
mod header;
mod http;
mod lifecycle;
