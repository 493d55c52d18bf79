"""Claims about the models: counts meet what was published, and a config.json gives the same shape."""

import dataclasses
import tomllib
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.workloads.models import models
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Experts, LatentAttention, Transformer

TRANSFORMERS = [name for name, model in models.items() if isinstance(model, Transformer)]
NETWORKS = [name for name, model in models.items() if isinstance(model, Network)]

PUBLISHED = {
    "gpt_2": 124_439_808,
    "gpt_2_xl": 1_557_611_200,
    "gpt_3_175b": 174.6e9,
    "opt_175b": 175e9,
    "bloom_176b": 176_247_271_424,
    "falcon_40b": 41_303_293_952,
    "yi_34b": 34_388_917_248,
    "llama_2_7b": 6_738_415_616,
    "llama_2_13b": 13_015_864_320,
    "llama_2_70b": 68_976_648_192,
    "llama_3_1_8b": 8.03e9,
    "llama_3_1_70b": 70.6e9,
    "llama_3_1_405b": 405.8e9,
    "llama_3_2_1b": 1.23e9,
    "llama_3_2_3b": 3.21e9,
    "mistral_7b": 7_248_023_552,
    "mixtral_8x7b": 46.7e9,
    "mixtral_8x22b": 141e9,
    "phi_3_mini": 3_821_079_552,
    "phi_4": 14_659_507_200,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1.54e9,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7.61e9,
    "qwen2_5_14b": 14_770_033_664,
    "qwen2_5_32b": 32_763_876_352,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_0_6b": 596_049_920,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "qwen3_32b": 32.8e9,
    "qwen3_30b_a3b": 30.5e9,
    "qwen3_235b_a22b": 235e9,
    "deepseek_v2": 236e9,
    "deepseek_v2_lite": 15_706_484_224,
    "deepseek_v3": 671e9,
    "deepseek_r1": 671e9,
    "deepseek_v3_2": 671_877_944_064,
    "kimi_k2": 1_026_408_235_864,
    "glm_4_7": 352_797_829_024,
    "glm_5": 744e9,
    "minimax_m2_5": 228_703_644_928,
    "qwen3_coder_480b_a35b": 480_154_875_392,
    "qwen3_5_27b": 26_895_998_464,
    "qwen3_5_35b_a3b": 34_660_610_688,
    "qwen3_5_397b_a17b": 396_346_350_336,
    "gemma_2_9b": 9_241_705_984,
    "gemma_3_27b": 27_009_346_304,
    "nemotron_3_nano_30b_a3b": 31_577_937_344,
    "granite_4_h_small": 32_207_337_984,
    "exaone_4_32b": 32_003_216_384,
    "ernie_4_5_21b_a3b": 21_825_437_888,
    "falcon_h1_7b": 7_585_654_880,
    "olmo_2_32b": 32_234_279_936,
    "phi_4_mini": 3_836_021_760,
    "solar_open_100b": 102_651_793_408,
    "gpt_oss_20b": 20.91e9,
    "gpt_oss_120b": 116.83e9,
    "qwen3_next_80b_a3b": 79_674_391_296,
    "llama_4_scout": 107_769_861_120,
    "llama_4_maverick": 400e9,
    "mistral_small_3_1": 23.6e9,
    "smollm3_3b": 3_075_098_624,
    "seed_oss_36b": 36e9,
    "kimi_linear_48b_a3b": 49.1e9,
}
"""Totals by the model's card, paper or announcement; those to the last digit as transformers 5.23.0 builds the model,
biases included."""

RELEASED = {
    "llama_3_1_8b": 8_030_261_248,
    "llama_3_1_70b": 70_553_706_496,
    "llama_3_1_405b": 405_853_388_800,
    "qwen3_32b": 32_762_123_264,
    "qwen3_30b_a3b": 30_532_122_624,
    "mixtral_8x7b": 46_702_792_704,
    "yi_34b": 34_388_917_248,
    "llama_2_7b": 6_738_415_616,
    "llama_2_13b": 13_015_864_320,
    "llama_2_70b": 68_976_648_192,
    "llama_3_2_1b": 1_235_814_400,
    "mistral_7b": 7_248_023_552,
    "qwen3_0_6b": 596_049_920,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "phi_3_mini": 3_821_079_552,
    "phi_4": 14_659_507_200,
    "deepseek_v2_lite": 15_706_484_224,
}
"""Parameters in the released weight files, or as transformers 5.23.0 builds them, of models without biases."""

KV_BYTES = {
    "llama_3_1_8b": 131_072,
    "llama_3_1_70b": 327_680,
    "llama_3_1_405b": 516_096,
    "qwen3_32b": 262_144,
    "qwen3_30b_a3b": 98_304,
    "mixtral_8x7b": 131_072,
    "deepseek_v3": 61 * 576 * 2,
    "gpt_3_175b": 4_718_592,
    "llama_2_7b": 524_288,
    "llama_2_70b": 327_680,
    "qwen2_5_7b": 57_344,
    "deepseek_v2": 60 * 576 * 2,
}


def test_the_zoo_serves_both_kinds() -> None:
    assert len(models) >= 40
    assert set(TRANSFORMERS) == set(PUBLISHED)
    assert set(NETWORKS) > {"resnet50", "bert_base", "stable_diffusion_1_5_unet", "dlrm_dcnv2", "mlperf_tiny_ds_cnn"}


@pytest.mark.parametrize("name", list(models))
def test_every_figure_has_a_source(name: str) -> None:
    model = models[name]
    given = {field.name for field in dataclasses.fields(model) if getattr(model, field.name) != field.default}
    assert set(model.sources) >= given - {"name", "note", "sources"}
    for source in model.sources.values():
        assert source.title
        assert source.date
        assert source.url.startswith("https://")
        assert source.checked or "not opened" in source.note


def test_every_source_is_used() -> None:
    tables = tomllib.loads((files("secondorder.workloads") / "models.toml").read_text(encoding="utf-8"))
    sources = tables.pop("sources")
    used = {key for table in tables.values() for key in (table.get("source"), *table.get("sources", {}).values())}
    assert used - {None} == set(sources)


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_parameters_meet_the_published_count_within_half_a_percent(name: str, count: float) -> None:
    assert models[name].parameters == pytest.approx(count, rel=0.005)


@pytest.mark.parametrize(("name", "count"), RELEASED.items())
def test_parameters_equal_the_released_weights_to_the_last(name: str, count: int) -> None:
    assert models[name].parameters == count


def test_active_parameters_meet_the_published_count() -> None:
    """Mixtral within 1 %; the other two were published without their last digits, which allows 2 %."""
    assert models.mixtral_8x7b.active_parameters == pytest.approx(12.9e9, rel=0.01)
    assert models.qwen3_30b_a3b.active_parameters == pytest.approx(3.3e9, rel=0.02)
    assert models.deepseek_v3.active_parameters == pytest.approx(37e9, rel=0.02)
    assert models.mixtral_8x22b.active_parameters == pytest.approx(39e9, rel=0.01)
    assert models.qwen3_235b_a22b.active_parameters == pytest.approx(22e9, rel=0.01)
    assert models.deepseek_v2.active_parameters == pytest.approx(21e9, rel=0.02)
    deepseek = models.deepseek_v3
    assert deepseek.active_parameters - deepseek.embedding_parameters < 37e9 < deepseek.active_parameters


@pytest.mark.parametrize(("name", "count"), KV_BYTES.items())
def test_cache_bytes_per_token_meet_the_published_shape(name: str, count: int) -> None:
    assert models[name].kv_bytes_per_token("bf16") == count
    assert models[name].kv_bytes_per_token("fp8") == count / 2


def test_figures_that_circulate_wrong_are_right_here() -> None:
    assert models.llama_3_1_8b.kv_bytes_per_token("bf16") * 2048 == pytest.approx(0.268e9, rel=0.002)
    assert models.deepseek_v3.heads == 128
    assert si(models.stable_diffusion_1_5_unet.flops_per_input) == pytest.approx(803e9, rel=0.001)
    assert models.mlperf_tiny_ds_cnn.parameters < 25_000


@pytest.mark.parametrize("name", [name for name in TRANSFORMERS if models[name].experts is None])
def test_every_parameter_of_a_dense_model_is_active(name: str) -> None:
    assert models[name].active_parameters == models[name].parameters


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_two_flops_a_token_for_each_matrix_parameter_passed(name: str) -> None:
    """``2 N`` without the tables that are looked up and without norms, the head counted by row."""
    model = models[name]
    passed = model.active_parameters - model.embedding_parameters - model.norm_parameters
    assert model.flops_per_token + model.flops_per_row == pytest.approx(2 * passed, rel=1e-12)


def test_latent_attention_counts_its_two_forms() -> None:
    """Per layer and head: absorbed 2 (512 + 64) + 2 x 512, expanded 2 (128 + 64) + 2 x 128 FLOPs a pair."""
    deepseek = models.deepseek_v3
    assert deepseek.flops_per_pair == 61 * 128 * (2 * 576 + 2 * 512)
    assert deepseek.prefill_flops_per_pair == 61 * 128 * (2 * 192 + 2 * 128)
    assert models.llama_3_1_8b.prefill_flops_per_pair == models.llama_3_1_8b.flops_per_pair == 4 * 32 * 4096


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_one_token_reads_its_active_weights_and_a_huge_batch_reads_all(name: str) -> None:
    model = dataclasses.replace(models[name], stored=None)
    looked_up = model.embedding_parameters
    assert model.touched_bytes(1, "fp8") == pytest.approx(model.active_parameters - looked_up, rel=1e-12)
    assert model.touched_bytes(1e6, "fp8") == pytest.approx(model.parameters - looked_up, rel=1e-9)


@given(tokens=st.integers(1, 10_000), name=st.sampled_from(TRANSFORMERS))
def test_a_larger_batch_never_reads_fewer_weights(tokens: int, name: str) -> None:
    model = models[name]
    one, more = model.touched_bytes(tokens, "bf16"), model.touched_bytes(tokens + 1, "bf16")
    assert one <= more <= model.weight_bytes("bf16")
    assert more - one <= model.touched_bytes(1, "bf16")


@given(count=st.integers(1, 64), top_k=st.integers(1, 64), tokens=st.integers(1, 50))
def test_expected_experts_hit_lie_between_one_token_s_and_all(count: int, top_k: int, tokens: int) -> None:
    top_k = min(top_k, count)
    model = dataclasses.replace(models.mixtral_8x7b, experts=Experts(count=count, top_k=top_k, intermediate=64))
    hit = (model.touched_bytes(tokens, "fp8") - model.layer_parameters(0) - model.head_parameters) / (
        model.moe_layers * model.expert_parameters
    )
    assert top_k - 1e-6 <= hit <= min(count, top_k * tokens) + 1e-6


@pytest.mark.parametrize("changes", [{"kv_heads": 7}, {"layers": 0}, {"hidden": "4096"}, {"gated": 1}])
def test_an_impossible_shape_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        dataclasses.replace(models.llama_3_1_8b, **changes)


@pytest.mark.parametrize("changes", [{"top_k": 9}, {"shared": -1}, {"dense_layers": 33}])
def test_impossible_experts_are_refused_by_name(changes: dict[str, Any]) -> None:
    mixtral = models.mixtral_8x7b
    with pytest.raises(InputError, match=next(iter(changes))):
        dataclasses.replace(mixtral, experts=dataclasses.replace(mixtral.experts, **changes))


# Networks


def resnet50_layers() -> list[tuple[int, int, int, int]]:
    """Input channels, output channels, kernel, output side: each convolution of torchvision's (stride in the 3 x 3)."""
    layers, channels, side = [(3, 64, 7, 112)], 64, 56
    for blocks, width, stride in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]:
        for block in range(blocks):
            before, side = side, side // stride if block == 0 else side
            layers += [(channels, width, 1, before), (width, width, 3, side), (width, 4 * width, 1, side)]
            if block == 0:
                layers.append((channels, 4 * width, 1, side))
            channels = 4 * width
    return layers


def test_resnet50_is_what_its_architecture_counts() -> None:
    layers, classifier = resnet50_layers(), 2048 * 1000
    weights = sum(i * o * k * k + 2 * o for i, o, k, _ in layers) + classifier + 1000
    macs = sum(i * o * k * k * side * side for i, o, k, side in layers) + classifier
    activations = sum(o * side * side for _, o, _, side in layers) + 1000
    resnet = models.resnet50
    assert resnet.parameters == weights == 25_557_032
    assert si(resnet.flops_per_input) == pytest.approx(2 * macs, rel=1e-4)
    assert resnet.activations == pytest.approx(activations, rel=1e-3)
    assert resnet.layers == len(layers) - 4 + 1 == 50


# Other networks, counted from their published architectures: parameters, multiply-accumulates, values written

Count = tuple[int, int, int]


def total(*parts: Count) -> Count:
    return sum(p for p, _, _ in parts), sum(m for _, m, _ in parts), sum(a for _, _, a in parts)


def convolution(inputs: int, outputs: int, kernel: int, side: int, scales: int = 1) -> Count:
    """``scales`` of each output: 1 for a bias, 2 for batch normalisation, 3 for both."""
    weights = inputs * outputs * kernel**2
    return weights + scales * outputs, weights * side**2, outputs * side**2


def matrix(inputs: int, outputs: int, rows: int = 1, scales: int = 1) -> Count:
    return inputs * outputs + scales * outputs, inputs * outputs * rows, outputs * rows


def basic_resnet(stages: list[int]) -> Count:
    parts, inputs = [convolution(3, 64, 7, 112, 2)], 64
    for stage, blocks in enumerate(stages):
        width, side = 64 << stage, 56 >> stage
        for block in range(blocks):
            parts += [convolution(inputs, width, 3, side, 2), convolution(width, width, 3, side, 2)]
            if block == 0 and inputs != width:
                parts.append(convolution(inputs, width, 1, side, 2))
            inputs = width
    return total(*parts, matrix(512, 1000))


def bottleneck_resnet(stages: list[int]) -> Count:
    parts, inputs = [convolution(3, 64, 7, 112, 2)], 64
    for stage, blocks in enumerate(stages):
        width, side = 64 << stage, 56 >> stage
        for block in range(blocks):
            before = side * 2 if stage and block == 0 else side  # the stride is that of the 3 x 3
            parts += [convolution(inputs, width, 1, before, 2), convolution(width, width, 3, side, 2)]
            parts.append(convolution(width, 4 * width, 1, side, 2))
            if block == 0:
                parts.append(convolution(inputs, 4 * width, 1, side, 2))
            inputs = 4 * width
    return total(*parts, matrix(2048, 1000))


def alexnet() -> Count:
    shapes = [(3, 64, 11, 55), (64, 192, 5, 27), (192, 384, 3, 13), (384, 256, 3, 13), (256, 256, 3, 13)]
    layers = [convolution(*shape) for shape in shapes]
    return total(*layers, matrix(9216, 4096), matrix(4096, 4096), matrix(4096, 1000))


def vgg16() -> Count:
    parts, inputs = [], 3
    for side, width, depth in [(224, 64, 2), (112, 128, 2), (56, 256, 3), (28, 512, 3), (14, 512, 3)]:
        for _ in range(depth):
            parts.append(convolution(inputs, width, 3, side))
            inputs = width
    return total(*parts, matrix(25_088, 4096), matrix(4096, 4096), matrix(4096, 1000))


def encoder(layers: int, width: int, tokens: int) -> Count:
    """Blocks of attention and a feed-forward network four times as wide, with two norms each."""
    sizes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    block = total(*(matrix(inputs, outputs, tokens) for inputs, outputs in sizes))
    return total(*[block] * layers, (layers * 4 * width, layers * 2 * tokens**2 * width, 0))


def vision_transformer(layers: int, width: int) -> Count:
    patches = convolution(3, width, 16, 14)
    beside = width + 197 * width + 2 * width  # the class token, the positions, the last norm
    return total(patches, encoder(layers, width, 197), (beside, 0, 0), matrix(width, 1000))


def bert(layers: int, width: int, tokens: int, head: Count) -> Count:
    embedding = (30_522 + 512 + 2) * width + 2 * width
    return total((embedding, 0, 0), encoder(layers, width, tokens), head)


def autoencoder() -> Count:
    widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    hidden = [matrix(inputs, outputs, scales=3) for inputs, outputs in pairwise(widths[:-1])]
    return total(*hidden, matrix(128, 640))


def unet() -> Count:
    shapes = [
        (1, 64, 570),
        (64, 64, 568),
        (64, 128, 282),
        (128, 128, 280),
        (128, 256, 138),
        (256, 256, 136),
        (256, 512, 66),
        (512, 512, 64),
        (512, 1024, 30),
        (1024, 1024, 28),
        (1024, 512, 54),
        (512, 512, 52),
        (512, 256, 102),
        (256, 256, 100),
        (256, 128, 198),
        (128, 128, 196),
        (128, 64, 390),
        (64, 64, 388),
    ]
    down = [convolution(inputs, outputs, 3, side) for inputs, outputs, side in shapes]
    # an up-convolution makes four pixels of one, each by a matrix of its own
    up = [
        (4 * 2 * w * w + w, 4 * 2 * w * w * side**2, w * 4 * side**2)
        for w, side in [(512, 28), (256, 52), (128, 100), (64, 196)]
    ]
    return total(*down, *up, convolution(64, 2, 1, 388))


ARCHITECTURES = {
    "alexnet": alexnet(),
    "vgg16": vgg16(),
    "resnet18": basic_resnet([2, 2, 2, 2]),
    "resnet50": bottleneck_resnet([3, 4, 6, 3]),
    "resnet152": bottleneck_resnet([3, 8, 36, 3]),
    "vit_b_16": vision_transformer(12, 768),
    "vit_l_16": vision_transformer(24, 1024),
    "bert_base": bert(12, 768, 128, matrix(768, 768)),
    "bert_large": bert(24, 1024, 384, matrix(1024, 2, 384)),
    "u_net": unet(),
    "mlperf_tiny_autoencoder": autoencoder(),
}


@pytest.mark.parametrize(("name", "counted"), ARCHITECTURES.items())
def test_a_network_is_what_its_architecture_counts(name: str, counted: Count) -> None:
    """Parameters to the last one, work to the three digits that sources print, values written to 0.1 %."""
    parameters, macs, written = counted
    model = models[name]
    assert model.parameters == parameters
    assert si(model.flops_per_input) == pytest.approx(2 * macs, rel=1e-3)
    assert model.activations == pytest.approx(written, rel=1e-3)


def test_multiply_accumulates_taken_for_flops_would_be_found() -> None:
    _, macs, _ = ARCHITECTURES["vgg16"]
    assert macs != pytest.approx(si(models.vgg16.flops_per_input), rel=1e-3)


def test_a_recommendation_model_holds_100_gb_and_reads_a_thousandth() -> None:
    """26 tables of 128 values a row, of which 214 rows are read; the rest are matrices."""
    dlrm = models.dlrm_dcnv2
    bottom = [(13, 512), (512, 256), (256, 128)]
    top = [(27 * 128, 1024), (1024, 1024), (1024, 512), (512, 256), (256, 1)]
    crossings = 3 * (2 * 3456 * 512 + 3456)
    dense = sum(i * o + o for i, o in bottom + top) + crossings
    assert dlrm.parameters - dlrm.looked_up_parameters == dense == 16_044_545
    assert dlrm.looked_up_parameters == 204_184_588 * 128
    assert dlrm.looked_up_per_input == 214 * 128
    assert dlrm.weight_bytes("fp32") == pytest.approx(97.31 * 2**30, rel=0.002)
    assert dlrm.touched_bytes(2048, "fp32") == 4 * (dense + 2048 * 214 * 128)
    assert dlrm.touched_bytes(2048, "fp32") / dlrm.weight_bytes("fp32") < 0.003


def test_bert_looks_its_embeddings_up() -> None:
    for name, width, tokens in (("bert_base", 768, 128), ("bert_large", 1024, 384)):
        bert = models[name]
        assert bert.looked_up_parameters == (30_522 + 512 + 2) * width
        assert bert.looked_up_per_input == tokens * 3 * width


def test_an_absent_number_of_activations_is_an_error_not_zero() -> None:
    resnet = models.resnet50
    assert resnet.activation_bytes(2, "fp16") == 4 * resnet.activations
    with pytest.raises(InputError, match="activations of ResNet-50"):
        dataclasses.replace(resnet, activations=None).activation_bytes(1, "fp16")


def test_latent_attention_keeps_one_vector_whatever_the_heads() -> None:
    latent = LatentAttention(kv_rank=512, query_rank=0, rope_dim=64, nope_dim=128, value_dim=128)
    few, many = (
        dataclasses.replace(models.llama_3_1_8b, heads=heads, kv_heads=heads, latent=latent) for heads in (16, 128)
    )
    assert few.kv_bytes_per_token("bf16") == many.kv_bytes_per_token("bf16") == 32 * 576 * 2
