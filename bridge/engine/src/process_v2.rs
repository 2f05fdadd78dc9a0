//! The interface `process` of `rusm:runtime@0.2.0`: starting processes, and what a guest is told of itself.

use crate::abi::rusm_bytes;
use crate::actor::{Cx, actor, told};
use crate::actor_host::{Actor, Answer};
use crate::actor_v2::{Pid, local, text_bytes};
use crate::event_host::*;
use crate::guest::Guest;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, WasmStr};

fn optional(text: &Option<String>) -> rusm_bytes {
    text_bytes(text.as_deref().unwrap_or_default())
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct SpawnOptions {
    link: bool,
    monitor: bool,
    label: Option<String>,
    name: Option<String>,
    argument: Vec<u8>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Spawned {
    process: Pid,
    monitor: Option<u64>,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // guests make them
enum Strategy {
    #[component(name = "one-for-one")]
    OneForOne,
    #[component(name = "one-for-all")]
    OneForAll,
    #[component(name = "rest-for-one")]
    RestForOne,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // guests make them
enum Restart {
    #[component(name = "permanent")]
    Permanent,
    #[component(name = "transient")]
    Transient,
    #[component(name = "temporary")]
    Temporary,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Shutdown {
    #[component(name = "kill")]
    Kill,
    #[component(name = "ms")]
    Ms(u64),
    #[component(name = "infinity")]
    Infinity,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Child {
    id: String,
    component: String,
    restart: Restart,
    shutdown: Shutdown,
    name: Option<String>,
    argument: Vec<u8>,
}

impl Child {
    fn raw(&self) -> rusm_child {
        rusm_child {
            id: text_bytes(&self.id),
            component: text_bytes(&self.component),
            restart: self.restart as u32,
            shutdown_ms: match self.shutdown {
                Shutdown::Kill => 0,
                Shutdown::Ms(ms) => ms.min(RUSM_SHUTDOWN_INFINITY - 1),
                Shutdown::Infinity => RUSM_SHUTDOWN_INFINITY,
            },
            has_name: self.name.is_some(),
            name: optional(&self.name),
            argument: rusm_bytes::of(&self.argument),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Intensity {
    restarts: u32,
    #[component(name = "within-ms")]
    within_ms: u64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Backoff {
    #[component(name = "first-ms")]
    first_ms: u64,
    #[component(name = "max-ms")]
    max_ms: u64,
    factor: f64,
    #[component(name = "quiet-ms")]
    quiet_ms: u64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Supervisor {
    strategy: Strategy,
    children: Vec<Child>,
    intensity: Option<Intensity>,
    backoff: Option<Backoff>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Limits {
    #[component(name = "memory-bytes")]
    memory_bytes: u64,
    #[component(name = "cpu-ns")]
    cpu_ns: Option<u64>,
    #[component(name = "lifetime-ns")]
    lifetime_ns: Option<u64>,
    #[component(name = "mailbox-messages")]
    mailbox_messages: u32,
    #[component(name = "mailbox-bytes")]
    mailbox_bytes: u64,
    #[component(name = "message-bytes")]
    message_bytes: u64,
    timers: u32,
    #[component(name = "timer-bytes")]
    timer_bytes: u64,
    streams: u32,
    #[component(name = "chunk-bytes")]
    chunk_bytes: u64,
    names: u32,
    monitors: u32,
    children: u32,
    keys: u32,
    processes: u32,
}

impl From<rusm_limits> for Limits {
    fn from(raw: rusm_limits) -> Limits {
        Limits {
            memory_bytes: raw.memory_bytes,
            cpu_ns: Some(raw.cpu_ns).filter(|ns| *ns != u64::MAX),
            lifetime_ns: Some(raw.lifetime_ns).filter(|ns| *ns != u64::MAX),
            mailbox_messages: raw.mailbox_messages,
            mailbox_bytes: raw.mailbox_bytes,
            message_bytes: raw.message_bytes,
            timers: raw.timers,
            timer_bytes: raw.timer_bytes,
            streams: raw.streams,
            chunk_bytes: raw.chunk_bytes,
            names: raw.names,
            monitors: raw.monitors,
            children: raw.children,
            keys: raw.keys,
            processes: raw.processes,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Info {
    pid: Pid,
    parent: Option<Pid>,
    component: String,
    label: Option<String>,
    names: Vec<String>,
    links: u32,
    monitors: u32,
    #[component(name = "trap-exit")]
    trap_exit: bool,
    #[component(name = "mailbox-depth")]
    mailbox_depth: u32,
    #[component(name = "mailbox-bytes")]
    mailbox_bytes: u64,
    #[component(name = "memory-bytes")]
    memory_bytes: u64,
    #[component(name = "cpu-ns")]
    cpu_ns: u64,
    limits: Limits,
}

fn info(store: &Cx<'_>) -> Info {
    let told = actor(store).self_info();
    let raw = told.raw;
    Info {
        pid: raw.pid.into(),
        parent: raw.has_parent.then(|| raw.parent.into()),
        component: told.component,
        label: told.label,
        names: told.names,
        links: raw.links,
        monitors: raw.monitors,
        trap_exit: raw.trap_exit,
        mailbox_depth: raw.mailbox_depth,
        mailbox_bytes: raw.mailbox_bytes,
        memory_bytes: store.data().limits.memory_bytes_peak(),
        cpu_ns: raw.cpu_ns,
        limits: raw.limits.into(),
    }
}

fn spawn(actor: Actor, component: &str, options: &SpawnOptions) -> Answer<Spawned> {
    let what = rusm_spawn {
        component: text_bytes(component),
        link: options.link,
        monitor: options.monitor,
        has_label: options.label.is_some(),
        label: optional(&options.label),
        has_name: options.name.is_some(),
        name: optional(&options.name),
        argument: rusm_bytes::of(&options.argument),
    };
    actor.spawn_with(&what).map(|(pid, monitor)| Spawned {
        process: local(pid),
        monitor: options.monitor.then_some(monitor),
    })
}

fn supervise(actor: Actor, what: &Supervisor) -> Answer<Pid> {
    let children: Vec<rusm_child> = what.children.iter().map(Child::raw).collect();
    let (intensity, backoff) = (what.intensity.as_ref(), what.backoff.as_ref());
    let what = rusm_supervisor {
        strategy: what.strategy as u32,
        children: children.as_ptr(),
        child_count: children.len(),
        has_intensity: intensity.is_some(),
        restarts: intensity.map_or(0, |limit| limit.restarts),
        within_ms: intensity.map_or(0, |limit| limit.within_ms),
        has_backoff: backoff.is_some(),
        first_ms: backoff.map_or(0, |wait| wait.first_ms),
        max_ms: backoff.map_or(0, |wait| wait.max_ms),
        factor: backoff.map_or(0.0, |wait| wait.factor),
        quiet_ms: backoff.map_or(0, |wait| wait.quiet_ms),
    };
    actor.supervise_with(&what).map(local)
}

/// All of it.
pub fn add_to_linker(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap(
        "spawn",
        |store: Cx<'_>, (component, options): (WasmStr, SpawnOptions)| {
            Ok((told(spawn(actor(&store), &component.to_str(&store)?, &options))?,))
        },
    )?;
    l.func_wrap("supervise", |store: Cx<'_>, (what,): (Supervisor,)| {
        Ok((told(supervise(actor(&store), &what))?,))
    })?;
    l.func_wrap("self-info", |store: Cx<'_>, (): ()| Ok((info(&store),)))
}
