/*
 * mysql_compat - where libmariadb and Oracle's libmysqlclient (8.0 and later) differ, and nothing
 * else. For mysql_inside.h only.
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

/* TLS; with a CA only a certificate it has signed (libmariadb then looks by itself), and with
 * `verify` one that is good for the server's name. */
static inline void compat_require_tls(MYSQL *mysql, bool has_ca, bool verify)
{
    my_bool enforce = 1, verify_name = verify;
    (void)has_ca;
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &enforce);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify_name);
}

#else

static inline int compat_socket(MYSQL *mysql)
{
    return (int)mysql->net.fd;
}

static inline void compat_require_tls(MYSQL *mysql, bool has_ca, bool verify)
{
    unsigned mode = verify   ? SSL_MODE_VERIFY_IDENTITY
                    : has_ca ? SSL_MODE_VERIFY_CA
                             : SSL_MODE_REQUIRED;
    mysql_options(mysql, MYSQL_OPT_SSL_MODE, &mode);
}

#endif

#endif
