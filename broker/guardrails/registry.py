"""Which guards are there? The names that files in `policies/guardrails/` may configure."""

from collections.abc import Mapping

from broker.guardrails.conduct import Maker
from broker.guardrails.dangerous.detector import make_dangerous
from broker.guardrails.exfiltration import make_exfiltration
from broker.guardrails.hidden import make_hidden
from broker.guardrails.personal.detector import make_personal
from broker.guardrails.secrets.detector import make_secrets

GUARDS: Mapping[str, Maker] = {
    "dangerous": make_dangerous,
    "exfiltration": make_exfiltration,
    "hidden": make_hidden,
    "personal": make_personal,
    "secrets": make_secrets,
}
