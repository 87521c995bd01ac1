"""What each loss says, on real passes: nothing where student and teacher are one, the paper's figure elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from edgekit.compress import losses  # noqa: E402
from edgekit.compress.encoded import Batch, Encoded, batch  # noqa: E402
from edgekit.compress.lessons import Lessons  # noqa: E402
from edgekit.compress.losses import LOSSES, UNLABELED, Group, Lesson  # noqa: E402
from edgekit.compress.teacher import groups  # noqa: E402
from edgekit.compress.trace import MAPS, PROJECTIONS, STATES, Trace, eager, trace  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402
from edgekit.spec.training import Learning, Losses  # noqa: E402

pytestmark = pytest.mark.torch
NONE = Losses(logits=1.0, label=0.0)
TEXTS = Encoded([[3, 6, 9, 4], [3, 7, 8, 20, 21, 4], [3, 10, 4]], [0, 1, UNLABELED], 0)


def only(**weights: float) -> Learning:
    return Learning(losses=Losses(**{"label": 0.0, "logits": 0.0, **weights}))


def lessons(student: Checkpoint, teacher: Checkpoint, options: Learning, same: tuple[int, ...] = (1, 1, 1)) -> Lessons:
    embeddings = None
    if options.losses.embedding:
        one = batch(TEXTS, [0, 1, 2])
        embeddings = losses.pooled(trace(teacher, one, {STATES}).outputs[-1], one.attention_mask.float()).detach()
    alike = torch.tensor(same).bool()
    return Lessons(student, teacher, options, TEXTS, alike, None, embeddings, groups(student, teacher))


def value(student: Checkpoint, teacher: Checkpoint, options: Learning, rows: tuple[int, ...] = (0, 1, 2)) -> Any:
    with eager(student.module, teacher.module):
        return lessons(student, teacher, options)(batch(TEXTS, list(rows)))


CONFIGS = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 32},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32},
    "albert": {
        "hidden_size": 32,
        "embedding_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    },
    "roberta": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 40,
    },
}


@pytest.mark.parametrize("family", ["bert", *CONFIGS])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(family: str, tiny_bert: Path, tmp_path: Path) -> None:
    folder = tiny_bert
    if family != "bert":
        folder = tmp_path / family
        config = transformers.AutoConfig.for_model(family, vocab_size=80, pad_token_id=0, **CONFIGS[family])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            transformers.AutoModel.from_config(config).save_pretrained(folder)
        shutil.copy(tiny_bert / "tokenizer.json", folder)
    one = checkpoint.load(folder, ["a", "b", "c"])
    checkpoint.save(one, tmp_path / "kept")
    student, teacher = checkpoint.load(tmp_path / "kept"), checkpoint.load(tmp_path / "kept")
    for name in sorted(set(LOSSES) - {"label", "logits", "self"}):
        assert value(student, teacher, only(**{name: 1.0})).item() == pytest.approx(0.0, abs=1e-5), name


@pytest.mark.parametrize("name", sorted({"hidden", "attention", "relations", "fold", "embedding", "snapshot", "self"}))
def test_its_gradient_brings_student_and_teacher_together(name: str, teacher: Path) -> None:
    student, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        options = only(**{name: 1.0})
        with eager(student.module, whole.module):
            taught = lessons(student, whole, options)
            for one in student.module.parameters():
                one.data += 0.05 * torch.randn_like(one)
            trained = [one for one in (*student.module.parameters(), *taught.helpers.parameters()) if one.requires_grad]
            optimizer, found = torch.optim.Adam(trained, 3e-3), []
            for _ in range(15):
                optimizer.zero_grad()
                loss = taught(batch(TEXTS, [0, 1, 2]))
                loss.backward()
                optimizer.step()
                found.append(loss.item())
    assert found[-1] < 0.6 * found[0]


def test_relations_do_not_depend_on_how_many_heads_compute_them(teacher: Path) -> None:
    """MiniLMv2: the same queries, keys and values in 4 heads of 8 or in 2 of 16 are the same relations."""
    whole, other = checkpoint.load(teacher), checkpoint.load(teacher)
    for one in (whole, other):
        one.family.set_layers(one.module, list(one.family.layers(one.module))[:1])
        one.teacher_layers = (0,)
    other.family.set_heads(next(iter(other.family.layers(other.module))), 2, 16)
    inside = [trace(one, batch(TEXTS, [0, 1, 2]), {STATES}).outputs[-1] for one in (whole, other)]
    assert not torch.allclose(*inside)
    assert value(other, whole, only(relations=1.0)).item() == pytest.approx(0.0, abs=1e-6)


def test_relations_are_those_of_the_paper() -> None:
    """Against the formula, token by token: softmax(A Aᵀ / √d) a head, KL, mean over heads and tokens."""
    ours, theirs = torch.randn(1, 3, 8), torch.randn(1, 3, 16)
    expected = 0.0
    for head in range(2):
        mine, wanted = ours[0, :, 4 * head : 4 * head + 4], theirs[0, :, 8 * head : 8 * head + 8]
        p = torch.softmax(wanted @ wanted.T / 8**0.5, -1)
        q = torch.softmax(mine @ mine.T / 4**0.5, -1)
        expected += (p * (p / q).log()).sum(-1).mean().item() / 2
    traces = [Trace(torch.empty(0), queries=[one], keys=[one], values=[one]) for one in (ours, theirs)]
    lesson = Lesson(
        only(relations=1.0),
        torch.zeros(1),
        torch.ones(1, 3),
        traces[0],
        theirs=traces[1],
        groups=[Group(0, 0)],
        heads=2,
    )
    assert losses.relations(lesson).item() == pytest.approx(expected, rel=1e-5)


def test_relations_split_widths_into_heads_that_divide_both(teacher: Path) -> None:
    student, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    assert lessons(student, whole, only(relations=1.0)).heads == 4
    asked = replace(only(relations=1.0), relation_heads=16)
    assert lessons(student, whole, asked).heads == 16
    with pytest.raises(BuildError, match="do not divide the width"):
        lessons(student, whole, replace(asked, relation_heads=5))
    with pytest.raises(BuildError, match="no such layer"):
        lessons(student, whole, replace(only(relations=1.0), relation_layer=2))


def test_attention_of_other_head_counts_is_compared_by_its_mean() -> None:
    theirs = torch.softmax(torch.randn(1, 4, 3, 3), -1)
    mean = theirs.mean(1, keepdim=True)
    parts = {
        "options": only(attention=1.0),
        "labels": torch.zeros(1),
        "mask": torch.ones(1, 3),
        "groups": [Group(0, 0)],
    }

    def kl(ours: Any) -> float:
        lesson = Lesson(ours=Trace(torch.empty(0), maps=[ours]), theirs=Trace(torch.empty(0), maps=[theirs]), **parts)
        return float(losses.attention(lesson))

    assert kl(mean.expand(1, 2, 3, 3)) == pytest.approx(0.0, abs=1e-6)
    assert kl(mean.expand(1, 4, 3, 3)) == pytest.approx(
        (theirs * (theirs / mean).log()).sum(-1).mean().item(), rel=1e-4
    )


def test_a_text_counts_the_same_in_any_batch(teacher: Path) -> None:
    """Neither padding nor what it is batched with changes a text's value: the mean of single texts is the batch's."""
    student, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    for one in student.module.parameters():
        one.data *= 1.1
    weights = dict.fromkeys(set(LOSSES) - {"self"}, 1.0)
    together = value(student, whole, only(**weights))
    alone = torch.stack([value(student, whole, only(**weights), (row,)) for row in range(3)]).mean()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_hidden_states_are_held_against_the_last_layer_of_their_group(teacher: Path) -> None:
    """One student layer of width 32 for two of the teacher's: the mean squared distance from what the second gives."""
    student, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    student.family.set_layers(student.module, list(student.family.layers(student.module))[:1])
    student.teacher_layers = (0,)
    one = batch(TEXTS, [1])
    ours, theirs = (trace(asked, one, {STATES}).outputs[-1] for asked in (student, whole))
    found = value(student, whole, only(hidden=1.0), (1,))
    torch.testing.assert_close(found, (ours - theirs).square().mean())


def test_a_longer_split_of_the_teachers_does_not_change_what_the_student_reads(
    tiny_models_of: dict[str, Path],
) -> None:
    """GPT-2's classifier reads the last token that is not the padding one, whatever the mask says."""
    student, whole = (checkpoint.load(tiny_models_of["gpt2"], ("a", "b", "c")) for _ in range(2))
    student.module.config.pad_token_id = 7
    options = Learning(losses=Losses(label=1.0, logits=0.0, hidden=1.0))
    longer = Encoded([[*one, 20, 21, 22] for one in TEXTS.ids], TEXTS.labels, 0)
    taught = Lessons(student, whole, options, longer, torch.zeros(3).bool(), None, None, groups(student, whole))
    one = batch(Encoded(TEXTS.ids, TEXTS.labels, 7), [0, 1])
    wanted = nn.functional.cross_entropy(student.module(one.input_ids, one.attention_mask).logits, one.labels)
    torch.testing.assert_close(taught(one), wanted)


def test_texts_of_other_tokens_teach_no_insides(teacher: Path) -> None:
    student, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    for one in student.module.parameters():
        one.data *= 1.1
    options = only(hidden=1.0)
    some = lessons(student, whole, options, (1, 0, 1))(batch(TEXTS, [0, 1, 2]))
    rest = [lessons(student, whole, options)(batch(TEXTS, [row])) for row in (0, 2)]
    torch.testing.assert_close(some, torch.stack(rest).sum() / 3)
    assert lessons(student, whole, options, (0, 0, 0))(batch(TEXTS, [0, 1])).item() == 0.0


def test_a_folded_layer_of_linear_ones_is_their_product() -> None:
    """Where one layer can do what its group does, learning to fold finds it."""
    torch.manual_seed(2)
    whole, student = _Toy(4), _Toy(2)
    taught = Lessons(
        _toy(student),
        _toy(whole),
        only(fold=1.0),
        TEXTS,
        torch.ones(3).bool(),
        None,
        None,
        [Group(0, 1), Group(2, 3)],
    )
    optimizer = torch.optim.LBFGS(student.stack.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        found = taught(batch(TEXTS, [0, 1, 2]))
        found.backward()
        return found

    optimizer.step(loss)
    assert loss().item() < 1e-7
    products = [whole.stack[1].weight @ whole.stack[0].weight, whole.stack[3].weight @ whole.stack[2].weight]
    for layer, product in zip(student.stack, products, strict=True):
        torch.testing.assert_close(layer.weight, product, rtol=1e-2, atol=5e-3)
    # each group learned from the teacher's own states: the student's embeddings never entered
    assert student.table.weight.grad is None or not student.table.weight.grad.any()


class _Toy(nn.Module):
    """Embeddings and linear layers: a model that can be folded exactly."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.table = nn.Embedding(32, 4)
        self.stack = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(layers))
        for layer in self.stack:
            layer.weight.data = torch.eye(4) + layer.weight.data

    def forward(self, ids: Any, mask: Any) -> Any:
        states = self.table(ids)
        for layer in self.stack:
            states = layer(states)
        return SimpleNamespace(logits=states[:, 0])


def _toy(module: _Toy) -> Any:
    return SimpleNamespace(
        module=module,
        family=SimpleNamespace(layers=lambda one: one.stack),
        task="classify",
        structure=SimpleNamespace(hidden=4, layers=[None] * len(module.stack)),
        teacher_layers=tuple(range(len(module.stack))),
    )


def test_the_deepest_layer_teaches_the_shallower_and_learns_nothing_itself(teacher: Path) -> None:
    """Be your own teacher: the auxiliary head moves, and the first layer; what is above it does not."""
    student = checkpoint.load(teacher)
    taught = lessons(student, checkpoint.load(teacher), only(self=1.0))
    taught(batch(TEXTS, [0, 1])).backward()
    first, second = student.family.layers(student.module)
    assert first.output.dense.weight.grad.abs().sum() > 0
    assert second.output.dense.weight.grad is None
    assert student.module.classifier.weight.grad is None
    assert all(one.grad.abs().sum() > 0 for one in taught.helpers.parameters())


def test_one_layer_has_no_shallower_one_to_teach(teacher: Path) -> None:
    student = checkpoint.load(teacher)
    student.family.set_layers(student.module, list(student.family.layers(student.module))[:1])
    student.teacher_layers = (0,)
    with pytest.raises(BuildError, match="one layer"):
        lessons(student, checkpoint.load(teacher), only(self=1.0))


def test_the_snapshot_is_the_mean_of_past_weights(teacher: Path) -> None:
    student = checkpoint.load(teacher)
    taught = lessons(student, checkpoint.load(teacher), replace(only(snapshot=1.0), snapshot_decay=0.5))
    weight = student.module.classifier.weight
    start = weight.detach().clone()
    weight.data += 1.0
    # in the first steps little stays: 1/10, 2/11, … up to the decay asked for
    taught.after_step(0)
    torch.testing.assert_close(taught.helpers["snapshot"].classifier.weight, start + 0.9)
    taught.after_step(1000)
    torch.testing.assert_close(taught.helpers["snapshot"].classifier.weight, start + 0.95)


def test_an_inside_is_what_transformers_itself_tells(teacher: Path) -> None:
    one, asked = checkpoint.load(teacher), batch(TEXTS, [0, 1, 2])
    before = one.module.config._attn_implementation
    with eager(one.module):
        seen = trace(one, asked, {STATES, MAPS, PROJECTIONS})
        told = one.module(asked.input_ids, asked.attention_mask, output_hidden_states=True, output_attentions=True)
    assert one.module.config._attn_implementation == before != "eager"
    for found, truth in ((seen.inputs, told.hidden_states[:-1]), (seen.outputs, told.hidden_states[1:])):
        for mine, theirs in zip(found, truth, strict=True):
            assert torch.equal(mine, theirs)
    assert len(seen.maps) == len(told.attentions) == 2
    assert [tuple(part.shape) for part in seen.queries] == [(3, 6, 32)] * 2
    # no hook stays behind
    one.module(asked.input_ids, asked.attention_mask)
    assert len(seen.outputs) == len(seen.queries) == 2


def test_batches_are_made_longer_by_what_nobody_attends_to() -> None:
    one = Batch([0], torch.tensor([[5, 6]]), torch.tensor([[1, 1]]), torch.tensor([0])).padded(4, 9)
    assert one.attention_mask.tolist() == [[1, 1, 0, 0]]
    assert one.input_ids.tolist() == [[5, 6, 9, 9]]
