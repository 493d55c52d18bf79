"""Runs the scheduler of vLLM on workloads: one line of JSON in, one line of JSON out, for each.

It runs in an environment of its own (`make oracle`), where secondorder is not installed:

    HF_HUB_OFFLINE=1 .venv-oracle/bin/python tests/oracle/driver.py [FOLDER OF AN OLDER WHEEL]

After each step that computes something the state is written down: the running requests in order with their computed
tokens, the waiting ones in order, free blocks, preemptions so far, and who finished.
"""

import json
import sys
import tempfile
from collections import deque
from itertools import count
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 1,
    "vocab_size": 32000,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


class Real:
    """One scheduler of vLLM with a workload's settings."""

    def __init__(self, workload, model):
        import torch
        from vllm.config import CacheConfig, DeviceConfig, SchedulerConfig, VllmConfig
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.structured_output import StructuredOutputManager

        self.workload = workload
        self.ahead = workload["async_scheduling"]
        size, blocks = workload["block_size"], workload["blocks"]
        chunked = workload["enable_chunked_prefill"]
        names = (
            "long_prefill_token_threshold_adaptive",
            "watermark",
            "prefill_schedule_interval",
        )
        newer = {name: workload[name] for name in names if workload.get(name)}
        scheduler_config = SchedulerConfig(
            max_num_seqs=workload["max_num_seqs"],
            max_num_batched_tokens=workload["max_num_batched_tokens"],
            max_model_len=8192 if chunked else workload["max_num_batched_tokens"],
            is_encoder_decoder=False,
            enable_chunked_prefill=chunked,
            long_prefill_token_threshold=workload["long_prefill_token_threshold"] or 0,
            policy=workload["policy"],
            async_scheduling=self.ahead,
            scheduler_reserve_full_isl=workload["scheduler_reserve_full_isl"],
            **newer,
        )
        cache_config = CacheConfig(block_size=size, enable_prefix_caching=workload["enable_prefix_caching"])
        cache_config.num_gpu_blocks = blocks
        config = VllmConfig(
            scheduler_config=scheduler_config,
            model_config=model,
            cache_config=cache_config,
            device_config=DeviceConfig("cpu"),
        )
        spec = FullAttentionSpec(block_size=size, num_kv_heads=1, head_size=1, dtype=torch.float32)
        kv = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
        init_none_hash(sha256)
        self.hasher = get_request_block_hasher(size, sha256)
        kind = AsyncScheduler if self.ahead else Scheduler
        self.scheduler = kind(
            vllm_config=config,
            kv_cache_config=kv,
            structured_output_manager=StructuredOutputManager(config),
            block_size=size,
        )
        self.requests = []
        self.token = count(10**6)

    def add(self, index):
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        asked = self.workload["requests"][index]
        shared = [1000 + 1000 * asked["group"] + i for i in range(asked["shared"])]
        own = [next(self.token) for _ in range(asked["prompt"] - asked["shared"])]
        sampling = SamplingParams(max_tokens=asked["output"], ignore_eos=True, temperature=0.0)
        request = Request(
            request_id=str(index),
            prompt_token_ids=shared + own,
            sampling_params=sampling,
            pooling_params=None,
            arrival_time=float(index),
            priority=asked["priority"],
            block_hasher=self.hasher,
        )
        self.requests.append(request)
        self.scheduler.add_request(request)

    def update(self, scheduled, samples):
        from vllm.v1.outputs import ModelRunnerOutput

        ids = list(scheduled.num_scheduled_tokens)
        output = ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={name: i for i, name in enumerate(ids)},
            sampled_token_ids=[[next(self.token)] if name in samples else [] for name in ids],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        self.scheduler.update_from_output(scheduled, output)

    def brings_tokens(self, scheduled):
        """The requests whose last uncomputed token is in this step, just scheduled."""
        return {name for name in scheduled.num_scheduled_tokens if not self.scheduler.requests[name].is_prefill_chunk}

    def state(self):
        scheduler = self.scheduler
        return {
            "running": [[int(r.request_id), r.num_computed_tokens] for r in scheduler.running],
            "waiting": [int(r.request_id) for r in scheduler.waiting],
            "free": scheduler.kv_cache_manager.block_pool.get_num_free_blocks(),
            "preemptions": [r.num_preemptions for r in self.requests],
            "finished": sorted(int(r.request_id) for r in self.requests if r.is_finished()),
            "tokens": [r.num_output_tokens for r in self.requests],
        }

    def run(self):
        arrivals = deque((asked["arrival"], index) for index, asked in enumerate(self.workload["requests"]))
        under_way, states, done, idle = deque(), [], 0, 0
        while True:
            while arrivals and arrivals[0][0] <= done:
                self.add(arrivals.popleft()[1])
            if self.scheduler.has_unfinished_requests():
                scheduled = self.scheduler.schedule()
                if scheduled.total_num_scheduled_tokens:
                    under_way.append((scheduled, self.brings_tokens(scheduled)))
                    idle = 0
                    if self.ahead and len(under_way) < 2:
                        continue
            if under_way:
                scheduled, samples = under_way.popleft()
                self.update(scheduled, samples)
                done += 1
                states.append({"given": self.given(scheduled), **self.state()})
            elif self.scheduler.has_unfinished_requests():
                idle += 1
                if idle > 3:
                    return {"stuck": done, "states": states}
            elif arrivals:
                done = arrivals[0][0]
            else:
                return {"states": states}

    def given(self, scheduled):
        return [[int(name), tokens] for name, tokens in scheduled.num_scheduled_tokens.items()]


def main():
    if len(sys.argv) > 1:
        sys.path.insert(0, sys.argv[1])
    import logging

    logging.disable(logging.WARNING)
    import vllm
    from vllm.config import ModelConfig

    folder = Path(tempfile.mkdtemp())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    model = ModelConfig(
        model=str(folder), tokenizer=str(folder), skip_tokenizer_init=True, dtype="bfloat16", seed=0, max_model_len=8192
    )
    out = sys.stdout
    print(json.dumps({"version": vllm.__version__}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(Real(json.loads(line), model).run()), file=out, flush=True)


if __name__ == "__main__":
    main()
