"""One table from errors to every wire: nothing is missing from it, and nothing is said twice."""

import pytest

from broker import errors
from broker.edges import translate
from broker.edges.translate import Audience


def subclasses(kind: type) -> set[type]:
    return {kind} | {deeper for sub in kind.__subclasses__() for deeper in subclasses(sub)}


def own_errors() -> list[type]:
    return sorted(
        (kind for kind in subclasses(errors.BrokerError) if kind.__module__ == errors.__name__), key=str
    )


def an(kind: type) -> errors.BrokerError:
    match kind:
        case errors.NotDeclared:
            return kind("it is so", required={"sampling": {}})
        case errors.PendingApproval:
            return kind("it is so", approval={"id": "a1"})
        case errors.RateLimited:
            return kind("it is so", retry_after_s=1)
        case errors.PendingApproval:
            return kind("it is so", approval={"id": "a"})
        case _:
            return kind("it is so")


@pytest.mark.parametrize("kind", own_errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_a_row_of_its_own(kind):
    assert kind in translate._TABLE


def test_an_error_that_is_not_in_the_table_takes_the_row_of_its_nearest_ancestor():
    class Special(errors.Blocked): ...

    assert translate.wire(Special("x")) == translate.wire(errors.Blocked("y"))


@pytest.mark.parametrize(
    ("kind", "exit_code", "http"),
    [
        (errors.BrokerError, 1, 500),
        (errors.InvalidRequest, 2, 400),
        (errors.Denied, 3, 403),
        (errors.PendingApproval, 3, 403),
        (errors.Blocked, 3, 422),
        (errors.BudgetExceeded, 3, 429),
        (errors.RateLimited, 3, 429),
        (errors.Unauthenticated, 4, 401),
        (errors.UnknownTarget, 5, 404),
        (errors.UpstreamLost, 1, 504),
        (errors.StorageUnavailable, 1, 503),
        (errors.ConfigurationError, 2, 500),
    ],
)
def test_exit_codes_and_http_statuses_are_the_documented_ones(kind, exit_code, http):
    row = translate.wire(an(kind))
    assert (row.exit_code, row.http) == (exit_code, http)


def test_the_model_reads_what_a_smarter_model_could_have_avoided_and_the_host_the_rest():
    model = {kind for kind in own_errors() if translate.wire(an(kind)).audience is Audience.MODEL}
    assert model == {
        errors.Refused,
        errors.Denied,
        errors.PendingApproval,
        errors.Blocked,
        errors.RateLimited,
        errors.PendingApproval,
        errors.BudgetExceeded,
        errors.UpstreamError,
        errors.UpstreamUnreachable,
        errors.UpstreamLost,
    }


def test_the_text_says_what_happened_which_rule_and_what_to_do_next():
    error = errors.Denied(
        "`a` may not use `notes__add`",
        because=[errors.Because("delegation/read-only", "a sub-agent may read"), errors.Because("default")],
        hint="return the text",
    )
    assert translate.text(error) == (
        "denied: `a` may not use `notes__add` — rule `delegation/read-only` (a sub-agent may read)"
        " · rule `default`\nhint: return the text"
    )


def test_a_tool_result_holds_the_text_and_the_same_object_that_every_wire_has():
    error = errors.BudgetExceeded("over by 3")
    error.call_id = "c-1"
    assert translate.tool_result(error) == {
        "content": [{"type": "text", "text": "over budget: over by 3"}],
        "structuredContent": {"error": {"code": "over_budget", "message": "over by 3", "call": "c-1"}},
        "isError": True,
    }


def test_what_an_upstream_refused_is_relayed_with_its_own_code_and_data():
    error = errors.UpstreamRefused("no", rpc_code=-32021, data={"requiredCapabilities": {"sampling": {}}})
    assert translate.rpc_error(error) == {
        "code": -32021,
        "message": "no",
        "data": {"requiredCapabilities": {"sampling": {}}},
    }


@pytest.mark.parametrize("code", [-32700, -32600, -32020, -32022])
def test_an_upstreams_complaint_about_our_transport_is_not_relayed_as_one_about_the_callers(code):
    assert translate.rpc_error(errors.UpstreamRefused("no", rpc_code=code))["code"] == -32603


def test_a_capability_that_is_missing_is_named_as_the_protocol_wants_it():
    error = errors.NotDeclared("needs it", required={"elicitation": {"url": {}}})
    told = translate.rpc_error(error)
    assert (told["code"], told["data"]["requiredCapabilities"]) == (-32021, {"elicitation": {"url": {}}})
    assert told["data"]["error"]["code"] == "not_declared"
