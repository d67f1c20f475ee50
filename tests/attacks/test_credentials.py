"""Somebody with a token, or a delegation, of a credential that its owner has taken away since."""

import time
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import pytest
from joserfc.jwk import ECKey

from broker.app import office as beside
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.clients import digest, new_secret
from broker.identity.jwks import read_key
from broker.identity.token_keys import new_token_key
from broker.model import AgentId
from tests.agency import ACCESS_TOKEN, JWT, Agency, Member, agency, why
from tests.unit.identity.signing import Signer, public

PLANNER = AgentId("planner")


class House:
    """An agency, and an operator who works on its state from another process."""

    def __init__(self, within: Agency, planner: Member, researcher: Member, elsewhere) -> None:
        self.within, self.planner, self.researcher = within, planner, researcher
        self.elsewhere = elsewhere

    async def rotate(self, *, until: float) -> None:
        now = int(time.time())
        await self.elsewhere.credentials.rotate_secret(
            PLANNER, digest(new_secret()), now=now, until=int(until), by="dana"
        )

    async def status(self, token: str) -> int:
        return (await self.planner.request("tools/list", {}, token=token)).status_code


@asynccontextmanager
async def house():
    async with agency() as within:
        planner, researcher = await within.enrol("planner", "lead"), await within.enrol("researcher")
        async with beside(within.app.settings) as elsewhere:
            yield House(within, planner, researcher, elsewhere)


async def test_a_token_ends_with_the_secret_that_it_was_issued_for_and_no_other_token_does():
    async with house() as h:
        stolen, other = await h.planner.token(), await h.researcher.token()
        assert await h.status(stolen) == 200
        await h.rotate(until=0)
        answer = await h.planner.request("tools/list", {}, token=stolen)
        assert answer.status_code == 401
        assert "credential" in answer.headers["www-authenticate"]
        assert await h.status(other) == 200


async def test_a_token_of_a_secret_in_its_grace_is_good_no_longer_than_that():
    async with house() as h:
        held = await h.planner.token()
        await h.rotate(until=time.time() + 3600)
        assert await h.status(held) == 200
        await h.rotate(until=0)
        assert await h.status(held) == 401


async def test_a_token_ends_with_the_key_that_it_was_issued_for_and_not_with_another_one():
    async with house() as h:
        keys = [ECKey.generate_key("P-256") for _ in range(2)]
        kids = []
        for key in keys:
            stored = read_key(public(key)).stored(0)
            kids.append(stored.kid)
            await h.elsewhere.credentials.add_key(PLANNER, stored, by="dana")
        signers = [Signer("planner", h.within.app.settings.issuer, key, now=int(time.time())) for key in keys]
        tokens = [await signed_in(h.within.http, signer) for signer in signers]
        assert [await h.status(token) for token in tokens] == [200, 200]
        await h.elsewhere.credentials.remove_key(PLANNER, kids[0], by="dana")
        assert [await h.status(token) for token in tokens] == [401, 200]


async def signed_in(http: httpx2.AsyncClient, signer: Signer) -> str:
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
    answered = await http.post(
        "/oauth/token", data=form | {"client_assertion": signer.assertion(claims={"jti": str(id(signer))})}
    )
    return answered.raise_for_status().json()["access_token"]


async def test_what_was_delegated_with_a_credential_ends_with_it_in_either_form():
    async with house() as h:
        delegation = await h.planner.delegate("researcher")
        taken_up = (await h.researcher.exchange(delegation, subject_token_type=JWT)).json()["access_token"]
        assert why(await h.researcher.call("notes__find", delegation=delegation)) == ""
        assert why(await h.researcher.call("notes__find", token=taken_up)) == ""
        await h.rotate(until=0)
        refused = await h.researcher.call("notes__find", delegation=delegation)
        assert "ended with the credential of `planner`" in str(refused)
        assert (await h.researcher.request("tools/list", {}, token=taken_up)).status_code == 401
        error, reason = await h.researcher.refused("summariser", subject=delegation, subject_token_type=JWT)
        assert (error, "credential" in reason) == ("invalid_request", True)


async def test_a_token_that_was_taken_up_ends_with_the_credential_of_who_took_it_up():
    async with house() as h:
        delegation = await h.planner.delegate("researcher")
        taken_up = (await h.researcher.exchange(delegation, subject_token_type=JWT)).json()["access_token"]
        await h.elsewhere.credentials.rotate_secret(
            AgentId("researcher"), digest(new_secret()), now=int(time.time()), until=0, by="dana"
        )
        assert (await h.researcher.request("tools/list", {}, token=taken_up)).status_code == 401


async def test_nothing_more_is_handed_on_with_a_token_of_a_credential_that_is_gone():
    async with house() as h:
        stolen = await h.planner.token()
        key = read_key(public(ECKey.generate_key("P-256"))).stored(0)
        secret = new_secret()
        await h.elsewhere.credentials.add_key(PLANNER, key, by="dana")
        await h.elsewhere.credentials.rotate_secret(
            PLANNER, digest(secret), now=int(time.time()), until=0, by="dana"
        )
        renewed = Member(h.within, "planner", secret)
        error, reason = await renewed.refused("researcher", subject=stolen, subject_token_type=ACCESS_TOKEN)
        assert (error, "credential" in reason) == ("invalid_request", True)
        assert await renewed.delegate("researcher")


async def test_the_drop_of_a_signing_key_ends_its_tokens_and_whatever_was_delegated():
    async with house() as h:
        token, delegation = await h.planner.token(), await h.planner.delegate("researcher")
        now = int(time.time())
        await h.elsewhere.credentials.rotate_key(new_token_key(now), now=now, until=now, by="dana")
        with anyio.fail_after(10):
            while await h.status(token) == 200:
                await anyio.lowlevel.checkpoint()
        assert await h.status(await h.planner.token()) == 200
        assert why(await h.researcher.call("notes__find", delegation=delegation)) == "delegation/token"
        (grant,) = [g["grant"] for g in await h.within.records("delegation.created")]
        (hop,) = await h.within.app.store.grants.chain(grant)
        assert hop.revoked_at is not None


@pytest.mark.parametrize("what", ["secret", "drop"])
async def test_a_call_that_runs_ends_with_the_credential_or_the_key_behind_its_token(what):
    async with house() as h:
        begun, cancelled = anyio.Event(), anyio.Event()

        async def hold(line):
            begun.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled.set()
                raise

        h.within.desk.act = hold
        answers = []

        async def call() -> None:
            answers.append(await h.planner.call("desk__ask"))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await begun.wait()
                if what == "secret":
                    await h.rotate(until=0)
                else:
                    now = int(time.time())
                    await h.elsewhere.credentials.rotate_key(new_token_key(now), now=now, until=now, by="d")
        assert cancelled.is_set()
        told = {
            "secret": "a credential of `planner` ended",
            "drop": "the key that signed the token was dropped",
        }
        assert told[what] in str(answers) or "was revoked while" in str(answers)


async def test_what_a_call_lets_others_do_ends_while_they_do_it_when_the_call_is_over():
    async with house() as h:
        begun, answers = anyio.Event(), []

        async def hold(line):
            begun.set()
            await anyio.sleep_forever()

        async def child(delegation: str) -> None:
            answers.append(await h.researcher.call("shelf__ask", delegation=delegation))

        async with anyio.create_task_group() as tasks:

            async def hands_on(line):
                tasks.start_soon(child, line.delegation)
                await begun.wait()

            await h.within.enrol("summariser")
            h.within.desk.act, h.within.shelf.act = hands_on, hold
            with anyio.fail_after(20):
                assert why(await h.planner.call("desk__ask")) == ""
                while not answers:
                    await anyio.lowlevel.checkpoint()
        assert "the call that it was made for has ended" in str(answers)
        outcomes = [record["outcome"] for record in await h.within.records("call.outcome")]
        assert sorted(outcomes) == ["cancelled", "ok"]
