"""What the step ``prune`` is made of: what can be cut, by which measure, how it is spread over the layers, and when.

``groups`` units that go together, and how they are cut · ``gates`` units silenced but not yet cut · ``weights`` single
weights and blocks of them · ``importance``, ``proxy`` the measures · ``budget``, ``sensitivity``, ``candidates`` how a
total is spread over the layers · ``schedule`` when.
"""
