#!/usr/bin/env bash
# Rust for WebAssembly guests (wasm32-unknown-unknown).
#
#   tools/rust-wasm.sh prepare         makes sure that it is there; quick when it is
#   tools/rust-wasm.sh cargo ARGS...   runs cargo for that target
#
# The standard library for the target comes from the first of these that has it:
#   1. the compiler on PATH (where `rustup target add wasm32-unknown-unknown` was done before)
#   2. rustup, which is asked to download it
#   3. Debian's rustc-web and rust-web-src: built once from source, about a minute, kept under ~/.cache/rusm
set -euo pipefail

readonly target=wasm32-unknown-unknown
readonly cache=${RUSM_CACHE_DIR:-$HOME/.cache/rusm}
readonly debian_rustc=/usr/bin/rustc
readonly debian_source=/usr/lib/rustlib/src/rust/library

rustc_on_path() { echo "${RUSTC:-rustc}"; }

has_target() { # compiler
  local lib
  lib=$("$1" --print target-libdir --target $target 2>/dev/null) && compgen -G "$lib/libstd-*.rlib" >/dev/null
}

# Built by one compiler, the library is of use to that compiler alone: its exact version names the folder.
sysroot() {
  echo "$cache/rust-wasm-$("$debian_rustc" -vV | sed -n 's/^commit-hash: \(.\{12\}\).*/\1/p')"
}

has_sysroot() {
  [ -x $debian_rustc ] && [ -e "$(sysroot)/complete" ]
}

build_sysroot() {
  local root work
  root=$(sysroot)
  echo "building Rust's standard library for $target (once, about a minute)" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/rust-wasm-build.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  mkdir "$work/src"
  echo 'pub fn unit() {}' >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "unit"
version = "0.1.0"
edition = "2024"
[profile.release]
opt-level = "s"
panic = "abort"
[workspace]
TOML
  # Guests are linked with LTO, for which the library must carry bitcode. RUSTC_BOOTSTRAP admits -Zbuild-std, which
  # no released compiler takes otherwise.
  (cd "$work" && env -u CARGO_TARGET_DIR RUSTC=$debian_rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
    cargo build --quiet --release --target $target -Zbuild-std=std,panic_abort)
  local lib=$work/sysroot/lib/rustlib/$target/lib
  mkdir -p "$lib"
  cp "$work/target/$target/release/deps"/*.rlib "$work/target/$target/release/deps"/*.rmeta "$lib/"
  rm -f "$lib"/libunit-*
  touch "$work/sysroot/complete"
  rm -rf "$root"
  mv "$work/sysroot" "$root"
}

prepare() {
  if has_target "$(rustc_on_path)" || has_sysroot; then return; fi
  if command -v rustup >/dev/null && timeout 300 rustup target add $target >&2 && has_target "$(rustc_on_path)"; then
    return
  fi
  if [ -x $debian_rustc ] && [ -d $debian_source ]; then
    build_sysroot
    return
  fi
  echo "rust-wasm: this compiler has no standard library for $target, rustup could not download one, and Debian's" >&2
  echo "           rustc-web and rust-web-src, of which it can be built, are not installed" >&2
  return 1
}

run_cargo() {
  # A guest's stack of 64 KiB instead of a megabyte: less memory for each instance, and a quicker start.
  local flags="-Clink-arg=-zstack-size=65536 ${CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS:-}"
  if ! has_target "$(rustc_on_path)"; then
    has_sysroot || { echo "rust-wasm: not prepared; run tools/setup.sh" >&2; return 1; }
    flags="--sysroot $(sysroot) $flags"
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(command -v wasm-ld-22) || { echo "rust-wasm: wasm-ld-22 is missing; run tools/setup.sh" >&2; return 1; }
    export RUSTC=$debian_rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER
  fi
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$flags
  exec "${RUSM_CARGO:-cargo}" "$@" --target $target
}

case ${1:-} in
  prepare) prepare ;;
  cargo) shift; run_cargo "$@" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
esac
