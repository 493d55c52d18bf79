"""Keys of a ``config.json`` that change no count, and the refusal of those that might and are not known."""

import re
from collections.abc import Mapping

from secondorder.workloads.configurations.configuration import Configuration

_HARMLESS = re.compile(
    r"_token_id|_token_ids$|token_index|_dropout$|_pdrop$|rope|rotary|yarn|_eps$|_epsilon$|initializer|init_|_init|_std$"
    r"|_coef$|_coeff|_factor$|multiplier|scaling|scale|softcap|soft_cap|_act$|_act_fn$|activation|dtype|attn_impl|_implementation"
    r"|^output_|^return_|^use_cache|cache_impl|kernels|flash|fused|version|architectures|auto_map|_name_or_path|^name|tokenizer"
    r"|template|pad_|^pad|scoring_func|topk_method|topk_group|^n_group$|num_expert_group|norm_topk|seq_aux|aux_|jitter|noise"
    r"|ep_size|pretraining|tensor_parallel|id2label|label2id|problem_type|num_labels|finetuning|task_specific|beam|ngram|penalty"
    r"|temperature|top_p$|^top_k$|typical_p|do_sample|max_length$|min_length|num_return|early_stopping|length_|diversity"
    r"|bad_words|suppress|forced_|begin_|sep_|decoder_start|prefix$|tie_encoder|is_decoder|is_encoder|add_cross|cross_attention_hidden"
    r"|chunk_size|mamba_chunk|time_step|residual_in_fp32|rescale|gradient|checkpointing|quantization_config|compression_config"
    r"|vision|image|video|audio|visual|mm_|projector|merge|sub_configs|model_type|transformers|torchscript|pruned_heads"
    r"|logits_to_keep|num_logits|slow_but_exact|embedding_layer_norm|norm_before_gate|use_mambapy|associative|mem_eff|is_causal"
    r"|_alpha$|_beta$|alpha_factor|beta_factor|_limit$|_limits|clip|mscale|use_bidirectional|query_pre_attn|mup_|logn|use_dynamic"
    r"|use_logn|softmax|attn_temperature|floor_scale|router_dtype|load_balance|route_|routed_scaling|expert_selection|combination"
    r"|first_batch|dense_attention_every|cca_|use_qkv_in_fp|no_rope_layer|no_rope_layers|bos|eos|unk|mask_|language$|license"
    r"|tokens$|_text$|adapter|lora_alpha|sparsity|ssm_cfg|parallel_residual|alibi|postnorm|postlayernorm|original_max|max_window"
    r"|use_sliding|kda_|moe_renorm|router_activation|freqs|generation|torch|interleave$|use_conv|^use_residual$|parallel_attn"
    r"|residual_post|linear_a_log|linear_dt|linear_allow|layer_norm_elementwise|remove_final|embedding_fraction|learnable_sink|prefix_dense_sliding|post_layer_norm|pre_layer_norm|hc_sinkhorn|index_block|index_local|index_topk|indexer|swiglu|use_mtp|mtp_"
    r"|num_mtp|num_nextn|zero_expert_type|partial|nope|position_embedding_type|rms_norm$|kv_cache|head_dim_rope|attention_method"
    r"|z_loss|moe_norm_min|sliding_window_size|cache_dtype|attn_window|full_attn_idxs|enable_moe_fp|mlp_multipliers|capacity"
    r"|moe_every_n_layer|shared_moe_mode|anyres|grouped_topk|router_enable_expert_bias|router_bias|num_limited_groups|num_expert_groups?$"
    r"|max_attn_value|^use_moe|att_impl|need_fp32|norm_expert_weight|use_rope_layers|partial_rotary|zero_centered|dense_list"
    r"|cla_share|group_limited|moe_drop|moe_random|norm_type|num_media|mixed_mlp|class_num|norm_head|split_qkv|score_func"
    r"|moe_loss|moe_jitter|use_mla$|use_pos_enc|for_llm|correct_scale|coef_clip|altup_active|grouped_mm|mla_scale|use_nope"
    r"|use_expert_bias|moe_token_drop|moe_aux|moe_group|moe_layer_aux|use_combined_norm|token_choice|use_rmsnorm|kv_head_dim$"
)
"""Names of keys that change neither weights nor caches."""

_TELLING = re.compile(
    r"layer|head|dim|size|rank|expert|window|pattern|interval|period|freq|every|shared|share|bias|mamba|ssm|conv|state|block"
    r"|moe|mixture|sparse|dense|lora|attn|attention|ffn|mlp|gate|gating|inner|width|depth|linear|recurrent|memory|index|kv_|group"
    r"|num_|n_|norm|residual|parallel|embed|tie|latent|compress|engram|hyper|stream|loop"
)
"""Parts of names by which a key may change a count."""


def check_keys(c: Configuration) -> None:
    """Refuse a key that may change the count and that the family's reader has not looked at."""
    for key, value in c.values.items():
        if key in c.used or value is None or value is False or value == 0 or value == [] or value == {} or value == "":
            continue
        if _HARMLESS.search(key) or not _TELLING.search(key) or key in _UNREAD:
            continue
        if _AS_BUILT.get(c.model_type, {}).get(key) == value:
            continue
        raise c.fault(
            key,
            given=repr(value),
            expected=f"no such key in a {c.model_type}, whose counts are known without it",
            remedy="remove it if it changes neither weights nor cache; else give the shape as a table",
        )


_AS_BUILT: Mapping[str, Mapping[str, object]] = {
    "apertus": {"qk_norm": True},
    "cohere2": {
        "use_gated_activation": True,
        "use_parallel_block": True,
        "use_embedding_sharing": True,
        "order_of_interleaved_layers": "local_attn_first",
        "layer_switch": 4,
    },
    "gpt_oss": {"experts_per_token": 4},
}
"""Keys of released files that say what every model of the family has, or once more what another key says."""
_UNREAD = frozenset(
    {
        "head_dim",
        "num_key_value_heads",
        "num_attention_heads",
        "intermediate_size",
        "moe_intermediate_size",
        "head_size",
        "attention_bias",
        "attention_out_bias",
        "mlp_bias",
        "qkv_bias",
        "use_bias",
        "use_qk_norm",
        "qk_norm_type",
        "use_routing_bias",
        "qk_head_dim",
        "v_head_dim",
        "num_experts_per_tok",
        "num_shared_experts",
        "num_heads",
        "num_hidden_layers",
        "max_position_embeddings",
        "max_seq_len",
        "context_length",
        "tie_word_embeddings",
        "mamba_expand",
        "mamba_d_ssm",
        "time_step_rank",
        "moe_shared_expert_overlap",
        "moe_layer_freq",
        "first_k_dense_replace",
        "decoder_sparse_step",
        "mlp_only_layers",
        "block_ff_dim",
        "block_dim",
        "block_mlp_init_scale",
        "block_use_swiglu",
        "block_use_xavier_init",
        "block_norm_eps",
        "block_out_init_scale",
        "conv_dim",
        "conv_dim_out",
        "embd_pdrop",
        "parallel_attn_mlp_res",
        "num_ln_in_parallel_attn",
        "shared_expert_intermediate_size",
        "dim_model_base",
        "layer_norm_type",
        "use_gated_mlp",
        "rotary_dim",
        "use_parallel_embedding",
        "is_hybrid",
    }
)
"""Keys that a family may carry without its layers using them: sizes of what it has none of, or given by another key."""
