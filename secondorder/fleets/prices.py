"""Prices of accelerators, to rent and to buy, each with its day and source.

>>> prices.aws_p5.rental, prices.buy_h100_server.purchase
(<Quantity(6.88, 'USD / hour')>, <Quantity(33600.0, 'USD')>)
>>> prices.aws_p5.purchase is None                       # not known, never 0
True
>>> list(quotes("gh200"))
['lambda_gh200']
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from secondorder.errors import InputError
from secondorder.quantities import Checked, Quantity, Unit
from secondorder.zoo import Source, Zoo, read_entries

Money = Annotated[Quantity | str, Unit("USD", positive=True)]
Rental = Annotated[Quantity | str, Unit("USD/hour", positive=True)]


@dataclass(frozen=True, kw_only=True)
class Quote(Checked):
    """What one ``accelerator`` costs: ``rental`` for an hour with its host, or ``purchase``.

    ``accelerator`` is its name in the zoo of accelerators.
    """

    name: str
    accelerator: str
    rental: Rental | None = None
    purchase: Money | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rental is None) == (self.purchase is None):
            given = "neither" if self.rental is None else "both"
            raise InputError("rental", given=f"{given} of rental and purchase", expected="one price a quote")


def quotes(accelerator: str) -> dict[str, Quote]:
    """The quotes of one accelerator, by name; ``InputError`` where there are none.

    >>> quotes("stm32f407")
    Traceback (most recent call last):
    secondorder.errors.InputError: accelerator: got 'stm32f407', whose price is not known, expected one of ... that
    have a price
    """
    if found := {name: quote for name, quote in prices.items() if quote.accelerator == accelerator}:
        return found
    known = {quote.accelerator for _, quote in prices.items()}
    given, expected = f"{accelerator!r}, whose price is not known", f"one of {len(known)} that have a price"
    raise InputError("accelerator", given=given, expected=expected)


def _prices() -> dict[str, Quote]:
    entries = read_entries("secondorder.fleets", "prices.toml")
    return {name: Quote(**fields, sources=sources) for name, (fields, sources) in entries.items()}


prices: Zoo[Quote] = Zoo("prices", _prices)
