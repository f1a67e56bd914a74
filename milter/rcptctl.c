/* rcptctl: asks the daemon; without one, `lookup` reads the configuration and asks the directory
 * itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/memcache.h"
#include "db/mysql_client.h"
#include "milter/command.h"
#include "milter/command_learn.h"
#include "milter/control.h"
#include "milter/learn.h"
#include "milter/version.h"
#include "shared/digest.h"
#include "shared/log.h"

static void usage(FILE *out)
{
    size_t count;
    const struct command *rows = command_rows(&count);
    fprintf(out, "usage: rcptctl [-s socket] [-c file] command [argument]...\n\n");
    for (size_t i = 0; i < count; i++) {
        char words[80];
        snprintf(words, sizeof words, "%s %s", rows[i].name, rows[i].arguments);
        fprintf(out, "  %-42s %s\n", words, rows[i].help);
    }
}

/* -s: a path, with or without unix: */
static bool read_socket(const char *given, struct endpoint *socket, struct fault *fault)
{
    char text[ENDPOINT_TEXT_MAX];
    snprintf(text, sizeof text, "%s%s", given[0] == '/' ? "unix:" : "", given);
    if (!endpoint_parse(text, socket, fault))
        return false;
    if (socket->kind != ENDPOINT_UNIX)
        fault_set(fault, "-s %s: the control socket is a unix socket", given);
    return socket->kind == ENDPOINT_UNIX;
}

/* control_socket of the configuration. A daemon runs on while its file is being mended, and not
 * everybody may read it: where that fails the default is tried. */
static bool find_socket(const char *config_path, struct endpoint *socket)
{
    struct fault fault = {{0}};
    struct settings *settings = settings_load(config_path, NULL, 0, &fault);
    bool read = settings != NULL;
    if (!read) {
        fprintf(stderr, "rcptctl: %s - trying the default control_socket\n", fault.text);
        settings = settings_load(NULL, NULL, 0, &fault);
    }
    if (settings)
        *socket = settings->control_socket;
    settings_free(settings);
    return read;
}

static int run_alone(const struct command *command, const char *config_path, int argc, char **argv)
{
    struct fault fault = {{0}};
    const struct app_options options = {.config_path = config_path, .foreground = true};
    if (!digest_init() || !memcache_library_is_safe(&fault) || !mysql_client_library_init(&fault)) {
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EXIT_UNAVAILABLE;
    }
    struct command_context context = {.snapshot = snapshot_open(&options, false, &fault),
                                      .out = stdout};
    if (!context.snapshot) {
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EXIT_CONFIG;
    }
    int code = command->run(&context, argc, argv);
    snapshot_close(context.snapshot);
    return code;
}

struct command_line {
    const char *config_path;
    const char *socket; /* -s, or NULL */
};

static void parse_options(int argc, char **argv, struct command_line *line)
{
    /* "+": what follows the command is the command's. */
    for (int option; (option = getopt(argc, argv, "+s:c:V")) != -1;) {
        switch (option) {
        case 's':
            line->socket = optarg;
            break;
        case 'c':
            line->config_path = optarg;
            break;
        case 'V':
            printf("rcptctl %s\n", VERSION);
            exit(0);
        default:
            usage(stderr);
            exit(EXIT_USAGE);
        }
    }
}

static int learn(const struct command_line *line, const char *path, int argc, char **argv)
{
    bool configured = strcmp(line->config_path, SETTINGS_DEFAULT_PATH) != 0;
    const struct learn_place place = {
        .path = path, .config = configured ? line->config_path : NULL, .socket = line->socket};
    return learn_run(&place, argc, argv);
}

static int run(const struct command_line *line, const struct command *command, int argc,
               char **argv)
{
    struct fault fault = {{0}};
    struct endpoint socket = {0};
    bool configured = true;
    int code;
    if (line->socket && !read_socket(line->socket, &socket, &fault)) {
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EXIT_USAGE;
    }
    if (!line->socket)
        configured = find_socket(line->config_path, &socket);
    if (command->run == command_learn) {
        code = learn(line, socket.path, argc, argv);
        return code == EXIT_NOT_RUNNING && !configured ? EXIT_CONFIG : code;
    }
    switch (control_ask(socket.path, argc, argv, &code, &fault)) {
    case CONTROL_ANSWERED:
        return code;
    case CONTROL_NOT_RUNNING:
        if (!configured)
            return EXIT_CONFIG;
        if (command->works_alone)
            return run_alone(command, line->config_path, argc, argv);
        fprintf(stderr, "rcptctl: rcpt-milter is not running: %s\n", fault.text);
        return EXIT_NOT_RUNNING;
    case CONTROL_FAILED:
        break;
    }
    fprintf(stderr, "rcptctl: %s\n", fault.text);
    return EXIT_NO_PERMISSION;
}

int main(int argc, char **argv)
{
    struct command_line line = {.config_path = SETTINGS_DEFAULT_PATH};
    parse_options(argc, argv, &line);
    const struct command *command = optind < argc ? command_find(argv[optind]) : NULL;
    if (!command) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return run(&line, command, argc - optind, argv + optind);
}
