#include "milter/doctor_mx.h"

/* The last preference in the order; false where all are equal or there are none. */
static bool last_preference(const struct doctor_domain *domain, unsigned *last)
{
    for (size_t i = 0; i < domain->count; i++)
        if (i == 0 || domain->hosts[i].preference > *last)
            *last = domain->hosts[i].preference;
    for (size_t i = 0; i < domain->count; i++)
        if (domain->hosts[i].preference < *last)
            return true;
    return false;
}

bool doctor_mx_sessions(const struct doctor_facts *facts, const struct doctor_domain *domain,
                        struct text *what)
{
    unsigned last = 0, before = 0;
    (void)facts;
    if (!last_preference(domain, &last))
        return false;
    for (size_t i = 0; i < domain->count; i++)
        if (domain->hosts[i].preference < last)
            before += domain->hosts[i].addresses;
    if (before > 1)
        text_addf(what, "%s has %u addresses before its last MX host", domain->name, before);
    return before > 1;
}

bool doctor_mx_order(const struct doctor_facts *facts, const struct doctor_domain *domain,
                     struct text *what)
{
    const struct doctor_mx *here = NULL, *behind = NULL;
    for (size_t i = 0; i < domain->count; i++)
        if (domain->hosts[i].here)
            here = &domain->hosts[i];
    /* role_maps may say otherwise of this very domain. */
    if (!here || *facts->settings->role_maps)
        return false;
    for (size_t i = 0; i < domain->count; i++)
        if (!domain->hosts[i].here && domain->hosts[i].preference >= here->preference)
            behind = &domain->hosts[i];
    if (facts->settings->role == ROLE_FALLBACK && behind) {
        text_addf(what,
                  "role is fallback, but for %s there is %s (MX %u) beside or behind %s (MX %u)",
                  domain->name, behind->name, behind->preference, here->name, here->preference);
        return true;
    }
    if (facts->settings->role == ROLE_PRIMARY && !behind) {
        text_addf(what, "role is primary, but %s is the last MX host of %s", here->name,
                  domain->name);
        return true;
    }
    return false;
}
