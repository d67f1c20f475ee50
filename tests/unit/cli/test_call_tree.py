"""Calls of several agents, as the log tells them."""

from broker.edges.call_tree import tree_of, trees_of
from broker.edges.cli.call_tree import lines
from broker.edges.cli.ink import Ink
from broker.edges.cli.records import story
from broker.edges.records import call_records
from tests.agency import Agency, agency, told


async def three_agents(house: Agency) -> str:
    """planner → researcher → summariser; gives the id of the first call."""
    planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
    summariser = await house.enrol("summariser")

    async def research(line):
        await researcher.call("notes__find", {"text": "a"}, delegation=line.delegation)
        await researcher.call("shelf__ask", delegation=line.delegation)

    async def summarise(line):
        await summariser.call("notes__find", {"text": "b"}, delegation=line.delegation)
        await summariser.call("nothing", delegation=line.delegation)

    house.desk.act, house.shelf.act = research, summarise
    return told(await planner.call("desk__ask"))["id"]


async def test_three_agents_are_one_tree_with_chain_parent_cost_and_outcome():
    async with agency() as house:
        root = await three_agents(house)
        tree = await tree_of(house.app.store.log, root)
        text = list(lines([tree], Ink(coloured=False)))
        shown = [
            "planner ",
            "├─ researcher ← planner ",
            "└─ researcher ← planner ",
            "   ├─ summariser ← researcher ← planner ",
            "   └─ summariser ← researcher ← planner ",
        ]
        assert len(text) == len(shown)
        assert all(line.startswith(start) for line, start in zip(text, shown, strict=True))
        first, second = tree.children
        assert (first.name, first.outcome, first.cost, first.parent) == ("notes__find", "ok", 100, root)
        assert [(c.name, c.outcome) for c in second.children] == [
            ("notes__find", "ok"),
            ("nothing", "denied"),
        ]
        assert second.children[0].parent == second.call
        for call in (first.call, second.call, second.children[1].call):
            assert (await tree_of(house.app.store.log, call)).call == root
        assert tree.as_json()["children"][1]["children"][0]["chain"] == [
            "summariser",
            "researcher",
            "planner",
        ]


async def test_a_task_shows_what_was_done_under_the_delegations_that_name_it_and_nothing_else():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        subject = await planner.token()
        invoices = await planner.delegate("researcher", subject=subject, task="invoices")
        other = await planner.delegate("researcher", subject=subject, task="letters")
        call = told(await researcher.call("notes__find", delegation=invoices))["id"]
        await researcher.call("notes__find", delegation=other)
        await planner.call("notes__find", token=subject)
        (tree,) = await trees_of(house.app.store.log, "invoices")
        assert (tree.call, tree.task, tree.chain) == (call, "invoices", ["researcher", "planner"])
        assert "task “invoices”" in "\n".join(lines([tree], Ink(coloured=False)))
        *_, intent = await house.records("call.intent")
        assert len(await trees_of(house.app.store.log, intent["cause"]["task"])) == 3


async def test_the_story_of_a_call_says_for_which_call_and_under_which_delegation_it_was_made():
    async with agency() as house:
        root = await three_agents(house)
        child = (await tree_of(house.app.store.log, root)).children[0]
        told_of = dict(story(await call_records(house.app.store.log, child.call)))
        assert told_of["for"] == f"call {root}  (tree {root})"
        assert told_of["under"] == f"delegation {child.grants[0]}"


async def test_what_the_log_does_not_hold_is_no_tree():
    async with agency() as house:
        await three_agents(house)
        assert await tree_of(house.app.store.log, "no-such-call") is None
        assert await trees_of(house.app.store.log, "no-such-task") == []
