"""Oracle's libmysqlclient, which Debian does not have: our MySQL files compile with a double of its
header (tests/oracle/mysql.h), and what differs from libmariadb is in db/mysql_compat.h alone. That
no other file has a condition of the preprocessor is a check of test_layers.py."""

import re
import shutil
import subprocess

import pytest
from sources import ROOT, matches, plant

ORACLE = ROOT / "tests/oracle"
FILES = sorted({*ROOT.glob("db/mysql_*.c"), ROOT / "db/map_mysql.c"})
# What libmysqlclient 8.0 and later do not have.
NON_BLOCKING = r"(real_|send_|read_)?(query|connect|row|result|ping|close|db|user|set|query_result)"
MARIADB_ONLY = (r"\b(my_bool|MARIADB_\w+|LIBMARIADB|mariadb_\w+|mysql_get_socket"
                rf"|mysql_(\w+_)?{NON_BLOCKING}_(start|cont)"
                r"|mysql_options4?v|mysql_optionsv|MYSQL_OPT_SSL_ENFORCE|MYSQL_OPT_SSL_VERIFY_SERVER_CERT"
                r"|MYSQL_OPT_NONBLOCK|MYSQL_OPT_TLS_PEER_FP\w*|MYSQL_OPT_TLS_VERIFICATION_CALLBACK)\b")  # fmt: skip


def compile_with_oracle(source, root=ROOT):
    """gcc's complaints; "" for none. No path of libmariadb's is given, so <mysql.h> is the double."""
    done = subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wshadow",
         "-Wstrict-prototypes", "-fsyntax-only", f"-I{ORACLE}", f"-I{root}", f"-I{ROOT}", source],
        capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


@pytest.mark.parametrize("source", FILES, ids=lambda path: path.name)
def test_it_compiles_with_oracles_library(source):
    assert compile_with_oracle(source) == ""


def test_make_takes_oracles_library_where_it_is_told_to(tmp_path):
    """MYSQL=mysqlclient, with a package that is the double."""
    plant(tmp_path, "mysqlclient.pc", f"Name: mysqlclient\nDescription: x\nVersion: 8.4.0\nCflags: -I{ORACLE}\n")
    target = f"{tmp_path}/build/db/mysql_client.o"
    done = subprocess.run(["make", target, "MYSQL=mysqlclient", f"BUILD={tmp_path}/build"], cwd=ROOT,
                          env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    depends = (tmp_path / "build/db/mysql_client.d").read_text()
    assert "tests/oracle/mysql.h" in depends and "mariadb/" not in depends


@pytest.mark.parametrize("line", [
    "my_bool yes = 1; (void)yes;",
    "mysql_get_socket(&client->mysql);",
    "mysql_options(&client->mysql, MYSQL_OPT_SSL_ENFORCE, NULL);",
    "mysql_options(&client->mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, NULL);",
    "mysql_optionsv(&client->mysql, MYSQL_OPT_SSL_CA, NULL);",
    "int s; mysql_query_start(&s, &client->mysql, NULL);",
    "mariadb_get_infov(&client->mysql, 0, NULL);",
])  # fmt: skip
def test_what_only_mariadb_has_is_noticed(tmp_path, line):
    text = (ROOT / "db/mysql_client.c").read_text()
    opening = "void mysql_client_close(struct mysql_client *client)\n{\n"
    assert text.count(opening) == 1
    copy = plant(tmp_path, "db/mysql_client.c", text)
    assert compile_with_oracle(copy, tmp_path) == ""  # the copy alone does no harm
    plant(tmp_path, "db/mysql_client.c", text.replace(opening, f"{opening}    {line}\n"))
    assert "error:" in compile_with_oracle(copy, tmp_path)
    assert re.search(MARIADB_ONLY, line)


def test_without_the_part_that_is_oracles_it_does_not_compile(tmp_path):
    """The double is no MariaDB in disguise: mysql_compat.h without its #else part fails."""
    text = (ROOT / "db/mysql_compat.h").read_text()
    shutil.copy(ROOT / "db/mysql_client.c", plant(tmp_path, "db/mysql_client.c", ""))
    plant(tmp_path, "db/mysql_compat.h", re.sub(r"(?m)^#ifdef MARIADB_PACKAGE_VERSION$", "#ifndef NOWHERE", text))
    complaints = compile_with_oracle(tmp_path / "db/mysql_client.c", tmp_path)
    assert "mysql_get_socket" in complaints and "MYSQL_OPT_SSL_ENFORCE" in complaints


def mariadb_names(root):
    return [f"{path.relative_to(root)}:{number}: {name[0]}" for path in sorted(root.glob("*/*.[ch]"))
            if path.name != "mysql_compat.h" and path.parent.name in ("shared", "config", "db", "milter")
            for number, name in matches(MARIADB_ONLY, path)]  # fmt: skip


def test_no_name_of_mariadbs_stands_outside_the_one_header(tmp_path):
    assert mariadb_names(ROOT) == []
    plant(tmp_path, "db/mysql_client.c", "static my_bool yes;\n")
    plant(tmp_path, "db/mysql_compat.h", "static my_bool yes;\n")
    assert mariadb_names(tmp_path) == ["db/mysql_client.c:1: my_bool"]
