"""FlashAttention-3's forward kernels, compiled from a checkout of theirs: what count and emulate
share.  Nothing of it is in this tree."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# As its own setup.py.
FLAGS = ["-O3", "-std=c++17", "--use_fast_math", "--expt-relaxed-constexpr",
         "--expt-extended-lambda", "-gencode", "arch=compute_90a,code=compute_90a",
         "-DCUTE_SM90_EXTENDED_MMA_SHAPES_ENABLED", "-DCUTLASS_ENABLE_GDC_FOR_SM90",
         "-DCUTLASS_DEBUG_TRACE_LEVEL=0", "-DNDEBUG", "-w"]


def add_options(parser):
    parser.add_argument("--flash-attention", required=True)
    parser.add_argument("--flash-attention-commit", help="where the folder is no git checkout")
    parser.add_argument("--cutlass", required=True)
    parser.add_argument("--cutlass-commit")
    parser.add_argument("--only", default="", help="cases with this in their name, as d128")


def run(command, **more):
    r = subprocess.run(command, capture_output=True, text=True, **more)
    if r.returncode:
        sys.exit(f"{' '.join(command)}\n{r.stderr[-4000:]}")
    return r.stdout


def nvcc(options, *arguments, **more):
    run(["nvcc", *FLAGS, "-I", os.path.join(options.flash_attention, "hopper"),
         "-I", os.path.join(options.cutlass, "include"), *arguments], **more)


def template(dim, element, mask, dim_v=None, cluster=1, pack_gqa=False):
    """The arguments of run_flash_fwd for fixed lengths; no cache is paged, appended or split."""
    output = "cutlass::bfloat16_t" if "float_e" in element else element
    flags = [mask == "causal", mask == "window"] + 5 * [False] + [pack_gqa, False, False]
    return ", ".join(["90", str(dim), str(dim_v or dim), str(cluster), element, output,
                      *(str(f).lower() for f in flags)])


def made_by(options):
    def head(folder):
        r = subprocess.run(["git", "-C", folder, "rev-parse", "--short", "HEAD"],
                           capture_output=True, text=True)
        return r.stdout.strip() or "unknown"

    found = re.search(r"V\d+\.\d+\.\d+", run(["nvcc", "--version"]))
    return {"flash_attention": options.flash_attention_commit or head(options.flash_attention),
            "cutlass": options.cutlass_commit or head(options.cutlass),
            "nvcc": found.group(0) if found else "unknown"}
