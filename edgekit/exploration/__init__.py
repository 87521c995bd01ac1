"""Which candidate meets the gates best (design-space exploration): ranges are drawn from, priced by a latency table,
trained and compared.

``table`` prices what ``probe`` had measured, ``study`` draws, ``trial`` says how a candidate did, ``front`` which ones
are worth having, ``engines`` where they are trained, ``sensitivity`` what each layer bears. ``edgekit.searching`` joins
them with builds and boards.
"""
