#include "milter/postconf.h"

#include <stdlib.h>
#include <string.h>

#include "milter/postconf_run.h"
#include "shared/clock.h"
#include "shared/text.h"

enum { READ_MS = 15000, WORD_MAX = 1024 };

struct entry {
    char *service; /* NULL: main.cf */
    char *name, *value;
};

struct postconf {
    char *texts[3]; /* what all the others point into: main.cf, overrides, fields */
    struct entry *entries;
    size_t entry_count;
    struct postconf_service *services;
    size_t service_count;
};

static size_t count_lines(const char *text)
{
    size_t count = 1;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* Cuts `name = value` out of the text; false at its end. What has no '=' is passed over. */
static bool next_setting(char **at, char **name, char **value)
{
    while (**at) {
        char *line = *at, *end = line + strcspn(line, "\n");
        *at = *end ? end + 1 : end;
        *end = '\0';
        char *equals = strstr(line, " =");
        if (!equals)
            continue;
        *equals = '\0';
        *name = line;
        *value = equals + 2 + (equals[2] == ' ');
        return true;
    }
    return false;
}

/* "smtp/inet/NAME" becomes "smtp/inet" and NAME. A service's name may be a socket's path. */
static char *cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

static void read_entries(struct postconf *postconf)
{
    char *name, *value;
    for (char *at = postconf->texts[0]; next_setting(&at, &name, &value);)
        postconf->entries[postconf->entry_count++] = (struct entry){NULL, name, value};
    for (char *at = postconf->texts[1]; next_setting(&at, &name, &value);) {
        char *parameter = cut_last(name);
        if (parameter)
            postconf->entries[postconf->entry_count++] = (struct entry){name, parameter, value};
    }
}

/* postconf(5), compatibility_level: below 1, "-" in master.cf's chroot column is "y". */
static bool chroot_default(const struct postconf *postconf)
{
    const char *level = postconf_value(postconf, NULL, "compatibility_level");
    return *level == '\0' || (*level == '0' && (level[1] == '\0' || level[1] == '.'));
}

static bool is_smtpd(const char *command)
{
    return strncmp(command, "smtpd", 5) == 0 && (command[5] == '\0' || command[5] == ' ');
}

static struct postconf_service *service_of(struct postconf *postconf, char *name)
{
    for (size_t i = 0; i < postconf->service_count; i++)
        if (strcmp(postconf->services[i].name, name) == 0)
            return &postconf->services[i];
    struct postconf_service *service = &postconf->services[postconf->service_count++];
    *service = (struct postconf_service){.name = name, .command = ""};
    return service;
}

static void read_services(struct postconf *postconf)
{
    char *name, *value;
    bool by_default = chroot_default(postconf);
    for (char *at = postconf->texts[2]; next_setting(&at, &name, &value);) {
        char *field = cut_last(name);
        if (!field)
            continue;
        struct postconf_service *service = service_of(postconf, name);
        if (strcmp(field, "chroot") == 0)
            service->chroot = *value == 'y' || (*value == '-' && by_default);
        if (strcmp(field, "command") == 0) {
            service->command = value;
            service->smtpd = is_smtpd(value);
        }
    }
}

struct postconf *postconf_parse(const char *main_cf, const char *overrides, const char *fields)
{
    const char *given[] = {main_cf, overrides, fields};
    struct postconf *postconf = calloc(1, sizeof *postconf);
    if (!postconf)
        return NULL;
    bool whole = true;
    for (size_t i = 0; i < 3; i++)
        whole &= (postconf->texts[i] = strdup(given[i])) != NULL;
    postconf->entries =
        calloc(count_lines(main_cf) + count_lines(overrides), sizeof *postconf->entries);
    postconf->services = calloc(count_lines(fields), sizeof *postconf->services);
    if (!whole || !postconf->entries || !postconf->services) {
        postconf_free(postconf);
        return NULL;
    }
    read_entries(postconf);
    read_services(postconf);
    return postconf;
}

struct postconf *postconf_read(const char *directory, struct fault *fault)
{
    static const char *const options[] = {"-x", "-xP", "-F"};
    char *texts[3] = {0};
    struct deadline deadline = deadline_in_ms(READ_MS);
    struct postconf *postconf = NULL;
    bool whole = true;
    for (size_t i = 0; whole && i < 3; i++) {
        const char *argv[] = {"postconf", options[i], directory ? "-c" : NULL, directory, NULL};
        whole = (texts[i] = postconf_run(argv, deadline, fault)) != NULL;
    }
    if (whole && !(postconf = postconf_parse(texts[0], texts[1], texts[2])))
        fault_set(fault, "out of memory");
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
    return postconf;
}

void postconf_free(struct postconf *postconf)
{
    if (!postconf)
        return;
    for (size_t i = 0; i < 3; i++)
        free(postconf->texts[i]);
    free(postconf->entries);
    free(postconf->services);
    free(postconf);
}

const struct postconf_service *postconf_services(const struct postconf *postconf, size_t *count)
{
    *count = postconf->service_count;
    return postconf->services;
}

static const struct entry *find(const struct postconf *postconf, const char *service,
                                const char *name)
{
    for (size_t i = postconf->entry_count; i-- > 0;) {
        const struct entry *entry = &postconf->entries[i];
        bool same = service ? entry->service && strcmp(entry->service, service) == 0
                            : entry->service == NULL;
        if (same && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

const char *postconf_value(const struct postconf *postconf, const char *service, const char *name)
{
    const struct entry *entry = service ? find(postconf, service, name) : NULL;
    if (!entry)
        entry = find(postconf, NULL, name);
    return entry ? entry->value : "";
}

bool postconf_overrides(const struct postconf *postconf, const char *service, const char *name)
{
    return service && find(postconf, service, name);
}

bool postconf_next(const char **at, char *word, size_t size)
{
    static const char separators[] = ", \t\r\n";
    *at += strspn(*at, separators);
    const char *start = *at;
    for (int depth = 0; **at && (depth > 0 || !strchr(separators, **at)); (*at)++)
        depth += (**at == '{') - (**at == '}');
    struct text text = text_on(word, size);
    text_add_bytes(&text, start, (size_t)(*at - start));
    return *at > start;
}

bool postconf_list_has(const char *list, const char *word)
{
    char item[WORD_MAX];
    while (postconf_next(&list, item, sizeof item))
        if (text_same_word(item, word))
            return true;
    return false;
}
