"""A loaded model as one object: input → inference → output. Questions, golden cases, benchmarks and the service run it
alike."""

from __future__ import annotations

import heapq
import os
import time
from typing import Iterator, List, Optional, Sequence, Tuple

from edgekit.agent import labelling, pipeline, tasks
from edgekit.agent.ahead import ahead
from edgekit.agent.runtimes import Load, Runner, loader
from edgekit.errors import DeviceError
from edgekit.spec.task import EMBED, TOKENS
from edgekit.spec.wire import FoundSpan, Prediction, Score

#: Of an embedding's numbers, after the point.
DIGITS = 7


class Engine:
    """Text → tokens → the least bucket that holds them → the runtime → labels. Used by one thread at a time."""

    def __init__(self, tokenizer: pipeline.Tokenizer, runner: Runner, model: tasks.Model) -> None:
        self.tokenizer = tokenizer
        self.runner = runner
        self.model = model

    def buckets(self, tokens: pipeline.Tokens, pad_to: Optional[int] = None) -> List[int]:
        """The length each of the text's windows runs at."""
        model = self.model
        return [pipeline.bucket(len(one), model.lengths, pad_to, model.dynamic) for one in tokens.windows]

    def infer(self, tokens: pipeline.Tokens, pad_to: Optional[int] = None) -> pipeline.Outcome:
        """Run the model, once a window."""
        outcomes = [
            pipeline.infer(self.runner, ids, length, self.tokenizer.pad_id)
            for ids, length in zip(tokens.windows, self.buckets(tokens, pad_to))
        ]
        return outcomes[0] if len(outcomes) == 1 else pipeline.joined(outcomes, [len(one) for one in tokens.windows])

    def answer(self, text: str) -> Tuple[pipeline.Tokens, pipeline.Outcome]:
        """One text, all the way to its label."""
        tokens = self.tokenizer(text)
        return tokens, self.infer(tokens)

    def predict(self, texts: Sequence[str], labels: Sequence[str], top: int) -> Iterator[Prediction]:
        """Of each text in turn its ``top`` likeliest of ``labels``, or of the tokens where there are none; where words
        are labelled, its spans, or its embedding. Where a core is left for it, the next texts are tokenized while the
        model runs: up to 1.4 times as many long texts a second through a small model on two cores; on one it would only
        cost."""
        idle_core = len(texts) > 1 and len(os.sched_getaffinity(0)) > self.model.threads
        tokenized = ahead(self.tokenizer, texts) if idle_core else map(self.tokenizer, texts)
        for text in texts:
            began = time.perf_counter()
            yield self._predicted(text, next(tokenized), began, labels, top)

    def _predicted(
        self, text: str, tokens: pipeline.Tokens, began: float, labels: Sequence[str], top: int
    ) -> Prediction:
        if self.model.task == TOKENS:
            return self._labelled(text, tokens, began)
        if self.model.task == EMBED:
            return self._embedded(text, tokens, began)
        outcome = self.infer(tokens)
        probabilities = pipeline.softmax(outcome.logits, self.model.temperature)
        ms = (time.perf_counter() - began) * 1e3
        best = heapq.nlargest(max(top, 1), range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            text=text,
            label=outcome.label,
            scores=tuple(Score(self._name(labels, one), probabilities[one]) for one in best),
            tokens=sum(len(one) for one in tokens.windows),
            windows=len(tokens.windows),
            bucket=outcome.bucket,
            truncated=tokens.truncated,
            ms=ms,
            unsure=probabilities[outcome.label] < self.model.unsure_below,
        )

    def spans(self, text: str, tokens: pipeline.Tokens) -> Tuple[FoundSpan, ...]:
        """Those of the text that was run last, whose ``tokens`` these are. Raises DeviceError where a logit is no
        number."""
        rows = self.runner.rows([word.token for word in tokens.words])
        return labelling.spans(text, tokens.words, rows, self.model)

    def _labelled(self, text: str, tokens: pipeline.Tokens, began: float) -> Prediction:
        outcome = self.infer(tokens)
        spans = self.spans(text, tokens)
        return Prediction(
            text=text,
            label=len(spans),
            scores=(),
            tokens=len(tokens.ids),
            bucket=outcome.bucket,
            truncated=tokens.truncated,
            ms=(time.perf_counter() - began) * 1e3,
            unsure=any(one.unsure for one in spans),
            spans=spans,
        )

    def _embedded(self, text: str, tokens: pipeline.Tokens, began: float) -> Prediction:
        outcome = self.infer(tokens)
        return Prediction(
            text=text,
            label=0,
            scores=(),
            tokens=len(tokens.ids),
            bucket=outcome.bucket,
            truncated=tokens.truncated,
            ms=(time.perf_counter() - began) * 1e3,
            embedding=embedding(outcome),
        )

    def _name(self, labels: Sequence[str], index: int) -> str:
        """Of a class; a language model has no labels, and answers with a token."""
        if not labels:
            return self.tokenizer.spelled(index)
        if index >= len(labels):
            raise DeviceError("the model answers a class the manifest does not name", given=index, allowed=len(labels))
        return labels[index]


def embedding(outcome: pipeline.Outcome) -> Tuple[float, ...]:
    """The text's vector. A float32 has no more digits than these."""
    return tuple(round(one, DIGITS) for one in outcome.logits)


def load(model: tasks.Model, load_runtime: Optional[Load] = None, limit: Optional[int] = None) -> Engine:
    """Tokenizer and model, whole. Texts are cut to ``limit`` tokens, or to the model's longest. ``load_runtime`` is the
    format's loader where it was imported before."""
    runtime = load_runtime or loader(model.format)
    return Engine(
        pipeline.Tokenizer(model.tokenizer, limit or model.lengths[-1], model.windows, words=model.task == TOKENS),
        runtime(model.file, model.threads),
        model,
    )
