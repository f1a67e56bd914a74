"""shared <- config <- db <- milter, and one home for each library."""

import re

import pytest
from sources import FOLDERS, ROOT, c_files, matches, plant, where

# Where a library's header may be included: the one file that knows it.
HOMES = {
    r"libmilter/.*": {"milter/callbacks.c"},
    r"libmemcached.*": {"db/memcache_ring.c"},
    r"(mysql|mariadb).*|errmsg\.h|mysqld_error\.h": {"db/mysql_compat.h"},
    r"lmdb\.h": {"db/lmdb_inside.h"},
    r"sodium.*": {"shared/digest.c"},
    r"sqlite3.*": {"db/map_sqlite.c"},
    r"uni(case|norm|str)\.h": {"shared/unicode.c"},
    r"idn2\.h": {"shared/idn.c"},
    r"systemd/.*": {"milter/notify.c", "shared/log_journal.c"},
    r"syslog\.h": {"shared/log.c", "shared/log_format.c", "config/values.c"},
    r"resolv\.h|arpa/nameser\.h": {"milter/doctor_dns.c"},
}

STANDARD = set("""
    arpa/inet.h assert.h ctype.h dirent.h errno.h fcntl.h getopt.h grp.h ifaddrs.h inttypes.h limits.h
    locale.h netdb.h netinet/in.h netinet/tcp.h poll.h pthread.h pwd.h sched.h setjmp.h signal.h spawn.h stdarg.h
    stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h strings.h sys/eventfd.h
    sys/file.h sys/ioctl.h sys/mman.h sys/prctl.h sys/resource.h sys/signalfd.h sys/socket.h sys/stat.h sys/time.h
    sys/types.h sys/uio.h termios.h sys/un.h sys/wait.h sysexits.h time.h unistd.h wchar.h wctype.h
""".split())


def wrong_layers(root):
    wrong = []
    for path in c_files(root):
        allowed = FOLDERS[:FOLDERS.index(path.parent.name) + 1]
        for number, include in matches(r'^\s*#\s*include\s+"([^"]+)"', path):
            if include[1].split("/")[0] not in allowed or "/" not in include[1]:
                wrong.append(f"{where(root, path, number)}: may not include {include[1]}")
    return wrong


def homeless_headers(root):
    wrong = []
    for path in c_files(root):
        name = str(path.relative_to(root))
        for number, include in matches(r"^\s*#\s*include\s+<([^>]+)>", path):
            if not header_is_at_home(include[1], name):
                wrong.append(f"{where(root, path, number)}: {include[1]} has no home here")
    return wrong


def header_is_at_home(header, name):
    for pattern, homes in HOMES.items():
        if re.fullmatch(pattern, header):
            return name in homes
    return header in STANDARD


def feature_conditions(root):
    """Conditions of the preprocessor other than a header's guard."""
    wrong = []
    for path in c_files(root):
        if path.relative_to(root).as_posix() == "db/mysql_compat.h":
            continue
        guard = f"{path.parent.name}_{path.stem}_H".upper()
        for number, line in matches(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b\s*(.*)$", path):
            if path.suffix == ".c" or line[1] != guard:
                wrong.append(f"{where(root, path, number)}: {line[0].strip()}")
    return wrong


def static_result_buffers(root):
    return [f"{where(root, path, number)}: {line[0].strip()}" for path in c_files(root)
            for number, line in matches(r"^\s+static (?!const)(?:unsigned )?char \w+\[.*", path)]


CHECKS = [wrong_layers, homeless_headers, feature_conditions, static_result_buffers]


def test_every_folder_has_code():
    assert {path.parent.name for path in c_files(ROOT)} == set(FOLDERS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"no_{check.__name__}")
def test_the_code_has(check):
    assert check(ROOT) == []


@pytest.mark.parametrize("name, text, check", [
    ("shared/text.c", '#include "db/maps.h"\n', wrong_layers),
    ("config/conf.c", '#include "milter/reply.h"\n', wrong_layers),
    ("db/maps.c", '#include "maps.h"\n', wrong_layers),
    ("db/maps.c", "#include <libmilter/mfapi.h>\n", homeless_headers),
    ("milter/session.c", "#include <mysql/mysql.h>\n", homeless_headers),
    ("milter/session.c", "#include <syslog.h>\n", homeless_headers),
    ("shared/lru.c", "#include <glib.h>\n", homeless_headers),
    ("db/maps.c", "#ifdef HAVE_LMDB\n", feature_conditions),
    ("db/maps.h", "#ifndef SOMETHING_ELSE\n", feature_conditions),
    ("db/maps.c", "#if 0\n", feature_conditions),
    ("db/maps.c", "    static char result[64];\n", static_result_buffers),
])
def test_a_broken_tree_is_noticed(tmp_path, name, text, check):
    plant(tmp_path, name, text)
    assert len(check(tmp_path)) == 1


@pytest.mark.parametrize("name, text", [
    ("milter/callbacks.c", '#include <libmilter/mfapi.h>\n#include "db/maps.h"\n'),
    ("db/maps.h", "#ifndef DB_MAPS_H\n#define DB_MAPS_H\n#endif\n"),
    ("db/mysql_compat.h", "#ifdef LIBMARIADB\n"),
])
def test_a_sound_tree_is_not_blamed(tmp_path, name, text):
    plant(tmp_path, name, text)
    assert [check(tmp_path) for check in CHECKS] == [[]] * len(CHECKS)
