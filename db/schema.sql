-- A small directory of recipients for rcpt-milter, and for Postfix beside it. MariaDB 10.6+, MySQL 8.
--
--   mysql -e 'CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
--   mysql mail < schema.sql
--
-- utf8mb4_bin, because other collations take different addresses for the same one (a general or
-- accent-insensitive one: straße = strasse); this one ignores trailing spaces only, which no address
-- has. Addresses are therefore stored as they are looked up, ASCII letters in lower case. Each lookup is one point SELECT on a primary key.

CREATE TABLE IF NOT EXISTS domains (
    domain VARCHAR(255) NOT NULL,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (domain)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Every recipient of `alias` is one of `target` too: user@alias exists where user@target does.
CREATE TABLE IF NOT EXISTS alias_domains (
    alias VARCHAR(255) NOT NULL,
    target VARCHAR(255) NOT NULL,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (alias),
    CONSTRAINT alias_domains_target FOREIGN KEY (target) REFERENCES domains (domain)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Mailboxes ('alice@example.com'), aliases (the same, with a destination) and catch-alls
-- ('@example.com').
CREATE TABLE IF NOT EXISTS recipients (
    address VARCHAR(320) NOT NULL,
    destination TEXT NULL, -- aliases: where the mail goes; NULL: a mailbox
    active BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (address)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What access_maps says of an address or a whole domain: OK, REJECT text, 550 5.7.1 text, ...
CREATE TABLE IF NOT EXISTS access (
    pattern VARCHAR(320) NOT NULL, -- 'alice@example.com', '@example.com' or 'example.com'
    action VARCHAR(512) NOT NULL,
    PRIMARY KEY (pattern)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A user who can read these tables and nothing else:
--
--   CREATE USER 'rcpt_milter'@'localhost' IDENTIFIED BY 'choose a password';
--   GRANT SELECT ON mail.domains       TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.alias_domains TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.recipients    TO 'rcpt_milter'@'localhost';
--   GRANT SELECT ON mail.access        TO 'rcpt_milter'@'localhost';
