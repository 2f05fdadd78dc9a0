//! The data of one guest's store: its limits, what the host keeps for it, and how WASI finds it.

use crate::engine::rusm_engine;
use crate::grants::rusm_grants;
use crate::host::{Host, rusm_tick};
use crate::lookup::LookupView;
use crate::network::GuestNetwork;
use crate::outgoing::{Client, Sent};
use crate::wake::YieldSlice;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Memory, ResourceLimiter, Result, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::sockets::WasiSocketsView;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, WasiHttpHooks, WasiHttpView};
use wasmtime_wasi_http::{ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView};

/// Bytes that a guest may write to a body before the embedder took them.
const BODY_CHUNK_BYTES: usize = 64 * 1024;

/// Memory and table limits over the whole instance. Growing past one is refused and remembered.
pub struct Limits {
    memory_bytes: u64,
    memory_bytes_max: u64,
    table_elements: u64,
    table_elements_max: u64,
    memory_refused: bool,
    table_refused: bool,
}

impl Limits {
    pub fn memory_refused(&self) -> bool {
        self.memory_refused
    }

    pub fn table_refused(&self) -> bool {
        self.table_refused
    }

    /// Memories only grow, so the sum is its own peak.
    pub fn memory_bytes_peak(&self) -> u64 {
        self.memory_bytes
    }
}

fn grow(sum: &mut u64, sum_max: u64, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    let grown = sum.saturating_add((desired as u64).saturating_sub(current as u64));
    if grown > sum_max || maximum.is_some_and(|maximum| desired > maximum) {
        return false;
    }
    *sum = grown;
    true
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let granted = grow(&mut self.memory_bytes, self.memory_bytes_max, current, desired, maximum);
        self.memory_refused |= !granted;
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let granted = grow(
            &mut self.table_elements,
            self.table_elements_max,
            current,
            desired,
            maximum,
        );
        self.table_refused |= !granted;
        Ok(granted)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.table_refused = true;
        Ok(())
    }
}

/// Sends outgoing requests where the grants allow it and keeps bodies in small pieces.
struct HttpHooks {
    engine: &'static rusm_engine,
    grants: &'static rusm_grants,
}

impl WasiHttpHooks for HttpHooks {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        std::sync::Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        if !self.grants.network.is_some() {
            self.engine.refusals().count_address();
            return Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) });
        }
        let client = Client {
            network: Arc::clone(&self.grants.network),
            refusals: Arc::clone(self.engine.refusals()),
            resolver: Arc::clone(self.engine.resolver()),
            lookups: Arc::clone(&self.grants.lookups),
            tls: Arc::clone(self.engine.tls()),
            requests: Arc::clone(&self.grants.http_requests),
            requests_max: self.grants.http_requests_max,
            timeout_max: self.grants.http_timeout_max,
        };
        Box::new(client.send(request, options))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}

/// What the store of one guest holds.
pub struct Guest {
    pub host: Host,
    grants: &'static rusm_grants,
    pub limits: Limits,
    /// `tick` said STOP.
    pub stopped: bool,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: HttpHooks,
    /// Made when the guest first asks for anything of WASI.
    network: Option<Box<GuestNetwork>>,
    wasi: Option<Box<WasiCtx>>,
    p1: Option<Box<WasiP1Ctx>>,
    /// Of a core module that calls the module `rusm`.
    pub memory: Option<Memory>,
    /// Why its last call was refused.
    pub last_error: String,
}

impl Guest {
    pub fn new(engine: &'static rusm_engine, host: Host, grants: &'static rusm_grants) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(grants.resources_max);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(grants.http_fields_bytes_max);
        Guest {
            host,
            grants,
            limits: Limits {
                memory_bytes: 0,
                memory_bytes_max: grants.memory_bytes_max,
                table_elements: 0,
                table_elements_max: grants.table_elements_max,
                memory_refused: false,
                table_refused: false,
            },
            stopped: false,
            table,
            http,
            hooks: HttpHooks { engine, grants },
            network: None,
            wasi: None,
            p1: None,
            memory: None,
            last_error: String::new(),
        }
    }

    /// Makes the store: limits, slices and all.
    pub fn into_store(self, engine: &Engine) -> Store<Guest> {
        let hostcall_bytes_max = self.grants.hostcall_bytes_max;
        let resources_max = self.grants.resources_max;
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(end_of_tick);
        store.set_hostcall_fuel(hostcall_bytes_max);
        store.set_max_component_handles(resources_max);
        store
    }

    /// Opens what the grants name before the guest runs, so that a failure can be told.
    pub fn prepare(&mut self) -> Result<()> {
        if self.grants.wasi_can_fail() && self.wasi.is_none() {
            self.wasi = Some(Box::new(self.wasi_builder()?.build()));
        }
        Ok(())
    }

    /// As `prepare`, for a module of WASI preview 1.
    pub fn prepare_p1(&mut self) -> Result<()> {
        if self.p1.is_none() {
            self.p1 = Some(Box::new(self.wasi_builder()?.build_p1()));
        }
        Ok(())
    }

    fn network(&mut self) -> &GuestNetwork {
        let (grants, engine) = (self.grants, self.hooks.engine);
        self.network
            .get_or_insert_with(|| Box::new(grants.guest_network(engine.refusals(), engine.resolver())))
    }

    fn wasi_builder(&mut self) -> Result<WasiCtxBuilder> {
        let (grants, host) = (self.grants, self.host);
        grants.wasi(host, self.network())
    }

    /// Look-ups of names.
    pub fn lookup(&mut self) -> LookupView<'_> {
        let network = self.network().clone();
        LookupView {
            inner: self.sockets(),
            network,
        }
    }

    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The context of WASI preview 1.
    pub fn p1(&mut self) -> &mut WasiP1Ctx {
        self.p1.get_or_insert_with(|| Box::new(WasiCtx::builder().build_p1()))
    }
}

/// Called at the end of each tick in which the guest ran.
fn end_of_tick(mut store: StoreContextMut<'_, Guest>) -> Result<UpdateDeadline> {
    const CONTINUE: u32 = rusm_tick::CONTINUE as u32;
    const YIELD: u32 = rusm_tick::YIELD as u32;
    let guest = store.data_mut();
    Ok(match guest.host.tick() {
        CONTINUE => UpdateDeadline::Continue(1),
        YIELD => UpdateDeadline::YieldCustom(1, Box::pin(YieldSlice::default())),
        _ => {
            guest.stopped = true;
            UpdateDeadline::Interrupt
        }
    })
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if self.wasi.is_none() {
            // Grants that can fail were built by `prepare`; what is left cannot, and an empty context grants nothing.
            let made = self
                .wasi_builder()
                .map(|mut builder| builder.build())
                .unwrap_or_default();
            self.wasi = Some(Box::new(made));
        }
        let ctx = self.wasi.get_or_insert_default();
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
