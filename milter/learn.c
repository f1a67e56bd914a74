#include "milter/learn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "milter/command.h"
#include "milter/learn_input.h"
#include "shared/clock.h"
#include "shared/text.h"

enum { COMMAND_MAX = 8192 }; /* bytes of the command that goes on */

static bool read_skip(const char *word, uint64_t *skip)
{
    return word && text_to_number(word, UINT64_MAX - 1, skip);
}

static bool read_words(struct learning *learning, int argc, char **argv)
{
    bool from = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--skip") == 0) {
            if (!read_skip(argv[++i], &learning->skip))
                return false;
            continue;
        }
        from = strcmp(argv[i], "--from") == 0;
        i += from;
        bool option = i < argc && argv[i][0] == '-' && argv[i][1] != '\0';
        if (learning->source || i == argc || option || argv[i][0] == '\0')
            return false;
        learning->source = argv[i];
        if (!from)
            continue;
        const char *map = argv[i] + (strncmp(argv[i], "proxy:", 6) == 0 ? 6 : 0);
        if (strncmp(map, "mysql:", 6) != 0 || map[6] == '\0')
            return false;
        learning->map = map + 6;
    }
    return learning->source;
}

static int usage(void)
{
    fprintf(stderr, "usage: rcptctl learn [--skip N] FILE | - | --from mysql:/path.cf\n");
    return EXIT_USAGE;
}

/* As one word of sh(1). */
static void add_word(struct text *text, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-:@%+=,";
    bool quote = word[strspn(word, plain)] != '\0';
    text_add(text, quote ? " '" : " ");
    for (; *word; word++) {
        if (*word == '\'')
            text_add(text, "'\\'");
        text_add_char(text, *word);
    }
    text_add(text, quote ? "'" : "");
}

static void tell_how_to_go_on(const struct learning *learning)
{
    char command[COMMAND_MAX], line[COMMAND_MAX];
    struct text text = text_on(command, sizeof command), safe = text_on(line, sizeof line);
    text_add(&text, "rcptctl");
    if (learning->place->config) {
        text_add(&text, " -c");
        add_word(&text, learning->place->config);
    }
    if (learning->place->socket) {
        text_add(&text, " -s");
        add_word(&text, learning->place->socket);
    }
    text_addf(&text, " learn --skip %" PRIu64 "%s", learning->safe, learning->map ? " --from" : "");
    add_word(&text, learning->source);
    text_add_printable(&safe, command, text.length);
    fprintf(stderr, "rcptctl: %" PRIu64 " recipients are safely stored; to go on: %s\n",
            learning->stored, line);
}

static int finish(struct learning *learning, bool whole)
{
    progress_erase(&learning->progress);
    if (learning->bad > learning->bad_told)
        fprintf(stderr, "rcptctl: and %" PRIu64 " more such lines\n",
                learning->bad - learning->bad_told);
    if (!whole) {
        fprintf(stderr, "rcptctl: %s\n", learning->why.text);
        if (learning->seen > 0 || learning->code > LEARN_SIGNAL_EXIT)
            tell_how_to_go_on(learning);
        return learning->code;
    }
    if (learning->seen < learning->skip)
        fprintf(stderr, "rcptctl: the input has %" PRIu64 " lines only\n", learning->seen);
    printf("learned %" PRIu64 " recipients in %" PRId64 " s\n", learning->stored,
           (clock_mono_ms() - learning->progress.started_ms) / 1000);
    return learning->bad > 0 ? EX_DATAERR : 0;
}

int learn_run(const struct client_place *place, int argc, char **argv)
{
    struct learning learning = {.place = place};
    if (!read_words(&learning, argc, argv))
        return usage();
    int found = client_find_socket(place, &learning.socket);
    if (found == EXIT_USAGE)
        return found;
    bool whole = learn_start(&learning) && learn_send(&learning) &&
                 (learning.map ? learn_read_map(&learning) : learn_read_file(&learning)) &&
                 (learning.lines == 0 || learn_send(&learning));
    learn_end(&learning);
    int code = finish(&learning, whole);
    return code == EXIT_NOT_RUNNING && found != 0 ? found : code;
}
