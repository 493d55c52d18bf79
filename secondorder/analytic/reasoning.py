"""What sampling several answers costs: tokens, time, money; and the probability of a right answer."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, Whole, each, one_whole, plain, whole
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung
from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.scenarios.reasoning import Reasoning
from secondorder.workloads.lengths import Marginal

Law: TypeAlias = tuple[npt.NDArray[np.int64], Floats]
"""Values in ascending order, and their probabilities."""

LONGEST = 2**23
"""Points at which the law of a sum is tabulated."""
LEAST = 1e-18
"""Probabilities below it are left out."""

# Chance of success


def pass_at_k(*, samples: Whole, correct: Whole, k: Whole) -> Real:
    """Estimate, from ``correct`` among ``samples``, that one of ``k`` answers is right: ``1 - C(n-c,k)/C(n,k)``.

    Free of bias for ``1 - (1-p)^k``. All broadcast. Errors: ``InputError``. *Source*: Chen et al., Evaluating large
    language models trained on code (2021), equation 1.

    >>> round(pass_at_k(samples=10, correct=3, k=2), 9)            # 1 - C(7,2)/C(10,2)
    0.533333333
    """
    n, c, k_ = whole("samples", samples), whole("correct", correct, least=0), whole("k", k)
    if (c > n).any() or (k_ > n).any():
        raise InputError("samples", given=f"{np.min(n)}", expected="at least correct and at least k")

    def of(n: int, c: int, k: int) -> float:
        return 1.0 if n - c < k else 1 - math.comb(n - c, k) / math.comb(n, k)

    return each(of, n, c, k_)


def success_of_any(*, success: Real, samples: Whole) -> Real:
    """Chance that one of independent answers is right: ``1 - (1-p)^n``. *Exact*. All broadcast. Errors: ``InputError``.

    >>> success_of_any(success=0.5, samples=3)
    0.875
    """
    p, n = _chance(success), whole("samples", samples)
    with np.errstate(divide="ignore"):
        return plain(-np.expm1(n * np.log1p(-p)))


def success_of_majority(*, success: float, samples: int, wrong_answers: int) -> float:
    """Chance that the right answer is the most frequent, ties by lot, among ``w`` wrong ones that are as likely.

    ``sum_c b(c; n, p) E[1/(1+t); no wrong one has more than c of the n - c others]``, ``t`` how many wrong ones have
    just ``c``; as ``E[1/(1+t)] = int_0^1 E[s^t] ds``, the coefficient of ``x^(n-c)`` in
    ``(s f_c x^c + sum_{j<c} f_j x^j)^w``, integrated over ``s`` and over that of all ``j``, ``f`` Poisson of mean
    ``(n-c)/w``. *Exact*, to 1e-12. Takes one set of numbers. Errors: ``InputError``. *Source*: Poissonisation of the
    multinomial; two answers give Condorcet's theorem (1785).

    >>> round(success_of_majority(success=0.6, samples=3, wrong_answers=1), 9)     # p^3 + 3 p^2 (1-p)
    0.648
    """
    from scipy.special import gammaln, xlog1py, xlogy

    n, w = one_whole("samples", samples), one_whole("wrong_answers", wrong_answers)
    p = float(_chance(success))
    c = np.arange(1, n + 1)
    ways = gammaln(n + 1.0) - gammaln(c + 1.0) - gammaln(n - c + 1.0)
    chances = np.exp(ways + xlogy(c, p) + xlog1py(n - c, -p))
    won = (chance * _won(n - votes, w, votes) for votes, chance in enumerate(chances.tolist(), 1) if chance > LEAST)
    return min(math.fsum(won), 1.0)


def _won(others: int, answers: int, votes: int) -> float:
    """Chance that ``votes`` win against ``others``, each of which is for any of the wrong ``answers``."""
    from scipy.special import gammaln, roots_legendre, xlogy

    if others < votes:
        return 1.0
    j = np.arange(votes + 1)
    law = np.exp(xlogy(j, others / answers) - others / answers - gammaln(j + 1.0))
    size = 2 * others + 64  # the sum of the Poisson numbers is never so much beyond its mean that it wraps round
    below = np.fft.rfft(law[:-1], size)
    level = law[-1] * np.exp(-2j * np.pi * votes * np.arange(len(below)) / size)
    nodes, weights = roots_legendre(min(answers, others // votes) // 2 + 1)
    shares = [np.fft.irfft((below + (1 + node) / 2 * level) ** answers, size)[others] for node in nodes]
    together = math.exp(xlogy(others, others) - others - math.lgamma(others + 1.0))
    return float(np.clip(weights @ np.array(shares) / 2 / together, 0.0, 1.0))


def mean_attempts(*, success: Real, samples: Whole) -> Real:
    """Mean number of answers until the first right one, at most ``n``: ``(1 - (1-p)^n) / p``.

    *Exact*. All broadcast. Errors: ``InputError``. *Source*: ``sum_{k<n} P(more than k)`` of a geometric number.

    >>> mean_attempts(success=0.5, samples=3)
    1.75
    """
    return plain(np.asarray(success_of_any(success=success, samples=samples)) / _chance(success))


def _chance(success: Real) -> Floats:
    p = np.asarray(success, dtype=np.float64)
    if not (np.isfinite(p) & (p > 0) & (p <= 1)).all():
        raise InputError("success", given=success, expected="a chance above 0 and at most 1")
    return p


# Lengths


def longest_of(*, length: Marginal, samples: int) -> Law:
    """Law of the longest of independent answers: ``P(max <= m) = F(m)^n``.

    *Exact*. Errors: ``InputError``. *Source*: David and Nagaraja, Order Statistics (2003), section 2.1.

    >>> from secondorder.workloads.lengths import Uniform
    >>> longest_of(length=Uniform(1, 2), samples=2)
    (array([1, 2]), array([0.25, 0.75]))
    """
    values, weights = length.support()
    beyond = 1 - np.cumsum(weights[::-1])[::-1] + weights  # P(N <= m), summed from the far end
    below = np.clip(beyond, 0.0, 1.0) ** one_whole("samples", samples)
    return values, np.diff(below, prepend=0.0)


def total_until_success(*, length: Marginal, success: float, samples: int) -> Law:
    """Law of the tokens of answers one after the other until the first right one, at most ``samples``.

    Transform: ``sum_{k<n} p q^(k-1) f^k + q^(n-1) f^n``, ``f`` that of one length; inverted by FFT.
    *Exact* to rounding. Takes one set of numbers. Errors: ``InputError`` where the longest total exceeds 8 M tokens.
    *Source*: compound sums; Feller I (1968), section XII.1.

    >>> from secondorder.workloads.lengths import Fixed
    >>> values, chances = total_until_success(length=Fixed(2), success=0.5, samples=2)
    >>> values[chances > 1e-9], chances[chances > 1e-9]
    (array([2, 4]), array([0.5, 0.5]))
    """
    n, p = one_whole("samples", samples), float(_chance(success))
    values, weights = length.support()
    longest = int(values[-1]) * n
    if longest > LONGEST:
        expected = f"at most {LONGEST:,} tokens in all answers"
        raise InputError("length", given=f"up to {longest:,}", expected=expected, remedy="give the length a maximum")
    size = 1 << longest.bit_length()
    pmf = np.zeros(size)
    pmf[values] = weights
    one = np.fft.rfft(pmf)
    failed = (1 - p) * one
    stopped = np.zeros_like(one)
    for _ in range(n - 1):
        stopped = stopped * failed + p
    series = one * (stopped + failed ** (n - 1))  # the last attempt ends it either way
    found = np.clip(np.fft.irfft(series, size)[: longest + 1], 0.0, None)
    return np.arange(longest + 1), found / found.sum()


def mean_of(law: Law) -> float:
    """Mean of a law of tokens."""
    values, chances = law
    return float(values @ chances)


def quantile_of(law: Law, p: float) -> int:
    """The least value that is not exceeded with probability ``p``."""
    values, chances = law
    return int(values[min(int(np.searchsorted(np.cumsum(chances), p)), len(values) - 1)])


# The ladder


def solve_reasoning(scenario: Reasoning) -> Answer:
    """``tokens_mean``, ``latency_mean``, ``latency_p99``, ``success``, ``cost_mean`` of one question.

    ``tokens_mean``: output tokens. Order 0: ``samples`` answers of mean length, and the latency of one of them (of
    all of them, with until_success). Order 1: means: the mean number of attempts. Order 2: laws: answers made at once
    are done when the longest is; the law of the sum of those made one after the other.
    """
    s = scenario
    mean = s.answer.moment(1)
    attempts = float(s.samples if s.at_once else mean_attempts(success=s.success, samples=s.samples))
    rows = [
        _tokens(s.samples * mean, 0, "answers of mean length"),
        _latency(s, "latency_mean", mean if s.at_once else s.samples * mean, 0, "mean length"),
        *_cost(s, s.samples * mean, 0),
    ]
    if not s.at_once:
        rows += [
            _tokens(attempts * mean, 1, "mean attempts (Wald)"),
            _latency(s, "latency_mean", attempts * mean, 1, "mean attempts (Wald)"),
            *_cost(s, attempts * mean, 1),
        ]
    law = _law(s)
    source = "longest of the answers" if s.at_once else "sum until success"
    if law is not None:
        rows += [
            _latency(s, "latency_mean", mean_of(law), 2, source),
            _latency(s, "latency_p99", quantile_of(law, 0.99), 2, source),
        ]
    rows.append(_success(s))
    how = f"{s.strategy} {s.samples}, answers of {s.answer}"
    order = ("tokens_mean", "latency_mean", "latency_p99", "success", "cost_mean")
    rows.sort(key=lambda one: (order.index(one.metric), one.order))
    return Answer(scenario=s.name, estimates=tuple(rows), how=how)


def _law(s: Reasoning) -> Law | None:
    """Law of the tokens that the latency counts; None where its table would be too long."""
    if s.at_once:
        return longest_of(length=s.answer, samples=s.samples)
    if int(s.answer.support()[0][-1]) * s.samples > LONGEST:
        return None
    return total_until_success(length=s.answer, success=s.success, samples=s.samples)


def _tokens(amount: float, order: int, source: str) -> Rung:
    return Rung(
        metric="tokens_mean", amount=amount, unit="token", source=source, order=order, claim=Claim.APPROXIMATION
    )


def _latency(s: Reasoning, metric: str, tokens: float, order: int, source: str) -> Rung:
    seconds = si(s.prefill) + tokens * si(s.token_time)
    return Rung(metric=metric, amount=seconds, unit="s", source=source, order=order, claim=Claim.APPROXIMATION)


def _cost(s: Reasoning, tokens: float, order: int) -> list[Rung]:
    if s.input_price is None or s.output_price is None:
        return []
    amount = s.prompt_tokens * si(s.input_price) + tokens * si(s.output_price)
    source = "price of tokens"
    return [Rung(metric="cost_mean", amount=amount, unit="USD", source=source, order=order, claim=Claim.APPROXIMATION)]


def _success(s: Reasoning) -> Rung:
    if s.strategy == "majority":
        assert s.wrong_answers is not None
        chance = success_of_majority(success=s.success, samples=s.samples, wrong_answers=s.wrong_answers)
        source = "most frequent of the answers"
    else:
        chance, source = float(success_of_any(success=s.success, samples=s.samples)), "any of the answers"
    return Rung(metric="success", amount=chance, unit="", source=source, order=2, claim=Claim.APPROXIMATION)
