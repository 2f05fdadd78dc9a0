//! `rusm:runtime` for components: what is lifted from the guest goes to the embedder, what it answers is lowered.
//!
//! A call that would block suspends the guest without a waker: the embedder resumes it when that may have changed, and
//! it asks again. Nothing is kept in the meantime but what the guest passed.

use crate::actor_host::{Actor, Answer, ProcessInfo, RUSM_NO_TIMEOUT, Refused};
use crate::guest::Guest;
use std::future::{Future, poll_fn, ready};
use std::task::Poll;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, WasmList, WasmStr};
use wasmtime::{Error, Result, StoreContextMut};

/// The interfaces that a guest may import.
pub const INTERFACES: &[&str] = &[
    "rusm:runtime/actor",
    "rusm:runtime/kv",
    "rusm:runtime/log",
    "rusm:runtime/pg",
    "rusm:runtime/serve",
    "rusm:runtime/streams",
    "rusm:runtime/types",
];
pub const VERSION: &str = "0.1.0";

pub type Future1<'a, T> = Box<dyn Future<Output = Result<(T,)>> + Send + 'a>;

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
enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Info {
    pid: u64,
    links: u32,
    monitors: u32,
    names: Vec<String>,
    label: Option<String>,
    #[component(name = "mailbox-depth")]
    mailbox_depth: u32,
    #[component(name = "trap-exit")]
    trap_exit: bool,
}

impl From<ProcessInfo> for Info {
    fn from(info: ProcessInfo) -> Info {
        Info {
            pid: info.pid,
            links: info.links,
            monitors: info.monitors,
            names: info.names,
            label: info.label,
            mailbox_depth: info.mailbox_depth,
            trap_exit: info.trap_exit,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Connection {
    method: String,
    path: String,
    query: String,
    params: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    #[component(name = "remote-addr")]
    remote_addr: String,
    subprotocol: Option<String>,
}

pub type Cx<'a> = StoreContextMut<'a, Guest>;

#[inline]
pub fn actor(store: &Cx<'_>) -> Actor {
    store.data().host.actor()
}

pub fn ended(refused: Refused) -> Error {
    match refused {
        Refused::Trap(text) | Refused::Error(text) => Error::msg(text),
        Refused::WouldBlock => Error::msg("a call that never waits would have to"),
        Refused::None => Error::msg("a call that always has an answer has none"),
    }
}

/// What is there, if it is; a TRAP ends the guest.
#[inline]
pub fn found<T>(answer: Answer<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Refused::None) => Ok(None),
        Err(refused) => Err(ended(refused)),
    }
}

/// The value, or the text why not; a TRAP ends the guest.
pub fn told<T>(answer: Answer<T>) -> Result<Result<T, String>> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(Refused::Error(text)) => Ok(Err(text)),
        Err(refused) => Err(ended(refused)),
    }
}

/// Asks until the answer is another than that it would block.
pub async fn waited<T>(mut ask: impl FnMut() -> Answer<T>) -> Answer<T> {
    poll_fn(|_| match ask() {
        Err(Refused::WouldBlock) => Poll::Pending,
        answer => Poll::Ready(answer),
    })
    .await
}

/// The same for a call that was just told that it would block: asks once it is resumed.
pub async fn waited_after<T>(mut ask: impl FnMut() -> Answer<T>) -> Answer<T> {
    let mut resumed = false;
    poll_fn(|_| {
        if !std::mem::replace(&mut resumed, true) {
            return Poll::Pending;
        }
        match ask() {
            Err(Refused::WouldBlock) => Poll::Pending,
            answer => Poll::Ready(answer),
        }
    })
    .await
}

/// Answers at once if it can; `later` makes what asks again.
#[inline]
pub fn at_once_or<'a, T: Send + 'a, R: Send + 'a, F>(
    first: Answer<T>,
    finish: impl FnOnce(Answer<T>) -> Result<R> + Send + 'a,
    later: impl FnOnce() -> F,
) -> Future1<'a, R>
where
    F: Future<Output = Answer<T>> + Send + 'a,
{
    match first {
        Err(Refused::WouldBlock) => {
            let later = later();
            Box::new(async move { Ok((finish(later.await)?,)) })
        }
        answer => Box::new(ready(finish(answer).map(|value| (value,)))),
    }
}

fn found_texts(answer: Answer<()>) -> Result<Result<bool, String>> {
    match answer {
        Err(Refused::None) => Ok(Ok(false)),
        answer => told(answer.map(|()| true)),
    }
}

/// Everything that `rusm:runtime@0.1.0` offers.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    actor_interface(&mut linker.instance("rusm:runtime/actor@0.1.0")?)?;
    process_interface(&mut linker.instance("rusm:runtime/actor@0.1.0")?)?;
    tags_interface(&mut linker.instance("rusm:runtime/pg@0.1.0")?)?;
    streams_interface(&mut linker.instance("rusm:runtime/streams@0.1.0")?)?;
    kv_interface(&mut linker.instance("rusm:runtime/kv@0.1.0")?)?;
    serve_interface(&mut linker.instance("rusm:runtime/serve@0.1.0")?)?;
    linker.instance("rusm:runtime/types@0.1.0")?;
    linker
        .instance("rusm:runtime/log@0.1.0")?
        .func_wrap("log", |store: Cx<'_>, (level, text): (Level, WasmStr)| {
            actor(&store).log(level as u32, &text.to_str(&store)?);
            Ok(())
        })
}

fn receive(store: &Cx<'_>, timeout_ms: u64) -> Answer<&'static [u8]> {
    actor(store).receive(timeout_ms)
}

/// Messages and timers.
fn actor_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("own-pid", |store: Cx<'_>, (): ()| Ok((actor(&store).own_pid(),)))?;
    l.func_wrap("send", |store: Cx<'_>, (to, message): (u64, WasmList<u8>)| {
        actor(&store).send(to, message.as_le_slice(&store)).map_err(ended)
    })?;
    l.func_wrap_async("receive", |store: Cx<'_>, (): ()| {
        let actor = actor(&store);
        at_once_or(
            receive(&store, RUSM_NO_TIMEOUT),
            |answer| answer.map_err(ended),
            move || waited_after(move || actor.receive(RUSM_NO_TIMEOUT)),
        )
    })?;
    l.func_wrap_async("receive-timeout", |store: Cx<'_>, (timeout_ms,): (u64,)| {
        let actor = actor(&store);
        let timeout_ms = timeout_ms.min(RUSM_NO_TIMEOUT - 1);
        at_once_or(receive(&store, timeout_ms), found, move || {
            waited_after(move || actor.receive(timeout_ms))
        })
    })?;
    l.func_wrap("stash", |store: Cx<'_>, (message,): (WasmList<u8>,)| {
        actor(&store).stash(message.as_le_slice(&store)).map_err(ended)
    })?;
    l.func_wrap("unstash", |store: Cx<'_>, (): ()| {
        actor(&store).unstash();
        Ok(())
    })?;
    l.func_wrap(
        "send-after",
        |store: Cx<'_>, (to, delay_ms, message): (u64, u64, WasmList<u8>)| {
            let timer = actor(&store).send_after(to, delay_ms, message.as_le_slice(&store));
            Ok((timer.map_err(ended)?,))
        },
    )?;
    l.func_wrap("cancel-timer", |store: Cx<'_>, (timer,): (u64,)| {
        Ok((actor(&store).cancel_timer(timer),))
    })
}

/// Processes and names.
fn process_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("spawn", |store: Cx<'_>, (component,): (WasmStr,)| {
        Ok((told(actor(&store).spawn(&component.to_str(&store)?, None))?,))
    })?;
    l.func_wrap(
        "spawn-from",
        |store: Cx<'_>, (component, source): (WasmStr, WasmStr)| {
            let (component, source) = (component.to_str(&store)?, source.to_str(&store)?);
            Ok((told(actor(&store).spawn(&component, Some(&source)))?,))
        },
    )?;
    l.func_wrap(
        "supervise",
        |store: Cx<'_>, (strategy, children, restarts_max, within_ms): (Strategy, Vec<String>, u32, u32)| {
            let pid = actor(&store).supervise(strategy as u32, &children, restarts_max, within_ms);
            Ok((told(pid)?,))
        },
    )?;
    l.func_wrap("monitor", |store: Cx<'_>, (target,): (u64,)| {
        actor(&store).monitor(target).map_err(ended)
    })?;
    l.func_wrap("list-processes", |store: Cx<'_>, (): ()| {
        Ok((actor(&store).processes(),))
    })?;
    l.func_wrap("info", |store: Cx<'_>, (target,): (u64,)| {
        Ok((actor(&store).info(target).map(Info::from),))
    })?;
    l.func_wrap("is-alive", |store: Cx<'_>, (target,): (u64,)| {
        Ok((actor(&store).is_alive(target),))
    })?;
    l.func_wrap("kill", |store: Cx<'_>, (target,): (u64,)| {
        Ok((found(actor(&store).kill(target))?.is_some(),))
    })?;
    l.func_wrap("register", |store: Cx<'_>, (name,): (WasmStr,)| {
        Ok((actor(&store).register(&name.to_str(&store)?),))
    })?;
    l.func_wrap("whereis", |store: Cx<'_>, (name,): (WasmStr,)| {
        Ok((actor(&store).whereis(&name.to_str(&store)?),))
    })?;
    l.func_wrap("unregister", |store: Cx<'_>, (name,): (WasmStr,)| {
        Ok((actor(&store).unregister(&name.to_str(&store)?),))
    })?;
    l.func_wrap("set-label", |store: Cx<'_>, (label,): (WasmStr,)| {
        actor(&store).set_label(&label.to_str(&store)?);
        Ok(())
    })
}

fn tags_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("register-tag", |store: Cx<'_>, (tag,): (WasmStr,)| {
        actor(&store).join(&tag.to_str(&store)?).map_err(ended)
    })?;
    l.func_wrap("unregister-tag", |store: Cx<'_>, (tag,): (WasmStr,)| {
        actor(&store).leave(&tag.to_str(&store)?);
        Ok(())
    })?;
    l.func_wrap("whereis-tag", |store: Cx<'_>, (tag,): (WasmStr,)| {
        Ok((actor(&store).members(&tag.to_str(&store)?),))
    })?;
    l.func_wrap("kill-tag", |store: Cx<'_>, (tag,): (WasmStr,)| {
        Ok((found(actor(&store).kill_tag(&tag.to_str(&store)?))?.unwrap_or(0),))
    })
}

fn streams_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("stream-open", |store: Cx<'_>, (to,): (u64,)| {
        Ok((found(actor(&store).stream_open(to))?,))
    })?;
    l.func_wrap_async("stream-write", |store: Cx<'_>, (stream, chunk): (u64, WasmList<u8>)| {
        let actor = actor(&store);
        let bytes = chunk.as_le_slice(&store);
        at_once_or(
            actor.stream_write(stream, bytes),
            |answer| Ok(found(answer)?.is_some()),
            || {
                let bytes = bytes.to_vec();
                waited_after(move || actor.stream_write(stream, &bytes))
            },
        )
    })?;
    l.func_wrap("stream-close", |store: Cx<'_>, (stream,): (u64,)| {
        actor(&store).stream_close(stream);
        Ok(())
    })?;
    l.func_wrap_async("stream-accept", |store: Cx<'_>, (): ()| {
        let actor = actor(&store);
        at_once_or(
            actor.stream_accept(),
            |answer| answer.map_err(ended),
            move || waited_after(move || actor.stream_accept()),
        )
    })?;
    l.func_wrap_async("stream-read", |store: Cx<'_>, (stream,): (u64,)| {
        let actor = actor(&store);
        at_once_or(actor.stream_read(stream), found, move || {
            waited_after(move || actor.stream_read(stream))
        })
    })
}

/// A future that fails at once: for texts that are not UTF-8.
fn failed<'a, T: Send + 'a>(error: Error) -> Future1<'a, T> {
    Box::new(ready(Err(error)))
}

fn bucket_and_key(store: &Cx<'_>, bucket: &WasmStr, key: &WasmStr) -> Result<(String, String)> {
    Ok((bucket.to_str(store)?.into_owned(), key.to_str(store)?.into_owned()))
}

fn kv_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap_async("get", |store: Cx<'_>, (bucket, key): (WasmStr, WasmStr)| {
        let actor = actor(&store);
        let (bucket, key) = match bucket_and_key(&store, &bucket, &key) {
            Ok(names) => names,
            Err(error) => return failed(error),
        };
        at_once_or(
            actor.kv_get(&bucket, &key),
            |answer| match answer {
                Err(Refused::None) => Ok(Ok(None)),
                answer => told(answer.map(Some)),
            },
            move || waited_after(move || actor.kv_get(&bucket, &key)),
        )
    })?;
    l.func_wrap_async(
        "set",
        |store: Cx<'_>, (bucket, key, value): (WasmStr, WasmStr, WasmList<u8>)| {
            let actor = actor(&store);
            let (bucket, key) = match bucket_and_key(&store, &bucket, &key) {
                Ok(names) => names,
                Err(error) => return failed(error),
            };
            let first = actor.kv_set(&bucket, &key, value.as_le_slice(&store));
            // What is written was taken over by the first call; the next ones only ask what became of it.
            at_once_or(first, told, move || {
                waited_after(move || actor.kv_set(&bucket, &key, &[]))
            })
        },
    )?;
    l.func_wrap_async("delete", |store: Cx<'_>, (bucket, key): (WasmStr, WasmStr)| {
        let actor = actor(&store);
        let (bucket, key) = match bucket_and_key(&store, &bucket, &key) {
            Ok(names) => names,
            Err(error) => return failed(error),
        };
        at_once_or(actor.kv_delete(&bucket, &key), found_texts, move || {
            waited_after(move || actor.kv_delete(&bucket, &key))
        })
    })?;
    l.func_wrap_async("exists", |store: Cx<'_>, (bucket, key): (WasmStr, WasmStr)| {
        let actor = actor(&store);
        let (bucket, key) = match bucket_and_key(&store, &bucket, &key) {
            Ok(names) => names,
            Err(error) => return failed(error),
        };
        at_once_or(actor.kv_exists(&bucket, &key), found_texts, move || {
            waited_after(move || actor.kv_exists(&bucket, &key))
        })
    })?;
    l.func_wrap_async("list", |store: Cx<'_>, (bucket,): (WasmStr,)| {
        let actor = actor(&store);
        let bucket = match bucket.to_str(&store) {
            Ok(bucket) => bucket.into_owned(),
            Err(error) => return failed(error),
        };
        at_once_or(actor.kv_list(&bucket), told, move || {
            waited_after(move || actor.kv_list(&bucket))
        })
    })
}

/// No process of this node is the handler of a WebSocket or of server-sent events, and each of these says so.
fn serve_interface(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("connection", |_: Cx<'_>, (): ()| Ok((None::<Connection>,)))?;
    l.func_wrap("ws-send-text", |_: Cx<'_>, (_,): (WasmList<u8>,)| Ok((false,)))?;
    l.func_wrap("ws-close", |_: Cx<'_>, (_, _): (u16, WasmStr)| Ok(()))?;
    l.func_wrap(
        "sse-send",
        |_: Cx<'_>, (_, _, _, _): (WasmList<u8>, Option<WasmStr>, Option<WasmStr>, Option<u32>)| Ok((false,)),
    )
}
