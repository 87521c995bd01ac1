"""A bundle: artifacts, tokenizers, golden cases and their manifest in one folder, content-addressed and signed.

``build`` writes one, ``sign`` signs it, ``verify`` trusts or refuses it. Reading and finding bundles, without a word
about trust, stands here.
"""

from edgekit.bundle.folder import Entry, Found, blob_file, entries, find, read

__all__ = ["Entry", "Found", "blob_file", "entries", "find", "read"]
