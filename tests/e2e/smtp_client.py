"""An SMTP client that sends exactly the bytes it is told to."""

import re
import socket


class Reply:
    """One reply: code 250, enhanced "2.1.5" (or ""), text without the enhanced code."""

    def __init__(self, code, text):
        self.code = code
        match = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)", text)
        self.enhanced = match.group(1) if match else ""
        self.text = text[match.end() :] if match else text

    @property
    def codes(self):
        """(250, "2.1.5")"""
        return self.code, self.enhanced

    def __str__(self):
        return " ".join(filter(None, [str(self.code), self.enhanced, self.text]))

    def __repr__(self):
        return f"<{self}>"


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def as_path(address):
    """<address>, unless it comes with its brackets or is meant to be odd."""
    address = as_bytes(address)
    return address if address.startswith(b"<") else b"<" + address + b">"


class SmtpClient:
    """One session. Use it with `with`: it then says QUIT, or just goes if that does not work."""

    def __init__(self, port, host="127.0.0.1", limit=40, greet=True):
        self.connection = socket.create_connection((host, port), limit)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.connection.makefile("rb")
        self.extensions = []
        if greet:
            self.greeting = self.read_reply()
            assert self.greeting.code == 220, self.greeting
            self.ehlo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send(b"QUIT")
            self.read_reply()
        except (OSError, EOFError):
            pass
        self.close()

    def close(self):
        self.stream.close()
        self.connection.close()

    def send(self, line):
        self.connection.sendall(as_bytes(line) + b"\r\n")

    def read_reply(self):
        texts = []
        while True:
            line = self.stream.readline()
            if not line:
                raise EOFError("the server closed the connection")
            line = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            texts.append(line[4:])
            if line[3:4] != "-":
                reply = Reply(int(line[:3]), texts[-1])
                reply.lines = texts
                return reply

    def command(self, line):
        self.send(line)
        return self.read_reply()

    def pipeline(self, lines):
        """All commands in one write, then all replies."""
        self.connection.sendall(b"".join(as_bytes(line) + b"\r\n" for line in lines))
        return [self.read_reply() for _ in lines]

    def ehlo(self, name="client.test"):
        reply = self.command(f"EHLO {name}")
        self.extensions = reply.lines[1:]
        return reply

    def mail(self, sender="sender@elsewhere.test", options=""):
        return self.command(b"MAIL FROM:" + as_path(sender) + as_bytes(f" {options}".rstrip()))

    def rcpt(self, recipient):
        return self.command(b"RCPT TO:" + as_path(recipient))

    def rset(self):
        return self.command("RSET")

    def data(self, text="Subject: test\r\n\r\nHello.\r\n"):
        go_ahead = self.command("DATA")
        return self.command(as_bytes(text) + b".") if go_ahead.code == 354 else go_ahead


def ask_postfix(port, *recipients, sender="sender@elsewhere.test", options=""):
    """The replies to these recipients, in one message of one session, which is then given up."""
    with SmtpClient(port) as session:
        session.mail(sender, options)
        replies = [session.rcpt(recipient) for recipient in recipients]
    return replies[0] if len(replies) == 1 else replies
