#!/usr/bin/env bash
# Prints the cargo and the rustc to build with, one path a line: those that RUSM_CARGO and RUSTC name, else the
# first pair that is new enough of PATH, ~/.cargo/bin and /usr/bin. Fails, saying what it saw, when there is none.
set -euo pipefail

readonly needed=1.95

version_of() { # compiler
  "$1" -vV 2>/dev/null | sed -n 's/^release: \([0-9.]*\).*/\1/p'
}

new_enough() { # version
  [ -n "$1" ] && [ "$(printf '%s\n%s\n' $needed "$1" | sort -V | head -n 1)" = $needed ]
}

seen=()
try() { # cargo rustc
  local cargo rustc version
  cargo=$(command -v "$1") || return 0
  rustc=$(command -v "$2") || return 0
  version=$(version_of "$rustc")
  if new_enough "$version"; then
    printf '%s\n%s\n' "$cargo" "$rustc"
    exit 0
  fi
  seen+=("$rustc is ${version:-not working}")
}

try "${RUSM_CARGO:-cargo}" "${RUSTC:-rustc}"
try "$HOME/.cargo/bin/cargo" "$HOME/.cargo/bin/rustc"
try /usr/bin/cargo /usr/bin/rustc

if [ ${#seen[@]} -eq 0 ]; then
  echo "Rust is missing: RUSM needs $needed or newer." >&2
else
  echo "RUSM needs Rust $needed or newer, but $(printf '%s, ' "${seen[@]}" | sed 's/, $//')." >&2
fi
exit 1
