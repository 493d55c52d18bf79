"""Speculative decoding: how many tokens a round yields, what it costs, and when it pays.

A round drafts ``gamma`` tokens; each is accepted with probability ``acceptance``, independently, up to the first
refusal; the model adds one token of its own. A round therefore yields ``N`` from 1 to ``gamma + 1`` tokens, a
geometric number that is cut:

    P(N = k) = a^(k-1) (1 - a),  k <= gamma;     P(N = gamma + 1) = a^gamma.

Leviathan et al. count a check of ``gamma + 1`` positions as one decode step. It is, while the step waits for the
weights; with many sequences it waits for the arithmetic, costs ``gamma + 1`` times as much, and refused tokens are
work thrown away: the gain turns into a loss.

=====  ===================================================================================================
order  time per token
=====  ===================================================================================================
0      one sequence, the check taken for a decode step: ``(gamma c + 1) T(1) / E[N]``
1      the mean number of sequences at the load, and the check as the step that it is
=====  ===================================================================================================
"""

from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, non_negative, one_whole, plain, share, whole
from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.saturation import demand
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.estimate import Rung, rung
from secondorder.errors import InputError, Unstable
from secondorder.scenarios.speculative import Speculative

PAPER, MEANS = "Leviathan, Kalman, Matias (2023)", "mean value, with the check as a step of its own"
MOST_GAMMA = 32
"""Up to which the best ``gamma`` is sought."""


# What a round yields


def tokens_per_round(*, acceptance: Real, gamma: Whole) -> Real:
    """Mean tokens of a round: ``E[N] = (1 - a^(gamma+1)) / (1 - a)``, and ``gamma + 1`` at ``a = 1``.

    *Exact* for independent acceptances. ``acceptance`` from 0 to 1, ``gamma`` whole and at least 0; both broadcast.
    Errors: ``InputError``. *Source*: Leviathan, Kalman, Matias, Fast inference from transformers via speculative
    decoding (2023), equation 1.

    >>> round(tokens_per_round(acceptance=0.8, gamma=4), 9)
    3.3616
    """
    a, g = share("acceptance", acceptance), whole("gamma", gamma, least=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return plain(np.where(a < 1, (1 - a ** (g + 1.0)) / (1 - a), g + 1.0))


def round_law(*, acceptance: float, gamma: int) -> Floats:
    """Probabilities that a round yields 1, 2, ... ``gamma + 1`` tokens: a truncated geometric law.

    *Exact* for independent acceptances; one round at a time. Errors: ``InputError``. *Source*: as
    ``tokens_per_round``.

    >>> round_law(acceptance=0.5, gamma=2)
    array([0.5 , 0.25, 0.25])
    """
    a, g = float(share("acceptance", acceptance)), one_whole("gamma", gamma, least=0)
    return np.append(a ** np.arange(g) * (1 - a), a**g)


def rounds_for(tokens: int, *, acceptance: float, gamma: int) -> float:
    """Mean number of rounds that yield at least ``tokens`` tokens; the last of them may yield more than wanted.

    ``m(n) = 1 + sum_k P(N = k) m(n - k)``, ``m = 0`` for ``n <= 0``. *Exact* for independent acceptances; it lies
    above ``n / E[N]`` by the tokens in excess. Errors: ``InputError``. *Source*: the renewal equation; Feller II
    (1971), section XI.1.

    >>> rounds_for(2, acceptance=0.5, gamma=1)
    1.5
    """
    wanted = one_whole("tokens", tokens, least=0)
    return float(_rounds(wanted, round_law(acceptance=acceptance, gamma=gamma))[wanted])


def _rounds(most: int, law: Floats) -> Floats:
    """Mean rounds for 0, 1, ... ``most`` tokens."""
    size = len(law)
    mean = np.zeros(size + most)  # the first entries stand for n <= 0
    backward = law[::-1]
    for n in range(size, size + most):
        mean[n] = 1 + backward @ mean[n - size : n]
    return mean[size - 1 :]


def acceptance_of(target: Floats, draft: Floats) -> Real:
    """Probability that a token drawn from ``draft`` is accepted for ``target``: ``sum_x min(p(x), q(x))``.

    *Exact*. Arrays of probabilities over the vocabulary, the last axis; sums of 1. Errors: ``InputError``.
    *Source*: Leviathan, Kalman, Matias (2023), theorem 3.5.

    >>> round(acceptance_of(np.array([0.7, 0.3]), np.array([0.4, 0.6])), 12)
    0.7
    """
    p, q = (non_negative(what, value) for what, value in (("target", target), ("draft", draft)))
    for what, law in (("target", p), ("draft", q)):
        if np.abs(law.sum(axis=-1) - 1).max() > 1e-6:
            raise InputError(what, given=f"a sum of {law.sum(axis=-1).max():.6g}", expected="probabilities of sum 1")
    return plain(np.minimum(p, q).sum(axis=-1))


def speedup(*, acceptance: Real, gamma: Whole, cost: Real, check: Real = 1.0) -> Real:
    """How many times faster than decoding one token a step: ``E[N] / (gamma cost + check)``.

    ``cost`` is a step of the draft, ``check`` the step over ``gamma + 1`` positions, both in decode steps of the
    model. *Exact* in the mean, for long answers. *Valid* with ``check = 1`` only while the step waits for the weights;
    a check that waits for the arithmetic approaches ``gamma + 1``. All broadcast. Errors: ``InputError``.
    *Source*: Leviathan, Kalman, Matias (2023), theorem 3.8.

    >>> round(speedup(acceptance=0.8, gamma=4, cost=0.05), 4)
    2.8013
    >>> round(speedup(acceptance=0.8, gamma=4, cost=0.05, check=5.0), 4)     # bound by arithmetic
    0.6465
    """
    mean = tokens_per_round(acceptance=acceptance, gamma=gamma)
    drafted = whole("gamma", gamma, least=0) * non_negative("cost", cost)
    return plain(mean / (drafted + non_negative("check", check)))


# What a round costs on an engine


def token_seconds(
    scenario: Speculative, batch: Real, *, context: float | None = None, gamma: int | None = None
) -> Real:
    """Time per token of each of ``batch`` sequences, in s: a round over ``E[N]``; no prompts beside it.

    ``context`` tokens of cache a sequence (the mean of the scenario's decode steps if not given); another ``gamma``
    than the scenario's may be asked. Exact in the mean for the scenario's step times. ``batch`` broadcasts.
    """
    depth = demand(scenario.serving).decode_context if context is None else context
    drafted = scenario.gamma if gamma is None else gamma
    mean = tokens_per_round(acceptance=scenario.acceptance, gamma=drafted)
    return plain(scenario.round(non_negative("batch", batch), depth, drafted) / mean)


def speedup_at(scenario: Speculative, batch: Real, *, gamma: int | None = None) -> Real:
    """Speed-up of the decoding of ``batch`` sequences, with the check as long as its step. ``batch`` broadcasts."""
    return plain(token_seconds(scenario, batch, gamma=0) / np.asarray(token_seconds(scenario, batch, gamma=gamma)))


def best_gamma(scenario: Speculative, batch: float) -> int:
    """The ``gamma`` from 0 to 32 that decodes ``batch`` sequences fastest; 0 says that a draft does not pay."""
    times = [float(token_seconds(scenario, batch, gamma=gamma)) for gamma in range(MOST_GAMMA + 1)]
    return int(np.argmin(times))


def break_even_batch(scenario: Speculative) -> int:
    """The largest number of sequences, up to ``max_num_seqs``, at which the draft does not slow the decoding.

    0 where it slows even one sequence. All numbers are tried: the speed-up need not fall steadily.
    """
    batches = np.arange(1, scenario.serving.settings.max_num_seqs + 1)
    gains = np.array([float(speedup_at(scenario, float(batch))) for batch in batches])
    return int(batches[gains >= 1].max(initial=0))


# At a load


@dataclass(frozen=True, kw_only=True)
class Load:
    """``decodes``: mean number of decoding sequences; ``tpot``: mean time per token, ``ttft``: without a wait, in s."""

    decodes: float
    tpot: float
    ttft: float


def load(scenario: Speculative, rate: float, *, gamma: int | None = None) -> Load:
    """Mean values at ``rate`` request/s: Little's law for the decodes, and prompts that hold up the rounds.

    ``B = rate E[R] T(B) / (1 - rate s(B))``, ``TPOT = B / (rate E[O - 1])``, with ``R`` the rounds of an answer (its
    last one yields more than wanted), ``T`` a round and ``s`` what a prompt adds: its steps beside the decodes less
    those without it, and the draft's own pass over it. *Approximation*: means only, no waiting, prompts one at a time.
    *Valid when* far below saturation. ``Unstable`` without a fixed point. *Source*: Little 1961, and
    ``serving.mean_value`` with rounds for steps.
    """
    serving, drafted = scenario.serving, scenario.gamma if gamma is None else gamma
    need = demand(serving)
    most = min(serving.settings.max_num_seqs, (scenario.kv_tokens if drafted else serving.kv_tokens) / need.held)
    rounds = _mean_rounds(scenario, drafted)

    def wanted(batch: float) -> float:
        """Sequences that decode, by Little's law, where ``batch`` share a round."""
        lasts = float(scenario.round(max(batch, 1.0), need.decode_context, drafted))
        free = 1 - rate * _prompt(scenario, batch, drafted)[1]
        return rate * rounds * lasts / free if free > 0 else np.inf

    low, high = 0.0, float(most)
    if wanted(high) > high:
        given = f"{rate:.4g} request/s need more than the {high:.0f} sequences that slots and cache allow"
        raise Unstable(f"{scenario.name}: with gamma {drafted}, {given}; lower the rate or add replicas")
    while high - low > 1e-9 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if wanted(middle) > middle else (low, middle)
    tpot = wanted(high) / (rate * need.decode_steps)
    return Load(decodes=high, tpot=tpot, ttft=_prompt(scenario, high, drafted)[0])


def _mean_rounds(scenario: Speculative, gamma: int) -> float:
    """Of an answer after its first token, over the law of the lengths."""
    law = scenario.serving.offered
    table = _rounds(int(law.max_output), round_law(acceptance=scenario.acceptance, gamma=gamma))
    return law.expect(lambda _, o: np.interp(o - 1, np.arange(len(table)), table))


def _prompt(scenario: Speculative, batch: float, gamma: int) -> tuple[float, float]:
    """Mean time of a prompt's steps, and of what they add to those of the decodes, in s."""
    serving = scenario.serving
    prompts, _, weight = (np.asarray(part, float) for part in serving.offered.grid())
    context = batch * demand(serving).decode_context
    steps = float(prefill_seconds(serving, prompts, batch, context) @ weight)
    chunks = float(prefill_chunks(serving, prompts, batch) @ weight)
    plain_step = float(serving.step_seconds(0.0, 0.0, 0.0, batch, context, batch)) if batch > 0 else 0.0
    drafted = float(_draft_prompt(scenario, prompts) @ weight) if gamma else 0.0
    return steps + drafted, steps - chunks * plain_step + drafted


def _draft_prompt(scenario: Speculative, prompts: Floats) -> Floats:
    """The draft's pass over each prompt, in one step of its own."""
    ones = np.ones_like(prompts)
    return np.asarray(scenario.draft_seconds(prompts, prompts * (prompts + 1) / 2, prompts, 0 * ones, 0 * ones, ones))


def solve_speculative(scenario: Speculative) -> Answer:
    """The ladder of a service with a draft.

    ``tpot_mean`` in s, ``speedup`` over decoding without a draft, ``gamma_best``, ``tokens_per_round``,
    ``ttft_mean`` (the draft reads the prompt too), ``running_mean``, and ``break_even_batch``.
    """
    serving = scenario.serving
    serving.check_law(scenario.kv_tokens)
    if serving.offered.mean_output <= 1:
        raise InputError("serving.lengths", given="answers of one token", expected="answers with tokens to draft")
    context = demand(serving).decode_context
    alone, drafted = float(scenario.verification(1.0, context, 0)), float(scenario.draft_round(1.0, context, 1))
    paper = float(speedup(acceptance=scenario.acceptance, gamma=scenario.gamma, cost=drafted / alone))
    check = float(scenario.verification(1.0, context)) / alone
    many = f"a check of {scenario.gamma + 1} positions takes {check:.3g} decode steps, not one"
    outside = "" if check < 1.05 else many
    gammas = np.arange(MOST_GAMMA + 1)
    gains = np.asarray(speedup(acceptance=scenario.acceptance, gamma=gammas, cost=drafted / alone))
    rows = [
        _row("tpot_mean", alone / paper, "s", PAPER, order=0, outside=outside),
        _row("speedup", paper, "", PAPER, order=0, outside=outside),
        _row("gamma_best", float(gammas[gains.argmax()]), "", PAPER, order=0),
        _row(
            "tokens_per_round", float(tokens_per_round(acceptance=scenario.acceptance, gamma=scenario.gamma)), "", PAPER
        ),
    ]
    with_draft, without = load(scenario, serving.rate), load(scenario, serving.rate, gamma=0)
    batch = max(1.0, with_draft.decodes)
    rows += [
        _row("tpot_mean", with_draft.tpot, "s", MEANS),
        _row("ttft_mean", with_draft.ttft, "s", MEANS, "without a wait"),
        _row("speedup", without.tpot / with_draft.tpot, "", MEANS, _turn(scenario, batch)),
        _row("gamma_best", float(best_gamma(scenario, batch)), "", MEANS, f"for {batch:.3g} sequences"),
        _row("running_mean", with_draft.decodes, "", MEANS),
        _row("break_even_batch", float(break_even_batch(scenario)), "", MEANS),
    ]
    how = f"closed forms at {serving.rate:.4g} request/s, {with_draft.decodes:.3g} sequences decode"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _turn(scenario: Speculative, batch: float) -> str:
    context = demand(scenario.serving).decode_context
    check = float(scenario.verification(batch, context)) / float(scenario.verification(batch, context, 0))
    return f"a check takes {check:.3g} decode steps of {batch:.3g} sequences"


def _row(
    metric: str, amount: float, unit: str, source: str, note: str = "", *, order: int = 1, outside: str = ""
) -> Rung:
    return rung(metric, amount, unit, source, order, note, outside)
