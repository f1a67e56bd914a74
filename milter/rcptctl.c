/* rcptctl: asks the daemon; without one, `lookup` reads the configuration and asks the directory
 * itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/memcache.h"
#include "db/mysql_client.h"
#include "milter/client.h"
#include "milter/command.h"
#include "milter/control.h"
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

static void parse_options(int argc, char **argv, struct client_place *place)
{
    /* "+": what follows the command is the command's. */
    for (int option; (option = getopt(argc, argv, "+s:c:V")) != -1;) {
        switch (option) {
        case 's':
            place->socket = optarg;
            break;
        case 'c':
            place->config = place->config_path = optarg;
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

static int run(const struct client_place *place, const struct command *command, int argc,
               char **argv)
{
    struct fault fault = {{0}};
    struct endpoint socket = {0};
    if (command->client)
        return command->client(place, argc, argv);
    int found = client_find_socket(place, &socket), code;
    if (found == EXIT_USAGE)
        return found;
    switch (control_ask(socket.path, argc, argv, &code, &fault)) {
    case CONTROL_ANSWERED:
        return code;
    case CONTROL_NOT_RUNNING:
        if (found != 0)
            return found;
        if (command->works_alone)
            return run_alone(command, place->config_path, argc, argv);
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
    struct client_place place = {.config_path = SETTINGS_DEFAULT_PATH};
    parse_options(argc, argv, &place);
    const struct command *command = optind < argc ? command_find(argv[optind]) : NULL;
    if (!command) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return run(&place, command, argc - optind, argv + optind);
}
