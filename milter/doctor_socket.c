#include "milter/doctor_socket.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/text.h"

enum { GROUPS_MAX = 256, PASSWD_MAX = 16384 };

struct user {
    uid_t uid;
    gid_t groups[GROUPS_MAX];
    int count;
};

void doctor_path_resolve(const char *path, char resolved[DOCTOR_PATH_MAX])
{
    char directory[DOCTOR_PATH_MAX];
    struct text text = text_on(directory, sizeof directory);
    const char *slash = strrchr(path, '/');
    text_add_bytes(&text, path, slash ? (size_t)(slash - path) : 0);
    char *real = slash ? realpath(text.length > 0 ? directory : "/", NULL) : NULL;
    struct text out = text_on(resolved, DOCTOR_PATH_MAX);
    if (real)
        text_addf(&out, "%s%s", strcmp(real, "/") == 0 ? "" : real, slash);
    else
        text_add(&out, path);
    free(real);
}

static bool find_user(const char *name, struct user *user)
{
    char buffer[PASSWD_MAX];
    struct passwd entry, *found;
    if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        return false;
    user->uid = entry.pw_uid;
    user->count = GROUPS_MAX;
    return getgrouplist(name, entry.pw_gid, user->groups, &user->count) >= 0;
}

static bool in_group(const struct user *user, gid_t group)
{
    for (int i = 0; i < user->count; i++)
        if (user->groups[i] == group)
            return true;
    return false;
}

/* `bits` are those of "other": 1 to pass through, 2 to write. */
static bool may(const struct user *user, const struct stat *status, mode_t bits)
{
    if (user->uid == 0)
        return true;
    if (status->st_uid == user->uid)
        bits <<= 6;
    else if (in_group(user, status->st_gid))
        bits <<= 3;
    return (status->st_mode & bits) == bits;
}

/* Where the walk begins: smtpd is in the queue directory already, chrooted or not. */
static size_t walk_start(const struct doctor_facts *facts)
{
    size_t length = strlen(facts->queue);
    bool below = length > 0 && strncmp(facts->our_socket, facts->queue, length) == 0 &&
                 facts->our_socket[length] == '/';
    return below ? length + 1 : 1;
}

/* False: there is nothing more to see; the state is set. */
static bool look_at(struct doctor_socket *socket, const struct user *user, mode_t bits)
{
    struct stat status;
    if (stat(socket->path, &status) != 0) {
        socket->state =
            errno == ENOENT || errno == ENOTDIR ? DOCTOR_SOCKET_MISSING : DOCTOR_SOCKET_UNKNOWN;
        return false;
    }
    bool last = bits == 2;
    socket->state = last && !S_ISSOCK(status.st_mode) ? DOCTOR_SOCKET_MISSING
                    : may(user, &status, bits)        ? DOCTOR_SOCKET_FINE
                                                      : DOCTOR_SOCKET_CLOSED;
    return socket->state == DOCTOR_SOCKET_FINE;
}

void doctor_socket_look(struct doctor_facts *facts)
{
    struct user user;
    struct doctor_socket *socket = &facts->socket;
    const char *path = facts->our_socket;
    socket->state = DOCTOR_SOCKET_UNKNOWN;
    if (facts->settings->milter_socket.kind != ENDPOINT_UNIX ||
        !find_user(postconf_value(facts->postfix, NULL, "mail_owner"), &user))
        return;
    for (const char *at = path + walk_start(facts); (at = strchr(at, '/')); at++) {
        struct text prefix = text_on(socket->path, sizeof socket->path);
        text_add_bytes(&prefix, path, (size_t)(at - path));
        if (!look_at(socket, &user, 1))
            return;
    }
    struct text whole = text_on(socket->path, sizeof socket->path);
    text_add(&whole, path);
    look_at(socket, &user, 2);
}
