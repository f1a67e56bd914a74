#include "db/servers.h"

#include <string.h>

#include "db/lookup.h"
#include "db/mysql_pool.h"

void servers_add(struct servers *servers, const struct server_state *state)
{
    for (size_t i = 0; i < servers->count; i++) {
        struct server_state *known = &servers->list[i];
        if (known->tier != state->tier || strcmp(known->name, state->name) != 0)
            continue;
        known->up &= state->up;
        known->breaker_open |= state->breaker_open;
        known->lagging |= state->lagging;
        known->connections += state->connections;
        return;
    }
    if (servers->count < SERVERS_LIST_MAX)
        servers->list[servers->count++] = *state;
}

void servers_read(struct resolver *resolver, struct servers *servers)
{
    memset(servers, 0, sizeof *servers);
    mysql_pool_servers(servers);
    if (resolver->memcache)
        memcache_servers(resolver->memcache, servers);
    if (resolver->outcomes)
        servers->process_cache_entries = lru_count(resolver->outcomes);
    servers->lookup_slots_taken = authority_slots_taken(resolver->authority);
}
