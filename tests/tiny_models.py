"""Tiny random models of every family with tokenizers of their own kind: plain Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = ("a cat and a dog", "sun and rain", "dogs run", "never a sunny word", "the cat runs in the rain")
LAYERS, HIDDEN, HEADS, FFN, POSITIONS = 3, 32, 4, 64, 32


def write(family: str, folder: Path) -> None:
    """3 layers, hidden 32, 4 heads, feed-forward 64, 32 positions, drawn with a seed."""
    import torch
    import transformers

    tokenizer = _tokenizer(family)
    config = _config(family, tokenizer.get_vocab_size())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def _config(family: str, tokens: int) -> Any:
    import transformers

    from edgekit.models.transformer_xl import TransformerXLConfig

    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "initializer_range": 0.2}
    wide = {**sizes, "vocab_size": tokens, "intermediate_size": FFN, "max_position_embeddings": POSITIONS}
    makers = {
        "bert": lambda: transformers.BertConfig(**wide),
        "roberta": lambda: transformers.RobertaConfig(
            **(wide | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}), pad_token_id=1
        ),
        "albert": lambda: transformers.AlbertConfig(**wide, embedding_size=16, num_hidden_groups=1),
        "distilbert": lambda: transformers.DistilBertConfig(
            vocab_size=tokens,
            dim=HIDDEN,
            n_layers=LAYERS,
            n_heads=HEADS,
            hidden_dim=FFN,
            max_position_embeddings=POSITIONS,
            initializer_range=0.2,
        ),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=tokens,
            n_embd=HIDDEN,
            n_layer=LAYERS,
            n_head=HEADS,
            n_inner=FFN,
            n_positions=POSITIONS,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=0,
        ),
        "transformer-xl": lambda: TransformerXLConfig(
            **sizes, vocab_size=tokens, intermediate_size=FFN, memory_length=16
        ),
    }
    return makers[family]()


def _tokenizer(family: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if family in ("gpt2", "roberta"):
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        specials = ["<|endoftext|>"] if family == "gpt2" else ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trainer: Any = trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif family == "albert":
        made = Tokenizer(models.Unigram())
        made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=60,
            special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
            unk_token="<unk>",
            initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"),
            show_progress=False,
        )
    else:
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=80, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
        )
    made.train_from_iterator(TEXTS, trainer)
    around = {"roberta": ("<s>", "</s>"), "gpt2": None}.get(family, ("[CLS]", "[SEP]"))
    if around is not None:
        first, last = around
        made.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", special_tokens=[(one, made.token_to_id(one)) for one in around]
        )
    return made
