"""rcptctl import-postfix: a configuration made from Postfix's own, which knows whom Postfix knows.

The main.cf files under postfix/ are set up as five kinds of mail host are; four of them have the
query files and tables of ../shared/schemas."""

import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from harness import World, rcpt_milter, rcptctl
from test_schemas import PASSWORD, REAL, SCHEMAS, USER, load, recorded

HERE = pathlib.Path(__file__).resolve().parent
NO_NETWORK = ["unshare", "-n"]  # and no DNS: it is not this test's business
CARRIED, LEFT_OUT, USAGE, NO_POSTFIX = 0, 1, 64, 69
RELAY_FILES = {
    "relay_recipients": "alice@example.test OK\nsales@other.test  anything\n@all.test x\n",
    "virtual": "info@example.test alice@example.test\n",
    "relay_domains": "# those of our customers\nother.test all.test\n",
}


class Host:
    """A config_directory of Postfix's, one of those under postfix/ or with the lines given."""

    def __init__(self, scratch, name, files=None, sql=None, main_cf=None, master_cf=None):
        self.directory = scratch.new("pf")
        self.queue = self.directory / "queue"
        self.etc = self.directory / "etc"
        (self.queue / "rcpt-milter").mkdir(parents=True)
        self.etc.mkdir()
        self.sql = sql or self.etc
        for file, text in (files or {}).items():
            (self.sql / file).write_text(text)
        for file, given in (("main.cf", main_cf), ("master.cf", master_cf)):
            text = given or (HERE / "postfix" / name / file).read_text()
            (self.etc / file).write_text(
                text.replace("@QUEUE@", str(self.queue)).replace("@SQL@", str(self.sql))
            )
        if pathlib.Path("/etc/postfix/dynamicmaps.cf").exists():
            shutil.copy("/etc/postfix/dynamicmaps.cf", self.etc)
        self.conf = self.directory / "rcpt-milter.conf"
        self.rest()

    def rest(self):
        """Postfix and we both wait until nobody has been writing a file for a second."""
        for path in [*self.etc.iterdir(), *self.sql.iterdir()]:
            os.utime(path, (0, 0))

    def imported(self, *arguments):
        """Runs it; what it printed is the configuration from then on."""
        done = rcptctl("import-postfix", "--postfix", self.etc, *arguments)
        self.conf.write_text(done.stdout)
        return done

    def setting(self, name):
        """A parameter as our own reader has it."""
        done = rcpt_milter("-T", "-c", self.conf)
        return re.search(rf"(?m)^{name} =(.*)$", done.stdout)[1].strip()

    def replies(self, *addresses):
        """address -> what the fallback says: "pass" or a reply."""
        done = rcptctl("-s", self.directory / "none", "-c", self.conf, "lookup", *addresses)
        said = re.findall(r"(?m)^  as fallback +(.*)$", done.stdout)
        assert len(said) == len(addresses), done
        return dict(zip(addresses, said))

    def changes(self):
        return re.findall(r"(?m)^# +(postconf .*)$", self.conf.read_text())


def is_accepted(host):
    done = rcpt_milter("-t", "-c", host.conf)
    assert done.returncode == 0, (done, host.conf.read_text())


# ---- the five ----


@pytest.fixture(scope="module")
def hosts(scratch):
    """make(name) -> Host, over a MariaDB with the tables of the shared schemas."""
    if not SCHEMAS.is_dir():
        pytest.skip(f"{SCHEMAS} IS MISSING: four of five main.cf files ARE NOT TESTED")
    with World(scratch) as world:
        database = world.mariadb()
        database.sql(f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}'", database=None)
        schemas = {schema.folder: schema for schema in REAL}
        for name in MYSQL:
            load(database, schemas[name])
        # What its recipient_canonical_maps asks is not among the tables of the shared schema.
        database.sql("CREATE TABLE recipient_maps (old_dest VARCHAR(255), new_dest VARCHAR(255), active TINYINT)",
                     database="mailcow")

        def make(name):
            sql = scratch.new("sql")
            for path in (SCHEMAS / name / "cf").iterdir():
                text = path.read_text()
                for word, value in (("@USER@", USER), ("@PASSWORD@", PASSWORD), ("@SOCK@", database.socket)):
                    text = text.replace(word, str(value))
                (sql / path.name).write_text(text)
            return Host(scratch, name, sql=sql)

        yield make


MYSQL = ["postfixadmin", "iredmail", "mailcow", "modoboa"]
ADDRESSES = [
    "alice@example.test", "ALICE@Example.TEST", "alice+tag@example.test", "bob@example.test",
    "nobody@example.test", "sales@example.test", "sales+news@example.test", "o'brien@example.test",
    "postmaster@example.test", "bob+x@example.test", "alice@alias.test", "alice+tag@alias.test",
    "nobody@alias.test", "any@catch.test", "nobody@catch.test", "any@relay.test",
]  # fmt: skip


@pytest.mark.parametrize("name", MYSQL)
def test_what_is_imported_knows_whom_postfix_knows(hosts, name):
    host = hosts(name)
    done = host.imported("--role", "fallback")
    assert done.returncode == CARRIED, done
    is_accepted(host)
    assert host.setting("role") == "fallback" and host.setting("recipient_delimiter") == "+"
    rows = [row for row in recorded("smtpd-rcpt.tsv") if row[0] == name]
    postfix = {row[1]: row[2] for row in reversed(rows)}  # the second alice suffers from the emoji
    said = host.replies(*ADDRESSES)
    wrong = [(address, postfix[address], said[address]) for address in ADDRESSES
             if not said[address].startswith("pass" if postfix[address] == "250" else "550 5.1.1")]  # fmt: skip
    assert not wrong, (wrong, host.conf.read_text())


@pytest.mark.sanitizer
def test_a_relay_with_files_is_imported_with_what_the_files_have(scratch):
    host = Host(scratch, "relay-mx", RELAY_FILES)
    done = host.imported("--role", "fallback")
    assert done.returncode == CARRIED, done
    is_accepted(host)
    assert "hash:" in done.stdout and "subdomains" in done.stdout and "relay_domains are copied" in done.stdout
    said = host.replies("alice@example.test", "alice+x@example.test", "boss@example.test", "info@example.test",
                        "who@all.test", "sales@other.test", "elsewhere@foreign.test",
                        "ghost@example.test", "info@other.test")  # fmt: skip
    assert [reply.split()[0] for reply in said.values()] == ["pass"] * 7 + ["550"] * 2, said


@pytest.mark.parametrize("role", ["primary", "fallback"])
@pytest.mark.parametrize("name", [*MYSQL, "relay-mx"])
def test_with_the_printed_changes_the_doctor_has_nothing_left_to_say(hosts, scratch, name, role):
    host = Host(scratch, name, RELAY_FILES) if name == "relay-mx" else hosts(name)
    assert host.imported("--role", role).returncode == CARRIED
    changes = host.changes()
    assert any("smtpd_milters = " in line for line in changes)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(host.queue / "rcpt-milter/milter.sock"))
        os.chmod(host.queue / "rcpt-milter/milter.sock", 0o666)

        def doctor():
            return rcptctl("-c", host.conf, "doctor", "--postfix", host.etc, wrapper=NO_NETWORK)

        before = doctor()
        assert before.returncode == 1 and before.stdout.count("\n     postconf") == len(changes), before
        subprocess.run(["sh", "-e"], input="\n".join(changes), text=True, check=True, capture_output=True)
        host.rest()
        after = doctor()
        assert after.returncode == 0, after


def test_another_milter_keeps_its_place_and_its_default_action(hosts):
    host = hosts("mailcow")
    host.imported()
    lines = [line for line in host.changes() if "smtpd_milters" in line]
    assert lines and all(line.endswith("'smtpd_milters = { unix:rcpt-milter/milter.sock, default_action=tempfail },"
                                       " inet:rspamd:9900'") for line in lines), lines  # fmt: skip
    assert not any("milter_default_action" in line for line in host.changes())


# ---- what cannot be carried over ----

MASTER = "smtp inet n - y - - smtpd\n"
MAIN = "compatibility_level = 3.6\nmyhostname = mx.test\nmydestination =\nqueue_directory = @QUEUE@\n"


def host_of(scratch, *lines, files=None):
    return Host(scratch, None, files, main_cf=MAIN + "\n".join(lines) + "\n", master_cf=MASTER)


UNKNOWN_MAPS = ["ldap:/etc/postfix/ldap.cf", "proxy:pgsql:/etc/postfix/x.cf", "pcre:/etc/postfix/x",
                "hash:/no/such/file", "mysql:/no/such/file.cf", "unix:passwd.byname"]  # fmt: skip


@pytest.mark.parametrize("given", UNKNOWN_MAPS)
def test_a_map_that_cannot_be_asked_makes_nobody_unknown(scratch, given):
    """Not in silence: the file is refused until somebody has decided; and with --partial, whom only that
    map knows is deferred, on the fallback too."""
    host = host_of(scratch, "relay_domains = example.test",
                   f"relay_recipient_maps = inline:{{alice@example.test=OK}}, {given}")  # fmt: skip
    done = host.imported("--role", "fallback")
    assert done.returncode == LEFT_OUT and given in done.stderr, done
    assert "# NOT CARRIED OVER:" in done.stdout
    assert rcpt_milter("-t", "-c", host.conf).returncode == 78
    done = host.imported("--role", "fallback", "--partial")
    assert done.returncode == LEFT_OUT and given in done.stderr, done
    is_accepted(host)
    said = host.replies("alice@example.test", "ghost@example.test", "who@foreign.test")
    assert [reply.split()[0] for reply in said.values()] == ["pass", "451", "pass"], said


def test_what_is_left_out_is_told_once(scratch):
    host = host_of(scratch, "virtual_alias_domains = example.test", "virtual_alias_maps = ldap:/etc/postfix/a.cf")
    done = host.imported()
    assert done.returncode == LEFT_OUT and done.stderr.count("ldap:") == 1, done


SUBDOMAINS = [
    # main.cf, and what becomes of whom the fallback is asked about
    ([], {"alice@example.test": "pass", "bob@sub.example.test": "pass", "ghost@sub.example.test": "550",
          "ghost@deep.sub.example.test": "550", "who@foreign.test": "pass"}),
    (["parent_domain_matches_subdomains ="],
     {"ghost@sub.example.test": "pass", "ghost@example.test": "550"}),
    # Users of the host, and of a class without a list, are in none of the maps.
    (["mydestination = MX.example.test, localhost, [192.0.2.1]"],
     {"root@mx.example.test": "pass", "ghost@sub.mx.example.test": "550", "ghost@sub.example.test": "550"}),
    (["virtual_mailbox_domains = box.example.test"],
     {"who@box.example.test": "pass", "ghost@sub.example.test": "550"}),
    (["relay_domains = texthash:@SQL@/domains", "mydestination = mx.example.test, mx.foreign.test"],
     {"root@mx.example.test": "pass", "root@mx.foreign.test": "pass", "ghost@sub.example.test": "550"}),
    # Nobody knows what is in there, so nobody is called unknown for it.
    (["mydestination = texthash:@SQL@/domains"], {"ghost@sub.example.test": "pass"}),
]  # fmt: skip


@pytest.mark.parametrize("lines, expected", SUBDOMAINS)
def test_subdomains_of_relay_domains_are_what_they_are_to_postfix(scratch, lines, expected):
    host = host_of(scratch, "relay_domains = example.test",
                   "relay_recipient_maps = inline:{{alice@example.test=x}, {bob@sub.example.test=x}}", *lines,
                   files={"domains": "example.test OK\n"})  # fmt: skip
    host.imported("--role", "fallback")  # local users may be left out, which is told elsewhere
    is_accepted(host)
    said = {address: reply.split()[0] for address, reply in host.replies(*expected).items()}
    assert said == expected, host.conf.read_text()
    matched = expected["ghost@sub.example.test"] == "550"
    assert host.setting("parent_domain_matches_subdomains") == ("domain_maps" if matched else "")


def test_domains_that_cannot_be_asked_leave_their_recipients_unchecked(scratch):
    host = host_of(scratch, "relay_domains = example.test, ldap:/etc/postfix/ldap.cf, .wild.test",
                   "relay_recipient_maps = inline:{alice@example.test=OK}")  # fmt: skip
    done = host.imported("--partial")
    assert done.returncode == LEFT_OUT and "ldap:" in done.stderr and ".wild.test" in done.stderr, done
    is_accepted(host)
    assert host.setting("domain_maps") == "inline:{example.test=OK}"


def test_without_any_list_of_recipients_nobody_is_called_unknown(scratch):
    host = host_of(scratch, "relay_domains = example.test")
    done = host.imported("--role", "fallback")
    assert done.returncode == LEFT_OUT and "relay_recipient_maps is empty" in done.stdout, done
    is_accepted(host)
    assert host.setting("recipient_maps") == "" and host.setting("domain_maps") == ""


def test_domains_whose_recipients_postfix_does_not_list_are_none_of_ours(scratch):
    """Or the maps of the other class would be asked for them, and know nobody."""
    host = host_of(scratch, "relay_domains = open.test", "virtual_alias_domains = example.test",
                   "virtual_alias_maps = inline:{alice@example.test=x@y.test}")  # fmt: skip
    assert host.imported("--role", "fallback").returncode == CARRIED
    said = host.replies("who@open.test", "alice@example.test", "ghost@example.test")
    assert [reply.split()[0] for reply in said.values()] == ["pass", "pass", "550"], said


def test_aliases_that_name_their_own_domains_give_domains_too(scratch):
    """virtual_alias_domains' default: a domain is a key among the aliases."""
    host = host_of(scratch, "virtual_alias_maps = hash:@SQL@/virtual",
                   files={"virtual": "example.test anything\nalice@example.test x@y.test\n"})  # fmt: skip
    assert host.imported("--role", "fallback").returncode == CARRIED
    said = host.replies("alice@example.test", "ghost@example.test", "ghost@foreign.test")
    assert [reply.split()[0] for reply in said.values()] == ["pass", "550", "pass"], said


def test_recipients_that_a_canonical_map_rewrites_are_recipients(scratch):
    host = host_of(scratch, "relay_domains = example.test", "relay_recipient_maps = inline:{a@example.test=x}",
                   "recipient_canonical_maps = inline:{old@example.test=a@example.test}",
                   "canonical_maps = inline:{older@example.test=a@example.test}")  # fmt: skip
    assert host.imported("--role", "fallback").returncode == CARRIED
    said = host.replies("a@example.test", "old@example.test", "older@example.test", "b@example.test")
    assert [reply.split()[0] for reply in said.values()] == ["pass"] * 3 + ["550"], said


@pytest.mark.parametrize("maps", ["", "local_recipient_maps = inline:{alice=OK}"])
def test_users_of_the_system_are_left_to_postfix_and_told(scratch, maps):
    host = host_of(scratch, "relay_domains = example.test", "relay_recipient_maps = inline:{a@example.test=x}",
                   "mydestination = $myhostname, local.test", maps)  # fmt: skip
    done = host.imported("--role", "fallback")
    assert done.returncode == LEFT_OUT and "local_recipient_maps" in done.stderr, done
    is_accepted(host)
    said = host.replies("root@local.test", "ghost@local.test", "ghost@example.test")
    assert [reply.split()[0] for reply in said.values()] == ["pass", "pass", "550"], said


def test_a_dollar_stays_a_dollar(scratch):
    host = host_of(scratch, "relay_domains = example.test", "relay_recipient_maps = inline:{a$$b@example.test=x}")
    assert host.imported("--role", "fallback").returncode == CARRIED
    assert host.replies("a$b@example.test")["a$b@example.test"].startswith("pass")


def test_users_by_bare_names_in_the_domain_of_the_host_are_told(scratch):
    host = host_of(scratch, "myorigin = example.test", "virtual_alias_domains = example.test",
                   "virtual_alias_maps = inline:{alice=x@y.test}")  # fmt: skip
    done = host.imported()
    assert done.returncode == LEFT_OUT and "bare names" in done.stderr, done


# ---- using it ----


@pytest.mark.parametrize("arguments", [["--role"], ["--role", "both"], ["--all"], ["-c"]])
def test_wrong_words_are_told(arguments):
    done = rcptctl("import-postfix", *arguments)
    assert done.returncode == USAGE and "usage: rcptctl import-postfix" in done.stderr


def test_without_a_postfix_nothing_is_printed(scratch):
    done = rcptctl("import-postfix", "--postfix", scratch.new("empty"))
    assert done.returncode == NO_POSTFIX and not done.stdout and "main.cf" in done.stderr
