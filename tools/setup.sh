#!/usr/bin/env bash
# Brings a Debian 12 machine to the point where RUSM builds: installs what is missing from apt (with sudo when not
# root), finds Rust or installs Debian's, and downloads what cargo needs, so that later builds need no network.
#
#   tools/setup.sh [bench] [check]     with what `make bench` or `make check` need besides
#   tools/setup.sh libraries [docs]    only what the C++ libraries need (base, otp, net, kv), or their reference too
#
# Run again it only looks, which takes a moment. RUSM_SETUP=skip skips it all, for machines that are set up by hand.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly cache=${RUSM_CACHE_DIR:-$HOME/.cache/rusm}
readonly disk_mb_needed=8000

# Package, and what it is for.
readonly packages_libraries='
clang-22                  compiles RUSM, and guests written in C++
cmake                     build system
ninja-build               build system
g++                       C++ library of the system; tests of the package
libc6-dev                 C library of the system
libboost1.81-dev          header-only helpers
libmimalloc-dev           memory allocator
libfmt-dev                text formatting
libssl-dev                TLS, cryptography
libsqlite3-dev            durable store
libxxhash-dev             checksums of the durable store
'
readonly packages_base='
lld-22                    links guests
libclang-rt-22-dev        sanitizers and coverage
libc++-22-dev-wasm32      C++ library for guests
libclang-rt-22-dev-wasm32 compiler support for guests
wasi-libc                 C library for guests
llvm-22                   symbols in sanitizer reports
ccache                    keeps compiled objects
mold                      links RUSM
pkg-config                finds libraries
libtomlplusplus-dev       reads rusm.toml
libcli11-dev              command line
nlohmann-json3-dev        JSON
libgtest-dev              tests
libgmock-dev              tests
python3                   end-to-end tests
curl                      end-to-end tests, and TLS tests
openssl                   TLS tests
ca-certificates           downloads over TLS
'
readonly packages_rust='
rustc-web                 compiles Rust: the engine bridge, and guests
cargo-web                 builds the engine bridge
'
readonly packages_rust_wasm='
rustc-web                 compiles Rust: the engine bridge, and guests
rust-web-src              Rust standard library for guests
'
readonly packages_bench='
wrk                       HTTP load
erlang-base               peer: Erlang/OTP
golang-go                 peer: Go
libcaf-dev                peer: C++ Actor Framework
g++                       peer: C++ Actor Framework
liblmdb-dev               peer: LMDB
'
readonly packages_check='
clang-format-22           formatting
clang-tidy-22             static checks
shellcheck                checks of shell scripts
'
readonly packages_docs='
doxygen                   reference of the C++ libraries
python3                   reference of the C++ libraries
'

declare -A installed  # package -> yes
as_root=()            # what to put before apt-get

say() { printf 'setup: %s\n' "$*" >&2; }

fail() { # lines
  printf 'setup: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

check_system() {
  local system
  system=$(sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\).*/\1/p' /etc/os-release 2>/dev/null) || true
  case $system in
    'Debian GNU/Linux 12 '*) ;;
    *) fail "this is ${system:-an unknown system}; set-up knows Debian 12 (bookworm) only." \
      "Install clang 22, lld, the wasm32 libraries, Rust 1.95 and the libraries that tools/setup.sh lists by hand," \
      "then say: RUSM_SETUP=skip make ..." ;;
  esac
}

check_disk() {
  local where free_mb
  for where in . "$cache" /usr; do
    free_mb=$(df --output=avail -BM "$where" | tail -n 1 | tr -dc 0-9)
    [ "$free_mb" -ge $disk_mb_needed ] || fail \
      "only $free_mb MB are free on the disk of $where; a first build needs $disk_mb_needed MB for packages and objects." \
      "Free some, or point RUSM_CACHE_DIR to another disk."
  done
}

# Of a table, the lines whose package is not installed.
missing_of() { # table
  local package purpose
  while read -r package purpose; do
    [ -z "$package" ] || [ -n "${installed[$package]:-}" ] || printf '%s %s\n' "$package" "$purpose"
  done <<<"$1"
}

has_candidate() { # package
  [[ $(apt-cache policy "$1" 2>/dev/null) == *'Candidate: '[^\(]* ]]
}

# What tells bookworm from bookworm with its security suite: that suite alone has Rust 1.96 and clang 22.
refresh_package_lists() { # packages...
  local package output unknown=()
  say "refreshing the package lists"
  output=$("${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 update 2>&1) || true
  for package in "$@"; do
    has_candidate "$package" || unknown+=("$package")
  done
  [ ${#unknown[@]} -gt 0 ] || return 0
  local problems
  problems=$(grep -E '^(Err|E|W):' <<<"$output" | grep -E 'resolve|connect|timed out|unreachable|Failed to fetch' | head -n 5) || true
  if [ -n "$problems" ]; then
    printf '%s\n' "$problems" >&2
    fail "apt cannot reach its servers. A first build needs the network; later ones do not."
  fi
  if [[ $(apt-cache policy 2>/dev/null) != *bookworm-security* ]]; then
    fail "apt does not know: ${unknown[*]}." "They are in Debian's security suite, which this machine does not use. Add it, then run this again:" \
      "  echo 'deb http://deb.debian.org/debian-security bookworm-security main' > /etc/apt/sources.list.d/bookworm-security.list"
  fi
  fail "apt does not know: ${unknown[*]}." "They belong to Debian 12 or its security suite: check /etc/apt/sources.list and run apt-get update."
}

install_packages() { # table
  local table=$1 packages
  mapfile -t packages < <(cut -d' ' -f1 <<<"$table" | sort -u)
  say "installing from Debian:"
  sort -u <<<"$table" | while read -r package purpose; do printf '         %-26s %s\n' "$package" "$purpose" >&2; done
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "installing packages needs root, and there is no sudo here." "Run this as root once: apt-get install -y --no-install-recommends ${packages[*]}"
    as_root=(sudo)
  fi
  local package
  for package in "${packages[@]}"; do
    has_candidate "$package" || { refresh_package_lists "${packages[@]}"; break; }
  done
  apt_install "${packages[@]}" && return
  # Old package lists name files that the servers no longer have.
  refresh_package_lists "${packages[@]}"
  apt_install "${packages[@]}" || {
    tail -n 15 "$cache/apt.log" >&2
    fail "apt-get failed; its output is in $cache/apt.log"
  }
}

apt_install() { # packages...
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y \
    --no-install-recommends "$@" >"$cache/apt.log" 2>&1
}

check_versions() {
  local have
  have=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [ "$(printf '3.25\n%s\n' "$have" | sort -V | head -n 1)" = 3.25 ] ||
    fail "$(command -v cmake) is version $have; RUSM needs 3.25 or newer. Debian's own is in /usr/bin: put that first in PATH."
}

# Everything that the lock files name, so that a later build or test needs no network.
fetch_crates() {
  local manifest
  for manifest in bridge/Cargo.toml examples/*/components/*/Cargo.toml; do
    "$RUSM_CARGO" fetch --quiet --locked --offline --manifest-path "$manifest" 2>/dev/null && continue
    say "downloading the crates of $(dirname "$manifest")"
    "$RUSM_CARGO" fetch --quiet --locked --manifest-path "$manifest" ||
      fail "cargo cannot download crates. A first build needs the network; later ones do not."
  done
}

# Sets `missing` to the table of what this run needs and the machine lacks.
find_missing() { # extras...
  local package status extra
  declare -gA installed=()
  while read -r package status; do
    [ "$status" != installed ] || installed[$package]=yes
  done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n')
  missing=$(
    missing_of "$packages_libraries"
    if ! only_libraries "$@"; then
      missing_of "$packages_base"
      tools/find-rust.sh >/dev/null 2>&1 || missing_of "$packages_rust$packages_rust_wasm"
    fi
    for extra in "$@"; do
      case $extra in
        bench) missing_of "$packages_bench" ;;
        check) missing_of "$packages_check" ;;
        docs) missing_of "$packages_docs" ;;
      esac
    done
  )
}

only_libraries() { # extras...
  [[ " $* " = *' libraries '* ]]
}

main() {
  [ "${RUSM_SETUP:-}" != skip ] || return 0
  local extra missing stamp rust
  for extra in "$@"; do
    [[ $extra =~ ^(bench|check|libraries|docs)$ ]] ||
      fail "there is no extra \"$extra\"; the extras are bench, check, libraries and docs"
  done
  check_system
  mkdir -p "$cache" 2>/dev/null || true
  [ -w "$cache" ] || fail "$cache cannot be written; what is built once is kept there. Set RUSM_CACHE_DIR to a folder that can."

  # What the stamp vouches for: crates and Rust's library for guests. Packages are looked at each time.
  stamp=$cache/setup-$(cat tools/*.sh bridge/Cargo.lock examples/*/components/*/Cargo.lock | sha256sum | cut -c1-16)
  [ -e "$stamp" ] || only_libraries "$@" || check_disk
  find_missing "$@"
  [ -z "$missing" ] || install_packages "$missing"
  if only_libraries "$@"; then
    check_versions
    return 0
  fi
  [ ! -e "$stamp" ] || return 0

  check_versions
  rust=$(tools/find-rust.sh) || fail "there is no Rust that is new enough, even after installing Debian's." "Where rustup is used: rustup update stable"
  RUSM_CARGO=$(sed -n 1p <<<"$rust")
  RUSTC=$(sed -n 2p <<<"$rust")
  export RUSM_CARGO RUSTC
  fetch_crates
  if ! tools/rust-wasm.sh prepare; then
    find_missing
    missing=$(missing_of "$packages_rust_wasm")
    [ -z "$missing" ] || install_packages "$missing"
    tools/rust-wasm.sh prepare || fail "Rust's standard library for guests could not be prepared; see above."
  fi
  touch "$stamp"
}

main "$@"
