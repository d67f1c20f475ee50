"""Somebody tries to run the broker who may not: an agent, a web page, an operator with too few rights."""

import time
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest

from broker.identity.clients import FAILURES_ALLOWED
from broker.identity.operators import Right
from tests.agency import Agency
from tests.staff import API, Person, hire, staffed, system_records
from tests.unit.edges.house import envelope, modern

NAMED = {
    "agent": "ada",
    "approval": "0123456789ab",
    "call": "01890a5d-ac96-774b-bcce-b302099a8057",
    "connector": "notes",
    "grant": "g" * 22,
    "kid": "k" * 43,
}
"""What stands in for the variable parts of a path."""


@dataclass(frozen=True)
class Operation:
    """What the document says that can be asked."""

    method: str
    path: str
    right: str | None


async def every_operation(olga: Person) -> list[Operation]:
    paths = (await olga.get("/openapi.json"))["paths"]
    found = [
        Operation(method.upper(), path.removeprefix(API), described["x-right"])
        for path, methods in paths.items()
        for method, described in methods.items()
    ]
    assert len(found) > 20
    return found


def address(operation: Operation) -> str:
    return operation.path.format(**NAMED)


async def request(
    at: Agency, method: str, path: str, token: str | None = None, **how: Any
) -> httpx2.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await at.http.request(method, path, headers=headers | how.pop("headers", {}), **how)


def alike(answer: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.content, dict(answer.headers)


async def test_without_an_operators_token_every_operation_gives_the_same_answer_as_a_path_that_is_not_there():
    async with staffed() as (at, olga):
        nothing = alike(await request(at, "GET", f"{API}/nothing-is-here"))
        assert nothing[0] == 401
        assert nothing[2]["www-authenticate"] == 'Bearer realm="operators"'
        paths = [(o.method, address(o)) for o in await every_operation(olga)] + [
            ("GET", "/openapi.json"),
            ("GET", ""),
        ]
        for method, path in paths:
            assert alike(await request(at, method, API + path)) == nothing, (method, path)


async def test_an_agents_token_is_of_no_use_to_operate_the_broker():
    async with staffed() as (at, olga):
        ada = await at.enrol("ada", "lead")
        token = await ada.token()
        assert "result" in await ada.call("notes__find", token=token)
        for operation in await every_operation(olga):
            answer = await request(at, operation.method, API + address(operation), token)
            assert answer.status_code == 401, operation.path
        assert (await request(at, "GET", f"{API}/me", ada.secret)).status_code == 401


async def test_a_delegation_token_is_of_no_use_to_operate_the_broker():
    async with staffed() as (at, _):
        ada, _bo = await at.enrol("ada", "lead"), await at.enrol("bo")
        assert (await request(at, "GET", f"{API}/me", await ada.delegate("bo"))).status_code == 401


async def test_an_operators_token_is_of_no_use_to_call_anything():
    async with staffed() as (at, olga):
        body, headers = modern("tools/list", {}, token=olga.token, meta=envelope())
        answer = await at.http.post("/mcp", content=orjson.dumps(body), headers=headers)
        assert answer.status_code == 401
        form = {"grant_type": "client_credentials"}
        for name in ("olga", "operator:olga"):
            refused = await at.http.post("/oauth/token", data=form, auth=(name, olga.token))
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("lacking", Right)
async def test_an_operator_without_a_right_can_do_nothing_that_needs_it(lacking: Right):
    async with staffed() as (at, olga):
        await at.enrol("ada")
        dan = await hire(at, "dan", *(set(Right) - {lacking}))
        before = await system_records(at)
        needing = [operation for operation in await every_operation(olga) if operation.right is lacking]
        for operation in needing:
            refused = await dan.refused(operation.method, address(operation))
            assert refused == (403, "denied", f"`dan` lacks the right `{lacking}`"), operation.path
        assert await system_records(at) == before


async def test_every_operation_that_changes_something_needs_a_right_to_change():
    async with staffed() as (_, olga):
        for operation in await every_operation(olga):
            if operation.path == "/approvals/{approval}/arguments":  # what a call would send, in the open
                assert operation.right == Right.APPROVALS
            elif operation.method == "GET":
                assert operation.right in {None, Right.READ}, operation.path
            else:
                assert operation.right not in {None, Right.READ}, operation.path


BENT = {
    "another last character": lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    "somebody else's name": lambda token: token.replace("olga", "otto"),
    "the name of nobody": lambda token: token.replace("olga", "nobody"),
    "the prefix of a client secret": lambda token: token.replace("bko_", "bk_"),
    "capitals": lambda token: token.upper(),
    "more behind it": lambda token: f"{token}.{token}",
    "nothing behind the name": lambda token: token.split(".")[0] + ".",
    "a query in the name": lambda token: "bko_' or 1=1 --." + token.split(".")[1],
    "very long": lambda token: "bko_" + "a" * 100_000,
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT)
async def test_a_bent_token_is_refused_like_none(bend: Any):
    async with staffed() as (at, olga):
        await hire(at, "otto")
        nobody = await request(at, "GET", f"{API}/me")
        bent = await at.http.get(
            f"{API}/me", headers=[(b"authorization", b"Bearer " + bend(olga.token).encode())]
        )
        assert alike(bent) == alike(nobody)


async def test_a_token_that_has_expired_or_was_replaced_or_revoked_is_refused_from_the_next_request_on():
    async with staffed() as (at, olga):
        now = int(time.time())
        late = await hire(at, "late", lives_s=10, created_at=now - 11)
        assert (await late.refused("GET", "/me"))[:2] == (401, "unauthenticated")
        mia = await hire(at, "mia")
        await mia.get("/me")
        operator = (await at.app.store.operators.operator("mia")).operator
        await at.app.operators.renew(operator.id, b"d" * 32, now + 60, by="test")
        assert (await mia.refused("GET", "/me"))[0] == 401
        await olga.get("/me")
        await at.app.operators.revoke("olga", now=now, by="test", reason="left")
        assert (await olga.refused("GET", "/me"))[0] == 401


async def test_two_authorization_headers_are_none():
    async with staffed() as (at, olga):
        twice = [("authorization", f"Bearer {olga.token}")] * 2
        assert (await at.http.get(f"{API}/me", headers=twice)).status_code == 401


async def test_a_token_in_the_url_a_cookie_or_a_form_is_not_even_read():
    async with staffed() as (at, olga):
        await olga.get("/me")
        for how in (
            {"params": {"access_token": olga.token}},
            {"headers": {"cookie": f"token={olga.token}; session={olga.token}"}},
        ):
            assert (await request(at, "GET", f"{API}/me", **how)).status_code == 401
        posted = await request(at, "POST", f"{API}/agents/ada/suspend", data={"access_token": olga.token})
        assert posted.status_code == 401


async def test_a_page_of_another_site_can_neither_ask_nor_learn_anything():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        foreign = {"origin": "https://evil.example"}
        refused = await olga.refused("POST", "/agents/ada/suspend", {}, headers=foreign)
        assert refused[0] == 403
        rebound = await olga.ask("GET", "/me", headers={"host": "evil.example"})
        assert rebound.status_code == 421
        preflight = await request(
            at, "OPTIONS", f"{API}/agents", headers={"access-control-request-method": "POST"}
        )
        assert preflight.status_code == 401
        for answer in (await olga.ask("GET", "/me"), preflight):
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert "set-cookie" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
        assert (await olga.get("/agents/ada"))["status"] == "active"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_what_a_page_can_send_without_asking_first_is_no_body(kind: str):
    async with staffed() as (at, olga):
        await at.enrol("ada")
        answer = await olga.ask("POST", "/agents/ada/suspend", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 400
        assert (await olga.get("/agents/ada"))["status"] == "active"


PATHS = [
    "/admin/api/../mcp",
    "/admin/api//me",
    "/admin/api/me/",
    "/admin/api/me/..",
    "/admin/api/%6de",
    "/admin/api/agents/ada%2Fsuspend",
    "/admin/api/agents/..%2f..%2fme",
    "/admin/api/agents/ada%00",
    "/admin/api/agents/ada;x=1",
    "/admin/api/AGENTS",
    "/admin//api/me",
    "/ADMIN/api/me",
    "/admin/apix/me",
    "/x/admin/api/me",
    "/admin/api/me%0A",
    "/admin/api/%0Ame",
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_bent_path_leads_nowhere(path: str):
    async with staffed() as (at, olga):
        await at.enrol("ada")
        # As it stands on the wire: clients would tidy it up.
        url = httpx2.URL(at.app.settings.public_url).copy_with(raw_path=path.encode())
        for method in ("GET", "POST"):
            answer = await at.http.send(at.http.build_request(method, url, headers=olga.headers))
            assert answer.status_code in {401, 404, 405, 406}, (path, answer.text)
        assert (await olga.get("/agents/ada"))["status"] == "active"


async def test_a_method_can_not_be_overridden():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        for name in ("x-http-method-override", "x-method-override", "x-http-method"):
            answer = await olga.ask("GET", "/agents/ada/suspend", headers={name: "POST"})
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        answer = await olga.ask("POST", "/agents/ada?_method=DELETE", {})
        assert answer.status_code == 405
        assert (await olga.get("/agents/ada"))["status"] == "active"


async def test_a_cursor_cannot_be_made_bent_or_used_for_another_list_or_by_somebody_else():
    async with staffed() as (at, olga):
        for name in ("ada", "bo", "cy"):
            await at.enrol(name)
        cursor = (await olga.get("/agents", limit=1))["next"]
        otto = await hire(at, "otto")
        bent = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
        sealed_for_something_else = at.app.keys.seal.hex()
        for person, path, used in (
            (olga, "/agents", bent),
            (olga, "/agents", "AAAA"),
            (olga, "/agents", sealed_for_something_else),
            (olga, "/agents?organisation=acme", cursor),
            (olga, "/grants", cursor),
            (olga, "/agents/ada/history", cursor),
            (otto, "/agents", cursor),
        ):
            glue = "&" if "?" in path else "?"
            refused = await person.refused("GET", f"{path}{glue}cursor={used}")
            assert refused[:2] == (400, "invalid_request"), path
        assert [a["id"] for a in (await olga.get("/agents", limit=1, cursor=cursor))["items"]] == ["bo"]


BODIES = [
    b"",
    b"[]",
    b"null",
    b'{"reason": "a"',
    b'{"reason": "a", "reason": "b"}',
    b'{"reason": NaN}',
    b'{"reason": 7}',
    b'{"reason": ["a"]}',
    b'{"reason": "a\\nb"}',
    b'{"reason": "\\u001b[2J"}',
    b'{"reason": "\\ud800"}',
    b'{"reason": "\xff"}',
    b'{"reason": "' + b"a" * 257 + b'"}',
    b'{"because": "x"}',
    b'{"__class__": "x"}',
    b"[" * 10_000,
    b'{"reason":' * 3_000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_body_that_is_not_exactly_what_was_asked_for_changes_nothing(body: bytes):
    async with staffed() as (at, olga):
        await at.enrol("ada")
        before = await system_records(at)
        answer = await olga.ask(
            "POST", "/agents/ada/suspend", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert await system_records(at) == before


async def test_a_body_that_is_too_large_is_not_read():
    async with staffed() as (_, olga):
        answer = await olga.ask(
            "POST", "/agents", content=b"{" + b" " * 70_000, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_guessing_slows_down_and_locks_nobody_out_elsewhere():
    async with staffed() as (at, olga):
        guess = Person(at, "olga", olga.token[:-4] + "AAAA")
        statuses = [(await guess.refused("GET", "/me"))[0] for _ in range(FAILURES_ALLOWED)]
        assert set(statuses) == {401}
        slowed = await olga.ask("GET", "/me")
        assert (slowed.status_code, slowed.json()["error"]["code"]) == (429, "too_many_attempts")
        assert 0 < int(slowed.headers["retry-after"]) <= 60
        elsewhere = httpx2.ASGITransport(at.app.asgi, client=("192.0.2.7", 4711))
        async with httpx2.AsyncClient(transport=elsewhere, base_url=at.app.settings.public_url) as http:
            assert (await http.get(f"{API}/me", headers=olga.headers)).status_code == 200
        await (await hire(at, "otto")).get("/me")


async def test_a_wrong_token_in_the_name_of_an_operator_is_recorded_and_nothing_of_it_is_kept():
    async with staffed() as (at, olga):
        wrong = olga.token[:-4] + "AAAA"
        await Person(at, "olga", wrong).refused("GET", "/me")
        await Person(at, "nobody", wrong.replace("olga", "nobody")).refused("GET", "/me")
        (record,) = await system_records(at, "operator.refused")
        assert (record["operator"], "127.0.0.1" in str(record)) == ("olga", False)
        everything = b"".join([r.body async for r in at.app.store.log.records("system")])
        for token in (olga.token, wrong):
            assert token.encode() not in everything
            assert token.split(".")[1].encode() not in everything


async def test_no_operator_can_make_operators_or_give_themselves_rights_over_http():
    async with staffed() as (_, olga):
        paths = {operation.path for operation in await every_operation(olga) if operation.method != "GET"}
        assert not [path for path in paths if path.startswith(("/operators", "/me"))]


async def test_nothing_that_is_secret_can_be_read_back():
    async with staffed() as (_, olga):
        made = await olga.do("POST", "/agents", {"id": "ada", "roles": ["lead"]})
        renewed = await olga.do("POST", "/agents/ada/secrets", {"grace_s": 60})
        secrets = [made["client_secret"], renewed["client_secret"], olga.token]
        reads = [operation for operation in await every_operation(olga) if operation.method == "GET"]
        for operation in reads:
            text = (await olga.ask("GET", address(operation))).text
            assert not [secret for secret in secrets if secret in text], operation.path
            assert '"d":' not in text
            assert '"digest": "' not in text or operation.path.startswith("/agents")
