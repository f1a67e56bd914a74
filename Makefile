# rcpt-milter
#
#   make            build, into build/plain
#   make check      every test; ends with `N passed, N failed, N skipped`
#   make demo       see it work: a primary, a fallback, MySQL killed and back, no server at all
#   make install    programs, manual pages, a sample configuration, the systemd unit
#   make deps       install what the above need (apt or dnf; FOR=build for `make` alone)
#   make unit       the unit tests' programs only
#   make fuzz       fuzz every parser, each for FUZZ_SECONDS=60 (clang)
#   make clean      remove build/
#
#   SANITIZE=address,undefined or SANITIZE=thread   an instrumented build, beside the plain one
#   CC=clang                                        another compiler, also beside it
#   MYSQL=mysqlclient                               Oracle's client library instead of libmariadb
#   DESTDIR= PREFIX=/usr/local                      for make install

PREFIX   ?= /usr/local
SANITIZE ?=
FOR      ?= check
FUZZ_SECONDS ?= 60

# build/plain, build/clang, build/thread, build/address,undefined, build/thread-clang, ...
empty    :=
space    := $(empty) $(empty)
VARIANT  := $(strip $(SANITIZE) $(filter-out cc gcc,$(notdir $(firstword $(CC)))))
BUILD    := build/$(or $(subst $(space),-,$(VARIANT)),plain)

# pkg-config may itself be missing here: `make deps` must work all the same.
MYSQL    ?= $(if $(shell pkg-config --exists libmariadb 2>/dev/null && echo yes),libmariadb,mysqlclient)
PACKAGES := $(MYSQL) libmemcached libsodium libsystemd sqlite3

CFLAGS   ?= -O2 -g
WERROR   ?= -Werror
INSTRUMENT := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
OUR_CFLAGS := -std=c11 -pthread -Wall -Wextra -Wshadow -Wstrict-prototypes $(WERROR) $(INSTRUMENT)
OUR_CPPFLAGS := -I. -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
# libmilter and LMDB have pkg-config files on Debian only, libunistring nowhere.
OUR_LDLIBS := -lmilter -llmdb -lunistring $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
COMPILE  := $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK     := $(CC) $(OUR_CFLAGS) $(CFLAGS) $(LDFLAGS)

# A folder's sources make one library; a program is its main file and the libraries.
PROGRAMS := milter/main.c milter/rcptctl.c
objects   = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(PROGRAMS),$(wildcard $(1)/*.c)))
FOLDERS  := milter db config shared
LAYERS   := $(FOLDERS:%=$(BUILD)/%.a)
UNITS    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all unit fuzz fuzzers check check-faults check-senders soak demo deps install clean
# Objects are kept, also those that only a pattern rule names.
.SECONDARY:

all: $(BUILD)/rcpt-milter $(BUILD)/rcptctl

$(BUILD)/rcpt-milter: $(BUILD)/milter/main.o $(LAYERS)
	$(LINK) -o $@ $^ $(OUR_LDLIBS) $(LDLIBS)

$(BUILD)/rcptctl: $(BUILD)/milter/rcptctl.o $(LAYERS)
	$(LINK) -o $@ $^ $(OUR_LDLIBS) $(LDLIBS)

define layer
$(BUILD)/$(1).a: $(call objects,$(1))
	rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach folder,$(FOLDERS),$(eval $(call layer,$(folder))))

$(BUILD)/%.o: %.c | $(BUILD)/libraries
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# Once per build: is everything there, and is libmemcached none of those that can answer with
# another key's value (CVE-2023-27478)? The daemon asks that again of the library it runs with.
$(BUILD)/libraries:
	@packaging/install-deps --check build
	@! pkg-config --exists 'libmemcached >= 1.1.0 libmemcached < 1.1.4' || { \
	    echo "rcpt-milter: libmemcached $$(pkg-config --modversion libmemcached) can answer with" \
	         "another key's value (CVE-2023-27478): use 1.1.4 or later, or 1.0.18" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(LAYERS)
	$(LINK) -o $@ $^ $(OUR_LDLIBS) $(LDLIBS) -lcmocka

unit: $(UNITS)

# Of milter/ only what has no thread and no socket: the rest need not be built a fifth time.
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/milter/reply.o $(LAYERS:$(BUILD)/milter.a=)
	$(LINK) -fsanitize=fuzzer -o $@ $^ $(OUR_LDLIBS) $(LDLIBS)

fuzzers: $(FUZZERS)

# libFuzzer comes with clang. It has a build of its own, whatever this one is.
fuzz:
	@$(MAKE) --no-print-directory --silent fuzzers CC=clang BUILD=build/fuzz \
	    SANITIZE=fuzzer-no-link,address,undefined
	@tests/fuzz/run $(FUZZ_SECONDS)

check:
	@packaging/install-deps --if-missing check
	@tests/run

# Faults x roles x warmth, with real servers; writes tests/faults/MATRIX.md. Part of make check.
check-faults: all
	@packaging/install-deps --if-missing check
	@/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/faults

# What mail servers other than Postfix see as senders, from Debian's packages; writes tests/senders.md.
check-senders: all
	@packaging/install-deps --if-missing check
	@tests/check_senders.py

# Random faults under steady load: make soak SECONDS=600
SECONDS ?= 600
soak: all
	@packaging/install-deps --if-missing check
	@tests/faults/soak.py $(SECONDS)

# A second make: what was just installed, the first one could not know of.
demo:
	@packaging/install-deps --if-missing demo
	@echo "Building ..."
	@$(MAKE) --no-print-directory --silent all
	@tests/demo.py

deps:
	@packaging/install-deps $(FOR)

# /etc stays /etc under every PREFIX: the default of -c says so.
SHARE = $(DESTDIR)$(PREFIX)/share
install: all
	install -D -m 755 $(BUILD)/rcpt-milter $(DESTDIR)$(PREFIX)/sbin/rcpt-milter
	install -D -m 755 $(BUILD)/rcptctl $(DESTDIR)$(PREFIX)/sbin/rcptctl
	test -e $(DESTDIR)/etc/rcpt-milter/rcpt-milter.conf || \
	    install -D -m 644 config/rcpt-milter.conf $(DESTDIR)/etc/rcpt-milter/rcpt-milter.conf
	install -D -m 644 config/rcpt-milter.conf $(SHARE)/rcpt-milter/rcpt-milter.conf
	install -D -m 644 db/schema.sql $(SHARE)/rcpt-milter/schema.sql
	install -D -m 644 -t $(SHARE)/rcpt-milter/examples config/examples/*.cf
	install -D -m 644 README.md $(SHARE)/doc/rcpt-milter/README.md
	for page in packaging/man/*.[58]; do \
	    install -D -m 644 $$page $(SHARE)/man/man$${page##*.}/$${page##*/} || exit; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in rcpt-milter.service rcpt-milter-learn.service rcpt-milter-learn.timer; do \
	    sed 's|@PREFIX@|$(PREFIX)|' packaging/systemd/$$unit \
	        > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; done

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
