//! Makes WebAssembly components out of core modules, and C bindings out of WIT.
//!
//! Three nouns: a [`World`] is what a guest imports and exports, resolved from a folder of WIT files and the standard
//! WASI 0.2 packages, which are built in; [`bindings_c`] turns a world into C sources; [`component`] turns a core
//! module that was compiled against a world into a component.
//!
//! Nothing here keeps state, prints, or reads the environment. Errors are whole sentences for the guest's author.

mod bindings;
mod component;
mod wasi;
mod world;

pub use bindings::bindings_c;
pub use component::{Adapter, component, shares_memory_with_adapter};
pub use wasi::write_wasi_wit;
pub use world::World;
