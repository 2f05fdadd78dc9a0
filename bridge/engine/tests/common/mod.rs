//! A small embedder over the C ABI, for tests and benchmarks.
#![allow(dead_code)]

pub mod actors;

use rusm_bridge::abi::*;
use rusm_bridge::artifact::*;
use rusm_bridge::compile::*;
use rusm_bridge::engine::*;
use rusm_bridge::exit::*;
use rusm_bridge::grants::*;
use rusm_bridge::host::*;
use rusm_bridge::instance::*;
use rusm_bridge::program::*;
use rusm_bridge::wake::*;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request, what became of its response, and the switches of the test.
#[derive(Default)]
pub struct World {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// What `http_read` gives, one piece a call; an empty piece would block once.
    pub request_body: VecDeque<Vec<u8>>,
    pub request_broken: bool,
    /// How much `http_write` takes until it is given more room.
    pub room: usize,
    pub client_gone: bool,
    pub status: Option<u16>,
    pub response_headers: Vec<(String, String)>,
    pub response_body: Vec<u8>,
    pub response_error: Option<String>,
    pub trailers: Vec<(String, String)>,
    pub finished: Option<bool>,
    pub log: Vec<(u32, String)>,
    /// What `tick` answers, in order; the last one stays.
    pub ticks: VecDeque<rusm_tick>,
    pub tick_count: u64,
    pub wakes: AtomicU64,
    /// Messages that the guest will receive, the one that it received last, those that it sent, and how often it asked.
    pub inbox: VecDeque<Vec<u8>>,
    pub current: Vec<u8>,
    pub sent: Vec<(u64, Vec<u8>)>,
    pub receives: u64,
    head: Vec<rusm_http_header>,
}

impl World {
    pub fn new() -> Box<World> {
        Box::new(World {
            method: "GET".into(),
            target: "/".into(),
            room: usize::MAX,
            ..World::default()
        })
    }
}

fn world<'a>(context: *mut c_void) -> &'a mut World {
    // SAFETY: every instance of these tests has a `World` as its context.
    unsafe { &mut *context.cast::<World>() }
}

unsafe extern "C" fn tick(context: *mut c_void) -> u32 {
    let world = world(context);
    world.tick_count += 1;
    if world.ticks.len() > 1 {
        return world.ticks.pop_front().unwrap() as u32;
    }
    match world.ticks.front() {
        None | Some(rusm_tick::CONTINUE) => 0,
        Some(rusm_tick::YIELD) => 1,
        Some(rusm_tick::STOP) => 2,
    }
}

unsafe extern "C" fn write_log(context: *mut c_void, stream: u32, data: *const u8, len: usize) {
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    world(context)
        .log
        .push((stream, String::from_utf8_lossy(data).into_owned()));
}

unsafe extern "C" fn http_head(context: *mut c_void, head: *mut rusm_http_head) -> bool {
    let world = world(context);
    if world.method.is_empty() {
        return false;
    }
    world.head = world
        .headers
        .iter()
        .map(|(name, value)| rusm_http_header {
            name: rusm_bytes::of(name.as_bytes()),
            value: rusm_bytes::of(value.as_bytes()),
        })
        .collect();
    let head = unsafe { &mut *head };
    head.method = rusm_bytes::of(world.method.as_bytes());
    head.scheme = rusm_bytes::of(b"http");
    head.authority = rusm_bytes::of(b"example.test:8080");
    head.path_with_query = rusm_bytes::of(world.target.as_bytes());
    head.headers = world.head.as_ptr();
    head.header_count = world.head.len();
    true
}

unsafe extern "C" fn http_read(context: *mut c_void, data: *mut u8, capacity: usize, count: *mut usize) -> u32 {
    let world = world(context);
    if world.request_broken {
        return rusm_io::BROKEN as u32;
    }
    let Some(mut piece) = world.request_body.pop_front() else {
        return rusm_io::END as u32;
    };
    if piece.is_empty() {
        return rusm_io::WOULD_BLOCK as u32;
    }
    if piece.len() > capacity {
        world.request_body.push_front(piece.split_off(capacity));
    }
    unsafe {
        ptr::copy_nonoverlapping(piece.as_ptr(), data, piece.len());
        *count = piece.len();
    }
    rusm_io::OK as u32
}

unsafe extern "C" fn http_respond(
    context: *mut c_void,
    status: u16,
    headers: *const rusm_http_header,
    n: usize,
) -> u32 {
    let world = world(context);
    assert!(
        world.status.is_none() && world.response_error.is_none(),
        "one answer only"
    );
    world.status = Some(status);
    if n > 0 {
        for header in unsafe { std::slice::from_raw_parts(headers, n) } {
            let text = |bytes: rusm_bytes| String::from_utf8_lossy(unsafe { bytes.as_slice() }).into_owned();
            world.response_headers.push((text(header.name), text(header.value)));
        }
    }
    if world.client_gone {
        rusm_io::BROKEN as u32
    } else {
        rusm_io::OK as u32
    }
}

unsafe extern "C" fn http_respond_error(context: *mut c_void, text: rusm_bytes) {
    let world = world(context);
    assert!(
        world.status.is_none() && world.response_error.is_none(),
        "one answer only"
    );
    world.response_error = Some(String::from_utf8_lossy(unsafe { text.as_slice() }).into_owned());
}

unsafe extern "C" fn http_write(context: *mut c_void, data: *const u8, len: usize, count: *mut usize) -> u32 {
    let world = world(context);
    assert!(len > 0 && world.finished.is_none());
    if world.client_gone {
        return rusm_io::BROKEN as u32;
    }
    let n = len.min(world.room);
    if n == 0 {
        return rusm_io::WOULD_BLOCK as u32;
    }
    world.room -= n;
    world
        .response_body
        .extend_from_slice(unsafe { std::slice::from_raw_parts(data, n) });
    unsafe { *count = n };
    rusm_io::OK as u32
}

unsafe extern "C" fn http_trailers(context: *mut c_void, trailers: *const rusm_http_header, count: usize) {
    let world = world(context);
    assert!(world.finished.is_none() && world.trailers.is_empty());
    for trailer in unsafe { std::slice::from_raw_parts(trailers, count) } {
        let text = |bytes: rusm_bytes| String::from_utf8_lossy(unsafe { bytes.as_slice() }).into_owned();
        world.trailers.push((text(trailer.name), text(trailer.value)));
    }
}

unsafe extern "C" fn http_finish(context: *mut c_void, complete: bool) {
    let world = world(context);
    assert!(world.finished.is_none(), "one end only");
    world.finished = Some(complete);
}

unsafe extern "C" fn wake(context: *mut c_void, id: u64) {
    let wakes = unsafe { &*context.cast::<AtomicU64>() };
    wakes.fetch_add(id, Ordering::Release);
}

pub fn host() -> rusm_host {
    rusm_host {
        tick: Some(tick),
        write_log: Some(write_log),
        http_head: Some(http_head),
        http_read: Some(http_read),
        http_respond: Some(http_respond),
        http_respond_error: Some(http_respond_error),
        http_write: Some(http_write),
        http_trailers: Some(http_trailers),
        http_finish: Some(http_finish),
        actor: actors::actor_host(),
    }
}

pub fn small_config() -> rusm_engine_config {
    rusm_engine_config {
        pooling: true,
        component_instances_max: 100,
        core_instances_max: 300,
        memories_max: 100,
        tables_max: 200,
        stacks_max: 100,
        unused_warm_slots_max: 50,
        core_instances_per_component_max: 16,
        memories_per_component_max: 4,
        tables_per_component_max: 8,
        memory_bytes_max: 64 << 20,
        table_elements_max: 20_000,
        memory_reservation_bytes: 64 << 20,
        memory_guard_bytes: 64 << 10,
        memory_keep_resident_bytes: 64 << 10,
        table_keep_resident_bytes: 64 << 10,
        stack_keep_resident_bytes: 64 << 10,
        stack_bytes: 1 << 20,
        wasm_stack_bytes_max: 512 << 10,
        stack_zeroing: false,
        pagemap_scan: true,
        signals_based_traps: true,
        blocking_threads_max: 2,
        compile_threads_max: 2,
        core_dumps: false,
        overflow_guests_max: 0,
        overflow_region_bytes_max: 0,
    }
}

pub fn grants_config() -> rusm_grants_config {
    rusm_grants_config {
        memory_bytes_max: 16 << 20,
        table_elements_max: 10_000,
        hostcall_bytes_max: 16 << 20,
        resources_max: 1_000,
        http_fields_bytes_max: 64 << 10,
        random_bytes_max: 64 << 10,
        stdio: rusm_stdio::LOG as u32,
        network: ptr::null(),
        network_count: 0,
        http_requests_max: 4,
        http_timeout_ms_max: 5_000,
        args: ptr::null(),
        arg_count: 0,
        env: ptr::null(),
        env_count: 0,
        preopens: ptr::null(),
        preopen_count: 0,
    }
}

pub fn compile_limits() -> rusm_compile_limits {
    rusm_compile_limits {
        wasm_bytes_max: 64 << 20,
        functions_max: 100_000,
        function_bytes_max: 4 << 20,
        time_ms_max: 120_000,
    }
}

pub fn take_text(buffer: &mut rusm_buffer) -> String {
    let text = if buffer.ptr.is_null() {
        String::new()
    } else {
        String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(buffer.ptr, buffer.len) }).into_owned()
    };
    unsafe { rusm_buffer_free(buffer) };
    text
}

#[derive(Debug)]
pub struct Refused {
    pub status: rusm_status,
    pub text: String,
}

pub fn check<T>(call: impl FnOnce(*mut *mut T, *mut rusm_buffer) -> rusm_status) -> Result<*mut T, Refused> {
    let (mut out, mut error) = (ptr::null_mut(), rusm_buffer::EMPTY);
    match call(&mut out, &mut error) {
        rusm_status::OK => Ok(out),
        status => Err(Refused {
            status,
            text: take_text(&mut error),
        }),
    }
}

pub struct Engine(pub *mut rusm_engine);
// SAFETY: an engine may be used from any thread.
unsafe impl Send for Engine {}
unsafe impl Sync for Engine {}

impl Engine {
    pub fn new(config: &rusm_engine_config) -> Engine {
        Engine(check(|out, error| unsafe { rusm_engine_new(config, &host(), out, error) }).unwrap())
    }

    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
        self.compile_within(wasm, compile_limits())
    }

    pub fn compile_within(&self, wasm: &[u8], limits: rusm_compile_limits) -> Result<Vec<u8>, Refused> {
        let (mut artifact, mut error) = (rusm_buffer::EMPTY, rusm_buffer::EMPTY);
        match unsafe { rusm_compile(self.0, rusm_bytes::of(wasm), &limits, &mut artifact, &mut error) } {
            rusm_status::OK => {
                let bytes = unsafe { std::slice::from_raw_parts(artifact.ptr, artifact.len) }.to_vec();
                unsafe { rusm_buffer_free(&mut artifact) };
                Ok(bytes)
            }
            status => Err(Refused {
                status,
                text: take_text(&mut error),
            }),
        }
    }

    pub fn load(&self, artifact: &[u8]) -> Result<*mut rusm_component, Refused> {
        check(|out, error| unsafe { rusm_component_load(self.0, rusm_bytes::of(artifact), out, error) })
    }

    pub fn describe(&self, wasm: &[u8]) -> rusm_component_info {
        let component = self.load(&self.compile(wasm).unwrap()).unwrap();
        let mut info = rusm_component_info::default();
        unsafe {
            rusm_component_describe(component, &mut info);
            rusm_component_free(component);
        }
        info
    }

    pub fn program(&self, wasm: impl AsRef<[u8]>, entry: rusm_entry, name: &str) -> Result<Program, Refused> {
        let component = self.load(&self.compile(wasm.as_ref())?)?;
        let name = rusm_bytes::of(name.as_bytes());
        let program = check(|out, error| unsafe { rusm_program_new(component, entry as u32, name, out, error) });
        unsafe { rusm_component_free(component) };
        program.map(Program)
    }

    pub fn pool(&self) -> rusm_pool_usage {
        let mut usage = rusm_pool_usage::default();
        unsafe { rusm_engine_pool_usage(self.0, &mut usage) };
        usage
    }

    pub fn tick(&self) {
        unsafe { rusm_engine_increment_epoch(self.0) };
    }
}

impl Engine {
    /// The whole value is what threads may share, not its pointer.
    pub fn raw(&self) -> *mut rusm_engine {
        self.0
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        unsafe { rusm_engine_free(self.0) };
    }
}

pub struct Program(pub *mut rusm_program);
// SAFETY: a program may be used from any thread.
unsafe impl Send for Program {}
unsafe impl Sync for Program {}

impl Program {
    /// The whole value is what threads may share, not its pointer.
    pub fn raw(&self) -> *mut rusm_program {
        self.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        unsafe { rusm_program_free(self.0) };
    }
}

pub struct Grants(pub *mut rusm_grants);
// SAFETY: grants may be used from any thread.
unsafe impl Send for Grants {}
unsafe impl Sync for Grants {}

impl Grants {
    pub fn new(config: &rusm_grants_config) -> Grants {
        Grants(check(|out, error| unsafe { rusm_grants_new(config, out, error) }).unwrap())
    }
}

impl Grants {
    /// The whole value is what threads may share, not its pointer.
    pub fn raw(&self) -> *mut rusm_grants {
        self.0
    }
}

impl Drop for Grants {
    fn drop(&mut self) {
        unsafe { rusm_grants_free(self.0) };
    }
}

pub struct Exit {
    pub kind: rusm_exit_kind,
    pub code: i32,
    pub memory_bytes_peak: u64,
    pub text: String,
    pub backtrace: String,
}

/// One instance. Drop it before its program, grants and world.
pub struct Instance<'a> {
    pub raw: *mut rusm_instance,
    world: *mut World,
    _lives: std::marker::PhantomData<(&'a Program, &'a Grants)>,
}
// SAFETY: an instance may be driven by any thread, one at a time.
unsafe impl Send for Instance<'_> {}

impl<'a> Instance<'a> {
    pub fn new(program: &'a Program, grants: &'a Grants, world: &mut World) -> Instance<'a> {
        let world: *mut World = world;
        let raw = unsafe { rusm_instance_new(program.0, grants.0, world.cast()) };
        assert!(!raw.is_null());
        Instance {
            raw,
            world,
            _lives: std::marker::PhantomData,
        }
    }

    pub fn resume(&mut self) -> rusm_step {
        let context = unsafe { &raw mut (*self.world).wakes }.cast();
        let waker = rusm_waker {
            wake: Some(wake),
            context,
            id: 1,
        };
        unsafe { rusm_instance_resume(self.raw, &waker) }
    }

    pub fn exit(&mut self) -> Exit {
        let mut exit = std::mem::MaybeUninit::uninit();
        assert!(unsafe { rusm_instance_exit(self.raw, exit.as_mut_ptr()) });
        let mut exit = unsafe { exit.assume_init() };
        Exit {
            kind: exit.kind,
            code: exit.code,
            memory_bytes_peak: exit.memory_bytes_peak,
            text: take_text(&mut exit.text),
            backtrace: take_text(&mut exit.backtrace),
        }
    }

    /// Resumes until the end, waiting for the waker in between. A callback that would block is asked again.
    pub fn run(&mut self) -> Exit {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let seen = unsafe { &(*self.world).wakes }.load(Ordering::Acquire);
            match self.resume() {
                rusm_step::DONE => return self.exit(),
                rusm_step::BUDGET => {}
                rusm_step::WAITING => {
                    let wakes = unsafe { &(*self.world).wakes };
                    let patience = std::time::Instant::now() + std::time::Duration::from_millis(1);
                    while wakes.load(Ordering::Acquire) == seen && std::time::Instant::now() < patience {
                        std::thread::yield_now();
                    }
                }
            }
            assert!(std::time::Instant::now() < deadline, "the guest does not end");
        }
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        unsafe { rusm_instance_drop(self.raw) };
    }
}
