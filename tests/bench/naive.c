/*
 * naive - the milter an admin would write in an afternoon: one connection to MySQL, one mutex, one
 * query for each recipient, nothing cached. rcpt-milter is measured against it.
 */
#include <libmilter/mfapi.h>
#include <mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* covers mysql */
static MYSQL *mysql;

/* 1 there, 0 not there, -1 no answer. */
static int exists(const char *address)
{
    char quoted[2 * 320 + 1], query[1024];
    size_t length = strlen(address);
    if (length > 320)
        return 0;
    mysql_real_escape_string(mysql, quoted, address, (unsigned long)length);
    int size =
        snprintf(query, sizeof query, "SELECT 1 FROM recipients WHERE address = '%s'", quoted);
    if (mysql_real_query(mysql, query, (unsigned long)size) != 0)
        return -1;
    MYSQL_RES *result = mysql_store_result(mysql);
    int found = result ? mysql_num_rows(result) > 0 : -1;
    mysql_free_result(result);
    return found;
}

static sfsistat on_recipient(SMFICTX *context, char **arguments)
{
    const char *address = smfi_getsymval(context, (char *)"{rcpt_addr}");
    (void)arguments;
    pthread_mutex_lock(&lock);
    int found = address ? exists(address) : -1;
    pthread_mutex_unlock(&lock);
    if (found > 0)
        return SMFIS_CONTINUE;
    smfi_setreply(context, (char *)"450", (char *)"4.1.1", (char *)"User unknown");
    return SMFIS_TEMPFAIL;
}

int main(int argc, char **argv)
{
    struct smfiDesc milter = {
        .xxfi_name = (char *)"naive", .xxfi_version = SMFI_VERSION, .xxfi_envrcpt = on_recipient};
    if (argc != 3) {
        fprintf(stderr, "usage: naive unix:/path /path/of/mysqld.sock\n");
        return 64;
    }
    mysql = mysql_init(NULL);
    if (!mysql_real_connect(mysql, NULL, "checker", "s3cret-Passw0rd", "mail", 0, argv[2], 0)) {
        fprintf(stderr, "naive: %s\n", mysql_error(mysql));
        return 1;
    }
    if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(milter) != MI_SUCCESS)
        return 1;
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
