"""How far a chain is trusted now, as the log has it."""

from dataclasses import replace

from broker.errors import Because
from broker.model import Agent, AgentId, Attestation, Kind, OrganisationId, Principal, SideEffect, Target
from broker.trust.interface import Band
from tests.unit.trusting import SHIPPED, MemoryLog, reputation

ALICE = Agent(AgentId("alice"), OrganisationId("acme"), frozenset({"reader"}))
BOB = replace(ALICE, id=AgentId("bob"), attestation=Attestation.SIGNED)
HONEY = [Because("trust/honeytool", "no")]


def chain(*actors: Agent) -> Principal:
    return Principal(actors[0], actors[-1].id, actors, frozenset(), "t", "x", 0)


def touch(log: MemoryLog, agent: str = "alice") -> None:
    error = {"code": "denied", "because": ["trust/honeytool"]}
    log.write("call.denied", agent, call="c", what={"name": "vault"}, outcome="denied", error=error)


async def blocked(log: MemoryLog, times: int) -> None:
    for _ in range(times):
        finding = {"stage": "arguments", "guard": "hidden@1", "action": "block"}
        error = {"code": "blocked", "because": []}
        log.write(
            "call.denied", call="c", what={"name": "t"}, outcome="blocked", error=error, findings=[finding]
        )


async def test_a_chain_has_the_lowest_trust_of_its_actors() -> None:
    log = MemoryLog()
    trust = reputation(log)
    assert (trust.lowest(chain(BOB)), trust.lowest(chain(BOB, ALICE))) == (700, 650)
    await blocked(log, 2)
    await trust.look()
    assert (trust.lowest(chain(BOB)), trust.lowest(chain(BOB, ALICE))) == (700, 410)


async def test_a_fall_is_recorded_once_with_its_reasons_and_told() -> None:
    log, told = MemoryLog(), []
    trust = reputation(log, told)
    await blocked(log, 3)
    await trust.look()
    await trust.look()
    assert [(u["was"], u["band"], u["as_of"]) for u in log.updates] == [
        ("standard", "watch", 0),
        ("watch", "watch", 1),
        ("watch", "restricted", 2),
    ]
    assert log.updates[-1]["because"] == [
        {"rule": "content-blocked", "points": 360, "signs": 3, "seqs": [2, 1, 0]}
    ]
    assert [update.band for update in told] == [Band.WATCH, Band.RESTRICTED]


async def test_a_new_process_comes_to_the_same_numbers_and_records_nothing_again() -> None:
    log = MemoryLog()
    await blocked(log, 3)
    first, second = reputation(log), reputation(log)
    await first.look()
    before = list(log.updates)
    await second.look()
    assert second.lowest(chain(ALICE)) == first.lowest(chain(ALICE)) == 290
    assert log.updates == before


async def test_what_a_crash_left_untold_is_told_by_the_next_process() -> None:
    log = MemoryLog()
    await blocked(log, 3)
    await reputation(log).look()
    told = log.updates
    log.bodies = log.bodies[:-1]
    await reputation(log).look()
    assert log.updates == told


async def test_a_touched_honeytool_cuts_the_very_next_call_before_the_log_is_read() -> None:
    log = MemoryLog()
    trust = reputation(log)
    trust.heed(chain(ALICE), HONEY)
    assert trust.lowest(chain(ALICE)) == 0
    await trust.look()
    assert trust.lowest(chain(ALICE)) == 0
    touch(log)
    await trust.look()
    assert trust.lowest(chain(ALICE)) == 0


async def test_a_released_agent_is_watched_even_if_it_was_caught_a_moment_ago() -> None:
    log = MemoryLog()
    trust = reputation(log)
    trust.heed(chain(ALICE), HONEY)
    touch(log)
    log.write("trust.released", None, target="alice", by="dana", reason="a test")
    await trust.look()
    assert trust.lowest(chain(ALICE)) == 500


async def test_an_ordinary_refusal_catches_nobody() -> None:
    trust = reputation()
    trust.heed(chain(ALICE), [Because("default", "no rule permits it")])
    assert trust.lowest(chain(ALICE)) == 650


async def test_a_restricted_chain_is_shown_what_reads_and_a_quarantined_one_nothing() -> None:
    log = MemoryLog()
    trust = reputation(log)
    reads = Target(Kind.TOOL, "r", "c", "r", {}, side_effect=SideEffect.READS)
    writes = Target(Kind.TOOL, "w", "c", "w", {})
    hands_on = replace(reads, agent=AgentId("bob"))
    everything = [reads, writes, hands_on]
    assert trust.shown(chain(ALICE), everything) == everything
    await blocked(log, 3)
    await trust.look()
    assert trust.shown(chain(ALICE), everything) == [reads]
    await blocked(log, 1)
    await trust.look()
    assert trust.shown(chain(ALICE), everything) == []


async def test_points_are_forgiven_while_an_agent_does_nothing() -> None:
    log = MemoryLog()
    trust = reputation(log)
    await blocked(log, 1)
    await trust.look()
    log.now += 3 * 86_400_000_000
    await trust.look()
    assert trust.lowest(chain(ALICE)) == 590  # 650 - 120 / 2; still watched: it has not shown anything


async def test_an_agent_that_contradicts_its_manifest_is_cut_whatever_it_has_earned() -> None:
    contradicted = replace(BOB, attestation=Attestation.SELF_DECLARED)
    assert reputation().lowest(chain(contradicted)) == 350


async def test_other_weights_are_taken_into_use_for_what_has_already_happened() -> None:
    log = MemoryLog()
    trust = reputation(log)
    await blocked(log, 1)
    await trust.look()
    rules = dict(SHIPPED.rules)
    rules["content-blocked"] = replace(rules["content-blocked"], points=10)
    await trust.adopt(replace(SHIPPED, version="other", rules=rules))
    assert trust.lowest(chain(ALICE)) == 640
