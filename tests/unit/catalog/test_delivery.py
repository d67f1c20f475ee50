"""In turn, within its time, and again only where that cannot have two effects."""

from collections.abc import Callable

import anyio
import pytest
import stamina

from broker.catalog.breaker import FAILURES, Resting, State
from broker.catalog.delivery import TRIES, Delivery
from broker.connector import Answer, Line, Request
from broker.errors import Blocked, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from broker.model import Method

REQUEST = Request(Method.CALL_TOOL, {})
LINE = Line("c", None, "org", "agent")
DONE = Answer({"content": []})


class Server:
    """Answers as the test says, one after the other; the last again and again."""

    def __init__(self, *answers: Answer | Exception | Callable[[], object]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def invoke(self, request, line) -> Answer:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            await answer()
        return answer if isinstance(answer, Answer) else DONE


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=TRIES - 1, cap=True):  # as often as always, without the pauses
        yield


def way(server: Server, timeout_s: float = 5, most: int = 64) -> Delivery:
    return Delivery("web", server, timeout_s, most)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_request_that_never_left_is_made_again(reads: bool):
    server = Server(UpstreamUnreachable("no"), UpstreamUnreachable("no"), DONE)
    assert await way(server).deliver(REQUEST, LINE, reads=reads) is DONE
    assert server.asked == TRIES


async def test_a_lost_answer_is_asked_for_again_where_the_target_only_reads():
    server = Server(UpstreamLost("gone"), DONE)
    assert await way(server).deliver(REQUEST, LINE, reads=True) is DONE


@pytest.mark.parametrize(
    ("error", "reads"),
    [
        (UpstreamLost("gone"), False),
        (UpstreamRefused("no"), True),
        (Blocked("no"), True),
        (RuntimeError("a mistake of the connector's"), False),
    ],
)
async def test_nothing_else_is_ever_asked_twice(error: Exception, reads: bool):
    server = Server(error)
    with pytest.raises((UpstreamLost, UpstreamRefused, Blocked)):
        await way(server).deliver(REQUEST, LINE, reads=reads)
    assert server.asked == 1


async def test_what_the_last_try_met_is_told():
    server = Server(UpstreamUnreachable("first"), UpstreamUnreachable("second"), UpstreamUnreachable("third"))
    with pytest.raises(UpstreamUnreachable, match="third"):
        await way(server).deliver(REQUEST, LINE, reads=True)
    assert server.asked == TRIES


async def test_an_upstream_that_is_down_is_soon_not_asked_any_more():
    server = Server(UpstreamUnreachable("down"))
    delivery = way(server)
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await delivery.deliver(REQUEST, LINE, reads=True)
    assert server.asked == FAILURES
    with pytest.raises(Resting):
        await delivery.deliver(REQUEST, LINE, reads=True)
    assert server.asked == FAILURES


async def test_an_upstream_that_refuses_is_alive():
    delivery = way(Server(UpstreamRefused("no such thing")))
    for _ in range(FAILURES + 1):
        with pytest.raises(UpstreamRefused):
            await delivery.deliver(REQUEST, LINE, reads=True)
    assert delivery.breaker.state is State.CLOSED


async def test_a_call_that_is_not_answered_in_time_may_have_had_its_effect():
    delivery = way(Server(anyio.sleep_forever), timeout_s=0.01)
    with pytest.raises(UpstreamLost, match=r"did not answer within 0\.01 s"):
        await delivery.deliver(REQUEST, LINE, reads=False)
    assert delivery.turns.busy == 0


async def test_a_call_whose_turn_never_came_is_known_not_to_have_happened():
    delivery = way(Server(anyio.sleep_forever), timeout_s=0.01, most=1)
    await delivery.turns.take("another")
    with pytest.raises(UpstreamUnreachable, match="was busy with other calls"):
        await delivery.deliver(REQUEST, LINE, reads=False)
    assert (delivery.turns.busy, delivery.turns.waiting) == (1, 0)


async def test_time_outs_count_as_failures():
    delivery = way(Server(anyio.sleep_forever), timeout_s=0.001)
    for _ in range(FAILURES):
        with pytest.raises(UpstreamLost):
            await delivery.deliver(REQUEST, LINE, reads=False)
    with pytest.raises(Resting):
        await delivery.deliver(REQUEST, LINE, reads=False)
