//! Compiling on threads of its own, so that nothing else waits for a processor because of it, and within limits.
//!
//! 1. What a compiler would take too long for is mostly refused before: by the number of functions and by their sizes.
//! 2. Whoever asked waits at most `time_ms_max` once the work has begun, and for its turn as long as others may take. The
//!    work itself cannot be broken off: it goes on at low priority on the
//!    compiler's own threads and its result is dropped, and while too much of that is under way nothing new begins.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, panic_text, rusm_status};
use rayon_core::{ThreadPool, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wasmparser::{Parser, Payload};

/// Compilations under way or in line, those included that nobody waits for any more.
const JOBS_MAX: u32 = 16;
/// How much the compiler's threads stand back behind others.
const NICENESS: i32 = 10;

/// The calling thread stands back behind others.
fn stand_back() {
    unsafe extern "C" {
        /// Of the C library. On Linux it concerns the calling thread alone.
        fn nice(increment: i32) -> i32;
    }
    // SAFETY: it takes a number and returns one; failing changes nothing that matters.
    unsafe { nice(NICENESS) };
}

/// What is compiled at most. Zero means zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct rusm_compile_limits {
    /// Bytes of the component or module.
    pub wasm_bytes_max: u64,
    /// Functions, over all modules of a component.
    pub functions_max: u64,
    /// Bytes of the largest function's body.
    pub function_bytes_max: u64,
    /// How long the caller waits once its turn has come.
    pub time_ms_max: u64,
}

/// Threads: any.
pub struct Compiler {
    threads: usize,
    pool: OnceLock<Result<ThreadPool, String>>,
    jobs: Arc<AtomicU32>,
}

fn too_much(text: impl Into<String>) -> Failure {
    Failure::new(rusm_status::LIMIT, text)
}

/// One compilation's place among JOBS_MAX.
struct Job(Arc<AtomicU32>);

impl Drop for Job {
    fn drop(&mut self) {
        // A count that orders nothing, as where it is taken.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Compiler {
    /// The threads start with the first compilation.
    pub fn new(threads: u32) -> Compiler {
        Compiler {
            threads: threads.max(1) as usize,
            pool: OnceLock::new(),
            jobs: Arc::default(),
        }
    }

    fn pool(&self) -> Result<&ThreadPool, Failure> {
        let pool = self.pool.get_or_init(|| {
            ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .thread_name(|index| format!("rusm-compile-{index}"))
                .start_handler(|_| stand_back())
                .build()
                .map_err(|error| format!("cannot start threads for compiling: {error}"))
        });
        pool.as_ref()
            .map_err(|text| Failure::new(rusm_status::SYSTEM, text.clone()))
    }

    fn job(&self) -> Result<Job, Failure> {
        let take = |now: u32| (now < JOBS_MAX).then_some(now + 1);
        self.jobs
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| {
                too_much(format!(
                    "{JOBS_MAX} compilations are under way already; try again later"
                ))
            })?;
        Ok(Job(Arc::clone(&self.jobs)))
    }

    /// Runs `work`, and what it hands to rayon, on the compiler's threads. Its time counts from when it begins; the wait
    /// for that is bounded by what those before it may take.
    pub fn run<T: Send + 'static>(
        &self,
        time_max: Duration,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let job = self.job()?;
        let (begin, begun) = sync_channel(1);
        let (done, result) = sync_channel(1);
        self.pool()?.spawn(move || {
            // Work that nobody waits for is not even begun.
            if begin.send(()).is_err() {
                return;
            }
            let made = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|payload| Err(Failure::new(rusm_status::PANIC, panic_text(payload.as_ref()))));
            drop(job);
            // Nobody may be waiting any more.
            let _ = done.send(made);
        });
        let ended = || Failure::new(rusm_status::PANIC, "the compiler's thread ended");
        begun
            .recv_timeout(time_max.saturating_mul(JOBS_MAX))
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    too_much(
                    "other compilations take so long that this one does not begin: raise [engine] compile_seconds_max or \
                     try again later",
                )
                }
                RecvTimeoutError::Disconnected => ended(),
            })?;
        result.recv_timeout(time_max).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => too_much(format!(
                    "compiling takes longer than {} s: raise [engine] compile_seconds_max or make its functions smaller",
                    time_max.as_secs()
                )),
                RecvTimeoutError::Disconnected => ended(),
            })
        })
    }
}

/// Whether `wasm` is small enough to be compiled.
pub fn check_size(wasm: &[u8], limits: &rusm_compile_limits) -> Result<(), Failure> {
    if wasm.len() as u64 > limits.wasm_bytes_max {
        return Err(too_much(format!(
            "has {} bytes; at most {} are compiled",
            wasm.len(),
            limits.wasm_bytes_max
        )));
    }
    let mut functions = 0u64;
    for payload in Parser::new(0).parse_all(wasm) {
        // What is not valid is for the compiler to tell.
        let Ok(payload) = payload else { return Ok(()) };
        let Payload::CodeSectionEntry(body) = payload else {
            continue;
        };
        functions += 1;
        if functions > limits.functions_max {
            return Err(too_much(format!(
                "has more than {} functions; that many are compiled at most",
                limits.functions_max
            )));
        }
        let bytes = body.range().len() as u64;
        if bytes > limits.function_bytes_max {
            return Err(too_much(format!(
                "has a function of {bytes} bytes; at most {} are compiled",
                limits.function_bytes_max
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_waits_is_told_in_time_and_too_much_is_refused_at_once() {
        let compiler = Compiler::new(1);
        let (open, gate) = channel::<()>();
        let slow = compiler.run(Duration::from_millis(1), move || {
            let _ = gate.recv();
            Ok(())
        });
        assert_eq!(slow.err().map(|failure| failure.status), Some(rusm_status::LIMIT));
        for _ in 1..JOBS_MAX {
            let queued = compiler.run(Duration::ZERO, || Ok(()));
            assert_eq!(queued.err().map(|failure| failure.status), Some(rusm_status::LIMIT));
        }
        let refused = compiler.run(Duration::from_secs(60), || Ok(()));
        assert!(refused.is_err_and(|failure| failure.text.contains("under way")));
        drop(open);
        // The places come back once the work that nobody waits for is done.
        while compiler.jobs.load(Ordering::Relaxed) != 0 {
            std::thread::yield_now();
        }
        assert_eq!(compiler.run(Duration::from_secs(60), || Ok(7)).ok(), Some(7));
    }

    #[test]
    fn time_counts_from_the_beginning_of_the_work() {
        let compiler = Arc::new(Compiler::new(1));
        let (open, gate) = channel::<()>();
        let time_max = Duration::from_millis(200);
        let abandoned = compiler.run(Duration::from_millis(1), move || {
            let _ = gate.recv();
            Ok(())
        });
        assert!(abandoned.is_err());
        let next = Arc::clone(&compiler);
        let next = std::thread::spawn(move || next.run(time_max, || Ok(7)).ok());
        while compiler.jobs.load(Ordering::Relaxed) != 2 {
            std::thread::yield_now();
        }
        // Longer than its own time, which has not begun.
        std::thread::sleep(time_max + time_max / 4);
        drop(open);
        assert_eq!(next.join().ok().flatten(), Some(7));
    }

    #[test]
    fn a_panic_of_the_compiler_is_contained() {
        let compiler = Compiler::new(1);
        let work = || -> Result<(), Failure> { std::panic::panic_any("boom") };
        let failure = compiler.run(Duration::from_secs(60), work).err();
        assert_eq!(failure.map(|failure| failure.text), Some("boom".to_owned()));
    }
}
