"""Every CUDA source compiles for the GPUs of two generations, without a warning and with its registers to spare."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import cuda_on_cpu
import pytest

from minivit.backend import cuda

FOLDER = Path(cuda.__file__).parent
ARCHITECTURES = ("sm_80", "sm_90")
REGISTERS = {"float": 64, "double": 85}  # for four and three blocks of 256 threads on a multiprocessor of 65536

VARIANTS = {  # options that each source is compiled with
    "conv2d.cu": [
        ("-DREAL=float", "-DKH=3", "-DKW=3", "-DSH=1", "-DSW=1"),
        ("-DREAL=float", "-DKH=1", "-DKW=1", "-DSH=2", "-DSW=2"),
        ("-DREAL=double", "-DKH=7", "-DKW=7", "-DSH=2", "-DSW=2"),
    ],
}
CASES = [
    pytest.param(source, options, id=" ".join((source, *options)))
    for source, variants in VARIANTS.items()
    for options in variants
]


def compile_with_nvcc(source: Path, options: tuple[str, ...], output: Path) -> str:
    """What ptxas says of each kernel."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc (CUDA's compiler; no GPU)")
    targets = [f"-gencode=arch=compute_{name[3:]},code={name}" for name in ARCHITECTURES]
    strict = ["--Werror=all-warnings", "-Xptxas=-v"]
    command = [nvcc, *targets, *strict, "-fatbin", *options, str(source), "-o", str(output)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def resources(said: str) -> tuple[list[int], list[int]]:
    """Registers of each kernel; bytes of stack, of spilled stores and of spilled loads of each."""
    registers = re.findall(r"Used (\d+) registers", said)
    spilled = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", said)
    return [int(n) for n in registers], [int(n) for n in spilled]


@pytest.fixture
def nvrtc() -> Callable[[str, tuple[str, ...]], bytes]:
    """CuPy's own way of compiling a RawKernel, which needs no GPU once it is told the architecture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns where it finds no CUDA
        compiler = pytest.importorskip("cupy.cuda.compiler", reason="needs CuPy: pip install -e '.[cuda13]'")
        core = pytest.importorskip("cupy._core.core")
    try:
        compiler._get_nvrtc_version()
    except Exception as error:  # noqa: BLE001 (whatever it is, NVRTC cannot be loaded)
        pytest.skip(f"needs NVRTC, which comes with CUDA or as the package nvidia-cuda-nvrtc: {error}")

    def compile_source(code: str, options: tuple[str, ...]) -> bytes:
        program = compiler._NVRTCProgram(code, "source.cu", method="cubin")
        return program.compile((*core.assemble_cupy_compiler_options(options), "-ftz=true"))[0]

    return compile_source


def test_every_source_has_its_variants():
    assert {path.name for path in FOLDER.glob("*.cu")} == set(VARIANTS)


@pytest.mark.parametrize(("source", "options"), CASES)
def test_it_compiles_without_warnings_and_spills_no_registers(source, options, tmp_path):
    said = compile_with_nvcc(FOLDER / source, options, tmp_path / "fatbin")
    kernels = cuda_on_cpu.signatures((FOLDER / source).read_text(encoding="utf-8"), options)
    compiled = set(re.findall(r"Compiling entry function '(\w+)' for '(\w+)'", said))
    assert compiled == {(kernel, architecture) for kernel in kernels for architecture in ARCHITECTURES}
    registers, spilled = resources(said)
    assert len(registers) == len(compiled)
    assert max(registers) <= REGISTERS[options[0].removeprefix("-DREAL=")]
    assert spilled == [0] * (3 * len(compiled))


def test_an_array_that_does_not_stay_in_registers_is_found(tmp_path):
    """The check above can fail."""
    (tmp_path / "local.cu").write_text(
        'extern "C" __global__ void local(float *x, int n) {\n'
        "    float held[64];\n"
        "    for (int i = 0; i < 64; ++i) held[i * n % 64] = x[i];\n"
        "    x[threadIdx.x] = held[n];\n"
        "}\n",
        encoding="utf-8",
    )
    _, spilled = resources(compile_with_nvcc(tmp_path / "local.cu", (), tmp_path / "fatbin"))
    assert max(spilled) == 256


@pytest.mark.parametrize(("source", "options"), CASES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_compiles_as_cupy_compiles_it(source, options, architecture, nvrtc):
    code = (FOLDER / source).read_text(encoding="utf-8")
    assert nvrtc(code, (*options, f"-arch={architecture}"))[:4] == b"\x7fELF"
