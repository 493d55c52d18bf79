"""A queue through the day: the rate of arrivals and the servers on duty change from hour to hour."""

from secondorder.answers.declared import ROSTER
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.roster:Roster",
    title="A queue through the day: the rate of arrivals and the servers on duty change from hour to hour.",
    example=(
        '--rate "40 request/hour" --profile "0.4 0.8 1.6 1.2" --service "exponential 5 min" --servers "2, 4, 8, 6"'
    ),
    closed_form="secondorder.analytic.roster:solve_roster",
    simulator="secondorder.simulate.roster:simulate_roster",
    metrics=ROSTER,
)
