"""What a child process does with a loaded runtime: warm up, time, check golden cases, answer."""

from __future__ import annotations

import gc
import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Dict, List, Optional, Sequence, Tuple

from edgekit.agent import engine, follow, generate, memory, tasks
from edgekit.agent.engine import Engine
from edgekit.agent.pipeline import Tokens
from edgekit.agent.runtimes import Runner, loader
from edgekit.agent.serve import Operation
from edgekit.errors import DeviceError
from edgekit.spec import codec
from edgekit.spec.manifest import GoldenCase
from edgekit.spec.progress import Report
from edgekit.spec.result import Measured
from edgekit.spec.spans import Span
from edgekit.spec.task import EMBED, TOKENS, NextTokens
from edgekit.spec.wire import FoundSpan, Health, Signature

#: The cosine of the same text's embedding on two processors: integer kernels round otherwise on each.
NEAR = 0.98


def operations(bare_rss: int, bare_pss: int) -> Dict[str, Operation]:
    """By name; ``bare_*`` is what the interpreter took before any import, in bytes."""
    loaded: Dict[tasks.Model, Engine] = {}
    writers = generate.Writers()
    return {
        "warm": Operation(tasks.Warm, warm),
        "time": Operation(tasks.Timing, partial(measure, bare_rss, bare_pss)),
        "bare": Operation(tasks.Bare, bare),
        "check": Operation(tasks.Check, check),
        "ask": Operation(tasks.Ask, partial(ask, loaded)),
        "follow": Operation(tasks.Follow, follow.Followers().follow),
        "write": Operation(tasks.Write, writers.write),
        "begin": Operation(tasks.Write, writers.begin),
        "go on": Operation(tasks.GoOn, writers.go_on),
    }


def warm(task: tasks.Warm, report: Report) -> None:
    import tokenizers

    report("tokenizers {}".format(tokenizers.__version__), None)
    loader(task.format)


def measure(bare_rss: int, bare_pss: int, task: tasks.Timing, report: Report) -> Measured:
    """Time one text after the other, alone in this process, so that VmHWM is this run's.

    ``init_ms`` is loading tokenizer and model, ``first_ms`` the first inference. Each bucket that the samples need has
    run once before the timed ones. The garbage collector rests meanwhile.
    """
    texts = sample_texts(task.samples, task.count)
    model = task.model
    t0 = time.perf_counter()
    import tokenizers  # noqa: F401 - its import is timed with the runtime's

    load_runtime = loader(model.format)
    t1 = time.perf_counter()
    loaded = engine.load(model, load_runtime, task.pad_to)
    t2 = time.perf_counter()
    surveyed = [loaded.tokenizer(text) for text in texts]
    lengths = [loaded.buckets(one, task.pad_to) for one in surveyed]
    t3 = time.perf_counter()
    loaded.infer(surveyed[0], task.pad_to)
    t4 = time.perf_counter()
    _warm_up(loaded, surveyed, lengths, task)
    report("timing {} texts".format(len(texts)), None)
    found = _timed(loaded, texts, task)
    return Measured(
        import_ms=(t1 - t0) * 1e3,
        init_ms=(t2 - t1) * 1e3,
        first_ms=(t4 - t3) * 1e3,
        end_to_end=tuple(found.end_to_end),
        model_only=tuple(found.model_only),
        labels=tuple(found.labels),
        bare_rss=bare_rss,
        bare_pss=bare_pss,
        vm_hwm=memory.high_water(),
        pss=memory.pss(),
        padded_tokens=sum(sum(one) for one in lengths),
        real_tokens=sum(len(ids) for one in surveyed for ids in one.windows),
        language=_summed(found.told),
        spans=tuple(found.spans) if model.task == TOKENS else None,
        embeddings=tuple(found.embeddings) if model.task == EMBED else None,
    )


def _summed(told: Sequence[NextTokens]) -> Optional[NextTokens]:
    """Of all texts; ``None`` where the model is a classifier."""
    if not told:
        return None
    return NextTokens(sum(one.hits for one in told), sum(one.tokens for one in told), sum(one.nll for one in told))


def _warm_up(loaded: Engine, tokens: Sequence[Tokens], lengths: Sequence[Sequence[int]], task: tasks.Timing) -> None:
    """The first ``warmup`` texts, round and round, then one text of each bucket that the timed ones will need."""
    for number in range(task.warmup):
        loaded.infer(tokens[number % len(tokens)], task.pad_to)
    for length in sorted({length for one in lengths for length in one}):
        loaded.infer(next(one for one, its in zip(tokens, lengths) if length in its), task.pad_to)


@dataclass
class _Timed:
    """What the timed texts took, in ms, and what they were answered with."""

    end_to_end: List[float] = field(default_factory=list)
    model_only: List[float] = field(default_factory=list)
    labels: List[int] = field(default_factory=list)
    told: List[NextTokens] = field(default_factory=list)
    spans: List[Tuple[Span, ...]] = field(default_factory=list)
    embeddings: List[Tuple[float, ...]] = field(default_factory=list)


def _timed(loaded: Engine, texts: Sequence[str], task: tasks.Timing) -> _Timed:
    found, kind = _Timed(), task.model.task
    clock = time.perf_counter
    gc.collect()
    gc.disable()
    try:
        for text in texts:
            began = clock()
            tokens = loaded.tokenizer(text)
            outcome = loaded.infer(tokens, task.pad_to)
            # of words, the answer is made of all their logits
            spans = loaded.spans(text, tokens) if kind == TOKENS else ()
            found.end_to_end.append((clock() - began) * 1e3)
            found.model_only.append(outcome.model_ms)
            if kind == TOKENS:
                found.labels.append(len(spans))
                found.spans.append(_plain(spans))
            elif kind == EMBED:
                found.labels.append(0)
                found.embeddings.append(engine.embedding(outcome))
            else:
                found.labels.append(outcome.label)
                told = loaded.runner.told(tokens.ids)
                if told is not None:
                    found.told.append(told)
    finally:
        gc.enable()
    return found


def _plain(found: Sequence[FoundSpan]) -> Tuple[Span, ...]:
    return tuple(Span(one.start, one.end, one.label) for one in found)


def bare(task: tasks.Bare, report: Report) -> tasks.BareTimes:
    """Each file is loaded, timed at every length and dropped again. The garbage collector rests meanwhile."""
    load_runtime = loader(task.format)
    times: List[Signature] = []
    for number, file in enumerate(task.files):
        runner = load_runtime(file, task.threads)
        for length in task.lengths:
            times.append(Signature(file, length, _bare(runner, length, task.calls, task.warmup)))
            done = len(times) / (len(task.files) * len(task.lengths))
            report("timed model {} of {} at {} tokens".format(number + 1, len(task.files), length), done)
    return tasks.BareTimes(tuple(times))


def _bare(runner: Runner, length: int, calls: int, warmup: int) -> Tuple[float, ...]:
    ids, mask = [0] * length, [1] * length
    for _ in range(warmup):
        runner.run(length, ids, mask)
    clock = time.perf_counter
    found: List[float] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(calls):
            began = clock()
            runner.run(length, ids, mask)
            found.append((clock() - began) * 1e3)
    finally:
        gc.enable()
    return tuple(found)


def sample_texts(file: str, count: int) -> List[str]:
    """The first ``count`` texts of JSON lines ``{"text": …}``. Raises DeviceError where there are fewer."""
    texts: List[str] = []
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            if len(texts) == count:
                break
            if line.strip():
                texts.append(_text(line, file))
    if len(texts) < count or not texts:
        raise DeviceError(
            "too few samples", where=file, given=count, allowed="1 to {}".format(len(texts)), remedy="ask for fewer"
        )
    return texts


def _text(line: str, file: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, TypeError, KeyError) as error:
        raise DeviceError("a line of the samples has no text", where=file) from error
    return str(text)


def check(task: tasks.Check, report: Report) -> Health:
    """All golden cases; healthy when every answer is the host's."""
    with open(task.golden, encoding="utf-8") as lines:
        cases = [codec.loads(GoldenCase, line, where="golden cases") for line in lines if line.strip()]
    if not cases:
        return Health(False, 0, 0, "the release has no golden cases")
    loaded = engine.load(task.model)
    failure, agreed = "", 0
    for number, case in enumerate(cases):
        found, wanted = _answered(loaded, case)
        agreed += found == wanted
        if found != wanted and not failure:
            failure = "golden case {} of {}: {} instead of {}".format(number + 1, len(cases), found, wanted)
        report("golden case {} of {}".format(number + 1, len(cases)), (number + 1) / len(cases))
    return Health(agreed == len(cases), len(cases), agreed, failure)


def _answered(loaded: Engine, case: GoldenCase) -> Tuple[str, str]:
    """The answer to a golden case, and what it should be."""
    tokens, outcome = loaded.answer(case.text)
    if case.spans is not None:
        return _told(_plain(loaded.spans(case.text, tokens))), _told(case.spans)
    if case.embedding is not None:
        cosine = sum(ours * theirs for ours, theirs in zip(outcome.logits, case.embedding))
        near = cosine >= NEAR and len(outcome.logits) == len(case.embedding)
        wanted = "an embedding of {} numbers with a cosine of {} or more".format(len(case.embedding), NEAR)
        return wanted if near else "one of {} with {:.4f}".format(len(outcome.logits), cosine), wanted
    return "label {}".format(outcome.label), "label {}".format(case.label)


def _told(spans: Sequence[Span]) -> str:
    return ", ".join("{} {}-{}".format(one.label, one.start, one.end) for one in spans) or "no span"


def ask(loaded: Dict[tasks.Model, Engine], task: tasks.Ask, report: Report) -> tasks.Answers:
    """Answers in the texts' order."""
    if task.model not in loaded:
        report("loading the model", None)
        loaded[task.model] = engine.load(task.model)
    found = loaded[task.model]
    return tasks.Answers(tuple(found.predict(task.texts, task.labels, task.top)))
