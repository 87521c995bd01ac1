"""Transformer-XL does what its paper says: distances, a memory, a cost per token that does not grow."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint, relative, transformer_xl  # noqa: E402
from edgekit.models.transformer_xl import TransformerXLConfig, TransformerXLForCausalLM, perplexity  # noqa: E402

pytestmark = pytest.mark.torch
TOKENS = 40


def config(**changed: Any) -> TransformerXLConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    return TransformerXLConfig(
        **{"vocab_size": TOKENS, "memory_length": 64, "initializer_range": 0.2, **sizes, **changed}
    )


def made(**changed: Any) -> Any:
    """A model with random weights, its biases too."""
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(config(**changed)).eval()
    for name, one in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(one, std=0.3)
    return model


def ids(length: int, batch: int = 2) -> torch.Tensor:
    return torch.randint(1, TOKENS, (batch, length), generator=torch.Generator().manual_seed(4))


def by_segments(model: Any, text: torch.Tensor, segment: int) -> torch.Tensor:
    mems, states = None, []
    for part in text.split(segment, dim=1):
        read = model(part, mems=mems)
        mems = read.mems
        states.append(read.last_hidden_state)
    return torch.cat(states, 1)


def macs(call: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call()
    return int(counter.get_total_flops()) // 2


def naive(inner: Any, hidden: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """One attention over one text, written as the paper has it (section 3.3): a loop over every pair of tokens."""
    size, before = inner.head_size, len(memory)
    states = torch.cat([memory, hidden])
    u = inner.query.bias
    v = u + inner.position.bias
    mixed = torch.zeros(len(hidden), len(u))
    for head in range(len(u) // size):
        rows = slice(head * size, (head + 1) * size)
        for i, x in enumerate(hidden):
            query, scores = inner.query.weight[rows] @ x, []
            for j in range(before + i + 1):
                waves = [(before + i - j) / 10000 ** (2 * n / 32) for n in range(16)]
                sinusoid = torch.tensor([*map(math.sin, waves), *map(math.cos, waves)])
                content = (query + u[rows]) @ (inner.key.weight[rows] @ states[j])
                position = (query + v[rows]) @ (inner.position.weight[rows] @ sinusoid)
                scores.append((content + position) / math.sqrt(size))
            weights = torch.softmax(torch.stack(scores), 0)
            mixed[i, rows] = weights @ (states[: before + i + 1] @ inner.value.weight[rows].T)
    return mixed @ inner.output.weight.T


@pytest.mark.parametrize("before", [0, 3])
def test_attention_is_the_papers_formula(before: int) -> None:
    inner = made().layers[0].attention
    hidden, memory = torch.randn(5, 32), torch.randn(before, 32)
    mask = torch.full((5, before + 5), -1e9).triu(before + 1)
    with torch.inference_mode():
        given, _ = inner(hidden[None], memory[None] if before else None, mask)
        torch.testing.assert_close(given[0], naive(inner, hidden, memory), rtol=1e-5, atol=1e-5)


def test_the_relative_shift_puts_every_distance_at_its_key() -> None:
    """Columns are distances 6 to 0; of the four asking tokens, which are the last of seven, each sees its own."""
    scores = torch.arange(6, -1, -1).expand(1, 1, 4, 7).float()
    found = relative.shifted(scores)[0, 0]
    for asking in range(4):
        for key in range(3 + asking + 1):
            assert found[asking, key] == 3 + asking - key


@pytest.mark.parametrize("segment", [1, 5, 8])
def test_segments_with_a_whole_memory_give_the_states_of_one_pass(segment: int) -> None:
    model, text = made(), ids(24)
    with torch.inference_mode():
        torch.testing.assert_close(
            by_segments(model, text, segment), model(text).last_hidden_state, rtol=1e-5, atol=1e-5
        )


def test_a_short_memory_is_one_pass_with_that_span() -> None:
    """Every layer of the one pass sees what the segments' own tokens and memories reach."""
    model, text, segment, memory = made(memory_length=3), ids(24), 4, 3
    place = torch.arange(24)
    seen = (place[None] <= place[:, None]) & (place[None] >= place[:, None] // segment * segment - memory)
    mask = torch.zeros(24, 24).masked_fill(~seen, -1e9)
    with torch.inference_mode():
        hidden = model.word_embeddings(text)
        for layer in model.layers:
            hidden, _ = layer(hidden, None, mask)
        found = by_segments(model, text, segment)
        torch.testing.assert_close(found, hidden, rtol=1e-5, atol=1e-5)
        # and it is not what the whole text would give
        assert (found - model(text).last_hidden_state).abs().max() > 0.1


def test_what_left_the_span_of_all_layers_changes_nothing() -> None:
    model, text = made(memory_length=4, num_hidden_layers=2), ids(24)
    other = text.clone()
    other[:, 0] = (text[:, 0] + 1) % TOKENS
    with torch.inference_mode():
        one, two = (by_segments(model, given, 4) for given in (text, other))
    changed = (one - two).abs().amax((0, 2)) > 1e-6
    # a layer reaches back one memory: token 4 to 7 see token 0 through one, 8 to 11 through two
    assert changed[:12].any()
    assert not changed[12:].any()


def test_a_token_costs_the_same_however_long_the_text_is() -> None:
    """Counted multiply-accumulates of a token; of one pass over the whole text they grow with its length."""
    model = made(memory_length=16)
    segments = {length: macs(lambda length=length: by_segments(model, ids(length, 1), 16)) for length in (64, 128, 256)}
    # all segments but the first, which has no memory yet
    assert (segments[128] - segments[64]) * 2 == segments[256] - segments[128]
    assert segments[256] - segments[128] == 8 * (
        macs(lambda: by_segments(model, ids(32, 1), 16)) - macs(lambda: model(ids(16, 1)))
    )
    whole = {length: macs(lambda length=length: model(ids(length, 1))) / length for length in (64, 128, 256)}
    assert whole[64] < whole[128] < whole[256]
    assert segments[256] / 256 < 0.6 * whole[256]


def test_no_gradient_flows_into_the_memory() -> None:
    model = made()
    first, second = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5, 6]])
    read = model(first)
    assert not any(one.requires_grad for one in read.mems)
    model(second, mems=read.mems).last_hidden_state.square().sum().backward()
    moved = model.word_embeddings.weight.grad.abs().sum(1)
    assert (moved[[4, 5, 6]] > 0).all()
    assert moved[[1, 2, 3]].eq(0).all()
    # the memory is read all the same
    with torch.inference_mode():
        alone = model(second).last_hidden_state
        assert (model(second, mems=read.mems).last_hidden_state - alone).abs().max() > 0.1


def test_the_memory_holds_the_last_states_that_went_into_each_layer() -> None:
    model, text = made(memory_length=5), ids(11)
    with torch.inference_mode():
        first = model(text[:, :8], output_hidden_states=True)
        second = model(text[:, 8:], mems=first.mems, output_hidden_states=True)
    for mem, before, now in zip(second.mems, first.hidden_states, second.hidden_states, strict=False):
        assert torch.equal(mem, torch.cat([before, now], 1)[:, -5:])
    assert made(memory_length=0)(text).mems is None


def test_a_memory_of_another_model_is_refused() -> None:
    model = made()
    with pytest.raises(BuildError, match="one memory for each layer") as caught:
        model(ids(4), mems=model(ids(4)).mems[:2])
    assert (caught.value.given, caught.value.allowed) == (2, 3)


def test_padding_changes_no_answer(tiny_models_of: dict[str, Path]) -> None:
    module = checkpoint.load(tiny_models_of["transformer-xl"], ["a", "b", "c"]).module
    text = ids(6)
    mask = torch.tensor([[1] * 6 + [0] * 4] * 2)
    with torch.inference_mode():
        alone = module(text).logits
        for filler in (torch.zeros(2, 4, dtype=torch.long), ids(4)):
            padded = module(torch.cat([text, filler], 1), mask).logits
            torch.testing.assert_close(padded, alone, rtol=1e-5, atol=1e-6)
        one_long = torch.cat([torch.cat([text[:1], ids(4, 1)], 1), torch.cat([text[1:], ids(4, 1)], 1)])
        both = module(one_long, torch.tensor([[1] * 10, [1] * 6 + [0] * 4])).logits
        torch.testing.assert_close(both[1], alone[1], rtol=1e-5, atol=1e-6)


def test_a_long_text_is_classified_segment_by_segment(tiny_models_of: dict[str, Path]) -> None:
    """The memory of 16 tokens is enough for a text of 24 in segments of 8; padding stands in the last."""
    module = checkpoint.load(tiny_models_of["transformer-xl"], ["a", "b", "c"]).module
    text, mask = ids(24), torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    with torch.inference_mode():
        mems = module(text[:, 8:16], mems=module(text[:, :8]).mems).mems
        found = module(text[:, 16:], mask, mems=mems).logits
        torch.testing.assert_close(found[:1], module(text[:1]).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[1:], module(text[1:, :21]).logits, rtol=1e-5, atol=1e-5)


def test_a_language_model_is_tied_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config()).eval()
    model.save_pretrained(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    # no output of its own: it is the word embedding
    assert sorted(load_file(tmp_path / "model.safetensors")) == sorted(
        f"transformer.{name}" for name in model.transformer.state_dict()
    )
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(again, TransformerXLForCausalLM)
    for name, one in again.state_dict().items():
        assert torch.equal(one, model.state_dict()[name])
    with torch.inference_mode():
        # weights in a mapped file are not aligned: other kernels, another last bit
        torch.testing.assert_close(again(ids(9)).logits, model(ids(9)).logits)
    # and a classifier starts from it
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert torch.equal(classifier.transformer.layers[1].up.weight, model.transformer.layers[1].up.weight)


def test_perplexity_is_that_of_one_pass_where_the_memory_is_whole() -> None:
    torch.manual_seed(3)
    model, text = TransformerXLForCausalLM(config()).eval(), ids(22)
    with torch.inference_mode():
        logits = model(text[:, :-1]).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).exp().item()
    assert perplexity(model, text, 30) == pytest.approx(expected, rel=1e-5)
    assert perplexity(model, text, 5) == pytest.approx(expected, rel=1e-4)


def test_a_memory_lets_it_foretell_what_came_a_segment_before() -> None:
    """Six random tokens, and the same again: with segments of six, only the memory knows the second half."""
    torch.manual_seed(3)
    changed = {"num_hidden_layers": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = TransformerXLForCausalLM(config(memory_length=6, initializer_range=0.05, **changed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        half = torch.randint(1, TOKENS, (32, 6))
        mems = model.transformer(half).mems
        logits = model(half, mems=mems).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), half[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    half = ids(6, batch=64)
    text = torch.cat([half, half], 1)
    with_memory = perplexity(model, text, 6)
    model.config.memory_length = 0
    without = perplexity(model, text, 6)
    assert with_memory < 0.5 * without


def test_sinusoids_are_those_of_falling_distances() -> None:
    found = relative.sinusoids(4, 6)
    assert torch.equal(found[-1], torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    assert found[0, 0].item() == pytest.approx(math.sin(3))
    assert found[1, 4].item() == pytest.approx(math.cos(2 / 10000 ** (2 / 6)))


def test_a_cut_width_leaves_the_sinusoids(tiny_models_of: dict[str, Path]) -> None:
    module = checkpoint.load(tiny_models_of["transformer-xl"]).module
    module.config.hidden_size = 24
    assert transformer_xl.TransformerXLConfig(**module.config.to_dict()).position_size == 32


def test_the_documents_lines_read_a_text_by_segments() -> None:
    text = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text("utf-8")
    (lines,) = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    model, given = made(memory_length=64), ids(100)
    scope: dict[str, Any] = {"model": model, "input_ids": given}
    with torch.inference_mode():
        exec(lines, scope)
        torch.testing.assert_close(
            scope["answer"].last_hidden_state, by_segments(model, given, 64)[:, 64:], rtol=1e-5, atol=1e-5
        )
