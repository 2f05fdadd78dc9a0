//! The library as a build uses it: WIT in, bindings and components out, and a clear sentence for each mistake.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use rusm_componentize::{Adapter, World, bindings_c, component, shares_memory_with_adapter, write_wasi_wit};
use tempfile::TempDir;
use wit_component::DecodedWasm;

const ADDER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#;

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn adder_world() -> World {
    let dir = folder(&[(
        "adder.wit",
        "package test:adder; world adder { export add: func(a: u32, b: u32) -> u32; }",
    )]);
    World::load(Some(dir.path()), "adder").unwrap()
}

/// The names that a component imports and exports.
fn face(wasm: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(wasm).unwrap() else {
        panic!("not a component");
    };
    let world = &resolve.worlds[world];
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (
        names(world.imports.keys().collect()),
        names(world.exports.keys().collect()),
    )
}

fn message<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => format!("{error:#}"),
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn a_module_becomes_a_component_with_its_worlds_exports_and_no_imports() {
    let wasm = component(&wat(ADDER), Some(&adder_world()), Adapter::Auto).unwrap();
    assert_eq!(face(&wasm), (vec![], vec!["add".to_string()]));
}

#[test]
fn the_world_inside_the_module_is_enough() {
    let world = adder_world();
    let dir = TempDir::new().unwrap();
    bindings_c(adder_world(), dir.path()).unwrap();
    let object = fs::read(dir.path().join("adder_component_type.o")).unwrap();
    let section = wasmparser::Parser::new(0)
        .parse_all(&object)
        .find_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(s) if s.name().starts_with("component-type") => Some(s),
            _ => None,
        })
        .unwrap();
    let mut module = wat(ADDER);
    let name = section.name().as_bytes();
    let mut body = vec![u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name);
    body.extend_from_slice(section.data());
    assert!(
        (0x80..0x4000).contains(&body.len()),
        "the length below is written in two bytes"
    );
    module.extend_from_slice(&[0, (body.len() & 0x7f | 0x80) as u8, (body.len() >> 7) as u8]);
    module.extend_from_slice(&body);

    let from_section = component(&module, None, Adapter::None).unwrap();
    assert_eq!(
        face(&from_section),
        face(&component(&wat(ADDER), Some(&world), Adapter::None).unwrap())
    );
}

#[test]
fn a_module_without_a_world_is_refused() {
    assert_says(
        &message(component(&wat(ADDER), None, Adapter::Auto)),
        &["for which world", "--strip-all"],
    );
}

#[test]
fn a_module_that_lacks_an_export_of_its_world_is_refused_by_name() {
    let error = message(component(&wat("(module)"), Some(&adder_world()), Adapter::Auto));
    assert_says(&error, &["does not fit its world", "add"]);
}

#[test]
fn what_is_not_a_core_module_is_refused() {
    assert_says(
        &message(component(b"#!/bin/sh\n", None, Adapter::Auto)),
        &["not a WebAssembly module"],
    );
    let whole = wat(ADDER);
    let truncated = &whole[..whole.len() - 3];
    assert_says(
        &message(component(truncated, None, Adapter::Auto)),
        &["not a WebAssembly module"],
    );
    assert_says(
        &message(component(&wat("(component)"), None, Adapter::Auto)),
        &["a component already"],
    );
}

#[test]
fn a_preview_1_command_gets_the_command_adapter() {
    let command = wat(r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const 3))))"#);
    let (imports, exports) = face(&component(&command, None, Adapter::Auto).unwrap());
    assert_eq!(exports, ["wasi:cli/run@0.2.12"]);
    assert!(
        imports.iter().any(|name| name.starts_with("wasi:cli/exit@0.2")),
        "{imports:?}"
    );
}

#[test]
fn without_an_adapter_a_preview_1_import_is_named() {
    let module = wat(r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "add") (param i32 i32) (result i32) i32.const 0))"#);
    assert_says(
        &message(component(&module, Some(&adder_world()), Adapter::None)),
        &["preview 1", "fd_write"],
    );
    assert_eq!(
        face(&component(&module, Some(&adder_world()), Adapter::Auto).unwrap()).1,
        ["add"]
    );
}

#[test]
fn a_world_may_refer_to_the_standard_wasi_packages() {
    let dir = folder(&[(
        "guest.wit",
        "package test:guest; world guest { import wasi:http/types@0.2.12; export wasi:http/incoming-handler@0.2.12; }",
    )]);
    let out = TempDir::new().unwrap();
    bindings_c(World::load(Some(dir.path()), "guest").unwrap(), out.path()).unwrap();
    let header = fs::read_to_string(out.path().join("guest.h")).unwrap();
    assert_says(
        &header,
        &[
            "exports_wasi_http_incoming_handler_handle",
            "wasi_io_streams_method_output_stream_write",
        ],
    );
    World::load(None, "wasi:http/proxy@0.2.12").unwrap();
    World::load(None, "wasi:cli/command@0.2.12").unwrap();
}

#[test]
fn a_package_of_ones_own_takes_the_place_of_the_standard_one() {
    let out = TempDir::new().unwrap();
    write_wasi_wit(out.path()).unwrap();
    fs::write(
        out.path().join("guest.wit"),
        "package test:guest; world guest { import wasi:io/poll@0.2.12; }",
    )
    .unwrap();
    World::load(Some(out.path()), "guest").unwrap();

    fs::remove_dir_all(out.path().join("deps")).unwrap();
    fs::create_dir(out.path().join("deps")).unwrap();
    fs::write(
        out.path().join("deps/io.wit"),
        "package wasi:io@0.2.12; interface poll { only-here: func(); } interface error {} interface streams {}",
    )
    .unwrap();
    let error = World::load(Some(out.path()), "guest").map(|_| ());
    // The rest of WASI needs more than this wasi:io offers, which shows which one was taken.
    assert_says(&message(error), &["wasi", "pollable"]);
}

#[test]
fn mistakes_in_wit_name_the_file_and_what_is_wrong() {
    let missing = World::load(Some(Path::new("/nonexistent/wit")), "guest").map(|_| ());
    assert_says(&message(missing), &["/nonexistent/wit"]);

    let broken = folder(&[("broken.wit", "package test:broken;\nworld w { import 7; }")]);
    assert_says(
        &message(World::load(Some(broken.path()), "w").map(|_| ())),
        &["broken.wit:2"],
    );

    let other = folder(&[("other.wit", "package test:other; world w {}")]);
    assert_says(
        &message(World::load(Some(other.path()), "v").map(|_| ())),
        &["no world `v`", "test:other"],
    );

    let unknown = folder(&[(
        "unknown.wit",
        "package test:unknown; world w { import no:such/thing@1.0.0; }",
    )]);
    assert_says(
        &message(World::load(Some(unknown.path()), "w").map(|_| ())),
        &["unknown.wit", "no:such"],
    );
}

#[test]
fn bindings_that_did_not_change_keep_their_time() {
    let out = TempDir::new().unwrap();
    bindings_c(adder_world(), out.path()).unwrap();
    let header = out.path().join("adder.h");
    let before = fs::metadata(&header).unwrap().modified().unwrap();
    bindings_c(adder_world(), out.path()).unwrap();
    assert_eq!(fs::metadata(&header).unwrap().modified().unwrap(), before);

    fs::write(&header, "something else").unwrap();
    bindings_c(adder_world(), out.path()).unwrap();
    assert_says(&fs::read_to_string(&header).unwrap(), &["exports_adder_add"]);
}

#[test]
fn a_command_whose_malloc_would_take_the_adapters_memory_is_recognised() {
    let command = |init: &str, export: &str| {
        wat(&format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (memory (export "memory") 1)
            (func (result i32) memory.size drop i32.const 1 memory.grow)
            (func (result i32) {init})
            (func (export "_start")) {export})"#
        ))
    };
    let realloc = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    assert!(shares_memory_with_adapter(&command("memory.size", "")).unwrap());
    assert!(!shares_memory_with_adapter(&command("i32.const 65536", "")).unwrap());
    assert!(!shares_memory_with_adapter(&command("memory.size", realloc)).unwrap());
    assert!(!shares_memory_with_adapter(&wat(ADDER)).unwrap());
}
