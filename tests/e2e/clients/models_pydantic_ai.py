"""Agents of pydantic-ai against a broker: plain, streamed, with a tool and with a structured answer."""

import asyncio
import json
import os
import sys
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


async def told(model: Any) -> Any:
    agent = Agent(model)
    plain = await agent.run("hello there")
    async with agent.run_stream("count to 4") as running:
        streamed = await running.get_output()
    calls: list[str] = []
    using = Agent(model)

    @using.tool_plain
    def weather(city: str) -> str:
        calls.append(city)
        return "sunny"

    used = await using.run("use the tool")
    parsed = await Agent(model, output_type=City).run("use the tool")
    return {
        "plain": plain.output,
        "tokens": plain.usage.total_tokens,
        "streamed": streamed,
        "calls": calls,
        "used": used.output,
        "parsed": parsed.output.model_dump(),
    }


async def main() -> None:
    url, key = sys.argv[1], os.environ["TOKEN"]
    openai = OpenAIProvider(base_url=f"{url}/v1", api_key=key)
    anthropic = AnthropicProvider(base_url=url, api_key=key)
    answers = {
        "chat": await told(OpenAIChatModel("openai__small-1", provider=openai)),
        "responses": await told(OpenAIResponsesModel("openai__small-1", provider=openai)),
        "messages": await told(AnthropicModel("anthropic__large-1", provider=anthropic)),
    }
    try:
        await Agent(OpenAIChatModel("openai__absent", provider=openai)).run("hi")
    except ModelHTTPError as error:
        answers["unknown"] = error.status_code
    print(json.dumps(answers, default=str))


if __name__ == "__main__":
    asyncio.run(main())
