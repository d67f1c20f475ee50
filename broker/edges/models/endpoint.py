"""Where do SDKs of model providers come in? At `/v1/…`, with an access token for a key."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from broker.edges.admission import Admission
from broker.edges.models import asked, failures, listed
from broker.edges.models.failures import Failure
from broker.edges.models.formats import FORMATS
from broker.edges.models.reply import Reply, refuse, respond
from broker.errors import BrokerError, InvalidRequest, Unauthenticated, UnknownTarget
from broker.model import DELEGATION, MODEL_METHODS, Call, Json, Kind, Method, Target, new_call_id
from broker.pipeline import Pipeline
from broker.settings import Settings

logger = logging.getLogger("broker.edges.models")

PREFIX: Final = "/v1/"

_MODELS: Final = f"{PREFIX}models"
_CALLS: Final = {f"{PREFIX}{method}": method for method in MODEL_METHODS}


class ModelEndpoint:
    """OpenAI's Chat Completions, Responses, Embeddings and Models, and Anthropic's Messages and Models.

    Args:
        pipeline: judges and makes every call.
        admission: lets in whoever shows a valid token.
        settings: the endpoint's own address and limits.
    """

    def __init__(self, pipeline: Pipeline, admission: Admission, settings: Settings) -> None:
        self._pipeline = pipeline
        self._admission = admission
        self._url = settings.public_url
        self._limit = settings.limits.request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token before anything is read, then answer in the format of the path."""
        failure, token = _failures(scope), None
        try:
            token = asked.presented(scope)
            admitted, _ = await self._admission.admit(scope, self._url + scope["path"], token)
            await self._serve(scope, receive, send, admitted)
        except Unauthenticated as error:
            told = self._admission.challenge(scope, error, presented=token is not None)
            await refuse(send, failure(error), [(b"www-authenticate", told.encode())])
        except BrokerError as error:
            await refuse(send, failure(error), [])
        except ClientDisconnect:
            logger.debug("a client went away before its request was complete")

    async def _serve(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        path, verb = scope["path"], scope["method"]
        if (method := _CALLS.get(path)) is not None:
            _only("POST", verb)
            await self._call(scope, receive, send, method, token)
        elif path == _MODELS or path.startswith(f"{_MODELS}/"):
            _only("GET", verb)
            await respond(send, 200, await self._models(scope, token), [])
        else:
            raise UnknownTarget(
                f"there is no `{path[:200]}` here", hint=f"models are at {', '.join(sorted(_CALLS))}"
            )

    async def _call(self, scope: Scope, receive: Receive, send: Send, method: Method, token: str) -> None:
        meta = asked.meta(scope)
        body = await asked.read(scope, receive, self._limit)
        call_id = new_call_id()
        reply = Reply(receive, send, FORMATS[method], call_id, body)
        call = Call(call_id, method, body["model"], body, token, reply, meta)
        await reply.serve(self._pipeline.call(call))

    async def _models(self, scope: Scope, token: str) -> Json:
        delegation = asked.meta(scope).get(DELEGATION)
        models = await self._pipeline.visible(token, Kind.MODEL, delegation)
        anthropic = _is_anthropic(scope)
        if scope["path"] == _MODELS:
            return listed.anthropic_list(models) if anthropic else listed.openai_list(models)
        name = scope["path"].removeprefix(f"{_MODELS}/")
        target = _named(models, name)
        return listed.anthropic_model(name, target) if anthropic else listed.openai_model(name, target)


def _named(models: Sequence[Target], name: str) -> Target:
    for known, target in listed.names(models):
        if known == name:
            return target
    raise UnknownTarget(f"there is no `{name[:200]}` here", hint="`GET /v1/models` lists those you may use")


def _only(wanted: str, verb: str) -> None:
    if verb != wanted:
        raise InvalidRequest(f"this is asked by {wanted}, not by {verb[:20]}")


def _is_anthropic(scope: Scope) -> bool:
    """Whether Anthropic's SDK asks; it says which version of the API it speaks with every request."""
    return any(name == b"anthropic-version" for name, _ in scope["headers"])


def _failures(scope: Scope) -> Callable[[BrokerError], Failure]:
    path = scope["path"]
    messages = path.startswith(f"{PREFIX}{Method.MESSAGES}")
    anthropic = messages or (path not in _CALLS and _is_anthropic(scope))
    return failures.for_anthropic if anthropic else failures.for_openai
