/* The servers of a table: what is compared, copied and tried in order. */
#include "db/mysql_table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct mysql_source_string source_strings[] = {
    {"user", NULL, offsetof(struct mysql_source, user)},
    {"password", NULL, offsetof(struct mysql_source, password)},
    {"dbname", NULL, offsetof(struct mysql_source, dbname)},
    {"option_file", NULL, offsetof(struct mysql_source, option_file)},
    {"option_group", "client", offsetof(struct mysql_source, option_group)},
    {"charset", "utf8mb4", offsetof(struct mysql_source, charset)},
    {"tls_key_file", NULL, offsetof(struct mysql_source, tls_key_file)},
    {"tls_cert_file", NULL, offsetof(struct mysql_source, tls_cert_file)},
    {"tls_CAfile", NULL, offsetof(struct mysql_source, tls_ca_file)},
    {"tls_CApath", NULL, offsetof(struct mysql_source, tls_ca_path)},
    {"tls_ciphers", NULL, offsetof(struct mysql_source, tls_ciphers)},
    {"lag_query", NULL, offsetof(struct mysql_source, lag_query)},
};
enum { SOURCE_STRINGS = sizeof source_strings / sizeof source_strings[0] };

const struct mysql_source_string *mysql_source_strings(size_t *count)
{
    *count = SOURCE_STRINGS;
    return source_strings;
}

char **mysql_source_string(const struct mysql_source *source, size_t i)
{
    return (char **)((char *)(uintptr_t)source + source_strings[i].offset);
}

bool mysql_source_copy(struct mysql_source *to, const struct mysql_source *from)
{
    *to = *from;
    for (size_t i = 0; i < SOURCE_STRINGS; i++)
        *mysql_source_string(to, i) = NULL;
    for (size_t i = 0; i < SOURCE_STRINGS; i++) {
        const char *string = *mysql_source_string(from, i);
        if (string && !(*mysql_source_string(to, i) = strdup(string))) {
            mysql_source_release(to);
            return false;
        }
    }
    return true;
}

void mysql_source_release(struct mysql_source *source)
{
    if (source->password)
        explicit_bzero(source->password, strlen(source->password));
    for (size_t i = 0; i < SOURCE_STRINGS; i++)
        free(*mysql_source_string(source, i));
    memset(source, 0, sizeof *source);
}

bool mysql_source_equal(const struct mysql_source *a, const struct mysql_source *b)
{
    if (a->host_count != b->host_count || a->tls_verify_cert != b->tls_verify_cert)
        return false;
    for (size_t i = 0; i < a->host_count; i++)
        if (strcmp(a->hosts[i].text, b->hosts[i].text) != 0)
            return false;
    for (size_t i = 0; i < SOURCE_STRINGS; i++) {
        const char *x = *mysql_source_string(a, i), *y = *mysql_source_string(b, i);
        if (!x != !y || (x && strcmp(x, y) != 0))
            return false;
    }
    return true;
}

size_t mysql_source_order(const struct mysql_source *source, unsigned *seed,
                          unsigned order[MYSQL_HOSTS_MAX])
{
    size_t count = 0;
    for (int inet = 0; inet <= 1; inet++) {
        size_t first = count;
        for (unsigned i = 0; i < source->host_count; i++)
            if ((source->hosts[i].endpoint.kind == ENDPOINT_INET) == (inet == 1))
                order[count++] = i;
        for (size_t i = count; i > first + 1; i--) {
            size_t j = first + (size_t)rand_r(seed) % (i - first);
            unsigned moved = order[i - 1];
            order[i - 1] = order[j];
            order[j] = moved;
        }
    }
    return count;
}
