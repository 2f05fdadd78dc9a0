//! What a guest may do and use: made once, shared by all instances that are given it. The default is nothing.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, call, rusm_buffer, rusm_bytes, rusm_status};
use crate::host::Host;
use crate::network::{GuestNetwork, Network, Refusals, rusm_network_policy};
use crate::resolver::{Asker, Resolver};
use crate::stdio::LogStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

/// Where a guest's standard streams go.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_stdio {
    /// Input is empty, output vanishes.
    NONE = 0,
    /// Input is empty, output goes to `rusm_host.write_log`.
    LOG = 1,
    /// The streams of this operating system process.
    INHERIT = 2,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_env {
    pub name: rusm_bytes,
    pub value: rusm_bytes,
}

/// A folder that the guest sees. It is opened when an instance starts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_preopen {
    pub host_path: rusm_bytes,
    pub guest_path: rusm_bytes,
    pub read_only: bool,
}

/// Limits and rights. Zero means zero: there are no hidden defaults.
#[repr(C)]
pub struct rusm_grants_config {
    /// Sum over all linear memories of the instance, in bytes.
    pub memory_bytes_max: u64,
    /// Sum over all tables of the instance, in elements.
    pub table_elements_max: u64,
    /// Bytes that one host call may copy out of the guest.
    pub hostcall_bytes_max: u64,
    /// Host resources (streams, files, fields, ...) that the instance may hold.
    pub resources_max: u32,
    /// Bytes of one set of HTTP fields, bookkeeping included.
    pub http_fields_bytes_max: u32,
    /// Bytes of one call for random bytes.
    pub random_bytes_max: u64,
    /// A value of rusm_stdio.
    pub stdio: u32,
    /// What the guest may reach and where it may listen; it may do what all of these allow, and nothing without one.
    pub network: *const rusm_network_policy,
    pub network_count: usize,
    /// Outgoing HTTP requests under way at once, over all instances with these grants.
    pub http_requests_max: u32,
    /// The longest that an outgoing HTTP request may wait for each of: its connection, the head of the response, the
    /// next piece of its body. A guest may choose less.
    pub http_timeout_ms_max: u64,
    pub args: *const rusm_bytes,
    pub arg_count: usize,
    pub env: *const rusm_env,
    pub env_count: usize,
    pub preopens: *const rusm_preopen,
    pub preopen_count: usize,
}

struct Preopen {
    host_path: PathBuf,
    guest_path: String,
    read_only: bool,
}

/// Immutable after construction; any thread.
pub struct rusm_grants {
    pub(crate) memory_bytes_max: u64,
    pub(crate) table_elements_max: u64,
    pub(crate) hostcall_bytes_max: usize,
    pub(crate) resources_max: usize,
    pub(crate) http_fields_bytes_max: usize,
    random_bytes_max: u64,
    stdio: rusm_stdio,
    pub(crate) network: Arc<Network>,
    pub(crate) lookups: Arc<Asker>,
    pub(crate) http_requests_max: u32,
    pub(crate) http_requests: Arc<AtomicU32>,
    pub(crate) http_timeout_max: Duration,
    args: Vec<String>,
    env: Vec<(String, String)>,
    preopens: Vec<Preopen>,
}

impl rusm_grants {
    /// Builds the context behind the WASI interfaces. Fails when a folder cannot be opened.
    pub(crate) fn wasi(&self, host: Host, network: &GuestNetwork) -> wasmtime::Result<WasiCtxBuilder> {
        let mut builder = WasiCtx::builder();
        builder
            .args(&self.args)
            .envs(&self.env)
            .max_random_size(self.random_bytes_max);
        match self.stdio {
            rusm_stdio::NONE => {}
            rusm_stdio::LOG => {
                builder.stdout(LogStream::new(host, 1)).stderr(LogStream::new(host, 2));
            }
            rusm_stdio::INHERIT => {
                builder.inherit_stdio();
            }
        }
        // Names are asked for before the look-up that is allowed here: see lookup.rs.
        let any = self.network.is_some();
        builder.allow_tcp(any).allow_udp(any).allow_ip_name_lookup(any);
        if any {
            let network = network.clone();
            builder.socket_addr_check(move |address, what| {
                let allowed = network.allows(address, what);
                Box::pin(async move { allowed })
            });
        }
        for preopen in &self.preopens {
            let permissions = if preopen.read_only {
                FsPerms::ReadOnly
            } else {
                FsPerms::ReadWrite
            };
            builder
                .preopened_dir(&preopen.host_path, &preopen.guest_path, permissions)
                .map_err(|error| {
                    error.context(format!(
                        "cannot open the folder {} for the guest",
                        preopen.host_path.display()
                    ))
                })?;
        }
        Ok(builder)
    }

    /// The network as one more guest sees it.
    pub(crate) fn guest_network(&self, refusals: &Arc<Refusals>, resolver: &Arc<Resolver>) -> GuestNetwork {
        GuestNetwork {
            network: Arc::clone(&self.network),
            names: Arc::default(),
            refusals: Arc::clone(refusals),
            resolver: Arc::clone(resolver),
            lookups: Arc::clone(&self.lookups),
        }
    }

    /// Whether making the WASI context can fail, so that it is better made before the guest runs.
    pub(crate) fn wasi_can_fail(&self) -> bool {
        !self.preopens.is_empty()
    }
}

/// # Safety
/// `items` must be null or valid for `count` items during the call.
pub(crate) unsafe fn items<'a, T>(items: *const T, count: usize) -> &'a [T] {
    if items.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(items, count) }
}

/// # Safety
/// All pointers in `config` must be valid during the call.
unsafe fn build(config: &rusm_grants_config) -> Result<rusm_grants, Failure> {
    let too_large = |what: &str| Failure::new(rusm_status::INVALID_ARGUMENT, format!("{what} is too large"));
    let stdio = match config.stdio {
        0 => rusm_stdio::NONE,
        1 => rusm_stdio::LOG,
        2 => rusm_stdio::INHERIT,
        other => {
            return Err(Failure::new(
                rusm_status::INVALID_ARGUMENT,
                format!("{other} is no way of standard streams"),
            ));
        }
    };
    let (mut args, mut env, mut preopens) = (Vec::new(), Vec::new(), Vec::new());
    // SAFETY: by contract; the same for the texts below.
    for arg in unsafe { items(config.args, config.arg_count) } {
        args.push(unsafe { arg.to_text("an argument") }?);
    }
    for pair in unsafe { items(config.env, config.env_count) } {
        let name = unsafe { pair.name.to_text("the name of an environment variable") }?;
        env.push((name, unsafe {
            pair.value.to_text("the value of an environment variable")
        }?));
    }
    for preopen in unsafe { items(config.preopens, config.preopen_count) } {
        preopens.push(Preopen {
            host_path: unsafe { preopen.host_path.to_text("the path of a folder") }?.into(),
            guest_path: unsafe { preopen.guest_path.to_text("the guest's path of a folder") }?,
            read_only: preopen.read_only,
        });
    }
    Ok(rusm_grants {
        memory_bytes_max: config.memory_bytes_max,
        table_elements_max: config.table_elements_max,
        hostcall_bytes_max: config
            .hostcall_bytes_max
            .try_into()
            .map_err(|_| too_large("hostcall_bytes_max"))?,
        resources_max: config
            .resources_max
            .try_into()
            .map_err(|_| too_large("resources_max"))?,
        http_fields_bytes_max: config
            .http_fields_bytes_max
            .try_into()
            .map_err(|_| too_large("http_fields_bytes_max"))?,
        random_bytes_max: config.random_bytes_max,
        stdio,
        // SAFETY: by contract.
        network: Arc::new(unsafe { Network::new(items(config.network, config.network_count)) }?),
        lookups: Arc::default(),
        http_requests_max: config.http_requests_max,
        http_requests: Arc::default(),
        http_timeout_max: Duration::from_millis(config.http_timeout_ms_max),
        args,
        env,
        preopens,
    })
}

/// Copies `config`. Threads: any.
///
/// # Safety
/// `config` and everything it points to must be valid during the call; `out` writable, `error` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_grants_new(
    config: *const rusm_grants_config,
    out: *mut *mut rusm_grants,
    error: *mut rusm_buffer,
) -> rusm_status {
    // SAFETY: by contract.
    unsafe {
        call(error, || {
            if out.is_null() {
                return Err(Failure::null("out"));
            }
            let config = config.as_ref().ok_or_else(|| Failure::null("config"))?;
            out.write(Box::into_raw(Box::new(build(config)?)));
            Ok(())
        })
    }
}

/// Threads: any. Every instance that was made with these grants must have been dropped. Null is allowed.
///
/// # Safety
/// `grants` must be null or come from `rusm_grants_new`, freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_grants_free(grants: *mut rusm_grants) {
    if !grants.is_null() {
        // SAFETY: by contract.
        drop(unsafe { Box::from_raw(grants) });
    }
}
