//! How fast an instance is made, run and dropped through the C ABI: cargo bench --bench spawn -- [threads] [seconds]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Engine, Grants, World, grants_config, small_config};
use rusm_bridge::engine::{rusm_thread_enter, rusm_thread_leave};
use rusm_bridge::instance::{rusm_instance_drop, rusm_instance_new, rusm_instance_resume, rusm_step};
use rusm_bridge::program::rusm_entry;
use rusm_bridge::wake::rusm_waker;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const COMPONENT: &str = r#"(component
  (core module $m (memory (export "memory") 17) (data (i32.const 1024) "hello")
    (func (export "run") (i32.store (i32.const 4096) (i32.const 7))))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let threads = numbers.first().copied().unwrap_or(2);
    let seconds = numbers.get(1).copied().unwrap_or(3);
    let mut config = small_config();
    config.component_instances_max = 2000;
    config.core_instances_max = 4000;
    config.memories_max = 4000;
    config.tables_max = 4000;
    config.stacks_max = 2000;
    config.unused_warm_slots_max = 256;
    if std::env::args().any(|arg| arg == "wide") {
        config.memory_reservation_bytes = 4 << 30;
        config.memory_guard_bytes = 32 << 20;
    }
    let engine = Engine::new(&config);
    let program = engine.program(COMPONENT, rusm_entry::EXPORT, "run").unwrap();
    let mut limits = grants_config();
    limits.memory_bytes_max = 64 << 20;
    let grants = Grants::new(&limits);
    let total = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut world = World::new();
                let context = (&raw mut *world).cast();
                let waker = rusm_waker {
                    wake: None,
                    context,
                    id: 1,
                };
                let mut count = 0;
                unsafe { rusm_thread_enter(engine.raw()) };
                while start.elapsed() < Duration::from_secs(seconds) {
                    for _ in 0..50 {
                        unsafe {
                            let instance = rusm_instance_new(program.raw(), grants.raw(), context);
                            assert_eq!(rusm_instance_resume(instance, &waker), rusm_step::DONE);
                            rusm_instance_drop(instance);
                        }
                    }
                    count += 50;
                }
                rusm_thread_leave();
                total.fetch_add(count, Ordering::Relaxed);
            });
        }
    });
    let rate = total.into_inner() as f64 / start.elapsed().as_secs_f64();
    println!(r#"{{"workload":"component-spawn","value":{rate:.0},"unit":"spawns/s","threads":{threads}}}"#);
}
