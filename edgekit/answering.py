"""How sure the shipped file's answers are: measured with this very file, fitted on the validation texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import GateMissed
from edgekit.evaluating import ALSO, RUNTIMES, Made
from edgekit.spec import codec
from edgekit.spec.answers import Answers, Sureness
from edgekit.stages import Stages, code_digest, versions

FILE = "sureness.json"


def sureness(made: Made, asked: Answers, samples: Any, stages: Stages) -> Sureness:
    """Raises GateMissed where no bound makes as many of the sure answers right as asked."""
    artifact = made.artifact
    inputs = {
        "artifact": artifact.blob.sha256,
        "tokenizer": artifact.tokenizer.sha256,
        "lengths": artifact.lengths,
        "windows": codec.encode(artifact.windows),
        "answers": codec.encode(asked),
        "samples": samples.digest,
        "code": code_digest("convert", "data"),
        "versions": versions(*RUNTIMES, *ALSO.get(artifact.format, ())),
    }

    def make(part: Path) -> None:
        stages.report(f"{artifact.name}: how sure its answers are", None)
        (part / FILE).write_text(codec.dumps(_measured(made, asked, samples)))

    folder = stages.run(f"answers-{artifact.name}", inputs, make)
    return codec.loads(Sureness, (folder / FILE).read_text())


def _measured(made: Made, asked: Answers, samples: Any) -> Sureness:
    from edgekit.convert import confidence

    def answered(part: Any) -> tuple[Any, list[int]]:
        folder = made.tokenizer.parent
        if made.artifact.tags:
            return confidence.words(made.file, made.artifact, folder, part)
        texts, truth = [one.text for one in part], [one.label for one in part]
        return confidence.logits(made.file, made.artifact, folder, texts), truth

    known, held = answered(samples.validation), answered(samples.test)
    temperature = confidence.temperature(*known) if asked.calibrate else 1.0
    bound = asked.unsure_below or 0.0
    if asked.sure_accuracy is not None:
        found = confidence.bound(confidence.probabilities(known[0], temperature), known[1], asked.sure_accuracy)
        if found is None:
            raise GateMissed(
                "even the surest answers are not right often enough",
                where="$.answers.sure_accuracy",
                given=asked.sure_accuracy,
                remedy=f"ask for less: all answers together are right in {made.artifact.accuracy:g} % of the texts",
            )
        bound = found
    raw, fitted = (confidence.probabilities(held[0], one) for one in (1.0, temperature))
    sure = fitted.max(axis=1) >= bound
    right = (fitted.argmax(axis=1) == held[1])[sure]
    return Sureness(
        temperature=temperature,
        unsure_below=bound,
        error_before=round(confidence.calibration_error(raw, held[1]), 4),
        error_after=round(confidence.calibration_error(fitted, held[1]), 4),
        sure=round(100 * float(sure.mean()), 4),
        sure_accuracy=round(100 * float(right.mean()), 4) if len(right) else None,
    )
