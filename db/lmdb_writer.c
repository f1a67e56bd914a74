#include "db/lmdb_writer.h"

#include "shared/log.h"

static void now_works(struct lmdb_writer *writer)
{
    if (!writer->works && writer->told)
        log_info("%s: works again after %.1f s", writer->name,
                 (double)(clock_mono_ms() - writer->broken_at_ms) / 1000);
    writer->works = writer->told = true;
    fault_clear(&writer->why);
}

static void now_broken(struct lmdb_writer *writer, const struct fault *why)
{
    if (writer->works || !writer->told) {
        writer->broken_at_ms = clock_mono_ms();
        log_error("%s: %s; %s; tried again every %lld s", writer->name, why->text, writer->broken,
                  (long long)(writer->retry_ms + 999) / 1000);
    }
    writer->works = false;
    writer->told = true;
    writer->why = *why;
    writer->retry = deadline_in_ms(writer->retry_ms);
}

bool lmdb_writer_tend(struct lmdb_writer *writer)
{
    struct fault why = {""};
    switch (lmdb_file_tend(writer->file, &why)) {
    case LMDB_BROKEN:
        now_broken(writer, &why);
        return false;
    case LMDB_EMPTIED:
        log_error("%s: %s: %s", writer->name, why.text, writer->emptied);
        writer->empties++;
        break;
    case LMDB_REPLACED:
        log_error("%s: %s", writer->name, why.text);
        break;
    case LMDB_WORKS:
        return true;
    }
    writer->works = writer->told = true;
    fault_clear(&writer->why);
    writer->renewed(writer->owner);
    return true;
}

void lmdb_writer_begin(struct lmdb_writer *writer)
{
    if (lmdb_writer_tend(writer))
        now_works(writer);
}

bool lmdb_writer_due(const struct lmdb_writer *writer)
{
    return writer->works || deadline_passed(writer->retry);
}

bool lmdb_writer_write(struct lmdb_writer *writer, const struct lmdb_batch *batch)
{
    struct fault why = {""};
    for (int tries = 0; tries < 2; tries++) {
        if (!lmdb_writer_tend(writer))
            return false;
        if (lmdb_file_edit(writer->file, batch, &why)) {
            now_works(writer);
            return true;
        }
    }
    now_broken(writer, &why);
    return false;
}

static size_t probe_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                         size_t length)
{
    (void)context, (void)item;
    value[0] = 0;
    return length == 0 ? 1 : 0;
}

/* Makes an entry that nobody has and removes it again, in one transaction. */
bool lmdb_writer_probe(struct lmdb_writer *writer)
{
    static const struct digest nobody[2];
    struct lmdb_batch batch = {.items = nobody,
                               .item_bytes = sizeof *nobody,
                               .count = 2,
                               .edit = probe_edit,
                               .deletes = true};
    return lmdb_writer_write(writer, &batch);
}
