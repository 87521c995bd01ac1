"""What is exported answers as transformers' own module does, and computes less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")

from torch import nn  # noqa: E402

from edgekit.convert import graph, module  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.grid import Grid, Ranges, digest  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402

pytestmark = pytest.mark.torch
Uneven = Callable[[Path, int], Path]
IDS = torch.tensor([[5, 30, 31, 17, 6, 0, 0, 0], [5, 32, 6, 7, 8, 9, 10, 11], [5, 6, 0, 0, 0, 0, 0, 0]])
MASK = torch.tensor([[1] * 5 + [0] * 3, [1] * 8, [1, 1] + [0] * 6])


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Uneven:
    """The checkpoint of a family, cut to so many uneven layers; each is made once."""
    known: dict[tuple[str, int], Path] = {}

    def make(folder: Path, layers: int) -> Path:
        if (folder.name, layers) not in known:
            loaded = checkpoint.load(folder, ["a", "b", "c"])
            loaded.family.set_layers(loaded.module, loaded.family.layers(loaded.module)[:layers])
            loaded.teacher_layers = tuple(range(layers))
            apart = [Layer(4, 16), Layer(1, 40), Layer(2, 24)]
            shapes = [Layer(heads=3, ffn=40)] * 3 if folder.name == "albert" else apart
            checkpoint.shape(loaded.family, loaded.module, shapes[:layers])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(5)
                for one in loaded.module.parameters():
                    nn.init.normal_(one, std=0.3)
            known[folder.name, layers] = tmp_path_factory.mktemp("uneven") / folder.name
            checkpoint.save(loaded, known[folder.name, layers])
        return known[folder.name, layers]

    return make


def plain(loaded: checkpoint.Checkpoint) -> torch.Tensor:
    """transformers' own logits."""
    ids = torch.where(MASK == 1, IDS, loaded.module.config.pad_token_id)
    with torch.inference_mode():
        return loaded.module(ids, MASK).logits


def exported(classifier: module.Classifier) -> torch.Tensor:
    with torch.inference_mode():
        return classifier(IDS.int(), MASK.int())


@pytest.mark.parametrize("layers", [1, 3])
def test_it_answers_as_transformers_own(tiny_family: Path, layers: int, uneven: Uneven) -> None:
    loaded = checkpoint.load(folder := uneven(tiny_family, layers))
    answers = exported(module.load(folder, [8]))
    torch.testing.assert_close(answers, plain(loaded), rtol=0, atol=1e-5)


def test_the_last_layer_computes_one_token_and_no_keys(tiny_family: Path, uneven: Uneven) -> None:
    loaded = checkpoint.load(folder := uneven(tiny_family, 3))
    classifier = module.load(folder, [8])
    tokens: dict[str, int] = {}

    def note(name: str, states: torch.Tensor) -> None:
        tokens[name] = tokens.get(name, 0) + states.numel() // states.shape[-1] // len(IDS)

    for name, one in classifier.named_modules():
        if isinstance(one, nn.Linear):
            one.register_forward_pre_hook(lambda _, given, name=name: note(name, given[0]))
    exported(classifier)
    names = {id(one): name for name, one in classifier.named_modules()}
    last = loaded.structure.layers[-1]
    calls = 3 if tiny_family.name == "albert" else 1
    attention = classifier.family.attention(classifier.family.layers(classifier.model)[-1])
    both = classifier.family.feed_forward(classifier.family.layers(classifier.model)[-1])
    for one in (attention.query, attention.output, both.up, both.down):
        assert tokens[names[id(one)]] == (calls - 1) * 8 + 1
    for one in (attention.key, attention.value):
        assert tokens.get(names[id(one)], 0) == (calls - 1) * 8
    assert sum("from_query" in one for one in tokens) == sum("to_value" in one for one in tokens) == last.heads


def test_the_cost_is_what_the_structure_says(tiny_family: Path, uneven: Uneven) -> None:
    """Multiply-accumulates of all products in the layers, weights and activations, counted while it runs."""
    from torch.utils.flop_counter import FlopCounterMode

    loaded = checkpoint.load(folder := uneven(tiny_family, 3))
    classifier = module.load(folder, [8])
    ids = IDS[1:2].int()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        classifier(ids, torch.ones_like(ids))
    head, tables = classifier.family.head(classifier.model), classifier.family.embeddings(classifier.model)
    outside = sum(one.weight.numel() for one in (head.dense, head.classifier) if one is not None)
    outside += 8 * tables.projection.weight.numel() if tables.projection is not None else 0
    # picking the last token is written as a product
    outside += 8 * 32 if classifier.family.reads == "last" else 0
    assert counter.get_total_flops() // 2 - outside == loaded.structure.macs(8)


def test_weights_on_a_grid_of_their_own_are_not_regrouped(tiny_bert: Path, tmp_path: Path, uneven: Uneven) -> None:
    loaded = checkpoint.load(uneven(tiny_bert, 2))
    names = [name for name, one in loaded.module.named_modules() if isinstance(one, nn.Linear)]
    products = {name: Ranges((-1.0, 1.0), (-1.0, 1.0)) for name in names}
    loaded.grid = Grid(products, (), digest(loaded.module, products))
    checkpoint.save(loaded, tmp_path / "trained")
    classifier = module.load(tmp_path / "trained", [8])
    assert set(graph.linears(classifier)) == set(names)
    torch.testing.assert_close(exported(classifier), plain(loaded), rtol=0, atol=1e-5)


def test_shared_layers_answer_as_transformers_own(tiny_family: Path, tmp_path: Path, uneven: Uneven) -> None:
    loaded = checkpoint.load(uneven(tiny_family, 3))
    first, second, *_ = loaded.family.layers(loaded.module)
    loaded.family.set_layers(loaded.module, [first, second, second, first])
    loaded.teacher_layers = (0, 1, 1, 0)
    checkpoint.save(loaded, tmp_path / "shared")
    answers = exported(module.load(tmp_path / "shared", [8]))
    torch.testing.assert_close(answers, plain(loaded), rtol=0, atol=1e-5)


def test_parameters_are_the_checkpoints(tiny_family: Path, uneven: Uneven) -> None:
    loaded = checkpoint.load(folder := uneven(tiny_family, 3))
    classifier = module.load(folder, [8])
    assert module.parameters(classifier) == loaded.parameters
    assert module.classes(classifier) == 3


def test_the_weights_of_the_heads_lie_as_the_converter_reads_them(tiny_bert: Path, uneven: Uneven) -> None:
    """It writes a transposed view out as if it were not transposed."""
    classifier = module.load(uneven(tiny_bert, 2), [8])
    key = classifier.family.attention(classifier.family.layers(classifier.model)[-1]).key.weight
    for number, one in enumerate(classifier.from_query.each):
        assert one.weight.is_contiguous()
        assert torch.equal(one.weight, key[number * 8 : number * 8 + 8].T)
