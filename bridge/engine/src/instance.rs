//! A guest as a suspended computation: made, resumed slice by slice, dropped at any point.

#![allow(non_camel_case_types)]

use crate::abi::{panic_text, rusm_buffer, rusm_bytes};
use crate::exit::{Ending, rusm_exit};
use crate::grants::rusm_grants;
use crate::guest::Guest;
use crate::host::Host;
use crate::http::Exchange;
use crate::program::{Entry, rusm_program};
use crate::wake::{Frame, WakeSlot, rusm_waker};
use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use wasmtime::component::{ComponentExportIndex, InstancePre};
use wasmtime::{Engine, Result};
use wasmtime_wasi::p2::bindings::CommandPre;

/// How often an instance that woke itself is polled again within one resume.
const POLLS_PER_RESUME_MAX: u32 = 16;

/// Where a resume left the instance.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_step {
    /// It could run on: resume it when its turn comes again. Nothing will wake it.
    BUDGET = 0,
    /// It waits: for its waker, or for what a callback said would block.
    WAITING = 1,
    /// It ended: `rusm_instance_exit` tells how. Do not resume it again.
    DONE = 2,
}

type Running = Pin<Box<dyn Future<Output = Ending> + Send>>;

enum Task {
    Plain(Running),
    Http(Exchange),
    Ended(Option<Ending>),
}

/// Threads: any, one at a time.
pub struct rusm_instance {
    program: &'static rusm_program,
    task: Task,
    wake: WakeSlot,
}

async fn run_export(
    pre: &'static InstancePre<Guest>,
    index: &'static ComponentExportIndex,
    engine: &'static Engine,
    mut guest: Guest,
) -> Ending {
    if let Err(error) = guest.prepare() {
        return Ending::of(Err(error), &guest);
    }
    let mut store = guest.into_store(engine);
    let result: Result<i32> = async {
        let instance = pre.instantiate_async(&mut store).await?;
        instance
            .get_typed_func::<(), ()>(&mut store, index)?
            .call_async(&mut store, ())
            .await?;
        Ok(0)
    }
    .await;
    Ending::after(result, store)
}

async fn run_command(pre: &'static CommandPre<Guest>, engine: &'static Engine, mut guest: Guest) -> Ending {
    if let Err(error) = guest.prepare() {
        return Ending::of(Err(error), &guest);
    }
    let mut store = guest.into_store(engine);
    let result: Result<i32> = async {
        let command = pre.instantiate_async(&mut store).await?;
        let returned = command.wasi_cli_run().call_run(&mut store).await?;
        Ok(if returned.is_ok() { 0 } else { 1 })
    }
    .await;
    Ending::after(result, store)
}

async fn run_module(
    pre: &'static wasmtime::InstancePre<Guest>,
    name: &'static str,
    wasi: bool,
    engine: &'static Engine,
    mut guest: Guest,
) -> Ending {
    if wasi && let Err(error) = guest.prepare_p1() {
        return Ending::of(Err(error), &guest);
    }
    let mut store = guest.into_store(engine);
    let result: Result<i32> = async {
        let instance = pre.instantiate_async(&mut store).await?;
        instance
            .get_typed_func::<(), ()>(&mut store, name)?
            .call_async(&mut store, ())
            .await?;
        Ok(0)
    }
    .await;
    Ending::after(result, store)
}

impl rusm_instance {
    fn new(program: &'static rusm_program, guest: Guest) -> rusm_instance {
        let engine = program.engine.wasmtime();
        let task = match &program.entry {
            Entry::Http(pre) => Task::Http(Exchange::new(pre, engine, guest)),
            Entry::Command(pre) => Task::Plain(Box::pin(run_command(pre, engine, guest))),
            Entry::Export { pre, index } => Task::Plain(Box::pin(run_export(pre, index, engine, guest))),
            Entry::Module { pre, name, wasi } => Task::Plain(Box::pin(run_module(pre, name, *wasi, engine, guest))),
        };
        rusm_instance {
            program,
            task,
            wake: WakeSlot::default(),
        }
    }

    fn resume(&mut self) -> rusm_step {
        let rusm_instance { program, task, wake } = self;
        program.engine.with_runtime(|| {
            Frame::run(wake, |frame, cx| {
                for _ in 0..POLLS_PER_RESUME_MAX {
                    match poll(task, cx) {
                        Poll::Ready(ending) => {
                            *task = Task::Ended(Some(ending));
                            return rusm_step::DONE;
                        }
                        Poll::Pending if frame.take_out_of_budget() => return rusm_step::BUDGET,
                        Poll::Pending if frame.take_woken() => {}
                        Poll::Pending => return rusm_step::WAITING,
                    }
                }
                rusm_step::BUDGET
            })
        })
    }
}

fn poll(task: &mut Task, cx: &mut Context<'_>) -> Poll<Ending> {
    match task {
        Task::Plain(future) => future.as_mut().poll(cx),
        Task::Http(exchange) => exchange.poll(cx),
        Task::Ended(ending) => Poll::Ready(
            ending
                .take()
                .unwrap_or_else(|| Ending::host_error("resumed after its end")),
        ),
    }
}

/// Makes an instance that has not run yet. Cheap: nothing is taken from the pool before the first resume. Null if
/// `program` or `grants` is null. Threads: any.
///
/// # Safety
/// `program`, its engine and `grants` must outlive the instance; `context` is handed to the callbacks and must stay
/// valid for them until the instance is dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_new(
    program: *const rusm_program,
    grants: *const rusm_grants,
    context: *mut c_void,
) -> *mut rusm_instance {
    // SAFETY: by contract, both live longer than the instance.
    let (program, grants): (Option<&'static rusm_program>, Option<&'static rusm_grants>) =
        unsafe { (program.as_ref(), grants.as_ref()) };
    let (Some(program), Some(grants)) = (program, grants) else {
        return std::ptr::null_mut();
    };
    let make = || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        let guest = Guest::new(program.engine, Host::new(program.engine.host(), context), grants);
        Box::into_raw(Box::new(rusm_instance::new(program, guest)))
    };
    catch_unwind(AssertUnwindSafe(make)).unwrap_or(std::ptr::null_mut())
}

/// Runs the instance until it ends, waits, or `tick` takes the thread from it. `waker` is copied; pass the same one each
/// time. Callbacks are called meanwhile, on this thread. Threads: any, one at a time for one instance.
///
/// # Safety
/// `instance` must be live; `waker` must be null or valid during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_resume(instance: *mut rusm_instance, waker: *const rusm_waker) -> rusm_step {
    // SAFETY: by contract.
    let (instance, waker) = unsafe { (&mut *instance, waker.as_ref()) };
    if let Some(waker) = waker {
        instance.wake.set_target(*waker);
    }
    let resume = || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        instance.resume()
    };
    match catch_unwind(AssertUnwindSafe(resume)) {
        Ok(step) => step,
        Err(payload) => {
            let ending = Ending::panic(payload.as_ref());
            retire(instance, Task::Ended(Some(ending)));
            rusm_step::DONE
        }
    }
}

/// Replaces the instance's task; a panic of the old one's clean-up is contained.
fn retire(instance: &mut rusm_instance, next: Task) {
    let old = std::mem::replace(&mut instance.task, next);
    let engine = instance.program.engine;
    let clean_up = move || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        drop(old);
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| engine.with_runtime(clean_up))) {
        // The guest is gone either way; leaking the payload keeps its own destructor from panicking in turn.
        drop(panic_text(payload.as_ref()));
        std::mem::forget(payload);
    }
}

/// Tells how the instance ended and fills in `out`, for `rusm_exit_free`. False if it did not end, or was asked before.
/// Making the texts takes longer than most guests run. Threads: as resume.
///
/// # Safety
/// `instance` must be live and `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_exit(instance: *mut rusm_instance, out: *mut rusm_exit) -> bool {
    // SAFETY: by contract.
    let instance = unsafe { &mut *instance };
    let Task::Ended(ending) = &mut instance.task else {
        return false;
    };
    let Some(ending) = ending.take() else {
        return false;
    };
    let engine = instance.program.engine;
    let tell = || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        ending.into_exit()
    };
    let exit = catch_unwind(AssertUnwindSafe(|| engine.with_runtime(tell)));
    let exit = exit.unwrap_or_else(|payload| Ending::panic(payload.as_ref()).into_exit());
    // SAFETY: by contract.
    unsafe { out.write(exit) };
    true
}

/// Whether `rusm_instance_core_dump` could write one: the engine keeps them and the guest crashed. Threads: as resume.
///
/// # Safety
/// `instance` must be live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_has_core_dump(instance: *const rusm_instance) -> bool {
    // SAFETY: by contract.
    matches!(&unsafe { &*instance }.task, Task::Ended(Some(ending)) if ending.has_core_dump())
}

/// Writes the core dump of a guest that crashed, before `rusm_instance_exit`: in the format of WebAssembly's tool
/// conventions, `name` in it as the program's name. False if there is none: the engine keeps none (`core_dumps`), the
/// guest did not crash, or its memories have more than `bytes_max` together. Threads: as resume.
///
/// # Safety
/// `instance` must be live, `name` valid during the call, `out` writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_core_dump(
    instance: *mut rusm_instance,
    name: rusm_bytes,
    bytes_max: u64,
    out: *mut rusm_buffer,
) -> bool {
    // SAFETY: by contract.
    let (instance, name) = unsafe { (&mut *instance, name.to_text("the name of the program")) };
    let (Task::Ended(Some(ending)), Ok(name)) = (&mut instance.task, name) else {
        return false;
    };
    let engine = instance.program.engine;
    let dump = || {
        #[cfg(test)]
        crate::actor_test::maybe_panic_in_export();
        engine.with_runtime(|| ending.core_dump(&name, bytes_max))
    };
    let Ok(Some(dump)) = catch_unwind(AssertUnwindSafe(dump)) else {
        return false;
    };
    // SAFETY: by contract.
    unsafe { out.write(rusm_buffer::from_vec(dump)) };
    true
}

/// Ends the instance wherever it is and frees it with all that it held; a suspended guest's host calls are unwound, so
/// callbacks may be called meanwhile. Threads: any, as resume. Null is allowed.
///
/// # Safety
/// `instance` must be null or come from `rusm_instance_new`, dropped once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_instance_drop(instance: *mut rusm_instance) {
    if !instance.is_null() {
        // SAFETY: by contract.
        let mut instance = unsafe { Box::from_raw(instance) };
        if !matches!(instance.task, Task::Ended(None)) {
            retire(&mut instance, Task::Ended(None));
        }
    }
}

/// Frees the texts of an exit. Threads: any.
///
/// # Safety
/// `exit` must be null or filled in by `rusm_instance_exit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_exit_free(exit: *mut rusm_exit) {
    if let Some(exit) = unsafe { exit.as_mut() } {
        for buffer in [&mut exit.text, &mut exit.backtrace] {
            // SAFETY: buffers of this library.
            unsafe { crate::abi::rusm_buffer_free(std::ptr::from_mut::<rusm_buffer>(buffer)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::rusm_exit_kind;
    use crate::wake::Frame;
    use std::task::Waker;
    use wasmtime::{Config, Linker, Module};

    /// Drives a task as `rusm_instance_resume` does, without an engine of ours around it.
    fn contained(mut task: Task) -> Ending {
        let slot = WakeSlot::default();
        let polled = catch_unwind(AssertUnwindSafe(|| Frame::run(&slot, |_, cx| poll(&mut task, cx))));
        let ending = match polled {
            Ok(Poll::Ready(ending)) => ending,
            Ok(Poll::Pending) => Ending::host_error("still running"),
            Err(payload) => Ending::panic(payload.as_ref()),
        };
        drop(catch_unwind(AssertUnwindSafe(move || drop(task))));
        ending
    }

    fn text(ending: Ending) -> (rusm_exit_kind, String) {
        let mut exit = ending.into_exit();
        // SAFETY: just filled in.
        let text = unsafe { std::slice::from_raw_parts(exit.text.ptr, exit.text.len) }.to_vec();
        // SAFETY: as above.
        unsafe { rusm_exit_free(&mut exit) };
        (exit.kind, String::from_utf8_lossy(&text).into_owned())
    }

    fn panicking_guest(wasm: &str, link: impl FnOnce(&mut Linker<()>) -> Result<()>) -> Result<Task> {
        let engine = Engine::new(&Config::new())?;
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        let pre = linker.instantiate_pre(&Module::new(&engine, wasm)?)?;
        Ok(Task::Plain(Box::pin(async move {
            let mut store = wasmtime::Store::new(&engine, ());
            let result: Result<()> = async {
                let instance = pre.instantiate_async(&mut store).await?;
                instance
                    .get_typed_func::<(), ()>(&mut store, "run")?
                    .call_async(&mut store, ())
                    .await
            }
            .await;
            Ending::host_error(format!("{result:?}"))
        })))
    }

    fn panics(text: &'static str) {
        std::panic::panic_any(text);
    }

    const CALLS: &str = r#"(module (import "host" "f" (func $f)) (func (export "run") (call $f)))"#;

    #[test]
    fn a_panic_in_a_host_function_crosses_the_guest_and_is_contained() -> Result<()> {
        let task = panicking_guest(CALLS, |linker| {
            linker.func_wrap("host", "f", || panics("plain"))?;
            Ok(())
        })?;
        assert_eq!(text(contained(task)), (rusm_exit_kind::PANIC, "plain".to_owned()));
        let task = panicking_guest(CALLS, |linker| {
            linker.func_wrap_async("host", "f", |_, (): ()| Box::new(async { panics("async") }))?;
            Ok(())
        })?;
        assert_eq!(text(contained(task)), (rusm_exit_kind::PANIC, "async".to_owned()));
        Ok(())
    }

    #[test]
    fn a_panic_while_a_suspended_guest_is_dropped_is_contained() -> Result<()> {
        struct PanicsOnDrop;
        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                std::panic::panic_any("dropped");
            }
        }
        let mut task = panicking_guest(CALLS, |linker| {
            linker.func_wrap_async("host", "f", |_, (): ()| {
                Box::new(async {
                    let _guard = PanicsOnDrop;
                    std::future::pending::<()>().await;
                })
            })?;
            Ok(())
        })?;
        assert!(poll(&mut task, &mut Context::from_waker(Waker::noop())).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(move || drop(task))).is_err());
        Ok(())
    }
}
