"""A tiny real BERT that every part which needs torch can share."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import tiny_models
from hypothesis import settings

# how long an example takes is the machine's doing
settings.register_profile("edgekit", settings.default, deadline=None)
settings.load_profile("edgekit")
FAMILIES = ("albert", "bert", "distilbert", "gpt2", "roberta", "transformer-xl")
WORDS = ("cat", "dog", "sun", "rain", "run", "##s", "##ny", "never", "used", "##word")


@pytest.fixture(scope="session")
def tiny_models_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plain Hugging Face folder of each family, see :mod:`tiny_models`."""
    pytest.importorskip("transformers")
    folders = {family: tmp_path_factory.mktemp("tiny") / family for family in FAMILIES}
    for family, folder in folders.items():
        tiny_models.write(family, folder)
    return folders


@pytest.fixture(params=FAMILIES)
def tiny_family(request: pytest.FixtureRequest, tiny_models_of: dict[str, Path]) -> Path:
    """Each family's folder in turn; its name is the family's."""
    return tiny_models_of[request.param]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Hugging Face folder: random BERT, 2 layers, hidden 32, 4 heads, and a WordPiece tokenizer of its own."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny") / "bert"
    specials = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*specials, *letters, *("##" + one for one in letters), *WORDS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = transformers.BertConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            initializer_range=0.2,
        )
        transformers.BertModel(config).save_pretrained(folder)
    marks = {one: {"id": one, "ids": [vocabulary[one]], "tokens": [one]} for one in ("[CLS]", "[SEP]")}
    sequence = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": {
            "strategy": {"Fixed": 16},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [
            {
                "id": vocabulary[one],
                "special": True,
                "content": one,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for one in specials
            if "unused" not in one
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": sequence,
            "pair": [*sequence, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": marks,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture(scope="session")
def keras_models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Keras models and SavedModels, trained and not, and a recipe over one; see :mod:`keras_kit`."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the 'tensorflow' extra")
    import keras_kit

    folder = tmp_path_factory.mktemp("keras")
    keras_kit.write_models(folder, tiny_bert / "tokenizer.json")
    return folder
