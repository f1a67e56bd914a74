-- A small directory of recipients for rcpt-milter, and for Postfix beside it. MariaDB 10.6+, MySQL 8.
--
--   mysql -e 'CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
--   mysql mail < schema.sql
--
-- utf8mb4_bin, because other collations take different addresses for the same one (a general or
-- accent-insensitive one: straße = strasse). It is the one exact collation both servers have:
-- utf8mb4_nopad_bin is MariaDB's, utf8mb4_0900_bin is MySQL's. Unlike those it ignores spaces at the
-- end, which makes no difference here: whatever these tables are asked for ends with a domain, and
-- no domain ends with a space. A query of your own that compares a local part alone ('%u') must see
-- to that itself.
--
-- An exact collation finds what is stored as it is looked up: ASCII letters in lower case. A row with
-- a capital letter would never be found, and its mail would bounce, so the tables refuse it:
-- INSERT ... VALUES (LOWER('Alice@Example.com')). Each lookup is one point SELECT on a primary key.

CREATE TABLE IF NOT EXISTS domains (
    domain VARCHAR(255) NOT NULL,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (domain),
    CONSTRAINT domains_lower CHECK (domain NOT REGEXP '[A-Z]')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Every recipient of `alias` is one of `target` too: user@alias exists where user@target does.
CREATE TABLE IF NOT EXISTS alias_domains (
    alias VARCHAR(255) NOT NULL,
    target VARCHAR(255) NOT NULL,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (alias),
    CONSTRAINT alias_domains_target FOREIGN KEY (target) REFERENCES domains (domain),
    CONSTRAINT alias_domains_lower CHECK (alias NOT REGEXP '[A-Z]')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Mailboxes ('alice@example.com'), aliases (the same, with a destination) and catch-alls
-- ('@example.com').
CREATE TABLE IF NOT EXISTS recipients (
    address VARCHAR(320) NOT NULL,
    destination TEXT NULL, -- aliases: where the mail goes; NULL: a mailbox
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (address),
    CONSTRAINT recipients_lower CHECK (address NOT REGEXP '[A-Z]')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What access_maps says of an address or a whole domain: OK, REJECT text, 550 5.7.1 text, ...
CREATE TABLE IF NOT EXISTS access (
    pattern VARCHAR(320) NOT NULL, -- 'alice@example.com', '@example.com' or 'example.com'
    action VARCHAR(512) NOT NULL,
    PRIMARY KEY (pattern),
    CONSTRAINT access_lower CHECK (pattern NOT REGEXP '[A-Z]')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A user who can read these tables and nothing else ('rcpt_milter'@'%' to come over the network; then
-- set tls_CAfile and tls_verify_cert in the query files). rcptctl check says when it may do more.
--
--   CREATE USER 'rcpt_milter'@'localhost' IDENTIFIED BY 'choose a password';
--   GRANT SELECT ON mail.domains       TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.alias_domains TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.recipients    TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.access        TO 'rcpt_milter'@'localhost';
