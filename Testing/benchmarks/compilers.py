"""Benchmark: does compiling the network pay on this machine, in prediction and in training?

    pip install -e ".[benchmarks]"
    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/compilers.py prediction
    PYTHONPATH=HSSLSegmentation python Testing/benchmarks/compilers.py training

Prediction: eight windows of 256 × 256 through the network alone, by torch as the engine runs it, torch.compile, oneDNN's graph
fusion of a traced network (in float32: with bfloat16 torch 2.13 breaks off, "could not add op to the graph"), ONNX Runtime and
OpenVINO.
Training: steps of the network on random tensors, by torch and by torch.compile. "prepare_seconds" is what a user would wait
for before the first result. OpenVINO reads a file: its own `convert_model` sends statistics to its maker without asking.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from measuring import Measures, Side, alternated, figures, ratios, write

WINDOWS, SIDE, CLASSES = 8, 256, 4
BATCH, PATCH = 64, 64


def network() -> Any:
    import torch

    from hssl.configuration import NetworkConfig
    from hssl.models.network import build_network

    torch.manual_seed(0)
    return build_network(NetworkConfig(), CLASSES)


def images(count: int, side: int) -> Any:
    import torch

    return torch.from_numpy(np.random.default_rng(0).standard_normal((count, 3, side, side)).astype(np.float32))


def one_side(make: Callable[..., Callable[[], Measures]], *arguments: Any) -> Side:
    return Side(as_the_engine, make, *arguments)


def as_the_engine(make: Callable[..., Callable[[], Measures]], *arguments: Any) -> Callable[[], Measures]:
    from hssl.models.device import keep_freed_memory

    keep_freed_memory()
    return make(*arguments)


def repeated(run: Callable[[], Any], runs: int, prepared: float) -> Callable[[], Measures]:
    def work() -> Measures:
        for _ in range(runs):
            run()
        return {"prepare_seconds": prepared}

    return work


def by_torch(precision: str, how: str, threads: int, runs: int) -> Callable[[], Measures]:
    import torch

    torch.set_num_threads(threads)
    data = images(WINDOWS, SIDE)
    if how == "oneDNN graph":
        torch.jit.enable_onednn_fusion(True)
    bf16 = precision == "bfloat16"
    began = perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=how == "eager"):
        net: Any = network().eval()
        if how == "compile":
            net = torch.compile(net)
        elif how == "oneDNN graph":
            net = torch.jit.freeze(torch.jit.trace(net, data))
        for _ in range(3):
            net(data)

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            net(data)

    return repeated(run, runs, perf_counter() - began)


def exported(folder: Path) -> Path:
    import torch

    path = folder / "network.onnx"
    torch.onnx.export(network().eval(), (images(WINDOWS, SIDE),), str(path), dynamo=False, opset_version=18)
    return path


def by_onnxruntime(path: Path, threads: int, runs: int) -> Callable[[], Measures]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    began = perf_counter()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    data = {session.get_inputs()[0].name: images(WINDOWS, SIDE).numpy()}
    session.run(None, data)
    return repeated(lambda: session.run(None, data), runs, perf_counter() - began)


def by_openvino(path: Path, precision: str, threads: int, runs: int) -> Callable[[], Measures]:
    import openvino

    hint = {"bfloat16": "bf16", "float32": "f32"}[precision]
    began = perf_counter()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    data = images(WINDOWS, SIDE).numpy()
    compiled([data])
    return repeated(lambda: compiled([data]), runs, perf_counter() - began)


def steps(precision: str, how: str, threads: int, runs: int) -> Callable[[], Measures]:
    import torch

    torch.set_num_threads(threads)
    net: Any = network().train()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, foreach=True)
    if how == "compile":
        net = torch.compile(net)
    data = images(BATCH, PATCH)
    cast = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()

    def run() -> None:
        with cast:
            loss = net(data).float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    began = perf_counter()
    for _ in range(3):
        run()
    return repeated(run, runs, perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prediction", "training"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10, help="of a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    one = (given.threads, given.runs)
    with tempfile.TemporaryDirectory() as name:
        if given.what == "prediction":
            path = exported(Path(name))
            sides = {
                f"{how}, {precision}": one_side(by_torch, precision, how, *one)
                for how in ("eager", "compile")
                for precision in ("float32", "bfloat16")
            }
            sides["oneDNN graph, float32"] = one_side(by_torch, "float32", "oneDNN graph", *one)
            sides["ONNX Runtime, float32"] = one_side(by_onnxruntime, path, *one)
            for precision in ("float32", "bfloat16"):
                sides[f"OpenVINO, {precision}"] = one_side(by_openvino, path, precision, *one)
        else:
            sides = {
                f"{how}, {precision}": one_side(steps, precision, how, *one)
                for how in ("eager", "compile")
                for precision in ("float32", "bfloat16")
            }
        measured = alternated(sides, given.rounds)
    found = {
        f"{side}: eager of the same precision over it": ratios(measured, f"eager, {side.split(', ')[1]}", side, "wall")
        for side in sides
        if not side.startswith("eager")
    }
    write(
        f"compilers-{given.what}.json", "compilers", f"{given.what}: compilers", {}, found,
        seconds_a_round=figures(measured), settings=vars(given),
    )  # fmt: skip


if __name__ == "__main__":
    main()
