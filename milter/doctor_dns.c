/*
 * doctor_mx_ask, on the C library's resolver: as a sender would, with no regard for /etc/hosts.
 */
#include "milter/doctor_mx.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RETRY_S = 2,        /* for one name server to answer */
    ANSWER_MAX = 16384, /* bytes */
    OWN_MAX = 64        /* addresses of this host */
};

struct asker {
    struct __res_state state;
    struct deadline deadline;
    const char *host_name;
    char own[OWN_MAX][INET6_ADDRSTRLEN];
    size_t own_count;
};

static void add_own(struct asker *asker, int family, const void *address)
{
    if (asker->own_count < OWN_MAX &&
        inet_ntop(family, address, asker->own[asker->own_count], INET6_ADDRSTRLEN))
        asker->own_count++;
}

/* inet_interfaces and proxy_interfaces: addresses, perhaps in brackets. */
static void add_listed(struct asker *asker, const char *list)
{
    char word[128];
    unsigned char address[sizeof(struct in6_addr)];
    while (postconf_next(&list, word, sizeof word)) {
        char *text = word[0] == '[' ? word + 1 : word;
        text[strcspn(text, "]")] = '\0';
        int family = strchr(text, ':') ? AF_INET6 : AF_INET;
        if (inet_pton(family, text, address) == 1)
            add_own(asker, family, address);
    }
}

static void add_interfaces(struct asker *asker)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        const struct sockaddr *address = one->ifa_addr;
        if (address && address->sa_family == AF_INET)
            add_own(asker, AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
        if (address && address->sa_family == AF_INET6)
            add_own(asker, AF_INET6,
                    &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    }
    freeifaddrs(all);
}

static void find_own(struct asker *asker, const struct postconf *postfix)
{
    const char *interfaces = postconf_value(postfix, NULL, "inet_interfaces");
    asker->host_name = postconf_value(postfix, NULL, "myhostname");
    if (postconf_list_has(interfaces, "all"))
        add_interfaces(asker);
    add_listed(asker, interfaces);
    add_listed(asker, postconf_value(postfix, NULL, "proxy_interfaces"));
}

/* The records of that type in the answer section. -1: not known, and a fault. */
static int ask(struct asker *asker, const char *name, int type, unsigned char *answer,
               ns_msg *message, struct fault *why)
{
    if (deadline_passed(asker->deadline)) {
        fault_set(why, "the DNS takes too long");
        return -1;
    }
    int length = res_nquery(&asker->state, name, ns_c_in, type, answer, ANSWER_MAX);
    if (length < 0 && asker->state.res_h_errno == NO_DATA)
        return 0;
    if (length < 0 || length > ANSWER_MAX || ns_initparse(answer, length, message) != 0) {
        bool none = length < 0 && asker->state.res_h_errno == HOST_NOT_FOUND;
        fault_set(why, none ? "the DNS has no %s" : "the DNS does not answer for %s", name);
        return -1;
    }
    return ns_msg_count(*message, ns_s_an);
}

static bool is_own(const struct asker *asker, int family, const void *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(family, address, text, sizeof text);
    for (size_t i = 0; i < asker->own_count; i++)
        if (strcmp(asker->own[i], text) == 0)
            return true;
    return false;
}

static bool add_addresses(struct asker *asker, struct doctor_mx *host, int type, struct fault *why)
{
    unsigned char answer[ANSWER_MAX];
    ns_msg message;
    ns_rr record;
    int count = ask(asker, host->name, type, answer, &message, why);
    size_t size = type == ns_t_a ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    for (int i = 0; i < count; i++) {
        if (ns_parserr(&message, ns_s_an, i, &record) != 0 || (int)ns_rr_type(record) != type ||
            ns_rr_rdlen(record) != size)
            continue;
        host->addresses++;
        host->here |= is_own(asker, type == ns_t_a ? AF_INET : AF_INET6, ns_rr_rdata(record));
    }
    return count >= 0;
}

static bool read_hosts(struct asker *asker, struct doctor_domain *domain)
{
    unsigned char answer[ANSWER_MAX];
    ns_msg message;
    ns_rr record;
    int count = ask(asker, domain->name, ns_t_mx, answer, &message, &domain->why);
    for (int i = 0; i < count && domain->count < DOCTOR_MX_MAX; i++) {
        struct doctor_mx *host = &domain->hosts[domain->count];
        if (ns_parserr(&message, ns_s_an, i, &record) != 0 || ns_rr_type(record) != ns_t_mx ||
            ns_rr_rdlen(record) < NS_INT16SZ + 1)
            continue;
        const unsigned char *data = ns_rr_rdata(record);
        *host = (struct doctor_mx){.preference = ns_get16(data)};
        if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + NS_INT16SZ, host->name,
                      sizeof host->name) < 0)
            continue;
        host->here = text_same_word(host->name, asker->host_name);
        domain->count++;
    }
    return count >= 0;
}

void doctor_mx_ask(const struct postconf *postfix, struct deadline deadline,
                   struct doctor_domain *domain)
{
    struct asker asker = {.deadline = deadline};
    if (res_ninit(&asker.state) != 0) {
        fault_set(&domain->why, "the resolver cannot be set up");
        return;
    }
    asker.state.retrans = RETRY_S;
    asker.state.retry = 1;
    find_own(&asker, postfix);
    bool known = read_hosts(&asker, domain);
    for (size_t i = 0; known && i < domain->count; i++)
        known = add_addresses(&asker, &domain->hosts[i], ns_t_a, &domain->why) &&
                add_addresses(&asker, &domain->hosts[i], ns_t_aaaa, &domain->why);
    if (!known)
        domain->count = 0;
    res_nclose(&asker.state);
}
