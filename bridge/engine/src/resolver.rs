//! Look-ups of names, for sockets and HTTP alike: on threads of their own, and bounded.
//!
//! 1. The system's look-up blocks for as long as its servers are silent and cannot be broken off. So it has its own few
//!    threads, apart from those for files, and one that runs stays counted until it ends, whoever still waits for it.
//! 2. What waits in line goes with whoever asked for it. The line is bounded, over all and for each set of grants; beyond
//!    that the answer is an error at once.
//! 3. One set of grants has at most half of the threads at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What DNS allows, with a dot at the end; a text of a guest that is longer is not even copied.
pub const NAME_BYTES_MAX: usize = 255;
const THREADS_MAX: usize = 4;
const RUNNING_PER_ASKER_MAX: usize = THREADS_MAX / 2;
/// Look-ups that run or wait, over all.
const LOOKUPS_MAX: usize = 2048;
/// The same for one set of grants.
const LOOKUPS_PER_ASKER_MAX: usize = 512;
/// Addresses of one name that are kept.
const ADDRESSES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// Longer than a name can be, or with letters that none has.
    NoName,
    /// Too many look-ups are under way.
    Busy,
    NoAddress,
}

pub type Addresses = Result<Vec<IpAddr>, LookupError>;

/// Whoever shares one allowance of look-ups: a set of grants.
/// Threads: any. Its counts belong to the resolver's lock.
#[derive(Default)]
pub struct Asker(Mutex<Counts>);

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Those that run included.
    under_way: usize,
    running: usize,
}

impl Asker {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.0)
    }
}

struct Job {
    id: u64,
    name: String,
    asker: Arc<Asker>,
    done: oneshot::Sender<Addresses>,
}

#[derive(Default)]
struct State {
    line: VecDeque<Job>,
    /// Look-ups that run, each on a thread of its own.
    running: usize,
    threads: usize,
    idle: usize,
    stopped: bool,
}

impl State {
    /// The first in line whose asker may have one more thread.
    fn next(&mut self) -> Option<Job> {
        let may_run = |job: &Job| job.asker.counts().running < RUNNING_PER_ASKER_MAX;
        let job = self.line.iter().position(may_run).and_then(|at| self.line.remove(at))?;
        job.asker.counts().running += 1;
        self.running += 1;
        Some(job)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Ask = dyn Fn(&str) -> std::io::Result<Vec<IpAddr>> + Send + Sync;

/// Threads: any.
pub struct Resolver {
    ask: Box<Ask>,
    state: Mutex<State>,
    news: Condvar,
    /// Whether answers may still be given; held while one is, for that wakes whoever waits.
    answering: Mutex<bool>,
    ids: AtomicU64,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::asking(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_letter)
}

impl Resolver {
    /// `ask` may block.
    pub fn asking(ask: impl Fn(&str) -> std::io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver {
            ask: Box::new(ask),
            state: Mutex::default(),
            news: Condvar::new(),
            answering: Mutex::new(true),
            ids: AtomicU64::new(0),
        }
    }

    /// Starts a look-up of `name`, which `asker` may look up. Dropping what is returned gives it up.
    pub fn look_up(self: &Arc<Resolver>, asker: &Arc<Asker>, name: &str) -> Result<Answer, LookupError> {
        if !is_name(name) {
            return Err(LookupError::NoName);
        }
        let (done, answer) = oneshot::channel();
        // A number that orders nothing.
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut state = lock(&self.state);
        let under_way = asker.counts().under_way;
        if state.stopped || state.line.len() + state.running >= LOOKUPS_MAX || under_way >= LOOKUPS_PER_ASKER_MAX {
            return Err(LookupError::Busy);
        }
        // Idle threads may be on their way to what is in line already.
        if state.line.len() >= state.idle && state.threads < THREADS_MAX {
            let resolver = Arc::clone(self);
            let thread = std::thread::Builder::new().name("rusm-lookup".to_owned());
            match thread.spawn(move || resolver.run()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => return Err(LookupError::Busy),
                Err(_) => {}
            }
        }
        asker.counts().under_way += 1;
        state.line.push_back(Job {
            id,
            name: name.to_owned(),
            asker: Arc::clone(asker),
            done,
        });
        drop(state);
        self.news.notify_one();
        Ok(Answer {
            id,
            resolver: Arc::clone(self),
            answer,
        })
    }

    fn run(self: Arc<Resolver>) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let Some(job) = state.next() else {
                state.idle += 1;
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let found = (self.ask)(&job.name).map_err(|_| LookupError::NoAddress);
            let found = found.map(|mut addresses| {
                addresses.truncate(ADDRESSES_MAX);
                addresses
            });
            {
                let may_answer = lock(&self.answering);
                if *may_answer {
                    // Nobody may be waiting any more.
                    let _ = job.done.send(found);
                }
            }
            state = lock(&self.state);
            state.running -= 1;
            let mut counts = job.asker.counts();
            counts.running -= 1;
            counts.under_way -= 1;
            drop(counts);
        }
    }

    fn give_up(&self, id: u64) {
        let mut state = lock(&self.state);
        if let Some(at) = state.line.iter().position(|job| job.id == id)
            && let Some(job) = state.line.remove(at)
        {
            job.asker.counts().under_way -= 1;
            drop(state);
        }
    }

    /// Nobody is woken after this. Look-ups that run go on by themselves, for they cannot be broken off.
    fn stop(&self) {
        *lock(&self.answering) = false;
        let mut state = lock(&self.state);
        state.stopped = true;
        let line = std::mem::take(&mut state.line);
        drop(state);
        self.news.notify_all();
        drop(line);
    }
}

/// The resolver of an engine, which ends with it.
#[derive(Default)]
pub struct EngineResolver(Arc<Resolver>);

impl EngineResolver {
    pub fn get(&self) -> &Arc<Resolver> {
        &self.0
    }
}

impl Drop for EngineResolver {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What a look-up gives, once.
pub struct Answer {
    id: u64,
    resolver: Arc<Resolver>,
    answer: oneshot::Receiver<Addresses>,
}

impl Future for Answer {
    type Output = Addresses;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Addresses> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        answer.map(|answer| answer.unwrap_or(Err(LookupError::NoAddress)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.resolver.give_up(self.id);
    }
}

#[cfg(test)]
#[path = "resolver_test.rs"]
mod tests;
