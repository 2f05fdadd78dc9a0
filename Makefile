# The two commands of a newcomer are `make run` and `make test`. Each sets the machine up first if need be
# (tools/setup.sh), so both work from a fresh clone on Debian 12. CMake presets do the rest.

JOBS ?= $(shell nproc)
CONFIG ?= examples/hello/rusm.toml
ROUNDS ?= 5
SECONDS ?= 2
PREFIX ?= /usr/local
SOAK_SECONDS ?= 300
SOAK_SEEDS ?= 3000000
SOAK_KILLS ?= 5000
SOAK_CONNECTIONS ?= 10000
SOAK_GUESTS ?= 10000000

.PHONY: help run build install install-libraries docs test bench check format soak clean setup

help:
	@echo 'make run       build, then serve examples/hello on http://127.0.0.1:8080 (CONFIG=path/to/rusm.toml for another)'
	@echo 'make build     the release binary: build/release/rusm'
	@echo 'make install   build the program and the C++ libraries, and install them: PREFIX=$(PREFIX)'
	@echo '               install-libraries: those alone, for which no Rust is needed'
	@echo 'make docs      the reference of the libraries: build/docs/api/index.html'
	@echo 'make test      build and run all tests'
	@echo 'make bench     measure, side by side with the peers in bench/peers; WORKLOADS="spawn ring" ROUNDS=5 SECONDS=2'
	@echo 'make check     formatting, linters, and the tests under AddressSanitizer and ThreadSanitizer'
	@echo 'make format    format the tree'
	@echo 'make soak      SOAK_SEEDS=$(SOAK_SEEDS) random programs against the model; SOAK_KILLS=$(SOAK_KILLS) times a durable store whose'
	@echo '               writer is killed; the example bank killed as often, and the example chat with'
	@echo '               SOAK_CONNECTIONS=$(SOAK_CONNECTIONS) connections, under kills; SOAK_GUESTS=$(SOAK_GUESTS) guests that end'
	@echo '               in every way; then serve under mixed load for'
	@echo '               SOAK_SECONDS=$(SOAK_SECONDS) s, watching answers, memory and descriptors'
	@echo 'make clean     remove build/; what is kept under ~/.cache/rusm stays'
	@echo 'JOBS=N limits how much runs at once ($(JOBS) here).'

setup:
	@tools/setup.sh

build/%/build.ninja: CMakePresets.json | setup
	@cmake --preset $*

build: build/release/build.ninja
	cmake --build build/release -j $(JOBS) --target rusm rusm_tcp_load rusm_examples guest_hello guest_hello_rust
	@mkdir -p examples/hello/wasm
	@cp -u build/release/guests/hello.wasm build/release/guests/hello-rust.wasm examples/hello/wasm/

install: build
	cmake --build build/release -j $(JOBS) --target rusm_libraries
	cmake --install build/release --prefix $(PREFIX)

install-libraries:
	@tools/setup.sh libraries
	@cmake --preset libraries
	cmake --build build/libraries -j $(JOBS)
	cmake --install build/libraries --prefix $(PREFIX)

docs:
	@tools/setup.sh libraries docs
	@cmake --preset libraries
	@cmake --build build/libraries --target rusm_public_headers
	tools/api_docs.py build/libraries/include build/docs/api

run: build
	@exec build/release/rusm serve --config $(CONFIG)

test: build/dev/build.ninja
	cmake --build build/dev -j $(JOBS)
	cmake --build build/dev --target rusm_cargo_test
	ctest --test-dir build/dev -j $(JOBS) --output-on-failure

bench: build
	@tools/setup.sh bench
	cmake --build build/release -j $(JOBS) --target guest_compress
	bench/compare.py --rounds $(ROUNDS) --seconds $(SECONDS) $(WORKLOADS)

check: build/dev/build.ninja build/asan/build.ninja build/tsan/build.ninja
	@tools/setup.sh check
	tools/lint.sh
	cmake --build build/asan -j $(JOBS)
	ctest --test-dir build/asan -j $(JOBS) --output-on-failure
	cmake --build build/tsan -j $(JOBS)
	ctest --test-dir build/tsan -j $(JOBS) --output-on-failure

format: setup
	@tools/setup.sh check
	tools/lint.sh --fix

soak_examples = PYTHONPATH=tests/python RUSM_EXAMPLES=build/release/examples RUSM_EXAMPLE_SOURCES=examples/cpp
soak: build build/dev/build.ninja
	cmake --build build/dev -j $(JOBS) --target rusm_sim rusm_sim_small rusm_kv_kill rusm_bank_test \
	  rusm_guest_storm
	build/dev/tests/sim/rusm_sim --seeds $(SOAK_SEEDS) --jobs $(JOBS)
	build/dev/tests/sim/rusm_sim_small --seeds $(SOAK_SEEDS) --jobs $(JOBS)
	build/dev/tests/sim/rusm_sim --supervisors --seeds $(SOAK_SEEDS)
	build/dev/tests/durability/rusm_kv_kill --rounds $(SOAK_KILLS) --seed $$$$
	build/dev/tests/durability/rusm_kv_kill --rounds $(SOAK_KILLS) --seed $$$$ --in-memory
	RUSM_BANK_SEEDS=$$(($(SOAK_SEEDS) / 50)) build/dev/tests/examples/rusm_bank_test
	$(soak_examples) RUSM_BANK_ROUNDS=$(SOAK_KILLS) python3 -B tests/examples/test_bank.py Bank.test_kill_9_at_any_moment_loses_nothing
	$(soak_examples) RUSM_CHAT_CONNECTIONS=$(SOAK_CONNECTIONS) python3 -B tests/examples/test_chat.py \
	  Chat.test_under_load_and_kills_from_both_sides_nothing_is_lost_or_left
	build/dev/tests/hostcalls/rusm_guest_storm --guests $(SOAK_GUESTS) --seed $$$$
	tools/soak.py --seconds $(SOAK_SECONDS) --binary build/release/rusm --config examples/hello/rusm.toml

clean:
	rm -rf build examples/*/wasm
