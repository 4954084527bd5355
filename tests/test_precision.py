"""Which arithmetic a processor is given."""

from types import SimpleNamespace

import pytest

from pggan_tf.training import precision
from tests.conftest import pggan

ZEN4, ZEN3 = "flags : fpu avx2 avx512_bf16\n", "flags : fpu avx2\n"


@pytest.mark.parametrize(
    "cpuinfo, variables, expected",
    [
        (ZEN4, {}, True),
        (ZEN3, {}, False),
        ("flags : fpu avx2 amx_bf16 amx_tile\n", {}, True),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        (ZEN4, {"DNNL_MAX_CPU_ISA": "avx512_core"}, False),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, True),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "DNNL_MAX_CPU_ISA": "AVX2"}, True),
    ],
)
def test_bfloat16_where_processor_and_onednn_have_it(cpuinfo, variables, expected, monkeypatch):
    """oneDNN reads DNNL_MAX_CPU_ISA only where ONEDNN_MAX_CPU_ISA is not set."""
    monkeypatch.setattr(precision, "Path", lambda name: SimpleNamespace(read_text=lambda: cpuinfo))
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert precision.cpu_has_bfloat16() is expected
    assert precision.choose_policy("auto") == ("mixed_bfloat16" if expected else "float32")


def test_without_a_list_of_flags_it_is_float32(monkeypatch):
    def missing():
        raise FileNotFoundError

    monkeypatch.setattr(precision, "Path", lambda name: SimpleNamespace(read_text=missing))
    assert not precision.cpu_has_bfloat16()


@pytest.mark.parametrize("given", ["float32", "bfloat16", "float16"])
def test_a_dry_run_tells_the_memory_of_its_precision(given):
    """Feature maps of 16 bits need half of it."""
    asked = ("train", "--target-res", "64", "--dry-run", "--precision")
    code, out, err = pggan(*asked, given)
    assert code == 0 and f"about {'0.077' if given == 'float32' else '0.047'} GiB" in out, err
