"""What Debian's own tools say of the package. A tool that is not here is not run: each says so."""

import re
import shutil
import subprocess

import pytest
from conftest import LOG
from container import CACHE, base_tree, suite

REPROTEST_VARIES = "-user_group,-domain_host"  # these need users and name spaces of the machine's


def tool(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)  # fmt: skip


@tool("lintian")
def test_lintian_finds_neither_errors_nor_warnings(package):
    (changes,) = package.parent.glob("*.changes")
    done = run("lintian", "--allow-root", "--fail-on=error,warning", changes)
    assert done.returncode == 0, done.stdout


@tool("blhc")
def test_the_build_was_hardened(package):
    done = run("blhc", "--all", "--debian", LOG)
    assert done.returncode == 0, done.stdout


@tool("piuparts")
def test_piuparts_installs_upgrades_and_purges_it(package, newer, servers, tmp_path):
    """The older version comes from a repository of its own, so that piuparts upgrades from it."""
    shutil.copy(package, tmp_path)
    listed = run("dpkg-scanpackages", ".", cwd=tmp_path).stdout
    (tmp_path / "Packages").write_text("\n".join(
        line for line in listed.splitlines() if not line.startswith("dpkg-scanpackages:")) + "\n")
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)  # apt reads as a user of its own
    base = base_tree(servers)
    done = run("piuparts", f"--existing-chroot={base}", "--no-eatmydata", "-d",
               suite(), f"--bindmount={tmp_path}",
               f"--extra-repo=deb [trusted=yes] file:{tmp_path} ./", newer, cwd=CACHE)  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert "PASS: Installation, upgrade and purging tests." in done.stdout


@tool("reprotest")
def test_the_build_is_reproducible(package, tmp_path):
    source = next(path for path in package.parent.iterdir() if path.is_dir())
    copy = tmp_path / "source"
    shutil.copytree(source, copy, symlinks=True)
    run("debian/rules", "clean", cwd=copy)
    done = run("reprotest", "--min-cpus=1", f"--vary={REPROTEST_VARIES}", "--no-diffoscope", "-c",
               "dpkg-buildpackage -b -uc -us --no-sign", ".", "../*.deb", "--", "null", cwd=copy)  # fmt: skip
    assert re.search(r"^Reproduction successful$", done.stdout, re.M), done.stdout[-6000:]
