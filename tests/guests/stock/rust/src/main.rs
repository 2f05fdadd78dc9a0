//! A plain program on the standard library, built for wasm32-wasip1.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io, process, thread};

#[inline(never)]
fn fail_deep(depth: u32) {
    if depth == 0 {
        panic!("on purpose");
    }
    fail_deep(depth - 1);
    io::stdout().flush().ok();
}

fn words() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    println!("{counts:?}");
    Ok(())
}

fn files() -> io::Result<()> {
    let text = fs::read_to_string("/data/in.txt")?;
    fs::write("/data/out.txt", text.to_uppercase())?;
    let mut names: Vec<_> = fs::read_dir("/data")?
        .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
        .collect::<io::Result<_>>()?;
    names.sort();
    println!("{names:?}");
    fs::remove_file("/data/none")
}

fn clocks() {
    let before = Instant::now();
    thread::sleep(Duration::from_millis(20));
    println!(
        "{} {}",
        before.elapsed() >= Duration::from_millis(20),
        SystemTime::now() > SystemTime::UNIX_EPOCH
    );
}

fn main() -> io::Result<()> {
    let words_given: Vec<String> = env::args().skip(1).collect();
    match words_given.first().map(String::as_str) {
        Some("args") => println!(
            "{:?} {:?} {:?}",
            &words_given[1..],
            env::var("GIVEN").ok(),
            env::var("HOME").ok()
        ),
        Some("words") => words()?,
        Some("files") => files()?,
        Some("clocks") => clocks(),
        Some("stderr") => eprintln!("to stderr"),
        Some("exit") => process::exit(7),
        Some("panic") => fail_deep(3),
        Some("thread") => println!("{}", thread::Builder::new().spawn(|| ()).is_err()),
        _ => return Err(io::Error::other("name a case")),
    }
    Ok(())
}
