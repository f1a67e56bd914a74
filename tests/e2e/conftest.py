"""Fixtures. `scratch`, `directory` and `recipients` live as long as the run and are not to be
harmed; `world` is a test's own, and whatever it starts there it may kill."""

import pathlib
import re
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from harness import Scratch, World, build_directory  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitizer: also run with the sanitizers (keep these few)")


def pytest_sessionstart(session):
    for program in ("rcpt-milter", "rcptctl"):
        if not (build_directory() / program).exists():
            pytest.exit(f"{build_directory() / program} is not built", returncode=2)


@pytest.fixture(scope="session")
def scratch():
    scratch = Scratch()
    yield scratch
    scratch.remove()


@pytest.fixture(scope="session")
def base(scratch):
    with World(scratch) as base:
        yield base


def load_directory(database):
    """Our own schema with the recipients of the tests."""
    database.sql("CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database=None)
    return database.load(ROOT / "db/schema.sql", HERE / "schema.sql", database="mail")


def example_map(world, database, name):
    """One of config/examples, with what an administrator fills in."""
    text = (ROOT / "config/examples" / name).read_text()
    for parameter, value in (("hosts", f"unix:{database.socket}"), ("user", "checker"),
                             ("password", "s3cret-Passw0rd")):  # fmt: skip
        text, count = re.subn(rf"(?m)^{parameter} = .*$", f"{parameter} = {value}", text)
        assert count == 1, (name, parameter)
    return f"mysql:{world.file(name, text, 0o640)}"


@pytest.fixture(scope="session")
def directory(base):
    """The shared MariaDB. Tests may add rows of their own."""
    return load_directory(base.mariadb())


@pytest.fixture(scope="session")
def recipients(base, directory):
    """recipient_maps over the shared MariaDB."""
    return example_map(base, directory, "mysql-recipients.cf")


@pytest.fixture(scope="session")
def domains(base, directory):
    """domain_maps over the shared MariaDB."""
    return example_map(base, directory, "mysql-domains.cf")


@pytest.fixture
def world(scratch, request):
    with World(scratch) as world:
        yield world


@pytest.fixture
def own_directory(world):
    """A MariaDB that a test may kill."""
    return load_directory(world.mariadb())


@pytest.fixture
def own_recipients(world, own_directory):
    return example_map(world, own_directory, "mysql-recipients.cf")
