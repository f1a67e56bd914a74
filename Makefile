# rcpt-milter
#
#   make            build, into build/plain
#   make check      every test; ends with `N passed, N failed, N skipped`
#   make demo       see it work: a primary, a fallback, MySQL killed and back, no server at all
#   make install    programs, manual pages, a sample configuration, the systemd units
#   make deb        a Debian package, into build/deb
#   make rpm        an RPM package, into build/rpm
#   make check-package  the Debian package's first day, in a container that boots
#   make deps       install what the above need (apt or dnf; FOR=build for `make` alone)
#   make unit       the unit tests' programs only
#   make dashboard  draw packaging/grafana/dashboard.png anew (python3-matplotlib)
#   make fuzz       fuzz every parser, each for FUZZ_SECONDS=60 (clang)
#   make bench      what it costs, against libmilter alone and against Postfix's own lookups
#                   (under 10 minutes; bench-quick: one); writes tests/bench/RESULTS.md
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
PACKAGES := $(MYSQL) libmemcached libsodium libsystemd libidn2 sqlite3

CFLAGS   ?= -O2 -g
WERROR   ?= -Werror
INSTRUMENT := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
OUR_CFLAGS := -std=c11 -pthread -Wall -Wextra -Wshadow -Wstrict-prototypes $(WERROR) $(INSTRUMENT)
OUR_CPPFLAGS := -I. -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
# libmilter and LMDB have pkg-config files on Debian only, libunistring nowhere.
OUR_LDLIBS := -lmilter -llmdb -lunistring -lresolv $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
COMPILE  := $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK     := $(CC) $(OUR_CFLAGS) $(CFLAGS) $(LDFLAGS)

# A folder's sources make one library; a program is its main file and the libraries.
PROGRAMS := milter/main.c milter/rcptctl.c
objects   = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(PROGRAMS),$(wildcard $(1)/*.c)))
FOLDERS  := milter db config shared
LAYERS   := $(FOLDERS:%=$(BUILD)/%.a)
UNITS    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all unit fuzz fuzzers check check-faults check-senders check-package soak bench bench-quick demo \
        dashboard deps install deb rpm clean
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
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/milter/reply.o \
    $(BUILD)/milter/metrics_request.o $(LAYERS:$(BUILD)/milter.a=)
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

BENCHES := $(addprefix $(BUILD)/tests/bench/,load floor naive)
$(BENCHES): %: %.o
	$(LINK) -o $@ $< -lmilter $(shell pkg-config --libs $(MYSQL) 2>/dev/null)

# Two makes, as for the demo below.
bench bench-quick:
	@packaging/install-deps --if-missing bench
	@$(MAKE) --no-print-directory --silent all $(BENCHES)
	@tests/bench/run $(if $(findstring quick,$@),--quick)

# A second make: what was just installed, the first one could not know of.
demo:
	@packaging/install-deps --if-missing demo
	@echo "Building ..."
	@$(MAKE) --no-print-directory --silent all
	@tests/demo.py

# The picture of the Grafana dashboard, from a demonstration of four minutes and a real Prometheus.
dashboard: all
	@packaging/install-deps --if-missing check
	@tests/render_dashboard.py

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
	for unit in packaging/systemd/*; do \
	    install -D -m 644 $$unit $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/} && \
	    sed -i 's|@PREFIX@|$(PREFIX)|' $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/} || exit; done
	install -D -m 644 packaging/sysusers/rcpt-milter.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/rcpt-milter.conf
	install -D -m 644 packaging/tmpfiles/rcpt-milter.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/rcpt-milter.conf
	install -D -m 644 packaging/bash-completion/rcptctl $(SHARE)/bash-completion/completions/rcptctl
	for folder in packaging/grafana packaging/prometheus; do \
	    install -d $(SHARE)/rcpt-milter/$${folder##*/} && find $$folder -type f ! -name '*.png' -exec \
	        install -m 644 -t $(SHARE)/rcpt-milter/$${folder##*/} {} + || exit; done

# The tree without what was built in it, as a tarball of the sources would have it.
VERSION = $(shell sed -n 's/^.define VERSION "\(.*\)"$$/\1/p' milter/version.h)
COPY = tar --exclude=./build --exclude=./.git --exclude=__pycache__ -c .

# packaging/debian becomes debian/ in a copy of the tree.
deb:
	rm -rf build/deb && mkdir -p build/deb/rcpt-milter-$(VERSION)
	$(COPY) | tar -x -C build/deb/rcpt-milter-$(VERSION)
	mv build/deb/rcpt-milter-$(VERSION)/packaging/debian build/deb/rcpt-milter-$(VERSION)/debian
	cd build/deb/rcpt-milter-$(VERSION) && dpkg-buildpackage -us -uc -b
	@ls build/deb/*.deb

# Where rpmbuild is not Fedora's or a relative's, there is no RPM database with what the build needs,
# and systemd's macros are missing.
RPM_FLAGS = --define '_topdir $(CURDIR)/build/rpm' \
    $(if $(wildcard /etc/debian_version),--nodeps --load=packaging/rpm/macros.elsewhere)
rpm:
	rm -rf build/rpm && mkdir -p build/rpm/SOURCES
	$(COPY) --transform='s|^\.|rcpt-milter-$(VERSION)|' | gzip -n > build/rpm/SOURCES/rcpt-milter-$(VERSION).tar.gz
	cp packaging/sysusers/rcpt-milter.conf build/rpm/SOURCES/rcpt-milter.sysusers
	rpmbuild $(RPM_FLAGS) -bb packaging/rpm/rcpt-milter.spec
	@find build/rpm/RPMS -name '*.rpm'

# Needs root, systemd-container, debootstrap, and the sources apt has. PACKAGE_TEST=skip where that
# cannot be had.
check-package:
	@PACKAGE_TEST=$(PACKAGE_TEST) /usr/bin/python3 -m pytest -q -p no:cacheprovider -x tests/package

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
