"""A result for people: ``terminal`` (rich), ``markdown`` and ``html``, all three from the same ``tables``."""
