"""What `policy check` remarks on: what cannot do what its author meant, and nothing else."""

import pytest

from broker.model import Kind, SideEffect
from broker.policy.load import load_sources, shipped_policies
from broker.policy.review import World, review
from tests.unit.policy.people import agent, tool

TOOLS = [
    tool("git__log", effect=SideEffect.READS),
    tool("git__commit"),
    tool("bank__pay", labels=frozenset({"money"})),
    tool("kb://home", kind=Kind.RESOURCE),
]


@pytest.fixture
def remarks(write):
    def remarked(files, **world) -> list[str]:
        found = review(load_sources(write(files)), World(**world))
        return [
            f"{r.place.removeprefix('policies/')}: {'note: ' if r.note else ''}{r.text} ({r.hint})"
            for r in found
        ]

    return remarked


def role(*entries: str, name: str = "r", more: str = "") -> dict[str, str]:
    return {f"roles/{name}.yaml": f"role: {name}\nallow:\n" + "".join(f"  - {e}\n" for e in entries) + more}


def test_a_pattern_that_matches_nothing_is_pointed_out_with_what_was_probably_meant(remarks):
    assert remarks(role("tools: [gti__log, git__*]"), targets=TOOLS) == [
        "roles/r.yaml:3: `gti__log` matches nothing that is offered (did you mean `git__log`?)"
    ]
    assert remarks(role("tools: [gti__*]"), targets=TOOLS) == [
        "roles/r.yaml:3: `gti__*` matches nothing that is offered (did you mean `git__*`?)"
    ]


def test_a_pattern_under_the_wrong_kind_is_told_which_kind_it_is(remarks):
    assert remarks(role('tools: ["kb://*"]'), targets=TOOLS) == [
        "roles/r.yaml:3: `kb://*` matches nothing of this kind (`kb://home` is a resource: name it under `resources`)"
    ]


def test_a_pattern_that_its_side_effects_leave_nothing_of_is_told_what_the_tools_do(remarks):
    assert remarks(role("tools: [git__commit]\n    side_effects: [reads]"), targets=TOOLS) == [
        (
            "roles/r.yaml:3: `git__commit` matches nothing with these side effects "
            "(what it names `writes`: `tools/*.yaml` says what a tool does)"
        )
    ]


def test_without_a_catalogue_only_what_can_never_match_is_pointed_out(remarks):
    connectors = {"git": "git", "the-bank": "bank"}
    assert remarks(role("tools: [git__whatever, 'ba*']"), connectors=connectors) == []
    assert remarks(role("tools: ['*']"), connectors=connectors) == []
    assert remarks(role("tools: [gti__log, git.log]"), connectors=connectors) == [
        "roles/r.yaml:3: `gti__log` matches no tool: no connector is called `gti` (did you mean `git`?)",
        "roles/r.yaml:3: `git.log` matches no tool: names hold letters, digits, `_` and `-` (did you mean `git__log`?)",
    ]
    assert remarks(role("tools: [anything.at_all]"), connectors={"git": "git", "through": ""}) == []
    assert remarks(role("tools: [anything.at_all]")) == []


def test_a_pattern_that_another_one_of_its_role_covers_changes_nothing(remarks):
    assert remarks(role("tools: ['git__*']", "tools: [git__log]")) == [
        "roles/r.yaml:4: `git__log` changes nothing: policies/roles/r.yaml:3 allows `git__*` already (remove one of the two)"
    ]
    assert remarks(role("tools: [git__log]", "tools: [git__log]")) == [
        "roles/r.yaml:4: `git__log` changes nothing: policies/roles/r.yaml:3 allows `git__log` already (remove one of the two)"
    ]


@pytest.mark.parametrize(
    "entries",
    [
        ("tools: ['git__*']\n    side_effects: [reads]", "tools: [git__log]"),
        ("tools: ['git__*']", "resources: ['git__log']"),
        ("tools: ['git__*']\n    when: depth < 1", "tools: [git__log]"),
        ("tools: ['git__*']", "tools: [git__log]\n    obligations: {watermark: true}"),
        ("tools: ['git__*']\n    labels: [a]", "tools: [git__log]"),
        ("agents: ['*']", "tools: [git__log]"),
    ],
)
def test_a_pattern_that_allows_more_or_on_other_terms_is_not_said_to_change_nothing(remarks, entries):
    assert remarks(role(*entries)) == []


def test_what_is_allowed_freely_needs_no_approval_and_an_entry_that_asks_for_one_says_nothing_new(remarks):
    more = "approve:\n  - tools: [git__log]\n    approver: lead\n"
    assert remarks(role("tools: ['git__*']", more=more)) == [
        "roles/r.yaml:5: `git__log` changes nothing: policies/roles/r.yaml:3 allows `git__*` already (remove one of the two)"
    ]


FORBID = '@id("{id}") @reason("x") forbid (principal{who}, action{what}, resource{which}){when};\n'


def rule(**parts: str) -> dict[str, str]:
    defaults = {"id": "no", "who": "", "what": "", "which": "", "when": ""}
    return {"rules/x.cedar": FORBID.format(**{**defaults, **parts})}


def test_an_entry_that_a_rule_always_forbids_is_pointed_out(remarks):
    files = role("tools: [git__commit]", "tools: [git__log]")
    forbid = rule(which=' in Connector::"git"', when=' when { resource.side_effect != "reads" }')
    assert remarks({**files, **forbid}, targets=TOOLS) == [
        (
            "roles/r.yaml:3: nobody can call what this entry allows: `no` always forbids it "
            "(remove the entry, or narrow the rule)"
        )
    ]


def test_an_entry_whose_targets_are_forbidden_but_listed_is_only_noted_since_its_reason_can_be_read(remarks):
    forbid = rule(what=' == Action::"call"', which=' == Tool::"git__commit"')
    assert remarks({**role("tools: [git__commit]"), **forbid}, targets=TOOLS) == [
        (
            "roles/r.yaml:3: note: nobody can call what this entry allows: `no` always forbids it "
            "(who has the role `r` sees it listed, and reads the reason on trying)"
        )
    ]


@pytest.mark.parametrize(
    "forbid",
    [
        rule(who=' in Role::"other"'),
        rule(who=' in Team::"red"'),
        rule(when=" when { context.depth > 0 }"),
        rule(when=' unless { principal in Role::"r" }'),
        rule(which=' == Tool::"git__log"'),
        {"rules/x.cedar": '@mode("shadow") ' + rule()["rules/x.cedar"]},
        {"rules/x.cedar": '@approval("lead") ' + rule(what=' == Action::"call"')["rules/x.cedar"]},
    ],
)
def test_an_entry_that_is_forbidden_only_sometimes_is_left_alone(remarks, forbid):
    other = role("tools: [bank__pay]", name="other")
    found = remarks({**role("tools: [git__commit, git__log]"), **other, **forbid}, targets=TOOLS)
    assert [line for line in found if "roles/r.yaml" in line] == []


def test_names_in_rules_that_nothing_has_are_pointed_out_with_what_was_meant(remarks):
    rules = "".join(
        FORBID.format(id=f"r{n}", who=who, what="", which=which, when="")
        for n, (who, which) in enumerate(
            [
                (' in Role::"raeder"', ""),
                (' == Agent::"an"', ""),
                (' in Team::"rde"', ""),
                (' in Organisation::"acne"', ""),
                ("", ' == Tool::"git__lgo"'),
                ("", ' in Connector::"gti"'),
                ("", ' in Label::"mony"'),
                ("", ' in Label::"not-given-to-anything-yet"'),
                ("", ' == Prompt::"unlike-anything"'),
            ]
        )
    )
    found = remarks(
        {**role("tools: ['*']", name="reader"), "rules/x.cedar": rules},
        targets=TOOLS,
        agents=[agent("ann", "reader", team="red")],
        connectors={"git": "git"},
    )
    assert found == [
        "rules/x.cedar:1: no role is called `raeder` (did you mean `reader`?)",
        "rules/x.cedar:2: no agent is called `an` (did you mean `ann`?)",
        "rules/x.cedar:3: no agent is in a team `rde` (did you mean `red`?)",
        "rules/x.cedar:4: no agent belongs to an organisation `acne` (did you mean `acme`?)",
        "rules/x.cedar:5: no tool is called `git__lgo` (did you mean `git__log`?)",
        "rules/x.cedar:6: no connector is called `gti` (did you mean `git`?)",
        "rules/x.cedar:7: nothing has the label `mony` (did you mean `money`?)",
        "rules/x.cedar:9: no prompt is called `unlike-anything` (None)",
    ]


def test_what_is_not_known_is_not_remarked_on(remarks):
    rules = FORBID.format(id="a", who=' == Agent::"an"', what="", which=' == Tool::"x"', when="")
    assert remarks({**role("tools: [gti__log]"), "rules/x.cedar": rules}) == []


def test_roles_that_nobody_has_are_noted_and_roles_that_nothing_defines_are_a_warning(remarks):
    files = {**role("tools: ['*']", name="reader"), **role("tools: ['*']", name="writer")}
    assert remarks(files, agents=[agent("ann", "raeder", "reader")]) == [
        "agent ann: has the role `raeder`, which nothing defines (did you mean `reader`?)",
        "roles/writer.yaml:1: note: nobody has the role `writer` (broker agent set NAME --role writer)",
    ]


def test_delegation_to_nobody_is_pointed_out(remarks):
    files = role("tools: ['*']", name="planner", more="may_delegate_to: [bob, boob, reader, '*']\n")
    agents = [agent("ann", "planner"), agent("bob", "reader")]
    found = [line for line in remarks(files, agents=agents) if "delegate" in line]
    assert found == [
        "roles/planner.yaml:1: role `planner` may delegate to `boob`, and that is nobody (did you mean `bob`?)"
    ]


def test_there_is_nothing_to_remark_on_in_the_shipped_policies():
    agents = [agent("ann", "operator"), agent("bob", "reader")]
    found = review(load_sources(shipped_policies()), World(targets=TOOLS, agents=agents))
    assert [remark for remark in found if not remark.note] == []
