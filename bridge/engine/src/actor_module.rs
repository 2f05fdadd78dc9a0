//! The module `rusm` for core modules: the same as `rusm:runtime`, with pointers and lengths into the guest's memory.
//!
//! Texts and messages are (pointer, length); what lies outside of the guest's memory, or is no UTF-8 where text is
//! wanted, ends the guest. Where something is written, the true length is returned and as much as there is room for
//! was written.

use crate::actor::{found, waited, waited_after};
use crate::actor_host::{Actor, Answer, RUSM_NO_TIMEOUT, Refused};
use crate::guest::Guest;
use crate::module_processes;
use std::future::{Future, ready};
use wasmtime::{Caller, Error, Extern, Linker, Memory, Result};

pub const MODULE: &str = "rusm";

/// The functions that a module may import.
pub const FUNCTIONS: &[&str] = &[
    "cancel_timer",
    "demonitor",
    "info",
    "is_alive",
    "kill",
    "kill_tag",
    "kv_delete",
    "kv_exists",
    "kv_get",
    "kv_list",
    "kv_set",
    "last_error",
    "link",
    "list_processes",
    "log",
    "monitor",
    "notify",
    "own_pid",
    "receive",
    "receive_timeout",
    "register",
    "register_tag",
    "send",
    "send_after",
    "set_label",
    "spawn",
    "stash",
    "stream_accept",
    "stream_close",
    "stream_open",
    "stream_read",
    "stream_write",
    "supervise",
    "trap_exit",
    "unlink",
    "unregister",
    "unregister_tag",
    "unstash",
    "watch",
    "whereis",
    "whereis_tag",
];

/// Nothing there, no room for it, or the time has passed.
const NOTHING: i32 = -1;
/// Refused: `last_error` has the text.
const REFUSED: i32 = -2;

pub type Cx<'a> = Caller<'a, Guest>;
type Later<'a, T> = Box<dyn Future<Output = Result<T>> + Send + 'a>;

#[inline]
pub fn actor(caller: &Cx<'_>) -> Actor {
    caller.data().host.actor()
}

/// The memory, looked up by its name once for each guest.
#[inline]
fn memory(caller: &mut Cx<'_>) -> Result<Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    let memory = caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::msg("calls the module rusm, but exports no memory by the name of `memory`"))?;
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}

fn outside(ptr: i32, len: i32) -> Error {
    Error::msg(format!(
        "{} bytes at {} do not lie in the memory",
        len as u32, ptr as u32
    ))
}

/// `len` bytes at `ptr`, both of which count as unsigned.
#[inline]
pub fn bytes<'a>(caller: &'a mut Cx<'_>, ptr: i32, len: i32) -> Result<&'a [u8]> {
    let memory = memory(caller)?;
    let start = ptr as u32 as usize;
    memory
        .data(&*caller)
        .get(start..start + len as u32 as usize)
        .ok_or_else(|| outside(ptr, len))
}

fn text(caller: &mut Cx<'_>, ptr: i32, len: i32) -> Result<String> {
    match std::str::from_utf8(bytes(caller, ptr, len)?) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::msg("a text is not UTF-8")),
    }
}

/// Writes what fits into `capacity` bytes at `ptr`; the true length, or as much of it as an i32 can say.
#[inline]
pub fn write(caller: &mut Cx<'_>, ptr: i32, capacity: i32, data: &[u8]) -> Result<i32> {
    let memory = memory(caller)?;
    let start = ptr as u32 as usize;
    let fits = data.len().min(capacity as u32 as usize);
    let (Some(room), Some(data_that_fits)) = (
        memory.data_mut(&mut *caller).get_mut(start..start + fits),
        data.get(..fits),
    ) else {
        return Err(outside(ptr, capacity));
    };
    room.copy_from_slice(data_that_fits);
    Ok(i32::try_from(data.len()).unwrap_or(i32::MAX))
}

/// The number of pids, of which those were written for which there is room.
fn write_pids(caller: &mut Cx<'_>, ptr: i32, capacity: i32, pids: &[u64]) -> Result<i32> {
    let shown = pids.iter().take(capacity as u32 as usize);
    let data: Vec<u8> = shown.flat_map(|pid| pid.to_le_bytes()).collect();
    write(caller, ptr, i32::MAX, &data)?;
    Ok(i32::try_from(pids.len()).unwrap_or(i32::MAX))
}

/// The number that a core module gets for a call that may be refused.
pub fn number(caller: &mut Cx<'_>, answer: Answer<i32>) -> Result<i32> {
    match answer {
        Err(Refused::Error(text)) => {
            caller.data_mut().last_error = text;
            Ok(REFUSED)
        }
        answer => Ok(found(answer)?.unwrap_or(NOTHING)),
    }
}

fn flag(answer: Answer<()>) -> Result<i32> {
    Ok(i32::from(found(answer)?.is_some()))
}

fn unit(answer: Answer<()>) -> Result<()> {
    found(answer).map(|_| ())
}

/// A message that is longer than the room for it is received again.
fn take_message(caller: &mut Cx<'_>, ptr: i32, capacity: i32, answer: Answer<&'static [u8]>) -> Result<i32> {
    let Some(message) = found(answer)? else {
        return Ok(NOTHING);
    };
    let length = write(caller, ptr, capacity, message)?;
    if message.len() > capacity as u32 as usize {
        actor(caller).keep();
    }
    Ok(length)
}

fn receive<'a>(mut caller: Cx<'a>, ptr: i32, capacity: i32, timeout_ms: u64) -> Later<'a, i32> {
    let actor = actor(&caller);
    match actor.receive(timeout_ms) {
        Err(Refused::WouldBlock) => Box::new(async move {
            let answer = waited_after(|| actor.receive(timeout_ms)).await;
            take_message(&mut caller, ptr, capacity, answer)
        }),
        answer => Box::new(ready(take_message(&mut caller, ptr, capacity, answer))),
    }
}

/// All of it.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    messages(linker)?;
    processes(linker)?;
    module_processes::add_to_linker(linker)?;
    names(linker)?;
    streams(linker)?;
    kv(linker)
}

fn messages(l: &mut Linker<Guest>) -> Result<()> {
    l.func_wrap(MODULE, "own_pid", |caller: Cx<'_>| actor(&caller).own_pid() as i64)?;
    l.func_wrap(MODULE, "notify", |_: Cx<'_>| {})?;
    l.func_wrap(
        MODULE,
        "send",
        |mut caller: Cx<'_>, to: i64, ptr: i32, len: i32| -> Result<()> {
            let actor = actor(&caller);
            unit(actor.send(to as u64, bytes(&mut caller, ptr, len)?))
        },
    )?;
    l.func_wrap_async(MODULE, "receive", |caller: Cx<'_>, (ptr, capacity): (i32, i32)| {
        receive(caller, ptr, capacity, RUSM_NO_TIMEOUT)
    })?;
    l.func_wrap_async(
        MODULE,
        "receive_timeout",
        |caller: Cx<'_>, (ptr, capacity, timeout_ms): (i32, i32, i64)| {
            // What is negative is, unsigned, longer than anybody waits.
            receive(caller, ptr, capacity, (timeout_ms as u64).min(RUSM_NO_TIMEOUT - 1))
        },
    )?;
    l.func_wrap(
        MODULE,
        "stash",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<()> {
            let actor = actor(&caller);
            unit(actor.stash(bytes(&mut caller, ptr, len)?))
        },
    )?;
    l.func_wrap(MODULE, "unstash", |caller: Cx<'_>| actor(&caller).unstash())?;
    l.func_wrap(
        MODULE,
        "send_after",
        |mut caller: Cx<'_>, to: i64, delay_ms: i64, ptr: i32, len: i32| -> Result<i64> {
            let actor = actor(&caller);
            let timer = actor.send_after(to as u64, delay_ms as u64, bytes(&mut caller, ptr, len)?);
            Ok(found(timer)?.map_or(i64::from(NOTHING), |timer| timer as i64))
        },
    )?;
    l.func_wrap(MODULE, "cancel_timer", |caller: Cx<'_>, timer: i64| {
        i32::from(actor(&caller).cancel_timer(timer as u64))
    })?;
    l.func_wrap(
        MODULE,
        "log",
        |mut caller: Cx<'_>, level: i32, ptr: i32, len: i32| -> Result<()> {
            let line = text(&mut caller, ptr, len)?;
            actor(&caller).log(level as u32, &line);
            Ok(())
        },
    )?;
    l.func_wrap(
        MODULE,
        "last_error",
        |mut caller: Cx<'_>, ptr: i32, capacity: i32| -> Result<i32> {
            let error = caller.data().last_error.clone();
            write(&mut caller, ptr, capacity, error.as_bytes())
        },
    )?;
    Ok(())
}

fn processes(l: &mut Linker<Guest>) -> Result<()> {
    l.func_wrap(
        MODULE,
        "spawn",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<i64> {
            let name = text(&mut caller, ptr, len)?;
            match actor(&caller).spawn(&name, None) {
                Ok(pid) => Ok(pid as i64),
                Err(refused) => Ok(i64::from(number(&mut caller, Err(refused))?)),
            }
        },
    )?;
    l.func_wrap(MODULE, "monitor", |caller: Cx<'_>, target: i64| {
        unit(actor(&caller).monitor(target as u64))
    })?;
    l.func_wrap(
        MODULE,
        "list_processes",
        |mut caller: Cx<'_>, ptr: i32, capacity: i32| -> Result<i32> {
            let pids = actor(&caller).processes();
            write_pids(&mut caller, ptr, capacity, pids)
        },
    )?;
    l.func_wrap(MODULE, "is_alive", |caller: Cx<'_>, target: i64| {
        i32::from(actor(&caller).is_alive(target as u64))
    })?;
    l.func_wrap(MODULE, "kill", |caller: Cx<'_>, target: i64| {
        flag(actor(&caller).kill(target as u64))
    })?;
    Ok(())
}

fn names(l: &mut Linker<Guest>) -> Result<()> {
    l.func_wrap(
        MODULE,
        "register",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<i32> {
            let name = text(&mut caller, ptr, len)?;
            Ok(i32::from(actor(&caller).register(&name)))
        },
    )?;
    l.func_wrap(
        MODULE,
        "unregister",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<i32> {
            let name = text(&mut caller, ptr, len)?;
            Ok(i32::from(actor(&caller).unregister(&name)))
        },
    )?;
    l.func_wrap(
        MODULE,
        "whereis",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<i64> {
            let name = text(&mut caller, ptr, len)?;
            Ok(actor(&caller)
                .whereis(&name)
                .map_or(i64::from(NOTHING), |pid| pid as i64))
        },
    )?;
    l.func_wrap(
        MODULE,
        "set_label",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<()> {
            let label = text(&mut caller, ptr, len)?;
            actor(&caller).set_label(&label);
            Ok(())
        },
    )?;
    l.func_wrap(
        MODULE,
        "register_tag",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<()> {
            let tag = text(&mut caller, ptr, len)?;
            unit(actor(&caller).join(&tag))
        },
    )?;
    l.func_wrap(
        MODULE,
        "unregister_tag",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<()> {
            let tag = text(&mut caller, ptr, len)?;
            actor(&caller).leave(&tag);
            Ok(())
        },
    )?;
    l.func_wrap(
        MODULE,
        "whereis_tag",
        |mut caller: Cx<'_>, ptr: i32, len: i32, out: i32, capacity: i32| -> Result<i32> {
            let tag = text(&mut caller, ptr, len)?;
            let pids = actor(&caller).members(&tag);
            write_pids(&mut caller, out, capacity, pids)
        },
    )?;
    l.func_wrap(
        MODULE,
        "kill_tag",
        |mut caller: Cx<'_>, ptr: i32, len: i32| -> Result<i32> {
            let tag = text(&mut caller, ptr, len)?;
            Ok(found(actor(&caller).kill_tag(&tag))?.unwrap_or(0) as i32)
        },
    )?;
    Ok(())
}

fn stream_write<'a>(mut caller: Cx<'a>, stream: u64, ptr: i32, len: i32) -> Later<'a, i32> {
    let actor = actor(&caller);
    let done = |answer: Answer<()>| Ok(if found(answer)?.is_some() { 0 } else { NOTHING });
    let chunk = match bytes(&mut caller, ptr, len) {
        Ok(chunk) => chunk,
        Err(error) => return Box::new(ready(Err(error))),
    };
    match actor.stream_write(stream, chunk) {
        Err(Refused::WouldBlock) => {
            let chunk = chunk.to_vec();
            Box::new(async move { done(waited_after(|| actor.stream_write(stream, &chunk)).await) })
        }
        answer => Box::new(ready(done(answer))),
    }
}

fn streams(l: &mut Linker<Guest>) -> Result<()> {
    l.func_wrap(MODULE, "stream_open", |caller: Cx<'_>, to: i64| -> Result<i64> {
        let stream = found(actor(&caller).stream_open(to as u64))?;
        Ok(stream.map_or(i64::from(NOTHING), |stream| stream as i64))
    })?;
    l.func_wrap_async(
        MODULE,
        "stream_write",
        |caller: Cx<'_>, (stream, ptr, len): (i64, i32, i32)| stream_write(caller, stream as u64, ptr, len),
    )?;
    l.func_wrap(MODULE, "stream_close", |caller: Cx<'_>, stream: i64| {
        actor(&caller).stream_close(stream as u64)
    })?;
    l.func_wrap_async(MODULE, "stream_accept", |caller: Cx<'_>, (): ()| -> Later<'_, i64> {
        let actor = actor(&caller);
        Box::new(async move {
            let stream = found(waited(|| actor.stream_accept()).await)?;
            Ok(stream.map_or(i64::from(NOTHING), |stream| stream as i64))
        })
    })?;
    l.func_wrap_async(
        MODULE,
        "stream_read",
        |mut caller: Cx<'_>, (stream, ptr, capacity): (i64, i32, i32)| -> Later<'_, i32> {
            let actor = actor(&caller);
            let stream = stream as u64;
            Box::new(async move {
                let Some(chunk) = found(waited(|| actor.stream_read(stream)).await)? else {
                    return Ok(NOTHING);
                };
                let length = write(&mut caller, ptr, capacity, chunk)?;
                if chunk.len() > capacity as u32 as usize {
                    actor.keep();
                }
                Ok(length)
            })
        },
    )?;
    Ok(())
}

/// Bucket and key of a call.
fn bucket_and_key(caller: &mut Cx<'_>, bucket: (i32, i32), key: (i32, i32)) -> Result<(String, String)> {
    Ok((text(caller, bucket.0, bucket.1)?, text(caller, key.0, key.1)?))
}

fn kv(l: &mut Linker<Guest>) -> Result<()> {
    type Names = (i32, i32, i32, i32);
    l.func_wrap_async(
        MODULE,
        "kv_get",
        |mut caller: Cx<'_>, (b, b_len, k, k_len, out, capacity): (i32, i32, i32, i32, i32, i32)| -> Later<'_, i32> {
            Box::new(async move {
                let (bucket, key) = bucket_and_key(&mut caller, (b, b_len), (k, k_len))?;
                let actor = actor(&caller);
                match waited(|| actor.kv_get(&bucket, &key)).await {
                    Ok(value) => write(&mut caller, out, capacity, value),
                    Err(refused) => number(&mut caller, Err(refused)),
                }
            })
        },
    )?;
    l.func_wrap_async(
        MODULE,
        "kv_set",
        |mut caller: Cx<'_>, (b, b_len, k, k_len, v, v_len): (i32, i32, i32, i32, i32, i32)| -> Later<'_, i32> {
            Box::new(async move {
                let (bucket, key) = bucket_and_key(&mut caller, (b, b_len), (k, k_len))?;
                let actor = actor(&caller);
                let first = actor.kv_set(&bucket, &key, bytes(&mut caller, v, v_len)?);
                let answer = match first {
                    Err(Refused::WouldBlock) => waited_after(|| actor.kv_set(&bucket, &key, &[])).await,
                    answer => answer,
                };
                number(&mut caller, answer.map(|()| 0))
            })
        },
    )?;
    l.func_wrap_async(
        MODULE,
        "kv_delete",
        |mut caller: Cx<'_>, (b, b_len, k, k_len): Names| -> Later<'_, i32> {
            Box::new(async move {
                let (bucket, key) = bucket_and_key(&mut caller, (b, b_len), (k, k_len))?;
                let actor = actor(&caller);
                let answer = waited(|| actor.kv_delete(&bucket, &key)).await;
                number(&mut caller, zero_for_nothing(answer))
            })
        },
    )?;
    l.func_wrap_async(
        MODULE,
        "kv_exists",
        |mut caller: Cx<'_>, (b, b_len, k, k_len): Names| -> Later<'_, i32> {
            Box::new(async move {
                let (bucket, key) = bucket_and_key(&mut caller, (b, b_len), (k, k_len))?;
                let actor = actor(&caller);
                let answer = waited(|| actor.kv_exists(&bucket, &key)).await;
                number(&mut caller, zero_for_nothing(answer))
            })
        },
    )?;
    l.func_wrap_async(
        MODULE,
        "kv_list",
        |mut caller: Cx<'_>, (b, b_len, out, capacity): Names| -> Later<'_, i32> {
            Box::new(async move {
                let bucket = text(&mut caller, b, b_len)?;
                let actor = actor(&caller);
                match waited(|| actor.kv_list(&bucket)).await {
                    Ok(keys) => write(&mut caller, out, capacity, &packed(&keys)),
                    Err(refused) => number(&mut caller, Err(refused)),
                }
            })
        },
    )?;
    Ok(())
}

fn zero_for_nothing(answer: Answer<()>) -> Answer<i32> {
    match answer {
        Err(Refused::None) => Ok(0),
        answer => answer.map(|()| 1),
    }
}

/// Each text behind its length, as little-endian u32.
fn packed(texts: &[String]) -> Vec<u8> {
    let mut data = Vec::new();
    for text in texts {
        data.extend_from_slice(&(text.len() as u32).to_le_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data
}
