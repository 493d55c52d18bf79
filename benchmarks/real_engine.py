"""A real engine's run replayed: with datasheet step times, with an affine one fitted on it, and by halves.

    python benchmarks/real_engine.py [FOLDER] [--accelerator rtx_pro_6000] [--model llama_3_1_8b]

FOLDER holds a measured run as ``secondorder.validation.measured`` describes it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import secondorder as so
from secondorder.quantities import pretty
from secondorder.simulate.serving import draw, run
from secondorder.validation.affine_fit import fit_affine, fit_affine_and_cache, replay_errors
from secondorder.validation.calibrate import calibrate, told
from secondorder.validation.measured import read_measured_run

DATA = Path(__file__).parents[2] / "shared" / "data" / "vllm_rtxpro6000_llama31_8b"
BAR = 0.03
RESERVED = [f"{tenths / 10} GiB" for tenths in range(5, 32, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=DATA, type=Path)
    parser.add_argument("--accelerator", default="rtx_pro_6000")
    parser.add_argument("--model", default="llama_3_1_8b")
    options = parser.parse_args()
    if options.folder == DATA and not DATA.is_dir():
        print(f"skipped: no measured run at {DATA}; name its folder")
        return
    measured = read_measured_run(options.folder)
    scenario = measured.scenario(so.models[options.model], so.accelerators[options.accelerator])
    print(f"{measured.name}: {len(measured.requests)} requests, {scenario.kv_blocks:,} KV blocks derived")

    ideal = so.Roofline(compute_efficiency=1.0, memory_efficiency=1.0, host_overhead="0 s")
    fitted = fit_affine(scenario, measured.requests)
    tables = {
        "datasheet, efficiencies 1": replay_errors(replace(scenario, step_time=ideal), measured.requests),
        "datasheet, .7 and .8, 1 ms": replay_errors(scenario, measured.requests),
        "affine, fitted": fitted.errors,
    }
    served = run(fitted.scenario, draw(fitted.scenario, len(measured.requests))).requests
    if fitted.worst > BAR and served["preemptions"].sum():
        searched = fit_affine_and_cache(scenario, measured.requests, RESERVED)
        reserved = pretty(searched.scenario.reserved_memory.magnitude / 2**30, "GiB")
        tables[f"affine, {reserved} reserved"] = searched.errors
        fitted = searched
    for title, errors in tables.items():
        print(f"\n{title}: worst error {errors['error'].abs().max():.1%}")
        for metric, (real, ours, error) in errors.iterrows():
            print(f"  {metric:<10} measured {pretty(real, 's'):>8}  simulated {pretty(ours, 's'):>8}  {error:+7.1%}")
    print(f"\n{fitted.step_time}")
    halves = calibrate(
        measured, model=so.models[options.model], accelerator=so.accelerators[options.accelerator], fitted=0.5
    )
    print(f"\nconstants fitted on the first half: worst error of the second {halves.worst():.1%}\n{told(halves)}")
    print(halves.errors[halves.errors["rows"] == "held out"][["metric", "measured", "simulated", "error"]].to_string())


if __name__ == "__main__":
    main()
