#include "db/directory.h"

#include <string.h>

const char *answer_name(enum answer answer)
{
    switch (answer) {
    case FOUND:
        return "FOUND";
    case ABSENT:
        return "ABSENT";
    case UNAVAILABLE:
        break;
    }
    return "UNAVAILABLE";
}

void finding_set_found(struct finding *finding, const char *value)
{
    size_t length = value ? strlen(value) : 0;
    if (length >= sizeof finding->value)
        length = sizeof finding->value - 1;
    if (length > 0)
        memcpy(finding->value, value, length);
    finding->value[length] = '\0';
    finding->answer = FOUND;
    finding->late = false;
    finding->lagging = false;
    fault_clear(&finding->why);
}

void finding_set_absent(struct finding *finding)
{
    finding->answer = ABSENT;
    finding->late = false;
    finding->lagging = false;
    finding->value[0] = '\0';
    fault_clear(&finding->why);
}
