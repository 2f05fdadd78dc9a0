//! Guests of rusm:runtime@0.2.0, beside 0.1.0 as the published crate has it. The label of its process says which one an
//! instance is. Reports go, by 0.1.0, to the process that is registered as "control".

use rusm::runtime::actor::{self, CallError, Event, Match};
use rusm::runtime::process::{self, Backoff, Child, Intensity, Restart, Shutdown, SpawnOptions, Strategy};
use rusm::runtime::types::{ExitReason, Failure, Pid};

wit_bindgen::generate!({
    path: "../../../wit/runtime-0.2",
    world: "imports",
});

fn report(text: impl AsRef<str>) {
    if let Some(control) = rusm_rs::whereis("control") {
        rusm_rs::send_bytes(control, text.as_ref().as_bytes());
    }
}

/// A pid of 0.1.0 as one of 0.2.0.
fn local(pid: rusm_rs::Pid) -> Pid {
    Pid {
        id: pid.0,
        incarnation: 0,
    }
}

fn control() -> Pid {
    local(rusm_rs::whereis("control").expect("control"))
}

/// Somebody of another life of a node.
fn elsewhere() -> Pid {
    Pid {
        id: actor::own_pid().id,
        incarnation: 7,
    }
}

fn role() -> String {
    process::self_info().label.unwrap_or_default()
}

fn options(role: &str) -> SpawnOptions {
    SpawnOptions {
        link: false,
        monitor: false,
        label: Some(role.to_string()),
        name: None,
        argument: Vec::new(),
    }
}

fn start(role: &str) -> Pid {
    process::spawn("events", &options(role)).expect("a process").process
}

fn other(text: &str) -> ExitReason {
    ExitReason::Other(text.to_string())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failure(failure: &Failure) -> String {
    format!("({}) {}", failure.kind, failure.text)
}

fn reason(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Crashed(why) => format!("crashed {}", failure(why)),
        ExitReason::Limit(why) => format!("limit {}", failure(why)),
        ExitReason::Other(words) => format!("other {words}"),
        plain => format!("{plain:?}").replace("ExitReason::", ""),
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Message(bytes) => format!("message {}", text(bytes)),
        Event::Request(request) => format!("request {}", text(&request.body)),
        Event::Down(down) => format!("down {}", reason(&down.reason)),
        Event::Exit(exit) => format!("exit {} linked {}", reason(&exit.reason), exit.linked),
        Event::Stream(_) => "stream".to_string(),
        Event::Timer(_) => "timer".to_string(),
    }
}

fn show_next(wanted: &[Match], timeout_ms: Option<u64>) -> String {
    match actor::receive_match(wanted, timeout_ms) {
        Ok(Some(event)) => show(&event),
        Ok(None) => "nothing".to_string(),
        Err(text) => text,
    }
}

fn show_call(answer: Result<Vec<u8>, CallError>) -> String {
    match answer {
        Ok(bytes) => format!("answer {}", text(&bytes)),
        Err(CallError::Noproc) => "noproc".to_string(),
        Err(CallError::Timeout) => "timeout".to_string(),
        Err(CallError::Down(why)) => format!("down {}", reason(&why)),
        Err(CallError::Refused(text)) => text,
    }
}

/// Links, monitors, exit signals, of a process that traps them.
fn signals() {
    report(format!("trapped {} {}", actor::trap_exit(true), actor::trap_exit(true)));
    let spawned = process::spawn(
        "events",
        &SpawnOptions {
            link: true,
            monitor: true,
            ..options("idle")
        },
    )
    .expect("one");
    actor::send_exit(spawned.process, &other("enough")).expect("a child");
    report(show_next(&[Match::Exit(Some(spawned.process))], None));
    report(show_next(&[Match::Down(spawned.monitor)], None));
    let child = start("idle");
    actor::link(child).expect("a child");
    actor::link(child).expect("twice is once");
    report(format!("links {}", process::self_info().links));
    actor::unlink(child);
    let monitor = actor::monitor(child).expect("a monitor");
    actor::send_exit(child, &ExitReason::Kill).expect("a child");
    report(show(&actor::receive()));
    report(format!("again {}", actor::demonitor(monitor)));
    // One whose end has come, or not: neither is heard of after it was given up.
    let gone = start("gone");
    let second = actor::monitor(gone).expect("a monitor");
    let _ = actor::receive_match(&[Match::Down(Some(actor::monitor(gone).expect("a monitor")))], None);
    actor::link(gone).expect("who is gone harms nobody");
    report(format!("gave up {}", actor::demonitor(second)));
    actor::unlink(gone);
    report(show_next(&[Match::Down(None), Match::Exit(None)], Some(0)));
    actor::link(gone).expect("who is gone harms nobody");
    report(show(&actor::receive()));
    actor::send_exit(actor::own_pid(), &other("to myself")).expect("oneself");
    report(show(&actor::receive()));
    actor::exit(&other("done"));
    report("never");
}

/// Dies with its child, as it does not trap exits.
fn bound() {
    let child = start("idle");
    actor::link(child).expect("a child");
    actor::send_exit(
        child,
        &ExitReason::Crashed(Failure {
            kind: "test".into(),
            text: "broken".into(),
        }),
    )
    .expect("one");
    report(show(&actor::receive()));
}

/// What a guest may not that has no rights.
fn powerless() {
    let options = SpawnOptions {
        link: true,
        ..options("idle")
    };
    report(process::spawn("events", &options).expect_err("no right"));
    report(supervise(Vec::new(), None).expect_err("no right"));
    report(actor::monitor(control()).expect_err("no right"));
    report(actor::link(control()).expect_err("no right"));
    report(actor::send_exit(control(), &ExitReason::Kill).expect_err("no right"));
    report(format!("unregistered {}", rusm_rs::unregister("control")));
}

/// The same with the right to control others.
fn powerful() {
    actor::monitor(control()).expect("a right");
    actor::link(control()).expect("a right");
    actor::send_exit(control(), &ExitReason::Kill).expect("a right");
    report(show(&actor::receive()));
}

fn selective() {
    let me = actor::own_pid();
    for word in ["a one", "b one", "a two", "b two"] {
        actor::send(me, word.as_bytes());
    }
    let timer = actor::start_timer(1);
    let beginning = |word: &str| Match::Message(word.as_bytes().to_vec());
    report(show_next(&[beginning("b"), Match::Down(None)], None));
    report(show_next(&[Match::Timer(Some(timer))], None));
    report(show_next(&[beginning("c"), Match::Timer(None), Match::Stream], Some(2)));
    report(show_next(&[beginning("c"), beginning("b")], Some(60_000)));
    report(show(&actor::receive()));
    report(show_next(&[beginning("")], Some(0)));
    report(actor::receive_timeout(0).map_or("nothing".to_string(), |event| show(&event)));
    // What waits for it is woken by it, and by nothing else.
    rusm_rs::send_after(rusm_rs::me(), 2, b"noise");
    rusm_rs::send_after(rusm_rs::me(), 4, b"signal");
    report(show_next(&[beginning("sig")], None));
    report(show(&actor::receive()));
    let many: Vec<Match> = (0..65).map(|_| Match::Stream).collect();
    report(show_next(&many, Some(0)));
    report(show_next(&[Match::Request(vec![0; 4097])], Some(0)));
}

fn timers() {
    let far = actor::start_timer(60_000);
    let left = actor::read_timer(far).unwrap_or_default();
    report(format!("left {}", (50_000..=60_000).contains(&left)));
    let left = actor::cancel_timer(far).unwrap_or_default();
    report(format!("cancelled {}", (50_000..=60_000).contains(&left)));
    report(format!(
        "gone {:?} {:?}",
        actor::cancel_timer(far),
        actor::read_timer(far)
    ));
    let near = actor::start_timer(1);
    match actor::receive() {
        Event::Timer(timer) => report(format!("fired {} {:?}", timer == near, actor::cancel_timer(near))),
        event => report(show(&event)),
    }
    // One that has fired and was not received is as if it never was.
    let fired = actor::start_timer(0);
    while actor::read_timer(fired).is_some() {}
    report(format!("late {:?}", actor::cancel_timer(fired)));
    report(actor::receive_timeout(2).map_or("nothing".to_string(), |event| show(&event)));
    actor::send_after(actor::own_pid(), 1, b"later");
    report(show(&actor::receive()));
    report(format!("foreign {:?}", actor::cancel_timer(u64::MAX)));
}

/// Timers whose events nobody receives.
fn hoarder() {
    loop {
        actor::start_timer(0);
    }
}

/// Answers by what it is asked.
fn server() {
    let mut late = 0;
    loop {
        let Event::Request(request) = actor::receive() else {
            continue;
        };
        match request.body.as_slice() {
            b"late" => late = request.token,
            b"answer the late one" => {
                let was_there = actor::reply(late, b"late");
                actor::reply(
                    request.token,
                    format!("{was_there} {}", actor::reply(late, b"twice")).as_bytes(),
                );
            }
            b"end" => actor::exit(&other("asked to")),
            b"foreign" => {
                let foreign = actor::reply(request.token + 1, b"forged") || actor::reply(u64::MAX, b"forged");
                actor::reply(request.token, format!("forged {foreign}").as_bytes());
            }
            body => {
                actor::reply(request.token, &body.to_ascii_uppercase());
            }
        }
    }
}

fn caller() {
    let server = start("server");
    report(show_call(actor::call(server, b"shout", None)));
    actor::send(actor::own_pid(), b"mail");
    report(show_call(actor::call(server, b"late", Some(2))));
    report(show_call(actor::call(server, b"answer the late one", Some(60_000))));
    report(show_call(actor::call(server, b"foreign", Some(60_000))));
    report(show(&actor::receive()));
    report(actor::receive_timeout(0).map_or("nothing".to_string(), |event| show(&event)));
    report(show_call(actor::call(server, b"end", Some(60_000))));
    report(show_call(actor::call(server, b"hello", Some(60_000))));
    report(show_call(actor::call(elsewhere(), b"hello", Some(60_000))));
    report(show_call(actor::call(actor::own_pid(), b"hello", Some(60_000))));
}

/// What it is asked by others, as a text for the test.
fn answering() {
    loop {
        match actor::receive() {
            Event::Request(request) => {
                actor::reply(request.token, &request.body);
            }
            event => report(show(&event)),
        }
    }
}

fn supervise(children: Vec<Child>, intensity: Option<Intensity>) -> Result<Pid, String> {
    process::supervise(&process::Supervisor {
        strategy: Strategy::OneForOne,
        children,
        intensity,
        backoff: Some(Backoff {
            first_ms: 1,
            max_ms: 10,
            factor: 2.0,
            quiet_ms: 1000,
        }),
    })
}

fn child(name: &str, restart: Restart) -> Child {
    Child {
        id: name.to_string(),
        component: "worker".to_string(),
        restart,
        shutdown: Shutdown::Ms(1000),
        name: Some(name.to_string()),
        argument: format!("argument of {name}").into_bytes(),
    }
}

/// Three children with all that a supervisor knows of them; then it waits.
fn boss() {
    let children = vec![
        child("permanent", Restart::Permanent),
        child("transient", Restart::Transient),
        child("temporary", Restart::Temporary),
    ];
    let twice = vec![child("same", Restart::Permanent), child("same", Restart::Permanent)];
    report(supervise(twice, None).expect_err("one id for two"));
    let many = Some(Intensity {
        restarts: 1001,
        within_ms: 1000,
    });
    report(supervise(Vec::new(), many).expect_err("too many restarts"));
    actor::trap_exit(true);
    let limit = Some(Intensity {
        restarts: 2,
        within_ms: 60_000,
    });
    let supervisor = supervise(children, limit).expect("a supervisor");
    loop {
        match actor::receive() {
            Event::Exit(exit) => report(format!("{} {}", exit.sender.id == supervisor.id, reason(&exit.reason))),
            event => report(show(&event)),
        }
    }
}

/// A child: ends as it is told.
fn worker() {
    let name = process::self_info().names.pop().unwrap_or_default();
    report(format!("{name}: {}", text(&actor::argument())));
    loop {
        match actor::receive() {
            Event::Message(word) if word == b"normal" => return,
            Event::Message(word) if word == b"fail" => actor::exit(&other("failed")),
            _ => {}
        }
    }
}

/// Two supervisors at once, whose children have room only once.
fn greedy() {
    let two = |names: [&str; 2]| names.iter().map(|name| child(name, Restart::Permanent)).collect();
    report(format!("{}", supervise(two(["one", "two"]), None).is_ok()));
    report(supervise(two(["three", "four"]), None).expect_err("no room"));
    actor::receive();
}

fn itself() {
    let options = SpawnOptions {
        name: Some("named".into()),
        argument: b"argument".to_vec(),
        ..options("named")
    };
    let spawned = process::spawn("events", &options).expect("a process");
    report(process::spawn("events", &options).expect_err("the name is taken"));
    report(format!(
        "found {}",
        rusm_rs::whereis("named").map(|pid| pid.0) == Some(spawned.process.id)
    ));
    let reserved = SpawnOptions {
        name: Some("resident".into()),
        ..options
    };
    report(process::spawn("events", &reserved).expect_err("the name of a resident"));
    report(rusm_rs::spawn_from("events", "").expect_err("never").to_string());
    report(rusm_rs::spawn_from("events", "inline:code").expect_err("never").to_string());
    actor::receive();
}

fn named() {
    let info = process::self_info();
    let has_parent = info
        .parent
        .is_some_and(|parent| parent.id != info.pid.id && parent.incarnation == 0);
    report(format!(
        "{} {:?} {:?} {}",
        info.component,
        info.label,
        info.names,
        text(&actor::argument())
    ));
    report(format!(
        "parent {has_parent} links {} monitors {} traps {} cpu {} memory {} own {}",
        info.links,
        info.monitors,
        info.trap_exit,
        info.cpu_ns > 0,
        info.memory_bytes >= 65536,
        info.pid.id == actor::own_pid().id && info.pid.id == rusm_rs::me().0,
    ));
    let limits = info.limits;
    report(format!(
        "{} {} {:?} {} {} {}",
        limits.memory_bytes, limits.timers, limits.lifetime_ns, limits.monitors, limits.processes, limits.streams
    ));
    actor::send(elsewhere(), b"to nobody");
    actor::send(info.pid, b"to myself");
    report(format!(
        "{} {}",
        show(&actor::receive()),
        process::self_info().mailbox_depth
    ));
    rusm_rs::rusm::runtime::actor::set_label("relabelled");
    report(process::self_info().label.unwrap_or_default());
    actor::receive(); // keeps the name
}

/// Takes a stream as an event, and reads it by 0.1.0.
fn stream() {
    let Event::Stream(stream) = actor::receive() else {
        return;
    };
    while let Some(chunk) = rusm_rs::rusm::runtime::streams::stream_read(stream) {
        report(text(&chunk));
    }
    report("end");
}

/// Exit signals without end to one who traps them and never looks.
fn flooder() {
    let deaf = start("deaf");
    actor::receive_match(&[Match::Message(b"ready".to_vec())], None).expect("a match");
    for count in 0.. {
        if let Err(text) = actor::send_exit(deaf, &other("again")) {
            report(format!("{count} {text}"));
            break;
        }
    }
    report(format!("{:?}", actor::send_exit(deaf, &ExitReason::Kill).is_err()));
}

fn deaf() {
    actor::trap_exit(true);
    if let Some(parent) = process::self_info().parent {
        actor::send(parent, b"ready");
    }
    let _ = actor::receive_match(&[Match::Stream], None);
}

/// Monitors without end.
fn watcher() {
    loop {
        let _ = actor::monitor(elsewhere());
    }
}

fn linker() {
    actor::trap_exit(true);
    for id in 1_000_000.. {
        let _ = actor::link(Pid { id, incarnation: 0 });
    }
}

/// Links to the same one that is gone, again and again, and lets the answer come in each time.
fn relinker() {
    actor::trap_exit(true);
    let gone = Pid { id: 1_000_000, incarnation: 0 };
    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(actor::link(gone).is_err());
        let _ = actor::call(gone, b"", None);
    }
    report(format!("{refused} refused"));
    actor::receive();
    report(format!("{:?}", actor::link(gone).is_ok()));
}

/// Has a child that is linked to it and may not end it.
fn captor() {
    actor::trap_exit(true);
    let options = SpawnOptions { link: true, ..options("tame") };
    process::spawn("events", &options).expect("a child");
    for _ in 0..2 {
        if let Event::Exit(signal) = actor::receive() {
            report(format!("heard, linked: {}", signal.linked));
        }
    }
}

fn tame() {
    let parent = process::self_info().parent.expect("a parent");
    report(format!("kill: {:?}", actor::send_exit(parent, &ExitReason::Kill).is_ok()));
    actor::unlink(parent);
    report(format!("links: {}", process::self_info().links));
    let _ = actor::send_exit(parent, &other("a word"));
}

/// Links and monitors one child after the other, more than it may at once, and traps nothing.
fn brief() {
    for _ in 0..20 {
        let options = SpawnOptions { link: true, monitor: true, ..options("gone") };
        let spawned = process::spawn("events", &options).expect("one at a time");
        let _ = actor::receive_match(&[Match::Down(spawned.monitor)], None);
    }
    report("all have ended");
}

/// Waits for an answer that never comes.
fn patient() {
    report("asking");
    report(show_call(actor::call(control(), b"a question", None)));
}

#[rusm_rs::main]
fn main() {
    match role().as_str() {
        "signals" => signals(),
        "bound" => bound(),
        "powerless" => powerless(),
        "powerful" => powerful(),
        "selective" => selective(),
        "timers" => timers(),
        "hoarder" => hoarder(),
        "server" => server(),
        "caller" => caller(),
        "answering" => answering(),
        "boss" => boss(),
        "worker" => worker(),
        "greedy" => greedy(),
        "itself" => itself(),
        "named" => named(),
        "stream" => stream(),
        "flooder" => flooder(),
        "deaf" => deaf(),
        "watcher" => watcher(),
        "linker" => linker(),
        "relinker" => relinker(),
        "captor" => captor(),
        "tame" => tame(),
        "brief" => brief(),
        "patient" => patient(),
        "limited" => actor::exit(&ExitReason::Limit(Failure {
            kind: "memory".into(),
            text: "said so".into(),
        })),
        "killed" => actor::exit(&ExitReason::Kill),
        "gone" => {}
        _ => {
            actor::receive();
        }
    }
}
