"""Fixtures. `scratch`, `directory` and `recipients` live as long as the run and are not to be
harmed; `world` is a test's own, and whatever it starts there it may kill."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import Scratch, World, build_directory, mysql_table, sanitizer  # noqa: E402


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


@pytest.fixture(scope="session")
def directory(base):
    """The shared MariaDB. Tests may add rows of their own."""
    return base.mariadb().load(HERE / "schema.sql")


ADDRESS_QUERY = "SELECT address FROM recipient WHERE address = '%s'"
ALIAS_DOMAIN_QUERY = (
    "SELECT r.address FROM alias_domain d JOIN recipient r"
    " ON r.address = CONCAT('%u', '@', d.target) WHERE d.name = '%d'"
)
DOMAIN_QUERY = "SELECT name FROM domain WHERE name = '%s'"


@pytest.fixture(scope="session")
def recipients(base, directory):
    """recipient_maps over the shared MariaDB."""
    return recipient_maps(base, directory)


def recipient_maps(world, database):
    return ", ".join(
        mysql_table(world, database, query, name)
        for name, query in (("address.cf", ADDRESS_QUERY), ("alias-domain.cf", ALIAS_DOMAIN_QUERY))
    )


@pytest.fixture(scope="session")
def domains(base, directory):
    """domain_maps over the shared MariaDB."""
    return mysql_table(base, directory, DOMAIN_QUERY, "domain.cf")


@pytest.fixture
def world(scratch, request):
    with World(scratch) as world:
        yield world


@pytest.fixture
def own_directory(world):
    """A MariaDB that a test may kill."""
    return world.mariadb().load(HERE / "schema.sql")


@pytest.fixture
def own_recipients(world, own_directory):
    return recipient_maps(world, own_directory)


@pytest.fixture(scope="session")
def slow():
    """How much longer everything takes under a sanitizer."""
    return {"": 1, "thread": 6}.get(sanitizer(), 3)
