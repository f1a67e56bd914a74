/*
 * expand - puts the values of other parameters into a value, as postconf(5) describes it:
 *
 *     $name  ${name}  $(name)        the value of name, itself expanded
 *     ${name?text}  ${name?{text}}   text, if $name is not empty; else nothing
 *     ${name:text}  ${name:{text}}   text, if $name is empty; else nothing
 *     ${name?{text1}:{text2}}        one or the other
 *     $$                             a dollar
 *
 * Stricter than Postfix in what would hide a mistake: an unknown name and a name that uses itself
 * are errors. Whether $name is empty is judged after it has been expanded. postconf's comparisons
 * ${{a} == {b}?...} are refused. Pure but for the caller's lookup; any thread.
 */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H

#include <stdbool.h>

#include "shared/fault.h"
#include "shared/text.h"

/* The unexpanded value of a parameter, and whether that is a reply; NULL and a fault where there is
 * none of that name. */
typedef const char *expand_lookup(void *context, const char *name, bool *is_reply,
                                  struct fault *fault);

/*
 * Appends the expansion of `raw`, the value of the parameter `name`, to `out`. False and a fault
 * when it is malformed, names what is not there, runs in a circle, or does not fit.
 *
 * In the value of a reply, $recipient, $domain and $role are known only when a recipient is: they
 * and $$ stay (as ${name} where anything else could be read differently), so that expanding the
 * result again gives the result. $role stays only where it stands in a reply: in another parameter
 * that the reply names, it is the parameter `role`.
 */
bool expand_value(const char *name, const char *raw, bool in_reply, expand_lookup *lookup,
                  void *context, struct text *out, struct fault *fault);

#endif
