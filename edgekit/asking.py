"""Questions to a release, on its device or by the URL of a service; and what handing some of them on is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import floor
from pathlib import Path

from edgekit.client import Client
from edgekit.data import files
from edgekit.errors import DataError, UsageError
from edgekit.fieldwork import generate_there, predict_there
from edgekit.home import Home
from edgekit.outcome import Assessed, Share
from edgekit.serving import read_token
from edgekit.spec import wire
from edgekit.spec.progress import Report, quiet
from edgekit.spec.service import MOST_TOP

#: How many per cent of the texts stay, in the rows of an assessment.
STEPS = (100, 95, 90, 80, 70, 60, 50, 25)
READERS = {".jsonl": files.read_jsonl, ".csv": files.read_csv}


def predict(
    texts: Sequence[str],
    *,
    target: str | None = None,
    device: str | None = None,
    url: str | None = None,
    fallback: str | None = None,
    token_file: Path | None = None,
    top: int = 3,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Predictions:
    """Answers of the deployed release, from the device; or of the service at ``url``.

    Args:
        fallback: the URL of a service that is asked where the first answer is unsure; ``handed`` says which those were.
        token_file: holds the bearer token for ``url``, or where there is none, for ``fallback``.

    Raises:
        UsageError: an empty text, or both a device and a URL. TransportError: a service cannot be reached.
    """
    if not texts or not all(one.strip() for one in texts):
        raise UsageError("a text is empty", remedy='edgekit predict "a text" --target rpi4')
    _one_place(url, target, device)
    token = read_token(token_file)
    if url is None:
        answers = predict_there(texts, target=target, device=device, top=top, home=home, report=report)
    else:
        with Client(url, token) as client:
            answers = client.predict(texts, top)
    if fallback is None:
        return answers
    return _handed(answers, fallback, token if url is None else None, top, report)


def _one_place(url: str | None, target: str | None, device: str | None) -> None:
    if url is not None and (target or device):
        raise UsageError("ask a device or a URL, not both", given=url)


def _handed(answers: wire.Predictions, url: str, token: str | None, top: int, report: Report) -> wire.Predictions:
    """The unsure answers given by another service instead."""
    unsure = tuple(number for number, one in enumerate(answers.predictions) if one.unsure)
    if not unsure:
        return answers
    report(f"{len(unsure)} of {len(answers.predictions)} are unsure: asking {url}", None)
    with Client(url, token) as client:
        others = client.predict([answers.predictions[number].text for number in unsure], top)
    merged = list(answers.predictions)
    for number, other in zip(unsure, others.predictions, strict=True):
        merged[number] = other
    return replace(answers, predictions=tuple(merged), handed=unsure)


def assess(
    samples: Path,
    *,
    target: str | None = None,
    device: str | None = None,
    url: str | None = None,
    fallback: str | None = None,
    token_file: Path | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> Assessed:
    """What share of labelled texts a classifier answers itself, and how rightly, where it keeps those it is sure of:
    for several bounds of sureness, and for its own. With ``fallback``, also how right that service is with the others;
    it is asked for all of the texts.

    Args:
        samples: a ``.jsonl`` or ``.csv`` file with the columns ``text`` and ``label``, the label by its name.
        url, fallback, token_file: as for :func:`predict`.

    Raises:
        DataError: the file cannot be read, or a label is none of the release's. UsageError: the release is no
        classifier, or as :func:`predict`. TransportError: as there.
    """
    rows = _labelled(samples)
    texts, truth = [text for text, _ in rows], [label for _, label in rows]

    local = token_file if url is not None else None
    answers = predict(
        texts, target=target, device=device, url=url, token_file=local, top=MOST_TOP, home=home, report=report
    )
    if not answers.predictions[0].scores:
        raise UsageError(
            "this release labels words or embeds texts, and a text has no one label to be right",
            given=answers.artifact,
            remedy="how well it does was measured when it was built: edgekit bundle inspect",
        )
    right, there = _right(answers, truth, samples), None
    if fallback is not None:
        report(f"asking {fallback} for all {len(texts)} texts", None)
        remote = token_file if url is None else None
        there = _right(predict(texts, url=fallback, token_file=remote, top=MOST_TOP), truth, samples)
    surest = [one.scores[0].probability for one in answers.predictions]
    return Assessed(
        release=answers.release,
        artifact=answers.artifact,
        samples=len(texts),
        fallback=fallback,
        fallback_accuracy=None if there is None else _percent(there),
        rows=tuple(_share(bound, [one >= bound for one in surest], right, there) for bound in bounds(surest)),
        own=_share(None, [not one.unsure for one in answers.predictions], right, there),
    )


def bounds(surest: Sequence[float]) -> list[float]:
    """The greatest bounds, rounded down to 4 digits, at which at least ``STEPS`` per cent of the texts are surer."""
    falling = sorted(surest, reverse=True)
    places = [max(1, -(-len(falling) * step // 100)) for step in STEPS]
    found = [0.0 if place == len(falling) else floor(1e4 * falling[place - 1]) / 1e4 for place in places]
    return sorted(set(found))


def _share(bound: float | None, stay: Sequence[bool], right: Sequence[bool], there: Sequence[bool] | None) -> Share:
    kept = [one for one, sure in zip(right, stay, strict=True) if sure]
    handed = None if there is None else [one for one, sure in zip(there, stay, strict=True) if not sure]
    return Share(
        bound=bound,
        local=100 * len(kept) / len(right),
        local_accuracy=_percent(kept),
        handed=len(right) - len(kept),
        handed_accuracy=None if handed is None else _percent(handed),
        together=None if handed is None else _percent([*kept, *handed]),
    )


def _percent(right: Sequence[bool]) -> float | None:
    return 100 * sum(right) / len(right) if right else None


def _labelled(file: Path) -> list[tuple[str, str]]:
    read = READERS.get(file.suffix)
    if read is None:
        raise DataError("not a file of labelled texts", where=str(file), given=file.suffix, allowed=sorted(READERS))
    rows = list(read(file, "text", "label"))
    if not rows:
        raise DataError("the file has no texts", where=str(file))
    return rows


def _right(answers: wire.Predictions, truth: Sequence[str], file: Path) -> list[bool]:
    """Raises DataError for a label that is none of the release's, as far as an answer can name them all."""
    labels = [score.label for score in answers.predictions[0].scores]
    strange = sorted(set(truth) - set(labels))
    if strange and len(labels) < MOST_TOP:
        raise DataError(
            f"the release {answers.release[:12]} does not know this label",
            where=str(file),
            given=strange[0],
            allowed=sorted(labels),
        )
    return [one.scores[0].label == label for one, label in zip(answers.predictions, truth, strict=True)]


def generate(
    prompt: str,
    *,
    target: str | None = None,
    device: str | None = None,
    url: str | None = None,
    token_file: Path | None = None,
    max_tokens: int = 64,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    window: bool = False,
    tell: Callable[[str], None] | None = None,
    home: Home | None = None,
    report: Report = quiet,
) -> wire.Generated:
    """A text that goes on with ``prompt``, by the deployed language model, on the device; or by the service at ``url``.

    Args:
        token_file: holds the bearer token for ``url``.
        max_tokens: how many tokens it may have.
        temperature: 0 takes the likeliest token each time; above, one is drawn, by ``seed``, of the ``top_k`` likeliest
            and of the fewest that together reach the probability ``top_p``.
        stop: texts that end it, and are left out.
        window: let the oldest tokens fall out where the text is longer than the model's context, instead of refusing a
            longer prompt and stopping where the context is full.
        tell: hears each piece of the text as it is written.

    Raises:
        UsageError: the prompt is empty, or both a device and a URL. SpecError: a setting is out of range. DeviceError:
            the release was not made to generate, or the prompt is longer than its context. TransportError: a service
            cannot be reached, or ends in mid-text.
    """
    if not prompt.strip():
        raise UsageError("the prompt is empty", remedy='edgekit generate "how it begins" --target rpi4')
    _one_place(url, target, device)
    if url is None:
        asked = wire.Generate(prompt, max_tokens, temperature, top_k, top_p, seed, tuple(stop), window)
        return generate_there(asked, target=target, device=device, tell=tell, home=home, report=report)
    with (
        Client(url, read_token(token_file)) as client,
        client.generate(
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            window=window,
        ) as text,
    ):
        for piece in text:
            if tell is not None:
                tell(piece)
        return text.whole()
