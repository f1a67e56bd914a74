/*
 * access - what an access_maps entry may say, in access(5) and transport(5) words.
 *
 *   OK                        pass; so do a number without text, as in access(5), `permit`, and
 *                             DISCARD and discard:, with which the mail is taken, whoever it is for
 *   REJECT [x.y.z] [text]     554, 5.7.1
 *   DEFER [x.y.z] [text]      450, 4.7.1; so does DEFER_IF_PERMIT: we have the last word
 *   DEFER_IF_REJECT [x.y.z] [text]  that, but only where the recipient is unknown
 *   4xx|5xx [x.y.z] [text]    that; 4.7.1 or 5.7.1
 *   error:[code] [x.y.z] [text]     550, 5.1.1; 450 where x is 4
 *   retry:[code] [x.y.z] [text]     450, 4.1.1
 *   DUNNO                     nothing is said of the recipient, and the search ends
 *   HOLD, FILTER, REDIRECT, BCC, PREPEND, WARN, INFO, and any other transport(5)
 *                             like DUNNO: what becomes of the mail is Postfix's business, not
 *                             whether there is such a recipient
 *
 * The second column's x.y.z stands where the entry names none; its class becomes that of the code,
 * as in Postfix (measured: `550 4.1.1 x` is sent as 550 5.1.1). With one exception: Postfix says
 * 550 5.2.1 to `error:4.2.1 text`, and here it is 450 4.2.1, since who wrote that 4 meant it.
 * Words in any case. The text is taken as it is: a `$` in it is a dollar. Without a text it is
 * Postfix's. Everything else, among it a restriction or a class of restrictions, is no action: what
 * it would say of the recipient only Postfix could tell. Pure, any thread.
 */
#ifndef DB_ACCESS_H
#define DB_ACCESS_H

#include "config/reply_setting.h"
#include "shared/fault.h"

enum access_result {
    ACCESS_BAD = 0,         /* no action: a fault says why, and the recipient is UNAVAILABLE */
    ACCESS_DUNNO,           /* recipient_maps decides */
    ACCESS_DEFER_IF_REJECT, /* it does, and *reply is for whom it does not know */
    ACCESS_REPLY,           /* *reply is set */
};

enum access_result access_parse(const char *value, struct reply_setting *reply,
                                struct fault *fault);

#endif
