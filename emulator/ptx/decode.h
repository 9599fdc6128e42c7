/* decode.h: what the builders of decode_*.c have in common.
 *
 * For each statement decode_code.c finds the form, checks every operand against it and
 * resolves it (Res), then calls the form's builder, which appends one instruction or a few.
 * Operands of the wrong kind, width or class end the decoding with the line's text.
 * Builders read the modifiers from d->m.
 *
 * Each file calls only those below it: decode.c the kernel, decode_functions.c what it may
 * call, decode_code.c the statements of each, form.c the form of a statement,
 * decode_forms.c the table of them, decode_….c the builders, decode_operand.c their
 * operands, decode_emit.c instructions and rows. */
#ifndef ATTNC_EMULATOR_DECODE_H
#define ATTNC_EMULATOR_DECODE_H

#include "emulator/ptx/insn.h"
#include "emulator/check/shadow.h"
#include "emulator/ptx/form.h"

enum { DEC_OPNDS = 8 };

typedef struct Res {
  const Opnd *o; /* NULL: left out */
  Type type;     /* of the register, or what was due */
  bool wide;     /* the row is of 64 bits; 128 are two of them, as elements */
  bool negated;
  uint32_t row;    /* or predicate; of an address: its base */
  uint32_t second; /* predicate behind | ; PRED_SINK */
  uint32_t elem[8];
  int n; /* elements */
} Res;

typedef struct Const {
  uint64_t value;
  uint32_t row;
  int16_t fill; /* Fill.special */
  bool wide;
  struct Const *next;
} Const;

enum { KNOWN = 512 };
typedef struct Known { /* a mnemonic seen in this kernel */
  const char *op;
  int n;
  const Form *form;
  Mods m;
} Known;

/* A function calls another; -1: any. */
typedef struct CallEdge {
  int from, to;
} CallEdge;

struct Dec {
  Ptx *ptx;
  const Ast *ast;     /* of the entry, or of the function at hand */
  Function *function; /* at hand; NULL: the entry */
  Kernel *k;
  Known *known; /* [KNOWN], by a hash of the mnemonic */
  const Stmt *st;
  const Form *form;
  Mods m;
  Res r[DEC_OPNDS];
  int n_r;
  bool selects; /* the operand may have a sign or a selector */
  uint32_t guard;
  VEC(Insn) code;
  VEC(uint32_t) lists;
  VEC(Fill) fills;
  VEC(const char *) row_names;
  VEC(bool) row_wide;
  VEC(const char *) pred_names;
  VEC(Function) functions; /* that the entry may call */
  VEC(CallSite) sites;
  VEC(CallEdge) edges;
  uint32_t rows, preds;
  int *first; /* instruction of each statement */
  Const *consts[256];
};

/* ---- decode_emit.c ---- */
_Noreturn void dec_fail(Dec *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error unless the module's target (target.h) and version have it. */
void dec_need(Dec *, const char *what, int target, int version);
/* The same, of the first n characters. */
void dec_need_n(Dec *, const char *what, int n, int target, int version);
Insn *dec_emit(Dec *, InsnKind);
Insn *dec_step(Dec *, Step *);
Insn *dec_lane(Dec *, int op, Type, uint32_t dst, bool wide, uint32_t a, uint32_t b);
void dec_list(Dec *, Insn *, const uint32_t *d, int n_d, const uint32_t *s, int n_s);
void dec_return(Dec *); /* from the function at hand, or the entry */
/* A row of its own; name: of a register, or NULL. */
uint32_t dec_row(Dec *, bool wide, const char *name);
uint32_t dec_temp(Dec *, bool wide);
uint32_t dec_temp_pred(Dec *);
/* A row that is written when a warp starts; fill: as Fill.special. */
uint32_t dec_fill(Dec *, uint64_t value, bool wide, int fill);
uint32_t dec_const(Dec *, uint64_t value, bool wide);
uint32_t dec_special(Dec *, Special);
/* ---- decode_operand.c ---- */
uint32_t dec_reg(Dec *, Reg *);
/* A source of type `want`: register, number or special register. */
uint32_t dec_source(Dec *, const Opnd *, Type want, bool wider);
uint32_t dec_dest(Dec *, const Opnd *, Type want, bool wider);
uint32_t dec_pred(Dec *, const Opnd *);
uint64_t dec_int(Dec *, const Opnd *, uint64_t max);
uint64_t dec_function_address(Dec *, const Ast *);
/* The function that an alias names, or the function itself. */
static inline const Ast *
dec_aliased(const Ast *a)
{
  return a->alias ? a->alias : a;
}
/* The address of a place in the frame of the function at hand. */
uint32_t dec_in_frame(Dec *, uint64_t at, bool wide);
/* The address of a variable in its own space, and more. */
uint32_t dec_address_of(Dec *, const Var *, uint64_t more, bool wide);
int dec_target(Dec *, const char *label); /* statement */
Type dec_unsigned(int bits);
Space dec_space(const Mods *);
/* The ShadowScope that the modifiers name; none: the device. */
static inline uint8_t
dec_scope(const Mods *m)
{
  return mod_is(m, M_CTA) ? SHADOW_CTA : mod_is(m, M_CLUSTER) ? SHADOW_CLUSTER : SHADOW_GPU;
}
/* Where a variable is that an address of this space names. */
static inline Space
dec_var_space(Space s)
{
  return s == SPACE_CLUSTER ? SPACE_SHARED : s;
}
/* ---- decode_alu.c ---- */
/* Of an operand that names a variable, as a number of type t. */
uint32_t dec_address_row(Dec *, const Opnd *, Type t);
/* ---- decode_call.c ---- */
/* What the entry may call; before anything is laid out. */
void dec_find_functions(Dec *);
/* Of a parameter or result. */
uint32_t dec_formal_bytes(const Formal *);
/* ---- decode_mem.c ---- */
/* A step at an address: a is its base, imm its offset. */
Insn *dec_mem(Dec *, Step *, const Res *addr, Space);
/* The instruction changes what CTAs find in device memory without a barrier between them:
 * reads, it finds what they have changed. */
void dec_meets(Dec *, Insn *, bool reads);
/* The operand that a .L2::cache_hint brings, and only it. */
void dec_hint(Dec *, const Res *policy);

/* ---- decode_code.c ---- */
/* The instructions of an entry or a function. */
void dec_code(Dec *, const Ast *);
/* ---- decode_functions.c ---- */
enum { MAX_LOCAL = 512 << 10 };
/* The instructions of what the entry may call, and how much stack a thread needs. */
void dec_functions(Dec *);
/* Lays out what an entry or function has in local memory; how many bytes. */
uint64_t dec_frame(const Ast *, uint32_t *align);
uint64_t dec_place(uint64_t *at, Var *);

/* clang-format off */
#define BUILDERS(X)                                                                      \
  X(lane) X(bfi) X(pred) X(lop3) X(setp) X(set) X(selp) X(slct) X(mov) X(cvta) X(isspacep)\
  X(math) X(testp) X(cvt) X(bra) X(brx) X(exit) X(trap) X(nothing) X(bar) X(bar_red)     \
  X(warp_sync) X(fence) X(ld) X(st) X(prefetch) X(sleep) X(grid) X(setmaxnreg) X(mapa)   \
  X(ctarank) X(cluster_arrive) X(cluster_wait) X(atom) X(cp_async) X(cp_commit)          \
  X(cp_wait) X(shfl) X(vote) X(match) X(redux) X(activemask) X(elect) X(ldmatrix)        \
  X(stmatrix) X(movmatrix) X(mma) X(product) X(wmma_load) X(wmma_store) X(tma_load)      \
  X(tma_store) X(tma_prefetch) X(tma_fence) X(ldmatrix_bytes) X(stmatrix_bytes)          \
  X(wgmma) X(wgmma_group) X(mbar_init) X(mbar_inval) X(mbar_arrive) X(mbar_wait)         \
  X(copy_arrive) X(bulk_load) X(bulk_send) X(bulk_store) X(bulk_commit) X(bulk_wait)     \
  X(fence_proxy) X(carry) X(mixed) X(minmax) X(cvt_pack) X(call) X(ret) X(alloca) X(stack) \
  X(video) X(video2) X(video4) X(vmad) X(tensormap) X(tensormap_copy) X(policy) X(discard) \
  X(st_bulk) X(st_async) X(bulk_prefetch) X(mbar_count) X(clc_cancel) X(clc_query)
/* clang-format on */
#define X(name) Build build_##name;
BUILDERS(X)
#undef X

#endif
