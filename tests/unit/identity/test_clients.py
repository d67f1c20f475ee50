import re

import pytest

from broker.identity import clients
from broker.identity.clients import FAILURES_ALLOWED, TRACKED_PAIRS, WINDOW_S, Failures, new_secret
from broker.identity.interface import Secret
from broker.model import AgentStatus
from tests.unit.identity.memory import NOW, ManualClock, MemoryAgents
from tests.unit.identity.memory import clients as clients_of

HOME, ELSEWHERE = "192.0.2.1", "192.0.2.2"


def test_a_secret_has_256_random_bits_and_no_character_that_needs_encoding():
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"bk_[A-Za-z0-9_-]{43}", secret) for secret in made)


async def test_the_right_secret_authenticates_and_names_the_live_agent():
    agents = MemoryAgents()
    secret = agents.enrol("researcher")
    attempt = await clients_of(agents, ManualClock()).authenticate("researcher", secret, HOME)
    assert attempt.accepted
    assert attempt.agent is agents.records["researcher"]


async def test_a_wrong_secret_names_the_agent_for_the_log_and_an_unknown_client_nobody():
    agents = MemoryAgents()
    secret = agents.enrol("researcher")
    known = await clients_of(agents, ManualClock()).authenticate("researcher", secret + "x", HOME)
    stranger = await clients_of(agents, ManualClock()).authenticate("nobody", secret, HOME)
    assert (known.accepted, known.agent) == (False, agents.records["researcher"])
    assert (stranger.accepted, stranger.agent) == (False, None)


@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
async def test_the_right_secret_of_an_agent_that_may_not_act_is_refused(status):
    agents = MemoryAgents()
    secret = agents.enrol("researcher")
    agents.set_status("researcher", status)
    assert not (await clients_of(agents, ManualClock()).authenticate("researcher", secret, HOME)).accepted


async def test_during_a_rotation_both_secrets_work_until_the_old_one_ends():
    agents, clock = MemoryAgents(), ManualClock()
    old = agents.enrol("researcher", not_after=NOW + 60)
    new = agents.enrol("researcher")
    subject = clients_of(agents, clock)
    assert (await subject.authenticate("researcher", old, HOME)).accepted
    assert (await subject.authenticate("researcher", new, HOME)).accepted
    clock.now += 60
    assert not (await subject.authenticate("researcher", old, HOME)).accepted
    assert (await subject.authenticate("researcher", new, HOME)).accepted


@pytest.mark.parametrize("held", [0, 1, 3])
async def test_every_stored_secret_is_compared_whichever_matches_and_one_even_where_there_is_none(
    monkeypatch, held
):
    compared = []

    def counting(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return a == b

    monkeypatch.setattr(clients, "compare_digest", counting)
    agents = MemoryAgents()
    secrets = [agents.enrol("researcher") for _ in range(held)]
    await clients_of(agents, ManualClock()).authenticate("researcher", (secrets or ["bk_x"])[-1], HOME)
    assert len(compared) == max(held, 1)


async def test_after_ten_failures_a_pair_has_to_wait_and_is_not_even_looked_at():
    agents, clock = MemoryAgents(), ManualClock()
    secret = agents.enrol("researcher")
    subject = clients_of(agents, clock)
    for _ in range(FAILURES_ALLOWED):
        assert (await subject.authenticate("researcher", "bk_wrong", HOME)).retry_after_s is None
    clock.now += 20
    refused = await subject.authenticate("researcher", secret, HOME)
    assert (refused.accepted, refused.agent, refused.retry_after_s) == (False, None, WINDOW_S - 20)
    clock.now += WINDOW_S - 20
    assert (await subject.authenticate("researcher", secret, HOME)).accepted


async def test_failures_from_one_address_never_lock_a_client_out_elsewhere():
    agents = MemoryAgents()
    secret = agents.enrol("researcher")
    subject = clients_of(agents, ManualClock())
    for _ in range(FAILURES_ALLOWED * 3):
        await subject.authenticate("researcher", "bk_wrong", HOME)
    assert (await subject.authenticate("researcher", secret, ELSEWHERE)).accepted


async def test_a_success_forgets_the_failures_before_it():
    agents = MemoryAgents()
    secret = agents.enrol("researcher")
    subject = clients_of(agents, ManualClock())
    for _ in range(3):
        for _ in range(FAILURES_ALLOWED - 1):
            await subject.authenticate("researcher", "bk_wrong", HOME)
        assert (await subject.authenticate("researcher", secret, HOME)).accepted


async def test_an_expired_secret_row_never_matches_by_being_empty():
    agents = MemoryAgents()
    agents.enrol("researcher")
    agents.stored_secrets["researcher"] = [Secret(b"", NOW)]
    assert not (await clients_of(agents, ManualClock()).authenticate("researcher", "", HOME)).accepted


def test_failures_open_a_new_window_after_the_old_one_has_ended():
    clock = ManualClock()
    failures = Failures(clock)
    for _ in range(FAILURES_ALLOWED - 1):
        failures.count(("a", HOME))
    clock.now += WINDOW_S
    failures.count(("a", HOME))
    assert failures.wait_s(("a", HOME)) == 0


def test_however_many_pairs_fail_only_so_many_are_remembered():
    failures = Failures(ManualClock())
    for number in range(TRACKED_PAIRS + 500):
        failures.count((f"client-{number}", HOME))
    assert len(failures._seen) == TRACKED_PAIRS
