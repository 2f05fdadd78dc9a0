#!/usr/bin/env bash
# Formatting and static checks of everything that git knows; with --fix it formats instead of complaining.
# clang-tidy looks at the C++ files that differ from the last commit, as it takes seconds for each.
set -euo pipefail
cd "$(dirname "$0")/.."

fix=no
[ "${1:-}" != --fix ] || fix=yes
failed=no

check() { # name command...
  local name=$1
  shift
  if "$@"; then echo "lint: $name: fine"; else
    echo "lint: $name: see above" >&2
    failed=yes
  fi
}

mapfile -t cxx < <(git ls-files '*.h' '*.cc' ':!bridge/include')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
mapfile -t manifests < <(git ls-files bridge/Cargo.toml 'examples/*/components/*/Cargo.toml')
mapfile -t changed < <(git diff --name-only --diff-filter=d HEAD -- 'src/*.cc')
{ read -r cargo && read -r RUSTC; } < <(tools/find-rust.sh)
export RUSTC CARGO_TARGET_DIR="${RUSM_CACHE_DIR:-$HOME/.cache/rusm}/lint"

if [ $fix = yes ]; then
  clang-format-22 -i "${cxx[@]}"
  for manifest in "${manifests[@]}"; do "$cargo" fmt --all --manifest-path "$manifest"; done
  exit 0
fi

check clang-format clang-format-22 --dry-run -Werror "${cxx[@]}"
check shellcheck shellcheck "${scripts[@]}"
if "$cargo" fmt --version >/dev/null 2>&1; then
  for manifest in "${manifests[@]}"; do check "rustfmt $manifest" "$cargo" fmt --all --check --manifest-path "$manifest"; done
else
  echo "lint: rustfmt is not installed; Rust's formatting is not checked" >&2
fi
if "$cargo" clippy --version >/dev/null 2>&1; then
  check clippy "$cargo" clippy --quiet --locked --all-targets --manifest-path bridge/Cargo.toml
else
  echo "lint: clippy is not installed; Rust is not linted" >&2
fi
if [ ${#changed[@]} -gt 0 ] && [ -e build/dev/compile_commands.json ]; then
  check clang-tidy clang-tidy-22 --quiet -p build/dev "${changed[@]}"
fi
[ $failed = no ]
