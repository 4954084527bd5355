"""pggan-tf: grow a GAN on your own photos with TensorFlow and take it to a phone."""

import os
import sys

__version__ = "0.1.0"


def _sorts_slowly(cpuinfo: str) -> bool:
    """Whether these are AMD's cores of family 19h with AVX-512 (Zen 4), whose instruction for storing what a comparison has chosen is
    slow: NumPy sorts five times as fast there by AVX2 (numpy/numpy#32690). The sliced Wasserstein distance is mostly sorting."""
    fields = dict(line.split(":", 1) for line in cpuinfo.partition("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.split() for name, value in fields.items()}
    known = fields.get("vendor_id") == ["AuthenticAMD"] and fields.get("cpu family") == ["25"]
    return known and "avx512bw" in fields.get("flags", ())


if "numpy" not in sys.modules:  # which looks at it once, when it is imported
    try:
        with open("/proc/cpuinfo") as _file:
            if _sorts_slowly(_file.read()):
                os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL")
    except OSError:
        pass
