/* Machine code read without a disassembler.  With ptxas: every row of sass_ops.def is
 * identified again, by a kernel that has its probe and one that has not, and loops of real
 * code are found.  Without it: hand-made ELF files and code, and what is refused. */
#include "sass/cubin.h"
#include "sass/ptxas.h"
#include "sass/sass.h"

#include "base/str.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena *arena;

static int
setup(void **state)
{
  (void)state;
  arena = arena_new(0);
  return arena ? 0 : -1;
}

static int
teardown(void **state)
{
  (void)state;
  arena_free(arena);
  return 0;
}

/* ---- by ptxas ---- */

static void
put_kernel(Str *s, const char *name, const char *body)
{
  str_printf(
      s,
      ".visible .entry %s(.param .u64 a, .param .u32 c, .param .align 64 .b8 map[128])"
      " .reqntid 128 .maxnreg 128 {\n"
      ".reg .b64 %%rd<16>; .reg .b32 %%r<64>; .reg .f32 %%f<16>; .reg .pred %%p<20>;"
      " .reg .b16 %%h<4>; .reg .f64 %%d<4>;\n"
      "ld.param.u64 %%rd0,[a]; ld.param.u32 %%r0,[c];"
      " cvta.to.global.u64 %%rd1,%%rd0; mov.u32 %%r40,%%tid.x;"
      " mul.wide.u32 %%rd2,%%r40,64; add.u64 %%rd1,%%rd1,%%rd2;"
      " mov.u32 %%r41,%%ctaid.x; mul.lo.u32 %%r42,%%r41,%%r0; mov.u32 %%r43,sh;"
      " add.u32 %%r44,%%r43,%%r42; mov.b64 %%rd10,map;"
      " cvta.param.u64 %%rd10,%%rd10;\n"
      "ld.global.v4.u32 {%%r1,%%r2,%%r3,%%r4},[%%rd1];"
      " ld.global.v4.f32 {%%f1,%%f2,%%f3,%%f4},[%%rd1+16];\n",
      name);
  str_put(s, body);
  str_put(s, "\nst.global.v4.u32 [%rd1+32],{%r1,%r2,%r3,%r4};"
             " st.global.v4.f32 [%rd1+48],{%f1,%f2,%f3,%f4};\nret; }\n");
}

static Str
new_module(const char *target)
{
  Str s = str_new(arena);
  str_printf(&s,
             ".version %s\n.target %s\n.address_size 64\n"
             ".extern .shared .align 1024 .b8 sh[];\n",
             str_eq(target, "sm_120") ? "8.7" : "8.0", target);
  return s;
}

static Cubin
assembled(const Str *ptx, const char *target)
{
  Assembled a;
  attnc_error e = {0};
  Cubin c;
  if (ptxas_run(ptx->p, ptx->n, target, arena, &a, &e) != ATTNC_OK)
    fail_msg("%s\n%s", e.message, a.log);
  char *kept = arena_alloc(arena, a.bytes);
  memcpy(kept, a.cubin, a.bytes);
  free(a.cubin);
  assert_int_equal(cubin_read(kept, a.bytes, arena, &c, &e), ATTNC_OK);
  return c;
}

static Sass
kernel_named(const Cubin *c, const char *name)
{
  Sass s = {0};
  attnc_error e = {0};
  for (int i = 0; i < c->n; i++)
    if (str_eq(c->kernels[i].name, name))
      assert_int_equal(sass_read(&c->kernels[i], c->sm, arena, &s, &e), ATTNC_OK);
  assert_non_null(s.name);
  return s;
}

/* Counts of exactly this name. */
static int
named(const Sass *s, const char *name)
{
  int n = 0;
  for (int i = 0; i < SASS_KINDS; i++)
    if (s->counts.n[i] && str_eq(sass_name(i, arena), name))
      n += s->counts.n[i];
  return n;
}

static bool
need_ptxas(void)
{
  bool found = ptxas_find(arena) != NULL;
  if (!found)
    print_message("SKIPPED: ptxas is not found\n");
  return found;
}

static int
judge_probe(const Cubin *c, int row)
{
  const SassOp *op = &sass_ops[row];
  Sass base = kernel_named(c, "base");
  Sass with = kernel_named(c, arena_printf(arena, "probe%d", row));
  int was = *op->probe ? named(&base, op->name) : 0;
  if (named(&with, op->name) > was)
    return 0;
  print_message("%s on %s: %d without its probe, %d with it\n", op->name, op->target, was,
                named(&with, op->name));
  return 1;
}

static void
probes_of(const char *target)
{
  Str s = new_module(target);
  int bad = 0;
  put_kernel(&s, "base", "");
  for (int i = 0; i < n_sass_ops; i++)
    if (sass_ops[i].target && str_eq(sass_ops[i].target, target))
      put_kernel(&s, arena_printf(arena, "probe%d", i), sass_ops[i].probe);
  Cubin c = assembled(&s, target);
  for (int i = 0; i < n_sass_ops; i++)
    if (sass_ops[i].target && str_eq(sass_ops[i].target, target))
      bad += judge_probe(&c, i);
  assert_int_equal(bad, 0);
}

static void
test_every_row_is_identified(void **state)
{
  (void)state;
  if (!need_ptxas())
    skip();
  probes_of("sm_80");
  probes_of("sm_90a");
  probes_of("sm_120");
}

/* A loop of tiles around a main loop with a wait in it: what a kernel of ours looks like.
 */
#define NEST                                                                               \
  "mov.u32 %r20,0;\n$TILE: mov.u32 %r21,0;\n"                                              \
  "$MAIN:\n$WAIT: mbarrier.try_wait.parity.shared.b64 %p1,[%r44],%r21;\n"                  \
  "@%p1 bra $READY; bra $WAIT;\n$READY:\n"                                                 \
  "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r5,%r6,%r7,%r8},[%r2];\n"                    \
  "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4},"                   \
  "{%r5,%r6,%r7,%r8},{%r5,%r6},{%f1,%f2,%f3,%f4};\n"                                       \
  "mbarrier.arrive.shared.b64 _,[%r44];\n"                                                 \
  "add.u32 %r21,%r21,1; setp.lt.u32 %p2,%r21,%r0; @%p2 bra $MAIN;\n"                       \
  "st.global.v4.f32 [%rd1+64],{%f1,%f2,%f3,%f4}; bar.sync 0;\n"                            \
  "add.u32 %r20,%r20,1; setp.lt.u32 %p3,%r20,%r41; @%p3 bra $TILE;\n"

static void
nest_on(const char *target)
{
  Str s = new_module(target);
  put_kernel(&s, "nest", NEST);
  Cubin c = assembled(&s, target);
  Sass k = kernel_named(&c, "nest");
  const SassLoop *main_loop = NULL;
  for (int i = 0; i < k.n_loops; i++)
    if (k.loops[i].main)
      main_loop = &k.loops[i];
  assert_int_equal(k.n_main, 1);
  assert_true(main_loop && main_loop->depth >= 2);
  assert_int_equal(sass_total(&main_loop->counts, "HMMA"), sass_total(&k.counts, "HMMA"));
  assert_int_equal(sass_total(&main_loop->counts, "SYNCS.ARRIVE"), 1);
  assert_int_equal(sass_total(&main_loop->counts, "STG"), 0);
}

/* A rare correction in a loop, behind a vote: the count is of what is always done. */
#define VOTED                                                                              \
  "mov.u32 %r21,0;\n$MAIN:\n"                                                              \
  "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4},"                   \
  "{%r5,%r6,%r7,%r8},{%r5,%r6},{%f1,%f2,%f3,%f4};\n"                                       \
  "setp.gt.f32 %p1,%f1,0f4A800000; vote.sync.any.pred %p1,%p1,-1;\n"                       \
  "@!%p1 bra $USUAL;\n"                                                                    \
  "sqrt.approx.f32 %f1,%f1; sqrt.approx.f32 %f2,%f2; sqrt.approx.f32 %f3,%f3;\n"           \
  "sin.approx.f32 %f1,%f1; cos.approx.f32 %f2,%f2; sin.approx.f32 %f4,%f4;\n"              \
  "$USUAL: ex2.approx.ftz.f32 %f3,%f3;\n"                                                  \
  "add.u32 %r21,%r21,1; setp.lt.u32 %p2,%r21,%r0; @%p2 bra $MAIN;\n"                       \
  "st.global.v4.f32 [%rd1+64],{%f1,%f2,%f3,%f4};\n"

static void
test_what_a_vote_leads_around(void **state)
{
  (void)state;
  if (!need_ptxas())
    skip();
  Str s = new_module("sm_90");
  put_kernel(&s, "voted", VOTED);
  Cubin c = assembled(&s, "sm_90");
  Sass k = kernel_named(&c, "voted");
  assert_int_equal(k.n_main, 1);
  for (int i = 0; i < k.n_loops; i++)
    if (k.loops[i].main) {
      assert_int_equal(sass_total(&k.loops[i].counts, "MUFU"), 1);
      assert_int_equal(sass_total(&k.loops[i].counts, "HMMA"), 1);
      assert_true(k.loops[i].aside >= 6);
    }
  assert_int_equal(sass_total(&k.counts, "MUFU"), 7);
}

static void
test_loops_of_real_code(void **state)
{
  (void)state;
  if (!need_ptxas())
    skip();
  nest_on("sm_90");
  nest_on("sm_90a");
  nest_on("sm_120");
}

/* Two products into the same accumulators a trip; `between` is done while they run. */
#define PRODUCTS(between)                                                                  \
  "mov.b64 %rd3,{%r42,%r0}; mov.b64 %rd4,{%r42,%r0}; mov.u32 %r21,0;\n"                    \
  "$MAIN: .pragma \"nounroll\";\nwgmma.fence.sync.aligned;\n"                              \
  "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4},%rd3,%rd4,"         \
  "1,1,1,0,0;\nwgmma.commit_group.sync.aligned;\n" between                                 \
  "wgmma.wait_group.sync.aligned 0;\n"                                                     \
  "add.u32 %r21,%r21,1; setp.lt.u32 %p2,%r21,%r0; @%p2 bra $MAIN;\n"

static const char *
log_of(const char *body, Sass *out)
{
  Str s = new_module("sm_90a");
  Assembled a;
  Cubin c;
  attnc_error e = {0};
  put_kernel(&s, "products", body);
  assert_int_equal(ptxas_run(s.p, s.n, "sm_90a", arena, &a, &e), ATTNC_OK);
  char *kept = arena_alloc(arena, a.bytes);
  memcpy(kept, a.cubin, a.bytes);
  free(a.cubin);
  assert_int_equal(cubin_read(kept, a.bytes, arena, &c, &e), ATTNC_OK);
  *out = kernel_named(&c, "products");
  return a.log;
}

static void
test_products_in_flight(void **state)
{
  (void)state;
  Sass good, bad;
  if (!need_ptxas())
    skip();
  assert_null(ptxas_remark(log_of(PRODUCTS(""), &good), 0, arena));
  assert_int_equal(good.n_main, 1);
  assert_int_equal(sass_total(&good.counts, "HGMMA"), 1);
  assert_int_equal(sass_total(&good.counts, "WARPGROUP"), 2);
  const char *log = log_of(PRODUCTS("add.f32 %f1,%f1,%f1;\n"), &bad);
  assert_non_null(ptxas_remark(log, 0, arena));
  assert_non_null(strstr(ptxas_remark(log, 0, arena), "C751"));
}

/* ---- by hand ---- */

#define NOP_LO  0x0000000000007918u
#define EXIT_LO 0x000000000000794du
#define HMMA_LO 0x000000000000723cu
#define PT_HI   (7ull << 23)

/* BRA of `distance` instructions from the next one; guard 7: always. */
static Instruction
bra(int distance, int guard, bool low_byte)
{
  int64_t units = (int64_t)distance * 4;
  uint64_t high = (uint64_t)(low_byte ? units >> 8 : units) & 0xffffffffffff;
  Instruction x = {0x947 | (uint64_t)guard << 12 | high << 34, PT_HI | high >> 30};
  if (low_byte)
    x.lo |= (uint64_t)(units & 0xff) << 16;
  return x;
}

static Sass
read_code(const Instruction *code, int n, attnc_status want)
{
  CubinKernel k = {"hand", (const char *)code, n};
  Sass s;
  attnc_error e = {0};
  assert_int_equal(sass_read(&k, 90, arena, &s, &e), want);
  return s;
}

static void
test_branches_of_both_kinds(void **state)
{
  (void)state;
  for (int low = 0; low < 2; low++) {
    const Instruction code[] = {
        {NOP_LO, 0},      {HMMA_LO, 0},    {NOP_LO, 0}, bra(-3, 0, low),
        {EXIT_LO, PT_HI}, bra(-1, 7, low), {NOP_LO, 0}, {NOP_LO, 0},
    };
    Sass s = read_code(code, 8, ATTNC_OK);
    assert_int_equal(s.counts.total, 6);
    assert_int_equal(s.n_main, 1);
    assert_int_equal(s.loops[0].first, 1);
    assert_int_equal(s.loops[0].last, 3);
    assert_int_equal(s.loops[0].counts.total, 3);
  }
}

/* A retry behind the end that comes back into the middle is part of no loop but its own. */
static void
test_a_retry_out_of_line(void **state)
{
  (void)state;
  const Instruction code[] = {
      {NOP_LO, 0},      bra(4, 0, true),  {HMMA_LO, 0},     {NOP_LO, 0},
      {EXIT_LO, PT_HI}, {NOP_LO, 0}, /* unreached */
      {NOP_LO, 0},      bra(-2, 1, true), bra(-7, 7, true), bra(-1, 7, true),
  };
  Sass s = read_code(code, 10, ATTNC_OK);
  assert_int_equal(s.n_loops, 1);
  assert_int_equal(s.loops[0].first, 6);
  assert_int_equal(s.loops[0].counts.total, 2);
  assert_int_equal(s.n_main, 0);
}

static void
test_unknown_codes_are_counted(void **state)
{
  (void)state;
  const Instruction code[] = {{0x7eee, 0}, {0x7eee, 0}, {EXIT_LO, PT_HI}, bra(-1, 7, true)};
  Sass s = read_code(code, 4, ATTNC_OK);
  assert_int_equal(named(&s, "0xeee"), 2);
  assert_int_equal(sass_class_total(&s.counts, SASS_UNKNOWN), 2);
}

static void
test_code_without_an_end(void **state)
{
  (void)state;
  const Instruction code[] = {{NOP_LO, 0}, {EXIT_LO, PT_HI}};
  read_code(code, 2, ATTNC_ERR_INTERNAL);
}

/* A cubin of one kernel of two instructions. */
typedef struct Image {
  Elf64_Ehdr head;
  Elf64_Shdr section[3];
  char names[32];
  Instruction code[2];
} Image;

static Image
image(void)
{
  Image x = {.names = "\0.shstrtab\0.text.k"};
  memcpy(x.head.e_ident, ELFMAG, SELFMAG);
  x.head.e_ident[EI_CLASS] = ELFCLASS64;
  x.head.e_ident[EI_OSABI] = 0x41;
  x.head.e_machine = 190;
  x.head.e_flags = 0x6005a04;
  x.head.e_shoff = offsetof(Image, section);
  x.head.e_shentsize = sizeof(Elf64_Shdr);
  x.head.e_shnum = 3;
  x.head.e_shstrndx = 1;
  x.section[1] = (Elf64_Shdr){.sh_name = 1,
                              .sh_type = SHT_STRTAB,
                              .sh_size = sizeof x.names,
                              .sh_offset = offsetof(Image, names)};
  x.section[2] = (Elf64_Shdr){.sh_name = 11,
                              .sh_type = SHT_PROGBITS,
                              .sh_size = sizeof x.code,
                              .sh_offset = offsetof(Image, code)};
  return x;
}

static attnc_status
read_image(const Image *x, size_t n, Cubin *c)
{
  attnc_error e = {0};
  char *exact = malloc(n); /* so that a sanitizer sees what is read past the end */
  memcpy(exact, x, n);
  attnc_status st = cubin_read(exact, n, arena, c, &e);
  free(exact);
  return st;
}

static void
test_a_cubin(void **state)
{
  (void)state;
  Image x = image();
  Cubin c;
  assert_int_equal(read_image(&x, sizeof x, &c), ATTNC_OK);
  assert_int_equal(c.sm, 90);
  assert_int_equal(c.n, 1);
  assert_string_equal(c.kernels[0].name, "k");
  assert_int_equal(c.kernels[0].n, 2);
  x.head.e_ident[EI_OSABI] = 0x33;
  x.head.e_flags = 0x5a055a;
  assert_int_equal(read_image(&x, sizeof x, &c), ATTNC_OK);
  assert_int_equal(c.sm, 90);
}

static void
test_broken_cubins(void **state)
{
  (void)state;
  Cubin c;
  for (size_t n = 0; n < sizeof(Image); n++) {
    Image x = image();
    assert_int_equal(read_image(&x, n, &c), ATTNC_ERR_INTERNAL);
  }
  static const struct {
    size_t at;
    unsigned char byte;
  } spoilt[] = {
      {1, 'X'},
      {EI_CLASS, ELFCLASS32},
      {offsetof(Elf64_Ehdr, e_machine), 62},
      {offsetof(Elf64_Ehdr, e_shentsize), 8},
      {offsetof(Elf64_Ehdr, e_shstrndx), 77},
      {offsetof(Elf64_Ehdr, e_shoff) + 7, 0xff},
      {offsetof(Image, section[2].sh_size), 17},
      {offsetof(Image, section[2].sh_offset) + 6, 1},
      {offsetof(Image, section[2].sh_name) + 1, 9},
      {offsetof(Image, section[2].sh_type), SHT_NOBITS},
  };
  for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
    Image x = image();
    ((unsigned char *)&x)[spoilt[i].at] = spoilt[i].byte;
    assert_int_equal(read_image(&x, sizeof x, &c), ATTNC_ERR_INTERNAL);
  }
}

static void
test_remarks(void **state)
{
  (void)state;
  const char *log =
      "ptxas info : (C7508) 'setmaxnreg' ignored\nptxas info : Used 9 registers\n"
      "ptxas info : (C7513) serialized\n";
  assert_string_equal(ptxas_remark(log, 0, arena), "(C7508) 'setmaxnreg' ignored");
  assert_string_equal(ptxas_remark(log, 1, arena), "(C7513) serialized");
  assert_null(ptxas_remark(log, 2, arena));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_row_is_identified),
      cmocka_unit_test(test_loops_of_real_code),
      cmocka_unit_test(test_what_a_vote_leads_around),
      cmocka_unit_test(test_products_in_flight),
      cmocka_unit_test(test_branches_of_both_kinds),
      cmocka_unit_test(test_a_retry_out_of_line),
      cmocka_unit_test(test_unknown_codes_are_counted),
      cmocka_unit_test(test_code_without_an_end),
      cmocka_unit_test(test_a_cubin),
      cmocka_unit_test(test_broken_cubins),
      cmocka_unit_test(test_remarks),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
