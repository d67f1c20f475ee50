"""A provider of models as a connector, whatever wire formats it speaks."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, ClassVar, cast

from pydantic import BaseModel

from broker.connector import (
    FORMATS,
    Answer,
    ConfigurationError,
    Host,
    Json,
    Line,
    Method,
    MicroUSD,
    Offer,
    Request,
)
from connectors.mcp_upstream.settings import check_headers, resolve_all
from connectors.models.http import ModelHttp
from connectors.models.settings import ModelSettings
from connectors.models.streaming import Relay, with_usage

_PAGES = 20


class Provider:
    """An `Upstream`. A subclass says which formats it speaks and how it wants to be shown the key."""

    settings: type[BaseModel] = ModelSettings
    methods: ClassVar[Sequence[Method]]
    beta: ClassVar[str]
    """The header that names features on trial."""

    def __init__(self) -> None:
        self._http: ModelHttp | None = None
        self._chosen: ModelSettings | None = None

    def credentials(self, key: str) -> Mapping[str, str]:
        """The headers that show the key."""
        raise NotImplementedError

    def fixed(self, chosen: ModelSettings) -> Mapping[str, str]:  # noqa: ARG002 - for subclasses
        """Headers that every request needs."""
        return {}

    async def open(self, settings: BaseModel, host: Host) -> None:
        """Get ready to connect.

        Raises:
            ConfigurationError: a secret is missing, or cannot be sent.
        """
        chosen = self._chosen = cast("ModelSettings", settings)
        headers, _ = resolve_all(chosen.headers, host.secret)
        if chosen.api_key is not None:
            headers |= self.credentials(host.secret(chosen.api_key).strip())
        headers |= self.fixed(chosen)
        check_headers(headers, host.name)
        self._http = ModelHttp(host.name, chosen.addresses, headers, allow_private=chosen.allow_private)

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()

    async def offer(self) -> Offer:
        """The configured models, or those that the provider lists.

        Raises:
            UpstreamError: it was to be asked and cannot be.
        """
        http, chosen = self._opened()
        listed: list[Json] = [] if chosen.models else await self._listed(http)
        return Offer(models=chosen.offered(listed, self.methods))

    async def invoke(self, request: Request, line: Line) -> Answer:
        """Ask a model. Leaving this early closes the connection, so that it writes no more.

        Raises:
            UpstreamUnreachable: never sent. UpstreamRefused: it was answered no, in the provider's words.
            UpstreamLost: sent, and the answer is lost.
        """
        http, chosen = self._opened()
        form, params = FORMATS[request.method], request.params
        path = f"/{request.method}"
        body = with_usage(request.method, params)
        betas = chosen.passed(line.betas)
        headers = {**line.trace, **({self.beta: ",".join(betas)} if betas else {})}
        async with http.asked("POST", path, body, headers) as response:
            if request.method is Method.COUNT:
                return Answer(await http.whole(response), MicroUSD(0))
            if params.get("stream") is not True:
                answer = await http.whole(response)
                return Answer(answer, _cost(answer) if chosen.reports_cost else None, form.usage(answer))
            relay = Relay(form, params, line)
            answer = await relay.run(http.events(response))
            return Answer(answer, _cost(answer) if chosen.reports_cost else None, relay.usage)

    async def watch(self, uri: str) -> None:
        """Models have no resources."""

    async def unwatch(self, uri: str) -> None:
        """Models have no resources."""

    async def _listed(self, http: ModelHttp) -> list[Json]:
        found: list[Json] = []
        after = ""
        for _ in range(_PAGES):
            async with http.asked("GET", f"/models{after}") as response:
                page = await http.whole(response)
            data: Any = page.get("data")
            models = cast("list[Any]", data) if isinstance(data, list) else []
            found += [cast("Json", model) for model in models if isinstance(model, dict) and "id" in model]
            if page.get("has_more") is not True or not page.get("last_id"):
                break
            after = f"?after_id={page['last_id']}"
        return found

    def _opened(self) -> tuple[ModelHttp, ModelSettings]:
        if self._http is None or self._chosen is None:
            raise ConfigurationError("the connector is not open")
        return self._http, self._chosen


def _cost(answer: Json) -> MicroUSD | None:
    """What the provider says that it charges; None where it does not."""
    usage = answer.get("usage")
    said = cast("Json", usage).get("cost") if isinstance(usage, dict) else None
    if type(said) not in (int, float, str):
        return None
    try:
        usd = Decimal(str(said))
    except InvalidOperation:
        return None
    return MicroUSD(int((usd * 1_000_000).to_integral_value(ROUND_CEILING))) if usd.is_finite() else None
