"""The other side of the milter protocol, version 6, on the wire: what Postfix says, and what it
never would. See libmilter/docs and Postfix's src/milter/milter8.c."""

import socket
import struct

from smtp_client import Reply, as_bytes, as_path

# What the milter may do (SMFIF_*) and how the protocol may be shortened (SMFIP_*).
ACTIONS_ALL = 0x1FF
SET_SYMLIST = 0x100
STEPS_ALL = 0x1FFFFF
NO_CONNECT, NO_HELO, NO_MAIL, NO_RCPT, NO_DATA = 0x01, 0x02, 0x04, 0x08, 0x200
NO_REPLY = {"C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000}

STAGES = ["C", "H", "M", "R", "T", "E", "N"]  # SMFIM_*: connect helo mail rcpt data eom eoh

# Postfix's defaults where the milter did not ask for others (milter_*_macros).
POSTFIX_MACROS = {
    "C": "j {daemon_name} {daemon_addr} v _",
    "H": "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
    "M": "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
    "R": "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
    "T": "i",
}

PACKET_MAX = 1 << 20


class MilterGone(EOFError):
    """The milter closed the connection."""


class MilterClient:
    """One milter session, which is one SMTP session of a mail server.

    `macros` holds what this server knows now; each event sends those of them the milter asked for.
    A macro set to None is not sent."""

    def __init__(self, path, actions=ACTIONS_ALL, steps=STEPS_ALL, client="127.0.0.1", limit=20,
                 negotiate=True, **macros):  # fmt: skip
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(limit)
        self.connection.connect(str(path))
        self.client = client
        self.asked = dict(POSTFIX_MACROS)
        self.macros = {
            "j": "mx.test", "v": "Postfix 3.7.11", "{daemon_name}": "mx.test",
            "_": f"unknown [{client}]", "{client_addr}": client, "{client_name}": "unknown",
            "{client_ptr}": "unknown", "{client_port}": "12345", "{client_connections}": "0",
        }  # fmt: skip
        self.macros.update({f"{{{name}}}" if len(name) > 1 else name: value
                            for name, value in macros.items()})  # fmt: skip
        self.steps = steps
        if negotiate:
            self._negotiate(actions, steps)
            self.connect()
            self.helo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("Q")
        except OSError:
            pass
        self.close()

    def close(self):
        self.connection.close()

    # packets

    def send_bytes(self, data):
        self.connection.sendall(data)

    def send(self, command, payload=b""):
        self.send_bytes(struct.pack(">I", len(payload) + 1) + command.encode() + payload)

    def _receive(self, count):
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                raise MilterGone("the milter closed the connection")
            data += more
        return data

    def receive(self):
        """(command, payload)"""
        (length,) = struct.unpack(">I", self._receive(4))
        assert 1 <= length <= PACKET_MAX, length
        data = self._receive(length)
        return chr(data[0]), data[1:]

    def answer(self):
        """What the milter said, as the reply an SMTP client would get. `kind` is the packet's
        command, `wire` the bytes of its text."""
        while True:
            kind, payload = self.receive()
            if kind != "p":  # "still working"
                break
        if kind == "y":
            text = payload.rstrip(b"\0")
            reply = Reply(int(text[:3]), text[4:].decode("utf-8", "backslashreplace"))
        else:
            plain = {"c": (250, "continue"), "t": (451, "4.7.1 tempfail"), "r": (550, "5.7.1 reject"),
                     "a": (250, "accept"), "d": (250, "discard"), "s": (250, "skip")}  # fmt: skip
            assert kind in plain, (kind, payload)
            reply = Reply(*plain[kind])
        reply.kind, reply.wire = kind, payload
        return reply

    # stages

    def _negotiate(self, actions, steps):
        self.send("O", struct.pack(">III", 6, actions, steps))
        kind, payload = self.receive()
        assert kind == "O", (kind, payload)
        self.version, self.actions, self.steps = struct.unpack(">III", payload[:12])
        rest = payload[12:]
        self.symlists = {}
        while rest:
            (stage,) = struct.unpack(">I", rest[:4])
            names, _, rest = rest[4:].partition(b"\0")
            self.symlists[STAGES[stage]] = names.decode()
        self.asked.update(self.symlists)

    def _event(self, command, payload, skip_bit=0):
        if self.steps & skip_bit:
            return None
        self.send_macros(command)
        self.send(command, payload)
        return None if self.steps & NO_REPLY.get(command, 0) else self.answer()

    def send_macros(self, command):
        names = self.asked.get(command, "").replace(",", " ").split()
        payload = b""
        for name in names:
            bare = name if len(name) == 1 or name.startswith("{") else f"{{{name}}}"
            value = self.macros.get(bare)
            if value is not None:
                payload += bare.encode() + b"\0" + as_bytes(value) + b"\0"
        self.send("D", command.encode() + payload)

    def connect(self):
        family = b"6" if ":" in self.client else b"4"
        payload = b"unknown\0" + family + struct.pack(">H", 12345) + self.client.encode() + b"\0"
        return self._event("C", payload, NO_CONNECT)

    def helo(self, name=b"client.test"):
        return self._event("H", name + b"\0", NO_HELO)

    def mail(self, sender="sender@elsewhere.test", queue_id=None):
        self.macros.update({"{mail_addr}": sender, "{mail_mailer}": "smtp", "i": queue_id,
                            "{mail_host}": str(sender).rpartition("@")[2]})  # fmt: skip
        return self._event("M", as_path(sender) + b"\0", NO_MAIL)

    def rcpt(self, argument, resolved=True):
        """`argument` is the client's text (in brackets unless it has them). `resolved` is the
        value of {rcpt_addr}: True takes it from the argument, None sends none."""
        if resolved is True:
            resolved = as_path(argument).strip(b"<>")
        self.macros["{rcpt_addr}"] = resolved
        if resolved is not None:
            self.macros["{rcpt_host}"] = as_bytes(resolved).rpartition(b"@")[2]
            self.macros["{rcpt_mailer}"] = "relay"
        return self._event("R", as_path(argument) + b"\0", NO_RCPT)

    def rcpt_without_macros(self, argument):
        """No macro packet at all before this RCPT."""
        self.send("R", as_path(argument) + b"\0")
        return self.answer()

    def abort(self):
        """RSET, or the message is over."""
        self.send("A")
        self.macros["i"] = None

    def next_session(self):
        """SMFIC_QUIT_NC: another SMTP session over the same connection."""
        self.send("K")
        self.connect()
        self.helo()


def ask_milter(path, *recipients, **session):
    """The answers to these recipients, in one message of one session."""
    with MilterClient(path, **session) as client:
        client.mail()
        answers = [client.rcpt(recipient) for recipient in recipients]
    return answers[0] if len(answers) == 1 else answers
