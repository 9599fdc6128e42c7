/* unproven.h: what the emulator's bits rest on, form by form, until a chip has been asked.
 *
 * No form has been compared with hardware yet.  A form of ops.def belongs to the first row
 * that names its opcode ("div approx": the opcode with that modifier).  Basis:
 * - text: the PTX ISA's text decides every bit;
 * - bound: the ISA gives a bound; values are within it, the bits are our own;
 * - model: a published model of the chip, which we have not checked;
 * - choice: the ISA leaves it open, and the emulator takes one of what it allows.
 * docs/emulator-unproven.md has the same table; a test asks that every form has its row. */
#ifndef ATTNC_EMULATOR_UNPROVEN_H
#define ATTNC_EMULATOR_UNPROVEN_H

/* opcodes, basis, what is assumed */
#define UNPROVEN_TABLE(X)                                                                  \
  X("wmma load; wmma store", "choice", "the place of an element is the emulator's own")    \
  X("mma s32; wmma s32; wgmma s32", "text", "satfinite clamps C and all products once")    \
  X("mma f64; wmma f64", "model", "fma in order of k")                                     \
  X("mma wmma", "model", "MMA-Sim's sums; F and the steps of k as below")                  \
  X("wgmma fence; wgmma commit_group; wgmma wait_group", "text", "-")                      \
  X("wgmma", "model", "MMA-Sim's sums, F as below; swizzles go by addresses")              \
  X("ex2 lg2 sin cos tanh", "bound", "own polynomials, the same bits on every CPU")        \
  X("rcp approx; sqrt approx; rsqrt", "bound", "rounded to nearest")                       \
  X("div approx; div full", "bound", "rounded to nearest")                                 \
  X("cvt rs; fma oob", "choice", "whose random bits, which operands: see below")           \
  X("add sub mul mad fma rcp sqrt min max abs neg", "text", "NaN is 0x7fffffff")           \
  X("div rem", "text", "IEEE; integers: x / 0 has all bits set, x rem 0 is x")             \
  X("mul24 mad24 dp4a dp2a addc subc madc", "text", "-")                                   \
  X("cvt", "text", "-")                                                                    \
  X("copysign testp", "text", "-")                                                         \
  X("vadd vsub vabsdiff vmin vmax vshl vshr vset vmad", "text", "-")                       \
  X("vadd2 vsub2 vavrg2 vabsdiff2 vmin2 vmax2 vset2", "text", "-")                         \
  X("vadd4 vsub4 vavrg4 vabsdiff4 vmin4 vmax4 vset4", "text", "-")                         \
  X("sad popc clz bfind brev bfe bfi szext bmsk fns", "text", "-")                         \
  X("and or xor not cnot shl shr shf lop3 prmt", "text", "-")                              \
  X("setp set selp slct mov cvta isspacep", "text", "-")                                   \
  X("bra brx", "choice", "of parted lanes those at the lowest line run first")             \
  X("call", "choice", "lanes meet where a text without calls would let them")              \
  X("alloca stacksave stackrestore", "choice", "the stack grows upwards")                  \
  X("ret exit trap brkpt", "text", "-")                                                    \
  X("cp tensor; prefetch tensormap", "choice", "OOB NaN is all ones but the sign")         \
  X("tensormap", "choice", "what no map may have is reported where the map is used")       \
  X("mbarrier", "text", "a state is the phase's number and what is pending in it")         \
  X("mapa getctarank", "choice", "a shared address is the rank << 24, and the offset")     \
  X("setmaxnreg", "choice", "at the start a warp has all that the directives allow")       \
  X("griddepcontrol", "choice", "kernels run one after another")                           \
  X("nanosleep", "choice", "the turn is over")                                             \
  X("prefetch prefetchu applypriority pmevent", "choice", "nothing happens")               \
  X("clusterlaunchcontrol", "choice", "the cluster that would start next is cancelled")    \
  X("createpolicy", "choice", "bits of our own, which nobody looks at")                    \
  X("discard", "choice", "what is thrown away reads as NaN")                               \
  X("bar barrier", "text", "-")                                                            \
  X("membar fence", "choice", "memory is in order anyway")                                 \
  X("ld ldu st", "choice", "one order of all accesses; cache hints do nothing")            \
  X("atom red", "choice", "in the order in which CTAs and lanes happen to run")            \
  X("cp", "choice", "a copy lands at issue or at its wait (async=)")                       \
  X("shfl vote match redux activemask", "text", "-")                                       \
  X("elect", "choice", "the lowest lane of the mask")                                      \
  X("ldmatrix stmatrix movmatrix", "text", "-")

#endif
