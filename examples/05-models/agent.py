"""An agent that uses a model through OpenAI's SDK: same code as ever, another base URL, no provider's key."""

import asyncio
import sys

import httpx2
from openai import AsyncOpenAI, NotFoundError

from broker.client import Broker


async def main() -> None:
    async with Broker.from_env() as broker, httpx2.AsyncClient(auth=broker.auth()) as http:
        # `auth` puts a token on each request and renews it, so the key is never looked at.
        client = AsyncOpenAI(base_url=f"{broker.url}/v1", api_key="unused", http_client=http)
        print("offered ", [model.id async for model in client.models.list()])

        question = [{"role": "user", "content": "Name a river."}]
        raw = await client.chat.completions.with_raw_response.create(model="writer", messages=question)
        print("answer  ", raw.parse().choices[0].message.content)
        print("cost    ", raw.headers["toolbroker-cost-micro-usd"], "micro-USD")

        sys.stdout.write("streamed ")
        stream = await client.chat.completions.create(model="writer", messages=question, stream=True)
        async for chunk in stream:
            sys.stdout.write(chunk.choices[0].delta.content or "")
        print()

        try:
            await client.chat.completions.create(model="local__large-1", messages=question)
        except NotFoundError as error:
            print("refused ", error.body["message"].partition("\n")[0])


asyncio.run(main())
