//! Compile, load, run, limit, stop and drop guests through the C ABI.

use crate::common::{Engine, Grants, Instance, World, check, grants_config, small_config};
use rusm_bridge::abi::{rusm_buffer, rusm_bytes, rusm_status};
use rusm_bridge::artifact::{RUSM_ENTRY_BIT_COMMAND, rusm_component_info};
use rusm_bridge::engine::{rusm_engine_compat_hash, rusm_engine_config, rusm_engine_new, rusm_pool_usage};
use rusm_bridge::exit::rusm_exit_kind;
use rusm_bridge::grants::{rusm_env, rusm_grants_new, rusm_preopen};
use rusm_bridge::host::{rusm_host, rusm_tick};
use rusm_bridge::instance::{rusm_instance_new, rusm_step};
use rusm_bridge::program::rusm_entry;
use std::ptr;

/// A component around one core module that exports "run" and, where it has one, "memory".
fn component(core: &str) -> String {
    format!(
        r#"(component (core module $m {core}) (core instance $i (instantiate $m))
           (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

fn run(wasm: &str, entry: rusm_entry, name: &str, world: &mut World) -> crate::common::Exit {
    let engine = Engine::new(&small_config());
    let program = engine.program(wasm, entry, name).unwrap();
    let grants = Grants::new(&grants_config());
    let exit = Instance::new(&program, &grants, world).run();
    assert_eq!(
        engine.pool(),
        rusm_pool_usage {
            unused_warm_memories: engine.pool().unused_warm_memories,
            ..Default::default()
        }
    );
    exit
}

fn run_component(core: &str) -> crate::common::Exit {
    run(&component(core), rusm_entry::EXPORT, "run", &mut World::new())
}

#[test]
fn a_component_runs_and_leaves_nothing_behind() {
    let exit = run_component(r#"(memory 2) (func (export "run") (i32.store (i32.const 4096) (i32.const 7)))"#);
    assert_eq!((exit.kind, exit.code), (rusm_exit_kind::NORMAL, 0));
    assert_eq!(exit.memory_bytes_peak, 2 * 65536);
    assert_eq!((exit.text.as_str(), exit.backtrace.as_str()), ("", ""));
}

#[test]
fn memory_is_fresh_for_each_instance() {
    let engine = Engine::new(&small_config());
    // Traps when it finds what an earlier instance wrote.
    let core = r#"(memory 1) (func (export "run")
        (if (i32.load (i32.const 8192)) (then unreachable)) (i32.store (i32.const 8192) (i32.const 1)))"#;
    let program = engine.program(component(core), rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    for _ in 0..50 {
        let mut world = World::new();
        assert_eq!(
            Instance::new(&program, &grants, &mut world).run().kind,
            rusm_exit_kind::NORMAL
        );
    }
}

#[test]
fn a_trap_names_its_cause_and_its_frames() {
    let exit =
        run_component(r#"(func $inner unreachable) (func $outer (call $inner)) (func (export "run") (call $outer))"#);
    assert_eq!(exit.kind, rusm_exit_kind::TRAP);
    assert_eq!(exit.text, "wasm trap: wasm `unreachable` instruction executed");
    let (inner, outer) = (
        exit.backtrace.find("inner").unwrap(),
        exit.backtrace.find("outer").unwrap(),
    );
    assert!(inner < outer, "innermost first: {}", exit.backtrace);
}

#[test]
fn memory_beyond_the_limit_ends_as_memory_limit() {
    let hog = r#"(memory 1) (func (export "run")
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)"#;
    let exit = run_component(hog);
    assert_eq!(exit.kind, rusm_exit_kind::MEMORY_LIMIT);
    assert!(
        exit.memory_bytes_peak <= 16 << 20 && exit.memory_bytes_peak > 14 << 20,
        "{}",
        exit.memory_bytes_peak
    );
    // One that does not even start.
    assert_eq!(
        run_component(r#"(memory 500) (func (export "run"))"#).kind,
        rusm_exit_kind::MEMORY_LIMIT
    );
    // A guest that is refused and copes is fine.
    let copes = r#"(memory 1) (func (export "run") (drop (memory.grow (i32.const 500))))"#;
    assert_eq!(run_component(copes).kind, rusm_exit_kind::NORMAL);
}

#[test]
fn tables_beyond_the_limit_end_as_table_limit() {
    let hog = r#"(table $t 1 funcref) (func (export "run")
        (if (i32.eq (table.grow $t (ref.null func) (i32.const 15000)) (i32.const -1)) (then unreachable)))"#;
    assert_eq!(run_component(hog).kind, rusm_exit_kind::TABLE_LIMIT);
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let exit = run_component(r#"(func $f (call $f) (call $f)) (func (export "run") (call $f))"#);
    assert_eq!(exit.kind, rusm_exit_kind::STACK_OVERFLOW);
}

const SPIN: &str = r#"(memory 1) (func (export "run") (loop $l (br $l)))"#;

/// Resumes while another thread ends tick after tick.
fn resume_ticking(engine: &Engine, instance: &mut Instance<'_>) -> rusm_step {
    std::thread::scope(|scope| {
        let resumed = scope.spawn(|| instance.resume());
        while !resumed.is_finished() {
            engine.tick();
            std::thread::yield_now();
        }
        resumed.join().unwrap()
    })
}

#[test]
fn a_spinning_guest_yields_at_each_tick_until_it_is_stopped() {
    let engine = Engine::new(&small_config());
    let program = engine.program(component(SPIN), rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    let mut world = World::new();
    world.ticks = [rusm_tick::YIELD, rusm_tick::CONTINUE, rusm_tick::YIELD, rusm_tick::STOP].into();
    let mut instance = Instance::new(&program, &grants, &mut world);
    let steps = [(); 3].map(|()| resume_ticking(&engine, &mut instance));
    let exit = instance.exit();
    assert_eq!(steps, [rusm_step::BUDGET, rusm_step::BUDGET, rusm_step::DONE]);
    assert_eq!(exit.kind, rusm_exit_kind::STOPPED);
    drop(instance);
    assert_eq!((world.tick_count, world.wakes.into_inner()), (4, 0));
}

#[test]
fn a_suspended_guest_can_be_dropped_on_another_thread() {
    let engine = Engine::new(&small_config());
    let program = engine.program(component(SPIN), rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    let mut world = World::new();
    world.ticks = [rusm_tick::YIELD].into();
    let mut instance = Instance::new(&program, &grants, &mut world);
    assert_eq!(resume_ticking(&engine, &mut instance), rusm_step::BUDGET);
    assert_eq!(engine.pool().stacks, 1);
    std::thread::scope(|scope| scope.spawn(|| drop(instance)).join().unwrap());
    assert_eq!((engine.pool().stacks, engine.pool().memories), (0, 0));
    // One that never ran, too.
    drop(Instance::new(&program, &grants, &mut world));
    assert_eq!(engine.pool().component_instances, 0);
}

#[test]
fn a_full_pool_is_reported_and_recovers() {
    let config = rusm_engine_config {
        component_instances_max: 1,
        ..small_config()
    };
    let engine = Engine::new(&config);
    let program = engine.program(component(SPIN), rusm_entry::EXPORT, "run").unwrap();
    let quick = engine
        .program(component(r#"(func (export "run"))"#), rusm_entry::EXPORT, "run")
        .unwrap();
    let grants = Grants::new(&grants_config());
    let (mut first, mut second) = (World::new(), World::new());
    first.ticks = [rusm_tick::YIELD].into();
    let mut spinning = Instance::new(&program, &grants, &mut first);
    assert_eq!(resume_ticking(&engine, &mut spinning), rusm_step::BUDGET);
    assert_eq!(
        Instance::new(&quick, &grants, &mut second).run().kind,
        rusm_exit_kind::NO_CAPACITY
    );
    drop(spinning);
    assert_eq!(
        Instance::new(&quick, &grants, &mut second).run().kind,
        rusm_exit_kind::NORMAL
    );
}

const PREVIEW1: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "hello\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))
    (call $exit (i32.const 3))))"#;

#[test]
fn a_preview_1_command_writes_and_exits_with_its_code() {
    let mut world = World::new();
    let exit = run(PREVIEW1, rusm_entry::COMMAND, "", &mut world);
    assert_eq!((exit.kind, exit.code), (rusm_exit_kind::EXIT_CODE, 3));
    assert_eq!(exit.text, "exited with code 3");
    assert_eq!(world.log, [(2, "hello\n".to_owned())]);
    let zero = PREVIEW1.replace("(call $exit (i32.const 3))", "(call $exit (i32.const 0))");
    assert_eq!(
        run(&zero, rusm_entry::COMMAND, "", &mut World::new()).kind,
        rusm_exit_kind::NORMAL
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_exit_and_not_a_panic() {
    let preopen = rusm_preopen {
        host_path: rusm_bytes::of(b"/nonexistent/folder"),
        guest_path: rusm_bytes::of(b"/data"),
        read_only: true,
    };
    let config = rusm_bridge::grants::rusm_grants_config {
        preopens: &preopen,
        preopen_count: 1,
        ..grants_config()
    };
    let grants = Grants::new(&config);
    let engine = Engine::new(&small_config());
    let program = engine.program(PREVIEW1, rusm_entry::COMMAND, "").unwrap();
    let exit = Instance::new(&program, &grants, &mut World::new()).run();
    assert_eq!(exit.kind, rusm_exit_kind::HOST_ERROR);
    assert!(
        exit.text
            .starts_with("cannot open the folder /nonexistent/folder for the guest"),
        "{}",
        exit.text
    );
}

#[test]
fn what_is_not_wasm_is_refused_with_a_text() {
    let engine = Engine::new(&small_config());
    let whole = wat::parse_str(component(SPIN)).unwrap();
    for bytes in [
        &b""[..],
        b"hello",
        b"\0asm",
        b"\0asm\x07\0\0\0",
        &whole[..whole.len() - 3],
        &whole[..20],
    ] {
        let refused = engine.compile(bytes).unwrap_err();
        assert_eq!(refused.status, rusm_status::INVALID_WASM);
        assert!(refused.text.starts_with("not "), "{}", refused.text);
    }
}

#[test]
fn the_wrong_world_is_refused_with_what_there_is() {
    let engine = Engine::new(&small_config());
    let refused = |wasm: &str, entry, name: &str| {
        let refused = engine.program(wasm, entry, name).err().unwrap();
        assert_eq!(refused.status, rusm_status::UNSUPPORTED);
        refused.text
    };
    let spin = component(SPIN);
    assert_eq!(
        refused(&spin, rusm_entry::HTTP, ""),
        "does not export wasi:http/incoming-handler@0.2, so it cannot answer HTTP requests; it exports run"
    );
    assert!(refused(&spin, rusm_entry::COMMAND, "").starts_with("does not export wasi:cli/run@0.2"));
    assert!(refused(&spin, rusm_entry::EXPORT, "go").contains("does not export a function `go`"));
    assert!(refused("(module)", rusm_entry::HTTP, "").starts_with("is a core module"));
    assert!(refused("(module)", rusm_entry::COMMAND, "").contains("does not export a function `_start`"));
    let takes = r#"(module (func (export "run") (param i32)))"#;
    assert!(refused(takes, rusm_entry::EXPORT, "run").contains("not as a function without parameters"));
}

#[test]
fn an_import_that_nobody_offers_is_named() {
    let engine = Engine::new(&small_config());
    let wasm = r#"(component (import "foo:bar/baz@1.0.0" (instance (export "f" (func)))))"#;
    let refused = engine.program(wasm, rusm_entry::EXPORT, "run").err().unwrap();
    assert!(refused.text.contains("does not export a function `run`"));
    let wasm = r#"(component (import "foo:bar/baz@1.0.0" (instance (export "f" (func))))
        (core module $m (func (export "run"))) (core instance $i (instantiate $m))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    let refused = engine.program(wasm, rusm_entry::EXPORT, "run").err().unwrap();
    assert!(
        refused
            .text
            .starts_with("imports foo:bar/baz@1.0.0, which this node does not offer;"),
        "{}",
        refused.text
    );
    let wasm = r#"(module (import "env" "magic" (func)) (func (export "_start")))"#;
    let refused = engine.program(wasm, rusm_entry::COMMAND, "").err().unwrap();
    assert!(
        refused
            .text
            .starts_with("imports env.magic, which this node does not offer;"),
        "{}",
        refused.text
    );
}

#[test]
fn a_description_says_what_an_instance_takes() {
    let engine = Engine::new(&small_config());
    let info = engine.describe(component(SPIN).as_bytes());
    let expected = rusm_component_info {
        is_component: true,
        core_instances: 1,
        memories: 1,
        memory_bytes_initial: 65536,
        ..Default::default()
    };
    assert_eq!(info, expected);
    let info = engine.describe(PREVIEW1.as_bytes());
    assert_eq!(
        (info.is_component, info.entries, info.core_instances),
        (false, RUSM_ENTRY_BIT_COMMAND, 1)
    );
}

#[test]
fn artifacts_that_do_not_fit_are_refused() {
    let engine = Engine::new(&small_config());
    let artifact = engine.compile(component(SPIN).as_bytes()).unwrap();
    let refused = |bytes: &[u8]| {
        let refused = engine.load(bytes).unwrap_err();
        assert_eq!(refused.status, rusm_status::INVALID_WASM);
        refused.text
    };
    assert_eq!(refused(&artifact[..10]), "the compiled code is cut short");
    let mut other_format = artifact.clone();
    other_format[0] ^= 1;
    assert_eq!(refused(&other_format), "not compiled code of this version");
    let wide = rusm_engine_config {
        memory_guard_bytes: 0,
        ..small_config()
    };
    let other_engine = Engine::new(&wide);
    assert!(
        other_engine
            .load(&artifact)
            .unwrap_err()
            .text
            .contains("does not fit this engine")
    );
    let hash = |engine: &Engine| {
        let mut hash = [0u8; 32];
        unsafe { rusm_engine_compat_hash(engine.0, hash.as_mut_ptr()) };
        hash
    };
    assert_eq!(hash(&engine), hash(&Engine::new(&small_config())));
    assert_ne!(hash(&engine), hash(&other_engine));
}

#[test]
fn null_and_nonsense_are_arguments_errors() {
    let mut host: rusm_host = crate::common::host();
    host.http_write = None;
    let config = small_config();
    let refused = check(|out, error| unsafe { rusm_engine_new(&config, &host, out, error) }).unwrap_err();
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (rusm_status::INVALID_ARGUMENT, "host.http_write is null")
    );
    let refused = check(|out, error| unsafe { rusm_engine_new(ptr::null(), &host, out, error) }).unwrap_err();
    assert_eq!(refused.text, "config is null");
    let mut grants = grants_config();
    grants.stdio = 9;
    let refused = check(|out, error| unsafe { rusm_grants_new(&grants, out, error) }).unwrap_err();
    assert_eq!(refused.status, rusm_status::INVALID_ARGUMENT);
    let env = rusm_env {
        name: rusm_bytes::of(b"A"),
        value: rusm_bytes::of(&[0xff]),
    };
    let grants = rusm_bridge::grants::rusm_grants_config {
        env: &env,
        env_count: 1,
        ..grants_config()
    };
    let refused = check(|out, error| unsafe { rusm_grants_new(&grants, out, error) }).unwrap_err();
    assert_eq!(refused.text, "the value of an environment variable is not UTF-8");
    assert!(unsafe { rusm_instance_new(ptr::null(), ptr::null(), ptr::null_mut()) }.is_null());
    // A failure without a place for its text.
    assert_eq!(
        unsafe { rusm_engine_new(ptr::null(), &host, ptr::null_mut(), ptr::null_mut::<rusm_buffer>()) },
        rusm_status::INVALID_ARGUMENT
    );
}
