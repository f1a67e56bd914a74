"""What an administrator can rule: maps of domains, of roles, of overrides; exemptions; replies."""

import pytest

from harness import mysql_table, wait_until

UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
ROLES = pytest.mark.parametrize("role", ["primary", "fallback"])


@pytest.fixture
def texthash(world):
    """A texthash: map with these lines."""

    def make(*lines):
        return f"texthash:{world.file('map', ''.join(line + chr(10) for line in lines))}"

    return make


@pytest.fixture
def known(texthash):
    return texthash("alice@example.test OK", "bob@example.test OK", "@all.test OK")


# No maps


def test_a_fresh_install_passes_everything_and_says_so(world):
    milter = world.milter()
    answers = milter.ask("alice@example.test", "anybody@anywhere.test", "x" * 300 + "@example.test")
    assert {answer.code for answer in answers} == {250}
    assert milter.log.find("warning: .*recipient_maps.*not checked")
    assert "NOT CHECKED" in milter.ctl("status").stdout
    assert milter.stats()["verdict_unchecked"] == 3


def test_even_a_fresh_install_does_not_pass_what_it_cannot_parse(world):
    assert world.milter().ask("two words@example.test").code == 450


# texthash, static, inline, fail


@pytest.mark.sanitizer
@ROLES
def test_a_node_with_a_text_file_needs_no_server(world, known, role):
    milter = world.milter(role=role, recipient_maps=known, recipient_delimiter="+-")
    expected = {
        "alice@example.test": 250, "ALICE@EXAMPLE.TEST": 250, "alice+x@example.test": 250,
        "alice-x@example.test": 250, "whoever@all.test": 250, "postmaster": 250,
        "ghost@example.test": UNKNOWN[role][0], "ghost+alice@example.test": UNKNOWN[role][0],
        "alice": UNKNOWN[role][0], "alice@sub.example.test": UNKNOWN[role][0],
    }  # fmt: skip
    answers = milter.ask(*expected)
    assert {a: answer.code for a, answer in zip(expected, answers)} == expected


def test_a_changed_text_file_is_read_again(world):
    path = world.file("map", "alice@example.test OK\n")
    milter = world.milter(recipient_maps=f"texthash:{path}", process_cache_entries="0")
    assert [a.code for a in milter.ask("alice@example.test", "carol@example.test")] == [250, 450]
    path.write_text("carol@example.test OK\n")
    wait_until(
        lambda: [a.code for a in milter.ask("alice@example.test", "carol@example.test")] == [450, 250],
        what="the new file to be read",
    )
    replacement = path.with_name("new")
    replacement.write_text("alice@example.test OK\ncarol@example.test OK\n")
    replacement.rename(path)
    wait_until(
        lambda: [a.code for a in milter.ask("alice@example.test", "carol@example.test")] == [250, 250],
        what="the file put in its place to be read",
    )


@ROLES
def test_a_text_file_that_vanishes_or_breaks_is_not_absence(world, role):
    path = world.file("map", "alice@example.test OK\n")
    milter = world.milter(role=role, recipient_maps=f"texthash:{path}", process_cache_entries="0")
    path.unlink()
    for _ in range(3):
        answers = milter.ask("alice@example.test", "ghost@example.test")
        # The old content may go on speaking; an empty one may not.
        assert answers[0].code == 250 or answers[0].enhanced in ("4.4.3", "5.4.3"), answers
    path.write_text("alice@example.test OK\n")
    wait_until(lambda: milter.ask("ghost@example.test").codes == UNKNOWN[role])


def test_static_and_inline_maps_answer(world):
    milter = world.milter(recipient_maps="inline:{alice@example.test=x, {bob@example.test=two words}}")
    codes = [a.code for a in milter.ask("alice@example.test", "bob@example.test", "no@example.test")]
    assert codes == [250, 250, 450]
    assert world.milter(recipient_maps="static:yes").ask("anybody@example.test").code == 250


@ROLES
def test_a_failing_map_is_unavailable_unless_another_one_knows(world, known, role):
    unavailable = {"primary": (451, "4.4.3"), "fallback": (550, "5.4.3")}[role]
    for maps in (f"fail:drill, {known}", f"{known} fail:drill"):
        milter = world.milter(role=role, recipient_maps=maps)
        assert milter.ask("alice@example.test").code == 250
        assert milter.ask("ghost@example.test").codes == unavailable


# domain_maps


@ROLES
def test_a_foreign_domain_passes_by_default_and_is_not_looked_up(world, directory, recipients, domains, role):
    milter = world.milter(role=role, recipient_maps=recipients, domain_maps=domains)
    with milter.counted() as count:
        assert milter.ask("ghost@foreign.test").code == 250
    assert count["verdict_foreign"] == 1 and count["mysql_queries"] == 2, "foreign.test and .test only"
    assert milter.ask("ghost@example.test").codes == UNKNOWN[role]


@ROLES
def test_foreign_reply_is_given_where_it_is_set(world, known, role):
    milter = world.milter(
        role=role, recipient_maps=known, domain_maps="inline:{example.test=x}",
        foreign_reply="550 5.7.1 $domain is not served here",
    )  # fmt: skip
    answer = milter.ask("ghost@foreign.test")
    assert answer.codes == (550, "5.7.1") and "foreign.test is not served here" in answer.text


@ROLES
def test_a_domain_map_that_fails_makes_it_unavailable(world, known, role):
    milter = world.milter(role=role, recipient_maps=known, domain_maps="fail:drill")
    assert milter.ask("alice@example.test").enhanced in ("4.4.3", "5.4.3")


# role_maps


def test_the_role_is_each_domains_own(world):
    milter = world.milter(
        role="primary", recipient_maps="inline:{alice@last.test=x}",
        role_maps="inline:{last.test=fallback, first.test=primary}",
    )  # fmt: skip
    answers = milter.ask("no@last.test", "no@first.test", "no@other.test", "alice@last.test")
    assert [a.code for a in answers] == [550, 450, 450, 250]
    milter.reload(role="fallback")
    answers = milter.ask("no@last.test", "no@first.test", "no@other.test")
    assert [a.code for a in answers] == [550, 450, 550]


def test_a_role_map_from_mysql_works_and_its_failure_makes_a_primary(world, own_directory, known):
    own_directory.sql("INSERT INTO role VALUES ('last.test', 'fallback')")
    maps = mysql_table(world, own_directory, "SELECT role FROM role WHERE domain = '%s'")
    milter = world.milter(role="primary", recipient_maps=known, role_maps=maps, process_cache_entries="0")
    assert [a.code for a in milter.ask("no@last.test", "no@first.test")] == [550, 450]
    own_directory.kill()
    assert milter.ask("no@last.test").code == 450
    milter.reload(role="fallback")
    assert milter.ask("no@last.test").code == 450, "not even where role says fallback"


# access_maps


@pytest.mark.parametrize(
    "action, expected",
    [
        ("OK", (250, "")), ("ok", (250, "")), ("DUNNO", None),
        ("REJECT Go away", (554, "5.7.1")), ("REJECT", (554, "5.7.1")),
        ("DEFER Come later", (450, "4.7.1")),
        ("450 4.2.1 On holiday", (450, "4.2.1")), ("550 5.2.1 Disabled", (550, "5.2.1")),
        ("554 Without an enhanced code", (554, "5.7.1")), ("451 Hm", (451, "4.7.1")),
        ("error:5.2.1 Disabled", (550, "5.2.1")), ("error:4.2.1 Later", (450, "4.2.1")),
        ("error:Gone", (550, None)),
    ],
)  # fmt: skip
@ROLES
@pytest.mark.parametrize("address", ["alice@example.test", "ghost@example.test"])
def test_access_maps_override_what_the_directory_says(world, texthash, known, role, address, action, expected):
    milter = world.milter(role=role, recipient_maps=known, access_maps=texthash(f"{address} {action}"))
    answer = milter.ask(address)
    if expected is None:
        assert answer.code == (250 if address.startswith("alice") else UNKNOWN[role][0])
    elif expected[0] == 250:
        assert answer.code == 250
    else:
        assert answer.code == expected[0] and expected[1] in (None, answer.enhanced)
        words = action.split(None, 1)[-1]
        if " " in words:
            assert words.split()[-1] in answer.text


@pytest.mark.parametrize("key", ["alice+x@example.test", "alice@example.test", "@example.test", "example.test"])
def test_access_maps_are_searched_under_every_form_of_the_address(world, texthash, known, key):
    milter = world.milter(
        recipient_maps=known, recipient_delimiter="+", access_maps=texthash(f"{key} 550 5.2.1 Closed")
    )
    assert milter.ask("alice+x@example.test").codes == (550, "5.2.1")
    assert milter.ask("alice+x@all.test").code == 250


def test_the_more_specific_override_wins(world, texthash, known):
    milter = world.milter(recipient_maps=known, access_maps=texthash(
        "example.test REJECT", "alice@example.test OK", "@example.test 550 5.2.1 Closed"))  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == (550, "5.2.1")


@ROLES
def test_an_action_nobody_understands_is_held_not_guessed(world, texthash, known, role):
    milter = world.milter(role=role, recipient_maps=known, access_maps=texthash("alice@example.test GREYLIST"))
    assert milter.ask("alice@example.test").codes == (451, "4.4.3")


@ROLES
def test_an_access_map_that_fails_makes_it_unavailable(world, known, role):
    milter = world.milter(role=role, recipient_maps=known, access_maps="fail:drill")
    assert milter.ask("alice@example.test").enhanced in ("4.4.3", "5.4.3")


def test_an_override_from_the_cache_is_checked_again_before_it_refuses(world, own_directory, known):
    own_directory.sql("INSERT INTO access VALUES ('alice@example.test', '550 5.2.1 Closed')")
    maps = mysql_table(world, own_directory, "SELECT action FROM access WHERE pattern = '%s'")
    milter = world.milter(recipient_maps=known, access_maps=maps, process_cache_ttl="10m")
    assert milter.ask("alice@example.test").codes == (550, "5.2.1")
    own_directory.sql("DELETE FROM access")
    assert milter.ask("alice@example.test").code == 250


# Exemptions


@ROLES
def test_clients_in_exempt_networks_are_not_asked_about(world, known, role):
    milter = world.milter(
        role=role, recipient_maps=known, exempt_networks="192.0.2.0/24, [2001:db8::]/32"
    )
    for client in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"):
        assert milter.ask("ghost@example.test", client=client).code == 250, client
    for client in ("192.0.3.7", "2001:db9::1", "unknown", "127.0.0.1"):
        assert milter.ask("ghost@example.test", client=client).codes == UNKNOWN[role], client


@ROLES
def test_authenticated_clients_are_exempt_unless_told_otherwise(world, known, role):
    milter = world.milter(role=role, recipient_maps=known)
    assert milter.ask("ghost@example.test", auth_type="PLAIN").code == 250
    assert milter.ask("ghost@example.test", auth_type="").codes == UNKNOWN[role]
    assert milter.stats()["verdict_exempt"] == 1
    milter.reload(exempt_authenticated="no")
    assert milter.ask("ghost@example.test", auth_type="PLAIN").codes == UNKNOWN[role]


# Replies


def test_configured_replies_are_given_with_their_names_filled_in(world, known):
    milter = world.milter(
        recipient_maps=known,
        primary_unknown_reply="452 4.1.1 <$recipient> is not at ${domain}, says the $role; 100% $$",
        primary_unavailable_reply="421 4.3.0 later",
    )  # fmt: skip
    answer = milter.ask("no%one@example.test")
    # libmilter takes the text for a format and is given "%%"; Postfix drops a lone '%' and takes
    # "%%" for one too, so on the wire there are two.
    assert str(answer).replace("%%", "%") == (
        "452 4.1.1 <no%one@example.test> is not at example.test, says the primary; 100% $"
    )


def test_pass_is_a_reply(world, known):
    milter = world.milter(recipient_maps=known, primary_unknown_reply="pass", malformed_reply="pass")
    assert milter.ask("ghost@example.test").code == 250


def test_the_fallback_can_be_told_to_wait(world):
    milter = world.milter(
        role="fallback", recipient_maps="fail:drill",
        fallback_unavailable_reply="451 4.4.3 The directory is out of reach",
    )  # fmt: skip
    assert milter.ask("alice@example.test").codes == (451, "4.4.3")


def test_a_reply_never_carries_what_a_client_smuggled_in(world, known):
    milter = world.milter(
        role="fallback", recipient_maps=known,
        malformed_reply="550 5.1.3 <$recipient> at $domain is no address",
        fallback_unknown_reply="550 5.1.1 <$recipient> unknown",
    )  # fmt: skip
    for address in (b"a\r\n250 OK\r\n@example.test", b"a\x1b[31m@example.test", b"%s%n%n@example.test",
                    b"\xff\xfe@example.test", "é%n@example.test".encode(), b"x" * 3000 + b"@example.test",
                    b'"' + b"\\\"" * 900 + b'"@example.test', "ü".encode() * 500 + b"@example.test"):  # fmt: skip
        answer = milter.ask(address)
        assert answer.code == 550, (address, answer)
        line = answer.wire.rstrip(b"\0")
        assert len(line) <= 1000
        assert not any(byte < 0x20 or byte == 0x7F for byte in line), line
        line.decode("utf-8")
