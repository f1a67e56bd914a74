/* What comes on metrics_listen, in whatever pieces. */
#include "tests/fuzz/fuzz.h"

#include "milter/metrics_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size = size < METRICS_REQUEST_MAX ? size : METRICS_REQUEST_MAX;
    struct metrics_request whole = {0}, step = {0};
    for (size_t length = 0; length <= size; length++) {
        /* A copy that ends where it ends. */
        char *bytes = malloc(length + (length == 0));
        assert(bytes);
        memcpy(bytes, data, length);
        step = metrics_request_read(bytes, length);
        free(bytes);
        assert(metrics_status_text(step.status)[0] != '\0');
        if (step.status != 0)
            break;
        assert(!step.head);
        length += size > 512 ? 97 : 0; /* long ones in longer pieces */
    }
    whole = metrics_request_read((const char *)data, size);
    /* Once it is well it stays well; what is refused early is refused as a whole. */
    if (step.status == 200)
        assert(whole.status == 200 || memchr(data, '\0', size));
    if (whole.status == 200)
        assert(memmem(data, size, "/metrics", 8) && (data[0] == 'G' || data[0] == 'H'));
    if (size == METRICS_REQUEST_MAX)
        assert(whole.status != 0);
    return 0;
}
