//! A guest's frames as text, one function a line, so that the few lines that reports show are worth reading:
//!
//!   11: fail_deep at src/main.rs:11:9
//!       inlined into main at src/main.rs:30:5
//!   12: 0x2d83 - main                          where the file has no debug information
//!
//! What Rust does between a panic and its trap is left out: the numbers begin where the guest's own code does.

use std::fmt::Write as _;
use wasmtime::WasmBacktrace;

/// One line for each function, innermost first; empty if there are none.
pub fn frames(backtrace: &WasmBacktrace) -> String {
    let text = backtrace.to_string();
    match text.split_once('\n') {
        Some((_heading, frames)) => rewrite(frames),
        None => text,
    }
}

struct Line {
    /// Empty for a function into which the one before was inlined.
    number: String,
    /// In the module; empty if unknown.
    offset: String,
    name: String,
    /// FILE:LINE:COLUMN; empty if unknown.
    place: String,
}

impl Line {
    fn new(number: &str, offset: &str, name: &str) -> Line {
        Line {
            number: number.to_owned(),
            offset: offset.to_owned(),
            name: without_hashes(name),
            place: String::new(),
        }
    }

    fn of_frame(words: &str) -> Line {
        let (number, rest) = words.split_once(": ").unwrap_or((words, ""));
        match rest.trim_start().split_once(" - ") {
            Some((offset, name)) => Line::new(number, offset, name),
            None => Line::new(number, "", rest),
        }
    }

    fn write(&self, text: &mut String) {
        let begin = match (self.number.as_str(), self.offset.as_str(), self.place.as_str()) {
            ("", _, _) => "      inlined into ".to_owned(),
            (number, "", _) => format!("{number:>4}: "),
            (number, offset, "") => format!("{number:>4}: {offset} - "),
            (number, ..) => format!("{number:>4}: "),
        };
        let at = if self.place.is_empty() { "" } else { " at " };
        let separator = if text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{begin}{}{at}{}", self.name, self.place);
    }
}

fn rewrite(frames: &str) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for line in frames.lines() {
        let words = line.trim_start();
        if let Some(place) = words.strip_prefix("at ") {
            if let Some(last) = lines.last_mut() {
                last.place = short_path(place).to_owned();
            }
        } else if let Some(name) = words.strip_prefix("- ") {
            lines.push(Line::new("", "", name));
        } else {
            lines.push(Line::of_frame(words));
        }
    }
    let mut text = String::new();
    for line in lines.iter().skip(panic_lines(&lines)) {
        line.write(&mut text);
    }
    text
}

/// How many lines belong to Rust's panic; 0 if it did not panic.
fn panic_lines(lines: &[Line]) -> usize {
    let Some(begin) = lines.iter().position(|line| line.name.ends_with("rust_begin_unwind")) else {
        return 0;
    };
    let is_own = |line: &Line| !line.number.is_empty() && !line.name.contains("core::panicking::");
    let behind = lines.iter().skip(begin + 1).position(is_own);
    behind.map_or(0, |behind| begin + 1 + behind)
}

/// Rust's mangling carries a hash of each crate: `std[a88812da5ee6ad9e]::rt`.
fn without_hashes(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        rest = match behind_hash(after) {
            Some(behind) => behind,
            None => {
                out.push('[');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// Looks no further than a hash is long: names are the guest's choice.
fn behind_hash(text: &str) -> Option<&str> {
    let digits = text.bytes().take(17).take_while(u8::is_ascii_hexdigit).count();
    if !(9..=16).contains(&digits) {
        return None;
    }
    text.get(digits..)?.strip_prefix(']')
}

/// Rust's own sources without the name of their commit.
fn short_path(place: &str) -> &str {
    place
        .strip_prefix("/rustc/")
        .and_then(|rest| rest.split_once('/'))
        .map_or(place, |(_commit, path)| path)
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn a_function_is_a_line_with_the_place_that_is_known() {
        let frames = "    0:   0xea54 - abort\n    1:   0x9e23 - std[a88812da5ee6ad9e]::rt::go\n                    \
            at /rustc/5980/library/std/src/rt.rs:4:14\n                - main\n                    at src/main.rs:7:1\n    \
            2: <unknown>!<wasm function 9>";
        let text = "   0: 0xea54 - abort\n   1: std::rt::go at library/std/src/rt.rs:4:14\n      inlined into main at \
            src/main.rs:7:1\n   2: <unknown>!<wasm function 9>";
        assert_eq!(rewrite(frames), text);
    }

    #[test]
    fn names_keep_brackets_that_are_no_hashes() {
        assert_eq!(
            rewrite("    0:   0x1 - a[3]::b[cafe]<[u8]>["),
            "   0: 0x1 - a[3]::b[cafe]<[u8]>["
        );
    }

    #[test]
    fn a_panic_is_left_out_up_to_who_panicked() {
        let frames = "    0:   0x1 - abort\n    1:   0x2 - __rustc[b7974e8690430dd9]::rust_begin_unwind\n    \
            2:   0x3 - core[9f8d08631ff90aa5]::panicking::panic_fmt\n    3:   0x4 - guest\n    4:   0x5 - main";
        assert_eq!(rewrite(frames), "   3: 0x4 - guest\n   4: 0x5 - main");
        // With nothing behind it all of it stays.
        let alone = "    0:   0x1 - abort\n    1:   0x2 - rust_begin_unwind";
        assert_eq!(rewrite(alone), "   0: 0x1 - abort\n   1: 0x2 - rust_begin_unwind");
    }
}
