"""The first agent: what may it use, what does a call give, and why is another call refused?"""

import anyio

from broker.client import Broker, Refused


async def main() -> None:
    async with Broker.from_env() as broker:
        for tool in await broker.tools():
            print(f"offered  {tool.name}: {tool.description}")

        answer = await broker.call("notes__find", {"text": "invoice"})
        print(f"found    {answer.data['result']}")
        print(f"         call {answer.call_id}, {answer.cost_micro_usd} micro-USD")

        try:
            await broker.call("notes__add", {"text": "invoice 18 is paid"})
        except Refused as refusal:
            print(f"refused  {refusal.code}: {refusal.message}")
            for because in refusal.because:
                print(f"because  {because.rule}: {because.text}")
            print(f"         call {refusal.call_id}")


anyio.run(main)
