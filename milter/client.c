#include "milter/client.h"

#include <stdio.h>

#include "config/settings.h"
#include "milter/command.h"

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

int client_find_socket(const struct client_place *place, struct endpoint *socket)
{
    struct fault fault = {{0}};
    if (place->socket) {
        if (read_socket(place->socket, socket, &fault))
            return 0;
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EXIT_USAGE;
    }
    struct settings *settings = settings_load(place->config_path, NULL, 0, &fault);
    int code = settings ? 0 : EXIT_CONFIG;
    if (!settings) {
        fprintf(stderr, "rcptctl: %s - trying the default control_socket\n", fault.text);
        settings = settings_load(NULL, NULL, 0, &fault);
    }
    if (settings)
        *socket = settings->control_socket;
    settings_free(settings);
    return code;
}
