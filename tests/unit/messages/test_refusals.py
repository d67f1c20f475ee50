"""Does a client read from the wire what the broker said?"""

import pytest

from broker.edges.translate import tool_result
from broker.errors import Because, Blocked, Denied, PendingApproval, RateLimited
from broker.messages.refusals import from_object, refusal_in

RULE = (Because("money", "it leaves"),)


@pytest.mark.parametrize(
    "error",
    [
        Denied("no", hint="ask", because=RULE, call_id="c1"),
        Blocked("a key is in it"),
        RateLimited("too soon", retry_after_s=7, because=RULE, hint="wait"),
        PendingApproval("a human", approval={"id": "a1", "waits_for": ["lead"]}, because=RULE, hint="again"),
    ],
    ids=lambda error: error.code,
)
def test_a_refusal_is_read_as_it_was_told(error):
    read = refusal_in(tool_result(error))
    assert type(read) is type(error)
    assert read.as_object() == error.as_object()


@pytest.mark.parametrize("code", ["pending_approval", "rate_limited", "denied"])
def test_a_refusal_that_lacks_what_it_should_tell_is_still_one(code: str):
    read = from_object({"error": {"code": code, "message": "no"}})
    assert read is not None
    assert (read.code, read.message, read.hint) == (code, "no", None)
