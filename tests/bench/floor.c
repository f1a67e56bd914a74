/*
 * floor - the least a libmilter filter can do: it asks for what rcpt-milter asks for, and lets
 * every recipient pass. What rcpt-milter costs is measured against it.
 */
#include <libmilter/mfapi.h>
#include <stdio.h>

static sfsistat on_negotiate(SMFICTX *context, unsigned long actions, unsigned long stages,
                             unsigned long reserved_2, unsigned long reserved_3,
                             unsigned long *want_actions, unsigned long *want_stages,
                             unsigned long *want_2, unsigned long *want_3)
{
    static char macros[] = "i {rcpt_addr} {client_addr} {client_name} {mail_addr} {auth_type}";
    (void)actions, (void)reserved_2, (void)reserved_3;
    *want_actions = SMFIF_SETSYMLIST;
    *want_stages = stages & (SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOMAIL | SMFIP_NODATA |
                             SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOBODY | SMFIP_NOUNKNOWN);
    *want_2 = *want_3 = 0;
    smfi_setsymlist(context, SMFIM_ENVRCPT, macros);
    return SMFIS_CONTINUE;
}

static sfsistat on_recipient(SMFICTX *context, char **arguments)
{
    (void)context, (void)arguments;
    return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
    struct smfiDesc milter = {.xxfi_name = (char *)"floor",
                              .xxfi_version = SMFI_VERSION,
                              .xxfi_flags = SMFIF_SETSYMLIST,
                              .xxfi_envrcpt = on_recipient,
                              .xxfi_negotiate = on_negotiate};
    if (argc != 2) {
        fprintf(stderr, "usage: floor unix:/path\n");
        return 64;
    }
    if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(milter) != MI_SUCCESS)
        return 1;
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
