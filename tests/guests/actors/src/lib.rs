//! Guests written with the published crate. The label of its process says which one an instance is; the test and its
//! guests know one another by names and pids in messages.

use rusm_rs::rusm::runtime::actor as abi;
use rusm_rs::{Pid, Strategy, Stream, Supervisor};

#[rusm_rs::service]
pub mod calc {
    pub fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    pub fn checked_div(a: i64, b: i64) -> Result<i64, String> {
        a.checked_div(b).ok_or("division by zero".to_string())
    }

    pub fn count_to(n: i64) -> impl Iterator<Item = i64> {
        1..=n
    }

    pub fn work(progress: rusm_rs::Callback<i64>) -> String {
        for percent in [25, 50, 100] {
            progress.call(percent);
        }
        "done".to_string()
    }

    pub fn tell(to: u64) {
        rusm_rs::send_bytes(rusm_rs::Pid(to), b"told");
    }
}

/// The label that this process was started with.
fn role() -> String {
    abi::info(rusm_rs::me().0)
        .and_then(|info| info.label)
        .unwrap_or_default()
}

/// The first message: the pid to which reports go.
fn control() -> Pid {
    let text = String::from_utf8(rusm_rs::receive_bytes()).expect("text");
    Pid(text.parse().expect("a pid"))
}

fn report(to: Pid, text: impl AsRef<str>) {
    rusm_rs::send_bytes(to, text.as_ref().as_bytes());
}

fn client() {
    let control = control();
    let calc = match calc::Client::spawn("calc") {
        Ok(calc) => calc,
        Err(error) => return report(control, error),
    };
    report(control, format!("sum {}", calc.add(2, 3).expect("a sum")));
    report(control, format!("division {:?}", calc.checked_div(7, 0)));
    let counted: Vec<i64> = calc.count_to(5).collect();
    report(control, format!("counted {counted:?}"));
    let heard = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let hears = heard.clone();
    let status = calc.work(move |percent| hears.borrow_mut().push(percent));
    report(control, format!("worked {:?} {status:?}", heard.borrow()));
    // Mail that comes while a call waits is set aside and received after it.
    rusm_rs::send_bytes(rusm_rs::me(), b"mail");
    let sum = calc.add(40, 2).expect("a sum");
    let mail = String::from_utf8(rusm_rs::receive_bytes()).expect("text");
    report(control, format!("sum {sum}, then {mail}"));
    rusm_rs::wire::cast(calc.pid, "tell", &(control.0,));
    let unknown = rusm_rs::wire::call::<_, i64>(calc.pid, "nothing", &());
    report(control, format!("unknown {unknown:?}"));
}

fn timers() {
    let control = control();
    let kept = rusm_rs::send_after(rusm_rs::me(), 20, b"kept");
    let cancelled = rusm_rs::send_after(rusm_rs::me(), 60_000, b"cancelled");
    report(control, format!("cancelled {}", rusm_rs::cancel_timer(cancelled)));
    report(control, format!("again {}", rusm_rs::cancel_timer(cancelled)));
    let mail = String::from_utf8(rusm_rs::receive_bytes()).expect("text");
    report(control, format!("received {mail}, cancelled {}", rusm_rs::cancel_timer(kept)));
    report(control, format!("nothing {:?}", rusm_rs::receive_bytes_timeout(5)));
    report(control, format!("nothing {:?}", rusm_rs::receive_bytes_timeout(0)));
}

fn tags() {
    let control = control();
    rusm_rs::register_tag("choir");
    rusm_rs::register_tag("choir");
    report(control, format!("alone {}", rusm_rs::whereis_tag("choir") == vec![rusm_rs::me()]));
    report(control, format!("registered {}", rusm_rs::register("singer")));
    report(control, format!("again {}", rusm_rs::register("singer")));
    report(control, format!("found {}", rusm_rs::whereis("singer") == Some(rusm_rs::me())));
    report(control, format!("freed {}", rusm_rs::unregister("singer")));
    report(control, format!("gone {:?}", rusm_rs::whereis("singer")));
    report(control, format!("processes {}", rusm_rs::list().len()));
    report(control, format!("alive {} {}", rusm_rs::is_alive(rusm_rs::me()), rusm_rs::is_alive(control)));
    report(control, format!("killed {}", rusm_rs::kill(control)));
    rusm_rs::set_label("tenor");
    report(control, role());
    rusm_rs::kill_tag("choir");
    rusm_rs::unregister_tag("choir");
    report(control, format!("left {}", rusm_rs::whereis_tag("choir").len()));
}

fn keeper() {
    let control = control();
    let bucket = rusm_rs::kv::bucket("things");
    report(control, format!("{:?}", bucket.get("a")));
    report(control, format!("{:?}", bucket.set("a", b"one")));
    report(control, format!("{:?}", bucket.set("b", b"")));
    report(control, format!("{:?}", bucket.get("a")));
    report(control, format!("{:?} {:?}", bucket.exists("b"), bucket.exists("c")));
    report(control, format!("{:?}", bucket.list()));
    report(control, format!("{:?} {:?}", bucket.delete("a"), bucket.delete("a")));
    report(control, format!("{:?}", bucket.list()));
    report(control, format!("{}", rusm_rs::kv::bucket("others").get("a").is_err()));
    report(control, format!("{}", bucket.set("", b"").is_err()));
}

fn watcher() {
    let control = control();
    let target = String::from_utf8(rusm_rs::receive_bytes()).expect("text").parse().expect("a pid");
    rusm_rs::monitor(Pid(target));
    report(control, "watching");
    let message = rusm_rs::receive_bytes();
    let down = rusm_rs::down_pid(&message);
    report(control, format!("{} {}", down == Some(Pid(target)), String::from_utf8_lossy(&message)));
}

/// Registers itself and tells whoever asks who it is, until it is told to fail.
fn child(name: &str) {
    rusm_rs::register(name);
    loop {
        let message = rusm_rs::receive_bytes();
        if message == b"fail" {
            panic!("told to fail");
        }
        let to = Pid(String::from_utf8(message).expect("text").parse().expect("a pid"));
        report(to, format!("{name} {}", rusm_rs::me()));
    }
}

fn bomb() {
    let control = rusm_rs::whereis("control");
    let mut children = 0;
    loop {
        match rusm_rs::spawn("bomb") {
            Ok(_) => children += 1,
            Err(error) => {
                if let Some(control) = control {
                    report(control, error);
                }
                break;
            }
        }
        if children > 10_000 {
            break;
        }
    }
    rusm_rs::receive_bytes();
}

/// Copies what comes through one stream into another, back to where it came from.
fn pipe() {
    let control = control();
    let incoming = Stream::accept();
    let Some(outgoing) = Stream::open(control) else { return };
    while let Some(chunk) = incoming.read() {
        if !outgoing.write(&chunk) {
            break;
        }
    }
    outgoing.close();
    report(control, "closed");
}

fn talker() {
    let control = control();
    log::error!("an error line");
    log::info!("an info line");
    log::trace!("a debug line");
    report(control, "logged");
}

#[rusm_rs::main]
fn main() {
    match role().as_str() {
        "calc" => calc::serve(),
        "client" => client(),
        "timers" => timers(),
        "tags" => tags(),
        "keeper" => keeper(),
        "watcher" => watcher(),
        "boss" => Supervisor::new(Strategy::OneForAll).child("left").child("right").max_restarts(3).run(),
        name @ ("left" | "right") => child(name),
        "bomb" => bomb(),
        "pipe" => pipe(),
        "talker" => talker(),
        other => panic!("no such guest: {other}"),
    }
}
