"""The command line: parse, call ``edgekit.pipeline``, print. One file a verb; ``main`` puts them together.

A verb module has ``add``, which declares its flags, and for each verb a pair: ``run`` makes the call and returns a
value, ``show`` prints it for people. With ``--json`` the value itself is printed instead.
"""
