"""What tokens cost at a rate: the whole price over the input tokens, or over the output tokens."""

from collections.abc import Iterator

from secondorder.answers.estimate import Estimate


def token_costs(
    cost_rate: float, rate: float, mean_input: float, mean_output: float, source: str, order: int | None
) -> Iterator[Estimate]:
    """USD per input token and per output token (shown for a million), each as if the other were free.

    ``cost_rate`` in USD/s, ``rate`` in request/s, lengths in tokens a request.

    >>> [str(e) for e in token_costs(0.01, 10.0, 1000.0, 100.0, "price given", 1)]
    ['1 USD/Mtoken', '10 USD/Mtoken']
    """
    for metric, tokens in (("input", mean_input), ("output", mean_output)):
        yield Estimate(
            metric=f"cost_per_{metric}_token",
            amount=cost_rate / (rate * tokens),
            unit="USD/token",
            source=source,
            order=order,
            note=f"all of the cost over the {metric} tokens",
        )
