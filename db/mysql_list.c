#include "db/mysql_list.h"

#include "db/mysql_client.h"
#include "db/mysql_table.h"
#include "shared/clock.h"

/* query_s is how long the server may be silent: while it sorts, or joins what gives no row. */
static const struct mysql_timeouts patient = {.connect_s = 10, .query_s = 300};

/* The first that works; *host is its name. The fault is the first one's that did not. */
static struct mysql_client *connect_to_any(const struct mysql_source *source, const char **host,
                                           struct fault *fault)
{
    unsigned order[MYSQL_HOSTS_MAX], seed = (unsigned)clock_mono_us();
    size_t count = mysql_source_order(source, &seed, order);
    for (size_t i = 0; i < count; i++) {
        struct mysql_trouble trouble;
        struct fault why = {""};
        *host = source->hosts[order[i]].text;
        struct mysql_client *client =
            mysql_client_connect(source, &source->hosts[order[i]], &patient, &trouble, &why);
        if (client)
            return client;
        if (i == 0)
            fault_set(fault, "%s: %s", *host, why.text);
    }
    return NULL;
}

static bool list_table(const struct mysql_table *table,
                       bool (*each)(void *context, const char *recipient, size_t length),
                       void *context, struct fault *fault)
{
    const char *host;
    if (!table->list_query) {
        fault_set(fault, "it has no list_query: a statement that gives every recipient there is, "
                         "see rcpt-milter.conf(5)");
        return false;
    }
    struct mysql_client *client = connect_to_any(&table->source, &host, fault);
    if (!client)
        return false;
    bool complete = mysql_client_list(client, table->list_query, each, context, fault);
    if (!complete)
        fault_within(fault, "%s", host);
    mysql_client_close(client);
    return complete;
}

bool mysql_list(const char *path, bool (*each)(void *context, const char *recipient, size_t length),
                void *context, struct fault *fault)
{
    struct mysql_table *table = mysql_table_read(path, fault);
    if (!table)
        return false;
    bool complete = false;
    if (mysql_client_library_init(fault)) {
        mysql_client_thread_init();
        complete = list_table(table, each, context, fault);
        mysql_client_thread_end();
    }
    if (!complete)
        fault_within(fault, "%s", path);
    mysql_table_free(table);
    return complete;
}
