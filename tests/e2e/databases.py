"""Private MariaDB and memcached servers on unix sockets."""

import pathlib
import shutil
import socket
import subprocess
import urllib.parse

import pymysql

from processes import Process, free_port, wait_until

HERE = pathlib.Path(__file__).resolve().parent


class MariaDB(Process):
    """One mariadbd with its own data. The first one of a scratch directory makes a data directory;
    the others copy it, which takes a tenth of the time. `wrapper` is a command that runs it,
    `template` a data directory to begin with."""

    SMALL = [
        "--no-defaults", "--user=root",
        "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M",
        "--innodb-data-file-path=ibdata1:4M:autoextend", "--innodb-flush-log-at-trx-commit=2",
        # Asynchronous I/O is a resource of the whole machine, and others run here, too.
        "--innodb-use-native-aio=0",
    ]  # fmt: skip

    def __init__(self, scratch, name="db", tcp=False, options=("--skip-log-bin",), wrapper=(),
                 template=None):  # fmt: skip
        self.directory = scratch.new(name)
        super().__init__(self.directory / "log")
        self.socket = self.directory / "sock"
        self.data = self.directory / "data"
        self.port = None
        self.tcp = tcp
        self.options = options
        self.wrapper = wrapper
        self.template = template or scratch.path / "db-template"

    def start(self):
        if not self.data.exists():
            self._make_data()
        for _ in range(5):
            network = ["--skip-networking"]
            if self.tcp:
                self.port = self.port or free_port()
                network = ["--bind-address=127.0.0.1", f"--port={self.port}"]
            self.spawn(
                [*self.wrapper, "mariadbd", *self.SMALL, *network,
                 f"--datadir={self.data}", f"--tmpdir={self.directory}",
                 f"--socket={self.socket}",
                 f"--pid-file={self.directory / 'pid'}", *self.options,
                 "--character-set-server=utf8mb4", "--max-connections=200",
                 "--skip-name-resolve", "--innodb-fast-shutdown=2"]
            )  # fmt: skip
            wait_until(lambda: self.answers() or not self.alive(), 60, f"{self.log.path} to answer")
            if self.alive():
                return self
            assert self.tcp and "Address already in use" in self.log.text(), self.log.text()[-2000:]
            self.port = None
        raise AssertionError("no port to be had")

    def _make_data(self):
        if not self.template.exists():
            making = self.template.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)  # of a try that failed
            done = subprocess.run(
                ["mariadb-install-db", *self.SMALL, f"--datadir={making}",
                 f"--tmpdir={self.directory}", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--skip-name-resolve"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode != 0:
                errors = "\n".join(path.read_text() for path in making.glob("*.err"))
                raise AssertionError(f"{done.stdout}\n{done.stderr}\n{errors}")
            making.rename(self.template)
        shutil.copytree(self.template, self.data)

    def answers(self):
        try:
            return bool(self.sql("SELECT 1", database=None))
        except pymysql.MySQLError:
            return False

    def connect(self, database="mail"):
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, charset="utf8mb4",
            connect_timeout=20, read_timeout=20, autocommit=True,
        )  # fmt: skip

    def sql(self, statement, *values, database="mail"):
        """The rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def load(self, *scripts, database=None):
        """Runs SQL files through the client, which knows DELIMITER."""
        use = [f"--database={database}"] if database else []
        for script in scripts:
            with open(script, "rb") as file:
                subprocess.run(
                    ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root",
                     "--default-character-set=utf8mb4", *use],
                    stdin=file, check=True, capture_output=True,
                )  # fmt: skip
        return self

    def restart(self):
        self.end()
        return self.start()

    stop = Process.end

    def watch_queries(self):
        """From now on queries are written down; see queries()."""
        self.sql("SET GLOBAL log_output = 'TABLE'")
        self.sql("SET GLOBAL general_log = OFF")
        self.sql("TRUNCATE mysql.general_log")
        self.sql("SET GLOBAL general_log = ON")

    def queries(self, containing="", user="checker"):
        """The queries `user` sent since watch_queries() that contain these bytes."""
        rows = self.sql(
            "SELECT argument FROM mysql.general_log"
            " WHERE command_type = 'Query' AND user_host LIKE %s AND INSTR(argument, %s)",
            f"{user}[%", containing.encode(),
        )  # fmt: skip
        return [bytes(row[0]) if not isinstance(row[0], str) else row[0].encode() for row in rows]

    def running(self, user="checker", containing=None):
        """What this user's connections are at: one text for each, "" while it is idle."""
        rows = self.sql("SELECT info FROM information_schema.processlist WHERE user = %s", user)
        texts = [row[0] or "" for row in rows]
        return [text for text in texts if containing is None or containing in text]


class Memcached(Process):
    """One memcached with that many megabytes, on a unix socket, or on `address` (host, port) where
    a network namespace of its own (`wrapper`) has room for one."""

    def __init__(self, scratch, name="mc", megabytes=16, address=None, wrapper=()):
        self.directory = scratch.new(name)
        super().__init__(self.directory / "log")
        self.socket = self.directory / "sock"
        self.megabytes, self.address, self.wrapper = megabytes, address, wrapper

    def start(self):
        where = ["-s", self.socket, "-a", "0666"]
        if self.address:
            where = ["-l", self.address[0], "-p", self.address[1]]
        self.spawn([*self.wrapper, "memcached", "-u", "root", *where, "-m", self.megabytes, "-t", "1"])
        wait_until(self.answers, what=f"{self.log.path} to answer")
        return self

    def answers(self):
        try:
            return self.ask(b"version\r\n").startswith(b"VERSION")
        except OSError:
            return False

    def _connect(self, limit):
        if self.address:
            return socket.create_connection(self.address, limit)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(limit)
        connection.connect(str(self.socket))
        return connection

    def ask(self, command, end=b"\r\n", limit=10):
        """Sends bytes, returns what comes back up to and including `end`."""
        with self._connect(limit) as connection:
            connection.sendall(command)
            answer = b""
            while not answer.endswith(end):
                more = connection.recv(65536)
                if not more:
                    break
                answer += more
            return answer

    def keys(self):
        dump = self.ask(b"lru_crawler metadump all\r\n", b"END\r\n")
        return [
            urllib.parse.unquote(line.split()[0][4:].decode())
            for line in dump.splitlines()
            if line.startswith(b"key=")
        ]

    def get(self, key):
        answer = self.ask(f"get {key}\r\n".encode(), b"END\r\n")
        if answer == b"END\r\n":
            return None
        head, _, rest = answer.partition(b"\r\n")
        return rest[: int(head.split()[3])]

    def set(self, key, value, expires=0):
        answer = self.ask(b"set %s 0 %d %d\r\n%s\r\n" % (key.encode(), expires, len(value), value))
        assert answer == b"STORED\r\n", answer

    def flush(self):
        assert self.ask(b"flush_all\r\n") == b"OK\r\n"

    def stat(self, name):
        for line in self.ask(b"stats\r\n", b"END\r\n").decode().splitlines():
            if line.startswith(f"STAT {name} "):
                return int(line.split()[2])
        raise KeyError(name)

    def restart(self):
        self.end()
        return self.start()

    stop = Process.end
