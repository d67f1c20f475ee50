"""People who run the broker of `tests/agency.py`, and what they ask of the operator API."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from broker.identity.operators import Operator, OperatorId, Right, new_token, token_digest
from tests.agency import Agency, agency

API = "/admin/api"


@dataclass
class Person:
    """One operator, and what they ask."""

    agency: Agency
    name: str
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> httpx2.Response:
        content = {} if body is None else {"json": body}
        headers = self.headers | how.pop("headers", {})
        return await self.agency.http.request(method, API + path, headers=headers, **content, **how)

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.ask("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def do(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.ask(method, path, body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: Any = None, **how: Any) -> tuple[int, str, str]:
        """Status, code and message of what has to fail."""
        answer = await self.ask(method, path, body, **how)
        error = answer.json()["error"]
        assert answer.status_code >= 400
        return answer.status_code, error["code"], error["message"]


async def hire(
    at: Agency, name: str, *rights: Right, lives_s: int = 3600, created_at: int | None = None
) -> Person:
    """A new operator."""
    now = int(time.time()) if created_at is None else created_at
    operator = Operator(OperatorId(name), frozenset(rights or Right), now, now + lives_s)
    token = new_token(operator.id)
    await at.app.operators.add(operator, token_digest(token), by="test")
    return Person(at, name, token)


async def system_records(at: Agency, *types: str) -> list[dict[str, Any]]:
    """What the log of the deployment holds."""
    bodies = [orjson.loads(record.body) async for record in at.app.store.log.records("system")]
    return [body for body in bodies if not types or body["type"] in types]


@asynccontextmanager
async def staffed() -> AsyncGenerator[tuple[Agency, Person]]:
    """A broker with one operator who may do everything."""
    async with agency() as at:
        yield at, await hire(at, "olga")
