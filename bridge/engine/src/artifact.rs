//! Compiled code, sealed with what it is, and loaded again.
//!
//! An artifact is `FORMAT`, a byte that says what it holds, three bytes of zero, the number of core instances as
//! little-endian u32, and Wasmtime's serialised code. Loading one executes it: whoever keeps artifacts vouches for them.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, call, rusm_buffer, rusm_bytes, rusm_status};
use crate::compile::{check_size, rusm_compile_limits};
use crate::engine::rusm_engine;
use std::borrow::Cow;
use std::time::Duration;
use wasmparser::{Instance, Parser, Payload};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module, ResourcesRequired};

/// Changes with the layout of an artifact.
pub const FORMAT: &[u8; 8] = b"RUSMART1";
const HEADER_BYTES: usize = 16;
const WASM_PAGE_BYTES: u64 = 65536;
const COMPONENT: u8 = 0;
const MODULE: u8 = 1;

/// The entries that a component or module has: bits of `rusm_component_info.entries`.
pub const RUSM_ENTRY_BIT_HTTP: u32 = 1;
pub const RUSM_ENTRY_BIT_COMMAND: u32 = 2;

pub enum Code {
    Component(Component),
    Module(Module),
}

/// Loaded code. Threads: any; immutable.
pub struct rusm_component {
    pub(crate) engine: &'static rusm_engine,
    pub(crate) code: Code,
    core_instances: u32,
}

/// What a component is and what each of its instances takes from the pool.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rusm_component_info {
    /// False: a core module.
    pub is_component: bool,
    /// RUSM_ENTRY_BIT_HTTP, RUSM_ENTRY_BIT_COMMAND.
    pub entries: u32,
    pub core_instances: u32,
    pub memories: u32,
    pub tables: u32,
    /// Bytes of the largest memory at start.
    pub memory_bytes_initial: u64,
}

pub const HTTP_EXPORT: &str = "wasi:http/incoming-handler@0.2.";
pub const COMMAND_EXPORT: &str = "wasi:cli/run@0.2.";
pub const MODULE_COMMAND_EXPORT: &str = "_start";

impl rusm_component {
    pub fn info(&self) -> rusm_component_info {
        let (is_component, entries, resources) = match &self.code {
            Code::Component(component) => (
                true,
                component_entries(self.engine, component),
                component.resources_required(),
            ),
            Code::Module(module) => {
                let command = module.get_export_index(MODULE_COMMAND_EXPORT).is_some();
                (
                    false,
                    if command { RUSM_ENTRY_BIT_COMMAND } else { 0 },
                    Some(module.resources_required()),
                )
            }
        };
        let resources = resources.unwrap_or(ResourcesRequired {
            num_memories: 0,
            max_initial_memory_size: None,
            num_tables: 0,
            max_initial_table_size: None,
        });
        rusm_component_info {
            is_component,
            entries,
            core_instances: self.core_instances,
            memories: resources.num_memories,
            tables: resources.num_tables,
            memory_bytes_initial: resources
                .max_initial_memory_size
                .unwrap_or(0)
                .saturating_mul(WASM_PAGE_BYTES),
        }
    }
}

fn component_entries(engine: &rusm_engine, component: &Component) -> u32 {
    let ty = component.component_type();
    let mut entries = 0;
    for (name, export) in ty.exports(engine.wasmtime()) {
        if !matches!(export.ty, ComponentItem::ComponentInstance(_)) {
            continue;
        }
        if name.starts_with(HTTP_EXPORT) {
            entries |= RUSM_ENTRY_BIT_HTTP;
        } else if name.starts_with(COMMAND_EXPORT) {
            entries |= RUSM_ENTRY_BIT_COMMAND;
        }
    }
    entries
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(rusm_status::INVALID_WASM, text)
}

/// How many core instances an instance of this takes: one for a module, one for each core instantiation in a component.
fn core_instances(wasm: &[u8]) -> Result<u32, Failure> {
    let mut count = 0u32;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::InstanceSection(section) = payload.map_err(|error| invalid(error.to_string()))? {
            for instance in section {
                if let Instance::Instantiate { .. } = instance.map_err(|error| invalid(error.to_string()))? {
                    count = count.saturating_add(1);
                }
            }
        }
    }
    Ok(count)
}

fn compile(engine: &Engine, wasm: &[u8], limits: &rusm_compile_limits) -> Result<Vec<u8>, Failure> {
    let wasm: Cow<'_, [u8]> = wat::parse_bytes(wasm).map_err(|error| invalid(format!("not WebAssembly: {error}")))?;
    let is_component = Parser::is_component(&wasm);
    if !is_component && !Parser::is_core_wasm(&wasm) {
        return Err(invalid("not WebAssembly: neither a component nor a core module"));
    }
    check_size(&wasm, limits)?;
    let code = if is_component {
        engine.precompile_component(&wasm)
    } else {
        engine.precompile_module(&wasm)
    };
    let code = code.map_err(|error| invalid(format!("not valid WebAssembly: {error:#}")))?;
    let core_instances = if is_component { core_instances(&wasm)? } else { 1 };
    let mut artifact = Vec::with_capacity(HEADER_BYTES + code.len());
    artifact.extend_from_slice(FORMAT);
    artifact.extend_from_slice(&[if is_component { COMPONENT } else { MODULE }, 0, 0, 0]);
    artifact.extend_from_slice(&core_instances.to_le_bytes());
    artifact.extend_from_slice(&code);
    Ok(artifact)
}

/// # Safety
/// `artifact` must come from `compile`, unchanged.
unsafe fn load(engine: &'static rusm_engine, artifact: &[u8]) -> Result<rusm_component, Failure> {
    let Some((header, code)) = artifact.split_first_chunk::<HEADER_BYTES>() else {
        return Err(invalid("the compiled code is cut short"));
    };
    let [f0, f1, f2, f3, f4, f5, f6, f7, kind, _, _, _, c0, c1, c2, c3] = *header;
    if &[f0, f1, f2, f3, f4, f5, f6, f7] != FORMAT {
        return Err(invalid("not compiled code of this version"));
    }
    let refused = |error: wasmtime::Error| invalid(format!("the compiled code does not fit this engine: {error:#}"));
    // SAFETY: the caller vouches for the bytes.
    let code = unsafe {
        match kind {
            COMPONENT => Code::Component(Component::deserialize(engine.wasmtime(), code).map_err(refused)?),
            MODULE => Code::Module(Module::deserialize(engine.wasmtime(), code).map_err(refused)?),
            _ => return Err(invalid("not compiled code of this version")),
        }
    };
    // Copy-on-write images are made now rather than by the first instance.
    let prepared = match &code {
        _ if engine.copies_images() => Ok(()),
        Code::Component(component) => component.initialize_copy_on_write_image(),
        Code::Module(module) => module.initialize_copy_on_write_image(),
    };
    prepared.map_err(|error| Failure::new(rusm_status::SYSTEM, format!("cannot map the memory image: {error:#}")))?;
    Ok(rusm_component {
        engine,
        code,
        core_instances: u32::from_le_bytes([c0, c1, c2, c3]),
    })
}

/// Validates and compiles a component or a core module, binary or text, into an artifact for `rusm_component_load`.
/// Takes long (milliseconds to seconds) and happens on the engine's compiling threads, at low priority; the caller waits.
/// Fails with RUSM_STATUS_LIMIT beyond one of `limits`. Threads: any.
///
/// # Safety
/// `engine` must be a live engine, `wasm` and `limits` valid during the call, `artifact` writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_compile(
    engine: *const rusm_engine,
    wasm: rusm_bytes,
    limits: *const rusm_compile_limits,
    artifact: *mut rusm_buffer,
    error: *mut rusm_buffer,
) -> rusm_status {
    // SAFETY: by contract.
    unsafe {
        call(error, || {
            let engine = engine.as_ref().ok_or_else(|| Failure::null("engine"))?;
            if artifact.is_null() {
                return Err(Failure::null("artifact"));
            }
            if wasm.len as u64 > limits.as_ref().map_or(0, |limits| limits.wasm_bytes_max) {
                return Err(Failure::new(
                    rusm_status::LIMIT,
                    format!("has {} bytes: too many to compile", wasm.len),
                ));
            }
            let limits = *limits.as_ref().ok_or_else(|| Failure::null("limits"))?;
            let wasm = wasm.as_slice().to_vec();
            let compiling = engine.wasmtime().clone();
            let time_max = Duration::from_millis(limits.time_ms_max);
            let made = engine
                .compiler()
                .run(time_max, move || compile(&compiling, &wasm, &limits))?;
            artifact.write(rusm_buffer::from_vec(made));
            Ok(())
        })
    }
}

/// Loads an artifact; its bytes are copied. Threads: any.
///
/// # Safety
/// The bytes are executed: they must come from `rusm_compile`, unchanged (an artifact of another engine is recognised
/// and refused, a forged one is not). `engine` must outlive the component; `out` writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_component_load(
    engine: *const rusm_engine,
    artifact: rusm_bytes,
    out: *mut *mut rusm_component,
    error: *mut rusm_buffer,
) -> rusm_status {
    // SAFETY: by contract.
    unsafe {
        call(error, || {
            let engine = engine.as_ref().ok_or_else(|| Failure::null("engine"))?;
            if out.is_null() {
                return Err(Failure::null("out"));
            }
            out.write(Box::into_raw(Box::new(load(engine, artifact.as_slice())?)));
            Ok(())
        })
    }
}

/// Threads: any.
///
/// # Safety
/// `component` must be live and `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_component_describe(component: *const rusm_component, out: *mut rusm_component_info) {
    // SAFETY: by contract.
    unsafe { out.write((*component).info()) };
}

/// Threads: any. Programs made from the component stay valid. Null is allowed.
///
/// # Safety
/// `component` must be null or come from `rusm_component_load`, freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_component_free(component: *mut rusm_component) {
    if !component.is_null() {
        // SAFETY: by contract.
        drop(unsafe { Box::from_raw(component) });
    }
}
