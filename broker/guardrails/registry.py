"""Which guards are there? The names that files in `policies/guardrails/` may configure."""

from collections.abc import Mapping

from broker.guardrails.classifier import make_classifier
from broker.guardrails.conduct import Maker
from broker.guardrails.injection.detector import make_injection
from broker.guardrails.secrets.detector import make_secrets
from broker.guardrails.workers.guardrails_ai import make_guardrails_ai

GUARDS: Mapping[str, Maker] = {
    "classifier": make_classifier,
    "guardrails-ai": make_guardrails_ai,
    "injection": make_injection,
    "secrets": make_secrets,
}
