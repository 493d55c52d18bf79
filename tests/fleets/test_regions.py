"""Regions, facilities and prices: every figure has a source and a sane size, and what is not known is absent."""

import pytest

from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.fleets.accelerators import accelerators
from secondorder.fleets.prices import Quote, prices, quotes
from secondorder.fleets.regions import Facility, Region, facilities, regions
from secondorder.quantities import si

NO_FIGURES = {"name", "note", "sources", "accelerator"}


def figures(entry):
    return {name for name, value in vars(entry).items() if name not in NO_FIGURES and value is not None}


@pytest.mark.parametrize("zoo", [regions, facilities, prices], ids=["regions", "facilities", "prices"])
def test_every_figure_has_a_dated_source(zoo):
    for name, entry in zoo.items():
        assert figures(entry) <= set(entry.sources), name
        for source in entry.sources.values():
            assert source.title, name
            assert source.date[:2] == "20", name
            assert source.url.startswith("https://"), name
            assert source.checked or source.note, f"{name}: neither read nor said how it was compared"


def test_intensities_are_of_grids_that_exist():
    assert len(regions) >= 12
    for name, region in regions.items():
        assert 0.001 <= si(region.carbon_intensity) <= 1.2, name
        assert 2020 <= region.year <= 2026, name
        if region.electricity_price is not None:
            assert 0.01 <= si(region.electricity_price) <= 0.5, name


def test_the_basis_follows_the_source():
    for name, region in regions.items():
        direct = "eGRID" in region.sources["carbon_intensity"].title
        assert region.basis == ("direct" if direct else "life cycle"), name


def test_known_figures_are_the_primary_ones():
    """Ember 2023 in g/kWh; the reference had 820 for Poland and 10 for Norway."""
    assert si(regions.poland.carbon_intensity) == pytest.approx(0.662)
    assert si(regions.norway.carbon_intensity) == pytest.approx(0.030)
    assert si(regions.us_virginia.electricity_price) == pytest.approx(0.0892)


def test_facilities_are_of_data_centres_that_exist():
    for name, facility in facilities.items():
        assert 1 <= facility.pue <= 2, name
        assert facility.wue is None or 0 < si(facility.wue) <= 3, name
    assert facilities.meta.wue is None


def test_prices_are_of_this_decade_and_of_known_parts():
    for name, quote in prices.items():
        assert quote.accelerator in accelerators, name
        assert (quote.rental is None) != (quote.purchase is None), name
        if quote.rental is not None:
            assert 0.1 <= si(quote.rental) <= 20, name
        else:
            assert 500 <= si(quote.purchase) <= 60_000, name


def test_quotes_are_found_by_accelerator():
    assert {"aws_p5", "buy_h100_server"} <= set(quotes("h100_sxm"))
    with pytest.raises(InputError, match="accelerator: got 'abacus', whose price is not known"):
        quotes("abacus")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Region(name="x", carbon_intensity=400, basis="direct", year=2023), UnitError, "carbon_intensity"),
        (lambda: Region(name="x", carbon_intensity="0 gCO2e/kWh", basis="direct", year=2023), InputError, "positive"),
        (lambda: Region(name="x", carbon_intensity="1 gCO2e/kWh", basis="wrong", year=2023), UnknownName, "basis"),
        (lambda: Region(name="x", carbon_intensity="1 USD/kWh", basis="direct", year=2023), UnitError, "carbon"),
        (lambda: Facility(name="x", pue=0.9), InputError, "pue"),
        (lambda: Facility(name="x", pue=1.1, wue="1 L"), UnitError, "wue"),
        (lambda: Quote(name="x", accelerator="t4"), InputError, "neither of rental and purchase"),
        (lambda: Quote(name="x", accelerator="t4", rental="1 USD/hour", purchase="1 USD"), InputError, "both"),
        (lambda: Quote(name="x", accelerator="t4", rental="0 USD/hour"), InputError, "positive"),
        (lambda: regions.polnad, UnknownName, "did you mean poland"),
    ],
)
def test_wrong_figures_are_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()
