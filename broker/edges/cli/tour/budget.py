"""What happens when money runs out? A warning, then waiting, then no more; and never more than the cap."""

from broker.edges.cli.output import dollars
from broker.edges.cli.tour.cast import Player, Reply
from broker.edges.cli.tour.screen import Screen, outcome

_CALLS = 5


async def money_runs_out(screen: Screen, researcher: Player) -> None:
    """Five calls of a tool against a cap that holds four of them."""
    screen.scene("a cap of 0.009 USD on a tool that costs 0.002: a warning, then waiting, then no more")
    for attempt in range(1, _CALLS + 1):
        reply = await researcher.call("echo__say", text=f"call {attempt}")
        if reply.result.get("isError") is True:
            outcome(screen, reply)
        else:
            screen.line(*_told(reply, attempt))


def _told(reply: Reply, attempt: int) -> tuple[str, str, str]:
    said = f"call {attempt} cost {dollars(reply.cost)}"
    for budget in reply.budgets:
        said += f"; {budget['used_percent']} % of {budget['scope']} is used"
        if budget["waited_ms"]:
            return "slowed down", f"{said}, so it waited {budget['waited_ms']} ms", "yellow"
        return "warned", said, "yellow"
    return "ok", said, "green"
