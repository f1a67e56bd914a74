-- What the end-to-end tests put into the tables of db/schema.sql, and tables and routines for the
-- awkward cases.
INSERT INTO domains (domain) VALUES ('example.test'), ('all.test');
INSERT INTO alias_domains (alias, target) VALUES ('alias.test', 'example.test');
INSERT INTO recipients (address) VALUES
    ('alice@example.test'), ('bob@example.test'), ('carol@example.test'), ('john doe@example.test'),
    ('jürgen@example.test'), ('用户@example.test'), ('@all.test');
INSERT INTO recipients (address, active) VALUES ('retired@example.test', FALSE);

CREATE TABLE role (domain VARCHAR(255) PRIMARY KEY, role VARCHAR(20) NOT NULL);
CREATE TABLE latin1_recipient (address VARCHAR(320) PRIMARY KEY)
    CHARACTER SET latin1 COLLATE latin1_general_cs;
CREATE TABLE utf8mb3_recipient (address VARCHAR(255) PRIMARY KEY)
    CHARACTER SET utf8mb3 COLLATE utf8mb3_bin;
INSERT INTO latin1_recipient VALUES ('alice@example.test'), ('bob@example.test');
INSERT INTO utf8mb3_recipient VALUES ('alice@example.test'), ('bob@example.test');

DELIMITER //
CREATE FUNCTION recipient_of(wanted VARCHAR(1200)) RETURNS VARCHAR(320) READS SQL DATA
BEGIN
    DECLARE found VARCHAR(320) DEFAULT NULL;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET found = NULL;
    SELECT address INTO found FROM recipients WHERE address = wanted;
    RETURN found;
END//
CREATE PROCEDURE find_recipient(IN wanted VARCHAR(1200)) READS SQL DATA
BEGIN
    SELECT address FROM recipients WHERE address = wanted;
END//
CREATE PROCEDURE find_recipient_or_null(IN wanted VARCHAR(1200)) READS SQL DATA
BEGIN
    DECLARE found VARCHAR(320) DEFAULT NULL;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET found = NULL;
    SELECT address INTO found FROM recipients WHERE address = wanted;
    SELECT found;
END//
DELIMITER ;

CREATE USER checker@localhost IDENTIFIED BY 's3cret-Passw0rd';
GRANT SELECT, EXECUTE ON mail.* TO checker@localhost;
