"""rcptctl check against real servers: each broken thing gives its one finding, and the mended one
none."""

import os
import re
import socketserver
import subprocess
import threading

import pytest

from conftest import ROOT, load_directory
from harness import Process, mysql_table, rcptctl, wait_until
from test_schemas import REAL, load, query_file

WELL, FINDINGS, USAGE, UNASKED, CONFIG = 0, 1, 64, 75, 78
SENTINEL = "alice@example.test"
POINT = "SELECT address FROM recipients WHERE address = '%s' AND active"
READER, READER_PASSWORD = "rcpt_milter", "choose a password"


class Checked:
    """What one run said. A finding's line begins with where it is, "file:line: "."""

    def __init__(self, done):
        assert "s3cret-Passw0rd" not in done.stdout + done.stderr
        assert READER_PASSWORD not in done.stdout + done.stderr
        self.code, self.lines, self.stderr = done.returncode, done.stdout.splitlines(), done.stderr
        self.findings = [line for line in self.lines[:-1] if not line.startswith(("ok ", "note "))]
        self.ok = [line for line in self.lines if line.startswith("ok ")]
        self.notes = [line for line in self.lines if line.startswith("note ")]
        number = re.fullmatch(r"(\d+) findings?", self.lines[-1]) if self.lines else None
        assert not number or int(number[1]) == len(self.findings), done.stdout

    def __repr__(self):
        return f"exit {self.code}\n" + "\n".join(self.lines) + self.stderr

    def finds(self, words, code=FINDINGS):
        assert self.code == code and len(self.findings) == 1 and words in self.findings[0], self
        return self.findings[0]

    def is_well(self):
        assert self.code == WELL and not self.findings and not self.stderr, self
        return self


def check(world, sentinel_recipients=SENTINEL, wrapper=(), **config):
    """No daemon runs: only its configuration is there."""
    milter = world.milter_not_started(sentinel_recipients=sentinel_recipients, **config)
    if wrapper:
        program = ["-c", milter.conf, "check"]
        return Checked(rcptctl_within(wrapper, *program))
    return Checked(rcptctl("-c", milter.conf, "check"))


def rcptctl_within(wrapper, *arguments):
    program = ROOT / os.environ.get("RCPT_MILTER_BUILD", "build/plain") / "rcptctl"
    return subprocess.run([*map(str, wrapper), str(program), *map(str, arguments)], timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip


def check_query(world, database, query, sentinel_recipients=SENTINEL, **parameters):
    table = mysql_table(world, database, query, **parameters)
    return check(world, sentinel_recipients, recipient_maps=table)


@pytest.fixture(scope="module")
def tables(directory):
    """Tables as one finds them, in a database of their own."""
    directory.sql("CREATE DATABASE found CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database=None)
    for statement in (
        "CREATE TABLE folds (address VARCHAR(255) PRIMARY KEY) COLLATE utf8mb4_general_ci",
        "CREATE TABLE old (address VARCHAR(255) PRIMARY KEY) CHARACTER SET utf8mb3",
        "CREATE TABLE bare (address VARCHAR(255), active BOOLEAN DEFAULT TRUE)",
        "CREATE TABLE parts (local VARCHAR(64), domain VARCHAR(255), PRIMARY KEY (local, domain))",
        "CREATE TABLE hidden (address VARCHAR(255) PRIMARY KEY)",
        "CREATE TABLE many (address VARCHAR(255) PRIMARY KEY)",
    ):
        directory.sql(statement, database="found")
    for table in ("folds", "old", "bare", "hidden", "many"):
        directory.sql(f"INSERT INTO {table} (address) VALUES (%s)", SENTINEL, database="found")
    directory.sql("INSERT INTO many VALUES ('@example.test')", database="found")
    directory.sql("INSERT INTO parts VALUES ('alice', 'example.test')", database="found")
    directory.sql(
        "CREATE PROCEDURE find(IN wanted VARCHAR(255) CHARACTER SET utf8mb4 COLLATE"
        " utf8mb4_general_ci) READS SQL DATA SELECT address FROM folds WHERE address = wanted",
        database="found",
    )
    for table in ("folds", "old", "bare", "parts", "many"):
        directory.sql(f"GRANT SELECT ON found.{table} TO checker@localhost", database=None)
    directory.sql("GRANT EXECUTE ON PROCEDURE found.find TO checker@localhost", database=None)
    return directory


# ---- our own schema ----


def granted(database):
    """A user with the grants of db/schema.sql, to the letter."""
    text = (ROOT / "db/schema.sql").read_text()
    statements = re.findall(r"(?m)^--   ((?:CREATE USER|GRANT) [^;]+);$", text)
    assert len(statements) == 5
    for statement in statements:
        database.sql(statement, database=None)


def examples(world, database):
    maps = {}
    for name in ("recipients", "domains", "access"):
        text = (ROOT / f"config/examples/mysql-{name}.cf").read_text()
        text, count = re.subn(r"(?m)^hosts = .*$", f"hosts = unix:{database.socket}", text)
        assert count == 1 and f"user = {READER}\npassword = {READER_PASSWORD}\n" in text
        maps[name] = f"mysql:{world.file(f'mysql-{name}.cf', text, 0o640)}"
    return {"recipient_maps": maps["recipients"], "domain_maps": maps["domains"],
            "access_maps": maps["access"]}  # fmt: skip


@pytest.fixture(scope="module")
def granted_maps(base, directory):
    granted(directory)
    return examples(base, directory)


def test_our_schema_with_its_grants_and_examples_is_well(world, granted_maps):
    said = check(world, **granted_maps).is_well()
    assert [line.split()[1] for line in said.ok] == ["recipient_maps", "recipient_maps", "domain_maps",
                                                     "domain_maps", "access_maps"]  # fmt: skip
    assert not said.notes


def test_an_alias_domain_is_well_too(world, granted_maps):
    check(world, "alice@alias.test", **granted_maps).is_well()


def test_the_daemon_works_with_the_grants_of_our_schema(world, directory, granted_maps):
    milter = world.milter(role="fallback", sentinel_recipients=SENTINEL, **granted_maps)
    wait_until(lambda: "bounces: yes" in milter.ctl("status").stdout, 30, "the first answer")
    codes = [milter.ctl("lookup", "--no-cache", address).returncode
             for address in (SENTINEL, "bob@alias.test", "nobody@example.test")]  # fmt: skip
    assert codes == [0, 0, 1]
    assert "error" not in milter.log.text()


def test_our_schema_refuses_what_it_would_never_find(own_directory):
    for statement in ("INSERT INTO recipients (address) VALUES ('Dora@example.test')",
                      "INSERT INTO domains (domain) VALUES ('Dora.test')",
                      "INSERT INTO alias_domains (alias, target) VALUES ('Dora.test', 'all.test')",
                      "INSERT INTO access VALUES ('@Dora.test', 'OK')"):  # fmt: skip
        with pytest.raises(Exception, match="CONSTRAINT .*_lower"):
            own_directory.sql(statement)
    for name in ("dora", "ünal", "Ünal", "[^_`{@~"):
        own_directory.sql("INSERT INTO recipients (address) VALUES (%s)", f"{name}@example.test")


# ---- one finding each ----


def test_a_table_without_an_index(world, tables):
    query = "SELECT address FROM found.bare WHERE address = '%s'"
    said = check_query(world, tables, query)
    line = said.finds("no usable index: each lookup reads all of bare")
    assert re.match(r"\S+/table\.cf:5: recipient_maps mysql:", line)
    tables.sql("ALTER TABLE bare ADD INDEX (address)", database="found")
    check_query(world, tables, query).is_well()
    tables.sql("ALTER TABLE bare DROP INDEX address", database="found")


def test_an_index_that_a_function_hides(world, tables):
    said = check_query(world, tables, "SELECT address FROM recipients WHERE LOWER(address) = '%s'")
    said.finds("no usable index: each lookup reads all of recipients")


def test_a_union_and_a_derived_table_without_an_index(world, tables):
    union = POINT + " UNION SELECT b.address FROM found.bare b WHERE b.address = '%s'"
    check_query(world, tables, union).finds("no usable index: each lookup reads all of b ")
    derived = "SELECT x.address FROM (SELECT * FROM found.bare) x WHERE x.address = '%s'"
    check_query(world, tables, derived.replace("*", "address")).finds("all of bare")


def test_a_part_of_the_query_that_only_one_sentinel_comes_to(world, tables):
    query = POINT + (" UNION SELECT b.address FROM alias_domains a JOIN found.bare b"
                     " ON b.address = CONCAT('%u', '@', a.target) WHERE a.alias = '%d'")  # fmt: skip
    said = check_query(world, tables, query, f"{SENTINEL} alice@alias.test")
    said.finds("no usable index: each lookup reads all of b ")


def test_a_collation_that_folds_accents(world, tables):
    query = "SELECT address FROM found.folds WHERE address = '%s'"
    line = check_query(world, tables, query).finds("utf8mb4_general_ci of folds.address takes é for e")
    mend = re.search(r"AND (\S+ COLLATE utf8mb4_bin = '%s')", line)[1]
    check_query(world, tables, f"{query} AND {mend}").is_well()


def test_a_collation_of_another_character_set(world, tables):
    query = "SELECT address FROM found.old WHERE address = '%s'"
    line = check_query(world, tables, query).finds("utf8mb3_general_ci of old.address")
    mend = re.search(r"AND (CONVERT.* COLLATE utf8mb4_bin = '%s')", line)[1]
    check_query(world, tables, f"{query} AND {mend}").is_well()


def test_a_folding_that_only_the_answers_show(world, tables):
    said = check_query(world, tables, "CALL found.find('%s')")
    said.finds("it takes álice@example.test for alice@example.test")


def test_trailing_spaces_of_a_local_part(world, tables):
    query = "SELECT local FROM found.parts WHERE local = '%u' AND domain = '%d'"
    line = check_query(world, tables, query).finds("utf8mb4_bin of parts.local ignores trailing spaces")
    mend = re.search(r"AND CAST.* = '%u'", line)[0]
    check_query(world, tables, f"{query} {mend}").is_well()


def test_select_star(world, tables):
    check_query(world, tables, POINT.replace("address FROM", "* FROM")).finds("SELECT *")
    check_query(world, tables, POINT).is_well()


def test_a_query_without_its_key(world, tables):
    check_query(world, tables, "SELECT address FROM recipients").finds("says the same whatever")


def test_a_query_that_knows_everybody(world, tables):
    query = "SELECT address FROM recipients WHERE address = '%s' UNION SELECT 'OK' FROM dual"
    check_query(world, tables, query).finds("it knows everybody")


def test_a_catch_all_of_a_whole_domain(world, tables):
    query = "SELECT address FROM found.many WHERE address = '%s'"
    check_query(world, tables, query).finds("everybody in that domain is known")
    tables.sql("DELETE FROM many WHERE address = '@example.test'", database="found")
    check_query(world, tables, query).is_well()


def test_a_right_that_is_missing(world, tables):
    query = "SELECT address FROM found.hidden WHERE address = '%s'"
    check_query(world, tables, query).finds("GRANT SELECT")


def test_a_user_who_may_write(world, own_directory):
    own_directory.sql("GRANT INSERT, DELETE ON mail.recipients TO checker@localhost")
    line = check_query(world, own_directory, POINT).finds("the user may do more than read")
    own_directory.sql(re.search(r"REVOKE [^;]+;", line)[0])
    check_query(world, own_directory, POINT).is_well()


def test_a_wrong_password_is_a_finding_and_not_printed(world, tables):
    said = check_query(world, tables, POINT, password="n0t-the-password")
    assert re.match(r"\S+/table\.cf:3: ", said.finds("does not let this user in"))
    assert "n0t-the-password" not in repr(said)


def test_a_wrong_database_and_a_wrong_table(world, tables):
    check_query(world, tables, POINT, dbname="elsewhere").finds("no way into this database")
    check_query(world, tables, POINT.replace("recipients", "recipient")).finds("no such table")


def test_a_broken_query(world, tables):
    check_query(world, tables, "SELEKT '%s'").finds("no SQL that this server understands")


def test_a_dead_second_host(world, tables):
    dead = f"unix:{world.scratch.path}/nobody/sock"
    said = check_query(world, tables, POINT, hosts=f"unix:{tables.socket} {dead}")
    assert dead in said.finds(f"the server cannot be asked: {dead}", code=UNASKED)


def test_a_server_that_hangs(world, own_directory):
    own_directory.suspend()
    try:
        table = mysql_table(world, own_directory, POINT)
        said = check(world, recipient_maps=table, mysql_connect_timeout="1s")
    finally:
        own_directory.resume()
    said.finds("the server cannot be asked", code=UNASKED)
    assert any("not all of these maps could be asked" in line for line in said.notes)
    assert not said.ok


def test_two_hosts_that_do_not_agree(world, tables, own_directory):
    hosts = f"unix:{tables.socket} unix:{own_directory.socket}"
    check_query(world, tables, POINT, hosts=hosts).is_well()
    own_directory.sql("DELETE FROM recipients WHERE address = %s", SENTINEL)
    said = check_query(world, tables, POINT, hosts=hosts)
    said.finds(f"unix:{tables.socket} has {SENTINEL}, and unix:{own_directory.socket} has not")


def test_a_sentinel_that_is_in_no_map(world, tables):
    said = check_query(world, tables, POINT, "gone@example.test")
    assert "rcpt-milter.conf:" in said.finds("gone@example.test, one of sentinel_recipients")


def test_a_sentinel_in_another_map_of_the_list_is_well(world, tables):
    first = mysql_table(world, tables, POINT)
    second = world.file("recipients", "dora@example.test OK\n")
    check(world, "dora@example.test, alice@example.test",
          recipient_maps=f"{first}, texthash:{second}").is_well()  # fmt: skip


def test_a_slow_lookup(world, tables):
    slow = "SELECT IF(SLEEP(0.15) = 0, (SELECT address FROM recipients WHERE address = '%s'), NULL)"
    table = mysql_table(world, tables, slow)
    limits = {"mysql_connect_timeout": "1s", "mysql_query_timeout": "1s"}
    said = check(world, recipient_maps=table, lookup_deadline="1s", **limits)
    said.finds("more than a tenth of lookup_deadline (100 ms)")
    check(world, recipient_maps=table, lookup_deadline="1m", **limits).is_well()


def test_no_sentinels_is_a_note(world, tables):
    said = check_query(world, tables, POINT, "").is_well()
    assert len(said.notes) == 1 and "set sentinel_recipients" in said.notes[0]


# ---- over a network ----


class Loop(Process):
    """A network namespace with an address that is no loopback, without a wire to anywhere."""

    address = "192.0.2.1"

    def start(self):
        self.spawn(["unshare", "-n", "sh", "-c",
                    f"ip link set lo up && ip addr add {self.address}/32 dev lo && echo ready && "
                    "exec tail -f /dev/null"])  # fmt: skip
        wait_until(lambda: "ready" in self.log.text() or not self.alive(), 10, "the namespace")
        assert self.alive(), f"no network namespace to be had: {self.log.text()}"
        return self

    def stop(self):
        self.kill()

    @property
    def wrapper(self):
        return ["nsenter", "-t", self.pid, "-n"]


def test_a_password_in_the_clear(world):
    loop = Loop(world.scratch.new("loop") / "log")
    world.servers.append(loop)
    loop.start()
    key, cert = loop.log.path.with_name("key.pem"), loop.log.path.with_name("cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={loop.address}", "-addext", f"subjectAltName = IP:{loop.address}", "-keyout", str(key),
         "-out", str(cert)], check=True, capture_output=True, timeout=60)  # fmt: skip
    database = load_directory(world.mariadb(
        wrapper=loop.wrapper, options=("--skip-log-bin", "--port=3311", f"--bind-address={loop.address}",
                                       "--skip-networking=0", f"--ssl-cert={cert}", f"--ssl-key={key}")))  # fmt: skip
    database.sql("CREATE USER checker@'%' IDENTIFIED BY 's3cret-Passw0rd'")
    database.sql("GRANT SELECT ON mail.* TO checker@'%'")
    clear = mysql_table(world, database, POINT, hosts=f"inet:{loop.address}:3311")
    said = check(world, recipient_maps=clear, wrapper=loop.wrapper)
    said.finds("is asked over the network without TLS")
    mended = mysql_table(world, database, POINT, hosts=f"inet:{loop.address}:3311", tls_CAfile=cert)
    check(world, recipient_maps=mended, wrapper=loop.wrapper).is_well()


# ---- the other maps ----


def test_a_texthash_anybody_may_write(world):
    path = world.file("recipients", f"{SENTINEL} OK\n", 0o666)
    check(world, recipient_maps=f"texthash:{path}").finds("every user of this host may write it")
    path.chmod(0o640)
    check(world, recipient_maps=f"texthash:{path}").is_well()


def test_an_empty_texthash(world):
    path = world.file("access", "# nothing yet\n\n")
    config = {"recipient_maps": "inline:{alice@example.test=OK}", "access_maps": f"texthash:{path}"}
    said = check(world, **config)
    assert said.code == FINDINGS and "it has no entry" in "".join(said.findings), said


def test_a_map_that_is_missing_is_a_matter_of_configuration(world):
    said = check(world, recipient_maps="texthash:/nonexistent/recipients", sentinel_recipients="")
    said.finds("No such file", code=CONFIG)
    said = check(world, recipient_maps="mysql:/nonexistent/table.cf", sentinel_recipients="")
    said.finds("No such file", code=CONFIG)
    said = check(world, recipient_maps="hash:/etc/recipients", sentinel_recipients="")
    said.finds("did you mean texthash", code=CONFIG)


def test_a_map_that_fails_is_said_as_such(world):
    check(world, recipient_maps="fail:drill", sentinel_recipients="").finds("it cannot be asked: drill")


def test_a_static_map_of_recipients_knows_everybody(world):
    check(world, recipient_maps="static:OK").finds("it knows everybody")
    check(world, recipient_maps="inline:{alice@example.test=OK}", role_maps="static:primary").is_well()


def test_a_broken_configuration_is_told_with_its_line(world):
    said = check(world, recipient_map="static:OK")
    assert said.code == CONFIG
    assert re.search(r"rcpt-milter\.conf:[1-9]\d*: recipient_map: .*recipient_maps", said.stderr)
    assert check(world, sentinel_recipients="nobody").code == CONFIG


def test_arguments_are_refused(world):
    milter = world.milter_not_started()
    assert rcptctl("-c", milter.conf, "check", "all").returncode == USAGE


# ---- memcached ----

KNOWN = {"recipient_maps": "inline:{alice@example.test=OK}"}


def test_memcached_is_tried_and_left_as_it_was(world):
    memcached = world.memcached()
    check(world, memcache_servers=f"unix:{memcached.socket}", **KNOWN).is_well()
    assert memcached.stat("cmd_set") == 1 and memcached.keys() == []


def test_each_memcached_is_asked_alone(world):
    memcached, dead = world.memcached(), f"{world.scratch.path}/no-memcached"
    said = check(world, memcache_servers=f"unix:{memcached.socket} unix:{dead}", **KNOWN)
    assert f"unix:{dead}: it cannot be asked" in said.finds("cannot be asked", code=UNASKED)
    assert f"ok memcache_servers unix:{memcached.socket}" in said.lines


def test_what_is_no_memcached_is_told(world, tables):
    said = check(world, memcache_servers=f"unix:{tables.socket}", **KNOWN)
    said.finds(f"unix:{tables.socket}: it cannot be asked", code=UNASKED)


def test_a_sealed_memcached_is_well(world):
    memcached = world.memcached()
    secret = world.file("secret", "0123456789abcdef0123456789abcdef\n", 0o600)
    config = {"memcache_servers": f"unix:{memcached.socket}", **KNOWN}
    check(world, memcache_secret_file=secret, **config).is_well()


class Full(socketserver.StreamRequestHandler):
    """A memcached that has no memory left."""

    def handle(self):
        for line in self.rfile:
            if line.startswith(b"set"):
                self.rfile.read(int(line.split()[4]) + 2)
                self.wfile.write(b"SERVER_ERROR out of memory storing object\r\n")
            else:
                self.wfile.write(b"END\r\n")


def test_a_memcached_that_takes_no_values_is_told(world):
    socket = world.scratch.new("full") / "sock"
    with socketserver.ThreadingUnixStreamServer(str(socket), Full) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = check(world, memcache_servers=f"unix:{socket}", **KNOWN)
        server.shutdown()
    said.finds("it answers, and fails a set")


# ---- directories people have ----


@pytest.mark.parametrize("schema", REAL, ids=str)
def test_a_real_schema_can_be_checked(world, directory, schema):
    if not (ROOT.parent / "shared/schemas" / schema.folder).exists():
        pytest.skip("../shared/schemas is not there")
    if not directory.sql("SHOW DATABASES LIKE %s", schema.database, database=None):
        load(directory, schema)
    maps = {
        name: " ".join(query_file(world, directory, schema, file) for file in files)
        for name, files in (("recipient_maps", schema.recipient_maps), ("domain_maps", schema.domain_maps))
    }
    said = check(world, "", **maps)
    assert said.code in (WELL, FINDINGS) and not said.stderr, said
    assert not any("error" in line or "could not be looked at" in line for line in said.lines), said
    folding = [line for line in said.findings if "takes é for e" in line]
    # PostfixAdmin's tables are latin1_general_ci, which folds case only.
    assert bool(folding) == (schema.folder != "postfixadmin"), said
    unindexed = {re.search(r"all of (\S+)", line)[1] for line in said.findings if "no usable index" in line}
    # ISPmail's tables have none on the columns the guide's queries compare.
    ispmail = {"virtual_aliases", "virtual_domains"}
    assert unindexed == (ispmail if schema.folder == "ispmail-workaround" else set()), said
