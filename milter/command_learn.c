#include "milter/command_learn.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shared/address.h"
#include "shared/clock.h"
#include "shared/text.h"

enum {
    OWNER_MAX = 64,
    OWNER_PATIENCE_MS = 30000, /* after its last batch: rcptctl may have been killed */
    LINE_SHOWN = 60,           /* bytes of a bad one */
};

/* Who learns. */
static struct {
    pthread_mutex_t lock; /* a leaf; covers what follows */
    char owner[OWNER_MAX];
    bool busy;             /* a batch of his is under way */
    struct deadline until; /* else: from then on anybody may */
} turn = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool turn_take(const char *owner)
{
    pthread_mutex_lock(&turn.lock);
    bool mine = strcmp(owner, turn.owner) == 0;
    bool taken = !turn.busy && (mine || deadline_passed(turn.until));
    if (taken) {
        turn.busy = true;
        struct text text = text_on(turn.owner, sizeof turn.owner);
        text_add(&text, owner);
    }
    pthread_mutex_unlock(&turn.lock);
    return taken;
}

static void turn_drop(bool ended)
{
    pthread_mutex_lock(&turn.lock);
    turn.busy = false;
    turn.until = deadline_in_ms(ended ? 0 : OWNER_PATIENCE_MS);
    pthread_mutex_unlock(&turn.lock);
}

/* ---- one line ---- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The length of the first word. As in postmap(1), and texthash_table.c: a blank in quotes belongs
 * to it. */
static size_t word_length(const char *line, size_t length)
{
    bool quoted = false;
    size_t at = 0;
    for (; at < length && (quoted || !is_blank(line[at])); at++) {
        if (line[at] == '\\' && at + 1 < length)
            at++;
        else if (line[at] == '"')
            quoted = !quoted;
    }
    return at;
}

/* @domain, in the spelling of address_probes. */
static bool parse_catch_all(const char *word, size_t length, struct address *address)
{
    char whole[1 + 1 + ADDRESS_DOMAIN_MAX + 1];
    struct text text = text_on(whole, sizeof whole);
    text_add_char(&text, 'x');
    text_add_bytes(&text, word, length);
    return !text.overflow && address_parse(whole, text.length, address) == ADDRESS_OK;
}

enum learn_line command_learn_line(const char *line, size_t length, struct digest *key)
{
    struct address address;
    while (length > 0 && is_blank(*line)) {
        line++;
        length--;
    }
    if (length == 0 || *line == '#')
        return LEARN_NOTHING;
    length = word_length(line, length);
    const char *canonical = address.key;
    if (*line == '@') {
        if (!parse_catch_all(line, length, &address))
            return LEARN_BAD;
        canonical = address.key + 1; /* without the x */
    } else if (address_parse(line, length, &address) != ADDRESS_OK) {
        return LEARN_BAD;
    }
    *key = digest_shared(canonical, strlen(canonical));
    return LEARN_KEY;
}

/* ---- a batch ---- */

struct batch {
    struct digest *keys;
    size_t count;
    uint64_t line; /* the number of the next one */
    uint64_t bad;
    char told[LEARN_BAD_SHOWN * (4 * LINE_SHOWN + 64)]; /* about bad lines */
    struct text about_bad;
};

/* Windows editors put it before the first line; an address may begin with it, and none does. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static void tell_bad(struct batch *batch, const char *line, size_t length)
{
    if (batch->bad++ >= LEARN_BAD_SHOWN)
        return;
    while (length > 0 && line[length - 1] == '\r')
        length--;
    bool cut = length > LINE_SHOWN;
    text_addf(&batch->about_bad, "line %" PRIu64 ": ", batch->line);
    text_add_printable(&batch->about_bad, line, cut ? LINE_SHOWN : length);
    text_add(&batch->about_bad, cut ? "...\n" : "\n");
}

static void read_lines(struct batch *batch, const char *text, size_t length)
{
    const char *end = text + length;
    if (batch->line == 1 && strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
        text += strlen(BYTE_ORDER_MARK);
    for (; text < end; batch->line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline ? newline : end) - text);
        switch (command_learn_line(text, size, &batch->keys[batch->count])) {
        case LEARN_KEY:
            batch->count++;
            break;
        case LEARN_BAD:
            tell_bad(batch, text, size);
            break;
        case LEARN_NOTHING:
            break;
        }
        text += size + 1;
    }
}

static size_t count_lines(const char *text, size_t length)
{
    size_t lines = 1;
    for (const char *end = text + length; (text = memchr(text, '\n', (size_t)(end - text))); text++)
        lines++;
    return lines;
}

static int learn(struct command_context *context, uint64_t first_line, const char *text)
{
    struct fault fault = {{0}};
    struct known_good *store = context->snapshot->known_good;
    size_t length = strlen(text);
    struct batch batch = {.line = first_line};
    batch.about_bad = text_on(batch.told, sizeof batch.told);
    batch.keys = malloc(count_lines(text, length) * sizeof *batch.keys);
    if (!store || !batch.keys) {
        free(batch.keys);
        fprintf(context->out, "the daemon is out of memory\n");
        return EXIT_UNAVAILABLE;
    }
    read_lines(&batch, text, length);
    bool stored = known_good_learn(store, batch.keys, batch.count, clock_wall_s(), &fault);
    free(batch.keys);
    if (!stored) {
        fprintf(context->out, "%s\n", fault.text);
        return EXIT_UNAVAILABLE;
    }
    fprintf(context->out, "stored %zu, bad %" PRIu64 "\n%s", batch.count, batch.bad, batch.told);
    return 0;
}

int command_learn(struct command_context *context, int argc, char **argv)
{
    uint64_t line = 0;
    bool ends = argc == 3 && strcmp(argv[2], "end") == 0;
    bool batch = argc == 4 && text_to_number(argv[2], UINT64_MAX, &line);
    if ((!ends && !batch) || argv[1][0] == '\0' || strlen(argv[1]) >= OWNER_MAX) {
        fprintf(context->out, "this is not how this daemon is told to learn: rcptctl is of another "
                              "version\n");
        return EXIT_USAGE;
    }
    if (!turn_take(argv[1])) {
        fprintf(context->out, LEARN_BUSY);
        return EXIT_UNAVAILABLE;
    }
    int code = ends ? 0 : learn(context, line, argv[3]);
    turn_drop(ends);
    return code;
}

bool command_learn_asked(const char *request)
{
    return strcmp(request, "learn") == 0;
}
