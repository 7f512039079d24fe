// SPDX-License-Identifier: MIT

//! The cases of yoke-bench by tasks of tokio's current-thread runtime: one repetition of the case
//! that is named, its result as one number. What is measured is processor time of the whole
//! process. Tokio's channels have room for one at least, so that a rendezvous does not exist; an
//! error with a backtrace takes a newer Rust than Debian's.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, Mutex};
use tokio::task::{spawn, spawn_blocking, yield_now, JoinHandle};

fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Times operation(n) after operation(n / 8 + 1): ns per one of n.
async fn each<F: Future<Output = ()>>(n: usize, operation: impl Fn(usize) -> F) -> f64 {
    operation(n / 8 + 1).await;
    let began = cpu();
    operation(n).await;
    (cpu() - began) / n as f64
}

async fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        handle.await.unwrap();
    }
}

async fn yields(n: usize) {
    let turns = move || async move {
        for _ in 0..n / 2 {
            yield_now().await;
        }
    };
    join(vec![spawn(turns()), spawn(turns())]).await;
}

async fn spawns(n: usize, batch: usize) {
    let mut handles = Vec::with_capacity(batch);
    for _ in 0..(n + batch - 1) / batch {
        for _ in 0..batch {
            handles.push(spawn(async {}));
        }
        for handle in handles.drain(..) {
            handle.await.unwrap();
        }
    }
}

async fn buffered(n: usize) {
    let (sender, mut receiver) = mpsc::channel::<i64>(128);
    let produce = spawn(async move {
        for i in 0..n {
            sender.send(i as i64).await.unwrap();
        }
    });
    let consume = spawn(async move {
        let mut received = 0;
        while receiver.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(received, n);
    });
    join(vec![produce, consume]).await;
}

async fn locks(n: usize) {
    let mutex = Mutex::new(());
    for _ in 0..n {
        drop(mutex.lock().await);
    }
}

async fn handed_locks(n: usize) {
    let mutex = Arc::new(Mutex::new(()));
    let contend = || {
        let mutex = mutex.clone();
        spawn(async move {
            for _ in 0..n / 2 {
                let guard = mutex.lock().await;
                yield_now().await;
                drop(guard);
            }
        })
    };
    join(vec![contend(), contend()]).await;
}

async fn thread_calls(n: usize) {
    for _ in 0..n {
        spawn_blocking(|| ()).await.unwrap();
    }
}

fn kib_of(path: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn resident() -> f64 {
    kib_of("/proc/self/smaps_rollup", "Rss:") + kib_of("/proc/self/status", "VmPTE:")
}

struct Crowd {
    spawn_ns: f64,
    bytes: f64,
    cancel_ms: f64,
}

/// n tasks asleep, and then aborted.
async fn gather(n: usize) -> Crowd {
    unsafe { libc::malloc_trim(0) };
    let before = resident();
    let mut began = cpu();
    let mut handles = Vec::new();
    for _ in 0..n {
        handles.push(spawn(tokio::time::sleep(Duration::from_secs(3600))));
    }
    // All have run before this one runs again.
    yield_now().await;
    for _ in 0..n / 32 {
        yield_now().await;
    }
    let spawn_ns = (cpu() - began) / n as f64;
    let bytes = (resident() - before) / n as f64;
    began = cpu();
    for handle in &handles {
        handle.abort();
    }
    for handle in handles {
        assert!(handle.await.unwrap_err().is_cancelled());
    }
    Crowd { spawn_ns, bytes, cancel_ms: (cpu() - began) / 1e6 }
}

async fn cancelled(n: usize) -> f64 {
    gather(n).await;
    gather(n).await.cancel_ms
}

async fn naps() {
    let mut handles = Vec::new();
    for _ in 0..10000 {
        handles.push(spawn(async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }));
    }
    join(handles).await;
}

async fn sleeps() -> f64 {
    naps().await;
    let began = cpu();
    naps().await;
    (cpu() - began) / (10000.0 * 20.0)
}

async fn measure(name: &str) -> Option<f64> {
    Some(match name {
        "yield" => each(2000000, yields).await,
        "spawn_join_1" => each(400000, |n| spawns(n, 1)).await,
        "spawn_join_1000" => each(400000, |n| spawns(n, 1000)).await,
        "chan_buffered" => each(1000000, buffered).await,
        "mutex" => each(4000000, locks).await,
        "mutex_handed" => each(1000000, handed_locks).await,
        "thread_run" => each(20000, thread_calls).await / 1e3,
        "idle_20k" => gather(20000).await.bytes,
        "idle_1m" => gather(1000000).await.bytes,
        "spawn_1m" => gather(1000000).await.spawn_ns,
        "cancel_20k" => cancelled(20000).await,
        "cancel_100k" => cancelled(100000).await,
        "sleep_10k" => sleeps().await,
        _ => return None,
    })
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // As a task, since what block_on runs is polled by another rule.
    let result = runtime.block_on(async move { spawn(async move { measure(&name).await }).await });
    match result.unwrap() {
        Some(number) => println!("{}", number),
        None => std::process::exit(3),
    }
}
