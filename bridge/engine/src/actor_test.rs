//! Panics in the calls of guests that are processes: each crosses the guest and is contained where it was resumed.

use crate::abi::rusm_buffer;
use crate::actor_module;
use crate::engine::{rusm_engine, rusm_engine_config, rusm_engine_new};
use crate::guest::Guest;
use crate::host::{Host, rusm_host};
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::ptr;
use std::task::{Context, Waker};
use wasmtime::{ExternType, Module, Result, ValType};

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
    static EXPORTS_PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Panics if a test on this thread wants it to, where the embedder's function would be called.
pub fn maybe_panic() {
    if PANICS.get() {
        std::panic::panic_any("injected");
    }
}

unsafe extern "C" fn never() {
    unreachable!("a test that panics before calls nothing");
}

/// An engine none of whose embedder's functions is ever called.
pub fn engine() -> Result<&'static rusm_engine> {
    let (mut engine, mut error) = (ptr::null_mut(), rusm_buffer::EMPTY);
    // SAFETY: a table of function pointers, none of which is called; a configuration of which the rest is zero.
    unsafe {
        let host: rusm_host =
            std::mem::transmute([never as *const () as usize; size_of::<rusm_host>() / size_of::<usize>()]);
        let mut config: rusm_engine_config = std::mem::zeroed();
        config.memory_bytes_max = 64 << 20;
        config.memory_reservation_bytes = 64 << 20;
        config.memory_guard_bytes = 64 << 10;
        config.table_elements_max = 1000;
        config.stack_bytes = 1 << 20;
        config.wasm_stack_bytes_max = 512 << 10;
        config.signals_based_traps = true;
        config.blocking_threads_max = 1;
        rusm_engine_new(&config, &host, &mut engine, &mut error);
        engine
            .as_ref()
            .ok_or_else(|| wasmtime::Error::msg("the engine does not start"))
    }
}

pub fn guest(engine: &'static rusm_engine) -> Guest {
    let mut grants = ptr::null_mut();
    // SAFETY: a configuration of nothing but zeros and null pointers is one that grants nothing.
    unsafe {
        let mut config: crate::grants::rusm_grants_config = std::mem::zeroed();
        config.memory_bytes_max = 1 << 20;
        config.hostcall_bytes_max = 1 << 20;
        crate::grants::rusm_grants_new(&config, &mut grants, ptr::null_mut());
        Guest::new(engine, Host::new(engine.host(), ptr::null_mut()), &*grants)
    }
}

pub fn failed(failure: crate::abi::Failure) -> wasmtime::Error {
    wasmtime::Error::msg(failure.text)
}

/// What the panic said that came out of the first poll of `future`; nothing if none did.
fn panic_of(future: impl Future) -> Option<String> {
    PANICS.set(true);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    }));
    PANICS.set(false);
    polled.err().map(|payload| crate::abi::panic_text(payload.as_ref()))
}

fn zero(ty: &ValType) -> &'static str {
    match ty {
        ValType::I64 => "(i64.const 0)",
        _ => "(i32.const 0)",
    }
}

/// A module whose `run` calls one function of the module `rusm` with zeros.
fn caller_of(name: &str, ty: &wasmtime::FuncType) -> String {
    let params: Vec<String> = ty.params().map(|param| param.to_string()).collect();
    let results: Vec<String> = ty.results().map(|result| result.to_string()).collect();
    let zeros: String = ty.params().map(|param| zero(&param)).collect();
    let drops = "drop ".repeat(results.len());
    format!(
        r#"(module (import "rusm" "{name}" (func $f (param {}) (result {}))) (memory (export "memory") 1)
           (func (export "run") {zeros} call $f {drops}))"#,
        params.join(" "),
        results.join(" ")
    )
}

/// The same inside of an export.
pub fn maybe_panic_in_export() {
    if EXPORTS_PANIC.get() {
        std::panic::panic_any("injected");
    }
}

/// Runs `body` with a panic in each call of a guest.
pub fn with_panics_in_calls<R>(body: impl FnOnce() -> R) -> R {
    PANICS.set(true);
    let result = body();
    PANICS.set(false);
    result
}

/// Runs `body` with a panic in each export.
pub fn with_panics<R>(body: impl FnOnce() -> R) -> R {
    EXPORTS_PANIC.set(true);
    let result = body();
    EXPORTS_PANIC.set(false);
    result
}

/// What tests/hostcalls calls with arguments of every kind.
const MODULE_CALLS: &str = include_str!("../../../tests/hostcalls/module_calls.txt");

#[test]
fn all_that_modules_are_offered_is_tested_with_every_kind_of_argument() -> Result<()> {
    let engine = engine()?;
    let linker = engine.module_linker().map_err(failed)?;
    let mut store = guest(engine).into_store(engine.wasmtime());
    let mut offered = Vec::new();
    let definitions: Vec<_> = linker
        .iter(&mut store)
        .map(|(module, name, item)| (module.to_owned(), name.to_owned(), item))
        .collect();
    for (module, name, item) in definitions {
        let ExternType::Func(ty) = item.ty(&store) else {
            return Err(wasmtime::Error::msg(format!("{name} is no function")));
        };
        let mut words = vec![module, name];
        words.extend(ty.params().map(|param| param.to_string()));
        words.push("->".to_owned());
        words.extend(ty.results().map(|result| result.to_string()));
        offered.push(words.join(" "));
    }
    offered.sort();
    let tested: Vec<&str> = MODULE_CALLS.lines().collect();
    assert_eq!(offered, tested, "tests/hostcalls/module_calls.txt lists what modules may import");
    for name in actor_module::FUNCTIONS {
        assert!(tested.iter().any(|line| line.starts_with(&format!("rusm {name} "))), "{name}");
    }
    Ok(())
}

#[test]
fn a_panic_in_any_call_of_a_module_is_contained() -> Result<()> {
    let engine = engine()?;
    let linker = engine.module_linker().map_err(failed)?;
    for name in actor_module::FUNCTIONS {
        // These two ask nobody.
        if ["last_error", "notify"].contains(name) {
            continue;
        }
        let mut store = guest(engine).into_store(engine.wasmtime());
        let ExternType::Func(ty) = linker.get(&mut store, actor_module::MODULE, name)?.ty(&store) else {
            return Err(wasmtime::Error::msg(format!("{name} is no function")));
        };
        let module = Module::new(engine.wasmtime(), caller_of(name, &ty))?;
        let said = panic_of(async {
            let instance = linker.instantiate_async(&mut store, &module).await?;
            let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
            run.call_async(&mut store, ()).await
        });
        assert_eq!(said.as_deref(), Some("injected"), "{name}");
    }
    Ok(())
}

#[test]
fn a_panic_in_calls_of_a_component_is_contained() -> Result<()> {
    let engine = engine()?;
    let linker = engine.component_linker().map_err(failed)?;
    for (interface, name, params, result) in [
        ("actor@0.1.0", "own-pid", "", "u64"),
        ("actor@0.1.0", "unstash", "", ""),
        ("streams@0.1.0", "stream-accept", "", "u64"),
        ("actor@0.2.0", "demonitor", r#"(param "monitor" u64)"#, "bool"),
        ("actor@0.2.0", "start-timer", r#"(param "delay-ms" u64)"#, "u64"),
    ] {
        let (core_result, drops) = match result {
            "" => ("", ""),
            "bool" => ("(result i32)", "drop"),
            _ => ("(result i64)", "drop"),
        };
        let (core_params, argument) = match params {
            "" => ("", ""),
            _ => ("(param i64)", "(i64.const 0)"),
        };
        let result = if result.is_empty() {
            String::new()
        } else {
            format!("(result {result})")
        };
        let component = wasmtime::component::Component::new(
            engine.wasmtime(),
            format!(
                r#"(component (import "rusm:runtime/{interface}" (instance $i
                     (export "{name}" (func {params} {result}))))
                   (core func $f (canon lower (func $i "{name}")))
                   (core module $m (import "" "f" (func $f {core_params} {core_result}))
                     (func (export "run") {argument} call $f {drops}))
                   (core instance $c (instantiate $m (with "" (instance (export "f" (func $f))))))
                   (func (export "run") (canon lift (core func $c "run"))))"#
            ),
        )?;
        let mut store = guest(engine).into_store(engine.wasmtime());
        let said = panic_of(async {
            let instance = linker.instantiate_async(&mut store, &component).await?;
            let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
            run.call_async(&mut store, ()).await
        });
        assert_eq!(said.as_deref(), Some("injected"), "{name}");
    }
    Ok(())
}
