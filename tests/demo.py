#!/usr/bin/python3
"""rcpt-milter at work; `make demo` runs this.

Starts a private MariaDB and memcached, a primary and a fallback rcpt-milter, and a Postfix for
each, all in one scratch directory and on loopback ports; plays the story with real SMTP sessions;
and takes everything down again. It holds every reply against the story: exit 1 when one differs.
"""

import os
import signal
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from harness import SmtpClient, World, mysql_table, wait_until  # noqa: E402

DOMAIN = "example.test"
QUERY = "SELECT address FROM recipients WHERE address = '%s' AND active"
DATABASE = f"""
CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE mail;
SOURCE {ROOT}/db/schema.sql;
INSERT INTO recipients (address) VALUES ('alice@{DOMAIN}'), ('bob@{DOMAIN}');
CREATE USER checker@localhost IDENTIFIED BY 's3cret-Passw0rd';
GRANT SELECT ON mail.recipients TO checker@localhost;
"""

OK = (250, "2.1.5")
UNKNOWN_TRY_ANOTHER = (450, "4.1.1")
UNKNOWN = (550, "5.1.1")
UNAVAILABLE_TRY_ANOTHER = (451, "4.4.3")
UNAVAILABLE = (550, "5.4.3")


class Story:
    """What is told, and how it compares with what happens."""

    def __init__(self, world):
        self.world = world
        self.wrong = 0
        self.replies = 0
        self.nodes = {}  # name -> (rcpt-milter, Postfix)

    def act(self, title, text):
        print(f"\n\n==== {title}")
        self.say(text)

    def say(self, text):
        print("\n" + textwrap.fill(text, 78), flush=True)

    def ask(self, node, recipient, expected):
        """One SMTP session with one recipient."""
        with SmtpClient(self.nodes[node][1].port()) as session:
            session.mail("<sender@elsewhere.test>")
            reply = session.rcpt(recipient)
        self.replies += 1
        print(f"\n  {node + ':':10} RCPT TO:<{recipient}>\n{'':12} {reply}", flush=True)
        if reply.codes != expected:
            self.wrong += 1
            print(f"{'':12} ^^^ WRONG: the story says {expected[0]} {expected[1]}", flush=True)

    def ask_both(self, recipient, on_primary, on_fallback):
        self.ask("primary", recipient, on_primary)
        self.ask("fallback", recipient, on_fallback)

    def show_last_refusal(self, node):
        line = self.nodes[node][0].log.find(r": reject: ")[-1]
        print(f"\n  What the {node} logged of it:\n")
        print(textwrap.indent(textwrap.fill(line, 74, break_on_hyphens=False), "    "))

    def show_lookup(self, node, *arguments):
        done = self.nodes[node][0].ctl("lookup", *arguments)
        print(f"\n  $ rcptctl lookup {' '.join(arguments)}")
        print(textwrap.indent(done.stdout.rstrip(), "  "), flush=True)


def start_node(story, role, **config):
    """A Postfix with its rcpt-milter, joined by a socket below Postfix's queue, as on a host."""
    postfix = story.world.postfix(f"postfix-{role}", listeners={"smtpd": {}},
                                  relay_domains=DOMAIN,
                                  smtpd_milters=f"unix:rcpt-milter/{role}.sock")
    milter = story.world.milter(role, socket_directory=postfix.milter_directory(), role=role,
                                **config)
    story.nodes[role] = (milter, postfix)


def start_everything(story):
    database = story.world.mariadb().load(story.world.file("directory.sql", DATABASE))
    memcached = story.world.memcached()
    for role in ("primary", "fallback"):
        start_node(story, role, recipient_maps=mysql_table(story.world, database, QUERY),
                   memcache_servers=f"unix:{memcached.socket}")
    return database, memcached


def with_all_servers(story):
    story.act("1. A recipient that exists", "Everybody accepts it.")
    story.ask_both(f"alice@{DOMAIN}", OK, OK)

    story.act("2. A mistyped address",
              "The primary says 450 and bounces nobody: the sender tries the next MX. The fallback, "
              "last in the MX order, says 550: the sender hears of it at once, not in five days.")
    story.ask_both(f"allice@{DOMAIN}", UNKNOWN_TRY_ANOTHER, UNKNOWN)
    story.show_last_refusal("fallback")
    story.show_lookup("fallback", f"allice@{DOMAIN}", "--explain", "--no-cache")


def without_mysql(story, database):
    database.kill()
    story.act("3. MySQL is killed",
              "alice was asked about a moment ago: the caches still know her.")
    story.ask_both(f"alice@{DOMAIN}", OK, OK)
    story.say("bob exists too, but nobody has asked about him yet. A failure is never taken for an "
              "absence: the primary defers him. The fallback settles the matter, with a 5xx that is "
              "not 5.1.1; who prefers to wait sets fallback_unavailable_reply (see README.md).")
    story.ask_both(f"bob@{DOMAIN}", UNAVAILABLE_TRY_ANOTHER, UNAVAILABLE)


def mysql_is_back(story, database):
    database.start()
    begin = time.monotonic()
    for milter, _ in story.nodes.values():
        wait_until(lambda m=milter: m.ctl("lookup", "--no-cache", f"x@{DOMAIN}").returncode == 1,
                   what="the daemon to see that MySQL is back")
    story.act("4. MySQL is back",
              f"Both daemons saw it within {time.monotonic() - begin:.1f} s of its start, by "
              "themselves.")
    story.ask_both(f"bob@{DOMAIN}", OK, OK)
    story.ask_both(f"boob@{DOMAIN}", UNKNOWN_TRY_ANOTHER, UNKNOWN)


def without_any_server(story, database, memcached):
    table = story.world.file("recipients", f"alice@{DOMAIN} OK\n@lists.{DOMAIN} OK\n")
    for milter, _ in story.nodes.values():
        # By force: not everybody is in the table, and the canary would say so.
        milter.reload(force=True, recipient_maps=f"texthash:{table}", memcache_servers="")
    database.kill()
    memcached.kill()
    story.act("5. No server at all",
              "MySQL and memcached are gone for good. Both daemons were reloaded with "
              "recipient_maps = texthash:/path, a plain file; no connection was dropped.")
    story.ask_both(f"alice@{DOMAIN}", OK, OK)
    story.ask_both(f"carol@{DOMAIN}", UNKNOWN_TRY_ANOTHER, UNKNOWN)


def play(story):
    begin = time.monotonic()
    story.say("Starting MariaDB, memcached, and a Postfix with its rcpt-milter twice, as primary and "
              "as fallback. All are private: nothing of this machine's own servers is touched.")
    database, memcached = start_everything(story)
    with_all_servers(story)
    without_mysql(story, database)
    mysql_is_back(story, database)
    without_any_server(story, database, memcached)
    print(f"\n\n{story.replies} replies in {time.monotonic() - begin:.0f} s, "
          + (f"{story.wrong} NOT as the story says." if story.wrong else "each as the story says."))
    print("Stopping everything ...", flush=True)


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        sys.exit("make demo: Postfix can only be started by root")
    # So that whatever ends us, the servers are taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with World() as world:
            story = Story(world)
            play(story)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; everything that was started is stopped")
    return 1 if story.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
