# rcpt-milter. `make` builds, `make check` tests, `make demo` shows it working, `make install` installs.
#
#   SANITIZE=address,undefined or SANITIZE=thread   an instrumented build, beside the plain one
#   CC=clang                                        another compiler
#   MYSQL=mysqlclient                               Oracle's client library instead of libmariadb
#   DESTDIR= PREFIX=/usr/local                      for make install

PREFIX  ?= /usr/local
SANITIZE ?=
MYSQL   ?= $(shell pkg-config --exists libmariadb && echo libmariadb || echo mysqlclient)
BUILD   := build/$(if $(SANITIZE),$(subst $() ,,$(SANITIZE)),plain)

LIBRARIES := milter $(MYSQL) libmemcached libsodium libsystemd

CFLAGS   ?= -O2 -g
CFLAGS   += -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -pthread
CFLAGS   += $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
CPPFLAGS += -I. -MMD -MP $(shell pkg-config --cflags $(LIBRARIES))
LDFLAGS  += -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE))
LDLIBS   += $(shell pkg-config --libs $(LIBRARIES))

# A folder's sources make one library; a program is its main file and the libraries.
PROGRAMS := milter/main.c milter/rcptctl.c
objects   = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(PROGRAMS),$(wildcard $(1)/*.c)))
LAYERS   := $(foreach folder,milter db config shared,$(BUILD)/$(folder).a)
TESTS    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))

.PHONY: all unit clean

all: $(BUILD)/rcpt-milter $(BUILD)/rcptctl

$(BUILD)/rcpt-milter: $(BUILD)/milter/main.o $(LAYERS)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/rcptctl: $(BUILD)/milter/rcptctl.o $(LAYERS)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

define layer
$(BUILD)/$(1).a: $(call objects,$(1))
	rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach folder,milter db config shared,$(eval $(call layer,$(folder))))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(LAYERS)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

unit: $(TESTS)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name "*.d" 2>/dev/null)
