//! The workloads with Tokio tasks and unbounded mpsc channels. peer-tokio WORKLOAD -> one line of JSON
mod exchange;
mod serve;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

fn cores() -> usize {
    std::thread::available_parallelism().map(|n| n.get()).unwrap_or(1)
}
fn emit(w: &str, v: f64, unit: &str, extra: &[(&str, f64)]) {
    let e: String = extra.iter().map(|(k, v)| format!(",\"{k}\":{v:.3}")).collect();
    println!("{{\"peer\":\"tokio\",\"workload\":\"{w}\",\"value\":{v:.3},\"unit\":\"{unit}\"{e}}}");
}
fn quant(v: &mut [u64]) -> [(&'static str, f64); 3] {
    v.sort_unstable();
    let q = |p: f64| v[((p * v.len() as f64) as usize).min(v.len() - 1)] as f64 / 1000.0;
    [("p50_us", q(0.5)), ("p99_us", q(0.99)), ("p999_us", q(0.999))]
}
fn rate(n: usize, t0: Instant) -> f64 {
    n as f64 / t0.elapsed().as_secs_f64()
}
fn rss() -> f64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap();
    s.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

async fn spawn_batch(per: usize) {
    let sp: Vec<_> = (0..cores())
        .map(|_| {
            tokio::spawn(async move {
                let hs: Vec<_> = (0..per).map(|_| tokio::spawn(async {})).collect();
                for h in hs {
                    h.await.unwrap();
                }
            })
        })
        .collect();
    for s in sp {
        s.await.unwrap();
    }
}
async fn spawn() {
    let (per, batches) = (100_000 / cores(), 20);
    for _ in 0..2 {
        spawn_batch(per).await;
    }
    let t0 = Instant::now();
    for _ in 0..batches {
        spawn_batch(per).await;
    }
    let n = batches * per * cores();
    emit("spawn", rate(n, t0), "tasks/s", &[("n", n as f64)]);
}

async fn pair(n: usize, lat: Option<Arc<Mutex<Vec<u64>>>>) {
    let (ta, mut ra) = unbounded_channel::<u64>();
    let (tb, mut rb) = unbounded_channel::<u64>();
    tokio::spawn(async move {
        while let Some(v) = ra.recv().await {
            if tb.send(v).is_err() {
                break;
            }
        }
    });
    let mut l = Vec::with_capacity(if lat.is_some() { n } else { 0 });
    for i in 0..n {
        if lat.is_some() {
            let t = Instant::now();
            ta.send(i as u64).unwrap();
            rb.recv().await.unwrap();
            l.push(t.elapsed().as_nanos() as u64);
        } else {
            ta.send(i as u64).unwrap();
            rb.recv().await.unwrap();
        }
    }
    if let Some(x) = lat {
        *x.lock().unwrap() = l;
    }
}
async fn pairs(k: usize, n: usize) -> f64 {
    let t0 = Instant::now();
    let hs: Vec<_> = (0..k).map(|_| tokio::spawn(pair(n, None))).collect();
    for h in hs {
        h.await.unwrap();
    }
    rate(2 * k * n, t0)
}

async fn fanin(p: usize, per: usize) -> f64 {
    let (tx, mut rx) = unbounded_channel::<u64>();
    let t0 = Instant::now();
    for _ in 0..p {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..per {
                tx.send(i as u64).unwrap();
                // a send to an unbounded channel never waits: spend the task's cooperative budget
                if i % 1024 == 1023 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    tokio::spawn(async move {
        for _ in 0..p * per {
            rx.recv().await.unwrap();
        }
    })
    .await
    .unwrap();
    rate(p * per, t0)
}

async fn ring_node(mut rx: UnboundedReceiver<u64>, tx: UnboundedSender<u64>, done: UnboundedSender<()>) {
    while let Some(v) = rx.recv().await {
        if v == 0 {
            let _ = done.send(());
            return;
        }
        if tx.send(v - 1).is_err() {
            return;
        }
    }
}
async fn ring(size: usize, hops: u64) -> f64 {
    let (dt, mut dr) = unbounded_channel();
    let (first, mut rx) = unbounded_channel::<u64>();
    for i in 0..size {
        let (tx, nrx) = unbounded_channel::<u64>();
        let out = if i == size - 1 { first.clone() } else { tx };
        tokio::spawn(ring_node(rx, out, dt.clone()));
        rx = nrx;
    }
    let t0 = Instant::now();
    first.send(hops).unwrap();
    dr.recv().await.unwrap();
    rate(hops as usize, t0)
}

async fn faults(n: usize) -> (f64, Vec<u64>) {
    std::panic::set_hook(Box::new(|_| {}));
    let died = Arc::new(Mutex::new((None::<Instant>, Vec::with_capacity(n))));
    let child = |d: Arc<Mutex<(Option<Instant>, Vec<u64>)>>| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            {
                let mut g = d.lock().unwrap();
                if let Some(t) = g.0 {
                    g.1.push(t.elapsed().as_nanos() as u64);
                }
                g.0 = Some(Instant::now());
            }
            panic!("boom");
        })
    };
    let d2 = died.clone();
    let v = tokio::spawn(async move {
        let t0 = Instant::now();
        for _ in 0..n {
            assert!(tokio::spawn(child(d2.clone())).await.unwrap_err().is_panic());
        }
        rate(n, t0)
    })
    .await
    .unwrap();
    let l = std::mem::take(&mut died.lock().unwrap().1);
    (v, l)
}

async fn idle() {
    let n = 1_000_000usize;
    let mut txs: Vec<UnboundedSender<u64>> = Vec::with_capacity(n);
    let r0 = rss();
    let t0 = Instant::now();
    for _ in 0..n {
        let (tx, mut rx) = unbounded_channel::<u64>();
        tokio::spawn(async move { while rx.recv().await.is_some() {} });
        txs.push(tx);
    }
    let cr = rate(n, t0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let r1 = rss();
    emit("idle-memory", (r1 - r0) / n as f64, "bytes/process (RSS)",
        &[("processes", n as f64), ("rss_total_mb", r1 / 1e6), ("create_per_s", cr)]);
    std::process::exit(0);
}

async fn timers() {
    let n = 1_000_000usize;
    let t0 = Instant::now();
    let hs: Vec<_> = (0..cores())
        .map(|_| {
            tokio::spawn(async move {
                let v: Vec<_> = (0..n / cores())
                    .map(|i| tokio::spawn(tokio::time::sleep(Duration::from_millis(1 + i as u64 % 100))))
                    .collect();
                for h in v {
                    h.await.unwrap();
                }
            })
        })
        .collect();
    for h in hs {
        h.await.unwrap();
    }
    emit("timers", rate(n, t0), "timers/s", &[("timers", n as f64)]);
}

async fn work(w: String) {
    match w.as_str() {
        "spawn" => spawn().await,
        "pingpong" => {
            pairs(1, 100_000).await;
            let n = 1_500_000;
            let v = pairs(1, n).await;
            let l = Arc::new(Mutex::new(vec![]));
            tokio::spawn(pair(300_000, Some(l.clone()))).await.unwrap();
            let q = quant(&mut l.lock().unwrap());
            emit(&w, v, "msgs/s", &[("roundtrips", n as f64), q[0], q[1], q[2]]);
        }
        "pingpong-many" => {
            let k = 2 * cores();
            pairs(k, 50_000).await;
            emit(&w, pairs(k, 500_000).await, "msgs/s", &[("pairs", k as f64)]);
        }
        "fanin" => {
            fanin(8, 20_000).await;
            emit(&w, fanin(8, 250_000).await, "msgs/s", &[("producers", 8.0), ("per_producer", 250_000.0)]);
        }
        "ring" => {
            ring(1000, 100_000).await;
            emit(&w, ring(1000, 3_000_000).await, "hops/s", &[("processes", 1000.0), ("hops", 3e6)]);
        }
        "fault-recovery" => {
            faults(5_000).await;
            let (v, mut l) = faults(200_000).await;
            let q = quant(&mut l);
            emit(&w, v, "restarts/s", &[("restarts", 200_000.0), q[0], q[1], q[2]]);
        }
        "idle-memory" => idle().await,
        "timers" => timers().await,
        "stream-64k" => exchange::stream(&w, 64 << 10).await,
        "stream-4k" => exchange::stream(&w, 4 << 10).await,
        "stream-64k-duplex" => exchange::duplex(&w, 64 << 10).await,
        "stream-4k-duplex" => exchange::duplex(&w, 4 << 10).await,
        "pubsub-fanout" => exchange::fanout(&w).await,
        "tcp-echo" => serve::echo().await,
        "connection-storm" => serve::echo_once().await,
        _ => std::process::exit(2),
    }
}

fn main() {
    let workload = std::env::args().nth(1).expect("a workload");
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(cores()).enable_all().build().unwrap();
    rt.block_on(async { tokio::spawn(work(workload)).await.unwrap() });
}
