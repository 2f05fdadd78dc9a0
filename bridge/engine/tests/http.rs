//! One request and its response through the C ABI, with a guest that can misbehave in every way.

use crate::common::{Engine, Exit, Grants, Instance, Program, World, grants_config, small_config};
use rusm_bridge::artifact::RUSM_ENTRY_BIT_HTTP;
use rusm_bridge::exit::rusm_exit_kind;
use rusm_bridge::host::rusm_tick;
use rusm_bridge::instance::rusm_step;
use rusm_bridge::program::rusm_entry;

const GUEST: &str = include_str!("guests/http.wat");

struct Node {
    engine: Engine,
    program: Program,
    grants: Grants,
}

impl Node {
    fn new() -> Node {
        let engine = Engine::new(&small_config());
        let program = engine.program(GUEST, rusm_entry::HTTP, "").unwrap();
        Node {
            engine,
            program,
            grants: Grants::new(&grants_config()),
        }
    }

    fn answer(&self, world: &mut World) -> Exit {
        Instance::new(&self.program, &self.grants, world).run()
    }

    fn get(&self, target: &str) -> (Box<World>, Exit) {
        let mut world = World::new();
        world.target = target.into();
        let exit = self.answer(&mut world);
        assert_eq!(self.engine.pool().component_instances, 0);
        (world, exit)
    }
}

#[test]
fn the_guest_is_recognised() {
    let info = Engine::new(&small_config()).describe(GUEST.as_bytes());
    assert_eq!(
        (info.entries, info.core_instances, info.memories),
        (RUSM_ENTRY_BIT_HTTP, 2, 1)
    );
}

#[test]
fn head_and_body_reach_the_embedder() {
    let (world, exit) = Node::new().get("/hello");
    assert_eq!(exit.kind, rusm_exit_kind::NORMAL);
    assert_eq!((world.status, world.finished), (Some(200), Some(true)));
    assert_eq!(world.response_headers, [("x-who".to_owned(), "guest".to_owned())]);
    assert_eq!(world.response_body, b"hello\n");
}

#[test]
fn each_request_has_an_instance_of_its_own() {
    let node = Node::new();
    for _ in 0..300 {
        assert_eq!(node.get("/hello").0.response_body, b"hello\n");
    }
}

#[test]
fn a_body_is_echoed_piece_by_piece_while_it_comes_in() {
    let node = Node::new();
    let mut world = World::new();
    (world.target, world.method) = ("/echo".into(), "POST".into());
    world.headers = vec![("content-type".into(), "text/plain".into())];
    let big = vec![b'z'; 200_000];
    // An empty piece blocks once.
    world.request_body = [b"one ".to_vec(), vec![], b"two ".to_vec(), vec![], vec![], big.clone()].into();
    let mut instance = Instance::new(&node.program, &node.grants, &mut world);
    assert_eq!(instance.resume(), rusm_step::WAITING);
    drop(instance);
    assert_eq!(world.response_body, b"one ");
    assert_eq!(world.finished, None, "a dropped instance says nothing more");
    let mut world = World::new();
    (world.target, world.method) = ("/echo".into(), "POST".into());
    world.request_body = [b"one ".to_vec(), vec![], b"two ".to_vec(), vec![], vec![], big.clone()].into();
    assert_eq!(node.answer(&mut world).kind, rusm_exit_kind::NORMAL);
    assert_eq!(world.response_body.len(), 8 + big.len());
    assert!(world.response_body.starts_with(b"one two zzz"));
    assert_eq!(world.finished, Some(true));
}

#[test]
fn an_empty_request_body_ends_at_once() {
    let (world, exit) = Node::new().get("/echo");
    assert_eq!(
        (exit.kind, world.response_body.len(), world.finished),
        (rusm_exit_kind::NORMAL, 0, Some(true))
    );
}

#[test]
fn a_client_that_takes_nothing_holds_the_guest_back() {
    let node = Node::new();
    let mut world = World::new();
    world.target = "/big".into();
    world.room = 10_000;
    let mut instance = Instance::new(&node.program, &node.grants, &mut world);
    assert_eq!(instance.resume(), rusm_step::WAITING);
    assert_eq!(
        instance.resume(),
        rusm_step::WAITING,
        "resuming it without room changes nothing"
    );
    let taken = |world: &World| world.response_body.len();
    drop(instance);
    assert_eq!(taken(&world), 10_000);
    let mut world = World::new();
    world.target = "/big".into();
    world.room = 10_000;
    let world_ptr: *mut World = &mut *world;
    let mut instance = Instance::new(&node.program, &node.grants, &mut world);
    while instance.resume() != rusm_step::DONE {
        // SAFETY: the instance is not running.
        unsafe { (*world_ptr).room = 100_000 };
    }
    assert_eq!(instance.exit().kind, rusm_exit_kind::NORMAL);
    drop(instance);
    assert_eq!((taken(&world), world.finished), (1 << 20, Some(true)));
}

#[test]
fn a_client_that_went_away_does_not_hold_the_guest() {
    let node = Node::new();
    let mut world = World::new();
    (world.target, world.client_gone) = ("/big".into(), true);
    assert_eq!(node.answer(&mut world).kind, rusm_exit_kind::NORMAL);
    assert_eq!((world.response_body.len(), world.finished), (0, None));
    // In the middle of the request body: the guest finds its stream failed.
    let mut world = World::new();
    (world.target, world.request_broken) = ("/echo".into(), true);
    assert_eq!(node.answer(&mut world).kind, rusm_exit_kind::NORMAL);
    assert_eq!(world.finished, Some(true));
}

#[test]
fn a_length_that_does_not_hold_breaks_the_body_off() {
    let node = Node::new();
    let (world, exit) = node.get("/less");
    assert_eq!((exit.kind, world.finished), (rusm_exit_kind::NORMAL, Some(false)));
    let (world, exit) = node.get("/more");
    assert_eq!((exit.kind, world.finished), (rusm_exit_kind::NORMAL, Some(false)));
    assert!(world.response_body.len() <= 3, "never more than was promised");
    // A HEAD request promises a length without a body.
    let mut world = World::new();
    (world.target, world.method) = ("/less".into(), "HEAD".into());
    node.answer(&mut world);
    assert_eq!(world.status, Some(200));
}

#[test]
fn a_body_that_is_left_open_ends_with_the_guest_and_a_dropped_one_is_broken_off() {
    let node = Node::new();
    let (world, exit) = node.get("/open");
    assert_eq!((exit.kind, world.finished), (rusm_exit_kind::NORMAL, Some(true)));
    assert_eq!(world.response_body, b"hello\n");
    let (world, exit) = node.get("/dropped");
    assert_eq!((exit.kind, world.finished), (rusm_exit_kind::NORMAL, Some(false)));
}

#[test]
fn an_answer_may_be_an_error_or_missing() {
    let node = Node::new();
    let (world, exit) = node.get("/x");
    assert_eq!((exit.kind, world.status), (rusm_exit_kind::NORMAL, None));
    assert_eq!(world.response_error.as_deref(), Some("ErrorCode::InternalError(None)"));
    let (world, exit) = node.get("/unanswered");
    assert_eq!(
        (exit.kind, world.status, world.response_error.is_none()),
        (rusm_exit_kind::NORMAL, None, true)
    );
}

#[test]
fn a_trap_before_and_after_the_head() {
    let node = Node::new();
    let (world, exit) = node.get("/trap");
    assert_eq!(
        (exit.kind, world.status, world.finished),
        (rusm_exit_kind::TRAP, None, None)
    );
    let (world, exit) = node.get("/after");
    assert_eq!(
        (exit.kind, world.status, world.finished),
        (rusm_exit_kind::TRAP, Some(200), Some(false))
    );
    let (world, exit) = node.get("/grow");
    assert_eq!((exit.kind, world.status), (rusm_exit_kind::MEMORY_LIMIT, None));
}

#[test]
fn line_ends_do_not_get_into_headers() {
    let (world, exit) = Node::new().get("/crlf");
    assert_eq!((exit.kind, world.status), (rusm_exit_kind::NORMAL, Some(204)));
}

#[test]
fn a_target_that_is_no_uri_is_answered_without_the_guest() {
    let node = Node::new();
    for target in ["/a b", "no-slash here", "/\u{7f}\u{1}"] {
        let (world, exit) = node.get(target);
        assert_eq!(
            (exit.kind, world.status, world.finished),
            (rusm_exit_kind::NORMAL, Some(400), Some(true)),
            "{target}"
        );
    }
    let mut world = World::new();
    world.method = String::new();
    assert_eq!(node.answer(&mut world).kind, rusm_exit_kind::HOST_ERROR);
}

#[test]
fn a_spinning_guest_is_stopped_and_answers_nothing() {
    let node = Node::new();
    let mut world = World::new();
    world.target = "/spin".into();
    world.ticks = [rusm_tick::YIELD, rusm_tick::YIELD, rusm_tick::STOP].into();
    let mut instance = Instance::new(&node.program, &node.grants, &mut world);
    let exit = std::thread::scope(|scope| {
        let run = scope.spawn(|| instance.run());
        while !run.is_finished() {
            node.engine.tick();
            std::thread::yield_now();
        }
        run.join().unwrap()
    });
    drop(instance);
    assert_eq!((exit.kind, world.status), (rusm_exit_kind::STOPPED, None));
}

#[test]
fn wherever_a_guest_is_preempted_its_ends_stay_the_same() {
    let node = Node::new();
    let answer = |target: &str| {
        let mut world = World::new();
        world.target = target.into();
        world.ticks = [rusm_tick::YIELD].into();
        Instance::new(&node.program, &node.grants, &mut world).run();
        (world.status, world.finished, world.tick_count)
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    let preempted: u64 = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                node.engine.tick();
            }
        });
        let mut preempted = 0;
        for _ in 0..300 {
            for (target, finished) in [("/after", false), ("/less", false), ("/more", false), ("/hello", true)] {
                let (status, end, ticks) = answer(target);
                assert_eq!((status, end), (Some(200), Some(finished)), "{target}");
                preempted += ticks;
            }
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        preempted
    });
    assert!(preempted > 0);
}
