"""The container all steps share. Where there can be none, that is a failure, and a loud one."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/e2e")]

from container import CACHE, Container, NotHere, base_tree, why_not  # noqa: E402

LOG = CACHE / "build.log"

# What apt in the container will be asked for. It has no network then.
SERVERS = ["postfix", "postfix-mysql", "mariadb-server", "memcached", "python3"]  # python: autopkgtests
AUTOPKGTESTS = ROOT / "packaging/debian/tests"


def give_up(reason):
    text = (f"THE PACKAGE IS NOT TESTED: {reason}. This test needs root and a container that boots "
            "(systemd-container, debootstrap). PACKAGE_TEST=skip leaves it out.")  # fmt: skip
    if os.environ.get("PACKAGE_TEST") == "skip":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session")
def package():
    """The .deb, as `make deb` makes it."""
    reason = why_not()
    if reason:
        give_up(reason)
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(LOG, "w", encoding="utf-8") as log:
        made = subprocess.run(["make", "deb"], cwd=ROOT, stdout=log, stderr=log, check=False)
    assert made.returncode == 0, LOG.read_text()[-6000:]
    (found,) = [path for path in (ROOT / "build/deb").glob("rcpt-milter_*.deb")]
    return found


@pytest.fixture(scope="session")
def newer(package, tmp_path_factory):
    """The same package under a higher version."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    version = re.search(r"^Version: (.*)$", control.read_text(), re.M)[1] + "+upgraded"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    newer = tree.parent / f"rcpt-milter_{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, newer], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return newer


@pytest.fixture(scope="session")
def servers(package):
    """What apt in the container will be asked for: the servers, and what the package depends on."""
    needs = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True,
                           check=True).stdout  # fmt: skip
    # Of alternatives the first; versions are the same suite's.
    return [*SERVERS, *(need.split("|")[0].split("(")[0].strip() for need in needs.split(","))]


@pytest.fixture(scope="session")
def host(servers):
    """The container, booted, with the package in /root and the servers not yet installed."""
    container = None
    try:
        container = Container(base_tree(servers))
        container.boot()
    except (NotHere, subprocess.CalledProcessError) as error:
        if container:
            container.remove()
        give_up(str(error))
    yield container
    container.remove()
