#!/usr/bin/env python3
"""The programs of this folder on the emulator, under several of its settings.

    run.py FOLDER_OF_LIBCUDA NAME BINARY            # one that is built
    run.py FOLDER_OF_LIBCUDA --nvcc NVCC BUILD SOURCE_DIR [NAME…] [--shard I/N]
                                                    # made by nvcc, whole, in BUILD
    run.py FOLDER_OF_LIBCUDA --static NVCC BUILD SOURCE_DIR
                                                    # with NVIDIA's runtime: it refuses

A program finds its driver as any CUDA program does, as libcuda.so.1."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PRINTS = {"calls": "thread 5 of 64: 0.125 text\n"}  # by its kernel
OLD = {"reduce", "divergent", "gemm"}  # kernels alone: tests/e2e/bare.c is their host


def programs():
    with open(os.path.join(HERE, "programs.txt"), encoding="utf-8") as f:
        rows = [line.split() for line in f if not line.startswith("#")]
    return {name: arch for name, arch in rows if name not in OLD}


def settings(arch):
    """The chip that the PTX is for and later ones, in several orders."""
    chips = [arch] + [c for c in ("sm_90", "sm_120") if int(c[3:]) > int(arch[3:])]
    rest = ["", ",sched=random,seed=7,async=eager,ctas=random",
            ",sched=rr,threads=1,resident=16,ctas=reverse"]
    return [f"arch={chips[min(i, len(chips) - 1)]}{more}" for i, more in enumerate(rest)]


def environment(libcuda, emu):
    return dict(os.environ, LD_LIBRARY_PATH=libcuda,
                ATTNC_EMU=emu + ",findings=stderr,printf=stdout")


def run(libcuda, name, binary):
    """Under every setting; what it says where it is not right."""
    for emu in settings(programs()[name]):
        p = subprocess.run([binary], env=environment(libcuda, emu), capture_output=True,
                           text=True, timeout=300, check=False)
        right = f"{PRINTS.get(name, '')}{name}: right\n"
        if p.returncode or p.stdout != right or p.stderr:
            return f"{name} under {emu}: exit {p.returncode}\n{p.stdout}{p.stderr}"
    return None


def compile_whole(nvcc, build, source, name, runtime):
    """The whole program as nvcc makes it.  PTX alone, compressed by LZ4."""
    arch = programs()[name][3:]
    binary = os.path.join(build, f"{name}_{runtime}")
    ours = [] if runtime == "static" else [os.path.join(build, "rt.o")]
    if ours:
        subprocess.run(["cc", "-c", "-std=gnu11", "-D_GNU_SOURCE", f"-I{source}",
                        os.path.join(HERE, "rt.c"), "-o", ours[0]], check=True)
    subprocess.run([nvcc, "-std=c++17", f"-gencode=arch=compute_{arch},code=compute_{arch}",
                    "--compress-mode=speed", "-Xcompiler=-frounding-math", f"-I{source}",
                    f"-cudart={runtime}", os.path.join(HERE, name + ".cu"), *ours, "-ldl",
                    "-o", binary], check=True)
    return binary


def committed(nvcc, build, name):
    """Is the committed PTX what this nvcc makes?  Another version's need not be."""
    path = os.path.dirname(os.path.abspath(nvcc)) + os.pathsep + os.environ["PATH"]
    subprocess.run([os.path.join(HERE, "make"), name],
                   env=dict(os.environ, PATH=path, PTX_DIR=build), check=True)
    texts = []
    for folder in (HERE, build):
        with open(os.path.join(folder, name + ".ptx"), encoding="utf-8") as f:
            texts.append(f.read())
    if texts[0] == texts[1]:
        return None
    if texts[0].split("\n")[0] != texts[1].split("\n")[0]:
        print(f"{name}.ptx is another nvcc's: not compared")
        return None
    return f"{name}.ptx is not what nvcc makes of {name}.cu: ./make {name}"


def whole(libcuda, nvcc, build, source, *rest):
    names = list(programs())
    rest = list(rest)
    if "--shard" in rest:
        at = rest.index("--shard")
        i, n = map(int, rest[at + 1].split("/"))
        names = names[i::n]
        del rest[at:at + 2]
    names = rest or names
    os.makedirs(build, exist_ok=True)
    bad = []
    for name in names:
        with tempfile.TemporaryDirectory(dir=build) as scratch:
            bad.append(committed(nvcc, scratch, name))
            binary = compile_whole(nvcc, scratch, source, name, "none")
            bad.append(run(libcuda, name, binary))
    return "\n".join(text for text in bad if text)


def static(libcuda, nvcc, build, source):
    """NVIDIA's runtime has the driver prove that it is NVIDIA's, which the emulator is not: it
    says no, in order, and the program goes on from there."""
    os.makedirs(build, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as scratch:
        binary = compile_whole(nvcc, scratch, source, "lock", "static")
        p = subprocess.run([binary], env=environment(libcuda, "arch=sm_80"),
                           capture_output=True, text=True, timeout=300, check=False)
    if p.returncode == 1 and "cudaMalloc" in p.stderr and ": 500" in p.stderr:
        return None
    return f"NVIDIA's runtime: exit {p.returncode}\n{p.stdout}{p.stderr}"


def main(libcuda, what, *rest):
    if what.startswith("--") and not os.path.exists(rest[0]):
        print("there is no nvcc")
        sys.exit(77)
    if what == "--nvcc":
        bad = whole(libcuda, *rest)
    elif what == "--static":
        bad = static(libcuda, *rest)
    else:
        bad = run(libcuda, what, *rest)
    if bad:
        sys.exit(bad)


if __name__ == "__main__":
    main(*sys.argv[1:])
