use super::*;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// A resolver whose look-ups tell their names and wait for a word each.
struct Gated {
    resolver: Arc<Resolver>,
    started: Receiver<String>,
    open: Sender<()>,
}

fn gated() -> Gated {
    let (tell, started) = channel();
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let resolver = Resolver::asking(move |name| {
        let _ = tell.send(name.to_owned());
        let _ = lock(&gate).recv();
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    });
    Gated {
        resolver: Arc::new(resolver),
        started,
        open,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(future))
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn asked(resolver: &Arc<Resolver>, asker: &Arc<Asker>, name: &str) -> Result<Answer, String> {
    resolver.look_up(asker, name).map_err(|error| format!("{error:?}"))
}

#[test]
fn what_is_no_name_is_refused_before_it_is_asked_for() {
    let resolver = Arc::new(Resolver::asking(|_| Err(std::io::ErrorKind::Other.into())));
    let asker = Arc::default();
    let too_long = "a".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "a b", "a\0b", "b\u{fc}cher.example", too_long.as_str()] {
        let refused = resolver.look_up(&asker, name);
        assert_eq!(refused.err(), Some(LookupError::NoName), "{name}");
    }
    assert_eq!(asker.counts().under_way, 0);
}

#[test]
fn one_asker_has_its_share_and_another_its_own() -> Outcome {
    let Gated {
        resolver,
        started,
        open,
    } = gated();
    let (greedy, modest) = (Arc::<Asker>::default(), Arc::<Asker>::default());
    let mut answers = Vec::new();
    for _ in 0..LOOKUPS_PER_ASKER_MAX {
        answers.push(asked(&resolver, &greedy, "greedy.example")?);
    }
    let refused = resolver.look_up(&greedy, "greedy.example");
    assert_eq!(refused.err(), Some(LookupError::Busy));
    for _ in 0..RUNNING_PER_ASKER_MAX {
        assert_eq!(started.recv_timeout(SOON)?, "greedy.example");
    }
    let answer = asked(&resolver, &modest, "modest.example")?;
    assert_eq!(started.recv_timeout(SOON)?, "modest.example");
    assert_eq!(greedy.counts().running, RUNNING_PER_ASKER_MAX);
    // Those in line go with who asked; those that run stay counted.
    answers.clear();
    assert_eq!(greedy.counts().under_way, RUNNING_PER_ASKER_MAX);
    drop(open);
    assert_eq!(block_on(answer)?, Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
    while greedy.counts().under_way != 0 || modest.counts().under_way != 0 {
        std::thread::yield_now();
    }
    let again = asked(&resolver, &greedy, "greedy.example")?;
    assert!(block_on(again)?.is_ok());
    Ok(())
}

#[test]
fn nobody_waits_for_an_engine_that_ended() -> Outcome {
    let Gated {
        resolver,
        started,
        open,
    } = gated();
    let asker = Arc::default();
    let runs = asked(&resolver, &asker, "a.example")?;
    started.recv_timeout(SOON)?;
    let others: Result<Vec<Answer>, String> = (0..4).map(|_| asked(&resolver, &asker, "b.example")).collect();
    drop(EngineResolver(Arc::clone(&resolver)));
    for waits in others?.into_iter().skip(RUNNING_PER_ASKER_MAX) {
        assert_eq!(block_on(waits)?, Err(LookupError::NoAddress));
    }
    assert_eq!(resolver.look_up(&asker, "c.example").err(), Some(LookupError::Busy));
    drop(open);
    assert_eq!(block_on(runs)?, Err(LookupError::NoAddress));
    Ok(())
}
