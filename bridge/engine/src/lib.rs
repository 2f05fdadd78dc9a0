//! C ABI over Wasmtime.
