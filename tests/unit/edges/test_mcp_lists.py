"""Lists: what the token's chain may see, in pages, in one order."""

from broker.edges.mcp import lists
from broker.model import Answer, Kind
from tests.unit.edges.house import House, open_site, said


async def test_each_kind_has_its_list_with_definitions_as_the_upstream_made_them():
    house = House()
    house.tool("t", said("x"), inputSchema={"$defs": {"a": {"$anchor": "b"}}, "type": "object"}, vendor=[1])
    house.offer(Kind.RESOURCE, "x://a", Answer({}), size=3)
    house.offer(Kind.TEMPLATE, "x://{id}", Answer({}))
    house.offer(Kind.PROMPT, "p", Answer({}), title="P")
    async with open_site(house) as site:
        for method, key, name in (
            ("tools/list", "tools", "t"),
            ("resources/list", "resources", "x://a"),
            ("resources/templates/list", "resourceTemplates", "x://{id}"),
            ("prompts/list", "prompts", "p"),
        ):
            result = (await site.request(method)).json()["result"]
            (target,) = (t for t in house.found.values() if t.name == name)
            assert result[key] == [target.definition]
            assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == (
                "complete",
                5000,
                "private",
            )


async def test_pages_follow_each_other_without_gap_or_repetition(monkeypatch):
    monkeypatch.setattr(lists, "PAGE", 3)
    house = House()
    for n in range(7):
        house.tool(f"t{n}", said("x"))
    seen, cursor = [], None
    async with open_site(house) as site:
        while True:
            params = {} if cursor is None else {"cursor": cursor}
            result = (await site.request("tools/list", params)).json()["result"]
            seen.append([tool["name"] for tool in result["tools"]])
            if (cursor := result.get("nextCursor")) is None:
                break
        past = (await site.request("tools/list", {"cursor": "900"})).json()["result"]
    assert seen == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    assert past["tools"] == []


async def test_a_list_shows_a_changed_definition_at_once():
    house = House()
    house.tool("t", said("x"), description="old")
    async with open_site(house) as site:
        await site.request("tools/list")
        house.tool("t", said("x"), description="new")
        result = (await site.request("tools/list")).json()["result"]
    assert result["tools"][0]["description"] == "new"


async def test_everybody_sees_only_what_exists_for_them():
    house = House()
    for name in "ab":
        house.tool(name, said("x"))
    house.hidden.add(("bob", "a"))
    async with open_site(house) as site:
        names = {
            who: [
                t["name"]
                for t in (await site.request("tools/list", token=f"{who}-token")).json()["result"]["tools"]
            ]
            for who in ("alice", "bob")
        }
    assert names == {"alice": ["a", "b"], "bob": ["b"]}
