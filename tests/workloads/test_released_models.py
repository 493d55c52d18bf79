"""Released models whose config.json carries every key that such files have: read, and within .6 % of the card's count.

``released.json`` holds their keys and the rounded count of the model's card or paper.
"""

import json
from pathlib import Path

import pytest

from secondorder.workloads.huggingface import from_values

RELEASED = json.loads((Path(__file__).parent / "released.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_is_read_whole_and_meets_the_card(name: str) -> None:
    model = from_values(RELEASED[name]["config"], path=Path(name))
    assert model.parameters == pytest.approx(RELEASED[name]["parameters"], rel=0.006)


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_with_a_key_more_is_refused(name: str) -> None:
    """A key of a shape that nobody knows is never passed over."""
    with pytest.raises(ValueError, match="num_strange_layers: got 3"):
        from_values(RELEASED[name]["config"] | {"num_strange_layers": 3}, path=Path(name)) if (
            "text_config" not in RELEASED[name]["config"]
        ) else from_values(
            {"model_type": "x", "text_config": RELEASED[name]["config"]["text_config"] | {"num_strange_layers": 3}},
            path=Path(name),
        )
