"""mysql_table(5)'s tls_* against a MariaDB with TLS: what is asked for is had, or nothing is. What
shapes answers is compared with postmap in tests/unit/test_mysql_postmap.c."""

import dataclasses
import pathlib
import subprocess
import types

import pytest

from conftest import load_directory
from harness import World, mysql_table

EXISTS, ABSENT, UNAVAILABLE, CONFIG = 0, 1, 75, 78
PASSWORD = "s3cret-Passw0rd"
QUERY = "SELECT address FROM recipients WHERE address = '%s'"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@dataclasses.dataclass
class Authority:
    """A CA of the test's own, and what it signs."""

    directory: pathlib.Path

    def __post_init__(self):
        self.file = self.directory / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                "-subj", f"/CN={self.directory.name}", "-keyout", self.directory / "ca.key", "-out", self.file)  # fmt: skip

    def sign(self, name, alternative):
        """(certificate, key)"""
        cert, key, request = (self.directory / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName = {alternative}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request)  # fmt: skip
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.directory / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", extensions, "-out", cert)  # fmt: skip
        return cert, key


@pytest.fixture(scope="module")
def tls(scratch):
    """A server whose certificate is good for 127.0.0.1, and one whose is for another name; the CA of both,
    and one that has signed neither."""
    with World(scratch) as world:
        ours, foreign = (Authority(scratch.new(name)) for name in ("ca", "foreign"))
        servers = {}
        for name, alternative in (("right", "IP:127.0.0.1"), ("wrong", "DNS:elsewhere.test")):
            cert, key = ours.sign(name, alternative)
            servers[name] = load_directory(world.mariadb(name, tcp=True, options=(
                "--skip-log-bin", f"--ssl-ca={ours.file}", f"--ssl-cert={cert}", f"--ssl-key={key}")))  # fmt: skip
            for user, need in (("careful", "SSL"), ("certified", "X509"), ("easy", "NONE")):
                servers[name].sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE {need}")
                servers[name].sql(f"GRANT SELECT ON mail.* TO {user}@'127.0.0.1'")
        openssl("rehash", ours.directory)
        yield types.SimpleNamespace(world=world, ours=ours, foreign=foreign, client=ours.sign("client", "DNS:client"),
                                    **servers)  # fmt: skip


def look(world, database, user, address="alice@example.test", **parameters):
    """Through rcptctl, which needs no daemon: (exit status, the reason it gives)."""
    parameters = {name: str(value) for name, value in parameters.items()}
    if database.port:
        parameters.setdefault("hosts", f"127.0.0.1:{database.port}")
    table = mysql_table(world, database, QUERY, user=user, **parameters)
    done = world.milter_not_started(recipient_maps=table).ctl("lookup", address, "--explain")
    said = done.stdout + done.stderr
    assert PASSWORD not in said
    return done.returncode, said


def assert_unavailable(result, *reasons):
    status, said = result
    assert status == UNAVAILABLE, said
    assert "UNAVAILABLE" in said and "ABSENT" not in said, said
    assert any(reason in said for reason in reasons), said


@pytest.mark.parametrize("parameters", [
    ["tls_CAfile"], ["tls_CAfile", "tls_verify_cert"], ["tls_CApath", "tls_verify_cert"], ["tls_ciphers"],
    ["tls_CAfile", "tls_ciphers", "tls_verify_cert"],
], ids="+".join)  # fmt: skip
def test_with_tls_lookups_work_as_without(tls, parameters):
    values = {"tls_CAfile": tls.ours.file, "tls_CApath": tls.ours.directory, "tls_verify_cert": "yes",
              "tls_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"}  # fmt: skip
    chosen = {name: values[name] for name in parameters}
    assert look(tls.world, tls.right, "careful", **chosen)[0] == EXISTS
    assert look(tls.world, tls.right, "careful", "nobody@example.test", **chosen)[0] == ABSENT


def test_a_client_certificate_is_shown_where_the_server_wants_one(tls):
    cert, key = tls.client
    chosen = {"tls_CAfile": tls.ours.file, "tls_verify_cert": "yes"}
    assert look(tls.world, tls.right, "certified", tls_cert_file=cert, tls_key_file=key, **chosen)[0] == EXISTS
    assert_unavailable(look(tls.world, tls.right, "certified", **chosen), "error 1045: Access denied")


def test_a_server_that_another_ca_has_signed_is_no_server(tls):
    for verify in ("yes", "no"):
        result = look(tls.world, tls.right, "easy", tls_CAfile=tls.foreign.file, tls_verify_cert=verify)
        assert_unavailable(result, "error 2026: TLS/SSL error")


def test_a_name_that_is_not_in_the_certificate_counts_where_it_is_to_be_verified(tls):
    chosen = {"tls_CAfile": tls.ours.file}
    assert look(tls.world, tls.wrong, "careful", **chosen)[0] == EXISTS
    assert_unavailable(look(tls.world, tls.wrong, "careful", tls_verify_cert="yes", **chosen), "error 2026: TLS/SSL error")


@pytest.mark.parametrize("parameter", ["tls_CAfile", "tls_CApath", "tls_ciphers", "tls_verify_cert", "tls_cert_file"])
def test_a_server_without_tls_is_not_talked_to_where_tls_is_asked_for(tls, directory, parameter):
    cert, key = tls.client
    chosen = {"tls_CAfile": {"tls_CAfile": tls.ours.file}, "tls_CApath": {"tls_CApath": tls.ours.directory},
              "tls_ciphers": {"tls_ciphers": "HIGH"}, "tls_verify_cert": {"tls_verify_cert": "yes"},
              "tls_cert_file": {"tls_cert_file": cert, "tls_key_file": key}}[parameter]  # fmt: skip
    assert look(tls.world, directory, "checker")[0] == EXISTS
    assert_unavailable(look(tls.world, directory, "checker", **chosen), "error 2026: ")


@pytest.mark.parametrize("parameter", ["tls_CAfile", "tls_cert_file", "tls_key_file"])
def test_a_file_that_is_not_there_is_no_reason_to_go_without_tls(tls, parameter):
    result = look(tls.world, tls.right, "easy", **{parameter: "/no/such.pem"})
    assert_unavailable(result, "error 2026: ")


def test_a_reason_is_one_sentence_that_names_server_and_trouble(tls):
    _, said = look(tls.world, tls.right, "careful", tls_CAfile=tls.foreign.file, tls_verify_cert="yes")
    reasons = {line.partition(f"mysql 127.0.0.1:{tls.right.port}: ")[2] for line in said.splitlines()} - {""}
    assert any("certificate" in reason for reason in reasons), said
