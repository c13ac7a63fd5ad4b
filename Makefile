# LearnedDB: `make help` lists the targets.

BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
PYTHON ?= /usr/bin/python3
CLANG_FORMAT ?= clang-format-14

ARCH := $(shell uname -m)
# Plug-ins are compiled once for each level of the processor; the driver loads the best it can run.
ifeq ($(ARCH),x86_64)
BASE_MARCH := -march=x86-64-v2
LEVELS := v3 v4
else
BASE_MARCH :=
LEVELS :=
endif

WARN := -Wall -Wextra -Wshadow -Wconversion
WARN_C := -Wstrict-prototypes -Wmissing-prototypes
# SAN=address,undefined or SAN=thread: the sanitizer's malloc takes jemalloc's place.
ifdef SAN
SAN_FLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
SAN_CFLAGS := $(SAN_FLAGS) -DLDB_NO_JEMALLOC -O1
else
MALLOC_LIB := -ljemalloc
endif
# No fused multiply-add behind our back: generators give the same bytes everywhere.
COMMON := -O3 -g -fno-math-errno -ffp-contract=off -fvisibility=hidden -fPIC -pthread -MMD -MP \
	-Iharness/include -Iharness -D_GNU_SOURCE $(WARN) $(if $(WERROR),-Werror) $(SAN_CFLAGS)
CFLAGS_ALL := -std=gnu11 $(COMMON) $(WARN_C) $(CFLAGS)
CXXFLAGS_ALL := -std=gnu++17 $(COMMON) $(CXXFLAGS)
LIBS := -lpapi -linih -ljansson -lnuma -lxxhash $(MALLOC_LIB) -lm -ldl

CORE := $(filter-out harness/main.c,$(wildcard harness/*.c)) $(wildcard datasets/*.c)
CORE_OBJ := $(CORE:%.c=$(BUILD)/obj/%.o)
FAMILIES := indexes sorts joins q6
TESTS := $(basename $(notdir $(wildcard tests/test_*.c)))
LIARS := $(basename $(notdir $(wildcard tests/liars/*.c)))
READY := $(BUILD)/.ready
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(shell nproc)
endif
# `make V=1` shows whole command lines.
Q := $(if $(V),,@)
SAY := @echo " "

.SECONDARY:
.PHONY: all
all: $(BUILD)/ldbench plugins ## build the driver and all plug-ins
.DEFAULT_GOAL := all

$(READY): scripts/setup
	@scripts/setup
	@mkdir -p $(BUILD) && touch $@

# Everything is built anew when compilers or flags change.
STAMP := $(BUILD)/gen/flags
.PHONY: FORCE
$(STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS_ALL) $(CXX) $(CXXFLAGS_ALL) $(SAN_FLAGS)' > $@.new
	@cmp -s $@ $@.new && rm $@.new || mv $@.new $@

# --- the driver -------------------------------------------------------------------------------
# What run.json says of the build; rewritten only when it changes.
INFO := $(BUILD)/gen/build_info.h
$(INFO): FORCE
	@mkdir -p $(@D)
	@{ printf '#define LDB_COMPILER "%s"\n' "$$($(CC) --version 2>/dev/null | head -n 1)"; \
	printf '#define LDB_FLAGS "%s"\n' "$(strip $(filter-out -I% -MMD -MP,$(CFLAGS_ALL)))"; \
	printf '#define LDB_GIT_REVISION "%s"\n' "$$(git rev-parse HEAD 2>/dev/null)"; \
	printf '#define LDB_GIT_DIRTY "%s"\n' \
		"$$(git rev-parse HEAD >/dev/null 2>&1 || { echo unknown; exit; }; \
		[ -z "$$(git status --porcelain --untracked-files=no 2>/dev/null)" ] && echo no || echo yes)"; \
	} > $@.new; cmp -s $@ $@.new && rm $@.new || mv $@.new $@
$(BUILD)/obj/harness/machine.o $(BUILD)/obj/harness/main.o: $(INFO)
$(BUILD)/obj/harness/machine.o $(BUILD)/obj/harness/main.o: EXTRA = -I$(BUILD)/gen
$(BUILD)/obj/%.o: %.c $(STAMP) | $(READY)
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(BASE_MARCH) $(CFLAGS_ALL) $(EXTRA) -c $< -o $@

$(BUILD)/libldb.a: $(CORE_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

# Plug-ins take ldb_alloc and ldb_fail from the driver: hence -rdynamic and the whole archive.
LINK_CORE = -Wl,--whole-archive $(BUILD)/libldb.a -Wl,--no-whole-archive -rdynamic
$(BUILD)/ldbench: $(BUILD)/obj/harness/main.o $(BUILD)/libldb.a
	$(SAY) LD $@
	$(Q)$(CC) $(SAN_FLAGS) -pthread $< $(LINK_CORE) $(LIBS) -o $@

# --- plug-ins: one folder, one .so for each level -----------------------------------------------
# A folder's flags.mk may set LIBS_<name> (link flags of the libraries it wraps), for a test, too,
# and KEY_BITS_<name> := 64, where an index is not made for keys of 32 bits.
-include $(wildcard $(FAMILIES:%=%/*/flags.mk))
.PHONY: plugins plugins32
# $(1) = family folder, $(2) = name, $(3) = level suffix, $(4) = -march flag, $(5) = 32: for keys of
# 32 bits
define PLUGIN
plugins$(5): $$(BUILD)/$(1)$(5)/$(2)$(3).so
$$(BUILD)/obj$(5)$(3)/$(1)/$(2)/%.o: $(1)/$(2)/%.c $$(STAMP) | $$(READY)
	@mkdir -p $$(@D)
	$$(SAY) CC $$@
	$$(Q)$$(CC) $(4) $$(CFLAGS_ALL) $(if $(5),-DLDB_KEY_BITS=$(5)) -c $$< -o $$@
$$(BUILD)/obj$(5)$(3)/$(1)/$(2)/%.o: $(1)/$(2)/%.cc $$(STAMP) | $$(READY)
	@mkdir -p $$(@D)
	$$(SAY) CXX $$@
	$$(Q)$$(CXX) $(4) $$(CXXFLAGS_ALL) $(if $(5),-DLDB_KEY_BITS=$(5)) -c $$< -o $$@
$$(BUILD)/$(1)$(5)/$(2)$(3).so: $$(addprefix $$(BUILD)/obj$(5)$(3)/,$$(addsuffix .o,$$(basename $$(wildcard $(1)/$(2)/*.c $(1)/$(2)/*.cc))))
	@mkdir -p $$(@D)
	$$(SAY) LD $$@
	$$(Q)$$(if $$(wildcard $(1)/$(2)/*.cc),$$(CXX),$$(CC)) -shared $$(SAN_FLAGS) -pthread $$^ $$(LIBS_$(2)) -lm -o $$@
endef
folders = $(notdir $(patsubst %/,%,$(wildcard $(1)/*/)))
# $(1) = family folder, $(2) = name, $(3) = 32 or nothing
levels = $(eval $(call PLUGIN,$(1),$(2),,$(BASE_MARCH),$(3))) \
	$(foreach l,$(LEVELS),$(eval $(call PLUGIN,$(1),$(2),.$(l),-march=x86-64-$(l),$(3))))
$(foreach f,$(FAMILIES),$(foreach i,$(call folders,$(f)),$(call levels,$(f),$(i))))
BITS32 := $(foreach i,$(call folders,indexes),$(if $(filter 64,$(KEY_BITS_$(i))),,$(i)))
$(foreach i,$(BITS32),$(call levels,indexes,$(i),32))

# --- tests ------------------------------------------------------------------------------------
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libldb.a
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(SAN_FLAGS) -pthread $< $(LINK_CORE) $(LIBS) $(LIBS_$*) -lcmocka -o $@
# The differential test of the set for keys of 32 bits; it takes no keys from the core.
$(BUILD)/obj32/tests/%.o: tests/%.c $(STAMP) | $(READY)
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(BASE_MARCH) $(CFLAGS_ALL) -DLDB_KEY_BITS=32 -c $< -o $@
$(BUILD)/tests/%32: $(BUILD)/obj32/tests/%.o $(BUILD)/libldb.a
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(SAN_FLAGS) -pthread $< $(LINK_CORE) $(LIBS) -lcmocka -o $@
$(BUILD)/tests/liars/%.so: tests/liars/%.c $(STAMP) | $(READY)
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(BASE_MARCH) $(CFLAGS_ALL) -shared $< -o $@
$(BUILD)/tests/liars/%32.so: tests/liars/%.c $(STAMP) | $(READY)
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(BASE_MARCH) $(CFLAGS_ALL) -DLDB_KEY_BITS=32 -shared $< -o $@
# The SIMD kernels once for each level, to compare with each other.
define SIMD_KERNELS
test-binaries: $$(BUILD)/tests/simd_kernels$(1).so
$$(BUILD)/tests/simd_kernels$(1).so: tests/simd_kernels.c $$(STAMP) | $$(READY)
	@mkdir -p $$(@D)
	$$(SAY) CC $$@
	$$(Q)$$(CC) $(2) $$(CFLAGS_ALL) -shared $$< -o $$@
endef
$(eval $(call SIMD_KERNELS,,$(BASE_MARCH)))
$(foreach l,$(LEVELS),$(eval $(call SIMD_KERNELS,.$(l),-march=x86-64-$(l))))
.PHONY: test-binaries
test-binaries: all $(BUILD)/tests/count_operations $(TESTS:%=$(BUILD)/tests/%) $(LIARS:%=$(BUILD)/tests/liars/%.so)
# Of the set for keys of 32 bits the plainest and the widest code, which is most of the lines, and two
# liars; the sanitizers have enough to do.
ifndef SAN
test-binaries: $(BUILD)/tests/test_indexes32 $(BUILD)/tests/liars/honest32.so $(BUILD)/tests/liars/wrong32.so \
	$(foreach i,$(BITS32),$(BUILD)/indexes32/$(i).so $(if $(filter v4,$(LEVELS)),$(BUILD)/indexes32/$(i).v4.so))
endif

.PHONY: test
test: test-binaries ## run all tests (about 8 minutes)
	@BUILD=$(BUILD) $(PYTHON) scripts/run_tests

.PHONY: test-quick
test-quick: test-binaries ## run the tests that take less than a minute together
	@BUILD=$(BUILD) $(PYTHON) scripts/run_tests --quick

.PHONY: test-long
test-long: plugins $(BUILD)/tests/test_updates $(BUILD)/tests/test_histories ## test updatable indexes by streams of a million operations
	LDB_TEST_OPS=1000000 $(BUILD)/tests/test_updates
	LDB_TEST_OPS=1000000 $(BUILD)/tests/test_histories

.PHONY: bits32
bits32: $(BUILD)/ldbench plugins32 ## build the indexes for keys of 32 bits, too (a minute)

.PHONY: test-bits32
test-bits32: bits32 $(BUILD)/tests/test_indexes32 ## test all of those, at all levels
	$(BUILD)/tests/test_indexes32

.PHONY: check-asan
check-asan: ## build with address and undefined-behaviour sanitizers, and run the tests
	@$(MAKE) --no-print-directory BUILD=build-asan SAN=address,undefined test-binaries
	@BUILD=build-asan $(PYTHON) scripts/run_tests --asan

.PHONY: perf-counts perf-counts-update
perf-counts: all $(BUILD)/tests/count_operations ## instructions and simulated cache misses per operation, against the baseline
	@BUILD=$(BUILD) $(PYTHON) scripts/perf-counts
perf-counts-update: all $(BUILD)/tests/count_operations ## write that baseline anew
	@BUILD=$(BUILD) $(PYTHON) scripts/perf-counts --update

.PHONY: perf-check perf-check-selftest
perf-check: $(READY) ## BASE=<git rev>: has an index become slower than there? (LIMIT=10 percent)
	@BUILD=$(BUILD) $(PYTHON) scripts/perf-check --limit $(or $(LIMIT),10) $(if $(INDEX),--index $(INDEX)) \
		$(if $(DRIVERS),--drivers) $(BASE)
perf-check-selftest: $(READY) ## how often perf-check cries wolf, and how often it misses (an hour)
	@$(PYTHON) tests/perf_check_selftest.py

# Only what several threads use at once: test_histories and the plug-ins it finds something in.
CONCURRENT = $(sort $(notdir $(patsubst %/,%,$(dir $(shell grep -lE 'LDB_(CONCURRENT|BACKGROUND)' \
	$(wildcard indexes/*/*.c indexes/*/*.cc))))))
.PHONY: check-tsan
check-tsan: ## build the concurrent indexes with the thread sanitizer, and run their histories
	@$(MAKE) --no-print-directory BUILD=build-tsan SAN=thread build-tsan/tests/test_histories \
		$(foreach l,. $(LEVELS:%=.%.),$(CONCURRENT:%=build-tsan/indexes/%$(l)so))
	build-tsan/tests/test_histories

# --- measuring --------------------------------------------------------------------------------
.PHONY: bench
bench: all ## get the data, measure indexes at 1K..10M keys, draw the figures (8 minutes at most)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/bench.ini

.PHONY: bench-full
bench-full: all ## the same to 100M keys, on more key sets (about an hour, 24 GiB of memory)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/bench-full.ini

.PHONY: field
field: all ## the whole field of static indexes at about 10M keys, on nine key sets (about ten minutes)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/field.ini

.PHONY: pareto
pareto: all ## size against latency: each index in a row of sizes, at 10M keys (about ten minutes)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/pareto.ini

.PHONY: bench-q6
bench-q6: all ## TPC-H's Q6: scan, B+-trees, learned paths, DuckDB (about two minutes)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/q6.ini

.PHONY: bench-sort
bench-sort: all ## sorts at 10M and 100M keys, by distribution, order and threads (a quarter of an hour)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/sort.ini

.PHONY: updates
updates: all ## updatable indexes: reads, inserts and their mix at about 10M keys (half an hour)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/updates.ini

.PHONY: stress
stress: all ## 100M records, then 1000 operations a second for a minute (20 GiB of memory)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/stress.ini

.PHONY: bench-join
bench-join: all ## joins by order, size, skew and density of their sides, and TPC-H's (about 20 minutes)
	@BUILD=$(BUILD) $(PYTHON) scripts/bench configs/join.ini

.PHONY: demo
demo: all ## the demo graph: B-tree against learned, 1K to 10M keys
	@BUILD=$(BUILD) $(PYTHON) scripts/bench --demo configs/demo.ini

# FIG: one or several; OUT: where to; SCALE: factor of all sizes, 20 makes 200M keys of 10M.
.PHONY: reproduce
reproduce: all $(BUILD)/tests/count_operations ## the figures of the papers (half an hour); FIG=list names them, FIG=sosd-pareto makes one
	@BUILD=$(BUILD) $(PYTHON) scripts/reproduce $(if $(OUT),--out $(OUT)) $(if $(SCALE),--scale $(SCALE)) \
		$(if $(ORIGINALS),--originals) $(if $(QUICK),--quick) $(FIG)

# --- results ----------------------------------------------------------------------------------
RESULTS = $(patsubst %/,%,$(dir $(wildcard results/*/samples.csv results/*/*/samples.csv)))
.PHONY: validate
validate: ## check results folders, all or DIR: whole, in agreement, repeatable
	@$(PYTHON) scripts/validate $(or $(DIR),$(RESULTS))

.PHONY: report
report: ## one HTML page of the results folder DIR, into OUT (default DIR/report.html)
	@$(PYTHON) scripts/report $(or $(DIR),$(error make report: say of which run: DIR=results/...)) \
		$(if $(OUT),--out $(OUT))

.PHONY: compare
compare: ## one HTML page of two results folders, A=older B=newer, into OUT (default B/compare.html)
	@$(PYTHON) scripts/compare $(or $(A),$(error make compare: say which runs: A=DIR B=DIR)) \
		$(or $(B),$(error make compare: say which runs: A=DIR B=DIR)) $(if $(OUT),--out $(OUT))

# --- the source -------------------------------------------------------------------------------
SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h' '*.cc')
.PHONY: format
format: ## format all C and C++ sources
	$(CLANG_FORMAT) -i $(SOURCES)

.PHONY: check-format
check-format: ## fail when `make format` would change something
	$(CLANG_FORMAT) --dry-run -Werror $(SOURCES)

.PHONY: clean
clean: ## remove build output
	rm -rf build build-*

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 22

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
