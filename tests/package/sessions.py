#!/usr/bin/python3
"""SMTP sessions, one JSON list of "CODE X.Y.Z" for each recipient on a line.

    sessions.py ask ADDRESS...              one session with these recipients
    sessions.py hold ADDRESS                two RCPTs in one session, the second after a line on stdin
    sessions.py steady ADDRESS PER_SECOND   a session with this recipient so many times a second,
                                            until a line comes on stdin
"""

import json
import pathlib
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from smtp_client import SmtpClient  # noqa: E402

PORT = 25


def say(value):
    print(json.dumps(value), flush=True)


def codes(reply):
    return f"{reply.code} {reply.enhanced}".strip()


def ask(addresses):
    with SmtpClient(PORT) as client:
        sender = client.command("MAIL FROM:<sender@elsewhere.example>")
        if sender.code != 250:
            return [codes(sender)]
        return [codes(client.command(f"RCPT TO:<{address}>")) for address in addresses]


def hold(address):
    with SmtpClient(PORT) as client:
        client.command("MAIL FROM:<sender@elsewhere.example>")
        say([codes(client.command(f"RCPT TO:<{address}>"))])
        sys.stdin.readline()
        say([codes(client.command(f"RCPT TO:<{address}>"))])


def steady(address, per_second):
    turn = time.monotonic()
    while True:
        say(ask([address]))
        turn += 1 / per_second
        if select.select([sys.stdin], [], [], max(0, turn - time.monotonic()))[0]:
            return


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "ask":
        say(ask(rest))
    elif what == "hold":
        hold(rest[0])
    else:
        steady(rest[0], float(rest[1]))
