//! The module `rusm`: supervisors, links, monitors that can be given up, and what a process is told of processes.

use crate::actor_host::{Answer, ProcessInfo};
use crate::actor_module::{Cx, MODULE, actor, bytes, number, write};
use crate::event_host::rusm_pid;
use crate::guest::Guest;
use wasmtime::{Error, Linker, Result};

/// Names in one list; no supervisor has as many children.
const NAMES_MAX: usize = 1 << 16;

fn local(pid: i64) -> rusm_pid {
    rusm_pid {
        id: pid as u64,
        incarnation: 0,
    }
}

/// Texts, each behind its length as little-endian u32.
fn unpacked(mut data: &[u8]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (text, rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(|| Error::msg("a list of texts is shorter than it says"))?;
        if texts.len() == NAMES_MAX {
            return Err(Error::msg("a list of texts is longer than any supervisor's"));
        }
        texts.push(std::str::from_utf8(text)?.to_owned());
        data = rest;
    }
    if data.is_empty() {
        Ok(texts)
    } else {
        Err(Error::msg("a list of texts is shorter than it says"))
    }
}

/// pid, links, monitors, mailbox depth, flags (1: traps exits, 2: has a label), and the texts as `unpacked` takes them:
/// the label, if it has one, and its names.
fn packed(info: &ProcessInfo) -> Vec<u8> {
    let mut data = info.pid.to_le_bytes().to_vec();
    let flags = u32::from(info.trap_exit) | (u32::from(info.label.is_some()) << 1);
    for number in [info.links, info.monitors, info.mailbox_depth, flags] {
        data.extend_from_slice(&number.to_le_bytes());
    }
    for text in info.label.iter().chain(&info.names) {
        data.extend_from_slice(&(text.len() as u32).to_le_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data
}

fn long(caller: &mut Cx<'_>, answer: Answer<u64>) -> Result<i64> {
    match answer {
        Ok(value) => Ok(value as i64),
        Err(refused) => Ok(i64::from(number(caller, Err(refused))?)),
    }
}

/// All of it.
pub fn add_to_linker(l: &mut Linker<Guest>) -> Result<()> {
    l.func_wrap(
        MODULE,
        "supervise",
        |mut caller: Cx<'_>, strategy: i32, ptr: i32, len: i32, restarts: i32, within_ms: i32| -> Result<i64> {
            let children = unpacked(bytes(&mut caller, ptr, len)?)?;
            let pid = actor(&caller).supervise(strategy as u32, &children, restarts as u32, within_ms as u32);
            long(&mut caller, pid)
        },
    )?;
    l.func_wrap(
        MODULE,
        "info",
        |mut caller: Cx<'_>, target: i64, ptr: i32, capacity: i32| -> Result<i32> {
            match actor(&caller).info(target as u64) {
                Some(info) => write(&mut caller, ptr, capacity, &packed(&info)),
                None => Ok(-1),
            }
        },
    )?;
    l.func_wrap(MODULE, "watch", |mut caller: Cx<'_>, target: i64| -> Result<i64> {
        let monitor = actor(&caller).watch(local(target));
        long(&mut caller, monitor)
    })?;
    l.func_wrap(MODULE, "demonitor", |caller: Cx<'_>, monitor: i64| {
        i32::from(actor(&caller).demonitor(monitor as u64))
    })?;
    l.func_wrap(MODULE, "link", |mut caller: Cx<'_>, target: i64| -> Result<i32> {
        let linked = actor(&caller).link(local(target)).map(|()| 0);
        number(&mut caller, linked)
    })?;
    l.func_wrap(MODULE, "unlink", |caller: Cx<'_>, target: i64| {
        actor(&caller).unlink(local(target))
    })?;
    l.func_wrap(MODULE, "trap_exit", |caller: Cx<'_>, on: i32| {
        i32::from(actor(&caller).trap_exit(on != 0))
    })?;
    Ok(())
}
