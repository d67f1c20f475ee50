"""How are models asked? By a tool, or as an SDK does; for no more than their budget holds."""

from broker.edges.cli.output import dollars
from broker.edges.cli.tour.cast import Player
from broker.edges.cli.tour.screen import Screen

MODEL = "stand-in__small"
_PROMPT = "How does a cap hold?"
_WANTED = 2000


async def asked_model(screen: Screen, researcher: Player) -> None:
    """By MCP, then in OpenAI's format with a longer answer than the budget of the model holds."""
    screen.scene("a model (here a stand-in) through the same door: by MCP, and as an SDK asks it")
    reply = await researcher.call("stand-in__generate", model=MODEL, prompt=_PROMPT, max_tokens=17)
    screen.line(researcher.name, f'stand-in__generate model={MODEL} prompt="{_PROMPT}"')
    screen.line("ok", reply.text, "green")
    used = reply.structured["usage"]
    screen.line("cost", f"{dollars(reply.cost)}: {used['read']} tokens read and {used['wrote']} written")
    streamed = await researcher.stream(MODEL, _PROMPT, _WANTED)
    screen.line(researcher.name, f"POST /v1/chat/completions stream, max_tokens={_WANTED}")
    screen.line("clamped", f"to {streamed.most} tokens, for the budget holds no more", "yellow")
    screen.line("ok", f"{streamed.chunks} chunks, then a valid end; cost {dollars(streamed.cost)}", "green")
