"""What a text is made into before it is tokenized, in training and on the device alike."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    """Unicode NFC, control and format characters dropped, white space folded to single spaces, none at the ends.

    Format characters (zero-width space, byte-order mark, soft hyphen) go as well: they are invisible, and a tokenizer
    would spell them. What comes out stays as it is when it is cleaned again.
    """
    # nearly every text is clean already, and telling that is cheap where time is short
    if text.isascii() and text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text
    seen = "".join(" " if one.isspace() else one for one in text if one.isspace() or _visible(one))
    # after the invisible ones are gone: what they held apart may belong together
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _visible(character: str) -> bool:
    # Cc control, Cf format, Cs lone surrogate: none of them can be seen or encoded
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs")
