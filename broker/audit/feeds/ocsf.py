"""How does a SIEM read it? OCSF 1.9: API Activity (6003), Authentication (3002), Detection Finding (2004)."""

from collections.abc import Iterator

from broker.audit.feeds.told import Told
from broker.model import Json

VERSION = "1.9.0"
_PRODUCT = {"name": "MCP tool broker", "vendor_name": "toolbroker.io"}
_ACTIVITIES = {"reads": 2, "writes": 3, "destroys": 4}
_SEVERITIES = {"ok": 1, "pending_approval": 1, "blocked": 3, "denied": 3, "over_budget": 2}
_TOKENS = {"auth.token_issued": (1, 1), "auth.token_refused": (1, 2), "auth.token_revoked": (2, 1)}
"""Activity (1 logon, 2 logoff) and status (1 success, 2 failure)."""


def events(one: Told) -> Iterator[Json]:
    """The OCSF events of one thing that happened: itself, then one for each finding of a call."""
    if not one.is_call:
        yield _authentication(one)
        return
    yield _api_activity(one)
    for number, finding in enumerate(one.findings):
        yield _detection(one, number, finding)


def _api_activity(one: Told) -> Json:
    what, actor, cause = one.part("what"), one.part("actor"), one.part("cause")
    ok = one.outcome == "ok"
    error, decision = one.part("error", last=True), one.part("decision")
    return _event(
        one, 6, 6003, _ACTIVITIES.get(str(what.get("side_effect")), 99), _SEVERITIES.get(one.outcome, 2)
    ) | {
        "actor": {"app_uid": one.agent, "user": {"uid": str(actor.get("subject", one.agent))}},
        "ai_agent": {"uid": one.agent},
        "api": {
            "operation": str(what.get("name") or what.get("method")),
            "service": {"name": str(what.get("connector", "broker"))},
            "request": {"uid": str(one.last["call"])},
        },
        "src_endpoint": {"uid": one.agent},
        "start_time": one.began_us // 1000,
        "end_time": one.ended_us // 1000,
        "status_id": 1 if ok else 2,
        "status_code": one.outcome,
        "status_detail": ", ".join(map(str, error.get("because", ()))) or str(error.get("code", one.outcome)),
        "unmapped": {
            "chain": actor.get("chain", []),
            "cause": dict(cause),
            "cost_micro_usd": one.last.get("cost", 0),
            "policy": decision.get("policy"),
            "rules": decision.get("rules", []),
        },
    }


def _authentication(one: Told) -> Json:
    activity, status = _TOKENS[str(one.last["type"])]
    return _event(one, 3, 3002, activity, 1 if status == 1 else 2) | {
        "user": {"uid": one.agent, "type_id": 99, "type": "Agent"},
        "service": {"name": "oauth"},
        "auth_protocol_id": 6,
        "status_id": status,
        "status_detail": str(one.last.get("error", one.last.get("method", ""))),
    }


def _detection(one: Told, number: int, finding: Json) -> Json:
    stopped = finding["action"] in {"block", "approve"}
    return _event(one, 2, 2004, 1, 4 if stopped else 3) | {
        "finding_info": {
            "uid": f"{one.id}/{number}",
            "title": f"{finding['type']} in {finding['stage']}",
            "types": [str(finding["guard"])],
            "analytic": {"name": str(finding["guard"]), "type_id": 1},
        },
        "actor": {"app_uid": one.agent},
        "action_id": 2 if stopped else 1,
        "disposition_id": 2 if stopped else 1,
        "status_id": 1,
        "unmapped": {"call": one.last["call"], "place": finding["place"], "digest": finding["digest"]},
    }


def _event(one: Told, category: int, kind: int, activity: int, severity: int) -> Json:
    """What every OCSF event has, with the proof that it is in the log."""
    return {
        "category_uid": category,
        "class_uid": kind,
        "activity_id": activity,
        "type_uid": kind * 100 + activity,
        "severity_id": severity,
        "time": one.ended_us // 1000,
        "metadata": {
            "version": VERSION,
            "product": _PRODUCT,
            "uid": one.id,
            "log_name": one.origin,
            "sequence": one.seq,
            "profiles": ["ai_operation", "record_integrity"],
        },
        "attestation_list": [
            {
                "chain_uid": one.origin,
                "fingerprint": {"algorithm": "SHA-256", "algorithm_id": 3, "value": one.leaf.hex()},
            }
        ],
    }
