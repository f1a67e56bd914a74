"""sqlite: maps through the whole daemon: what senders hear while the database is there, replaced, locked,
broken and gone."""

import os
import sqlite3

import pytest

from harness import rcpt_milter

QUERY = "SELECT address FROM recipients WHERE address = '%s'"
UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
UNAVAILABLE = {"primary": (451, "4.4.3"), "fallback": (550, "5.4.3")}


class Database:
    def __init__(self, directory):
        self.path = directory / "mail.db"
        self.write("alice@example.test", "o'brien@example.test", "@all.test")

    def write(self, *addresses):
        """A complete new file, renamed over the old one."""
        fresh = self.path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        connection = sqlite3.connect(fresh)
        connection.execute("CREATE TABLE recipients (address TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO recipients VALUES (?)", [(address,) for address in addresses])
        connection.commit()
        connection.close()
        os.rename(fresh, self.path)


@pytest.fixture
def database(scratch):
    return Database(scratch.new("sqlite"))


@pytest.fixture
def table(world, database):
    return f"sqlite:{world.file('sqlite.cf', f'dbpath = {database.path}{chr(10)}query = {QUERY}{chr(10)}')}"


def codes(milter, *recipients):
    """Of each of them, however many there are."""
    replies = milter.ask(*recipients)
    replies = replies if isinstance(replies, list) else [replies]
    return ["pass" if reply.code == 250 else reply.codes for reply in replies]


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_sqlite_directory_is_one_like_any_other(world, database, table, role):
    milter = world.milter(role=role, recipient_maps=table, recipient_delimiter="+")
    asked = ("alice@example.test", "alice+x@example.test", "o'brien@example.test", "who@all.test",
             "ghost@example.test", "x'or'1'='1@example.test")  # fmt: skip
    assert codes(milter, *asked) == ["pass"] * 4 + [UNKNOWN[role]] * 2
    database.write("bob@example.test")
    assert codes(milter, "bob@example.test", "ghost2@example.test") == ["pass", UNKNOWN[role]]


@pytest.mark.parametrize("role", ["primary", "fallback"])
@pytest.mark.parametrize("trouble", ["gone", "broken", "empty"])
def test_a_database_that_cannot_be_asked_says_of_nobody_that_he_does_not_exist(world, database, table, role, trouble):
    milter = world.milter(role=role, recipient_maps=table, known_good_ttl="1d")
    assert codes(milter, "alice@example.test") == ["pass"]
    if trouble == "gone":
        database.path.unlink()
    else:
        fresh = database.path.with_suffix(".new")
        fresh.write_text("" if trouble == "empty" else "This is not a database. " * 100)
        os.rename(fresh, database.path)
    # alice is known good; the others nobody can vouch for.
    assert codes(milter, "ghost@example.test", "ghost2@example.test") == [UNAVAILABLE[role]] * 2
    assert len(milter.log.find("lookups in this table fail until that is mended")) == 1
    database.write("alice@example.test")
    assert codes(milter, "alice@example.test", "ghost3@example.test") == ["pass", UNKNOWN[role]]
    assert len(milter.log.find("answers again")) == 1


def test_a_lock_costs_nobody_more_than_his_deadline_and_bounces_nobody(world, database, table):
    milter = world.milter(role="fallback", recipient_maps=table, lookup_deadline="500ms")
    writer = sqlite3.connect(database.path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        assert codes(milter, "carol@example.test") == [(451, "4.4.3")]  # shed: held, not bounced
    finally:
        writer.execute("ROLLBACK")
        writer.close()
    assert codes(milter, "alice@example.test", "ghost@example.test") == ["pass", UNKNOWN["fallback"]]


def test_t_checks_the_map_file_and_names_the_line(world, database):
    path = world.file("bad.cf", f"dbpath = {database.path}\nquery = SELECT 1 FROM t WHERE uid = %u\n")
    done = rcpt_milter("-c", world.file("x.conf", f"recipient_maps = sqlite:{path}\n"), "-t")
    assert done.returncode == 78 and f"{path}:2: query: %u stands outside quotes" in done.stderr, done
