//! The engine behind a C ABI: it owns the memory and the execution of guests and decides nothing.
//!
//! Nouns: an *engine* holds the pool of slots, and perhaps an *overflow* beyond it; `rusm_compile` turns WebAssembly into an *artifact*, which loads as a
//! *component*; a component made ready to run by one of its entries is a *program*; *grants* say what a guest may use;
//! an *instance* is one guest, resumed by the embedder until it ends.
//!
//! Lifetimes are the embedder's: engine ⊇ component, program ⊇ instance, and grants ⊇ instance.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod abi;
mod actor;
pub mod actor_host;
mod actor_module;
#[cfg(test)]
mod actor_test;
mod actor_v2;
pub mod artifact;
mod backtrace;
pub mod compile;
pub mod engine;
pub mod event_host;
pub mod exit;
pub mod grants;
mod guest;
pub mod host;
mod http;
mod imports;
pub mod instance;
mod lookup;
mod module_processes;
pub mod network;
mod os;
mod outgoing;
#[cfg(test)]
mod panic_test;
mod process_v2;
pub mod program;
mod resolver;
mod slab;
mod stdio;
pub mod wake;
