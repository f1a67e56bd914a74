/*
 * mysql_compat - where libmariadb and Oracle's libmysqlclient (8.0 and later) differ, and nothing
 * else. For mysql_client.c only.
 */
#ifndef DB_MYSQL_COMPAT_H
#define DB_MYSQL_COMPAT_H

#include <stdbool.h>

#include <mysql.h>

#ifdef MARIADB_PACKAGE_VERSION

static inline int compat_socket(MYSQL *mysql)
{
    return (int)mysql_get_socket(mysql);
}

/* No plain text, and with `verify` only a server whose certificate is good for its name. */
static inline void compat_require_tls(MYSQL *mysql, bool verify)
{
    my_bool enforce = 1, verify_name = verify;
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &enforce);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify_name);
}

#else

static inline int compat_socket(MYSQL *mysql)
{
    return (int)mysql->net.fd;
}

static inline void compat_require_tls(MYSQL *mysql, bool verify)
{
    unsigned mode = verify ? SSL_MODE_VERIFY_IDENTITY : SSL_MODE_REQUIRED;
    mysql_options(mysql, MYSQL_OPT_SSL_MODE, &mode);
}

#endif

#endif
