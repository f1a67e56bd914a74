"""The moment when a lost table is back. The matrix holds a table empty; here it is full again before
the refusal is out."""

from mysql_faults import HALF, REFILL
from network import Manner
from node_world import COLD, NodeWorld, address


class RefillBefore(Manner):
    """The table is loaded when a query with these bytes comes, before it is passed on."""

    def __init__(self, world, asked):
        self.world, self.asked = world, asked

    def request(self, link, data):
        if self.asked in data:
            self.world.mysql.sql(*REFILL)
        return False


def test_a_reload_that_ends_between_the_query_and_the_sentinels_bounces_nobody(template):
    """The recipient's own query found the table empty; the one for @domain, and the sentinel's after
    it, find it full."""
    with NodeWorld(template, mysql="proxy", settings={"sentinel_interval": "1h"}) as world:
        world.mysql_proxy.behave(RefillBefore(world, b"'@example.test'"))
        for n in range(4):
            world.mysql.sql(HALF)
            reply = world.nodes["fallback"].ask(address(COLD, "fallback", n))
            assert reply.code < 500, reply
