"""An agent that asks for refunds: the small ones go through, a large one needs a human."""

import anyio

from broker.client import Broker, Denied, PendingApproval


async def refund(broker: Broker, order: int, cents: int) -> str:
    """What became of a refund. As long as a human has to agree, the same call is made again."""
    told = False
    while True:
        try:
            return (await broker.call("shop__refund", {"order": order, "cents": cents})).text
        except PendingApproval as pending:
            if not told:
                print(
                    f"waiting  {pending.approval['id']} for {', '.join(pending.approval['waits_for'])}",
                    flush=True,
                )
            told = True
        except Denied as denied:
            return denied.message


async def main() -> None:
    async with Broker.from_env() as broker:
        for order, cents in ((17, 900), (18, 12_000), (19, 80_000)):
            print(f"order {order}", await refund(broker, order, cents), flush=True)


anyio.run(main)
