"""What a client posts to have a text written, and the events that it is answered with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgekit.errors import SpecError
from edgekit.spec.bounds import within
from edgekit.spec.service import check_characters, check_text
from edgekit.spec.wire import Generate

#: Tokens in one text, and stop words and their characters: the service's own memory and time are bounded by them.
MOST_TOKENS, MOST_STOPS, LONGEST_STOP = 4096, 16, 256
#: The kind of an answer that comes in events, and their names: a piece of text; the whole, last; or why it broke off.
EVENTS = "text/event-stream"
PIECE, DONE, ERROR = "piece", "done", "error"


@dataclass(frozen=True)
class Prompt(Generate):
    """The body of ``POST /generate``: a ``Generate``, answered by ``edgekit.spec.wire.Generated``. With ``stream``, or
    where ``text/event-stream`` is accepted, by server-sent events, whose data are JSON: any number of ``piece``
    (``{"text": …}``), then ``done`` (the ``Generated``) or ``error`` (as ``EdgekitError.to_json`` writes it)."""

    stream: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.prompt, "$.prompt")
        within(self.max_tokens, 1, MOST_TOKENS, "max_tokens")
        if len(self.stop) > MOST_STOPS:
            raise SpecError("too many stop words", where="$.stop", given=len(self.stop), allowed=MOST_STOPS)
        for number, one in enumerate(self.stop):
            path = "$.stop[{}]".format(number)
            check_characters(one, path)
            if len(one) > LONGEST_STOP:
                allowed = "{} characters".format(LONGEST_STOP)
                raise SpecError("a stop word is too long", where=path, given=len(one), allowed=allowed)

    @property
    def asked(self) -> Generate:
        """The same without what is the service's own."""
        return Generate(**{one.name: getattr(self, one.name) for one in dataclasses.fields(Generate)})
