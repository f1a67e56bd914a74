/*
 * access - what an access_maps entry may say, in access(5) and transport(5) words.
 *
 *   OK                       pass; so does a number without text, as in access(5)
 *   DUNNO                    as if there were no entry
 *   REJECT [5.y.z] [text]    554, 5.7.1
 *   DEFER [4.y.z] [text]     450, 4.7.1
 *   4xx|5xx [x.y.z] [text]   that; 4.7.1 or 5.7.1
 *   error:[x.y.z] [text]     550 for 5.y.z, 450 for 4.y.z; without either 550 5.0.0, as error(8)
 *
 * The second column's x.y.z stands where the entry names none. Words in any case. The text is taken
 * as it is: a `$` in it is a dollar. Without a text it is "Access denied", as in Postfix. An x.y.z
 * of another class than the code, and everything else, is no action. Pure, any thread.
 */
#ifndef DB_ACCESS_H
#define DB_ACCESS_H

#include "config/reply_setting.h"
#include "shared/fault.h"

enum access_result {
    ACCESS_BAD = 0, /* no action: a fault says why, and the recipient is UNAVAILABLE */
    ACCESS_NONE,    /* DUNNO: go on */
    ACCESS_REPLY,   /* *reply is set */
};

enum access_result access_parse(const char *value, struct reply_setting *reply,
                                struct fault *fault);

#endif
