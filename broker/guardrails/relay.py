"""The open line to the caller, screened: progress, log messages, questions and their answers.

What an upstream says while a call is open is read by a model like any result, and what the caller
answers to a question goes out like any argument. So both pass the same guards as the call itself.
"""

from collections.abc import Mapping
from typing import Any

from broker.errors import Blocked
from broker.guardrails.interface import Finding, Guards, Scene, Stage
from broker.model import Caller, Json


class ScreenedCaller:
    """A `Caller` whose traffic passes the guards in both directions."""

    def __init__(self, caller: Caller, guards: Guards, scene: Scene, findings: list[Finding]) -> None:
        self._caller = caller
        self._guards = guards
        self._scene = scene
        self._findings = findings

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the caller declared."""
        return self._caller.capabilities

    @property
    def modern(self) -> bool:
        """Whether the caller speaks a revision without sessions."""
        return self._caller.modern

    async def notify(self, method: str, params: Json) -> None:
        """Pass a notification on, after screening it like a result; one that a guard blocks is dropped."""
        try:
            safe = await self._screen(params, Stage.RESULT)
        except Blocked:
            return
        await self._caller.notify(method, safe)

    async def ask(self, method: str, params: Json) -> Json:
        """Put a question, screened like a result; its answer is screened like arguments."""
        answer = await self._caller.ask(method, await self._screen(params, Stage.RESULT))
        return await self._screen(answer, Stage.ARGUMENTS)

    async def poll(self, retry_ms: int) -> None:
        """Have the caller come back for the rest."""
        await self._caller.poll(retry_ms)

    async def _screen(self, content: Json, stage: Stage) -> Json:
        return await self._guards.screen(content, stage, self._scene, self._findings)
