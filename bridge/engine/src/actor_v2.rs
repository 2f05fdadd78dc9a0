//! `rusm:runtime@0.2.0` for components: typed events, links, calls, children. As `actor` it lifts and lowers, and decides
//! nothing.

use crate::abi::rusm_bytes;
use crate::actor::{Cx, actor, at_once_or, ended, found, told, waited_after};
use crate::actor_host::{Actor, Answer, RUSM_NO_TIMEOUT, Refused, text_of};
use crate::event_host::*;
use crate::guest::Guest;
use crate::process_v2;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, WasmList};

/// The interfaces that a guest may import.
pub const INTERFACES: &[&str] = &["rusm:runtime/actor", "rusm:runtime/process", "rusm:runtime/types"];
pub const VERSION: &str = "0.2.0";

// ── Types ────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(record)]
pub struct Pid {
    id: u64,
    incarnation: u32,
}

impl From<Pid> for rusm_pid {
    fn from(pid: Pid) -> rusm_pid {
        rusm_pid {
            id: pid.id,
            incarnation: pid.incarnation,
        }
    }
}

impl From<rusm_pid> for Pid {
    fn from(pid: rusm_pid) -> Pid {
        Pid {
            id: pid.id,
            incarnation: pid.incarnation,
        }
    }
}

/// Of a process of this node.
pub fn local(id: u64) -> Pid {
    Pid { id, incarnation: 0 }
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Failure {
    kind: String,
    text: String,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum ExitReason {
    #[component(name = "normal")]
    Normal,
    #[component(name = "shutdown")]
    Shutdown,
    #[component(name = "killed")]
    Killed,
    #[component(name = "noproc")]
    NoProc,
    #[component(name = "noconnection")]
    NoConnection,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "crashed")]
    Crashed(Failure),
    #[component(name = "limit")]
    Limit(Failure),
    #[component(name = "other")]
    Other(String),
    #[component(name = "kill")]
    Kill,
}

impl ExitReason {
    fn raw(&self) -> rusm_reason {
        use rusm_reason_kind as kind;
        let empty = "";
        let (kind, what, text) = match self {
            ExitReason::Normal => (kind::NORMAL, empty, empty),
            ExitReason::Shutdown => (kind::SHUTDOWN, empty, empty),
            ExitReason::Killed => (kind::KILLED, empty, empty),
            ExitReason::NoProc => (kind::NOPROC, empty, empty),
            ExitReason::NoConnection => (kind::NOCONNECTION, empty, empty),
            ExitReason::Timeout => (kind::TIMEOUT, empty, empty),
            ExitReason::Crashed(failure) => (kind::CRASHED, failure.kind.as_str(), failure.text.as_str()),
            ExitReason::Limit(failure) => (kind::LIMIT, failure.kind.as_str(), failure.text.as_str()),
            ExitReason::Other(text) => (kind::OTHER, empty, text.as_str()),
            ExitReason::Kill => (kind::KILL, empty, empty),
        };
        rusm_reason {
            kind: kind as u32,
            what: text_bytes(what),
            text: text_bytes(text),
        }
    }

    /// Copies the texts.
    fn of(raw: &rusm_reason) -> ExitReason {
        const SHUTDOWN: u32 = rusm_reason_kind::SHUTDOWN as u32;
        const KILLED: u32 = rusm_reason_kind::KILLED as u32;
        const NOPROC: u32 = rusm_reason_kind::NOPROC as u32;
        const NOCONNECTION: u32 = rusm_reason_kind::NOCONNECTION as u32;
        const TIMEOUT: u32 = rusm_reason_kind::TIMEOUT as u32;
        const CRASHED: u32 = rusm_reason_kind::CRASHED as u32;
        const LIMIT: u32 = rusm_reason_kind::LIMIT as u32;
        const OTHER: u32 = rusm_reason_kind::OTHER as u32;
        const KILL: u32 = rusm_reason_kind::KILL as u32;
        let failure = || Failure {
            kind: text_of(raw.what),
            text: text_of(raw.text),
        };
        match raw.kind {
            SHUTDOWN => ExitReason::Shutdown,
            KILLED => ExitReason::Killed,
            NOPROC => ExitReason::NoProc,
            NOCONNECTION => ExitReason::NoConnection,
            TIMEOUT => ExitReason::Timeout,
            CRASHED => ExitReason::Crashed(failure()),
            LIMIT => ExitReason::Limit(failure()),
            OTHER => ExitReason::Other(text_of(raw.text)),
            KILL => ExitReason::Kill,
            _ => ExitReason::Normal,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Request {
    token: u64,
    sender: Pid,
    body: &'static [u8],
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Down {
    monitor: u64,
    process: Pid,
    reason: ExitReason,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct ExitSignal {
    sender: Pid,
    reason: ExitReason,
    linked: bool,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Event {
    #[component(name = "message")]
    Message(&'static [u8]),
    #[component(name = "request")]
    Request(Request),
    #[component(name = "down")]
    Down(Down),
    #[component(name = "exit")]
    Exit(ExitSignal),
    #[component(name = "stream")]
    Stream(u64),
    #[component(name = "timer")]
    Timer(u64),
}

impl Event {
    #[inline]
    fn of(raw: &rusm_event) -> Event {
        const REQUEST: u32 = rusm_event_kind::REQUEST as u32;
        const DOWN: u32 = rusm_event_kind::DOWN as u32;
        const EXIT: u32 = rusm_event_kind::EXIT as u32;
        const STREAM: u32 = rusm_event_kind::STREAM as u32;
        const TIMER: u32 = rusm_event_kind::TIMER as u32;
        // SAFETY: the embedder's, valid until its next function is called, and lowered before.
        let bytes: &'static [u8] = unsafe { raw.bytes.as_slice() };
        match raw.kind {
            REQUEST => Event::Request(Request {
                token: raw.number,
                sender: raw.from.into(),
                body: bytes,
            }),
            DOWN => Event::Down(Down {
                monitor: raw.number,
                process: raw.from.into(),
                reason: ExitReason::of(&raw.reason),
            }),
            EXIT => Event::Exit(ExitSignal {
                sender: raw.from.into(),
                reason: ExitReason::of(&raw.reason),
                linked: raw.linked,
            }),
            STREAM => Event::Stream(raw.number),
            TIMER => Event::Timer(raw.number),
            _ => Event::Message(bytes),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Match {
    #[component(name = "message")]
    Message(Vec<u8>),
    #[component(name = "request")]
    Request(Vec<u8>),
    #[component(name = "down")]
    Down(Option<u64>),
    #[component(name = "exit")]
    Exit(Option<Pid>),
    #[component(name = "stream")]
    Stream,
    #[component(name = "timer")]
    Timer(Option<u64>),
}

impl Match {
    fn raw(&self) -> rusm_match {
        use rusm_event_kind as kind;
        let (kind, number, from, prefix): (_, Option<u64>, Option<Pid>, &[u8]) = match self {
            Match::Message(prefix) => (kind::MESSAGE, None, None, prefix),
            Match::Request(prefix) => (kind::REQUEST, None, None, prefix),
            Match::Down(monitor) => (kind::DOWN, *monitor, None, &[]),
            Match::Exit(from) => (kind::EXIT, None, *from, &[]),
            Match::Stream => (kind::STREAM, None, None, &[]),
            Match::Timer(timer) => (kind::TIMER, *timer, None, &[]),
        };
        rusm_match {
            kind: kind as u32,
            any: number.is_none() && from.is_none(),
            number: number.unwrap_or(0),
            from: from.map_or(rusm_pid::NONE, rusm_pid::from),
            prefix: rusm_bytes::of(prefix),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum CallError {
    #[component(name = "noproc")]
    NoProc,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "down")]
    Down(ExitReason),
    #[component(name = "refused")]
    Refused(String),
}

impl CallError {
    fn of(unanswered: &Unanswered) -> CallError {
        match ExitReason::of(&unanswered.reason) {
            _ if unanswered.timed_out => CallError::Timeout,
            ExitReason::NoProc => CallError::NoProc,
            reason => CallError::Down(reason),
        }
    }
}

pub fn text_bytes(text: &str) -> rusm_bytes {
    rusm_bytes::of(text.as_bytes())
}

fn limit_of(timeout_ms: Option<u64>) -> u64 {
    timeout_ms.map_or(RUSM_NO_TIMEOUT, |ms| ms.min(RUSM_NO_TIMEOUT - 1))
}

// ── The interface actor ──────────────────────────────────────────────────────────────────────────────────────────────

/// Everything that `rusm:runtime@0.2.0` offers.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    linker.instance("rusm:runtime/types@0.2.0")?;
    messages(&mut linker.instance("rusm:runtime/actor@0.2.0")?)?;
    signals(&mut linker.instance("rusm:runtime/actor@0.2.0")?)?;
    timers(&mut linker.instance("rusm:runtime/actor@0.2.0")?)?;
    process_v2::add_to_linker(&mut linker.instance("rusm:runtime/process@0.2.0")?)
}

#[inline]
fn next_event(actor: Actor, timeout_ms: u64) -> Answer<Event> {
    actor.receive_event(&[], timeout_ms).map(|event| Event::of(&event))
}

fn matching_event(actor: Actor, wanted: &[Match], timeout_ms: u64) -> Answer<Event> {
    let matches: Vec<rusm_match> = wanted.iter().map(Match::raw).collect();
    actor.receive_event(&matches, timeout_ms).map(|event| Event::of(&event))
}

fn called(actor: Actor, to: rusm_pid, request: &[u8], timeout_ms: u64) -> Answer<Result<&'static [u8], CallError>> {
    match actor.call(to, request, timeout_ms) {
        Ok(answer) => Ok(answer.map_err(|unanswered| CallError::of(&unanswered))),
        Err(Refused::Error(text)) => Ok(Err(CallError::Refused(text))),
        Err(refused) => Err(refused),
    }
}

fn messages(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("own-pid", |store: Cx<'_>, (): ()| Ok((local(actor(&store).own_pid()),)))?;
    l.func_wrap("argument", |store: Cx<'_>, (): ()| Ok((actor(&store).argument(),)))?;
    l.func_wrap("send", |store: Cx<'_>, (to, message): (Pid, WasmList<u8>)| {
        actor(&store)
            .send_to(to.into(), message.as_le_slice(&store))
            .map_err(ended)
    })?;
    l.func_wrap_async("receive", |store: Cx<'_>, (): ()| {
        let actor = actor(&store);
        at_once_or(
            next_event(actor, RUSM_NO_TIMEOUT),
            |answer| answer.map_err(ended),
            move || waited_after(move || next_event(actor, RUSM_NO_TIMEOUT)),
        )
    })?;
    l.func_wrap_async("receive-timeout", |store: Cx<'_>, (timeout_ms,): (u64,)| {
        let actor = actor(&store);
        let timeout_ms = limit_of(Some(timeout_ms));
        at_once_or(next_event(actor, timeout_ms), found, move || {
            waited_after(move || next_event(actor, timeout_ms))
        })
    })?;
    l.func_wrap_async(
        "receive-match",
        |store: Cx<'_>, (wanted, timeout_ms): (Vec<Match>, Option<u64>)| {
            let actor = actor(&store);
            let timeout_ms = limit_of(timeout_ms);
            at_once_or(
                matching_event(actor, &wanted, timeout_ms),
                |answer| match answer {
                    Err(Refused::None) => Ok(Ok(None)),
                    answer => told(answer.map(Some)),
                },
                move || waited_after(move || matching_event(actor, &wanted, timeout_ms)),
            )
        },
    )?;
    l.func_wrap_async(
        "call",
        |store: Cx<'_>, (to, request, timeout_ms): (Pid, WasmList<u8>, Option<u64>)| {
            let actor = actor(&store);
            let (to, timeout_ms) = (rusm_pid::from(to), limit_of(timeout_ms));
            let first = called(actor, to, request.as_le_slice(&store), timeout_ms);
            // The request was taken over by the first call; the next ones only ask what became of it.
            at_once_or(
                first,
                |answer| answer.map_err(ended),
                move || waited_after(move || called(actor, to, &[], timeout_ms)),
            )
        },
    )?;
    l.func_wrap("reply", |store: Cx<'_>, (token, answer): (u64, WasmList<u8>)| {
        let answer = actor(&store).reply(token, answer.as_le_slice(&store));
        Ok((found(answer)?.is_some(),))
    })
}

fn signals(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("monitor", |store: Cx<'_>, (target,): (Pid,)| {
        Ok((told(actor(&store).watch(target.into()))?,))
    })?;
    l.func_wrap("demonitor", |store: Cx<'_>, (monitor,): (u64,)| {
        Ok((actor(&store).demonitor(monitor),))
    })?;
    l.func_wrap("link", |store: Cx<'_>, (target,): (Pid,)| {
        Ok((told(actor(&store).link(target.into()))?,))
    })?;
    l.func_wrap("unlink", |store: Cx<'_>, (target,): (Pid,)| {
        actor(&store).unlink(target.into());
        Ok(())
    })?;
    l.func_wrap("trap-exit", |store: Cx<'_>, (on,): (bool,)| {
        Ok((actor(&store).trap_exit(on),))
    })?;
    l.func_wrap("exit", |store: Cx<'_>, (reason,): (ExitReason,)| {
        actor(&store).exit(&reason.raw()).map_err(ended)
    })?;
    l.func_wrap("send-exit", |store: Cx<'_>, (target, reason): (Pid, ExitReason)| {
        Ok((told(actor(&store).send_exit(target.into(), &reason.raw()))?,))
    })
}

fn timers(l: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    l.func_wrap("start-timer", |store: Cx<'_>, (delay_ms,): (u64,)| {
        Ok((actor(&store).start_timer(delay_ms).map_err(ended)?,))
    })?;
    l.func_wrap(
        "send-after",
        |store: Cx<'_>, (to, delay_ms, message): (Pid, u64, WasmList<u8>)| {
            let timer = actor(&store).send_to_after(to.into(), delay_ms, message.as_le_slice(&store));
            Ok((timer.map_err(ended)?,))
        },
    )?;
    l.func_wrap("cancel-timer", |store: Cx<'_>, (timer,): (u64,)| {
        Ok((actor(&store).timer_left(timer, true),))
    })?;
    l.func_wrap("read-timer", |store: Cx<'_>, (timer,): (u64,)| {
        Ok((actor(&store).timer_left(timer, false),))
    })
}
