"""Real servers for tests and for the demonstration, each private and each gone afterwards.

    with World() as world:
        db = world.mariadb().load("schema.sql")
        mx = world.postfix(listeners={...}, relay_domains="example.test")
        milter = world.milter(recipient_maps="texthash:/...")

A World starts servers and stops them in reverse order. They are MariaDB and Memcached
(databases.py), Postfix (postfix.py), RcptMilter and rcptctl (daemon.py); SmtpClient and
MilterClient speak to them. Each server has start, stop and kill, and those that are one process
suspend and resume. This file and what it imports know nothing of pytest.
"""

import contextlib
import os
import time

from daemon import Refused, RcptMilter, build_directory, rcpt_milter, rcptctl, sanitizer
from databases import MariaDB, Memcached
from milter_client import MilterClient, MilterGone, ask_milter
from postfix import Postfix
from processes import Late, LogFile, Process, Scratch, free_port, wait_until
from smtp_client import Reply, SmtpClient, ask_postfix

__all__ = [
    "Late", "LogFile", "MariaDB", "Memcached", "MilterClient", "MilterGone", "Postfix", "Process",
    "RcptMilter", "Refused", "Reply", "Scratch", "SmtpClient", "World", "ask_milter",
    "ask_postfix", "build_directory", "free_port", "mysql_table", "rcpt_milter", "rcptctl",
    "sanitizer", "wait_until",
]  # fmt: skip


class World:
    """Starts servers in one scratch directory and stops them all at the end."""

    def __init__(self, scratch=None):
        self.own_scratch = scratch is None
        self.scratch = scratch or Scratch()
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(failed=kind is not None)

    def close(self, failed=False):
        """Stops the last one first; all of them, whatever goes wrong with one."""
        first = None
        for server in reversed(self.servers):
            try:
                server.stop()
            except AssertionError as error:
                first = first or error
        self.servers.clear()
        if self.own_scratch:
            self.scratch.remove()
        if first and not failed:
            raise first

    def _begin(self, server):
        self.servers.append(server)
        return server.start()

    def mariadb(self, name="db", **options):
        return self._begin(MariaDB(self.scratch, name, **options))

    def mariadb_not_started(self, name="db", **options):
        database = MariaDB(self.scratch, name, **options)
        self.servers.append(database)
        return database

    def memcached(self, name="mc", **options):
        return self._begin(Memcached(self.scratch, name, **options))

    def postfix(self, name="mx", **options):
        return self._begin(Postfix(self.scratch, name, **options))

    def postfix_not_started(self, name="mx", **options):
        """For milters whose sockets are to stand below its queue: they must be there first."""
        postfix = Postfix(self.scratch, name, **options)
        self.servers.append(postfix)
        return postfix

    def milter(self, name="rm", **options):
        return self._begin(RcptMilter(self.scratch, name, **options))

    def milter_not_started(self, name="rm", **options):
        milter = RcptMilter(self.scratch, name, **options)
        self.servers.append(milter)
        return milter

    def file(self, name, text, mode=0o644):
        """A file of its own directory, so that names never clash. It is not brand new: a reader
        that waits until a file is at rest need not wait for this one."""
        path = self.scratch.new("f") / name
        path.write_text(text)
        path.chmod(mode)
        past = time.time() - 60
        os.utime(path, (past, past))
        return path

    def check_reports(self):
        for server in self.servers:
            with contextlib.suppress(AttributeError):
                server.check_reports


def mysql_table(world, database, query, name="table.cf", **parameters):
    """A mysql_table(5) file for this MariaDB, and the map's name for it."""
    settings = {
        "hosts": f"unix:{database.socket}", "user": "checker", "password": "s3cret-Passw0rd",
        "dbname": "mail", "query": query, **parameters,
    }  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return f"mysql:{world.file(name, text, 0o640)}"
