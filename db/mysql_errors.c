/* What the error numbers of the servers and of the client libraries mean to us. */
#include "db/mysql_client.h"

/* Names as in the manuals of MariaDB and MySQL, without ER_ and CR_. */
static const struct {
    unsigned number;
    enum mysql_error_class class;
} classes[] = {
    /* the server, or the way to it */
    {1040, MYSQL_ERROR_SERVER}, /* CON_COUNT_ERROR */
    {1041, MYSQL_ERROR_SERVER}, /* OUT_OF_RESOURCES */
    {1053, MYSQL_ERROR_SERVER}, /* SERVER_SHUTDOWN */
    {1135, MYSQL_ERROR_SERVER}, /* CANT_CREATE_THREAD */
    {1158, MYSQL_ERROR_SERVER}, /* NET_READ_ERROR */
    {1159, MYSQL_ERROR_SERVER}, /* NET_READ_INTERRUPTED */
    {1160, MYSQL_ERROR_SERVER}, /* NET_ERROR_ON_WRITE */
    {1161, MYSQL_ERROR_SERVER}, /* NET_WRITE_INTERRUPTED */
    {1203, MYSQL_ERROR_SERVER}, /* TOO_MANY_USER_CONNECTIONS */
    {1226, MYSQL_ERROR_SERVER}, /* USER_LIMIT_REACHED */
    {1927, MYSQL_ERROR_SERVER}, /* CONNECTION_KILLED */
    {2002, MYSQL_ERROR_SERVER}, /* CONNECTION_ERROR */
    {2003, MYSQL_ERROR_SERVER}, /* CONN_HOST_ERROR */
    {2005, MYSQL_ERROR_SERVER}, /* UNKNOWN_HOST */
    {2006, MYSQL_ERROR_SERVER}, /* SERVER_GONE_ERROR */
    {2013, MYSQL_ERROR_SERVER}, /* SERVER_LOST */
    {2026, MYSQL_ERROR_SERVER}, /* SSL_CONNECTION_ERROR */
    {2055, MYSQL_ERROR_SERVER}, /* SERVER_LOST_EXTENDED */
    {4031, MYSQL_ERROR_SERVER}, /* CLIENT_INTERACTION_TIMEOUT */
    /* time */
    {1205, MYSQL_ERROR_SERVER}, /* LOCK_WAIT_TIMEOUT */
    {1317, MYSQL_ERROR_SERVER}, /* QUERY_INTERRUPTED */
    {1969, MYSQL_ERROR_SERVER}, /* STATEMENT_TIMEOUT */
    {3024, MYSQL_ERROR_SERVER}, /* QUERY_TIMEOUT */
    /* the session */
    {1213, MYSQL_ERROR_STATEMENT}, /* LOCK_DEADLOCK */
    {1243, MYSQL_ERROR_STATEMENT}, /* UNKNOWN_STMT_HANDLER */
    {1615, MYSQL_ERROR_STATEMENT}, /* NEED_REPREPARE */
    {2057, MYSQL_ERROR_STATEMENT}, /* NEW_STMT_METADATA */
    /* the bytes of this key */
    {1153, MYSQL_ERROR_KEY}, /* NET_PACKET_TOO_LARGE */
    {1267, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_2COLLATIONS */
    {1270, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_3COLLATIONS */
    {1271, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_NCOLLATIONS */
    {1292, MYSQL_ERROR_KEY}, /* TRUNCATED_WRONG_VALUE */
    {1300, MYSQL_ERROR_KEY}, /* INVALID_CHARACTER_STRING */
    {1366, MYSQL_ERROR_KEY}, /* TRUNCATED_WRONG_VALUE_FOR_FIELD */
    {1406, MYSQL_ERROR_KEY}, /* DATA_TOO_LONG */
    {3854, MYSQL_ERROR_KEY}, /* CANNOT_CONVERT_STRING */
    {3988, MYSQL_ERROR_KEY}, /* IMPOSSIBLE_STRING_CONVERSION */
};

enum mysql_error_class mysql_error_classify(unsigned number)
{
    if (number == 0)
        return MYSQL_NO_ERROR;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (classes[i].number == number)
            return classes[i].class;
    /* 2000 to 2999 are the library's own: out of step, a malformed packet. Nobody can say what
     * state the connection is in. */
    return number >= 2000 && number < 3000 ? MYSQL_ERROR_STATEMENT : MYSQL_ERROR_SETUP;
}

bool mysql_error_means_lost(unsigned number)
{
    return number == 2006 || number == 2013 || number == 2055 || number == 4031 || number == 1927 ||
           number == 1053;
}

bool mysql_error_is_ours(unsigned number)
{
    return number == 2001 || number == 2004 || number == 2008; /* SOCKET_CREATE, IPSOCK, MEMORY */
}

bool mysql_error_is_of_rights(unsigned number)
{
    return number == 1044 || number == 1045 || number == 1142 || number == 1143 || number == 1370;
}

bool mysql_error_refuses_connections(unsigned number)
{
    return number == 1040 || number == 1203 || number == 1226;
}
