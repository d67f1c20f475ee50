"""A whole broker whose rules ask for humans, in a folder of its own: it can be stopped and started again."""

import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from broker.app import running
from broker.approvals.interface import Approval, ApprovalId
from broker.approvals.judgement import Act
from broker.approvals.people import Human
from broker.connector import Connector, Line
from broker.model import AgentId
from broker.settings import ApprovalSettings, ConnectorSettings, ServerSettings, Settings
from tests.agency import ROLES, Agency, Desk, _all_installed
from tests.unit.edges.serving import served

CARD = "4000-1234-5678-9010"
"""What must not be found in any file."""


class Shop:
    """What the tools of the connector have done."""

    def __init__(self) -> None:
        self.refunds: list[tuple[str, int]] = []
        self.connector = Connector("shop")

        @self.connector.tool(price="0.0005")
        async def refund(to: str, amount: int) -> dict[str, str]:
            """Give money back."""
            self.refunds.append((to, amount))
            return {"refunded": to}

        @self.connector.tool()
        async def pack(parcels: int, line: Line) -> str:
            """Pack parcels, one after the other."""
            for number in range(parcels):
                await line.progress(number + 1, total=parcels)
            return "packed"

        @self.connector.tool(side_effect="reads")
        async def look(text: str = "") -> dict[str, str]:
            """Look at something."""
            return {"seen": text}


class Asking(Agency):
    """The broker, what its shop has done, its rules, and humans."""

    shop: Shop

    def hold(self, rule: str, target: str = "shop__refund", approver: str = "team-lead") -> None:
        """From now on a human has to agree to what goes to a target."""
        self.rule(rule, f'@approval("{approver}")', target)

    def rule(self, rule: str, more: str = "", target: str = "shop__refund") -> None:
        """From now on a rule is in force."""
        head = f'@id("{rule}") @reason("because of {rule}") {more}'
        text = f'{head}\nforbid (principal, action == Action::"call", resource == Tool::"{target}");\n'
        self._file(rule).write_text(text)
        self.app.policy.reload()

    def drop(self, rule: str) -> None:
        """From now on a rule is in force no more."""
        self._file(rule).unlink()
        self.app.policy.reload()

    def _file(self, rule: str) -> Path:
        return self.policies / "rules" / f"{rule}.cedar"

    async def pending(self) -> list[Approval]:
        return await self.app.consents.listed()

    async def the_one(self) -> ApprovalId:
        (one,) = await self.pending()
        return one.id

    async def approve(self, approval_id: str | None = None, by: str = "dana", **act: Any) -> Approval:
        return await self.app.consents.approve(await self._named(approval_id), Act(Human(by), **act))

    async def deny(self, approval_id: str | None = None, by: str = "dana", **act: Any) -> Approval:
        return await self.app.consents.deny(await self._named(approval_id), Act(Human(by), **act))

    async def revoke(self, approval_id: str | None = None, by: str = "dana", **act: Any) -> Approval:
        return await self.app.consents.revoke(await self._named(approval_id), Act(Human(by), **act))

    async def _named(self, approval_id: str | None) -> ApprovalId:
        return await self.the_one() if approval_id is None else ApprovalId(approval_id)

    async def own(self, name: str, owner: str) -> None:
        """Say who answers for an agent."""
        await self.app.journal.change_agent(
            AgentId(name), lambda agent: replace(agent, owner=owner), by="test"
        )


def pending(answer: dict[str, Any]) -> str:
    """The approval that a call waits for."""
    error = answer["result"]["structuredContent"]["error"]
    assert (error["code"], answer["result"]["isError"]) == ("pending_approval", True), error
    return error["approval"]["id"]


def made(answer: dict[str, Any]) -> bool:
    """Whether a call was made."""
    return not answer.get("result", {"isError": True}).get("isError", False)


def refused(answer: dict[str, Any]) -> str:
    """Why a call was refused by the rules or a human."""
    error = answer["result"]["structuredContent"]["error"]
    assert error["code"] == "denied", error
    return error["message"]


@asynccontextmanager
async def asking_on_loopback(**how: Any) -> AsyncGenerator[Asking]:
    """The same on a port: what is sent while a call is open arrives while it is open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ServerSettings(port=listener.getsockname()[1])
        async with asking(server=server, **how) as house, served(house.app.asgi, listener):
            yield house


@asynccontextmanager
async def asking(
    folder: Path | None = None, people: str = "", server: ServerSettings | None = None, **settings: Any
) -> AsyncGenerator[Asking]:
    """A broker that asks a team lead before a refund.

    Args:
        folder: where its state is; default: one of its own.
        people: the text of `approvals.yaml`.
        server: where it is, if that matters.
        settings: those of approvals; by default no call waits.
    """
    shop, desk = Shop(), Desk()
    with tempfile.TemporaryDirectory() as own, _all_installed(shop=shop.connector, desk=desk):
        where = folder or Path(own)
        policies = where / "policies"
        for part in ("roles", "rules"):
            (policies / part).mkdir(parents=True, exist_ok=True)
        for name, text in ROLES.items():
            (policies / "roles" / f"{name}.yaml").write_text(text)
        if people:
            (policies / "approvals.yaml").write_text(people)
        configuration = Settings(
            state_dir=where / "state",
            policies_dir=policies,
            server=server or ServerSettings(),
            approvals=ApprovalSettings(**{"wait_s": 0, **settings}),
            connectors={
                "shop": ConnectorSettings(use="shop"),
                "desk": ConnectorSettings(use="desk", agent="researcher"),
            },
        )
        async with running(configuration) as app:
            transport = httpx2.ASGITransport(app=app.asgi)
            async with httpx2.AsyncClient(transport=transport, base_url=configuration.public_url) as http:
                house = Asking(app, http, desk, desk, policies)
                house.shop = shop
                house.hold("refund")
                yield house
