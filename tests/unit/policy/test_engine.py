"""What the decision point promises about one call, a list, and a change."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.model import AgentId, Argument, Kind, SideEffect
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from broker.policy.roles import Allowance, Pattern
from broker.policy.selection import Selector, selects
from tests.unit.policy.people import agent, chain, having, tool

READER = "role: reader\nallow:\n  - tools: [time__*, git__git_log]\n"
WRITER = 'role: writer\nallow:\n  - tools: ["*__add"]\n  - resources: ["git+file://*"]\n    prompts: ["*"]\n'
ROLES = {"roles/reader.yaml": READER, "roles/writer.yaml": WRITER}
NOW = tool("time__now")
LOG = tool("git__git_log")
ADD = tool("notes__add")


def test_a_role_permits_what_its_patterns_match_and_the_decision_names_file_line_and_role(engine):
    policy = engine(ROLES)
    policy.retarget([NOW, ADD])
    decision = policy.decide(having("reader"), NOW, {})
    assert decision.permitted
    assert [(b.rule, b.text) for b in decision.because] == [
        ("reader/allow/1", "policies/roles/reader.yaml:3 role `reader` allows tools time__*, git__git_log")
    ]
    assert decision.policy == policy.version
    assert decision.hint is None


def test_what_no_role_permits_is_refused_by_name_and_the_roles_that_would_permit_it_are_not_told(engine):
    policy = engine(ROLES)
    policy.retarget([NOW, ADD])
    decision = policy.decide(having("reader"), ADD, {})
    assert not decision.permitted
    assert [(b.rule, b.text) for b in decision.because] == [
        ("default", "no role of `ann` (roles: reader) permits `notes__add`")
    ]
    assert "writer" not in str(decision)
    assert policy.permitting_roles(ADD) == ["writer"]


def test_every_actor_of_a_chain_has_to_be_permitted_and_the_one_that_is_not_is_named(engine):
    policy = engine(ROLES)
    policy.retarget([ADD])
    may, may_not = agent("ann", "writer"), agent("bob", "reader")
    assert policy.decide(chain(may, agent("eve", "writer")), ADD, {}).permitted
    for actors in ([may, may_not], [may_not, may]):
        decision = policy.decide(chain(*actors), ADD, {})
        assert not decision.permitted
        assert "`bob`" in decision.because[0].text
        assert not policy.sees(chain(*actors), ADD)


def test_a_chain_without_actors_or_with_another_agent_in_front_may_nothing(engine):
    policy = engine(ROLES)
    policy.retarget([ADD])
    real = having("writer")
    for broken in (replace(real, actors=()), replace(real, agent=agent("bob", "reader"))):
        assert not policy.decide(broken, ADD, {}).permitted
        assert policy.visible(broken, [ADD]) == []


def test_a_role_that_nothing_defines_permits_nothing_and_is_said_to_be_undefined(engine):
    policy = engine(ROLES)
    policy.retarget([NOW])
    assert not policy.sees(having("ghost"), NOW)
    decision = policy.decide(having("ghost"), NOW, {})
    assert "ghost, which is not defined" in decision.because[0].text
    assert policy.roles == {"reader", "writer"}


def test_patterns_mean_only_the_kinds_they_are_written_under(engine):
    name = "git+file:///repo"
    policy = engine({"roles/w.yaml": 'role: w\nallow:\n  - resources: ["*"]\n'})
    targets = [tool(name, kind=kind) for kind in Kind]
    policy.retarget(targets)
    assert [t.kind for t in policy.visible(having("w"), targets)] == [Kind.RESOURCE, Kind.TEMPLATE]


def test_side_effects_narrow_the_tools_of_an_entry(engine):
    policy = engine({"roles/r.yaml": 'role: r\nallow:\n  - tools: ["*"]\n    side_effects: [reads]\n'})
    reads, writes = tool("a__get", effect=SideEffect.READS), tool("a__put")
    policy.retarget([reads, writes])
    assert policy.visible(having("r"), [reads, writes]) == [reads]


def test_a_forbid_overrules_every_permit_and_its_reason_is_given(engine):
    rule = '@id("no-money") @reason("spending needs a person")\nforbid (principal, action, resource in Label::"money");\n'
    policy = engine({**ROLES, "rules/hard.cedar": rule})
    pay = tool("time__pay", labels=frozenset({"money"}))
    policy.retarget([pay, NOW])
    decision = policy.decide(having("reader"), pay, {})
    assert [(b.rule, b.text) for b in decision.because] == [
        ("no-money", "policies/rules/hard.cedar:1 spending needs a person")
    ]
    assert policy.visible(having("reader"), [pay, NOW]) == [NOW]


def test_a_forbid_does_not_hide_that_nothing_permits_the_call_anyway(engine):
    rule = '@id("no-money") @reason("no") forbid (principal, action, resource in Label::"money");'
    policy = engine({**ROLES, "rules/hard.cedar": rule})
    pay = tool("bank__pay", labels=frozenset({"money"}))
    policy.retarget([pay])
    assert [b.rule for b in policy.decide(having("reader"), pay, {}).because] == ["no-money", "default"]


def test_a_rule_against_calling_only_leaves_the_target_listed_so_that_its_reason_can_be_read(engine):
    rule = '@id("own-hands") @reason("not on behalf of others") forbid (principal, action == Action::"call", resource) when { context.depth > 0 };'
    policy = engine({**ROLES, "rules/hard.cedar": rule})
    policy.retarget([NOW])
    alone, delegated = having("reader"), chain(agent("ann", "reader"), agent("bob", "reader"))
    assert policy.decide(alone, NOW, {}).permitted
    assert policy.sees(delegated, NOW)
    assert [b.rule for b in policy.decide(delegated, NOW, {}).because] == ["own-hands"]


def test_rules_tell_agents_teams_organisations_connectors_and_single_targets_apart(engine):
    rules = """
    @id("agent") @reason("r") forbid (principal == Agent::"eve", action, resource);
    @id("team") @reason("r") forbid (principal in Team::"red", action, resource in Connector::"git");
    @id("tenant") @reason("r") forbid (principal in Organisation::"other", action, resource);
    @id("tool") @reason("r") forbid (principal, action, resource == Tool::"time__zones");
    @id("dear") @reason("r") forbid (principal, action, resource) when { resource.price > 1000 };
    """
    policy = engine({**ROLES, "rules/hard.cedar": rules})
    zones, dear = tool("time__zones"), tool("time__dear", price=1001)
    everything = [NOW, LOG, zones, dear]
    policy.retarget(everything)
    assert policy.visible(having("reader"), everything) == [NOW, LOG]
    assert policy.visible(having("reader", team="red"), everything) == [NOW]
    assert policy.visible(having("reader", organisation="other"), everything) == []
    assert policy.visible(chain(agent("eve", "reader")), everything) == []
    for target, rule in ((zones, "tool"), (dear, "dear")):
        assert [b.rule for b in policy.decide(having("reader"), target, {}).because] == [rule]


def test_a_hard_permit_gives_what_no_role_gives(engine):
    rule = '@id("clock") @reason("everybody may know the time") permit (principal, action, resource == Tool::"time__now");'
    policy = engine({"rules/hard.cedar": rule})
    policy.retarget([NOW, LOG])
    assert policy.visible(having(), [NOW, LOG]) == [NOW]
    assert [b.rule for b in policy.decide(having(), NOW, {}).because] == ["clock"]


def test_live_roles_count_and_not_those_of_an_earlier_call(engine):
    policy = engine(ROLES)
    policy.retarget([NOW])
    assert policy.decide(having("reader"), NOW, {}).permitted
    assert not policy.decide(having(), NOW, {}).permitted
    assert not policy.sees(having(), NOW)


def test_a_target_that_changed_its_labels_is_unknown_until_the_catalogue_says_so(engine):
    policy = engine(ROLES)
    policy.retarget([NOW])
    assert policy.decide(having("reader"), NOW, {}).permitted
    relabelled = replace(NOW, labels=frozenset({"money"}))
    assert not policy.decide(having("reader"), relabelled, {}).permitted
    assert not policy.sees(having("reader"), relabelled)
    assert policy.visible(having("reader"), [relabelled]) == []


def test_a_target_that_is_gone_is_refused_although_it_was_permitted_before(engine):
    policy = engine(ROLES)
    policy.retarget([NOW])
    assert policy.decide(having("reader"), NOW, {}).permitted
    policy.retarget([LOG])
    assert not policy.decide(having("reader"), NOW, {}).permitted
    assert policy.visible(having("reader"), [NOW, LOG]) == [LOG]


def test_a_bad_file_is_named_with_its_line_and_the_old_set_stays_in_force(engine, tmp_path):
    policy = engine(ROLES)
    policy.retarget([NOW])
    before = policy.version
    (tmp_path / "policies/roles/reader.yaml").write_text("role: reader\nallow:\n  - tool: [x]\n")
    with pytest.raises(ConfigurationError) as error:
        policy.reload()
    assert error.value.message == "policies/roles/reader.yaml:3: unknown key `tool`"
    assert error.value.hint == "did you mean `tools`?"
    assert policy.version == before
    assert policy.decide(having("reader"), NOW, {}).permitted


def test_a_changed_folder_is_noticed_once_also_where_it_cannot_be_loaded(engine, tmp_path):
    policy = engine(ROLES)
    policy.retarget([NOW])
    reader = tmp_path / "policies/roles/reader.yaml"
    assert not policy.changed()
    reader.write_text("role: reader\nallow: []\n")
    assert policy.changed()
    policy.reload()
    assert not policy.sees(having("reader"), NOW)
    assert not policy.changed()
    reader.write_text("role: reader\nallow: nothing at all\n")
    assert policy.changed()
    with pytest.raises(ConfigurationError):
        policy.reload()
    assert not policy.changed()
    reader.unlink()
    assert policy.changed()
    policy.reload()
    assert policy.roles == {"writer"}


def test_the_version_says_what_is_in_force_and_not_what_is_connected(engine, write):
    policy = engine(ROLES)
    before = policy.version
    policy.retarget([NOW, LOG])
    assert policy.version == before
    assert PolicyEngine(write({})).version == before
    write({"roles/reader.yaml": READER.replace("git_log", "git_show")})
    policy.reload()
    assert policy.version != before
    assert policy.version.startswith("sha256:")


def test_a_pattern_that_matches_nothing_is_a_warning_that_suggests_what_may_be_meant(engine):
    rule = '@id("x") @reason("r") forbid (principal, action, resource == Tool::"time__nwo");'
    policy = engine(
        {
            "roles/r.yaml": "role: r\nallow:\n  - tools:\n    - tiem__*\n    - time__now\n",
            "rules/x.cedar": rule,
        }
    )
    policy.retarget([NOW])
    assert policy.warnings() == [
        "policies/roles/r.yaml:4: `tiem__*` matches nothing that is offered now; did you mean `time__*`?",
        "policies/rules/x.cedar:1: `time__nwo` matches nothing that is offered now; did you mean `time__now`?",
    ]


def test_the_shipped_roles_let_operators_do_everything_and_readers_read():
    policy = PolicyEngine(shipped_policies())
    reads, writes = tool("a__get", effect=SideEffect.READS), tool("a__put")
    page = tool("kb://page", kind=Kind.RESOURCE, effect=SideEffect.READS)
    everything = [reads, writes, page]
    policy.retarget(everything)
    assert policy.visible(having("operator"), everything) == everything
    assert policy.visible(having("reader"), everything) == [reads, page]
    assert policy.visible(having(), everything) == []


_ROLE_NAMES = ["r0", "r1", "r2"]
_NAMES = ["a__get", "a__put", "b__get", "b__put", "c://x"]
_GLOBS = ["*", "a__*", "*__get", "b__put", "c:*", "nothing"]


def _role_file(entries: list[tuple[str, bool]]) -> str:
    lines = [
        f'  - tools: ["{glob}"]\n{"    side_effects: [reads]" if narrow else ""}' for glob, narrow in entries
    ]
    return "role: {}\nallow:\n" + "\n".join(lines) + "\n" if lines else "role: {}\nallow: []\n"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_listed_can_be_called_and_nothing_else_whatever_the_roles(data: Any, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    (folder / "roles").mkdir()
    entries = st.lists(st.tuples(st.sampled_from(_GLOBS), st.booleans()), max_size=3)
    written = {name: data.draw(entries, label=name) for name in _ROLE_NAMES}
    for name, found in written.items():
        (folder / "roles" / f"{name}.yaml").write_text(_role_file(found).format(name))
    policy = PolicyEngine(folder)
    targets = [tool(name, effect=data.draw(st.sampled_from(list(SideEffect)))) for name in _NAMES]
    policy.retarget(targets)
    roles = st.frozensets(st.sampled_from([*_ROLE_NAMES, "ghost"]))
    actors = [agent(f"a{n}", *data.draw(roles)) for n in range(data.draw(st.integers(1, 3)))]
    principal = chain(*actors)
    listed = policy.visible(principal, targets)
    for target in targets:
        expected = all(
            any(
                _means(glob, narrow, target) for role in actor.roles for glob, narrow in written.get(role, [])
            )
            for actor in actors
        )
        assert (target in listed) is expected
        assert policy.sees(principal, target) is expected
        assert policy.decide(principal, target, {}).permitted is expected


def _means(glob: str, narrow: bool, target: Any) -> bool:
    hit = {
        "*": True,
        "a__*": target.name[:3] == "a__",
        "*__get": target.name[-5:] == "__get",
        "c:*": target.name[:2] == "c:",
    }
    return hit.get(glob, target.name == glob) and (not narrow or target.side_effect is SideEffect.READS)


def test_names_that_are_almost_others_are_warned_of_with_what_may_be_meant(engine):
    tools = "tools:\n  - match: a__pay\n    labels: [mony]\n    arguments: {amount: {scale: 2}}\n"
    rule = """@id("x") @reason("r") forbid (principal, action == Action::"call", resource in Label::"private-dat")
    when { context.num has amonut };"""
    policy = engine({"rules/x.cedar": rule, "tools/t.yaml": tools, "roles/r.yaml": AGENTS})
    policy.retarget([replace(tool("a__pay"), agent=AgentId("summariser"))])
    assert policy.warnings() == [
        "policies/roles/r.yaml:3: `sumariser` matches nothing that is offered now; did you mean `summariser`?",
        "policies/rules/x.cedar:1: no tool declares the argument `amonut` of `context.num`; did you mean `amount`?",
        "policies/rules/x.cedar:1: nothing else speaks of the label `private-dat`; did you mean `private-data`?",
        "policies/tools/t.yaml:2: nothing else speaks of the label `mony`; did you mean `money`?",
    ]


AGENTS = "role: r\nallow:\n  - agents: [sumariser]\n"


def test_an_entry_about_agents_means_whatever_acts_as_one_and_agents_and_models_are_governed_as_tools_are(
    engine,
):
    role = "role: r\nallow:\n  - agents: ['sum*']\n  - models: [small]\n"
    rule = '@id("m") @reason("r") forbid (principal, action == Action::"call", resource == Model::"small") when { context.depth > 0 };'
    policy = engine({"roles/r.yaml": role, "rules/x.cedar": rule})
    acts = replace(tool("s__ask"), agent=AgentId("summariser"))
    agent_itself, model, other = (
        tool(n, kind=k) for n, k in (("summ", Kind.AGENT), ("small", Kind.MODEL), ("sum", Kind.TOOL))
    )
    everything = [acts, agent_itself, model, other, tool("large", kind=Kind.MODEL)]
    policy.retarget(everything)
    assert policy.visible(having("r"), everything) == [acts, agent_itself, model]
    assert policy.decide(having("r"), model, {}).permitted
    assert not policy.decide(chain(agent("a", "r"), agent("b", "r")), model, {}).permitted


def test_labels_narrow_an_entry_to_what_has_one_of_them(engine):
    policy = engine({"roles/r.yaml": "role: r\nallow:\n  - tools: ['*']\n    labels: [public, open]\n"})
    public, secret, bare = (
        tool(f"a__{n}", labels=frozenset(ls)) for n, ls in (("p", ["open", "x"]), ("s", ["x"]), ("b", []))
    )
    policy.retarget([public, secret, bare])
    assert policy.visible(having("r"), [public, secret, bare]) == [public]


@settings(max_examples=150, deadline=None)
@given(
    globs=st.lists(st.text("ab*_", max_size=5).filter(bool), max_size=6),
    names=st.lists(st.text("ab_", min_size=1, max_size=5), unique=True, max_size=6),
)
def test_the_quick_way_to_find_entries_finds_what_trying_them_all_does(globs, names):
    kinds = frozenset({Kind.TOOL})
    entries = [Allowance(str(n), "r", "p", "", (Pattern(glob, kinds, "p"),)) for n, glob in enumerate(globs)]
    selector = Selector(entries)
    for name in names:
        expected = [entry.id for entry in entries if selects(entry.patterns[0], tool(name))]
        assert selector.selections(tool(name)) == expected


_CONDITIONS = {
    "": lambda a: True,
    "amount <= 5": lambda a: a <= 5,
    "amount > 5 and amount < 9": lambda a: 5 < a < 9,
}
_FORBIDS = {
    "": lambda a: False,
    "when { context.num has amount && context.num.amount < 3 }": lambda a: a < 3,
    "when { context.num has amount && context.num.amount >= 0 }": lambda a: a >= 0,
}
_DECLARED = "tools:\n  - match: '*'\n    arguments: {amount: {scale: 0}}\n"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_is_listed_is_what_can_be_called_under_some_arguments(data: Any, tmp_path_factory):
    """Unless a rule forbids every call and not the listing, which is how an operator has its reason read."""
    folder = tmp_path_factory.mktemp("policies")
    entries = {
        role: data.draw(
            st.lists(
                st.tuples(st.sampled_from(["*", "a__*", "b__put"]), st.sampled_from(list(_CONDITIONS))),
                max_size=2,
            )
        )
        for role in ("r0", "r1")
    }
    files = {
        f"roles/{role}.yaml": f"role: {role}\nallow:{''.join(_entry(*entry) for entry in found) or ' []'}\n"
        for role, found in entries.items()
    }
    hidden = data.draw(st.booleans())
    when = data.draw(st.sampled_from(["", *_FORBIDS]))
    action = "action" if hidden else 'action == Action::"call"'
    rule = f'@id("f") @reason("r") forbid (principal, {action}, resource == Tool::"a__put") {"" if hidden else when};'
    files |= {"rules/x.cedar": rule, "tools/t.yaml": _DECLARED}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    policy = PolicyEngine(folder)
    targets = [
        replace(tool(name), arguments=(Argument("amount", "amount", 0),))
        for name in ("a__get", "a__put", "b__put")
    ]
    policy.retarget(targets)
    principal = chain(
        *(
            agent(f"a{n}", *data.draw(st.frozensets(st.sampled_from(["r0", "r1"]))))
            for n in range(data.draw(st.integers(1, 2)))
        )
    )
    listed = policy.visible(principal, targets)
    for target in targets:
        some = any(
            policy.decide(principal, target, {"arguments": {"amount": n}}).permitted
            for n in (-1, 0, 4, 7, 12)
        )
        if some:
            assert target in listed
        elif target in listed:
            aimed = not hidden and target.name == "a__put"
            apart = all(not _together(entries, principal, target, n) for n in (-1, 0, 4, 7, 12))
            assert aimed or apart


def _entry(glob: str, condition: str) -> str:
    return f"\n  - tools: ['{glob}']" + (f"\n    when: {condition}" if condition else "")


def _together(entries: Any, principal: Any, target: Any, amount: int) -> bool:
    """Whether every actor has an entry whose condition this amount fulfils: two may exclude each other."""
    return all(
        any(
            (glob in ("*", target.name) or (glob == "a__*" and target.name[:3] == "a__"))
            and _CONDITIONS[condition](amount)
            for role in actor.roles
            for glob, condition in entries[role]
        )
        for actor in principal.actors
    )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "tools/t.yaml",
            "tools:\n  - match: a\n    arguments: {or: {}}\n",
            "policies/tools/t.yaml:3: `or` cannot be the name",
        ),
        (
            "roles/r.yaml",
            "role: r\nallow:\n  - tools: ['*']\n    when: x <\n",
            "policies/roles/r.yaml:4: nothing declares `x`",
        ),
        (
            "rules/x.cedar",
            '@id("a") @reason("r") @mode("x") permit (principal, action, resource);',
            "policies/rules/x.cedar:1: `x` is not a mode",
        ),
    ],
)
def test_a_mistake_in_anything_new_leaves_the_set_in_force_and_is_named_with_its_line(
    engine, write, file, text, message
):
    policy = engine(ROLES)
    policy.retarget([NOW])
    before = policy.version
    write({file: text})
    assert policy.changed()
    with pytest.raises(ConfigurationError, match=message):
        policy.reload()
    assert policy.version == before
    assert policy.decide(having("reader"), NOW, {}).permitted


def test_what_is_declared_is_part_of_the_version_and_taken_into_use_with_it(engine, write):
    policy = engine({**ROLES, "tools/t.yaml": _DECLARED})
    before = policy.version
    write({"tools/t.yaml": _DECLARED.replace("scale: 0", "scale: 2")})
    policy.reload()
    assert policy.version != before
    assert "type Numbers = { amount?: Long };" in policy.schema
