"""packaging/deps and what reads it. Nothing is installed here."""

import shutil
import subprocess

import pytest
from sources import ROOT, lines, plant


def rows():
    return [line.split() for line in lines(ROOT / "packaging/deps")
            if line and not line.startswith("#")]


def test_every_need_has_a_probe_and_a_name_for_each_package_manager():
    assert rows()
    assert [row for row in rows() if len(row) != 4 or row[0] not in ("build", "demo", "check", "bench")] == []


def test_everything_is_here_since_the_tests_run():
    done = subprocess.run([ROOT / "packaging/install-deps", "--check", "check"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def check_table(tmp_path, table, group):
    """install-deps --check with another table: (exit status, what it said)."""
    shutil.copy(ROOT / "packaging/install-deps", tmp_path)
    plant(tmp_path, "deps", table)
    done = subprocess.run([tmp_path / "install-deps", "--check", group],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("probe", [
    "command:no-such-command", "pkgconfig:no-such-library", "pkgconfig:no-such|nor-this",
    "header:no/such.h", "library:libno-such.so", "clangs:no-such-sanitizer",
    "python:no_such_module",
])
def test_what_is_missing_is_named_with_the_way_out(tmp_path, probe):
    status, said = check_table(tmp_path, f"build {probe} x y\n", "build")
    assert status == 1
    assert f"missing: {probe}" in said
    assert "`make deps`" in said


@pytest.mark.parametrize("probe", [
    "command:sh", "pkgconfig:libsodium", "pkgconfig:no-such|libsodium", "header:stdio.h",
    "library:libc.so", "clangs:fuzzer,address", "python:os",
])
def test_what_is_there_is_found(tmp_path, probe):
    assert check_table(tmp_path, f"build {probe} x y\n", "build") == (0, "")


def test_the_build_does_not_ask_for_what_only_the_tests_need(tmp_path):
    table = "check command:no-such-command x y\n"
    assert check_table(tmp_path, table, "build") == (0, "")
    assert check_table(tmp_path, table, "check")[0] == 1


@pytest.mark.parametrize("version, refused", [
    ("1.0.18", False), ("1.1.0", True), ("1.1.3", True), ("1.1.4", False), ("1.2.0", False),
])
def test_a_libmemcached_that_mixes_up_values_is_refused_at_build(tmp_path, version, refused):
    plant(tmp_path, "libmemcached.pc", f"Name: libmemcached\nDescription: x\nVersion: {version}\n")
    done = subprocess.run(["make", f"{tmp_path}/build/libraries", f"BUILD={tmp_path}/build"],
                          cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == refused, done.stderr
    assert ("CVE-2023-27478" in done.stderr) == refused
