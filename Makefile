# The commands of the README. Everything else is cmake: `cmake --preset dev && cmake --build --preset dev`.
#   make build            dev preset: gcc, warnings are errors       (build/dev/bin)
#   make run              release preset, then the live demo until Ctrl-C
#   make test             installs, builds and runs every test, ends with ctest's summary
#   make unit             only the unit tests: no root, seconds
#   make bench[-NAME]     release preset, then all benchmarks or one
#   make asan tsan        unit tests under the sanitizers
#   make fuzz             fuzz targets, FUZZ_SECONDS each (default 60)
#   make tidy format      clang-tidy over every source; clang-format in place
#   make vm               boots kernels of Debian in QEMU and tries the agent there; VM_KERNELS="6.1 6.12 newest"
#   make install          to $(DESTDIR)$(PREFIX)
PREFIX ?= /usr
DESTDIR ?=
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
VM_KERNELS ?= 6.1 6.12 newest
# Lets ccache share objects between checkouts in different folders.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

.PHONY: run test vm unit build release bench format tidy lint fuzz asan tsan install clean deps
.DEFAULT_GOAL := build

deps:
	@tools/install-deps

build: deps
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)

release: deps
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

run: release
	@BEELINE_BIN=$(CURDIR)/build/release/bin tools/demo

test:
	@tools/install-deps --test
	@JOBS=$(JOBS) tools/test

unit: build
	@ctest --test-dir build/dev -L unit -j $(JOBS) --output-on-failure

bench: release
	@tools/install-deps --test
	@bench/run --all

bench-%: release
	@tools/install-deps --test
	@bench/run $*

asan tsan:
	@tools/install-deps --test
	@cmake --preset $@ -DBEELINE_TEST_FOLDERS= >/dev/null
	@cmake --build --preset $@ -j $(JOBS) --target unit_tests
	@ctest --test-dir build/$@ -j $(JOBS) --output-on-failure

fuzz:
	@tools/install-deps --test
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz -j $(JOBS) --target fuzz_tests
	@BEELINE_FUZZ_SECONDS=$(FUZZ_SECONDS) ctest --test-dir build/fuzz -L fuzz -j $(JOBS) --output-on-failure

vm: build
	@tests/vm/run $(VM_KERNELS)
	@VM_PAIR=1 tests/vm/run 6.1

format:
	@tools/install-deps --test
	@tools/check-format --fix

tidy: build
	@tools/install-deps --test
	@tools/tidy

lint: build
	@tools/install-deps --test
	@ctest --test-dir build/dev -L lint -j $(JOBS) --output-on-failure

# An existing configuration is left alone.
install: release
	@DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(PREFIX)
	@[ -e $(DESTDIR)/etc/beeline/beeline.yaml ] || \
	    install -D -m 0644 deploy/conf/beeline.yaml $(DESTDIR)/etc/beeline/beeline.yaml

clean:
	@rm -rf build
