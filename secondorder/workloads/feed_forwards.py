"""What a layer does with each token alone: a feed-forward network, or a mixture of experts.

>>> mixture(hidden=4096, count=8, top_k=2, intermediate=14336).parameters() / 1e9
1.409318912
>>> mixture(hidden=4096, count=8, top_k=2, intermediate=14336).parameters(experts=2) / 1e9
0.352354304
"""

from secondorder.workloads.layers import Layer, Weight
from secondorder.workloads.mixers import vectors


def dense(*, hidden: int, intermediate: int, gated: bool = True, bias: bool = False, prefix: str = "mlp") -> Layer:
    """Two matrices, or three where gated."""
    if not intermediate:
        return Layer()
    ups = ("gate_proj", "up_proj") if gated else ("up_proj",)
    weights = [Weight(f"{prefix}.{name}", intermediate, hidden) for name in ups]
    weights.append(Weight(f"{prefix}.down_proj", hidden, intermediate))
    biases = bias * (len(ups) * intermediate + hidden)
    return Layer(weights=(*weights, *vectors((f"{prefix}.bias", biases))))


def mixture(
    *,
    hidden: int,
    count: int,
    top_k: int,
    intermediate: int,
    gated: bool = True,
    bias: bool = False,
    shared: int = 0,
    shared_gate: bool = False,
    correction: bool = False,
    routes: int | None = None,
    inner: int | None = None,
    prefix: str = "mlp",
    shared_prefix: str = "mlp.shared_experts",
) -> Layer:
    """``top_k`` of ``count`` experts see each token, and a shared one of width ``shared`` does, where there is one.

    ``routes``: rows of the router, where some routes lead to no expert; ``correction``: a bias in choosing;
    ``shared_gate``: the shared expert's result is gated; ``inner``: width that the experts work on, where a matrix
    narrows the layer's own.
    """
    ups = ("gate_proj", "up_proj") if gated else ("up_proj",)
    width, rows = inner or hidden, routes or count
    experts = [Weight(f"{prefix}.experts.0.{name}", intermediate, width, count, top_k) for name in ups]
    experts.append(Weight(f"{prefix}.experts.0.down_proj", width, intermediate, count, top_k))
    if bias:
        each = len(ups) * intermediate + width
        experts.append(Weight(f"{prefix}.experts.0.bias", each, 1, count, top_k, "vector"))
    if inner:
        experts.append(Weight(f"{prefix}.fc1_latent_proj", inner, hidden))
        experts.append(Weight(f"{prefix}.fc2_latent_proj", hidden, inner))
    weights = (
        Weight(f"{prefix}.gate", rows, hidden, kind="router"),
        *experts,
        *vectors(
            (f"{prefix}.gate.bias", rows * (correction + bias)), (f"{prefix}.shared_expert_gate", hidden * shared_gate)
        ),
    )
    return Layer(weights=weights) + dense(hidden=hidden, intermediate=shared, gated=gated, prefix=shared_prefix)
