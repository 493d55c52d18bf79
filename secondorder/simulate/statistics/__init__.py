"""Statistics of steady-state simulation: how long to run, what to cut, and how far a value may be trusted.

``runs`` says what a simulation must offer, ``procedure.steady_state`` runs it until its answer is known well enough,
and ``outcome`` is what comes of it. ``histogram``, ``quantiles``, ``ratios``, ``relaxation`` and ``starts`` are
functions of arrays.
"""
