//! Panics in every call of guests that are processes, and in every export: each is contained, and is an answer.

use crate::abi::{rusm_buffer, rusm_buffer_free, rusm_bytes, rusm_status};
use crate::actor_module;
use crate::actor_test::{engine, failed, guest, with_panics, with_panics_in_calls};
use crate::artifact::{rusm_compile, rusm_component, rusm_component_free, rusm_component_load};
use crate::compile::rusm_compile_limits;
use crate::engine::{rusm_engine, rusm_engine_new};
use crate::exit::{rusm_exit, rusm_exit_kind};
use crate::grants::{rusm_grants, rusm_grants_config, rusm_grants_free, rusm_grants_new};
use crate::instance::{
    rusm_exit_free, rusm_instance, rusm_instance_core_dump, rusm_instance_drop, rusm_instance_exit, rusm_instance_new,
    rusm_instance_resume, rusm_step,
};
use crate::program::{rusm_program, rusm_program_free, rusm_program_new};
use std::ptr;
use wasmtime::{Error, ExternType, FuncType, Result, ValType};

const EXPORT: u32 = 2;
const LIMITS: rusm_compile_limits = rusm_compile_limits {
    wasm_bytes_max: 1 << 20,
    functions_max: 1000,
    function_bytes_max: 1 << 20,
    time_ms_max: 60_000,
};

fn text(buffer: &rusm_buffer) -> String {
    // SAFETY: filled in by the library, and not freed.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.ptr, buffer.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

fn ok(status: rusm_status, error: &rusm_buffer) -> Result<()> {
    match status {
        rusm_status::OK => Ok(()),
        _ => Err(Error::msg(text(error))),
    }
}

/// A guest, made through the C ABI.
struct Made {
    component: *mut rusm_component,
    program: *mut rusm_program,
    grants: *mut rusm_grants,
    instance: *mut rusm_instance,
}

impl Made {
    fn nothing() -> Made {
        Made {
            component: ptr::null_mut(),
            program: ptr::null_mut(),
            grants: ptr::null_mut(),
            instance: ptr::null_mut(),
        }
    }

    fn new(engine: &rusm_engine, wasm: &str) -> Result<Made> {
        let (mut artifact, mut error) = (rusm_buffer::EMPTY, rusm_buffer::EMPTY);
        let mut made = Made::nothing();
        // SAFETY: all of it lives as long as the call; a configuration of zeros grants nothing.
        unsafe {
            let wasm = rusm_bytes::of(wasm.as_bytes());
            ok(rusm_compile(engine, wasm, &LIMITS, &mut artifact, &mut error), &error)?;
            let code = rusm_bytes {
                ptr: artifact.ptr,
                len: artifact.len,
            };
            ok(
                rusm_component_load(engine, code, &mut made.component, &mut error),
                &error,
            )?;
            rusm_buffer_free(&mut artifact);
            let name = rusm_bytes::of(b"run");
            ok(
                rusm_program_new(made.component, EXPORT, name, &mut made.program, &mut error),
                &error,
            )?;
            let mut config: rusm_grants_config = std::mem::zeroed();
            config.memory_bytes_max = 1 << 20;
            config.hostcall_bytes_max = 1 << 20;
            config.resources_max = 10;
            ok(rusm_grants_new(&config, &mut made.grants, &mut error), &error)?;
            made.instance = rusm_instance_new(made.program, made.grants, ptr::null_mut());
        }
        Ok(made)
    }

    fn resume(&mut self) -> rusm_step {
        // SAFETY: made above.
        unsafe { rusm_instance_resume(self.instance, ptr::null()) }
    }

    fn exit(&mut self) -> (rusm_exit_kind, String) {
        let mut exit = std::mem::MaybeUninit::<rusm_exit>::uninit();
        // SAFETY: made above; what is filled in is freed once.
        unsafe {
            assert!(rusm_instance_exit(self.instance, exit.as_mut_ptr()));
            let mut exit = exit.assume_init();
            let told = (exit.kind, text(&exit.text));
            rusm_exit_free(&mut exit);
            told
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: made above, in the order of their needs.
        unsafe {
            rusm_instance_drop(self.instance);
            rusm_program_free(self.program);
            rusm_component_free(self.component);
            rusm_grants_free(self.grants);
        }
    }
}

/// How a guest ends when whatever it calls panics.
fn end_of(engine: &rusm_engine, wasm: &str) -> Result<(rusm_exit_kind, String)> {
    let mut made = Made::new(engine, wasm)?;
    assert_eq!(with_panics_in_calls(|| made.resume()), rusm_step::DONE);
    Ok(made.exit())
}

fn injected() -> (rusm_exit_kind, String) {
    (rusm_exit_kind::PANIC, "injected".to_owned())
}

fn words(types: impl Iterator<Item = ValType>) -> Vec<String> {
    types.map(|ty| ty.to_string()).collect()
}

/// A module whose `run` calls one function of the module `rusm` with zeros.
fn module_that_calls(name: &str, ty: &FuncType) -> String {
    let (params, results) = (words(ty.params()), words(ty.results()));
    let zeros: Vec<String> = params.iter().map(|ty| format!("({ty}.const 0)")).collect();
    format!(
        r#"(module (import "rusm" "{name}" (func $f (param {}) (result {}))) (memory (export "memory") 1)
           (func (export "run") {} call $f {}))"#,
        params.join(" "),
        results.join(" "),
        zeros.join(" "),
        "drop ".repeat(results.len())
    )
}

#[test]
fn a_panic_in_any_call_of_a_module_ends_it() -> Result<()> {
    let engine = engine()?;
    let linker = engine.module_linker().map_err(failed)?;
    for name in actor_module::FUNCTIONS {
        let mut store = guest(engine).into_store(engine.wasmtime());
        let ExternType::Func(ty) = linker.get(&mut store, actor_module::MODULE, name)?.ty(&store) else {
            return Err(Error::msg(format!("{name} is no function")));
        };
        let end = end_of(engine, &module_that_calls(name, &ty))?;
        // These two ask nobody.
        if ["last_error", "notify"].contains(name) {
            assert_eq!(end.0, rusm_exit_kind::NORMAL, "{name}");
        } else {
            assert_eq!(end, injected(), "{name}");
        }
    }
    Ok(())
}

/// The functions of `rusm:runtime@0.1.0`: interface, name, type, and the parameters and results of its lowered form.
const RUNTIME: &[(&str, &str, &str, &str, &str)] = &[
    ("actor", "own-pid", "(result u64)", "", "i64"),
    (
        "actor",
        "spawn",
        "(param \"a\" string) (result (result u64 (error string)))",
        "i32 i32 i32",
        "",
    ),
    (
        "actor",
        "spawn-from",
        "(param \"a\" string) (param \"b\" string) (result (result u64 (error string)))",
        "i32 i32 i32 i32 i32",
        "",
    ),
    ("actor", "monitor", "(param \"a\" u64)", "i64", ""),
    (
        "actor",
        "supervise",
        "(param \"a\" $strategy) (param \"b\" (list string)) (param \"c\" u32) (param \"d\" u32) \
         (result (result u64 (error string)))",
        "i32 i32 i32 i32 i32 i32",
        "",
    ),
    (
        "actor",
        "send",
        "(param \"a\" u64) (param \"b\" (list u8))",
        "i64 i32 i32",
        "",
    ),
    ("actor", "receive", "(result (list u8))", "i32", ""),
    (
        "actor",
        "receive-timeout",
        "(param \"a\" u64) (result (option (list u8)))",
        "i64 i32",
        "",
    ),
    ("actor", "stash", "(param \"a\" (list u8))", "i32 i32", ""),
    ("actor", "unstash", "", "", ""),
    (
        "actor",
        "send-after",
        "(param \"a\" u64) (param \"b\" u64) (param \"c\" (list u8)) (result u64)",
        "i64 i64 i32 i32",
        "i64",
    ),
    ("actor", "cancel-timer", "(param \"a\" u64) (result bool)", "i64", "i32"),
    ("actor", "list-processes", "(result (list u64))", "i32", ""),
    (
        "actor",
        "info",
        "(param \"a\" u64) (result (option $info))",
        "i64 i32",
        "",
    ),
    ("actor", "is-alive", "(param \"a\" u64) (result bool)", "i64", "i32"),
    ("actor", "kill", "(param \"a\" u64) (result bool)", "i64", "i32"),
    (
        "actor",
        "register",
        "(param \"a\" string) (result bool)",
        "i32 i32",
        "i32",
    ),
    (
        "actor",
        "whereis",
        "(param \"a\" string) (result (option u64))",
        "i32 i32 i32",
        "",
    ),
    (
        "actor",
        "unregister",
        "(param \"a\" string) (result bool)",
        "i32 i32",
        "i32",
    ),
    ("actor", "set-label", "(param \"a\" string)", "i32 i32", ""),
    ("pg", "register-tag", "(param \"a\" string)", "i32 i32", ""),
    ("pg", "unregister-tag", "(param \"a\" string)", "i32 i32", ""),
    (
        "pg",
        "whereis-tag",
        "(param \"a\" string) (result (list u64))",
        "i32 i32 i32",
        "",
    ),
    ("pg", "kill-tag", "(param \"a\" string) (result u32)", "i32 i32", "i32"),
    (
        "streams",
        "stream-open",
        "(param \"a\" u64) (result (option u64))",
        "i64 i32",
        "",
    ),
    (
        "streams",
        "stream-write",
        "(param \"a\" u64) (param \"b\" (list u8)) (result bool)",
        "i64 i32 i32",
        "i32",
    ),
    ("streams", "stream-close", "(param \"a\" u64)", "i64", ""),
    ("streams", "stream-accept", "(result u64)", "", "i64"),
    (
        "streams",
        "stream-read",
        "(param \"a\" u64) (result (option (list u8)))",
        "i64 i32",
        "",
    ),
    (
        "kv",
        "get",
        "(param \"a\" string) (param \"b\" string) (result (result (option (list u8)) (error string)))",
        "i32 i32 i32 i32 i32",
        "",
    ),
    (
        "kv",
        "set",
        "(param \"a\" string) (param \"b\" string) (param \"c\" (list u8)) (result (result (error string)))",
        "i32 i32 i32 i32 i32 i32 i32",
        "",
    ),
    (
        "kv",
        "delete",
        "(param \"a\" string) (param \"b\" string) (result (result bool (error string)))",
        "i32 i32 i32 i32 i32",
        "",
    ),
    (
        "kv",
        "exists",
        "(param \"a\" string) (param \"b\" string) (result (result bool (error string)))",
        "i32 i32 i32 i32 i32",
        "",
    ),
    (
        "kv",
        "list",
        "(param \"a\" string) (result (result (list string) (error string)))",
        "i32 i32 i32",
        "",
    ),
    (
        "log",
        "log",
        "(param \"a\" $level) (param \"b\" string)",
        "i32 i32 i32",
        "",
    ),
];

/// Those that ask nobody.
const SILENT: &[&str] = &["connection", "ws-send-text", "ws-close", "sse-send"];

const TYPES: &str = r#"
    (type $strategy-of (enum "one-for-one" "one-for-all" "rest-for-one"))
    (export "supervise-strategy" (type $strategy (eq $strategy-of)))
    (type $info-of (record (field "pid" u64) (field "links" u32) (field "monitors" u32) (field "names" (list string))
      (field "label" (option string)) (field "mailbox-depth" u32) (field "trap-exit" bool)))
    (export "process-info" (type $info (eq $info-of)))
    (type $level-of (enum "error" "warn" "info" "debug"))
    (export "log-level" (type $level (eq $level-of)))"#;

fn component_that_calls((interface, name, ty, params, result): (&str, &str, &str, &str, &str)) -> String {
    let zeros: String = params.split_whitespace().map(|ty| format!("({ty}.const 0) ")).collect();
    let drop = if result.is_empty() { "" } else { "drop" };
    format!(
        r#"(component
          (import "rusm:runtime/{interface}@0.1.0" (instance $i {TYPES} (export "{name}" (func {ty}))))
          (core module $libc (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
          (core instance $l (instantiate $libc))
          (core func $f (canon lower (func $i "{name}") (memory (core memory $l "memory"))
            (realloc (core func $l "realloc"))))
          (core module $m (import "" "f" (func $f (param {params}) (result {result})))
            (func (export "run") {zeros} call $f {drop}))
          (core instance $c (instantiate $m (with "" (instance (export "f" (func $f))))))
          (func (export "run") (canon lift (core func $c "run"))))"#
    )
}

#[test]
fn a_panic_in_any_call_of_a_component_ends_it() -> Result<()> {
    let engine = engine()?;
    for call in RUNTIME {
        assert_eq!(end_of(engine, &component_that_calls(*call))?, injected(), "{}", call.1);
    }
    Ok(())
}

#[test]
fn each_function_of_the_interfaces_is_called() {
    let wit = include_str!("../../../wit/runtime.wit");
    let named = wit.lines().filter_map(|line| line.split_once(": func("));
    for (name, _) in named {
        let name = name.trim().trim_start_matches('%');
        let is_run = name == "export run";
        assert!(
            is_run || SILENT.contains(&name) || RUNTIME.iter().any(|call| call.1 == name),
            "{name} is not called"
        );
    }
}

#[test]
fn a_panic_in_any_export_is_its_answer() -> Result<()> {
    let engine = engine()?;
    let returns = r#"(module (func (export "run")))"#;
    let mut made = Made::new(engine, returns)?;
    let mut error = rusm_buffer::EMPTY;
    // SAFETY: what is made here lives as long as the calls; what fails makes nothing.
    unsafe {
        let (mut artifact, mut other) = (rusm_buffer::EMPTY, Made::nothing());
        let wasm = rusm_bytes::of(returns.as_bytes());
        let mut statuses = Vec::new();
        with_panics(|| {
            statuses.push(rusm_engine_new(ptr::null(), ptr::null(), ptr::null_mut(), &mut error));
            statuses.push(rusm_compile(engine, wasm, &LIMITS, &mut artifact, &mut error));
            statuses.push(rusm_component_load(engine, wasm, &mut other.component, &mut error));
            statuses.push(rusm_program_new(
                made.component,
                EXPORT,
                wasm,
                &mut other.program,
                &mut error,
            ));
            statuses.push(rusm_grants_new(ptr::null(), &mut other.grants, &mut error));
            other.instance = rusm_instance_new(made.program, made.grants, ptr::null_mut());
        });
        assert_eq!(statuses, [rusm_status::PANIC; 5]);
        assert_eq!(text(&error), "injected");
        assert!(other.instance.is_null());
    }
    assert_eq!(with_panics(|| made.resume()), rusm_step::DONE);
    assert_eq!(made.exit(), injected());

    let mut made = Made::new(engine, r#"(module (func (export "run") unreachable))"#)?;
    assert_eq!(made.resume(), rusm_step::DONE);
    let mut dump = rusm_buffer::EMPTY;
    // SAFETY: as above.
    let dumped = with_panics(|| unsafe { rusm_instance_core_dump(made.instance, rusm_bytes::EMPTY, 1, &mut dump) });
    assert!(!dumped);
    assert_eq!(with_panics(|| made.exit()), injected());

    let made = Made::new(engine, returns)?;
    with_panics(|| drop(made));
    Ok(())
}
