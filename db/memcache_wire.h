/*
 * memcache_wire - one connection to one memcached, in memcached's text protocol (protocol.txt).
 * For db/memcache_server.c only, which knows pools and breakers.
 *
 * Why not libmemcached's own: it believes what it is told. A set answered with anything that is no
 * error but STORED ("END", "OK") is an assertion failure, which ends the daemon; a VALUE line whose
 * key has more than 250 bytes writes past its struct, and one whose length is 2^64 - 2 through a
 * NULL pointer (storage.cc and response.cc of 1.1.4; the doubles in tests/unit/test_memcache.c do
 * all of these). Its timeouts begin again with each read, too, so that a server that dribbles holds
 * a caller for as long as it likes. What we need of the protocol is three answers.
 *
 * A wire belongs to one thread at a time. It connects with its first operation. After a result
 * below WIRE_NONE it must be closed: what is left in it may be the answer to another question.
 */
#ifndef DB_MEMCACHE_WIRE_H
#define DB_MEMCACHE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/endpoint.h"
#include "shared/fault.h"

enum { WIRE_KEY_MAX = 250 }; /* protocol.txt, "Keys" */

struct wire;

/* Host names are not looked up here: the endpoint is a path, or an address in numbers. NULL when
 * memory is short. */
struct wire *wire_open(const struct endpoint *endpoint);
void wire_close(struct wire *wire); /* NULL is fine */

enum wire_result {
    WIRE_FAILED = 0, /* the transport or the server; the fault says what */
    WIRE_LATE,       /* the deadline passed before the answer was there */
    WIRE_SHORT,      /* this process has no descriptor left: nothing is wrong with the server */
    WIRE_REFUSED,    /* the server does not want this item; it is well otherwise */
    WIRE_NONE,       /* get, remove: there is none. add: there is one already */
    WIRE_DONE,
};

enum wire_verb { WIRE_GET, WIRE_SET, WIRE_ADD, WIRE_REMOVE };

struct wire_call {
    enum wire_verb verb;
    const char *key;   /* no more than WIRE_KEY_MAX bytes, no blanks, no control characters */
    const void *value; /* set, add */
    size_t length; /* set, add: of the value. get: of what was found, also where it does not fit */
    int64_t expires_s; /* set, add */
    void *found;       /* get: where the value is copied */
    size_t size;       /* get: room there; a longer value is WIRE_NONE */
};

enum wire_result wire_do(struct wire *wire, struct wire_call *call, struct deadline deadline,
                         struct fault *fault);

#endif
