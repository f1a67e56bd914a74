#include "milter/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "db/maps.h"
#include "db/memcache.h"
#include "db/mysql_client.h"
#include "milter/command.h"
#include "milter/inspect_mysql.h"
#include "milter/inspect_place.h"
#include "milter/inspect_probe.h"
#include "milter/inspect_report.h"
#include "shared/digest.h"

/* ---- one map ---- */

/* Any type but mysql: opened as the daemon does it, alone. */
static void inspect_any(struct inspect_report *report, const char *name, struct probes *probes)
{
    const struct map_context context = {.settings = report->settings};
    struct fault fault = {""};
    struct maps *maps = maps_open(name, &context, &fault);
    probes_forget(probes);
    if (!maps) {
        report->misconfigured = true;
        probes_gather(probes);
        inspect_find(report, NULL, "%s", fault.text);
        return;
    }
    for (size_t i = 0; i < probes->count; i++) {
        struct finding finding = {.answer = UNAVAILABLE};
        struct deadline deadline = deadline_in_ms(report->settings->lookup_deadline_ms);
        maps_find(maps, probes->probe[i].key, deadline, NULL, &finding);
        probes->probe[i].answer = finding.answer;
        if (finding.answer != UNAVAILABLE)
            continue;
        inspect_find(report, NULL, "it cannot be asked: %s", finding.why.text);
        report->unasked |= maps_wait(maps);
        break;
    }
    if (!probes_judge_catch_all(probes, report))
        probes_judge_folding(probes, report);
    probes_gather(probes);
    maps_close(maps);
}

/* What stands after "type:", where the name is of that type. */
static const char *table_of(const char *name, const char *type)
{
    static const char proxy[] = "proxy:";
    if (strncmp(name, proxy, strlen(proxy)) == 0)
        name += strlen(proxy);
    size_t length = strlen(type);
    return strncmp(name, type, length) == 0 && name[length] == ':' ? name + length + 1 : NULL;
}

static void inspect_map(struct inspect_report *report, const char *parameter, const char *name,
                        struct probes *probes)
{
    const char *mysql = table_of(name, "mysql"), *texthash = table_of(name, "texthash");
    const char *colon = strchr(name, ':');
    /* A file in main.cf syntax, of which the lines are told; or none. */
    bool has_file = !texthash && colon && colon[1] == '/';
    inspect_begin(report, parameter, name, mysql ? mysql : has_file ? colon + 1 : NULL);
    if (texthash)
        inspect_texthash(report, texthash);
    if (mysql && (mysql[0] == '/' || mysql[0] == '.'))
        inspect_mysql(report, mysql, probes);
    else
        inspect_any(report, name, probes);
    inspect_end(report, "");
}

/* ---- the lists ---- */

/* As maps.h says: separated by commas or white space, braces hold together. The name is the
 * caller's to free; NULL at the end. What braces are wrong is for maps_open to say. */
static char *next_map(const char **at)
{
    static const char separators[] = ", \t\r\n\f\v";
    int depth = 0;
    *at += strspn(*at, separators);
    const char *name = *at;
    for (; **at && (depth > 0 || !strchr(separators, **at)); (*at)++)
        depth += (**at == '{') - (**at == '}');
    return *at > name ? strndup(name, (size_t)(*at - name)) : NULL;
}

static void inspect_list(struct inspect_report *report, const char *parameter, const char *list,
                         enum probe_manner manner, const struct sentinel_list *sentinels)
{
    struct probes *probes = malloc(sizeof *probes);
    if (!probes)
        abort();
    probes_make(probes, manner, sentinels, report->settings->recipient_delimiter);
    bool any = false;
    for (char *name; (name = next_map(&list)); any = true) {
        inspect_map(report, parameter, name, probes);
        free(name);
    }
    if (any && (manner == PROBE_RECIPIENTS || manner == PROBE_DOMAINS)) {
        inspect_begin(report, parameter, NULL, NULL);
        bool all = probes_judge_sentinels(probes, report);
        if (sentinels->count == 0 && manner == PROBE_RECIPIENTS)
            inspect_note(report, "nobody known could be asked for: set sentinel_recipients to one "
                                 "or two addresses that always exist");
        inspect_end(report, all ? "every sentinel is there" : NULL);
    }
    free(probes);
}

static void inspect_all(struct inspect_report *report, const struct sentinel_list *sentinels)
{
    const struct settings *settings = report->settings;
    if (*settings->recipient_maps == '\0') {
        inspect_begin(report, "recipient_maps", NULL, NULL);
        inspect_note(report, "empty: every recipient passes, nothing is checked");
        inspect_end(report, NULL);
    }
    inspect_list(report, "recipient_maps", settings->recipient_maps, PROBE_RECIPIENTS, sentinels);
    inspect_list(report, "domain_maps", settings->domain_maps, PROBE_DOMAINS, sentinels);
    inspect_list(report, "access_maps", settings->access_maps, PROBE_ACCESS, sentinels);
    inspect_list(report, "role_maps", settings->role_maps, PROBE_ROLES, sentinels);
    inspect_memcached(report);
}

static int inspect_settings(const struct settings *settings, struct fault *fault)
{
    struct inspect_report report = {.settings = settings, .out = stdout};
    struct sentinel_list *sentinels = sentinel_list_read(settings, fault);
    if (!sentinels || (*settings->memcache_servers != '\0' && !memcache_check(settings, fault))) {
        free(sentinels);
        return EXIT_CONFIG;
    }
    mysql_client_thread_init();
    inspect_all(&report, sentinels);
    mysql_client_thread_end();
    free(sentinels);
    printf("%u finding%s\n", report.findings, report.findings == 1 ? "" : "s");
    return report.misconfigured ? EXIT_CONFIG
           : report.unasked     ? EXIT_UNAVAILABLE
           : report.findings    ? EXIT_DOES_NOT_EXIST
                                : 0;
}

int inspect_run(const struct client_place *place, int argc, char **argv)
{
    struct fault fault = {""};
    if (argc != 1) {
        fprintf(stderr, "usage: rcptctl %s\n", argv[0]);
        return EXIT_USAGE;
    }
    if (!digest_init() || !memcache_library_is_safe(&fault) || !mysql_client_library_init(&fault)) {
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EXIT_UNAVAILABLE;
    }
    struct settings *settings = settings_load(place->config_path, NULL, 0, &fault);
    int code = settings ? inspect_settings(settings, &fault) : EXIT_CONFIG;
    if (fault.text[0] != '\0')
        fprintf(stderr, "rcptctl: %s\n", fault.text);
    settings_free(settings);
    return code;
}
