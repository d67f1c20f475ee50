"""Does the echo connector do what it says, behind the whole broker?"""

from broker.testing import agent_for, content
from connectors.echo import connector


async def test_say_repeats_what_it_is_told_and_the_log_tells_what_it_cost():
    async with agent_for(connector) as agent:
        result = await agent.call_tool("echo__say", {"text": "ha", "times": 3})
        (*_, outcome) = await agent.records()
    assert content(result) == {"said": "ha ha ha"}
    assert (outcome["outcome"], outcome["cost"]) == ("ok", 1000)
