"""Quantities at the door: units are read, refused and kept; fields are checked by their annotations."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given
from hypothesis import strategies as st

import secondorder as so
from secondorder.errors import InputError, UnitError
from secondorder.quantities import Checked, Count, Duration, Rate, pretty, quantity, si

READ = [
    ("250 ms", "s", 0.25),
    ("5min", "s", 300.0),
    ("100 µs", "s", 1e-4),
    ("8 requests/s", "request/s", 8.0),
    ("480 request/min", "request/s", 8.0),
    ("3.35 TB/s", "byte/s", 3.35e12),
    ("80 GiB", "byte", 80 * 2**30),
    ("400 Gbit/s", "byte/s", 5e10),
    ("989 TFLOP/s", "FLOP/s", 9.89e14),
    ("400 gCO2e/kWh", "kgCO2e/joule", 0.4 / 3.6e6),
    ("2.5 USD/h", "USD/s", 2.5 / 3600),
    ("80%", "", 0.8),
    ("1_000 s", "s", 1000.0),
    ("6 job/hour", "job/s", 6 / 3600),
    ("500 samples/s", "sample/s", 500.0),
    ("3 USD/Mtoken", "USD/token", 3e-6),
]


@pytest.mark.parametrize(("text", "unit", "value"), READ)
def test_a_quantity_is_read_in_the_unit_of_its_field(text, unit, value):
    assert si(quantity(text, unit)) == pytest.approx(value, rel=1e-12)


REFUSED = [
    (8, "request/s", UnitError, r'got 8 without a unit, expected a quantity in request/s; write "8 request/s"'),
    ("8", "request/s", UnitError, r"got 8 without a unit"),
    ("8 token/s", "request/s", UnitError, r"token / time"),
    ("8 GB", "s", UnitError, r"expected a quantity in s"),
    ("6 request/hour", "job/s", UnitError, r"request / time.*, expected a quantity in job/s$"),
    ("500 request/s", "sample/s", UnitError, r"expected a quantity in sample/s$"),
    ("8 Req/s", "request/s", UnitError, r"'Req/s' is not a unit"),
    ("nan s", "s", InputError, r"finite"),
    ("inf s", "s", InputError, r"finite"),
    ("", "s", InputError, r"expected a quantity in s"),
    ("fast", "s", InputError, r"got 'fast'"),
    ("1/0 s", "s", InputError, r"got '1/0 s'"),
    (None, "s", UnitError, r"without a unit"),
    ([1], "s", UnitError, r"without a unit"),
]


@pytest.mark.parametrize(("given", "unit", "error", "message"), REFUSED)
def test_what_is_not_a_quantity_in_the_unit_is_refused_in_one_line(given, unit, error, message):
    with pytest.raises(error, match=message) as caught:
        quantity(given, unit, "field")
    assert str(caught.value).startswith("field: got ")
    assert "\n" not in str(caught.value)


def test_tokens_are_not_requests():
    with pytest.raises(Exception, match="convert"):
        quantity("8 request", "request") + quantity("8 token", "token")


@given(st.floats(1e-12, 1e18), st.sampled_from(["s", "byte", "FLOP/s", "request/s", "USD", "W"]))
def test_a_quantity_survives_text_and_pickle(value, unit):
    made = quantity(f"{value!r} {unit}", unit)
    assert made.magnitude == value
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(pickle.loads(pickle.dumps(made))) == hash(made)


def test_a_quantity_of_another_registry_is_read_by_its_text():
    import pint

    assert si(quantity(pint.UnitRegistry()("2 minute"), "s")) == 120.0


@given(st.floats(1e-9, 1e17))
def test_pretty_text_is_within_half_a_digit_of_the_value(value):
    text = pretty(value, "byte/s").replace(",", "")
    number, unit = text.split(" ")
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}[unit.removesuffix("B/s")]
    assert float(number) * scale == pytest.approx(value, rel=0.006)


@given(
    st.floats(1e-9, 1e12),
    st.sampled_from(["s", "byte", "FLOP/s", "token", "token/s", "job/s", "USD/token", "kgCO2e/token", "kWh", "USD"]),
)
def test_pretty_text_reads_back_to_the_value_in_any_unit(value, unit):
    assert si(quantity(pretty(value, unit).replace(",", ""), unit)) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.9999, "1 s"),
        (999.4, "999 s"),
        (999.6, "16.7 min"),
        (3599.0, "1 h"),
        (86_399.0, "1 day"),
        (54 * 86_400.0, "54 day"),
        (365 * 86_400.0, "365 day"),
        (3.156e7, "1 year"),
        (-7200.0, "-2 h"),
        (0.0, "0 s"),
    ],
)
def test_a_time_is_told_in_the_largest_unit_that_it_is_one_of(seconds, shown):
    assert pretty(seconds, "s") == shown


def test_no_number_rounds_to_a_power_of_ten_with_an_exponent():
    assert pretty(999.7, "request/s") == "1,000 request/s"


@dataclass(frozen=True, kw_only=True)
class Example(Checked):
    rate: Rate
    wait: Duration | None = None
    servers: Count = 1
    share: Annotated[float, Gt(0), Le(1)] = 0.5
    free: Annotated[float, Ge(0), Lt(1)] = 0.5
    on: bool = False
    inner: so.Poisson | None = None
    slow: Mapping[int, float] | Mapping[str, float] | None = None
    weights: Sequence[float] | str | None = None


GOOD = {"rate": "8 request/s"}
BAD_FIELDS = [
    ({"rate": 8}, r"rate: got 8 without a unit"),
    ({"rate": "0 request/s"}, r"rate: got 0 request/s, expected a positive quantity"),
    ({"wait": "-1 s"}, r"wait: got -1 s, expected a non-negative quantity"),
    ({"servers": 0}, r"servers: got 0, expected an integer of at least 1"),
    ({"servers": 1.5}, r"servers: got 1.5, expected an integer"),
    ({"servers": 1e23}, r"servers: got 1e\+23, expected an integer of at least 1, no larger than 2\^53"),
    ({"servers": True}, r"servers: got True, expected an integer"),
    ({"servers": "3"}, r"servers: got '3', expected an integer"),
    ({"servers": 10**400}, r"servers: got 10+\.\.\.0+ \(\d+ characters\), expected an integer"),
    ({"share": float("nan")}, r"share: got nan"),
    ({"share": 1.01}, r"share: got 1.01, expected a number above 0 and at most 1"),
    ({"free": 1}, r"free: got 1, expected a number of at least 0 and below 1"),
    ({"on": 1}, r"on: got 1, expected true or false"),
    ({"inner": "poisson"}, r"inner: got '' without rate, expected poisson <rate>"),
    ({"slow": "3=2"}, r"slow: got '3=2', expected a table$"),
    ({"weights": 3}, r"weights: got 3, expected a list of numbers or a line of text$"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_FIELDS)
def test_a_field_out_of_its_bounds_is_refused_by_name(fields, message):
    with pytest.raises(InputError, match=message):
        Example(**{**GOOD, **fields})


def test_fields_keep_their_quantity_so_that_replace_works():
    changed = replace(Example(**GOOD), servers=3)
    assert changed.rate == quantity("8 request/s", "request/s")
    assert replace(changed, rate="1 request/min").rate.magnitude == pytest.approx(1 / 60)
    assert hash(changed) == hash(replace(changed))


def test_a_quantity_whose_square_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"wait: got 1e200 s, expected a quantity of at most 1e\+150 s"):
        quantity("1e200 s", "s", "wait")
    with pytest.raises(InputError, match=r"service: got 1e-300 s, expected a quantity of at least 1e-150 s"):
        so.Queue(arrivals="poisson 8 request/s", service="1e-300 s")


def test_an_array_in_the_place_of_a_number_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"servers: got array\(\[1., 2.\]\), expected an integer"):
        so.Queue(arrivals="poisson 8 request/s", service="100 ms", servers=np.array([1.0, 2.0]))
