# One place for every command: people and CI call the same ones.
#   make run     build what is missing and start a demo
#   make test    everything that must pass
#   make bench   speed, as one table (PARTS="glass join" for some of it)
#   make deny    licences and origins of dependencies
#   make fuzz    hostile input, 60 s a parser
#   make image   the SD-card image of the box, and the update to it (root; UPDATE_KEY=FILE signs it)
#   make bundle  the update alone, from the image that is there (root; OPTIONS="--note …", see image/bundle)
#   make hw-test the image on emulated boxes (root; TESTS=first_evening for some of it), or on a real one (HW_TEST_BOX=pi.env)
#   make power-test cuts the power of that box 50 times (root; OPTIONS="--seed 1" for an earlier run's)

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: run test bench fuzz build page lint deny unit page-test browser image bundle hw-test power-test setup-%

export PATH := $(HOME)/.cargo/bin:$(CURDIR)/.tools/node_modules/.bin:$(PATH)
SAY = @printf '\033[1m==> %s\033[0m\n'
FUZZ_SECONDS ?= 60
PARTS ?=
TESTS ?=
HW_TEST_BOX ?=
OPTIONS ?=
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo env PATH="$(PATH)" CARGO_HOME="$(or $(CARGO_HOME),$(HOME)/.cargo)" RUSTUP_HOME="$(or $(RUSTUP_HOME),$(HOME)/.rustup)" \
  $(foreach name,DEBIAN_MIRROR DEBIAN_SECURITY_MIRROR IMAGE_QUICK HW_TEST_BOOT_SECONDS UPDATE_KEY,$(if $($(name)),$(name)="$($(name))")))

run: build
	$(SAY) "Starting the demo: a simulated vMix and the box. Ctrl+C ends it."
	@target/release/returnfeed demo

build: setup-run page
	$(SAY) "Building returnfeed (a few minutes the first time)"
	cargo build --release

test: setup-test lint deny unit page-test browser
	$(SAY) "Everything passed"

lint: page
	$(SAY) "Formatting and lints"
	shellcheck -x image/build image/lib.sh image/able image/bundle hw-tests/run hw-tests/bundles hw-tests/power-test hw-tests/power/load.sh overlay/usr/libexec/returnfeed/*
	shellcheck -x -s dash image/init
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cd web && npm run --silent lint

# Known weaknesses are looked up where their list can be had; without it, that part is skipped with a word.
deny:
	$(SAY) "Licences, duplicates and origins of dependencies"
	cargo deny --log-level error --locked check licenses bans sources
	@if timeout 60 cargo deny --log-level off fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	  else printf 'SKIPPED: known weaknesses of dependencies, because the list at github.com/RustSec cannot be reached\n'; fi

unit: page
	$(SAY) "Rust tests"
	cargo test

page-test: page
	$(SAY) "Page tests"
	cd web && npm test --silent

browser: page
	$(SAY) "End to end in Chromium"
	cargo build --bins --examples
	cd web && npm run --silent e2e

bench: setup-bench page
	$(SAY) "Delay, sound, loss, CPU and memory: about 15 minutes; leave the machine alone meanwhile"
	cargo bench --bench performance -- $(PARTS)
	$(SAY) "Functions that run for every packet"
	cargo bench --bench hot

fuzz: setup-fuzz page
	@for target in $$(cargo fuzz list); do \
	  printf '\033[1m==> Fuzzing %s for %s s\033[0m\n' "$$target" "$(FUZZ_SECONDS)"; \
	  mkdir -p "fuzz/corpus/$$target"; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1; \
	done

image: setup-image page
	$(SAY) "Making the SD-card image (a quarter of an hour the first time)"
	@$(AS_ROOT) image/build

bundle: setup-image
	@$(AS_ROOT) image/bundle $(OPTIONS)

hw-test: setup-image page
	$(SAY) "Building the sender and the viewers for the tests of the box"
	cargo build --bins --examples
	@$(AS_ROOT) env HW_TEST_BOX=$(or $(HW_TEST_BOX),virt) hw-tests/run $(if $(TESTS),-k '$(TESTS)')
	@$(if $(TESTS)$(HW_TEST_BOX),,$(AS_ROOT) env HW_TEST_BOX=raspi3b hw-tests/run hw-tests/test_4_board.py hw-tests/test_4_lamps.py hw-tests/test_5_factory_reset.py)

power-test: setup-image
	@$(AS_ROOT) hw-tests/power-test $(OPTIONS)

setup-%:
	@.ci/setup $*

# The page is built into the binary, so it comes first.
page: web/dist/index.html

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/index.html web/public -type f 2>/dev/null) $(wildcard web/*.ts web/*.json)
	$(SAY) "Building the page"
	cd web && npm run --silent build

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	$(SAY) "Installing the page's packages"
	cd web && npm ci --silent --no-audit --no-fund
	@touch $@
