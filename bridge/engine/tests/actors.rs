//! Guests that are processes, through the C ABI.

use crate::common::actors::{OWN_PID, TABOO};
use crate::common::{Engine, Grants, Instance, World, grants_config, small_config};
use rusm_bridge::exit::rusm_exit_kind;
use rusm_bridge::instance::rusm_step;
use rusm_bridge::program::rusm_entry;

const ECHO: &str = r#"(module
  (import "rusm" "own_pid" (func $own_pid (result i64)))
  (import "rusm" "send" (func $send (param i64 i32 i32)))
  (import "rusm" "receive" (func $receive (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (local $length i32)
    (local.set $length (call $receive (i32.const 8) (i32.const 100)))
    (call $send (call $own_pid) (i32.const 8) (local.get $length))))"#;

#[test]
fn a_call_that_would_block_suspends_and_asks_again_whenever_it_is_resumed() {
    let engine = Engine::new(&small_config());
    let program = engine.program(ECHO, rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    let mut world = World::new();
    let mut instance = Instance::new(&program, &grants, &mut world);
    for asked in 1..=3 {
        assert_eq!(instance.resume(), rusm_step::WAITING);
        assert_eq!(world.receives, asked);
    }
    world.inbox.push_back(b"hello".to_vec());
    assert_eq!(instance.resume(), rusm_step::DONE);
    assert_eq!(instance.exit().kind, rusm_exit_kind::NORMAL);
    assert_eq!(world.sent, [(OWN_PID, b"hello".to_vec())]);
}

#[test]
fn a_guest_that_waits_can_be_dropped() {
    let engine = Engine::new(&small_config());
    let program = engine.program(ECHO, rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    let mut world = World::new();
    let mut instance = Instance::new(&program, &grants, &mut world);
    assert_eq!(instance.resume(), rusm_step::WAITING);
    drop(instance);
    assert_eq!(engine.pool().core_instances, 0);
}

#[test]
fn what_the_embedder_refuses_ends_the_guest_with_its_text() {
    let engine = Engine::new(&small_config());
    let wasm = format!(
        r#"(module (import "rusm" "send" (func $send (param i64 i32 i32))) (memory (export "memory") 1)
           (func (export "run") (call $send (i64.const {TABOO}) (i32.const 0) (i32.const 0))))"#
    );
    let program = engine.program(wasm, rusm_entry::EXPORT, "run").unwrap();
    let grants = Grants::new(&grants_config());
    let exit = Instance::new(&program, &grants, &mut World::new()).run();
    assert_eq!(
        (exit.kind, exit.text.as_str()),
        (rusm_exit_kind::HOST_ERROR, "not here")
    );
}
