"""Dependency arrows: what each folder may include (the table of the architecture)."""
import fnmatch
import re

from source import PRODUCT, code_only, expect, files, in_folder, line_of, main, read

LIBC = """assert ctype dirent dlfcn errno fcntl float fnmatch getopt inttypes limits link locale
math poll pthread sched setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint
stdio stdlib string strings termios time unistd""".split()
LIBC = {f"<{name}.h>" for name in LIBC} | {"<sys/*.h>", "<linux/*.h>"}
PUBLIC = {"<attnc/*.h>"}
BASE = {'"base/*.h"', '"code_id.h"'} | PUBLIC | LIBC

# The emulator: a decoded kernel is all that others see of ptx/; its builders see the steps,
# and which forms of arithmetic there are.  Nobody but driver/ itself knows of driver/.
KERNEL = {'"emulator/ptx/insn.h"', '"emulator/ptx/ptx.h"', '"emulator/export.h"'}
STEPS = {f'"emulator/exec/{name}.h"' for name in
         "steps arith atom cvt fragment lanes mma product video wgmma".split()}

# file pattern: what it may include.  The first pattern that matches a file decides.
RULES = [
    ("include/attnc/*", PUBLIC | LIBC),
    ("base/hash_block.c", BASE | {"<immintrin.h>", "<cpuid.h>"}),
    ("base/*", BASE | {"<jansson.h>"}),
    ("abi/*", LIBC | {'"abi/*"'}),
    ("schedule/*", BASE | {'"schedule/*"', "<jansson.h>"}),
    ("compiler/llvm/*", BASE | {'"compiler/*"', "<llvm-c/*.h>"}),
    ("compiler/spec/spec_yaml.c", BASE | {'"compiler/spec/*"', "<yaml.h>"}),
    ("compiler/spec/spec_mods.c", BASE | {'"compiler/spec/*"', '"specs/mods/mods.def"'}),
    ("compiler/*", BASE | {'"compiler/*"', '"schedule/*"', "<jansson.h>"}),
    ("reference/*", BASE | {'"reference/*"', '"compiler/spec/*"'}),
    ("harness/*", BASE | {'"harness/*"', '"abi/cuda.h"', "<jansson.h>"}),
    ("templates/*", PUBLIC | LIBC | {'"base/*.h"', '"templates/*"', '"compiler/tile/tile.h"',
                            '"compiler/tile/walk.h"', '"compiler/spec/spec.h"',
                            '"compiler/spec/mask_class.h"', '"compiler/template.h"'}),
    ("runtime/jit.c", BASE | {'"runtime/*"', '"schedule/*"', '"compiler/*"', '"templates/*"',
                              "<jansson.h>"}),
    ("runtime/assembler.c", BASE | {'"runtime/*"', '"sass/ptxas.h"'}),
    ("runtime/tune/tune_worker.c", BASE | {'"schedule/*"', '"harness/*"', "<jansson.h>"}),
    ("runtime/tune/*", BASE | {'"runtime/*"', '"schedule/*"', '"abi/cuda.h"',
                               '"harness/random.h"', '"harness/seqlens.h"',
                               '"harness/timing.h"', "<jansson.h>"}),
    ("runtime/*", BASE | {'"runtime/*"', '"schedule/*"', '"abi/cuda.h"', '"abi/cuda_load.h"', "<jansson.h>"}),
    ("emulator/export.h", set()),
    ("emulator/ptx/*", BASE | KERNEL | STEPS | {'"emulator/ptx/*"', '"abi/*"',
                            '"emulator/check/shadow.h"', '"emulator/check/undefined.h"',
                            '"emulator/async/tensormap.h"'}),
    ("emulator/exec/*", BASE | KERNEL | {'"emulator/exec/*"', '"emulator/async/*"', '"abi/*"',
                             '"emulator/check/*"', "<immintrin.h>", "<cpuid.h>"}),
    ("emulator/async/*", BASE | KERNEL | {'"emulator/async/*"', '"emulator/exec/*"', '"abi/*"',
                              '"emulator/check/*"'}),
    ("emulator/check/*", BASE | KERNEL | {'"emulator/check/*"', '"emulator/exec/*"', '"abi/*"'}),
    ("emulator/driver/*", BASE | {'"emulator/*"', '"abi/*"'}),
    ("emit/*", BASE | {'"emit/*"', '"rules_text.h"', "<jansson.h>"}),
    ("sass/cubin.c", BASE | {'"sass/*"', "<elf.h>"}),
    ("sass/*", BASE | {'"sass/*"'}),
    ("cli/cli.h", BASE | {'"cli/*"', '"harness/*"', '"compiler/spec/spec_fields.def"',
                          "<jansson.h>"}),
    ("cli/load.c", BASE | {'"cli/*"', '"compiler/spec/spec_fields.def"', '"harness/append.h"',
                          '"harness/seqlens.h"',
                         "<jansson.h>"}),
    ("cli/minisign.c", BASE | {'"cli/*"', "<sodium.h>"}),
    ("cli/*", BASE | {'"cli/*"', '"harness/*"', '"emit/*"', '"sass/*"', '"schedule/*"', '"abi/cuda.h"',
                      "<jansson.h>"}),
    ("examples/embed/*", PUBLIC | LIBC | {'"llama.h"'}), # of attnc_embed_pack
    ("examples/*", PUBLIC | LIBC | {'"examples/*"'}),
    ("bench/*", PUBLIC | LIBC | {'"bench/*"', "<jansson.h>"}),
]
FOLDERS = [*PRODUCT, "examples", "bench"]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*("[^"\n]*"|<[^>\n]*>|\w+)', re.M)


def allowed_for(path):
    for pattern, allowed in RULES:
        if fnmatch.fnmatch(path, pattern):
            return allowed
    return set()


def check(root):
    findings = []
    paths = files(root, ".c", ".h", ".def")
    for path in in_folder(paths, *FOLDERS):
        folder = path.rsplit("/", 1)[0]
        text = code_only(read(root, path), keep_strings=True)
        for m in INCLUDE.finditer(text):
            name = m.group(1)
            if name[0] == '"' and f"{folder}/{name[1:-1]}" in paths:
                name = f'"{folder}/{name[1:-1]}"'  # a neighbour, named without its folder
            if not any(fnmatch.fnmatch(name, pattern) for pattern in allowed_for(path)):
                findings.append(f"{path}:{line_of(text, m.start(1))}: may not include {name}")
    return findings


def self_test():
    expect(check, "base/a.c", '#include "base/str.h"\n#include <stdio.h>\n', 0)
    expect(check, "base/a.c", '#include "compiler/spec/spec.h"\n', 1)
    expect(check, "base/a.c", "// #include <cuda.h>\n/* #include <yaml.h> */\n", 0)
    expect(check, "compiler/tile/a.c", "#include <llvm-c/Core.h>\n", 1)
    expect(check, "compiler/llvm/llvm_module.c", "#include <llvm-c/Core.h>\n", 0)
    expect(check, "compiler/spec/spec.c", "#include <yaml.h>\n", 1)
    expect(check, "compiler/spec/spec_yaml.c", "#include <yaml.h>\n", 0)
    expect(check, "compiler/gen.c", '#include "runtime/cache.h"\n', 1)
    expect(check, "templates/ref_fwd.c", '#include "compiler/gen.h"\n', 1)
    expect(check, "templates/ref_fwd.c", '#include "compiler/tile/walk.h"\n', 0)
    expect(check, "templates/ref_fwd.c", '#include "compiler/tile/tile_prog.h"\n', 1)
    expect(check, "templates/ref_fwd.c", '#include "fwd.h"\n', 0, {"templates/fwd.h": ""})
    expect(check, "templates/ref_fwd.c", '#include "fwd.h"\n', 1)
    expect(check, "runtime/plan.c", '#include "compiler/gen.h"\n', 1)
    expect(check, "runtime/jit.c", '#include "compiler/gen.h"\n', 0)
    expect(check, "emulator/exec/access.c", '#include "compiler/target.h"\n#include <cuda.h>\n', 2)
    expect(check, "emulator/driver/cu.c", '#include "abi/cuda.h"\n', 0)
    expect(check, "emulator/driver/cu.c", '#include "runtime/drv.h"\n', 1)
    expect(check, "emulator/exec/access.c", '#include "emulator/driver/device.h"\n', 1)
    expect(check, "emulator/exec/access.c", '#include "emulator/ptx/decode.h"\n', 1)
    expect(check, "emulator/ptx/decode_mem.c", '#include "emulator/exec/machine.h"\n', 1)
    expect(check, "emulator/check/report.c", '#include "emulator/async/bulk.h"\n', 1)
    expect(check, "emulator/driver/module.c", '#include "emulator/exec/launch.h"\n', 0)
    expect(check, "cli/run.c", '#include "runtime/plan.h"\n', 1)
    expect(check, "examples/hello.c", '#include "base/str.h"\n#include <attnc/attnc.h>\n', 1)


if __name__ == "__main__":
    main(check, self_test, __doc__)
