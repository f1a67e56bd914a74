#include "config/settings.h"

#include <stdlib.h>
#include <string.h>

#include "config/conf.h"
#include "config/expand.h"
#include "config/values.h"
#include "shared/text.h"

#define AT(member) offsetof(struct settings, member)

/* Bounds of times, in milliseconds. */
#define MS INT64_C(1)
#define S (1000 * MS)
#define MINUTE (60 * S)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/*
 * Why these bounds:
 *   lookup_slots      TRAPS: 64 blocked callbacks already bring libmilter's convoy
 *   lookup_deadline   below it no database answers; milter_command_timeout is 30s by default
 *   mysql_*_timeout   the client libraries count in whole seconds
 *   ..._ttl           memcached takes an expiry above 30 days for a date
 *   escalate_after    kept in memcached for twice as long
 *   negative_ttl      so long a new mailbox may be refused by the primaries
 *   state_directory   room for a file name within PATH_MAX
 *   syslog_name       RFC 5424 6.2.5: APP-NAME has at most 48 characters
 *   memcache_key_prefix  with 33 bytes behind it a key stays within memcached's 250
 */
static const struct setting_row rows[] = {
    {"node", "role", "primary", VALUE_ROLE, AT(role), 0, 0, false},
    {"node", "role_maps", "", VALUE_LIST, AT(role_maps), 0, 0, false},
    {"node", "milter_socket", "unix:/var/spool/postfix/rcpt-milter/milter.sock", VALUE_ENDPOINT,
     AT(milter_socket), 0, 0, true},
    {"node", "milter_socket_mode", "0660", VALUE_MODE, AT(milter_socket_mode), 0, 0777, true},
    {"node", "control_socket", "unix:/run/rcpt-milter/control.sock", VALUE_UNIX_ENDPOINT,
     AT(control_socket), 0, 0, true},
    {"node", "state_directory", "/var/lib/rcpt-milter", VALUE_PATH, AT(state_directory), 1, 3800,
     true},
    {"node", "metrics_listen", "", VALUE_ENDPOINT_NONE, AT(metrics_listen), 0, 0, false},

    {"directory", "recipient_maps", "", VALUE_LIST, AT(recipient_maps), 0, 0, false},
    {"directory", "domain_maps", "", VALUE_LIST, AT(domain_maps), 0, 0, false},
    {"directory", "access_maps", "", VALUE_LIST, AT(access_maps), 0, 0, false},
    {"directory", "recipient_delimiter", "", VALUE_DELIMITERS, AT(recipient_delimiter), 0, 0,
     false},
    {"directory", "follow_domain_alias", "no", VALUE_BOOLEAN, AT(follow_domain_alias), 0, 0, false},
    {"directory", "parent_domain_matches_subdomains", "", VALUE_LIST,
     AT(parent_domain_matches_subdomains), 0, 0, false},
    {"directory", "lookup_deadline", "5s", VALUE_TIME_MS, AT(lookup_deadline_ms), 100 * MS, 60 * S,
     false},
    {"directory", "lookup_slots", "12", VALUE_NUMBER, AT(lookup_slots), 1, 64, false},
    {"directory", "mysql_connect_timeout", "2s", VALUE_TIME_WHOLE, AT(mysql_connect_timeout_ms), S,
     60 * S, false},
    {"directory", "mysql_query_timeout", "2s", VALUE_TIME_WHOLE, AT(mysql_query_timeout_ms), S,
     60 * S, false},
    {"directory", "mysql_connections", "4", VALUE_NUMBER, AT(mysql_connections), 1, 64, false},

    {"caches", "memcache_servers", "", VALUE_LIST, AT(memcache_servers), 0, 0, false},
    {"caches", "memcache_key_prefix", "rcpt-milter:", VALUE_WORD, AT(memcache_key_prefix), 0, 100,
     false},
    {"caches", "memcache_secret_file", "", VALUE_PATH, AT(memcache_secret_file), 0, 3800, false},
    {"caches", "memcache_timeout", "100ms", VALUE_TIME_MS, AT(memcache_timeout_ms), MS, 5 * S,
     false},
    {"caches", "positive_ttl", "1h", VALUE_TIME_S, AT(positive_ttl_s), S, 30 * DAY, false},
    {"caches", "negative_ttl", "60s", VALUE_TIME_S, AT(negative_ttl_s), 0, DAY, false},
    {"caches", "stale_ttl", "7d", VALUE_TIME_S, AT(stale_ttl_s), 0, 30 * DAY, false},
    {"caches", "process_cache_entries", "100000", VALUE_NUMBER, AT(process_cache_entries), 0,
     100000000, false},
    {"caches", "process_cache_ttl", "5s", VALUE_TIME_MS, AT(process_cache_ttl_ms), 0, HOUR, false},

    {"evidence", "known_good_ttl", "30d", VALUE_TIME_S, AT(known_good_ttl_s), S, 3650 * DAY, false},
    {"evidence", "removal_grace", "1d", VALUE_TIME_S, AT(removal_grace_s), 0, 365 * DAY, false},
    {"evidence", "max_replica_lag", "0s", VALUE_TIME_S, AT(max_replica_lag_s), 0, DAY, false},
    {"evidence", "sentinel_recipients", "", VALUE_LIST, AT(sentinel_recipients), 0, 0, false},
    {"evidence", "sentinel_interval", "10s", VALUE_TIME_S, AT(sentinel_interval_s), S, HOUR, false},
    {"evidence", "vanish_limit", "20/10m", VALUE_RATE, AT(vanish_limit), 1, 10000, false},
    {"evidence", "outage_patience", "0s", VALUE_TIME_S, AT(outage_patience_s), 0, 30 * DAY, false},
    {"evidence", "escalate_after", "4h", VALUE_TIME_S, AT(escalate_after_s), 0, 15 * DAY, false},
    {"evidence", "false_bounce_window", "7d", VALUE_TIME_S, AT(false_bounce_window_s), 0, 365 * DAY,
     false},
    {"evidence", "ledger_ttl", "14d", VALUE_TIME_S, AT(ledger_ttl_s), HOUR, 365 * DAY, false},

    {"replies", "primary_unknown_reply",
     "450 4.1.1 <$recipient>: User unknown here, please try the next MX", VALUE_REPLY,
     AT(primary_unknown_reply), 0, 0, false},
    {"replies", "primary_proven_reply",
     "550 5.1.1 <$recipient>: User unknown, please check the address", VALUE_REPLY,
     AT(primary_proven_reply), 0, 0, false},
    {"replies", "primary_unavailable_reply",
     "451 4.4.3 <$recipient>: Cannot check the recipient now, please try the next MX", VALUE_REPLY,
     AT(primary_unavailable_reply), 0, 0, false},
    {"replies", "fallback_unknown_reply",
     "550 5.1.1 <$recipient>: User unknown, please check the address", VALUE_REPLY,
     AT(fallback_unknown_reply), 0, 0, false},
    {"replies", "fallback_unavailable_reply",
     "550 5.4.3 <$recipient>: Cannot check the recipient now, please send again later", VALUE_REPLY,
     AT(fallback_unavailable_reply), 0, 0, false},
    {"replies", "held_reply",
     "451 4.4.3 <$recipient>: Cannot check the recipient now, please try again later", VALUE_REPLY,
     AT(held_reply), 0, 0, false},
    {"replies", "foreign_reply", "pass", VALUE_REPLY, AT(foreign_reply), 0, 0, false},
    {"replies", "malformed_reply", "550 5.1.3 Bad recipient address syntax", VALUE_REPLY,
     AT(malformed_reply), 0, 0, false},

    {"exemptions", "exempt_networks", "", VALUE_NETWORKS, AT(exempt_networks), 0, 0, false},
    {"exemptions", "exempt_authenticated", "yes", VALUE_BOOLEAN, AT(exempt_authenticated), 0, 0,
     false},

    {"logging", "log_level", "info", VALUE_LEVEL, AT(log_level), 0, 0, false},
    {"logging", "log_format", "text", VALUE_LOG_FORM, AT(log_format), 0, 0, false},
    {"logging", "log_known", "no", VALUE_BOOLEAN, AT(log_known), 0, 0, false},
    {"logging", "log_rate_limit", "200/1s", VALUE_RATE, AT(log_rate_limit), 1, 1000000, false},
    {"logging", "syslog_facility", "mail", VALUE_FACILITY, AT(syslog_facility), 0, 0, false},
    {"logging", "syslog_name", "rcpt-milter", VALUE_WORD, AT(syslog_name), 1, 48, false},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

/* What was set, and by whom, before anything is expanded. */
struct sources {
    const char *path; /* of the file */
    struct source {
        const char *raw;
        enum { SET_BY_DEFAULT = 0, SET_BY_FILE, SET_BY_OVERRIDE } by;
        unsigned line;
    } of[ROW_COUNT];
};

const struct setting_row *settings_rows(size_t *count)
{
    *count = ROW_COUNT;
    return rows;
}

const char *role_name(enum role role)
{
    return role == ROLE_FALLBACK ? "fallback" : "primary";
}

/* ROW_COUNT where there is none of that name. */
static size_t row_find(const char *name)
{
    size_t i = 0;
    while (i < ROW_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return i;
}

static void fault_unknown(const char *name, const char *dollar, bool in_reply, struct fault *fault)
{
    /* Parameters, and what else a reply may name. */
    static const char *const reply_names[] = {"recipient", "domain"};
    size_t count = ROW_COUNT + (in_reply ? 2 : 0);
    const char *nearest = NULL;
    unsigned least = 0;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = i < ROW_COUNT ? rows[i].name : reply_names[i - ROW_COUNT];
        unsigned distance = text_distance(name, candidate);
        if (!nearest || distance < least) {
            nearest = candidate;
            least = distance;
        }
    }
    /* A slip or two in a short name, three in a long one: more is another word. */
    size_t length = strlen(name);
    if (least <= (length < 5 ? 1u : length < 12 ? 2u : 3u))
        fault_set(fault, "%s%.60s: unknown parameter; did you mean %s%s?", dollar, name, dollar,
                  nearest);
    else
        fault_set(fault, "%s%.60s: unknown parameter", dollar, name);
}

static bool take_file(struct sources *sources, const struct conf *conf, struct fault *fault)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_entry *entry = &conf->entries[i];
        size_t row = row_find(entry->name);
        if (row == ROW_COUNT) {
            fault_unknown(entry->name, "", false, fault);
            fault_within(fault, "%s:%u", conf->path, entry->line);
            return false;
        }
        sources->of[row] =
            (struct source){.raw = entry->value, .by = SET_BY_FILE, .line = entry->line};
    }
    return true;
}

/* name=value, with white space where main.cf allows it. */
static bool take_override(struct sources *sources, const char *text, struct fault *fault)
{
    static const char blank[] = " \t";
    char name[64] = "";
    text += strspn(text, blank);
    size_t length = strcspn(text, " \t=");
    const char *sign = text + length + strspn(text + length, blank);
    if (length == 0 || length >= sizeof name || *sign != '=') {
        fault_set(fault, "-o: \"%.60s\" is not name=value", text);
        return false;
    }
    memcpy(name, text, length);
    size_t row = row_find(name);
    if (row == ROW_COUNT) {
        fault_unknown(name, "", false, fault);
        fault_within(fault, "-o");
        return false;
    }
    sources->of[row] = (struct source){.raw = sign + 1, .by = SET_BY_OVERRIDE};
    return true;
}

struct reading {
    const struct sources *sources;
    bool in_reply;
};

static const char *source_lookup(void *context, const char *name, bool *is_reply,
                                 struct fault *fault)
{
    const struct reading *reading = context;
    size_t row = row_find(name);
    if (row < ROW_COUNT) {
        *is_reply = rows[row].type == VALUE_REPLY;
        return reading->sources->of[row].raw;
    }
    fault_unknown(name, "$", reading->in_reply, fault);
    return NULL;
}

/* The expanded text without white space around it, in `out`; what no parameter may hold is refused
 * here, so that every value is one line of -T. */
static bool source_expand(const struct sources *sources, size_t row, struct text *out, char **value,
                          struct fault *fault)
{
    *out = text_on(out->bytes, out->capacity);
    struct reading reading = {.sources = sources, .in_reply = rows[row].type == VALUE_REPLY};
    if (!expand_value(rows[row].name, sources->of[row].raw, reading.in_reply, source_lookup,
                      &reading, out, fault))
        return false;
    *value = out->bytes + strspn(out->bytes, " \t");
    size_t length = strlen(*value);
    while (length > 0 && strchr(" \t", (*value)[length - 1]))
        (*value)[--length] = '\0';
    for (const char *c = *value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f) {
            fault_set(fault, "holds the control character \\x%02x", (unsigned char)*c);
            return false;
        }
    return true;
}

static char *source_where(const struct sources *sources, size_t row)
{
    static const char *const names[] = {[SET_BY_DEFAULT] = "default", [SET_BY_OVERRIDE] = "-o"};
    const struct source *source = &sources->of[row];
    char *where;
    if (source->by != SET_BY_FILE)
        return strdup(names[source->by]);
    return asprintf(&where, "%s:%u", sources->path, source->line) < 0 ? NULL : where;
}

/* Does it differ from what the default is read as? */
static bool differs_from_default(const struct settings *settings, size_t row)
{
    struct settings defaults = {0};
    struct fault ignored;
    if (strcmp(settings->origins[row].value, rows[row].default_value) == 0)
        return false;
    bool differs = !value_read(&rows[row], rows[row].default_value, &defaults, &ignored) ||
                   !value_same(&rows[row], settings, &defaults);
    value_free(&rows[row], &defaults);
    return differs;
}

static bool settings_read_row(struct settings *settings, const struct sources *sources, size_t row,
                              struct text *buffer, struct fault *fault)
{
    struct settings_origin *origin = &settings->origins[row];
    char *value;
    if (!(origin->where = source_where(sources, row))) {
        fault_set(fault, "out of memory");
        return false;
    }
    if (source_expand(sources, row, buffer, &value, fault) &&
        value_read(&rows[row], value, settings, fault)) {
        if ((origin->value = strdup(value))) {
            origin->changed = differs_from_default(settings, row);
            return true;
        }
        fault_set(fault, "out of memory");
    }
    fault_within(fault, "%s: %s", origin->where, rows[row].name);
    return false;
}

static bool settings_read_rows(struct settings *settings, const struct sources *sources,
                               struct fault *fault)
{
    char *bytes = malloc(CONF_FILE_MAX);
    settings->origins = calloc(ROW_COUNT, sizeof *settings->origins);
    if (!bytes || !settings->origins) {
        fault_set(fault, "out of memory");
        free(bytes);
        return false;
    }
    struct text buffer = text_on(bytes, CONF_FILE_MAX);
    bool good = true;
    for (size_t i = 0; i < ROW_COUNT && good; i++)
        good = settings_read_row(settings, sources, i, &buffer, fault);
    free(bytes);
    return good;
}

/* Two parameters that contradict each other; the place is the one of the two that was set. */
static bool fault_pair(const struct settings *settings, const char *name, const char *relation,
                       const char *other, struct fault *fault)
{
    const struct settings_origin *a = &settings->origins[row_find(name)];
    const struct settings_origin *b = &settings->origins[row_find(other)];
    const char *place = strcmp(a->where, "default") == 0 ? b->where : a->where;
    fault_set(fault, "%s: %s = %.60s (%s) %s %s = %.60s (%s)", place, name, a->value, a->where,
              relation, other, b->value, b->where);
    return false;
}

static bool same_path(const struct endpoint *a, const struct endpoint *b)
{
    return a->kind == ENDPOINT_UNIX && b->kind == ENDPOINT_UNIX && strcmp(a->path, b->path) == 0;
}

/* What no single row can see. */
static bool settings_check(const struct settings *settings, struct fault *fault)
{
    /* 0 is said on purpose: no stale answer ever vouches. */
    if (settings->stale_ttl_s != 0 && settings->positive_ttl_s > settings->stale_ttl_s)
        return fault_pair(settings, "positive_ttl", "is longer than", "stale_ttl", fault);
    if (same_path(&settings->milter_socket, &settings->control_socket))
        return fault_pair(settings, "milter_socket", "is the same as", "control_socket", fault);
    if (same_path(&settings->metrics_listen, &settings->milter_socket))
        return fault_pair(settings, "metrics_listen", "is the same as", "milter_socket", fault);
    if (same_path(&settings->metrics_listen, &settings->control_socket))
        return fault_pair(settings, "metrics_listen", "is the same as", "control_socket", fault);
    /* It stands in for a 5xx that would be wrong: a 5xx here would undo every interlock. */
    if (settings->held_reply.code[0] == '5') {
        fault_set(fault,
                  "%s: held_reply: must be 4xx or pass, since it is given where a 5xx could "
                  "be wrong",
                  settings_where(settings, "held_reply"));
        return false;
    }
    return true;
}

static struct settings *settings_build(const struct sources *sources, struct fault *fault)
{
    struct settings *settings = calloc(1, sizeof *settings);
    if (!settings) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    if (settings_read_rows(settings, sources, fault) && settings_check(settings, fault))
        return settings;
    settings_free(settings);
    return NULL;
}

struct settings *settings_load(const char *path, const char *const *overrides,
                               size_t override_count, struct fault *fault)
{
    struct sources sources = {.path = path};
    struct conf *conf = NULL;
    for (size_t i = 0; i < ROW_COUNT; i++)
        sources.of[i].raw = rows[i].default_value;
    if (path && !(conf = conf_read(path, fault)))
        return NULL;
    bool good = !conf || take_file(&sources, conf, fault);
    for (size_t i = 0; i < override_count && good; i++)
        good = take_override(&sources, overrides[i], fault);
    struct settings *settings = good ? settings_build(&sources, fault) : NULL;
    conf_free(conf);
    return settings;
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        value_free(&rows[i], settings);
        if (settings->origins) {
            free(settings->origins[i].value);
            free(settings->origins[i].where);
        }
    }
    free(settings->origins);
    free(settings);
}

const char *settings_where(const struct settings *settings, const char *name)
{
    size_t row = row_find(name);
    return row < ROW_COUNT ? settings->origins[row].where : "nowhere";
}

static void print_row(const struct setting_row *row, const struct settings_origin *origin,
                      FILE *out)
{
    if (origin->changed && strcmp(origin->where, "-o") == 0) {
        fputs("# set with -o\n", out);
    } else if (origin->changed) {
        char where[4096];
        struct text text = text_on(where, sizeof where);
        text_add_printable(&text, origin->where, strlen(origin->where));
        fprintf(out, "# set at %s\n", where);
    }
    fprintf(out, "%s =%s", row->name, *origin->value ? " " : "");
    /* In a reply the dollars still are as one writes them. */
    for (const char *c = origin->value; *c; c++) {
        if (*c == '$' && row->type != VALUE_REPLY)
            fputc('$', out);
        fputc(*c, out);
    }
    fputc('\n', out);
}

void settings_print(const struct settings *settings, FILE *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        print_row(&rows[i], &settings->origins[i], out);
}

const char *settings_restart_needed(const struct settings *before, const struct settings *after)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].needs_restart &&
            strcmp(before->origins[i].value, after->origins[i].value) != 0 &&
            !value_same(&rows[i], before, after))
            return rows[i].name;
    return NULL;
}
