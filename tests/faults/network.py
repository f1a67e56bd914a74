"""What a network does to a server: a proxy that stands before it, and a namespace of its own whose
packets can be dropped."""

import contextlib
import itertools
import os
import random
import socket
import struct
import subprocess
import threading
import time

from processes import Process, wait_until


class Proxy:
    """Takes connections on a loopback port and passes them to a server's unix socket. How the
    server's bytes come back, its `manner` decides; it may change at any time."""

    def __init__(self, target):
        self.target = str(target)
        self.links = set()
        self.lock = threading.Lock()
        self.manner = Manner()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    def behave(self, manner=None):
        """From now on, also on the connections there are."""
        self.manner = manner or Manner()
        with self.lock:
            links = list(self.links)
        for link in links:
            self.manner.begin(link)

    def stop(self):
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            links = list(self.links)
        for link in links:
            link.close()

    def _accept(self):
        while not self.stopping:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            link = Link(self, client)
            self.manner.begin(link)
            threading.Thread(target=link.run, daemon=True).start()


class Link:
    """One connection through a proxy."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server = socket.socket(socket.AF_UNIX)
        self.asked = b""  # the last bytes the client sent
        with proxy.lock:
            proxy.links.add(self)

    def run(self):
        with contextlib.suppress(OSError):
            self.server.connect(self.proxy.target)
            threading.Thread(target=self._to_client, daemon=True).start()
            while data := self.client.recv(65536):
                self.asked = data
                if not self.proxy.manner.request(self, data):
                    self.server.sendall(data)
        self.close()

    def _to_client(self):
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                self.proxy.manner.answer(self, data)
        self.close()

    def close(self):
        with self.proxy.lock:
            self.proxy.links.discard(self)
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def reset(self):
        """The client gets a RST."""
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self.proxy.lock:
            self.proxy.links.discard(self)
        self.client.close()
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Manner:
    """Passes everything."""

    def begin(self, link):
        """A connection was made, or was there when this manner came."""

    def request(self, link, data):
        """True: it is taken care of, and does not go to the server."""
        return False

    def answer(self, link, data):
        link.client.sendall(data)


class Reset(Manner):
    def begin(self, link):
        link.reset()


class Dribble(Manner):
    """A byte now and then: enough to satisfy every timeout that is counted per read."""

    def __init__(self, pause):
        self.pause = pause

    def answer(self, link, data):
        for i in range(len(data)):
            if link.proxy.manner is not self:
                link.client.sendall(data[i:])
                return
            link.client.sendall(data[i : i + 1])
            time.sleep(self.pause)


class Slow(Manner):
    """Answers to requests with these bytes come late."""

    def __init__(self, seconds, asked=b""):
        self.seconds, self.asked = seconds, asked

    def answer(self, link, data):
        if self.asked in link.asked:
            time.sleep(self.seconds)
        link.client.sendall(data)


class Garbage(Manner):
    """As many bytes as the server said, but others."""

    def __init__(self, seed=3):
        self.random = random.Random(seed)

    def answer(self, link, data):
        link.client.sendall(self.random.randbytes(len(data)))


class Flip(Manner):
    """One bit of each answer is another: what a checksum did not see."""

    def __init__(self, seed=3):
        self.random = random.Random(seed)

    def answer(self, link, data):
        at = self.random.randrange(len(data))
        flipped = bytes([data[at] ^ (1 << self.random.randrange(8))])
        link.client.sendall(data[:at] + flipped + data[at + 1 :])


class CutOff(Manner):
    """The connection ends in the middle of an answer to a request with these bytes. A MySQL result
    breaks off after the names of its columns, so that no row has come."""

    def __init__(self, asked):
        self.asked = asked

    def answer(self, link, data):
        if self.asked not in link.asked:
            link.client.sendall(data)
            return
        # Packets: a 3 byte length and a number. Count of columns, one packet each, (EOF), rows.
        end, packets = 0, 0
        while packets < 2 and end < len(data):
            end += 4 + int.from_bytes(data[end : end + 3], "little")
            packets += 1
        link.client.sendall(data[:end])
        link.close()


class WrongValue(Manner):
    """A memcached that answers each get with the value of another key: any_value(key) gives it."""

    def __init__(self, any_value):
        self.any_value = any_value

    def request(self, link, data):
        if not data.startswith(b"get "):
            return False
        key = data.split()[1]
        value = self.any_value(key.decode())
        if value is None:
            return False
        link.client.sendall(b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value))
        return True


class Namespace(Process):
    """A network namespace with one wire to ours. `wrapper` starts a server inside, and `address` is
    where we find it. After cut() every packet is dropped there, without a word to anybody."""

    numbers = itertools.count()

    def __init__(self, scratch):
        super().__init__(scratch.new("namespace") / "log")
        self.number = (os.getpid() * 64 + next(self.numbers)) % 32768  # of a /30 in 198.18.0.0/15
        base = (198 << 24 | 18 << 16) + 4 * self.number
        self.near, self.address = (socket.inet_ntoa(struct.pack(">I", base + i)) for i in (1, 2))

    def start(self):
        """It lives as long as this sleeper does."""
        self.spawn(["unshare", "-n", "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != ours, what="the namespace")
        here, there = f"rm{self.number}a", f"rm{self.number}b"
        self._run("ip", "link", "add", here, "type", "veth", "peer", there, "netns", self.pid)
        self._run("ip", "addr", "add", f"{self.near}/30", "dev", here)
        self._run("ip", "link", "set", here, "up")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "addr", "add", f"{self.address}/30", "dev", there)
        self._inside("ip", "link", "set", there, "up")
        return self

    def stop(self):
        self.kill()

    @property
    def wrapper(self):
        return ["nsenter", "-t", self.pid, "-n"]

    def cut(self):
        self._inside("nft", "add table inet cut; add chain inet cut in"
                     " { type filter hook input priority 0; policy drop; };"
                     " add chain inet cut out { type filter hook output priority 0; policy drop; }")  # fmt: skip

    def mend(self):
        self._inside("nft", "delete table inet cut")

    def _inside(self, *command):
        self._run(*self.wrapper, *command)

    @staticmethod
    def _run(*command):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
