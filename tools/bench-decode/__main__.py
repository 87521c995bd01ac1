"""What a further token costs, by how many stand before it: with the cache, and computing all of them again.

``python tools/bench-decode BUNDLE [--device NAME] [-o FILE.json]`` lets a bundle's language model write until its
context is full, on this host and on a device (an emulated board is started with the counting clock), and takes the
median time of a token around each position; on the host, whose clock others disturb, of several rounds the least.
Beside it stands one run of the scoring signature of that length, which is what each further token would cost without a
cache. Writes the figures as JSON and a plot beside them, as SVG; fails where tokens a second at the last position are
less than 80 % of those at the first.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import plot

from edgekit import pipeline
from edgekit.agent import generate, runtimes, tasks
from edgekit.bundle import blob_file, read
from edgekit.errors import EdgekitError, GateMissed, UsageError
from edgekit.fieldwork import Board, choose, steady
from edgekit.home import Home
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Artifact

POSITIONS = (32, 64, 128, 256, 512)
#: How many tokens around a position its median is taken over, runs of a scoring signature, and how often the host
#: writes the text: of each token the least time counts, for others use it as well.
AROUND, CALLS, ROUNDS = 16, 5, 9
SEEDS = 20
LEAST = 0.8


@dataclass(frozen=True)
class Cost:
    """Milliseconds of a further token at ``position``: ``cached``, and ``recomputed`` where there is a bucket of that
    length."""

    position: int
    cached: float
    recomputed: float | None


@dataclass(frozen=True)
class Costs:
    """``clock`` says what a millisecond is: of the host's wall clock, or counted, 8 ns an instruction."""

    where: str
    clock: str
    artifact: str
    scheme: str
    context: int
    costs: tuple[Cost, ...]

    @property
    def kept(self) -> float:
        """Tokens a second at the last position over those at the first."""
        return self.costs[0].cached / self.costs[-1].cached


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench-decode", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", help="a registered device, besides this host")
    parser.add_argument("--prompt", default="a")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-decode.json"))
    asked = parser.parse_args()
    home = Home.default()
    found = [on_host(asked.bundle, asked.prompt)]
    if asked.device:
        found.append(on_device(home, asked.bundle, asked.device, asked.prompt))
    asked.output.write_text(codec.dumps({one.where: codec.encode(one) for one in found}) + "\n")
    asked.output.with_suffix(".svg").write_text(plot.draw({f"{one.where} ({one.clock})": lines(one) for one in found}))
    for one in found:
        print(f"{one.where} ({one.clock} clock), {one.artifact}, context {one.context}")
        for cost in one.costs:
            again = "–" if cost.recomputed is None else f"{cost.recomputed:8.2f}"
            print(f"  position {cost.position:4}: {cost.cached:8.3f} ms a token, computed again {again} ms")
        print(f"  tokens a second at {one.costs[-1].position}: {one.kept:.0%} of those at {one.costs[0].position}")
    slow = [one for one in found if one.kept < LEAST]
    if slow:
        raise GateMissed("a token's cost rises with its position", given=f"{slow[0].kept:.0%}", allowed=f"{LEAST:.0%}")
    return 0


def lines(found: Costs) -> dict[str, list[tuple[int, float]]]:
    """As the plot wants them."""
    return {
        "with the cache": [(one.position, one.cached) for one in found.costs],
        "computed again": [(one.position, one.recomputed) for one in found.costs if one.recomputed is not None],
    }


def generating(bundle: Path) -> Artifact:
    """The bundle's optimized artifact. Raises UsageError where it does not generate."""
    artifact = read(bundle)[0].optimized
    if artifact.context is None:
        raise UsageError("this bundle does not generate", given=bundle, remedy="convert: {generation: {context: 512}}")
    return artifact


def requests(prompt: str, context: int) -> list[wire.Generate]:
    """The likeliest text, and should that end early, drawn ones."""
    drawn = [wire.Generate(prompt, context + 1, temperature=1.0, top_k=40, seed=seed) for seed in range(SEEDS)]
    return [wire.Generate(prompt, context + 1), *drawn]


def costs(written: wire.Generated, recomputed: dict[int, float], context: int) -> tuple[Cost, ...]:
    """Medians around each position that the text reached."""
    first = written.prompt_tokens
    found = []
    for position in (one for one in POSITIONS if one <= context):
        # the n-th further token was read at position first + n
        end = min(position + AROUND // 2, context) - first
        times = written.token_ms[max(0, end - AROUND) : end]
        found.append(Cost(position, median(times), recomputed.get(position)))
    return tuple(found)


def on_host(bundle: Path, prompt: str) -> Costs:
    artifact = generating(bundle)
    context = artifact.context or 0
    file, tokenizer = (str(blob_file(bundle, one)) for one in (artifact.blob, artifact.tokenizer))
    writer = generate.load(tasks.Model(artifact.format, file, tokenizer, artifact.lengths))
    for request in requests(prompt, context):
        written = writer.write(request, lambda piece: None)
        if written.stopped == "context":
            rounds = [writer.write(request, lambda piece: None).token_ms for _ in range(ROUNDS)]
            written = replace(written, token_ms=tuple(map(min, *rounds)))
            break
    runner = runtimes.loader(artifact.format)(file, 1)
    again = {}
    for length in set(artifact.lengths) & set(POSITIONS):
        times = []
        for _ in range(CALLS + 1):
            began = time.perf_counter()
            runner.run(length, [0] * length, [1] * length)
            times.append((time.perf_counter() - began) * 1e3)
        again[length] = min(times[1:])
    return Costs("host", "wall", artifact.name, artifact.scheme, context, costs(full(written), again, context))


def on_device(home: Home, bundle: Path, name: str, prompt: str) -> Costs:
    artifact = generating(bundle)
    context = artifact.context or 0
    device = steady(home, choose(home, device=name))
    pipeline.deploy(bundle, device=name, home=home)
    with Board(home, device) as board:
        agent, runtime = board.agent, board.runtime(artifact.format)
        for request in requests(prompt, context):
            written = agent.call("generate", request, wire.Generated)
            if written.stopped == "context":
                break
        lengths = tuple(sorted(set(artifact.lengths) & set(POSITIONS)))
        asked = wire.TimeSignatures(artifact.format, (artifact.blob,), lengths, runtime, calls=CALLS, warmup=1)
        timed = agent.call("signatures", asked, wire.SignatureTimes) if lengths else wire.SignatureTimes(())
    again = {one.length: median(one.ms) for one in timed.times}
    clock = device.emulated.clock if device.emulated else "wall"
    return Costs(device.target, clock, artifact.name, artifact.scheme, context, costs(full(written), again, context))


def full(written: wire.Generated) -> wire.Generated:
    """Raises UsageError where the text ended before the context was full."""
    if written.stopped != "context":
        raise UsageError(
            "the model ended each of its texts before its context was full",
            given=f"{len(written.tokens)} tokens",
            remedy="let it begin otherwise: --prompt",
        )
    return written


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgekitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
