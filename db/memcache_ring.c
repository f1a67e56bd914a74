#include "db/memcache_ring.h"

#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool memcache_ring_version_is_safe(const char *version, struct fault *fault)
{
    unsigned major, minor, patch;
    if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3)
        return true; /* none of the bad ones were named so */
    if (major != 1 || minor != 1 || patch > 3)
        return true;
    fault_set(fault,
              "libmemcached %s hands out other keys' values after a timeout (CVE-2023-27478); "
              "install 1.1.4 or later, or 1.0.18",
              version);
    return false;
}

const char *memcache_ring_version(void)
{
    return memcached_lib_version();
}

struct memcache_ring {
    memcached_st *handle; /* which never connects */
    size_t count;
};

static bool add_server(memcached_st *handle, const struct endpoint *endpoint)
{
    memcached_return_t code =
        endpoint->kind == ENDPOINT_UNIX
            ? memcached_server_add_unix_socket(handle, endpoint->path)
            : memcached_server_add(handle, endpoint->host, (in_port_t)endpoint->port);
    return code == MEMCACHED_SUCCESS;
}

struct memcache_ring *memcache_ring_create(const struct endpoint *servers, size_t count)
{
    struct memcache_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    ring->count = count;
    ring->handle = memcached_create(NULL);
    bool made = ring->handle &&
                memcached_behavior_set(ring->handle, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1) ==
                    MEMCACHED_SUCCESS;
    for (size_t i = 0; made && i < count; i++)
        made = add_server(ring->handle, &servers[i]);
    if (made)
        return ring;
    memcache_ring_destroy(ring);
    return NULL;
}

void memcache_ring_destroy(struct memcache_ring *ring)
{
    if (!ring)
        return;
    memcached_free(ring->handle); /* NULL is fine there */
    free(ring);
}

size_t memcache_ring_choose(const struct memcache_ring *ring, const char *key)
{
    /* Writes nothing while hosts are not ejected (hash.cc), so it needs no lock. */
    if (ring->count == 1)
        return 0;
    return memcached_generate_hash(ring->handle, key, strlen(key));
}
