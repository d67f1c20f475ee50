"""Echo: says what it is told. The smallest connector there is, and the first to try."""

from typing import Annotated

from pydantic import Field

from broker.connector import Connector

connector = Connector("echo")


@connector.tool(price="0.001", side_effect="reads", title="Say")
async def say(text: str, times: Annotated[int, Field(ge=1, le=100)] = 1) -> dict[str, str]:
    """Repeat a text a number of times."""
    return {"said": " ".join([text] * times)}
