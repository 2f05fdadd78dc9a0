//! The engine: Wasmtime with its pool of slots, the I/O runtime that WASI needs, and the linkers.
//!
//! An engine may have an *overflow*: a second one for the guests that the pool has no room for, on slots that cost no
//! mappings (`slab`). It shares everything with the first but Wasmtime's settings, so it has artifacts of its own.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, call, rusm_buffer, rusm_status};
use crate::compile::Compiler;
use crate::guest::Guest;
use crate::host::{HostTable, rusm_host};
use crate::imports;
use crate::network::{Refusals, rusm_refusals};
use crate::outgoing::Tls;
use crate::resolver::{EngineResolver, Resolver};
use crate::slab::{Slab, SlabMemories, SlabSizes, SlabStacks};
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Arc, OnceLock};
use tokio::runtime::{EnterGuard, Runtime};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// Memories of the overflow that are being moved have two slots: one for each thread that may do so.
const MEMORIES_ON_THE_MOVE: usize = 64;
/// Frames in a backtrace.
const BACKTRACE_FRAMES_MAX: usize = 64;

/// Sizes of the engine. All are the embedder's choice; zero means zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_engine_config {
    /// False: every instance maps and unmaps its own memory. Slower, but sized by nothing but the machine.
    pub pooling: bool,
    /// Slots of the pool, by what an instance takes.
    pub component_instances_max: u32,
    pub core_instances_max: u32,
    pub memories_max: u32,
    pub tables_max: u32,
    pub stacks_max: u32,
    /// Slots that keep the image of a component nobody runs at the moment.
    pub unused_warm_slots_max: u32,
    /// What one component may take.
    pub core_instances_per_component_max: u32,
    pub memories_per_component_max: u32,
    pub tables_per_component_max: u32,
    /// The largest linear memory, in bytes; at most `memory_reservation_bytes` in a pool.
    pub memory_bytes_max: u64,
    /// The largest table, in elements.
    pub table_elements_max: u64,
    /// Address space of one linear memory; from 4 GiB on, 32-bit memories need no bounds checks.
    pub memory_reservation_bytes: u64,
    pub memory_guard_bytes: u64,
    /// What stays mapped of a slot that nobody uses.
    pub memory_keep_resident_bytes: u64,
    pub table_keep_resident_bytes: u64,
    pub stack_keep_resident_bytes: u64,
    /// The stack of a guest and of the host functions that it calls, and the guest's part of it.
    pub stack_bytes: u64,
    pub wasm_stack_bytes_max: u64,
    /// Zeroes a stack before the next guest uses it.
    pub stack_zeroing: bool,
    /// Finds the touched pages of a slot by asking the kernel, where it can be asked (Linux 6.7).
    pub pagemap_scan: bool,
    /// False: explicit checks instead of signal handlers, for sanitizers; not for code that nobody trusts.
    pub signals_based_traps: bool,
    /// Threads for file access.
    pub blocking_threads_max: u32,
    /// Threads for compiling.
    pub compile_threads_max: u32,
    /// Keeps what a crashed guest leaves behind until `rusm_instance_core_dump` or the end of the instance.
    pub core_dumps: bool,
    /// Guests of the overflow, each with a stack and a memory; 0: there is no overflow.
    pub overflow_guests_max: u32,
    /// Address space for the overflow's stacks, and for the memories of each size.
    pub overflow_region_bytes_max: u64,
}

/// How much of the pool and of the overflow is in use.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct rusm_pool_usage {
    pub component_instances: u64,
    pub core_instances: u64,
    pub memories: u64,
    pub tables: u64,
    pub stacks: u64,
    /// Slots that keep the image of a component, ready for its next instance.
    pub unused_warm_memories: u64,
    pub overflow_memories: u64,
    pub overflow_stacks: u64,
}

/// What an engine and its overflow have in common.
struct Shared {
    host: HostTable,
    runtime: Runtime,
    refusals: Arc<Refusals>,
    resolver: EngineResolver,
    tls: Arc<Tls>,
    compiler: Compiler,
}

/// Threads: any. Immutable after construction, but for what Wasmtime synchronises itself.
pub struct rusm_engine {
    engine: Engine,
    shared: Arc<Shared>,
    component_linker: OnceLock<Result<wasmtime::component::Linker<Guest>, String>>,
    module_linker: OnceLock<Result<wasmtime::Linker<Guest>, String>>,
    /// Of an overflow.
    slab: Option<Arc<Slab>>,
    overflow: Option<Box<rusm_engine>>,
}

fn internal(text: &str) -> Failure {
    Failure::new(rusm_status::UNSUPPORTED, text)
}

fn does_not_start(error: wasmtime::Error) -> Failure {
    Failure::new(
        rusm_status::SYSTEM,
        format!("the WebAssembly engine does not start: {error:#}"),
    )
}

impl Shared {
    fn new(config: &rusm_engine_config, host: &rusm_host) -> Result<Shared, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(config.blocking_threads_max.max(1) as usize)
            .thread_name("rusm-wasi")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| {
                Failure::new(
                    rusm_status::SYSTEM,
                    format!("cannot start the threads for I/O: {error}"),
                )
            })?;
        Ok(Shared {
            host: HostTable::new(host)?,
            runtime,
            refusals: Arc::default(),
            resolver: EngineResolver::default(),
            tls: Arc::default(),
            compiler: Compiler::new(config.compile_threads_max),
        })
    }
}

impl rusm_engine {
    fn new(config: &rusm_engine_config, host: &rusm_host) -> Result<rusm_engine, Failure> {
        let shared = Arc::new(Shared::new(config, host)?);
        let overflow = if config.overflow_guests_max == 0 {
            None
        } else {
            let slab = slab(config)?;
            let settings = overflow_config(config, &slab)?;
            Some(Box::new(rusm_engine::of(&settings, &shared, Some(slab), None)?))
        };
        rusm_engine::of(&wasmtime_config(config)?, &shared, None, overflow)
    }

    fn of(
        settings: &Config,
        shared: &Arc<Shared>,
        slab: Option<Arc<Slab>>,
        overflow: Option<Box<rusm_engine>>,
    ) -> Result<rusm_engine, Failure> {
        Ok(rusm_engine {
            engine: Engine::new(settings).map_err(does_not_start)?,
            shared: Arc::clone(shared),
            component_linker: OnceLock::new(),
            module_linker: OnceLock::new(),
            slab,
            overflow,
        })
    }

    pub fn wasmtime(&self) -> &Engine {
        &self.engine
    }

    pub fn host(&self) -> &HostTable {
        &self.shared.host
    }

    pub fn refusals(&self) -> &Arc<Refusals> {
        &self.shared.refusals
    }

    pub fn resolver(&self) -> &Arc<Resolver> {
        self.shared.resolver.get()
    }

    pub fn compiler(&self) -> &Compiler {
        &self.shared.compiler
    }

    pub fn tls(&self) -> &Arc<Tls> {
        &self.shared.tls
    }

    /// Memories are copied at the start of an instance instead of being mapped from an image.
    pub fn copies_images(&self) -> bool {
        self.slab.is_some()
    }

    pub fn component_linker(&self) -> Result<&wasmtime::component::Linker<Guest>, Failure> {
        let linker = self.component_linker.get_or_init(|| {
            imports::component_linker(&self.engine)
                .map_err(|error| format!("cannot set up the imports of components: {error:#}"))
        });
        linker.as_ref().map_err(|text| internal(text))
    }

    pub fn module_linker(&self) -> Result<&wasmtime::Linker<Guest>, Failure> {
        let linker = self.module_linker.get_or_init(|| {
            imports::module_linker(&self.engine)
                .map_err(|error| format!("cannot set up the imports of modules: {error:#}"))
        });
        linker.as_ref().map_err(|text| internal(text))
    }

    /// Runs `body` where the WASI implementation finds this engine's I/O runtime.
    pub fn with_runtime<R>(&self, body: impl FnOnce() -> R) -> R {
        if ptr::eq(ENTERED.get(), &*self.shared) {
            return body();
        }
        let _guard = self.shared.runtime.enter();
        body()
    }
}

fn size(value: u64, what: &str) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::new(rusm_status::INVALID_ARGUMENT, format!("{what} is too large")))
}

fn pool(config: &rusm_engine_config) -> Result<PoolingAllocationConfig, Failure> {
    let mut pool = PoolingAllocationConfig::default();
    let scan = config.pagemap_scan && PoolingAllocationConfig::is_pagemap_scan_available();
    pool.total_component_instances(config.component_instances_max)
        .total_core_instances(config.core_instances_max)
        .total_memories(config.memories_max)
        .total_tables(config.tables_max)
        .total_stacks(config.stacks_max)
        .max_unused_warm_slots(config.unused_warm_slots_max)
        .max_core_instances_per_component(config.core_instances_per_component_max)
        .max_memories_per_component(config.memories_per_component_max)
        .max_tables_per_component(config.tables_per_component_max)
        .max_memory_size(size(config.memory_bytes_max, "memory_bytes_max")?)
        .table_elements(size(config.table_elements_max, "table_elements_max")?)
        .linear_memory_keep_resident(size(config.memory_keep_resident_bytes, "memory_keep_resident_bytes")?)
        .table_keep_resident(size(config.table_keep_resident_bytes, "table_keep_resident_bytes")?)
        .async_stack_keep_resident(size(config.stack_keep_resident_bytes, "stack_keep_resident_bytes")?)
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
    Ok(pool)
}

/// What all engines have in common.
fn common_config(config: &rusm_engine_config) -> Result<Config, Failure> {
    let mut out = Config::new();
    out.wasm_component_model(true)
        // Only WASI 0.3 needs it; left on it costs a third of every spawn and 100 ns of every host call.
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_reservation_for_growth(0)
        .async_stack_size(size(config.stack_bytes, "stack_bytes")?)
        .max_wasm_stack(size(config.wasm_stack_bytes_max, "wasm_stack_bytes_max")?)
        .async_stack_zeroing(config.stack_zeroing)
        .signals_based_traps(config.signals_based_traps)
        .coredump_on_trap(config.core_dumps)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    Ok(out)
}

fn wasmtime_config(config: &rusm_engine_config) -> Result<Config, Failure> {
    let mut out = common_config(config)?;
    out.memory_init_cow(true)
        .memory_reservation(config.memory_reservation_bytes)
        .memory_guard_size(config.memory_guard_bytes);
    if config.pooling {
        out.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)?));
    } else {
        out.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Ok(out)
}

/// The settings of the overflow: no address space behind a memory, so every access is checked; see `slab`.
fn overflow_config(config: &rusm_engine_config, slab: &Arc<Slab>) -> Result<Config, Failure> {
    let mut out = common_config(config)?;
    out.memory_init_cow(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .memory_may_move(true)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .with_host_memory(Arc::new(SlabMemories(Arc::clone(slab))))
        .with_host_stack(Arc::new(SlabStacks(Arc::clone(slab))));
    Ok(out)
}

fn slab(config: &rusm_engine_config) -> Result<Arc<Slab>, Failure> {
    Slab::new(SlabSizes {
        stacks_max: config.overflow_guests_max as usize,
        stack_bytes: size(config.stack_bytes, "stack_bytes")?,
        memories_max: config.overflow_guests_max as usize + MEMORIES_ON_THE_MOVE,
        region_bytes_max: size(config.overflow_region_bytes_max, "overflow_region_bytes_max")?,
        memory_bytes_max: size(config.memory_bytes_max, "memory_bytes_max")?,
    })
    .map_err(does_not_start)
}

thread_local! {
    static ENTERED: Cell<*const Shared> = const { Cell::new(ptr::null()) };
    // Never dropped by the thread's end: the runtime's own thread locals may be gone by then.
    static GUARD: RefCell<Option<ManuallyDrop<EnterGuard<'static>>>> = const { RefCell::new(None) };
}

/// Starts an engine. `config` and `host` are copied. Threads: any.
///
/// # Safety
/// `config` and `host` must be valid during the call, the functions in `host` until the engine is freed; `out` must be
/// writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_new(
    config: *const rusm_engine_config,
    host: *const rusm_host,
    out: *mut *mut rusm_engine,
    error: *mut rusm_buffer,
) -> rusm_status {
    // SAFETY: by contract.
    unsafe {
        call(error, || {
            if out.is_null() {
                return Err(Failure::null("out"));
            }
            let config = config.as_ref().ok_or_else(|| Failure::null("config"))?;
            let host = host.as_ref().ok_or_else(|| Failure::null("host"))?;
            out.write(Box::into_raw(Box::new(rusm_engine::new(config, host)?)));
            Ok(())
        })
    }
}

/// Threads: any, but none that is inside `rusm_thread_enter` of this engine. All components, programs and instances of
/// the engine must have been freed before. Waits for file accesses that are under way. Null is allowed.
///
/// # Safety
/// `engine` must be null or come from `rusm_engine_new`, freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_free(engine: *mut rusm_engine) {
    if !engine.is_null() {
        // SAFETY: by contract.
        drop(unsafe { Box::from_raw(engine) });
    }
}

/// The engine's overflow, on which components can be compiled and loaded as on the engine itself; null if it has none.
/// Freed with the engine; everything else that is asked of the engine holds for both. Threads: any.
///
/// # Safety
/// `engine` must be a live engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_overflow(engine: *const rusm_engine) -> *const rusm_engine {
    // SAFETY: by contract.
    let overflow = unsafe { &*engine }.overflow.as_deref();
    overflow.map_or(ptr::null(), ptr::from_ref)
}

/// Whether the pages that guard the stacks of an overflow take no mappings of their own (Linux 6.13); else each takes two.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn rusm_guards_are_free() -> bool {
    crate::os::has_guard_install()
}

/// Ends the current tick: each guest that runs calls `tick` at its next check. Threads: any; async-signal-safe.
///
/// # Safety
/// `engine` must be a live engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_increment_epoch(engine: *const rusm_engine) {
    // SAFETY: by contract.
    let engine = unsafe { &*engine };
    engine.engine.increment_epoch();
    if let Some(overflow) = &engine.overflow {
        overflow.engine.increment_epoch();
    }
}

/// Fills in 32 bytes that differ between engines that cannot share artifacts: version, target, CPU features, settings.
/// Not a cryptographic hash. Threads: any.
///
/// # Safety
/// `engine` must be a live engine and `out` writable for 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_compat_hash(engine: *const rusm_engine, out: *mut u8) {
    // SAFETY: by contract.
    let engine = unsafe { &*engine };
    for part in 0..4u64 {
        let mut hasher = DefaultHasher::new();
        (part, crate::artifact::FORMAT).hash(&mut hasher);
        engine.engine.precompile_compatibility_hash().hash(&mut hasher);
        let bytes = hasher.finish().to_le_bytes();
        // SAFETY: by contract; 4 parts of 8 bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), out.add(part as usize * bytes.len()), bytes.len()) };
    }
}

/// All zero without a pool. Threads: any.
///
/// # Safety
/// `engine` must be a live engine and `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_pool_usage(engine: *const rusm_engine, out: *mut rusm_pool_usage) {
    // SAFETY: by contract.
    let engine = unsafe { &*engine };
    let metrics = engine.engine.pooling_allocator_metrics();
    let mut usage = metrics.map_or_else(rusm_pool_usage::default, |metrics| rusm_pool_usage {
        component_instances: metrics.component_instances(),
        core_instances: metrics.core_instances(),
        memories: metrics.memories() as u64,
        tables: metrics.tables() as u64,
        stacks: metrics.stacks() as u64,
        unused_warm_memories: u64::from(metrics.unused_warm_memories()),
        ..rusm_pool_usage::default()
    });
    if let Some(slab) = engine.overflow.as_ref().and_then(|overflow| overflow.slab.as_ref()) {
        usage.overflow_memories = slab.memories_used() as u64;
        usage.overflow_stacks = slab.stacks_used() as u64;
    }
    // SAFETY: by contract.
    unsafe { out.write(usage) };
}

/// What guests were refused so far. Threads: any.
///
/// # Safety
/// `engine` must be a live engine and `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_engine_refusals(engine: *const rusm_engine, out: *mut rusm_refusals) {
    // SAFETY: by contract.
    unsafe { out.write((&*engine).refusals().get()) };
}

/// Prepares the calling thread for driving many instances of `engine`: the rest of its life each resume and drop is
/// cheaper. Undo with `rusm_thread_leave` before the thread ends. A thread that does without works, too.
///
/// # Safety
/// `engine` must live until `rusm_thread_leave`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_thread_enter(engine: *const rusm_engine) {
    rusm_thread_leave();
    Engine::tls_eager_initialize();
    // SAFETY: by contract.
    let engine = unsafe { &*engine };
    GUARD.set(Some(ManuallyDrop::new(engine.shared.runtime.enter())));
    ENTERED.set(&raw const *engine.shared);
}

/// Undoes `rusm_thread_enter` on the calling thread; nothing happens if there is nothing to undo.
#[unsafe(no_mangle)]
pub extern "C" fn rusm_thread_leave() {
    ENTERED.set(ptr::null());
    if let Some(guard) = GUARD.take() {
        drop(ManuallyDrop::into_inner(guard));
    }
}
