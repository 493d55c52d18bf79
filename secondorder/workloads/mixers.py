"""What lets tokens see each other in a layer: attention of several kinds, and recurrences with a state.

Each function gives a ``Layer`` of weights, cache and state. Names of weights are those of the released checkpoints.

*Sources*: Vaswani and others (2017) for attention; Ainslie and others, GQA (2023); DeepSeek-AI, DeepSeek-V2 (2024),
section 2.1, for latent attention, DeepSeek-V3.2 (2025), section 2, for its index; Gu and Dao, Mamba (2023); Dao and
Gu, Mamba-2 (2024); Yang and others, Gated delta networks (2024); Kimi Linear (2025); De and others, Griffin (2024);
Peng and others, RWKV-7 (2025). Shapes as the modules of transformers 5.24.0 have them.

>>> attention(hidden=4096, heads=32, kv_heads=8, head_dim=128).cached_values(1)
2048.0
>>> mamba2(hidden=4096, heads=128, head_dim=64, groups=1, state=128, convolution=4).parameters()
102286976.0
"""

from secondorder.workloads.layers import Cache, Layer, State, Weight


def vector(name: str, values: int) -> Weight:
    """A norm, a bias or another vector."""
    return Weight(name, values, kind="vector")


def vectors(*named: tuple[str, int]) -> tuple[Weight, ...]:
    """Those of them that have values."""
    return tuple(vector(name, values) for name, values in named if values)


def norms(hidden: int, count: int, *, bias: bool = False) -> Layer:
    """The norms of a layer, in one vector: a scale each, and a shift where they have a bias."""
    return Layer(weights=vectors(("layernorm", hidden * count * (2 if bias else 1))))


def attention(
    *,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    value_dim: int | None = None,
    window: int | None = None,
    bias: bool = False,
    output_bias: bool = False,
    norm: int = 0,
    gate: int = 0,
    sinks: int = 0,
    shared_cache: bool = False,
    values_are_keys: bool = False,
    inputs: int | None = None,
    prefix: str = "self_attn",
) -> Layer:
    """Attention of query heads over key-value heads.

    ``norm``: values of the norms of queries and keys; ``gate``: outputs of the gate on its result; ``sinks``: a value
    a head; ``shared_cache``: it reads an earlier layer's keys and values; ``values_are_keys``: no value matrix.
    """
    value_dim = head_dim if value_dim is None else value_dim
    width = hidden if inputs is None else inputs
    queries, keys, values = heads * head_dim, kv_heads * head_dim, kv_heads * value_dim
    weights = [Weight(f"{prefix}.q_proj", queries, width), Weight(f"{prefix}.o_proj", hidden, heads * value_dim)]
    biases = queries
    if not shared_cache:
        weights.append(Weight(f"{prefix}.k_proj", keys, width))
        biases += keys
        if not values_are_keys:
            weights.append(Weight(f"{prefix}.v_proj", values, width))
            biases += values
    if gate:
        weights.append(Weight(f"{prefix}.gate_proj", gate, width))
    plain = biases * bias + hidden * output_bias
    per_pair = 2.0 * heads * (head_dim + value_dim)
    kept = 0 if shared_cache else keys + values
    return Layer(
        weights=(*weights, *vectors((f"{prefix}.bias", plain), (f"{prefix}.norm", norm), (f"{prefix}.sinks", sinks))),
        caches=(Cache(kept, window=window, decode_flops=per_pair, prefill_flops=per_pair),),
    )


def latent_attention(
    *,
    hidden: int,
    heads: int,
    kv_rank: int,
    query_rank: int,
    rope_dim: int,
    nope_dim: int,
    value_dim: int,
    index_heads: int = 0,
    index_dim: int = 0,
    index_reads: int = 0,
    bias: bool = False,
    gate: int = 0,
    prefix: str = "self_attn",
) -> Layer:
    """Multi-head latent attention: one compressed vector of ``kv_rank + rope_dim`` values a token.

    Decoding works on it as it is, a prompt on expanded keys and values. With ``index_heads`` an index of ``index_dim``
    values a token chooses the ``index_reads`` tokens that a query reads.
    """
    per_query, cached = nope_dim + rope_dim, kv_rank + rope_dim
    query: tuple[Weight, ...]
    if query_rank:
        query = (
            Weight(f"{prefix}.q_a_proj", query_rank, hidden),
            Weight(f"{prefix}.q_b_proj", heads * per_query, query_rank),
        )
    else:
        query = (Weight(f"{prefix}.q_proj", heads * per_query, hidden),)
    weights = (
        *query,
        Weight(f"{prefix}.kv_a_proj_with_mqa", cached, hidden),
        Weight(f"{prefix}.kv_b_proj", heads * (nope_dim + value_dim), kv_rank),
        Weight(f"{prefix}.o_proj", hidden, heads * value_dim),
        *((Weight(f"{prefix}.g_proj", gate, hidden),) if gate else ()),
        *vectors((f"{prefix}.norm", kv_rank + query_rank), (f"{prefix}.bias", bias * (query_rank + cached + hidden))),
    )
    cache = Cache(
        cached,
        reads=index_reads or None,
        decode_flops=2.0 * heads * (2 * kv_rank + rope_dim),
        prefill_flops=2.0 * heads * (per_query + value_dim),
    )
    layer = Layer(weights=weights, caches=(cache,))
    return layer + _index(hidden, query_rank, index_heads, index_dim, prefix) if index_heads else layer


def _index(hidden: int, query_rank: int, heads: int, dim: int, prefix: str) -> Layer:
    per_pair = 2.0 * heads * dim
    return Layer(
        weights=(
            Weight(f"{prefix}.indexer.wq_b", heads * dim, query_rank or hidden),
            Weight(f"{prefix}.indexer.wk", dim, hidden),
            Weight(f"{prefix}.indexer.weights_proj", heads, hidden, kind="router"),
            vector(f"{prefix}.indexer.k_norm", 2 * dim),
        ),
        caches=(Cache(dim, decode_flops=per_pair, prefill_flops=per_pair),),
    )


def mamba1(
    *,
    hidden: int,
    inner: int,
    state: int,
    convolution: int,
    rank: int,
    convolution_bias: bool = True,
    bias: bool = False,
    norm: int = 0,
    heads: int = 1,
    precision: str | None = "fp32",
    prefix: str = "mixer",
) -> Layer:
    """A selective state space, ``inner * state`` values a sequence, and the last inputs of its convolution."""
    weights = (
        Weight(f"{prefix}.in_proj", 2 * inner, hidden),
        Weight(f"{prefix}.x_proj", heads * (rank + 2 * state), inner // heads),
        Weight(f"{prefix}.dt_proj", inner, rank),
        Weight(f"{prefix}.out_proj", hidden, inner),
        *vectors(
            (f"{prefix}.A_log", inner * state),
            (f"{prefix}.conv1d", inner * (convolution + convolution_bias)),
            (f"{prefix}.D", 2 * inner),
            (f"{prefix}.bias", bias * (2 * inner + hidden)),
            (f"{prefix}.norm", norm),
        ),
    )
    return Layer(weights=weights, states=(State(inner * state, precision), State(inner * (convolution - 1))))


def mamba2(
    *,
    hidden: int,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    convolution: int,
    norm: bool = True,
    convolution_bias: bool = True,
    bias: bool = False,
    precision: str | None = "fp32",
    prefix: str = "mixer",
) -> Layer:
    """A state space with scalar decay: ``heads * head_dim * state`` values a sequence, and its convolution's inputs."""
    inner = heads * head_dim
    mixed = inner + 2 * groups * state
    weights = (
        Weight(f"{prefix}.in_proj", inner + mixed + heads, hidden),
        Weight(f"{prefix}.out_proj", hidden, inner),
        *vectors(
            (f"{prefix}.conv1d", mixed * (convolution + convolution_bias)),
            (f"{prefix}.A_log", 3 * heads),
            (f"{prefix}.norm", norm * inner),
            (f"{prefix}.bias", bias * (inner + mixed + heads + hidden)),
        ),
    )
    return Layer(weights=weights, states=(State(inner * state, precision), State(mixed * (convolution - 1))))


def gated_delta_net(
    *,
    hidden: int,
    key_heads: int,
    value_heads: int,
    key_dim: int,
    value_dim: int,
    convolution: int,
    precision: str | None = "fp32",
    prefix: str = "linear_attn",
) -> Layer:
    """Linear attention with the delta rule: a matrix of ``key_dim`` by ``value_dim`` for each value head."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    mixed = 2 * keys + values
    weights = (
        Weight(f"{prefix}.in_proj_qkv", mixed, hidden),
        Weight(f"{prefix}.in_proj_z", values, hidden),
        Weight(f"{prefix}.in_proj_b", value_heads, hidden, kind="router"),
        Weight(f"{prefix}.in_proj_a", value_heads, hidden, kind="router"),
        Weight(f"{prefix}.out_proj", hidden, values),
        vector(f"{prefix}.conv1d", mixed * convolution),
        vector(f"{prefix}.A_log", 2 * value_heads),
        vector(f"{prefix}.norm", value_dim),
    )
    states = State(value_heads * key_dim * value_dim, precision), State(mixed * (convolution - 1))
    return Layer(weights=weights, states=states)


def kimi_delta_attention(
    *,
    hidden: int,
    heads: int,
    head_dim: int,
    convolution: int,
    rank: int,
    gate_rank: int,
    precision: str | None = "fp32",
    prefix: str = "self_attn",
) -> Layer:
    """The delta rule with a decay for each channel; rank 0: decay or output gate by one whole matrix."""
    width = heads * head_dim
    weights = [Weight(f"{prefix}.{name}_proj", width, hidden) for name in "qkv"]
    for name, low in (("f", rank), ("g", gate_rank)):
        if low:
            weights.append(Weight(f"{prefix}.{name}_a_proj", low, hidden))
            weights.append(Weight(f"{prefix}.{name}_b_proj", width, low))
        else:
            weights.append(Weight(f"{prefix}.{name}_proj", width, hidden))
    weights += [
        Weight(f"{prefix}.b_proj", heads, hidden, kind="router"),
        Weight(f"{prefix}.o_proj", hidden, width),
        vector(f"{prefix}.conv1d", 3 * width * convolution),
        vector(f"{prefix}.A_log", width + heads),
        vector(f"{prefix}.o_norm", head_dim),
    ]
    states = State(heads * head_dim * head_dim, precision), State(3 * width * (convolution - 1))
    return Layer(weights=tuple(weights), states=states)


def lightning_attention(
    *, hidden: int, heads: int, head_dim: int, precision: str | None = "fp32", prefix: str = "self_attn"
) -> Layer:
    """Linear attention with a fixed decay a head, its output normed and gated."""
    width = heads * head_dim
    weights = (
        Weight(f"{prefix}.qkv_proj", 3 * width, hidden),
        Weight(f"{prefix}.output_gate", width, hidden),
        Weight(f"{prefix}.out_proj", hidden, width),
        vector(f"{prefix}.norm", width),
    )
    return Layer(weights=weights, states=(State(heads * head_dim * head_dim, precision),))


def short_convolution(*, hidden: int, taps: int, bias: bool = False, prefix: str = "conv") -> Layer:
    """A gated convolution over the last ``taps`` tokens, whose inputs it keeps."""
    weights = (
        Weight(f"{prefix}.in_proj", 3 * hidden, hidden),
        Weight(f"{prefix}.out_proj", hidden, hidden),
        vector(f"{prefix}.conv", hidden * (taps + 5 * bias)),
    )
    return Layer(weights=weights, states=(State(hidden * taps),))


def gated_linear_recurrence(
    *, hidden: int, width: int, heads: int, convolution: int, prefix: str = "temporal_block"
) -> Layer:
    """The recurrent block of Griffin: two branches, a convolution, gates in ``heads`` blocks, one state a channel."""
    block = width // heads
    weights = (
        Weight(f"{prefix}.linear_y", width, hidden),
        Weight(f"{prefix}.linear_x", width, hidden),
        Weight(f"{prefix}.linear_out", hidden, width),
        Weight(f"{prefix}.rg_lru.gates", block, block, copies=2 * heads, kind="router"),
        vector(f"{prefix}.bias", 2 * width + hidden + 3 * width + width * (convolution + 1)),
    )
    return Layer(weights=weights, states=(State(width, "fp32"), State(width * (convolution - 1))))
