/*
 * access - what an access_maps entry may say, in access(5) and transport(5) words.
 *
 *   OK                       pass                       (also a number without text, as in
 * access(5)) DUNNO                    as if there were no entry REJECT text              554 5.7.1
 * text DEFER text               450 4.7.1 text 4xx|5xx [x.y.z] text     that; without x.y.z 4.7.1
 * or 5.7.1 error:[x.y.z] text       5.y.z (or none): 550; 4.y.z: 450       (transport(5), error(8))
 *
 * Words in any case. Everything else is no action. Pure, any thread.
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
