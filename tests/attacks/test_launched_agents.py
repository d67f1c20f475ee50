"""The broker vouches for what it has started itself: for that process, while it runs, and for nobody else."""

import time
from contextlib import asynccontextmanager
from dataclasses import replace

from broker.identity.attestation import attested, verified_manifest
from broker.identity.jwks import read_key
from broker.identity.launches import Launch, code_drift, new_launch
from broker.model import AgentId
from tests.agency import Agency, Member, agency, why
from tests.attacks.test_attestation import CLAIMS, jws
from tests.attacks.test_vouched_agents import RULE
from tests.unit.identity.signing import EC, public

ADA, CODE = AgentId("ada"), "c" * 64


class Launcher:
    """An operator who launches `ada`."""

    def __init__(self, at: Agency, standing: Member) -> None:
        self.at, self.standing = at, standing

    async def begin(self, *, ends_in: int = 600) -> tuple[Member, Launch]:
        launch = new_launch(int(time.time()), max(ends_in, 1))
        stored = replace(launch.stored, not_after=launch.stored.created_at + ends_in)
        await self.at.app.credentials.begin_launch(ADA, stored, code_sha256=CODE, by="dana")
        return Member(self.at, "ada", launch.secret), launch

    async def end(self, launch: Launch) -> None:
        await self.at.app.credentials.end_launch(ADA, launch.instance, why="it ended", by="dana")


@asynccontextmanager
async def launcher():
    async with agency({"rules/vouched.cedar": RULE}) as at:
        yield Launcher(at, await at.enrol("ada", "lead"))


async def writes(who: Member, token: str | None = None) -> str:
    """The rule that refuses to write; empty if none does."""
    return why(await who.call("notes__add", {"text": "a"}, token=token or await who.token()))


async def refused(who: Member) -> bool:
    answer = await who.form(grant_type="client_credentials")
    return (answer.status_code, answer.json().get("error")) == (401, "invalid_client")


async def test_a_launched_agent_is_at_a3_and_the_log_says_which_instance_of_what_code():
    async with launcher() as by:
        process, launch = await by.begin()
        assert await writes(process) == ""
        issued = (await by.at.records("auth.token_issued"))[-1]
        assert issued["credential"] == f"launch:{launch.instance}"
        intent = (await by.at.records("call.intent"))[-1]
        assert intent["decision"]["situation"]["actors"] == [{"roles": ["lead"], "level": 3}]


async def test_the_standing_secret_of_a_launched_agent_does_not_get_to_a3():
    async with launcher() as by:
        process, _ = await by.begin()
        assert await writes(by.standing) == "vouched-only"
        assert await writes(process) == ""
        assert await writes(by.standing) == "vouched-only"


async def test_the_secret_and_the_tokens_of_an_ended_launch_are_refused_to_whoever_has_copied_them():
    async with launcher() as by:
        process, launch = await by.begin()
        token = await process.token()
        assert await writes(process, token) == ""
        await by.end(launch)
        assert await refused(process)
        assert (await process.request("tools/list", {}, token=token)).status_code == 401


async def test_the_end_of_one_launch_is_not_the_end_of_another_and_neither_is_the_others():
    async with launcher() as by:
        (one, first), (two, second) = await by.begin(), await by.begin()
        assert one.secret != two.secret
        assert first.instance != second.instance
        kept = await two.token()
        await by.end(first)
        assert await refused(one)
        assert await writes(two, kept) == ""
        await by.end(second)
        assert await refused(two)
        assert not await refused(by.standing)


async def test_a_launch_whose_time_is_over_is_refused_though_nobody_has_ended_it():
    async with launcher() as by:
        process, _ = await by.begin(ends_in=-1)
        assert await refused(process)


async def test_a_launch_is_of_one_agent_and_no_other():
    async with launcher() as by:
        await by.at.enrol("bob", "lead")
        process, _ = await by.begin()
        assert await refused(Member(by.at, "bob", process.secret))


async def test_a_rotation_for_a_leak_ends_the_launches_as_well():
    async with launcher() as by:
        process, _ = await by.begin()
        now = int(time.time())
        await by.at.app.credentials.rotate_secret(ADA, b"n" * 32, now=now, until=now, by="dana")
        assert await refused(process)


async def test_code_that_is_not_what_was_signed_takes_the_level_of_a_launch():
    async with launcher() as by:
        process, _ = await by.begin()
        token = await process.token()
        claims = CLAIMS | {"agent": "ada", "not_after": int(time.time()) + 1000}
        manifest = verified_manifest(jws(claims), read_key(public(EC)), time.time())
        journal = by.at.app.journal
        await journal.change_agent(ADA, lambda ada: attested(ada, manifest), by="dana")
        assert code_drift(manifest, manifest.code_sha256) == ""
        assert await writes(process, token) == ""
        drift = code_drift(manifest, CODE if manifest.code_sha256 != CODE else "d" * 64)
        await journal.drifted(ADA, drift)
        assert await writes(process, token) == "vouched-only"
        again, _ = await by.begin()
        assert await writes(again) == "vouched-only"
