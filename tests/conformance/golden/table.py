"""The table: for each form of the emulator the kernel that exercises it, its inputs, and how
closely a chip and the emulator must agree.

A form belongs to the first row whose words it all has (the opcode, then modifiers).  A form
without a row is an error: an instruction that the emulator learns needs its line here.
"""
from typing import Callable, NamedTuple, Optional

from . import arrivals, clusters, matrices, memory, registers, tensors, warps, wgmma, wmma
from .forms import instances, read


class Bound(NamedTuple):
    """|a − b| ≤ relative × max(|a|, |b|) + absolute.  Where the PTX ISA bounds an
    approximation's error, two answers within the bound may differ by twice of it."""
    relative: float = 0.0
    absolute: float = 0.0


class Row(NamedTuple):
    words: str
    build: Optional[Callable]    # None: nothing to see; why says the reason
    n: int = 1024                # threads, elements
    inputs: str = ""             # in place of the operand's number in the inputs' names
    bound: Bound = Bound()       # no bound: the same bits
    why: str = ""


def approx(words, sweep, relative=0.0, absolute=0.0, n=8192):
    return Row(words, registers.build, n, sweep, Bound(2 * relative, 2 * absolute))


REG = registers.build
ROWS = [
    # approximations; errors as the PTX ISA 9.0 states them
    approx("ex2 f32", "sweep.ex2", 2.0 ** -22.5, 2.0 ** -149),
    approx("ex2 f16", "all", 2.0 ** -9.9, 2.0 ** -24, n=65536),
    approx("ex2 f16x2", "", 2.0 ** -9.9, 2.0 ** -24, n=1024),
    approx("ex2 bf16", "all", 2.0 ** -7, n=65536),
    approx("ex2 bf16x2", "", 2.0 ** -7, n=1024),
    approx("lg2 f32", "sweep.lg2", 2.0 ** -22, 2.0 ** -22),
    approx("sin f32", "sweep.sin", absolute=2.0 ** -20.5),
    approx("cos f32", "sweep.sin", absolute=2.0 ** -20.5),
    approx("tanh f32", "sweep.tanh", 2.0 ** -11),
    approx("tanh f16", "all", absolute=2.0 ** -10.987, n=65536),
    approx("tanh f16x2", "", absolute=2.0 ** -10.987, n=1024),
    approx("tanh bf16", "all", absolute=2.0 ** -8, n=65536),
    approx("tanh bf16x2", "", absolute=2.0 ** -8, n=1024),
    approx("rcp approx f32", "sweep.rcp", 2.0 ** -23, 2.0 ** -149),
    approx("sqrt approx f32", "sweep.rcp", 2.0 ** -23, 2.0 ** -149),
    approx("rsqrt f32", "sweep.rcp", 2.0 ** -22.9, 2.0 ** -149),
    approx("rcp approx f64", "", 2.0 ** -19, n=2048),
    approx("rsqrt f64", "", 2.0 ** -20, n=2048),
    approx("div approx", "", 2.0 ** -22, 2.0 ** -149, n=4096),
    approx("div full", "", 2.0 ** -22, 2.0 ** -149, n=4096),
    # compare, select, convert: many modifiers, small results
    Row("setp", REG, 512), Row("set", REG, 512), Row("cvt", REG, 512),
    Row("selp", REG, 256), Row("slct", REG, 512), Row("testp", REG, 256),
    *(Row(words, registers.build_carry, 512)
      for words in ("add cc", "sub cc", "mad cc", "addc", "subc", "madc")),
    *(Row(opcode, registers.build_video, 512) for opcode in
      """vadd vsub vabsdiff vmin vmax vshl vshr vset vmad vadd2 vsub2 vavrg2 vabsdiff2 vmin2 vmax2
      vset2 vadd4 vsub4 vavrg4 vabsdiff4 vmin4 vmax4 vset4""".split()),
    # moves
    Row("mov pred", registers.build_mov_pred, 128),
    Row("mov b128", registers.build_mov_wide, 128), Row("mov", registers.build_mov, 128),
    Row("cvta", memory.build_cvta, 128), Row("isspacep", memory.build_isspacep, 128),
    # memory
    Row("ld v8", memory.build_wide, 128), Row("st v8", memory.build_wide, 128),
    *(Row(f"{op} L2::evict_{e}", memory.build_wide, 128)
      for op in ("ld", "st") for e in ("normal", "first", "last")),
    Row("st bulk", memory.build_fill, 128), Row("st async", clusters.build_st_async, 256),
    Row("red async", clusters.build_st_async, 256),
    Row("ldu", memory.build_ld, 128), Row("createpolicy", memory.build_policy, 128),
    Row("discard", None, why="leaves bytes that nobody may rely on"),
    Row("ld", memory.build_ld, 128), Row("st", memory.build_st, 128),
    Row("atom", memory.build_atom, 256), Row("red", memory.build_atom, 256),
    Row("mapa", clusters.build_mapa, 256), Row("getctarank", clusters.build_ctarank, 256),
    Row("mbarrier shared::cluster", clusters.build_mbarrier, 256),
    Row("mbarrier pending_count", arrivals.build_count, 256),
    Row("mbarrier init", arrivals.build_made, 256),
    Row("mbarrier inval", arrivals.build_made, 256),
    Row("mbarrier test_wait", arrivals.build_wait, 256),
    Row("mbarrier try_wait", arrivals.build_wait, 256),
    Row("mbarrier", arrivals.build_arrive, 256),
    Row("cp tensor prefetch", tensors.build_quiet, 256),
    Row("cp tensor bulk_group", tensors.build_store, 256),
    Row("cp tensor", tensors.build_load, 256),
    Row("cp bulk prefetch", warps.build_nothing, 128),
    Row("cp multicast::cluster", clusters.build_multicast, 256),
    Row("cp shared::cluster shared::cta", clusters.build_send, 256),
    Row("cp mbarrier", arrivals.build_async, 256),
    Row("cp bulk mbarrier::complete_tx::bytes", arrivals.build_load, 256),
    Row("cp bulk", arrivals.build_store, 256),
    Row("cp commit_group", memory.build_cp_wait, 128),
    Row("cp wait_group", memory.build_cp_wait, 128),
    Row("cp wait_all", memory.build_cp_wait, 128),
    Row("cp", memory.build_cp_async, 128),
    # lanes, warps, control
    Row("shfl", warps.build_shfl), Row("vote", warps.build_vote),
    Row("match", warps.build_match), Row("redux", warps.build_redux),
    Row("elect", warps.build_mask), Row("activemask", warps.build_mask),
    Row("bar warp", warps.build_warp_sync, 128),
    Row("barrier cluster", clusters.build_barrier, 256),
    Row("bar red", warps.build_bar_red, 512), Row("barrier red", warps.build_bar_red, 512),
    Row("bar arrive", warps.build_arrive, 256), Row("barrier arrive", warps.build_arrive, 256),
    Row("bar sync", warps.build_barrier, 256), Row("barrier sync", warps.build_barrier, 256),
    Row("fence tensormap::generic acquire", tensors.build_quiet, 256),
    Row("fence", warps.build_fence, 128), Row("membar", warps.build_fence, 128),
    Row("bra", warps.build_bra, 256), Row("brx", warps.build_brx, 256),
    Row("call", warps.build_call, 256), Row("alloca", warps.build_stack, 128),
    Row("stacksave", warps.build_stack, 128), Row("stackrestore", warps.build_stack, 128),
    Row("ret", warps.build_exit, 256), Row("exit", warps.build_exit, 256),
    Row("nanosleep", warps.build_nothing, 128), Row("griddepcontrol", warps.build_nothing, 128),
    Row("setmaxnreg", clusters.build_setmaxnreg, 128),
    Row("prefetch tensormap", tensors.build_quiet, 256),
    Row("prefetch", warps.build_nothing, 128), Row("prefetchu", warps.build_nothing, 128),
    Row("applypriority", warps.build_nothing, 128), Row("pmevent", warps.build_nothing, 128),
    Row("clusterlaunchcontrol", None, why="which CTAs have started by then is the chip's choice"),
    Row("brkpt", None, why="ends the context that no debugger watches"),
    Row("tensormap", None, why="the bytes of a map are each driver's own; what its copies do is seen "
        "by emu_gather"),
    Row("trap", None, why="ends the context it runs in; nothing is left to compare"),
    # matrices
    Row("wgmma mma_async", wgmma.build, 256), Row("wgmma", wgmma.build_group, 256),
    Row("wmma", wmma.build, 256),
    *(Row(f"mma {word}", matrices.build_mma, 1024)
      for word in ("m8n8k4", "s32", "f64", "e4m3")),
    Row("mma", matrices.build_mma, 4096), Row("ldmatrix", matrices.build_ldmatrix, 256),
    Row("stmatrix", matrices.build_stmatrix, 256),
    Row("movmatrix", matrices.build_movmatrix, 256),
] + [Row(opcode, REG) for opcode in
     """add sub mul mad fma neg abs min max div rem rcp sqrt copysign sad popc clz bfind brev bfe
     bfi mul24 mad24 dp4a dp2a szext bmsk fns cnot and or xor not shl shr shf lop3 prmt""".split()]


def row_of(form):
    """The form's row; KeyError if there is none."""
    has = {form.opcode, *(m for slot in form.slots for m in slot)}
    for row in ROWS:
        opcode, *mods = row.words.split()
        if opcode == form.opcode and has.issuperset(mods):
            return row
    raise KeyError(f"no golden kernel for {form.mnemonic}: tests/conformance/golden/table.py")


def not_emulated(instance):
    """What a form's mnemonic allows and nobody has: widths that products of whole numbers do not
    have."""
    return instance.has("mma_async") and not wgmma.has_width(instance)


def split(form, row):
    """The form's instances in groups that share a row and the least target."""
    groups = {}
    for instance in instances(form):
        if not_emulated(instance):
            continue
        own = next((r for r in ROWS if r.words.split()[0] == form.opcode
                    and set(r.words.split()[1:]) <= set(instance.mods)), row)
        groups.setdefault((max(instance.sm, 80), ROWS.index(own)), []).append(instance)
    return [(sm, ROWS[k], variants) for (sm, k), variants in sorted(groups.items())]


def kernels(pattern=""):
    """All kernels, or those of forms whose mnemonic has the pattern."""
    made = []
    for form in read():
        if pattern not in form.mnemonic:
            continue
        for sm, row, variants in split(form, row_of(form)):
            if row.build:
                body = row.build(form, variants, row, sm)
                body.suffix = form.suffix
                body.name = name_of(form, sm, row, variants)
                made.append(body.finish([form.mnemonic]))
    return made


def name_of(form, sm, row, variants):
    words = form.mnemonic.replace("?", "").replace("|", "-").replace("@", "")
    words = words.replace("#", "N")
    name = "_".join(words.replace("::", "-").split())
    several = len(split(form, row)) > 1
    return f"{name}.{row.words.split()[-1]}.sm_{sm}" if several else name


def bound_of(variant):
    """Bound of an output, by the name of its instance."""
    mods = variant.split()[0].split(".")
    for row in ROWS:
        opcode, *words = row.words.split()
        if opcode == mods[0] and set(words) <= set(mods[1:]):
            return row.bound
    return Bound()
