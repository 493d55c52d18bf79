"""Answers and comparisons as plain JSON values, and back."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from secondorder.answers.answer import COLUMNS, Answer
from secondorder.answers.estimate import Claim, Estimate, Steadiness
from secondorder.scenarios.step_band import StepBand
from secondorder.validation.comparison import Comparison

Record: TypeAlias = dict[str, Any]
Result: TypeAlias = Answer | Comparison


def record_of(result: Result) -> Record:
    """A result as JSON has it, without the requests and series of a simulation.

    >>> answer = Answer(scenario="a", estimates=(Estimate(metric="wait", amount=0.1, source="Erlang", order=2),))
    >>> result_of(record_of(answer)) == answer
    True
    """
    if isinstance(result, Comparison):
        solved, simulated = record_of(result.solved), record_of(result.simulated)
        return {"scenario": result.scenario, "margin": result.margin, "solved": solved, "simulated": simulated}
    estimates = [{field.name: _plain(getattr(each, field.name)) for field in _FIELDS} for each in result.estimates]
    return {"scenario": result.scenario, "how": result.how, "estimates": estimates}


def result_of(record: Mapping[str, Any]) -> Result:
    """The result that a record is of."""
    if "solved" in record:
        return Comparison(
            scenario=record["scenario"],
            solved=answer_of(record["solved"]),
            simulated=answer_of(record["simulated"]),
            margin=record["margin"],
        )
    return answer_of(record)


def rows_of(record: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """A record as rows of a table: those of its result, or one for each of the values of a replication."""
    if "refused" in record:
        yield {**dict.fromkeys(COLUMNS), "verdict": "infeasible", "note": record["refused"]}
    elif "solved" in record or "estimates" in record:
        for row in result_of(record).frame.to_dict("records"):
            yield {str(name): value for name, value in row.items()}
    else:
        for metric, value in record.items():
            yield {**dict.fromkeys(COLUMNS), "metric": metric, "value": value}


_FIELDS = fields(Estimate)


def answer_of(record: Mapping[str, Any]) -> Answer:
    """The answer that a record is of."""
    return Answer(scenario=record["scenario"], how=record["how"], estimates=tuple(map(_estimate, record["estimates"])))


def _estimate(values: Mapping[str, Any]) -> Estimate:
    claim = None if values["claim"] is None else Claim(values["claim"])
    band = StepBand(*values["band"]) if values.get("band") else None
    return Estimate(**{**values, "claim": claim, "steadiness": Steadiness(values["steadiness"]), "band": band})


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if hasattr(value, "item") else value
