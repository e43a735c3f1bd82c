"""What one inference launches, by PyTorch's profiler, whatever engine runs it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from report import Row

from millirank_engines import Engine, EngineError, Profile, Tensors

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")  # prefixes of host calls
COPIES = ("Memcpy", "Memset")  # prefixes of device work that is no kernel
RUNS = 10  # that are counted together
T = TypeVar("T")


def launches(engine: Engine, feeds: Tensors) -> tuple[float, float]:
    """Of one inference: kernels that ran on the device, and launches that the host made; means of RUNS."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    for _ in range(5):
        engine.infer(feeds)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(RUNS):
            engine.infer(feeds)
        torch.cuda.synchronize()
    events = found.events()
    on_device = [e.name for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels = sum(not name.startswith(COPIES) for name in on_device)
    return kernels / RUNS, sum(e.name.startswith(LAUNCHES) for e in events) / RUNS


def apart(work: Callable[..., T], *given: object) -> T:
    """What a function of a module returns, called in a process of its own.

    A process to which the profiler was attached may be slower from then on, and one that had also run TensorRT and
    PyTorch ended with `double free or corruption`. How this one ends does not matter once it has answered.

    Args:
        work: is pickled by its name.
        given: its arguments, pickled.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *given).result()


def attach() -> None:
    """Makes the profiler known to CUDA: graphs that are captured from now on tell their kernels one by one."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]):
        torch.ones(1, device="cuda").sum().item()


def launch_rows(name: str, how: str, engine: Engine, feeds: Mapping[Profile, Tensors]) -> Iterator[Row]:
    """Kernels and launches of every shape.

    Raises:
        EngineError: if the profiler sees no kernel, so that nothing counts as few.
    """
    for shape, one in feeds.items():
        kernels, calls = launches(engine, one)
        if not kernels:
            raise EngineError(f"the profiler saw no kernel of {engine.name} at {shape}: does it run on this GPU?")
        yield Row(f"{name}/{shape}/launches/{how}", "kernels", kernels, "")
        yield Row(f"{name}/{shape}/launches/{how}", "launches", calls, "")
