//! Streams of chunks, and one message for many.
use super::{emit, rate};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc};

fn emit_stream(w: &str, bytes: usize, t0: Instant, chunk: usize) {
    emit(w, bytes as f64 / 1e6 / t0.elapsed().as_secs_f64(), "MB/s", &[("chunk", chunk as f64)]);
}

const SPAN: Duration = Duration::from_secs(2);

/// Chunks that are filled and handed over; for each, a new one.
pub async fn stream(w: &str, chunk: usize) {
    let (tx, mut rx) = mpsc::channel::<Vec<u8>>(16);
    let t0 = Instant::now();
    tokio::spawn(async move {
        while t0.elapsed() < SPAN {
            for _ in 0..64 {
                tx.send(vec![7u8; chunk]).await.unwrap();
            }
        }
    });
    let mut bytes = 0;
    while let Some(c) = rx.recv().await {
        assert_eq!(c[c.len() - 1], 7);
        bytes += c.len();
    }
    emit_stream(w, bytes, t0, chunk);
}

/// The same through a pipe of bytes, which copies into its buffer and out of it.
pub async fn duplex(w: &str, chunk: usize) {
    let (mut tx, mut rx) = tokio::io::duplex(16 * chunk);
    let t0 = Instant::now();
    tokio::spawn(async move {
        let mut c = vec![0u8; chunk];
        while t0.elapsed() < SPAN {
            for _ in 0..64 {
                c.fill(7);
                tx.write_all(&c).await.unwrap();
            }
        }
    });
    let (mut c, mut bytes) = (vec![0u8; chunk], 0);
    loop {
        let n = rx.read(&mut c).await.unwrap();
        if n == 0 {
            break;
        }
        bytes += n;
    }
    emit_stream(w, bytes, t0, chunk);
}

/// The channel holds all publications: a receiver that lags behind would lose some.
async fn publish(subscribers: usize, n: usize) -> f64 {
    let (tx, _) = broadcast::channel::<u64>(n);
    let hs: Vec<_> = (0..subscribers)
        .map(|_| {
            let mut rx = tx.subscribe();
            tokio::spawn(async move {
                for _ in 0..n {
                    rx.recv().await.unwrap();
                }
            })
        })
        .collect();
    let t0 = Instant::now();
    for i in 0..n {
        tx.send(i as u64).unwrap();
        if i % 256 == 255 {
            tokio::task::yield_now().await;
        }
    }
    for h in hs {
        h.await.unwrap();
    }
    rate(subscribers * n, t0)
}
pub async fn fanout(w: &str) {
    publish(1000, 200).await;
    emit(w, publish(1000, 4000).await, "deliveries/s", &[("subscribers", 1000.0)]);
}
