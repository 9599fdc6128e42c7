#include "sass/sass.h"

#include "base/err.h"
#include "base/str.h"

#include <string.h>

const char *const sass_class_names[SASS_CLASSES] = {
#define X(id, name) name,
    SASS_CLASS_TABLE(X)
#undef X
};

/* ---- the table ---- */

#define DESCRIPTORS "mov.b64 %rd3,{%r42,%r0}; mov.b64 %rd4,{%r42,%r0}; "
#define WAIT_GROUP  "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"
#define WGMMA(shape, a, flags)                                                             \
  DESCRIPTORS "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned." shape              \
              " {%f1,%f2,%f3,%f4}," a ",%rd4," flags "; " WAIT_GROUP
#define NEXT_DESCRIPTOR                                                                    \
  DESCRIPTORS                                                                              \
  "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16"            \
  " {%f1,%f2,%f3,%f4},%rd3,%rd4,1,1,1,0,0; add.s64 %rd3,%rd3,2; add.s64 "                  \
  "%rd4,%rd4,2; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 "                        \
  "{%f1,%f2,%f3,%f4},%rd3,%rd4,1,1,1,0,0; " WAIT_GROUP
#define TENSOR_STORE                                                                       \
  "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%rd10,{%r41,%r0}],[%r44];"
#define LOCAL_MEMORY                                                                       \
  "{ .local .align 16 .b8 loc[256]; mov.u32 %r9,loc; add.s32 %r10,%r9,%r1; "               \
  "st.local.u32 [%r10],%r2; st.local.u32 [%r10+4],%r3; ld.local.u32 %r1,[loc+8]; }"
#define BIT_TO_PREDICATE(bit, n)                                                           \
  "and.b32 %r9,%r1," #bit "; setp.ne.s32 %p" #n ",%r9,0; selp.f32 %f" #n ",%f" #n          \
  ",0fFF800000,%p" #n "; "
#define BITS_TO_PREDICATES                                                                 \
  BIT_TO_PREDICATE(1, 1)                                                                   \
  BIT_TO_PREDICATE(2, 2) BIT_TO_PREDICATE(4, 3) BIT_TO_PREDICATE(8, 4)
#define UNIFORM_WIDE                                                                       \
  "mul.wide.s32 %rd5,%r0,%r41; mad.wide.s32 %rd5,%r42,48,%rd5; add.s64 %rd5,%rd5,%rd1; "   \
  "ld.global.u32 %r1,[%rd5];"
#define COMPARE(n)        "setp.lt.s32 %p" #n ",%r1," #n "1; "
#define LOAD_IF(n)        "@%p" #n " ld.volatile.global.u32 %r2" #n ",[%rd1+6" #n "4]; "
#define STORE_IF(n)       "@%p" #n " st.volatile.global.u32 [%rd1+2" #n "4],%r2; "
#define SEVEN(x)          x(1) x(2) x(3) x(4) x(5) x(6) x(7)
#define COMPARE_AGAIN(n)  "setp.lt.s32 %p1" #n ",%r2," #n "3; "
#define STORE_IF_AGAIN(n) "@%p1" #n " st.volatile.global.u32 [%rd1+4" #n "4],%r3; "
#define PREDICATES_TO_BITS                                                                 \
  SEVEN(COMPARE)                                                                           \
  SEVEN(LOAD_IF)                                                                           \
  "bar.sync 0; " SEVEN(STORE_IF) SEVEN(COMPARE_AGAIN)                                      \
      SEVEN(STORE_IF_AGAIN) "bar.sync 0; " SEVEN(STORE_IF) SEVEN(STORE_IF_AGAIN)
#define LEAVE_LOOP                                                                         \
  "$L: ld.volatile.global.u32 %r9,[%rd1+64]; setp.lt.s32 %p1,%r9,%r2; @%p1 bra $E; "       \
  "ld.volatile.global.u32 %r9,[%rd1+68]; setp.lt.s32 %p2,%r9,%r3; @%p2 bra $F; bra $L; "   \
  "$E: st.volatile.global.u32 [%rd1+128],%r9; ld.volatile.global.u32 %r1,[%rd1+68]; "      \
  "ld.volatile.global.u32 %r2,[%rd1+68]; $F: bar.warp.sync 0xffffffff; "                   \
  "shfl.sync.bfly.b32 %r1,%r1,1,31,-1;"
#define DIVERGENCE                                                                         \
  "setp.lt.s32 %p1,%r1,%r2; @%p1 bra $A; ld.volatile.global.u32 %r9,[%rd1+64]; "           \
  "bar.warp.sync 15; shfl.sync.bfly.b32 %r1,%r1,1,31,-1; $A: "                             \
  "st.global.u32 [%rd1+128],%r1; bar.warp.sync 7;"

const SassOp sass_ops[] = {
#define FIELDS(mask_lo, lo, mask_hi, hi, name, class, least, most, target, probe)          \
  {name, SASS_##class, mask_lo, lo, mask_hi, hi, least, most, target, probe},
#define ANY(code, name, class, least, most, target, probe)                                 \
  {name, SASS_##class, 0x1ff, code, 0, 0, least, most, target, probe},
#define ONE(code, name, class, least, most, target, probe)                                 \
  {name, SASS_##class, 0xfff, code, 0, 0, least, most, target, probe},
#define MUFU(function, name, target, probe)                                                \
  {name, SASS_MUFU, 0x1ff, 0x108, 0xf << 10, (function) << 10, 75, 999, target, probe},
#define CONST(code, name, least, most, target, probe)                                      \
  {name, SASS_MOVE, 0xff000fff, 0xff000000 | (code), 0, 0, least, most, target, probe},
#include "sass/sass_ops.def"
};
const int n_sass_ops = sizeof sass_ops / sizeof *sass_ops;
_Static_assert(sizeof sass_ops / sizeof *sass_ops <= SASS_OPS_MAX, "SASS_OPS_MAX");

/* Rows of one name are counted as one: the first of them. */
static int
first_of_name(int row)
{
  for (int i = 0; i < row; i++)
    if (str_eq(sass_ops[i].name, sass_ops[row].name))
      return i;
  return row;
}

int
sass_find(Instruction x, int sm)
{
  for (int i = 0; i < n_sass_ops; i++) {
    const SassOp *op = &sass_ops[i];
    if ((x.lo & op->mask_lo) == op->lo && (x.hi & op->mask_hi) == op->hi &&
        sm >= op->sm_least && sm <= op->sm_most)
      return first_of_name(i);
  }
  return n_sass_ops + (int)(x.lo & 0xfff);
}

const char *
sass_name(int kind, Arena *arena)
{
  return kind < n_sass_ops ? sass_ops[kind].name
                           : arena_printf(arena, "0x%03x", kind - n_sass_ops);
}

SassClass
sass_class(int kind)
{
  return kind < n_sass_ops ? sass_ops[kind].class : SASS_UNKNOWN;
}

int
sass_class_total(const SassCounts *c, SassClass class)
{
  int total = 0;
  for (int i = 0; i < SASS_KINDS; i++)
    if (c->n[i] && sass_class(i) == class)
      total += c->n[i];
  return total;
}

int
sass_total(const SassCounts *c, const char *name)
{
  int total = 0;
  size_t n = strlen(name);
  for (int i = 0; i < n_sass_ops; i++) {
    const char *have = sass_ops[i].name;
    if (c->n[i] && !strncmp(have, name, n) && (!have[n] || have[n] == '.'))
      total += c->n[i];
  }
  return total;
}

int
sass_kinds(const Sass *s, int *kinds)
{
  int n = 0;
  for (int class = 0; class < SASS_CLASSES; class ++)
    for (int i = 0; i < SASS_KINDS; i++)
      if (s->counts.n[i] && (int)sass_class(i) == class)
        kinds[n++] = i;
  return n;
}
