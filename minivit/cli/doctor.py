"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_info

from minivit import data
from minivit.backend import backend_for_device, load_mkl, mkl_found, mkl_in_use, use_mkl
from minivit.backend.onednn import load_onednn
from minivit.inspect.peak import matrix_product_speed
from minivit.recipes.memory import available_bytes
from minivit.recipes.results import environment
from minivit.version import __version__

OK, ABSENT, WRONG = "ok", "--", "!!"


class Finding(NamedTuple):
    """One line: whether it is well, what it is about, what was found."""

    mark: str
    name: str
    text: str


def examine(data_dir: Path | None = None) -> str:
    """The report of ``python -m minivit doctor``.

    Parameters
    ----------
    data_dir : path, optional
        Looked into for data sets first.
    """
    sections = {
        "versions": list(_versions()),
        "computing": [*_processor(), *_mkl(), *_bfloat16(), *_gpu()],
        "data": list(_data(data_dir)),
        "extras": list(_extras()),
    }
    lines = []
    for title, findings in sections.items():
        lines += ["", title]
        width = max(len(finding.name) for finding in findings)
        lines += [f"  {f.mark}  {f.name.ljust(width)}  {f.text}" for f in findings]
    lines += ["", "what to do next"]
    lines += [f"  {step}" for step in _next_steps(sections)]
    return "\n".join(lines[1:])


def _versions() -> Iterator[Finding]:
    yield Finding(OK, "minivit", f"{__version__}, in {Path(__file__).resolve().parents[1]}")
    yield Finding(OK, "Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for package in ("numpy", "safetensors", "threadpoolctl"):
        yield Finding(OK, package, importlib.metadata.version(package))


def _processor() -> Iterator[Finding]:
    with use_mkl(False):  # what is wrong with it has a line of its own
        facts = environment()
    cores = facts["cores"]
    yield Finding(OK, "CPU", f"{facts['cpu']}, {cores} cores for this process (of {os.cpu_count()})")
    free = available_bytes("cpu")
    yield Finding(OK, "memory", f"{free / 1e9:.1f} GB free" if free else "not to be told on this system")
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if not libraries:
        yield Finding(WRONG, "BLAS", "none that threadpoolctl knows: threads cannot be set, and products may be slow")
    for library in libraries:
        threads = library["num_threads"]
        text = (
            f"{library['internal_api']} {library.get('version') or ''} ({library.get('architecture') or 'generic'}), "
        )
        if threads > cores:
            yield Finding(WRONG, "BLAS", text + f"{threads} threads for {cores} cores: set OMP_NUM_THREADS={cores}")
        else:
            yield Finding(OK, "BLAS", text + f"{threads} thread{'s' * (threads != 1)}")
    try:
        speed = matrix_product_speed()
    except (RuntimeError, ValueError):  # of MKL again
        with use_mkl(False):
            speed = matrix_product_speed()
    yield Finding(OK, "speed", f"{1e-9 * speed:.0f} GFLOP/s in a float32 matrix product")


def _mkl() -> Iterator[Finding]:
    """Whether kernels use MKL; nothing where it is neither installed nor asked for."""
    try:
        used = mkl_in_use() is not None
        if not used and mkl_found() is None:
            return
        library = load_mkl()
    except (RuntimeError, ValueError) as error:
        yield Finding(WRONG, "MKL", str(error))
        return
    if used:
        text = "computes large matrix products and GELU; MINIVIT_MKL=0 forbids it"
    elif library.has_avx512:
        text = "is not used: MINIVIT_MKL=0 forbids it"
    else:
        text = "is not used: it has no AVX-512 code for this processor, and NumPy is as fast; MINIVIT_MKL=1 uses it"
    yield Finding(OK, "MKL", f"{library.version} {text}")


def _bfloat16() -> Iterator[Finding]:
    """Whether training may multiply in bfloat16."""
    try:
        library = load_onednn()
    except RuntimeError as error:
        yield Finding(ABSENT, "bf16", str(error))
    else:
        yield Finding(OK, "bf16", f"oneDNN {library.version} multiplies in bfloat16 where --precision bf16 asks for it")


def _gpu() -> Iterator[Finding]:
    driver = shutil.which("nvidia-smi") is not None
    if importlib.util.find_spec("cupy") is None:
        advice = f"{_install('cuda12')} (or cuda13, as the CUDA version that nvidia-smi shows)"
        if driver:
            yield Finding(WRONG, "GPU", f"an NVIDIA driver is here, CuPy is not: {advice}")
        else:
            yield Finding(ABSENT, "GPU", "none (no NVIDIA driver, no CuPy); everything runs on the CPU")
        return
    try:
        cupy = backend_for_device("cuda").module
        runtime = cupy.cuda.runtime
        for index in range(runtime.getDeviceCount()):
            name = runtime.getDeviceProperties(index)["name"].decode()
            free, total = cupy.cuda.Device(index).mem_info
            memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
            cuda, driven = _cuda(runtime.runtimeGetVersion()), _cuda(runtime.driverGetVersion())
            versions = f"CuPy {cupy.__version__}, CUDA {cuda}, driver for CUDA {driven}"
            yield Finding(OK, f"cuda:{index}", f"{name}, {memory}, {versions}")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the installation is what is to be said
        first = str(error).partition("\n")[0]
        yield Finding(WRONG if driver else ABSENT, "GPU", f"CuPy is installed but not usable: {first}")


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _data(data_dir: Path | None) -> Iterator[Finding]:
    folders = data.search_folders(data_dir)
    yield Finding(OK, "looked in", ", ".join(str(folder) for folder in folders))
    yield Finding(OK, ", ".join(data.EMBEDDED), "come with minivit")
    for name in (name for name in data.NAMES if name not in data.EMBEDDED):
        found = data.find(name, data_dir)
        if found is not None:
            yield Finding(OK, name, str(found))
        elif name == "imagenet":
            yield Finding(ABSENT, name, "not here; its download needs an account: see docs/data.md")
        else:
            yield Finding(
                ABSENT, name, f"not here; examples/train_cifar.py --dataset {name} downloads it, or set MINIVIT_DATA"
            )
    weights = [path for folder in folders for path in sorted(folder.glob("weights/*")) if path.is_file()]
    if weights:
        yield Finding(OK, "weights", ", ".join(str(path) for path in weights))
    else:
        yield Finding(ABSENT, "weights", "none in weights/ there; examples/classify.py --weights takes any file")


def _extras() -> Iterator[Finding]:
    """Every extra of the package, with what it lacks."""
    try:
        requirements = importlib.metadata.requires("minivit") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(WRONG, "minivit", f"is not installed, it runs from its folder: {_install('examples')}")
        return
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        match = re.fullmatch(r"(.+?)\s*;\s*extra\s*==\s*['\"](.+?)['\"]", requirement)
        if match:
            extras.setdefault(match[2], []).append(match[1])
    for extra, needed in extras.items():
        missing = [requirement for requirement in needed if not _satisfied(requirement)]
        if missing:
            yield Finding(ABSENT, extra, f"lacks {', '.join(missing)}: {_install(extra)}")
        else:
            yield Finding(OK, extra, ", ".join(re.split(r"[<>=!~]", requirement)[0] for requirement in needed))


def _install(extra: str) -> str:
    """The command that installs an extra: of the checkout that this is, or of the published package."""
    root = Path(__file__).resolve().parents[2]
    return (
        f"pip install -e '{root}[{extra}]'" if (root / "pyproject.toml").exists() else f"pip install 'minivit[{extra}]'"
    )


def _satisfied(requirement: str) -> bool:
    """Whether ``name>=1.2`` is installed in that version or later (other comparisons ask only for the name)."""
    name, _, least = requirement.partition(">=")
    try:
        version = importlib.metadata.version(re.split(r"[<>=!~\[ ]", name)[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _next_steps(sections: dict[str, list[Finding]]) -> Iterator[str]:
    marks = {finding.name: finding.mark for findings in sections.values() for finding in findings}
    gpu = any(name.startswith("cuda:") for name in marks)
    for findings in sections.values():
        for finding in findings:
            if finding.mark == WRONG:
                yield f"mend {finding.name}: {finding.text}"
    if marks.get("examples") == ABSENT:
        yield f"{_install('examples')}    for the programs in examples/"
    if marks.get("cifar10") == OK:
        yield f"python examples/train_cifar.py{' --device cuda' if gpu else ''}"
    else:
        yield "python examples/train_cifar.py --dataset digits    needs no download"
    if marks.get("weights") == OK:
        yield "python examples/classify.py PHOTO"
    yield "python -m minivit check"
