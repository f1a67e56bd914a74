#include "milter/inspect_report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

enum { SENTENCE_MAX = 2048, LINE_MAX_BYTES = 4096 };

void inspect_begin(struct inspect_report *report, const char *parameter, const char *thing,
                   const char *path)
{
    struct fault fault; /* whoever reads the file for its own sake tells */
    report->parameter = parameter;
    report->thing = thing;
    report->conf = path ? conf_read(path, &fault) : NULL;
    report->findings_before = report->findings;
}

/* What came from a server or a file may hold anything. */
static void print_line(struct inspect_report *report, const char *line)
{
    char buffer[LINE_MAX_BYTES];
    struct text text = text_on(buffer, sizeof buffer);
    text_add_printable(&text, line, strlen(line));
    fprintf(report->out, "%s\n", buffer);
    fflush(report->out);
}

static void name_thing(const struct inspect_report *report, struct text *line)
{
    text_addf(line, "%s%s%s", report->parameter, report->thing ? " " : "",
              report->thing ? report->thing : "");
}

void inspect_end(struct inspect_report *report, const char *well)
{
    char buffer[LINE_MAX_BYTES];
    struct text line = text_on(buffer, sizeof buffer);
    if (well && report->findings == report->findings_before) {
        text_add(&line, "ok ");
        name_thing(report, &line);
        if (well[0] != '\0')
            text_addf(&line, " (%s)", well);
        print_line(report, buffer);
    }
    for (size_t i = 0; i < report->said_count; i++)
        free(report->said[i]);
    free(report->said);
    report->said = NULL;
    report->said_count = 0;
    conf_free(report->conf);
    report->conf = NULL;
}

/* True the first time. */
static bool is_new(struct inspect_report *report, const char *sentence)
{
    for (size_t i = 0; i < report->said_count; i++)
        if (strcmp(report->said[i], sentence) == 0)
            return false;
    char **said = realloc(report->said, (report->said_count + 1) * sizeof *said);
    char *copy = strdup(sentence);
    if (said)
        report->said = said;
    if (said && copy)
        said[report->said_count++] = copy;
    else
        free(copy); /* it may then be said twice */
    return true;
}

static void find_sentence(void *context, const char *parameter, const char *sentence)
{
    struct inspect_report *report = context;
    char buffer[LINE_MAX_BYTES];
    struct text line = text_on(buffer, sizeof buffer);
    if (!is_new(report, sentence))
        return;
    const struct conf_entry *entry =
        parameter && report->conf ? conf_find(report->conf, parameter) : NULL;
    if (entry)
        text_addf(&line, "%s:%u: ", report->conf->path, entry->line);
    else if (parameter && report->conf)
        text_addf(&line, "%s: ", report->conf->path);
    else
        text_addf(&line, "%s: ", settings_where(report->settings, report->parameter));
    name_thing(report, &line);
    text_addf(&line, ": %s", sentence);
    print_line(report, buffer);
    report->findings++;
}

void inspect_find(struct inspect_report *report, const char *parameter, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    find_sentence(report, parameter, sentence);
}

void inspect_note(struct inspect_report *report, const char *format, ...)
{
    char buffer[LINE_MAX_BYTES], sentence[SENTENCE_MAX];
    struct text line = text_on(buffer, sizeof buffer);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    text_add(&line, "note ");
    name_thing(report, &line);
    text_addf(&line, ": %s", sentence);
    print_line(report, buffer);
}

struct judge inspect_judge(struct inspect_report *report)
{
    return (struct judge){.say = find_sentence, .context = report};
}
