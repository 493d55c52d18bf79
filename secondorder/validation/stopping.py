"""How long a queue must be simulated for a wanted precision, planned before the simulation."""

import math

from secondorder.analytic.queues.run_length import customers_needed


def planned_customers(
    *,
    arrival_rate: float,
    service_rate: float,
    relative_half_width: float,
    arrival_scv: float = 1.0,
    service_scv: float = 1.0,
    confidence: float = 0.95,
) -> int:
    """Customers in all after which the mean wait at one server is known to a relative half-width.

    M/M/1's (Daley's asymptotic variance) times ``(ca2 + cs2)/2``. *Exact* in the limit of long
    runs for M/M/1; the factor is the heavy-traffic *approximation*. With ``n`` replications
    Student's ``t`` takes the place of the normal's 1.96: 4/3 of it for 10. Rates in 1/s. Errors:
    ``Unstable``, ``InputError``. ``simulate.statistics.precision.replicate_until`` tells afterwards what it did take.

    *Source*: Daley 1968; Whitt, Planning queueing simulations (1989), sections 2 and 4.

    >>> planned_customers(arrival_rate=0.8, service_rate=1.0, relative_half_width=0.01)
    4744202
    """
    customers = customers_needed(
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        relative_half_width=relative_half_width,
        confidence=confidence,
    )
    return math.ceil(float(customers) * (arrival_scv + service_scv) / 2)
