/*
 * mysql.h - a double of the header of Oracle's libmysqlclient 8.x and 9.x, for machines that do not
 * have it: written from "MySQL 8.4 C API Developer Guide". It declares what that guide documents and
 * somebody who looks up recipients may want, with its types; nothing of MariaDB's, and nothing that
 * 8.0 removed (my_bool, MYSQL_OPT_SSL_ENFORCE, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, mysql_get_socket,
 * the non-blocking mysql_*_start and mysql_*_cont). tests/checks/test_oracle.py compiles with it;
 * nothing is ever linked.
 */
#ifndef TESTS_ORACLE_MYSQL_H
#define TESTS_ORACLE_MYSQL_H

#include <stdbool.h>
#include <stdint.h>

#define MYSQL_SERVER_VERSION "8.4.0"
#define MYSQL_VERSION_ID 80400

typedef int my_socket;
typedef uint64_t my_ulonglong;

enum enum_field_types { MYSQL_TYPE_LONG = 3, MYSQL_TYPE_LONGLONG = 8, MYSQL_TYPE_VAR_STRING = 253 };

typedef struct NET {
    struct Vio *vio;
    unsigned char *buff;
    my_socket fd;
    unsigned last_errno;
    char last_error[512], sqlstate[6];
} NET;

typedef struct MYSQL_FIELD {
    char *name, *org_name, *table, *org_table, *db, *catalog, *def;
    unsigned long length, max_length;
    unsigned name_length, org_name_length, table_length, org_table_length, db_length,
        catalog_length, def_length, flags, decimals, charsetnr;
    enum enum_field_types type;
    void *extension;
} MYSQL_FIELD;

typedef char **MYSQL_ROW;
typedef struct MYSQL_RES MYSQL_RES;

typedef struct MYSQL {
    NET net;
    char *host, *user, *passwd, *unix_socket, *server_version, *host_info;
    unsigned long thread_id;
    unsigned port, protocol_version, field_count, server_status;
    void *extension;
} MYSQL;

enum mysql_option {
    MYSQL_OPT_CONNECT_TIMEOUT,
    MYSQL_OPT_COMPRESS,
    MYSQL_OPT_NAMED_PIPE,
    MYSQL_INIT_COMMAND,
    MYSQL_READ_DEFAULT_FILE,
    MYSQL_READ_DEFAULT_GROUP,
    MYSQL_SET_CHARSET_DIR,
    MYSQL_SET_CHARSET_NAME,
    MYSQL_OPT_LOCAL_INFILE,
    MYSQL_OPT_PROTOCOL,
    MYSQL_SHARED_MEMORY_BASE_NAME,
    MYSQL_OPT_READ_TIMEOUT,
    MYSQL_OPT_WRITE_TIMEOUT,
    MYSQL_OPT_USE_RESULT,
    MYSQL_REPORT_DATA_TRUNCATION,
    MYSQL_OPT_RECONNECT, /* deprecated: a warning on standard error whenever it is set */
    MYSQL_PLUGIN_DIR,
    MYSQL_DEFAULT_AUTH,
    MYSQL_OPT_BIND,
    MYSQL_OPT_SSL_KEY,
    MYSQL_OPT_SSL_CERT,
    MYSQL_OPT_SSL_CA,
    MYSQL_OPT_SSL_CAPATH,
    MYSQL_OPT_SSL_CIPHER,
    MYSQL_OPT_SSL_CRL,
    MYSQL_OPT_SSL_CRLPATH,
    MYSQL_OPT_CONNECT_ATTR_RESET,
    MYSQL_OPT_CONNECT_ATTR_ADD,
    MYSQL_OPT_CONNECT_ATTR_DELETE,
    MYSQL_SERVER_PUBLIC_KEY,
    MYSQL_ENABLE_CLEARTEXT_PLUGIN,
    MYSQL_OPT_CAN_HANDLE_EXPIRED_PASSWORDS,
    MYSQL_OPT_MAX_ALLOWED_PACKET,
    MYSQL_OPT_NET_BUFFER_LENGTH,
    MYSQL_OPT_TLS_VERSION,
    MYSQL_OPT_SSL_MODE,
    MYSQL_OPT_GET_SERVER_PUBLIC_KEY,
    MYSQL_OPT_RETRY_COUNT,
    MYSQL_OPT_OPTIONAL_RESULTSET_METADATA,
    MYSQL_OPT_SSL_FIPS_MODE,
    MYSQL_OPT_TLS_CIPHERSUITES,
    MYSQL_OPT_COMPRESSION_ALGORITHMS,
    MYSQL_OPT_ZSTD_COMPRESSION_LEVEL,
    MYSQL_OPT_LOAD_DATA_LOCAL_DIR
};

enum mysql_ssl_mode {
    SSL_MODE_DISABLED = 1,
    SSL_MODE_PREFERRED,
    SSL_MODE_REQUIRED,
    SSL_MODE_VERIFY_CA,
    SSL_MODE_VERIFY_IDENTITY
};

enum mysql_protocol_type { MYSQL_PROTOCOL_DEFAULT, MYSQL_PROTOCOL_TCP, MYSQL_PROTOCOL_SOCKET };

#define CLIENT_MULTI_STATEMENTS (1UL << 16)
#define CLIENT_MULTI_RESULTS (1UL << 17)

int mysql_server_init(int argc, char **argv, char **groups);
void mysql_server_end(void);
#define mysql_library_init mysql_server_init
#define mysql_library_end mysql_server_end
bool mysql_thread_init(void);
void mysql_thread_end(void);

MYSQL *mysql_init(MYSQL *mysql);
int mysql_options(MYSQL *mysql, enum mysql_option option, const void *arg);
int mysql_get_option(MYSQL *mysql, enum mysql_option option, const void *arg);
MYSQL *mysql_real_connect(MYSQL *mysql, const char *host, const char *user, const char *passwd,
                          const char *db, unsigned port, const char *unix_socket,
                          unsigned long client_flag);
void mysql_close(MYSQL *mysql);
int mysql_ping(MYSQL *mysql);
int mysql_select_db(MYSQL *mysql, const char *db);
int mysql_set_character_set(MYSQL *mysql, const char *name);
const char *mysql_character_set_name(MYSQL *mysql);
const char *mysql_get_ssl_cipher(MYSQL *mysql);
const char *mysql_get_server_info(MYSQL *mysql);
unsigned long mysql_get_server_version(MYSQL *mysql);
const char *mysql_get_client_info(void);
unsigned long mysql_get_client_version(void);
unsigned long mysql_thread_id(MYSQL *mysql);

unsigned mysql_errno(MYSQL *mysql);
const char *mysql_error(MYSQL *mysql);
const char *mysql_sqlstate(MYSQL *mysql);
unsigned long mysql_real_escape_string(MYSQL *mysql, char *to, const char *from,
                                       unsigned long length);
unsigned long mysql_real_escape_string_quote(MYSQL *mysql, char *to, const char *from,
                                             unsigned long length, char quote);
int mysql_query(MYSQL *mysql, const char *query);
int mysql_real_query(MYSQL *mysql, const char *query, unsigned long length);
MYSQL_RES *mysql_use_result(MYSQL *mysql);
MYSQL_RES *mysql_store_result(MYSQL *mysql);
void mysql_free_result(MYSQL_RES *result);
bool mysql_more_results(MYSQL *mysql);
int mysql_next_result(MYSQL *mysql);
MYSQL_ROW mysql_fetch_row(MYSQL_RES *result);
unsigned long *mysql_fetch_lengths(MYSQL_RES *result);
MYSQL_FIELD *mysql_fetch_field(MYSQL_RES *result);
MYSQL_FIELD *mysql_fetch_fields(MYSQL_RES *result);
MYSQL_FIELD *mysql_fetch_field_direct(MYSQL_RES *result, unsigned number);
unsigned mysql_num_fields(MYSQL_RES *result);
my_ulonglong mysql_num_rows(MYSQL_RES *result);
unsigned mysql_field_count(MYSQL *mysql);
my_ulonglong mysql_affected_rows(MYSQL *mysql);
unsigned mysql_warning_count(MYSQL *mysql);

#endif
