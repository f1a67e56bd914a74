"""A third Postfix sends mail to a primary and a fallback, as the hosts of the world do."""

import pytest

from conftest import example_map, load_directory
from harness import SmtpClient, World, wait_until


class Dance:
    """The primary has a directory of its own, so that it alone can lose it."""

    def __init__(self, world, recipients):
        self.directory = load_directory(world.mariadb("primary-db"))
        self.milters, self.mx = {}, {}
        own = example_map(world, self.directory, "mysql-recipients.cf")
        for role, maps in (("primary", own), ("fallback", recipients)):
            postfix = world.postfix_not_started(
                f"mx-{role}", relay_domains="example.test", myhostname=f"{role}.test"
            )
            self.milters[role] = world.milter(
                role, socket_directory=postfix.milter_directory(), role=role, recipient_maps=maps,
                process_cache_entries="0",
            )  # fmt: skip
            postfix.listen_with({"smtpd": self.milters[role]}).start()
            self.mx[role] = postfix
        hosts = ", ".join(f"[127.0.0.1]:{self.mx[role].port()}" for role in ("primary", "fallback"))
        self.sender = world.postfix_not_started(
            "sender", myhostname="sender.test", mynetworks="127.0.0.0/8", relayhost=hosts,
            smtpd_relay_restrictions="permit_mynetworks, reject", default_transport="smtp:",
            virtual_mailbox_domains="writer.test", minimal_backoff_time="1h",
        )  # fmt: skip
        self.sender.parameters.update(self.sender.mailboxes())
        self.sender.listeners = {"submission": {}}
        self.sender.start()

    def send(self, recipient):
        """Hands a message to the sending host; returns the line that tells what became of the
        recipient."""
        mark = self.sender.log.end()
        with SmtpClient(self.sender.port("submission")) as session:
            assert session.mail("author@writer.test").code == 250
            assert session.rcpt(recipient).code == 250
            queue_id = session.data(f"Subject: to {recipient}\r\n\r\nHello.\r\n").text.rpartition(" ")[2]
        return self.sender.log.wait(rf"{queue_id}: to=<.*status=", mark)

    def relay(self, role):
        return f"relay=127.0.0.1[127.0.0.1]:{self.mx[role].port()}"


@pytest.fixture(scope="module")
def dance(scratch, recipients):
    with World(scratch) as world:
        yield Dance(world, recipients)


def test_valid_mail_goes_through_the_primary(dance):
    line = dance.send("alice@example.test")
    assert "status=sent" in line and dance.relay("primary") in line
    dance.mx["primary"].log.wait(r"to=<alice@example\.test>.*status=sent")


def test_a_mistyped_address_bounces_from_the_fallback_within_the_first_attempt(dance):
    line = dance.send("alicia@example.test")
    assert "status=bounced" in line and dance.relay("fallback") in line, line
    assert "dsn=5.1.1" in line
    # The primary was asked first, and left it to the fallback.
    assert dance.milters["primary"].log.find(r"reject:.*450 4\.1\.1.*to=<alicia@example\.test>")
    bounce = dance.sender.mailbox()
    bounce.wait("alicia@example.test")
    bounce.wait("550 5.1.1")
    assert bounce.find("To: author@writer.test") or bounce.find("author@writer.test")


def test_of_two_recipients_the_valid_one_gets_it_once_and_the_mistyped_one_bounces(dance):
    marks = {role: dance.mx[role].log.end() for role in dance.mx}
    mark = dance.sender.log.end()
    with SmtpClient(dance.sender.port("submission")) as session:
        session.mail("author@writer.test")
        for name in ("carol", "carole"):
            assert session.rcpt(f"{name}@example.test").code == 250
        queue_id = session.data().text.rpartition(" ")[2]
    sent = dance.sender.log.wait(rf"{queue_id}: to=<carol@.*status=", mark)
    bounced = dance.sender.log.wait(rf"{queue_id}: to=<carole@.*status=", mark)
    assert "status=sent" in sent and dance.relay("primary") in sent
    assert "status=bounced" in bounced and dance.relay("fallback") in bounced
    dance.mx["primary"].log.wait("to=<carol@.*status=sent", marks["primary"])
    assert not dance.mx["fallback"].log.find("to=<carol@", marks["fallback"])


def test_while_the_primarys_lookups_fail_valid_mail_goes_through_the_fallback(dance):
    dance.directory.kill()
    try:
        line = dance.send("bob@example.test")
        assert "status=sent" in line and dance.relay("fallback") in line, line
        assert dance.milters["primary"].log.find(r"reject:.*451 4\.4\.3.*to=<bob@example\.test>")
        typo = dance.send("bobb@example.test")
        assert "status=bounced" in typo and dance.relay("fallback") in typo
    finally:
        dance.directory.start()

    def primary_takes_it():
        return dance.relay("primary") in dance.send("alice@example.test")

    wait_until(primary_takes_it, 60, "the primary to take mail again")


def test_with_the_primarys_milter_dead_valid_mail_goes_through_the_fallback(dance):
    dance.milters["primary"].kill()
    try:
        line = dance.send("alice@example.test")
        assert "status=sent" in line and dance.relay("fallback") in line, line
    finally:
        dance.milters["primary"].start()
    line = dance.send("alice@example.test")
    assert dance.relay("primary") in line, line


def test_with_both_milters_dead_mail_waits_and_nobody_bounces(dance):
    for milter in dance.milters.values():
        milter.kill()
    try:
        for address in ("alice@example.test", "alicia2@example.test"):
            line = dance.send(address)
            assert "status=deferred" in line, line
    finally:
        for milter in dance.milters.values():
            milter.start()
    dance.sender.command("postqueue", "-f")
    dance.sender.log.wait(r"to=<alicia2@example\.test>.*status=bounced", limit=60)
