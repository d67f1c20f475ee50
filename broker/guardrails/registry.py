"""Which guards are there? The names that files in `policies/guardrails/` may configure."""

from collections.abc import Mapping

from broker.guardrails.binary import make_binary
from broker.guardrails.classifier import make_classifier
from broker.guardrails.conduct import Maker
from broker.guardrails.dangerous.detector import make_dangerous
from broker.guardrails.exfiltration import make_exfiltration
from broker.guardrails.hidden import make_hidden
from broker.guardrails.injection.detector import make_injection
from broker.guardrails.personal.detector import make_personal
from broker.guardrails.secrets.detector import make_secrets
from broker.guardrails.topics import make_topics
from broker.guardrails.workers.guardrails_ai import make_guardrails_ai

GUARDS: Mapping[str, Maker] = {
    "binary": make_binary,
    "classifier": make_classifier,
    "dangerous": make_dangerous,
    "exfiltration": make_exfiltration,
    "guardrails-ai": make_guardrails_ai,
    "hidden": make_hidden,
    "injection": make_injection,
    "personal": make_personal,
    "secrets": make_secrets,
    "topics": make_topics,
}
