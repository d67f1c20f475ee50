"""What does a model cost? The operator's own tables first, then those of `genai-prices`, which come with it.

    prices:                       # policies/prices/*.yaml
      - match: "openai__gpt-5*"   # exposed names of models; `*` stands for any text
        input: "1.25"             # USD per million tokens, as text: money is never a float
        cached_input: "0.125"     # what has no price of its own costs what `input` and `output` say
        output: "10"
      - {match: "local__*", input: "0", output: "0"}

The first entry that matches decides. `genai-prices` is imported when a model is first asked the price of,
and never looks for newer prices by itself: they change with its version.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from broker.documents import Node, read_yaml
from broker.errors import Denied
from broker.ledger.tariff import ZERO, Steps, Tariff
from broker.model import Clock, Target
from broker.patterns import matches

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_OWN = {
    "cached_input": "cached",
    "cache_write": "written",
    "cache_write_1h": "written_1h",
    "audio_input": "audio_read",
    "audio_output": "audio_wrote",
}
_DEAREST_USD = 1_000_000
_FRESH_S = 900
"""Some prices depend on the hour, so what was looked up is kept this long, in seconds."""


@dataclass(frozen=True, slots=True)
class PriceRule:
    """One entry of `prices`."""

    match: str
    tariff: Tariff


def load_prices(policies_dir: Path) -> tuple[PriceRule, ...]:
    """The entries in all files of `prices/`, in order of file name.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    found: list[PriceRule] = []
    for path in sorted((policies_dir / "prices").glob("*.yaml")):
        root = read_yaml(path, "/".join(path.parts[-3:])).mapping(("prices",))
        found += [_rule(item) for item in root["prices"].items()] if "prices" in root else []
    return tuple(found)


class Tables:
    """Finds the tariff of a model, and keeps it.

    Args:
        rules: the operator's own.
        clock: Unix time in seconds.
    """

    def __init__(self, rules: tuple[PriceRule, ...] = (), clock: Clock = time.time) -> None:
        self._rules = rules
        self._clock = clock
        self._known: dict[tuple[str, str, str, str], tuple[float, Tariff | None]] = {}

    def adopt(self, rules: tuple[PriceRule, ...]) -> None:
        """Put other rules in force."""
        self._rules = rules
        self._known.clear()

    def tariff(self, target: Target, tier: str = "") -> Tariff:
        """What a model costs now, in a tier of service.

        Raises:
            Denied: nobody knows; says which line an operator has to add.
        """
        provider, model = (str(target.definition.get(k) or "") for k in ("provider", "price"))
        model, now = model or target.upstream_name, self._clock()
        key = target.name, provider, model, tier
        until, tariff = self._known.get(key, (0.0, None))
        if now >= until:
            tariff = self._look_up(target, (provider, model, tier), now)
            self._known[key] = now + _FRESH_S, tariff
        if tariff is None:
            raise Denied(
                f"nobody knows what `{target.name}` costs, so it is not asked",
                hint="an operator adds to `prices:` in policies/prices/models.yaml:"
                f' `- {{match: "{target.name}", input: "0.00", output: "0.00"}}` (USD per million tokens)',
            )
        return tariff

    def _look_up(self, target: Target, name: tuple[str, str, str], now: float) -> Tariff | None:
        for rule in self._rules:
            if matches(rule.match, target.name):
                return rule.tariff
        return _published(*name, now)


def _published(provider: str, model: str, tier: str, now: float) -> Tariff | None:
    """The tariff in `genai-prices`; without a provider it would only be guessed who offers the model."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - most brokers never need it

    address = provider if "://" in provider else None
    if not provider:
        return None
    try:
        found, info = get_snapshot().find_provider_model(model, None, None if address else provider, address)
    except LookupError:
        return None
    prices = info.get_prices(datetime.fromtimestamp(now, UTC), {"service_tier": tier} if tier else None)
    read, wrote, per_call = (
        _steps(p) for p in (prices.input_mtok, prices.output_mtok, prices.requests_kcount)
    )
    if read is None:
        return None
    return Tariff(
        f"genai-prices@{version('genai-prices')}:{found.id}/{info.id}" + (f"#{tier}" if tier else ""),
        read,
        wrote or Steps(ZERO),
        cached=_steps(prices.cache_read_mtok),
        written=_steps(prices.cache_write_mtok),
        written_1h=_steps(prices.cache_write_1h_mtok),
        audio_read=_steps(prices.input_audio_mtok),
        audio_wrote=_steps(prices.output_audio_mtok),
        call=per_call.base / 1000 if per_call else ZERO,
        context=info.context_window,
    )


def _steps(price: "Decimal | TieredPrices | None") -> Steps | None:
    if price is None or isinstance(price, Decimal):
        return None if price is None else Steps(price)
    return Steps(price.base, tuple((tier.start, tier.price) for tier in price.tiers))


def _rule(node: Node) -> PriceRule:
    fields = node.mapping(("match", "input", "output", "call", *_OWN), required=("match", "input", "output"))
    said = {name: Steps(_usd(fields[key])) for key, name in _OWN.items() if key in fields}
    tariff = Tariff(
        node.place,
        Steps(_usd(fields["input"])),
        Steps(_usd(fields["output"])),
        cached=said.get("cached"),
        written=said.get("written"),
        written_1h=said.get("written_1h"),
        audio_read=said.get("audio_read"),
        audio_wrote=said.get("audio_wrote"),
        call=_usd(fields["call"]) if "call" in fields else ZERO,
    )
    return PriceRule(fields["match"].text(), tariff)


def _usd(node: Node) -> Decimal:
    text = node.text()
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise node.error(f"`{text}` is not an amount of money", 'write dollars, e.g. "1.25"') from None
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD:
        raise node.error(f"`{text}` is not a price", f"use 0 to {_DEAREST_USD}")
    return usd
