#!/usr/bin/env bash
# Makes a guest with the tools that its language's people use, which are fetched once and kept under ~/.cache/rusm.
#
#   make.sh javascript|python|rust|go OUT.wasm
#
# A machine that lacks the tools, or cannot fetch them, is no error: then OUT.why says what is missing, and so does this
# script, and the tests that need the guest are skipped. What was tried in vain is tried again an hour later at the
# earliest. RUSM_COMPONENTIZE is the program of that name, RUSM_CARGO and RUSTC those that build RUSM.
set -euo pipefail
cd "$(dirname "$0")"

readonly language=$1 out=$2
readonly why=${out%.wasm}.why
readonly cache=${RUSM_CACHE_DIR:-$HOME/.cache/rusm}/stock
readonly retry_minutes=60

key_of() { # files, and whatever else counts as words
  { for each in "$@"; do if [ -f "$each" ]; then cat "$each"; else echo "$each"; fi; done; } | sha256sum | cut -c1-16
}

give_up() { # why
  echo "the guest of stock $language is not made, and its tests are skipped: $1" >&2
  rm -f "$out"
  echo "$1" >"$why"
  exit 0
}

# True when `folder` has what `install` brings. Others that want the same wait for the one that fetches.
fetched() { # folder install...
  local folder=$1 work
  shift
  mkdir -p "$cache"
  exec 9>"$folder.lock"
  flock 9
  [ ! -e "$folder/complete" ] || return 0
  if [ -n "$(find "$folder.failed" -mmin -$retry_minutes 2>/dev/null)" ]; then return 1; fi
  work=$(mktemp -d "$folder.XXXXXX")
  if "$@" "$work" >"$folder.log" 2>&1; then
    touch "$work/complete"
    rm -rf "$folder" "$folder.failed"
    mv "$work" "$folder"
    return 0
  fi
  rm -rf "$work"
  touch "$folder.failed"
  return 1
}

# Puts the product for `key` in place, made by `make` when it is not there yet.
produce() { # key make...
  local kept=$cache/$language-$1.wasm
  shift
  if [ ! -e "$kept" ]; then
    mkdir -p "$cache"
    "$@" "$kept.$$"
    mv "$kept.$$" "$kept"
  fi
  rm -f "$why"
  cmp -s "$kept" "$out" || cp "$kept" "$out"
}

install_javascript() { # folder
  cp javascript/package.json javascript/package-lock.json "$1/"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --fetch-retries 1 --fetch-timeout 60000
}

make_javascript() { # out
  local work
  work=$(mktemp -d)
  "$RUSM_COMPONENTIZE" wit --out "$work/wit"
  # The packages that this release of componentize-js knows; they differ in their numbers only.
  sed -i 's/0\.2\.[0-9][0-9]*/0.2.10/g' "$work"/wit/deps/*.wit
  echo 'package stock:guest; world http { include wasi:http/proxy@0.2.10; }' >"$work/wit/world.wit"
  cp javascript/build.mjs "$tools/"
  node "$tools/build.mjs" "$work/wit" "$PWD/javascript/app.js" "$1"
  rm -rf "$work"
}

stock_javascript() {
  local major
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then give_up "it needs node 20 and npm on the PATH"; fi
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || give_up "node on the PATH is version $major; componentize-js needs 20"
  tools=$cache/javascript-$(key_of javascript/package.json javascript/package-lock.json "$major")
  fetched "$tools" install_javascript || give_up "npm cannot fetch componentize-js; see $tools.log"
  produce "$(key_of "$tools" javascript/app.js javascript/build.mjs make.sh)" make_javascript
}

install_python() { # folder
  python3 -m pip install --quiet --disable-pip-version-check --no-input --target "$1" --no-deps --only-binary :all: \
    --require-hashes --retries 1 --timeout 60 -r python/requirements.txt
}

make_python() { # out
  local work
  work=$(mktemp -d)
  "$RUSM_COMPONENTIZE" wit --out "$work/wit"
  cp python/app.py "$work/"
  echo 'package stock:guest; world command { include wasi:cli/command@0.2.12; }' >"$work/wit/world.wit"
  (cd "$work" && PYTHONPATH=$tools "$tools/bin/componentize-py" -d wit -w stock:guest/command componentize app -o "$1" >&2)
  rm -rf "$work"
}

stock_python() {
  command -v python3 >/dev/null || give_up "it needs python3 on the PATH"
  tools=$cache/python-$(key_of python/requirements.txt "$(python3 -V)")
  if [ ! -e "$tools/complete" ] && ! python3 -m pip --version >/dev/null 2>&1; then
    give_up "it needs python3 with pip (Debian: apt-get install python3-pip)"
  fi
  fetched "$tools" install_python || give_up "pip cannot fetch componentize-py; see $tools.log"
  produce "$(key_of "$tools" python/app.py make.sh)" make_python
}

make_rust() { # out
  CARGO_TARGET_DIR=${out%.wasm}.cargo "$RUSM_CARGO" build --quiet --release --locked --target wasm32-wasip1 \
    --manifest-path rust/Cargo.toml
  cp "${out%.wasm}.cargo/wasm32-wasip1/release/stock-rust.wasm" "$1"
}

install_rust() { # folder
  command -v rustup >/dev/null && timeout 300 rustup target add wasm32-wasip1
}

has_rust_target() {
  compgen -G "$("$RUSTC" --print target-libdir --target wasm32-wasip1)/libstd-*.rlib" >/dev/null
}

stock_rust() {
  if ! has_rust_target; then
    fetched "$cache/rust-$(key_of "$("$RUSTC" -vV)")" install_rust || true
    has_rust_target || give_up "$RUSTC has no standard library for wasm32-wasip1, and rustup cannot fetch it"
  fi
  produce "$(key_of rust/Cargo.toml rust/Cargo.lock rust/src/main.rs make.sh "$("$RUSTC" -vV)")" make_rust
}

# Stock Go knows wasip1 from 1.21 on. An older one, such as Debian's, still fetches a newer one as a module.
readonly go_toolchain=golang.org/toolchain@v0.0.1-go1.26.8
go_program=

go_is_new_enough() { # go
  "$1" tool dist list 2>/dev/null | grep -q '^wasip1/wasm$'
}

install_go() { # folder
  local system
  system=$("$go_program" env GOOS)-$("$go_program" env GOARCH)
  (cd "$1" && GOFLAGS=-modcacherw GO111MODULE=on GOMODCACHE=$1/modules "$go_program" mod download "$go_toolchain.$system")
  mv "$1/modules/$go_toolchain.$system" "$1/go"
  rm -rf "$1/modules"
  chmod -R u+x "$1/go/bin" "$1/go/pkg/tool"
}

make_go() { # out
  env -u GOROOT GOOS=wasip1 GOARCH=wasm GO111MODULE=off GOTOOLCHAIN=local GOCACHE="$cache/../go" "$go_program" build -o "$1" go/main.go
}

stock_go() {
  go_program=$(PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin command -v go) || give_up "it needs go on the PATH (Debian: apt-get install golang-go)"
  if ! go_is_new_enough "$go_program"; then
    tools=$cache/go-$(key_of "$go_toolchain")
    fetched "$tools" install_go || give_up "$go_program is older than 1.21 and cannot fetch a newer one; see $tools.log"
    go_program=$tools/go/bin/go
  fi
  produce "$(key_of go/main.go make.sh "$("$go_program" version)")" make_go
}

case $language in
  javascript | python | rust | go) "stock_$language" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
esac
