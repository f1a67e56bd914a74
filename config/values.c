#include "config/values.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "config/duration.h"
#include "shared/text.h"

struct value_kind {
    bool (*read)(const struct setting_row *row, const char *text, void *field, struct fault *fault);
    /* NULL: the bytes say it, see size */
    bool (*same)(const void *a, const void *b);
    void (*end)(void *field); /* NULL: nothing was allocated */
    size_t size;
};

/* Words and what they stand for, ended by a NULL. */
struct word {
    const char *word;
    int meaning;
};

/* A long value is cut: the sentence has file, line and name before it. */
static bool fault_value(struct fault *fault, const char *text, const char *what)
{
    fault_set(fault, "\"%.60s%s\" %s", text, strlen(text) > 60 ? "..." : "", what);
    return false;
}

static bool read_one_of(const struct word *words, const char *text, int *meaning,
                        struct fault *fault)
{
    char buffer[FAULT_MAX];
    struct text allowed = text_on(buffer, sizeof buffer);
    text_add(&allowed, "is not one of");
    for (const struct word *word = words; word->word; word++) {
        if (text_same_word(word->word, text)) {
            *meaning = word->meaning;
            return true;
        }
        text_addf(&allowed, " %s", word->word);
    }
    return fault_value(fault, text, buffer);
}

static bool read_role(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    static const struct word words[] = {
        {"primary", ROLE_PRIMARY}, {"fallback", ROLE_FALLBACK}, {NULL, 0}};
    (void)row;
    int role;
    if (!read_one_of(words, text, &role, fault))
        return false;
    *(enum role *)field = (enum role)role;
    return true;
}

static bool read_boolean(const struct setting_row *row, const char *text, void *field,
                         struct fault *fault)
{
    static const struct word words[] = {{"yes", true}, {"no", false}, {NULL, 0}};
    (void)row;
    int yes;
    if (!read_one_of(words, text, &yes, fault))
        return false;
    *(bool *)field = yes;
    return true;
}

static bool read_level(const struct setting_row *row, const char *text, void *field,
                       struct fault *fault)
{
    static const struct word words[] = {{"error", LEVEL_ERROR},
                                        {"warning", LEVEL_WARNING},
                                        {"info", LEVEL_INFO},
                                        {"debug", LEVEL_DEBUG},
                                        {NULL, 0}};
    (void)row;
    int level;
    if (!read_one_of(words, text, &level, fault))
        return false;
    *(enum log_level *)field = (enum log_level)level;
    return true;
}

static bool read_log_form(const struct setting_row *row, const char *text, void *field,
                          struct fault *fault)
{
    static const struct word words[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}, {NULL, 0}};
    (void)row;
    int form;
    if (!read_one_of(words, text, &form, fault))
        return false;
    *(enum log_form *)field = (enum log_form)form;
    return true;
}

static bool read_facility(const struct setting_row *row, const char *text, void *field,
                          struct fault *fault)
{
    /* syslog(3), but for kern, which no process may use. */
    static const struct word words[] = {{"mail", LOG_MAIL},         {"daemon", LOG_DAEMON},
                                        {"user", LOG_USER},         {"auth", LOG_AUTH},
                                        {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
                                        {"ftp", LOG_FTP},           {"lpr", LOG_LPR},
                                        {"news", LOG_NEWS},         {"syslog", LOG_SYSLOG},
                                        {"uucp", LOG_UUCP},         {"local0", LOG_LOCAL0},
                                        {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
                                        {"local3", LOG_LOCAL3},     {"local4", LOG_LOCAL4},
                                        {"local5", LOG_LOCAL5},     {"local6", LOG_LOCAL6},
                                        {"local7", LOG_LOCAL7},     {NULL, 0}};
    (void)row;
    return read_one_of(words, text, field, fault);
}

static bool keep_text(const char *text, void *field, struct fault *fault)
{
    char *copy = strdup(text);
    if (!copy)
        fault_set(fault, "out of memory");
    *(char **)field = copy;
    return copy;
}

static bool read_list(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    (void)row;
    return keep_text(text, field, fault);
}

static bool is_graphic(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool read_delimiters(const struct setting_row *row, const char *text, void *field,
                            struct fault *fault)
{
    (void)row;
    if (!is_graphic(text))
        return fault_value(fault, text, "holds white space or what is not ASCII");
    if (strchr(text, '@'))
        return fault_value(fault, text, "holds '@', which ends the local part");
    return keep_text(text, field, fault);
}

static bool check_length(const struct setting_row *row, const char *text, struct fault *fault)
{
    size_t length = strlen(text);
    if (length >= (size_t)row->min && length <= (size_t)row->max)
        return true;
    if (length == 0)
        fault_set(fault, "must not be empty");
    else
        fault_set(fault, "has %zu bytes, more than %lld", length, (long long)row->max);
    return false;
}

static bool read_word(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    if (!is_graphic(text))
        return fault_value(fault, text, "holds a space, or what is not printable ASCII");
    return check_length(row, text, fault) && keep_text(text, field, fault);
}

static bool read_path(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    if (text[0] != '/' && text[0] != '\0')
        return fault_value(fault, text, "is not an absolute path");
    return check_length(row, text, fault) && keep_text(text, field, fault);
}

static bool read_endpoint_or_none(const struct setting_row *row, const char *text, void *field,
                                  struct fault *fault)
{
    (void)row;
    return endpoint_parse(text, field, fault);
}

static bool read_endpoint(const struct setting_row *row, const char *text, void *field,
                          struct fault *fault)
{
    if (text[0] == '\0')
        return fault_set(fault, "must not be empty: unix:/path or inet:host:port"), false;
    return read_endpoint_or_none(row, text, field, fault);
}

static bool read_unix_endpoint(const struct setting_row *row, const char *text, void *field,
                               struct fault *fault)
{
    const struct endpoint *endpoint = field;
    if (text[0] == '\0')
        return fault_set(fault, "must not be empty: unix:/path"), false;
    if (!read_endpoint_or_none(row, text, field, fault))
        return false;
    return endpoint->kind == ENDPOINT_UNIX ||
           fault_value(fault, text, "is not unix:/path, and nothing else is allowed here");
}

static bool same_endpoint(const void *a, const void *b)
{
    char a_text[ENDPOINT_TEXT_MAX], b_text[ENDPOINT_TEXT_MAX];
    endpoint_print(a, a_text, sizeof a_text);
    endpoint_print(b, b_text, sizeof b_text);
    return strcmp(a_text, b_text) == 0;
}

static bool read_mode(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    unsigned mode = 0;
    size_t digits = strspn(text, "01234567");
    if (digits == 0 || text[digits] != '\0' || digits > 4)
        return fault_value(fault, text, "is not a mode (octal digits, such as 0660)");
    for (const char *digit = text; *digit; digit++)
        mode = 8 * mode + (unsigned)(*digit - '0');
    if (mode < (unsigned)row->min || mode > (unsigned)row->max) {
        fault_set(fault, "\"%s\" is not between %04o and %04o", text, (unsigned)row->min,
                  (unsigned)row->max);
        return false;
    }
    *(unsigned *)field = mode;
    return true;
}

static bool read_bounded(const struct setting_row *row, const char *text, unsigned *number,
                         struct fault *fault)
{
    uint64_t value;
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
        return fault_value(fault, text, "is not a number");
    if (!text_to_number(text, (uint64_t)row->max, &value) || value < (uint64_t)row->min) {
        fault_set(fault, "\"%.40s\" is not between %lld and %lld", text, (long long)row->min,
                  (long long)row->max);
        return false;
    }
    *number = (unsigned)value;
    return true;
}

static bool read_number(const struct setting_row *row, const char *text, void *field,
                        struct fault *fault)
{
    return read_bounded(row, text, field, fault);
}

static bool read_time(const char *text, int64_t min, int64_t max, int64_t *ms, struct fault *fault)
{
    if (!duration_parse(text, ms))
        return fault_value(fault, text, "is not a time (number with ms, s, m, h, d or w)");
    if (*ms >= min && *ms <= max)
        return true;
    char least[DURATION_TEXT_MAX], most[DURATION_TEXT_MAX];
    duration_print(min, least, sizeof least);
    duration_print(max, most, sizeof most);
    fault_set(fault, "\"%.40s\" is not between %s and %s", text, least, most);
    return false;
}

static bool read_time_ms(const struct setting_row *row, const char *text, void *field,
                         struct fault *fault)
{
    return read_time(text, row->min, row->max, field, fault);
}

static bool read_time_whole(const struct setting_row *row, const char *text, void *field,
                            struct fault *fault)
{
    int64_t ms;
    if (!read_time(text, row->min, row->max, &ms, fault))
        return false;
    if (ms % 1000 != 0)
        return fault_value(fault, text, "is not a whole number of seconds");
    *(int64_t *)field = ms;
    return true;
}

static bool read_time_s(const struct setting_row *row, const char *text, void *field,
                        struct fault *fault)
{
    if (!read_time_whole(row, text, field, fault))
        return false;
    *(int64_t *)field /= 1000;
    return true;
}

static bool read_rate(const struct setting_row *row, const char *text, void *field,
                      struct fault *fault)
{
    struct settings_rate rate = {0};
    const char *slash = strchr(text, '/');
    char count[32] = "";
    int64_t window_ms;
    if (strcmp(text, "0") == 0)
        return true;
    if (!slash || slash == text || (size_t)(slash - text) >= sizeof count)
        return fault_value(fault, text, "is not a rate (such as 20/10m, or 0 for none)");
    memcpy(count, text, (size_t)(slash - text));
    /* A window longer than a day would judge today's mass deletion by yesterday's calm. */
    if (!read_bounded(row, count, &rate.count, fault) ||
        !read_time(slash + 1, 1000, INT64_C(86400000), &window_ms, fault)) {
        fault_within(fault, "\"%.40s\"", text);
        return false;
    }
    if (window_ms % 1000 != 0)
        return fault_value(fault, text, "is not over a whole number of seconds");
    rate.window_s = window_ms / 1000;
    *(struct settings_rate *)field = rate;
    return true;
}

static bool same_rate(const void *a, const void *b)
{
    const struct settings_rate *x = a, *y = b;
    return x->count == y->count && x->window_s == y->window_s;
}

/* A reply may be continued over lines: white space of any kind and length is one space. */
static bool read_reply(const struct setting_row *row, const char *text, void *field,
                       struct fault *fault)
{
    char *copy = strdup(text);
    (void)row;
    if (!copy)
        return fault_set(fault, "out of memory"), false;
    char *to = copy;
    for (const char *from = text; *from; from++) {
        bool blank = *from == ' ' || *from == '\t';
        if (!blank || to == copy || to[-1] != ' ')
            *to++ = blank ? ' ' : *from;
    }
    *to = '\0';
    bool good = reply_setting_parse(copy, field, fault);
    free(copy);
    return good;
}

static bool same_reply(const void *a, const void *b)
{
    const struct reply_setting *x = a, *y = b;
    return x->pass == y->pass && strcmp(x->code, y->code) == 0 &&
           strcmp(x->enhanced, y->enhanced) == 0 && strcmp(x->text, y->text) == 0;
}

static bool read_networks(const struct setting_row *row, const char *text, void *field,
                          struct fault *fault)
{
    (void)row;
    return networks_parse(text, field, fault);
}

/* Nobody can look into a list of networks. */
static bool same_networks(const void *a, const void *b)
{
    return *(struct networks *const *)a == NULL && *(struct networks *const *)b == NULL;
}

static bool same_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b) == 0;
}

static void end_text(void *field)
{
    free(*(char **)field);
}

static void end_networks(void *field)
{
    networks_free(*(struct networks **)field);
}

static const struct value_kind kinds[VALUE_TYPE_COUNT] = {
    [VALUE_ROLE] = {read_role, NULL, NULL, sizeof(enum role)},
    [VALUE_LIST] = {read_list, same_text, end_text, sizeof(char *)},
    [VALUE_DELIMITERS] = {read_delimiters, same_text, end_text, sizeof(char *)},
    [VALUE_WORD] = {read_word, same_text, end_text, sizeof(char *)},
    [VALUE_PATH] = {read_path, same_text, end_text, sizeof(char *)},
    [VALUE_UNIX_ENDPOINT] = {read_unix_endpoint, same_endpoint, NULL, sizeof(struct endpoint)},
    [VALUE_ENDPOINT] = {read_endpoint, same_endpoint, NULL, sizeof(struct endpoint)},
    [VALUE_ENDPOINT_NONE] = {read_endpoint_or_none, same_endpoint, NULL, sizeof(struct endpoint)},
    [VALUE_MODE] = {read_mode, NULL, NULL, sizeof(unsigned)},
    [VALUE_NUMBER] = {read_number, NULL, NULL, sizeof(unsigned)},
    [VALUE_TIME_MS] = {read_time_ms, NULL, NULL, sizeof(int64_t)},
    [VALUE_TIME_WHOLE] = {read_time_whole, NULL, NULL, sizeof(int64_t)},
    [VALUE_TIME_S] = {read_time_s, NULL, NULL, sizeof(int64_t)},
    [VALUE_RATE] = {read_rate, same_rate, NULL, sizeof(struct settings_rate)},
    [VALUE_REPLY] = {read_reply, same_reply, NULL, sizeof(struct reply_setting)},
    [VALUE_NETWORKS] = {read_networks, same_networks, end_networks, sizeof(struct networks *)},
    [VALUE_BOOLEAN] = {read_boolean, NULL, NULL, sizeof(bool)},
    [VALUE_LEVEL] = {read_level, NULL, NULL, sizeof(enum log_level)},
    [VALUE_LOG_FORM] = {read_log_form, NULL, NULL, sizeof(enum log_form)},
    [VALUE_FACILITY] = {read_facility, NULL, NULL, sizeof(int)},
};

bool value_read(const struct setting_row *row, const char *text, struct settings *settings,
                struct fault *fault)
{
    return kinds[row->type].read(row, text, (char *)settings + row->offset, fault);
}

bool value_same(const struct setting_row *row, const struct settings *a, const struct settings *b)
{
    const struct value_kind *kind = &kinds[row->type];
    const void *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;
    return kind->same ? kind->same(x, y) : memcmp(x, y, kind->size) == 0;
}

void value_free(const struct setting_row *row, struct settings *settings)
{
    const struct value_kind *kind = &kinds[row->type];
    void *field = (char *)settings + row->offset;
    if (kind->end)
        kind->end(field);
    memset(field, 0, kind->size);
}
