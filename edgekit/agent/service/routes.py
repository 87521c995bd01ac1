"""What is asked → what is answered."""

from __future__ import annotations

import hmac
import json
import time
import traceback
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Callable, Dict, List

from edgekit.agent import follow, log, memory
from edgekit.agent import generate as generating
from edgekit.agent.service import metrics, page
from edgekit.agent.service.connection import Answer, Asked, Refused, failed, origin
from edgekit.agent.service.desk import Busy, Draft, Job
from edgekit.agent.service.events import events
from edgekit.agent.service.keeper import Keeper
from edgekit.errors import DeviceError, EdgekitError, SpecError, UsageError, nearest
from edgekit.spec import codec
from edgekit.spec.manifest import Artifact
from edgekit.spec.prompt import EVENTS, Prompt
from edgekit.spec.service import Answering, Question

#: For an answer that has to wait for others, and for a release to load.
WAIT_S = 90.0
#: The status of what is wrong with the question, by where that stands in it.
ASKERS = {generating.PROMPT: 400, "$.text": 400, follow.AFTER: 409, follow.STREAM: 409}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Service:
    """The site: a keeper of the release, the token that callers by TCP must show (none where empty), and counts."""

    def __init__(self, root: Path, keeper: Keeper, token: str) -> None:
        self.root = root
        self.keeper = keeper
        self.counts = metrics.Counts()
        self.ending = False
        self.began = time.monotonic()
        self._token = token.encode("utf-8")

    def admit(self, method: str, path: str, headers: Message, local: bool) -> int:
        route = self._route(method, path)
        host, page_of = origin(headers)
        if page_of and page_of != host:
            raise Refused(403, UsageError("another site's page asks", where="Origin", given=page_of, allowed=host))
        if not local and self._token and not route.open:
            self._check_token(headers.get("Authorization", ""))
        if not local and not self._token and host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
            # a foreign name that leads here is another site's page in disguise (DNS rebinding)
            raise Refused(403, UsageError("not a name of this machine", where="Host", given=host, allowed=LOOPBACK))
        return self.keeper.options.body

    def _route(self, method: str, path: str) -> "Route":
        methods = ROUTES.get(path)
        if methods is None:
            raise Refused(
                404, UsageError("no such path", given=path, allowed=sorted(ROUTES), remedy=nearest(path, ROUTES))
            )
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise Refused(405, UsageError("no such method here", given=method, allowed=allowed), {"Allow": allowed})
        return route

    def _check_token(self, given: str) -> None:
        kind, _, token = given.partition(" ")
        same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
        if kind.lower() != "bearer" or not same:
            error = UsageError("this service asks for its token", where="Authorization", allowed="Bearer TOKEN")
            raise Refused(401, error, {"WWW-Authenticate": "Bearer"})

    def respond(self, asked: Asked) -> Answer:
        """Every failure becomes an answer. Raises ConnectionError where there is nobody to hear it."""
        try:
            return self._route(asked.method, asked.path).run(self, asked)
        except (Refused, ConnectionError):
            raise
        except Busy as error:
            return failed(503, error, {"Retry-After": "1"})
        except SpecError as error:
            return failed(400, error)
        except EdgekitError as error:
            if error.where in ASKERS:
                return failed(ASKERS[error.where], error)
            log.write(self.root, "failed", op=asked.path, error=type(error).__name__, message=error.message)
            return failed(500, error)
        except Exception:  # noqa: BLE001 - a bug must reach the client as an answer, not as a closed connection
            log.write(self.root, "failed", op=asked.path, trace=traceback.format_exc())
            return failed(500, EdgekitError("this is a bug in edgekit", remedy="see 'edgekit logs'"))

    def sent(self, path: str, status: int) -> None:
        self.counts.count(path if path in ROUTES else "other", status)


def predict(service: Service, asked: Asked) -> Answer:
    question = codec.decode(Question, _json(asked.body))
    job = Job(question.all, question.top, question.following)
    if job.following is not None:
        _refuse_unless(follow.check, service.keeper.loaded.described)
    if job.following is not None or not service.keeper.known(job):
        service.keeper.desk.put(job)
        if not job.done.wait(WAIT_S):
            job.given_up = True
            raise Busy("no answer within {:g} s".format(WAIT_S), remedy="try again, or send fewer texts")
    if job.failure is not None:
        raise job.failure
    service.counts.took(time.monotonic() - asked.began)
    head = {"release": job.release, "artifact": job.artifact}
    start = json.dumps(head, ensure_ascii=False, separators=(",", ":"))[:-1].encode("utf-8")
    return Answer(200, start + b',"predictions":[' + b",".join(job.answers) + b"]}\n")


def generate(service: Service, asked: Asked) -> Answer:
    prompt = codec.decode(Prompt, _json(asked.body, '{"prompt": "…"}'))
    _refuse_unless(generating.check, service.keeper.loaded.described)
    draft = Draft(prompt.asked)
    service.keeper.desk.put(draft)
    pieces = draft.pieces(WAIT_S, asked.left)
    # what fails before the first piece has a status of its own
    first = next(pieces, "")
    if prompt.stream or EVENTS in asked.headers.get("Accept", ""):
        return Answer(200, b"", EVENTS, {"Cache-Control": "no-store"}, events(draft, first, pieces))
    for _ in pieces:
        pass
    return Answer(200, codec.dumps(draft.written).encode("utf-8", "replace") + b"\n")


def _refuse_unless(able: Callable[[Artifact], None], artifact: Artifact) -> None:
    """Raises Refused where the current release was not made for it."""
    try:
        able(artifact)
    except DeviceError as error:
        raise Refused(409, error) from error


def _json(body: bytes, allowed: str = '{"text": "…"}') -> object:
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SpecError("the body is not UTF-8", where="byte {}".format(error.start)) from error
    except (ValueError, RecursionError) as error:
        raise SpecError("the body is not JSON: {}".format(error), allowed=allowed) from error


def health(service: Service, asked: Asked) -> Answer:
    found = answering(service)
    return Answer(200 if found.ok else 503, codec.dumps(found).encode("utf-8") + b"\n")


def answering(service: Service) -> Answering:
    keeper = service.keeper
    loaded = keeper.loaded
    return Answering(
        ok=loaded.alive and not keeper.desk.closed,
        release=loaded.release,
        artifact=loaded.artifact,
        failure=keeper.failure,
        requests=service.counts.requests,
        hits=keeper.cache.hits,
        misses=keeper.cache.misses,
        restarts=keeper.restarts,
        runtime=loaded.pid,
        waiting=keeper.desk.waiting,
        uptime=time.monotonic() - service.began,
    )


def exposition(service: Service, asked: Asked) -> Answer:
    keeper, loaded, pen = service.keeper, service.keeper.loaded, service.keeper.pen
    now = '{{release="{}",artifact="{}"}}'.format(metrics.label(loaded.release), metrics.label(loaded.artifact))
    gauges: List[metrics.Metric] = [
        ("edgekit_release_info", "gauge", "The release that answers.", [(now, 1)]),
        ("edgekit_up", "gauge", "Whether it answers.", [("", int(answering(service).ok))]),
        ("edgekit_queue_texts", "gauge", "Texts that wait for the runtime.", [("", keeper.desk.waiting)]),
        ("edgekit_queue_prompts", "gauge", "Prompts that wait for it.", [("", keeper.desk.waiting_drafts)]),
        ("edgekit_written_tokens_total", "counter", "Tokens written.", [("", pen.tokens)]),
        ("edgekit_writing_seconds_total", "counter", "Time it took, prompts and all.", [("", pen.seconds_spent)]),
        ("edgekit_tokens_per_second", "gauge", "Of the last text, its prompt not counted.", [("", pen.rate)]),
        ("edgekit_cache_hits_total", "counter", "Texts answered from the cache.", [("", keeper.cache.hits)]),
        ("edgekit_cache_misses_total", "counter", "Texts the cache lacked.", [("", keeper.cache.misses)]),
        ("edgekit_cache_bytes", "gauge", "Bytes of kept answers.", [("", keeper.cache.size)]),
        ("edgekit_runtime_restarts_total", "counter", "Runtimes that died.", [("", keeper.restarts)]),
        ("edgekit_reloads_total", "counter", "Releases that took over.", [("", keeper.reloads)]),
        ("edgekit_runtime_memory_bytes", "gauge", "Resident set of the runtime.", [("", memory.rss(loaded.pid))]),
        ("process_resident_memory_bytes", "gauge", "Resident set of the service.", [("", memory.rss())]),
    ]
    text = metrics.render([*service.counts.metrics(), *gauges])
    return Answer(200, text.encode("utf-8"), "text/plain; version=0.0.4; charset=utf-8")


def trial(service: Service, asked: Asked) -> Answer:
    return Answer(200, page.html(service.keeper.loaded.described), "text/html; charset=utf-8", page.HEADERS)


@dataclass(frozen=True)
class Route:
    """``open``: it tells nothing of this device, and needs no token."""

    run: Callable[[Service, Asked], Answer]
    open: bool = False


#: By path and method; HEAD is answered as GET.
ROUTES: Dict[str, Dict[str, Route]] = {
    "/": {"GET": Route(trial, open=True)},
    "/predict": {"POST": Route(predict)},
    "/generate": {"POST": Route(generate)},
    "/health": {"GET": Route(health)},
    "/metrics": {"GET": Route(exposition)},
}
