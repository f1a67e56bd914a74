#include "db/memcache_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool file_check(int fd, const char *path, struct fault *fault)
{
    struct stat file;
    if (fstat(fd, &file) < 0)
        fault_set(fault, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(file.st_mode))
        fault_set(fault, "%s is not a plain file", path);
    else if (file.st_mode & (S_IROTH | S_IWOTH))
        fault_set(fault, "%s may be %s by everybody: take that away (chmod o-rw)", path,
                  file.st_mode & S_IROTH ? "read" : "changed");
    else
        return true;
    return false;
}

/* As much as there is, up to size. -1 with errno. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(fd, bytes + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

static bool secret_check(const char *path, ssize_t length, struct fault *fault)
{
    if (length < 0)
        fault_set(fault, "%s: %s", path, strerror(errno));
    else if (length < SECRET_MIN)
        fault_set(fault, "%s holds %zd bytes, too few for a secret: at least %d", path, length,
                  SECRET_MIN);
    else if (length > SECRET_MAX)
        fault_set(fault, "%s holds more than %d bytes, which looks like another file", path,
                  SECRET_MAX);
    else
        return true;
    return false;
}

bool seal_load(struct seal *seal, const char *path, struct fault *fault)
{
    char secret[SECRET_MAX + 2]; /* a newline, and one more to see that it is too long */
    *seal = (struct seal){.on = false};
    if (*path == '\0')
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        fault_set(fault, "%s: %s", path, strerror(errno));
        return false;
    }
    bool good = file_check(fd, path, fault);
    if (good) {
        ssize_t length = read_all(fd, secret, sizeof secret);
        if (length > 0 && secret[length - 1] == '\n')
            length--;
        good = secret_check(path, length, fault);
        if (good)
            *seal = (struct seal){.on = true, .key = digest_key_from(secret, (size_t)length)};
        explicit_bzero(secret, sizeof secret);
    }
    close(fd);
    return good;
}

size_t seal_close(const struct seal *seal, const char *wire_key, const void *value, size_t length,
                  char sealed[SEALED_MAX])
{
    if (length > SEALED_MAX - SEAL_BYTES)
        return 0;
    struct digest mark = digest_keyed(&seal->key, wire_key, value, length);
    _Static_assert(sizeof mark.bytes == SEAL_BYTES, "the seal is one digest");
    memcpy(sealed, value, length);
    memcpy(sealed + length, mark.bytes, SEAL_BYTES);
    return length + SEAL_BYTES;
}

bool seal_open(const struct seal *seal, const char *wire_key, const void *sealed, size_t length,
               size_t *value_length)
{
    struct digest found;
    if (length < SEAL_BYTES)
        return false;
    length -= SEAL_BYTES;
    memcpy(found.bytes, (const char *)sealed + length, SEAL_BYTES);
    struct digest mark = digest_keyed(&seal->key, wire_key, sealed, length);
    if (!digest_equal(&mark, &found))
        return false;
    *value_length = length;
    return true;
}
