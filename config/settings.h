/*
 * settings - rcpt-milter.conf as a struct. Every parameter is one row in settings.c; from the rows
 * come the default, the bounds, `-T`, the check of the sample config and of the man page.
 *
 * A struct settings is read-only once loaded: any thread. Its owner ends it with settings_free.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/reply_setting.h"
#include "shared/endpoint.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/networks.h"

#define SETTINGS_DEFAULT_PATH "/etc/rcpt-milter/rcpt-milter.conf"

enum role { ROLE_PRIMARY = 0, ROLE_FALLBACK }; /* zero is the role that never bounces */

struct settings {
    /* node */
    enum role role;
    char *role_maps;
    struct endpoint milter_socket;
    unsigned milter_socket_mode;
    struct endpoint control_socket; /* always ENDPOINT_UNIX */
    char *state_directory;
    struct endpoint metrics_listen; /* may be ENDPOINT_NONE */

    /* directory */
    char *recipient_maps;
    char *domain_maps;
    char *access_maps;
    char *recipient_delimiter;
    bool follow_domain_alias;
    char *parent_domain_matches_subdomains; /* names of lists: db/authority.c */
    int64_t lookup_deadline_ms;
    unsigned lookup_slots;
    int64_t mysql_connect_timeout_ms; /* whole seconds */
    int64_t mysql_query_timeout_ms;   /* whole seconds */
    unsigned mysql_connections;

    /* caches */
    char *memcache_servers; /* separated by commas or white space: unix:/path, inet:host:port, or
                               memcache_table(5)'s bare host:port */
    char *memcache_key_prefix;
    char *memcache_secret_file; /* "": values are not sealed */
    int64_t memcache_timeout_ms;
    int64_t positive_ttl_s;         /* at least 1 */
    int64_t negative_ttl_s;         /* 0: absences are not cached */
    int64_t stale_ttl_s;            /* 0: no stale answer vouches; else at least positive_ttl_s */
    unsigned process_cache_entries; /* 0: none */
    int64_t process_cache_ttl_ms;

    /* evidence */
    int64_t known_good_ttl_s;
    int64_t removal_grace_s;
    int64_t max_replica_lag_s; /* 0: off */
    char *sentinel_recipients;
    int64_t sentinel_interval_s;
    struct settings_rate {
        unsigned count;
        int64_t window_s;
    } vanish_limit; /* all zero: off */
    int64_t outage_patience_s;
    int64_t escalate_after_s; /* 0: never */
    int64_t false_bounce_window_s;
    int64_t ledger_ttl_s;

    /* replies */
    struct reply_setting primary_unknown_reply;
    struct reply_setting primary_proven_reply;
    struct reply_setting primary_unavailable_reply;
    struct reply_setting fallback_unknown_reply;
    struct reply_setting fallback_unavailable_reply;
    struct reply_setting held_reply;
    struct reply_setting foreign_reply;
    struct reply_setting malformed_reply;

    /* exemptions */
    struct networks *exempt_networks;
    bool exempt_authenticated;

    /* logging */
    enum log_level log_level;
    enum log_form log_format;
    bool log_known;
    struct settings_rate log_rate_limit; /* all zero: off */
    int syslog_facility;                 /* LOG_MAIL and so on */
    char *syslog_name;

    /* One per row, in the order of the rows. */
    struct settings_origin {
        char *value;  /* the text in force, expanded */
        char *where;  /* "file:line", "-o", or "default" */
        bool changed; /* its value differs from the default's */
    } * origins;
};

struct setting_row {
    const char *group; /* as in the manual: node, directory, caches, ... */
    const char *name;
    const char *default_value; /* as one would write it */
    int type;                  /* how it is read: enum value_type, config/values.h */
    size_t offset;             /* where it goes in struct settings */
    int64_t min, max;          /* bounds; what they count is told by the type */
    bool needs_restart; /* a reload cannot change it: sockets and locks are held by the process */
};

/* The rows, in the order of the manual. */
const struct setting_row *settings_rows(size_t *count);

/*
 * Reads the file, then the overrides ("name=value", as given with -o), then the defaults; then puts
 * in the $names (config/expand.h). NULL and a fault ("file:line: name: what is wrong", "-o: name:
 * ...") when anything is wrong, also where two parameters contradict each other. path NULL: no
 * file, defaults and overrides only.
 */
struct settings *settings_load(const char *path, const char *const *overrides,
                               size_t override_count, struct fault *fault);
void settings_free(struct settings *settings); /* NULL is fine */

/* "file:line" of a parameter, "-o" or "default", for messages about what it names. */
const char *settings_where(const struct settings *settings, const char *name);

/* -T: one `name = value` per line in the order of the rows. What differs from its default has a
 * comment line `# set at FILE:LINE` (or `# set with -o`) before it, so the output is itself a
 * configuration file with the same effect. */
void settings_print(const struct settings *settings, FILE *out);

/* The name of the first parameter with needs_restart whose value differs, or NULL. */
const char *settings_restart_needed(const struct settings *before, const struct settings *after);

const char *role_name(enum role role); /* "primary", "fallback" */

#endif
