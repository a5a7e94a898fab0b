# Each target installs what it needs (scripts/deps), builds what it needs, and says what it did.

.PHONY: build demo test tsan bench bench-compare lint format fuzz check-debian clean interop
.NOTPARALLEL:

RELEASE = cmake --preset release >/dev/null && cmake --build --preset release
SOURCES = $(shell find src tests fuzz bench -name '*.h' -o -name '*.cc')

# The program as users run it: build/release/src/cli/culvert.
build:
	@scripts/deps
	@$(RELEASE) --target culvert

# A web origin on loopback at a public-style HTTPS URL; stays until Ctrl-C. ONCE=1 ends after the first answer.
demo:
	@scripts/deps
	@$(RELEASE) --target culvert
	@scripts/demo

test:
	@scripts/deps
	@scripts/test

# Beside real iroh: what `make test` runs, and NAT traversal with a relay. The first run compiles iroh, for some minutes.
interop:
	@scripts/deps
	@scripts/interop

# What has threads, and what they share, under ThreadSanitizer; not a part of `make test`, which it would double.
tsan:
	@scripts/deps
	@cmake --preset tsan >/dev/null && cmake --build --preset tsan --target base_test net_test endpoint_test edge_test hub_test node_test
	@for name in base_test net_test endpoint_test edge_test hub_test node_test; do build/tsan/$$name --gtest_brief=1 || exit 1; done

# Culvert beside nginx, HAProxy and ssh -R on this machine; BENCH_ROUNDS=1 for a quick look.
bench:
	@scripts/deps --bench
	@$(RELEASE) --target culvert bench_raw bench_tls bench_datagrams bench_tunnels bench_routes bench_fleet
	@tests/run --exec bench/run
	@tests/run --exec bench/edge

# Two binaries side by side in interleaved rounds: make bench-compare OLD=path NEW=path.
bench-compare:
	@scripts/deps --bench
	@$(RELEASE) --target bench_raw
	@tests/run --exec bench/compare $(OLD) $(NEW)

lint:
	@scripts/deps
	@scripts/lint

format:
	@scripts/deps
	@clang-format-19 -i $(SOURCES)
	@scripts/cargo fmt

# Each fuzz target for FUZZ_SECONDS (default 60) from its seed corpus.
fuzz:
	@scripts/deps
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} fuzz/smoke

# Clean Debian 12 and 13 roots: a user's first `make demo` and the unit tests, with their times. Needs root; see the script's head.
check-debian:
	@scripts/deps --check-debian
	@scripts/check-debian

clean:
	rm -rf build
