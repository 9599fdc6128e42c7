/* A mutation fuzzer of the emulator, in process and deterministic: PTX that is broken here
 * and there is loaded and, where it loads, launched.
 *
 *   fuzz_ptx [--runs N] [--seed N] [--keep FILE] [PTX…]
 *
 * Whatever the text: loading ends with success or with a refusal that names a line, a
 * launch ends (there is little fuel), and a launch that fails has a finding.  Without files
 * the texts are the kernels below.  --keep writes each text to FILE before it is loaded. */
#include "emulator/driver/device.h"

#include <attnc/attnc_emu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 100000, MAX_CORPUS = 64, MAX_PARAMS = 32, BUFFER = 65536 };

#define HEAD ".version 8.0\n.target sm_90\n.address_size 64\n"
#define REGS                                                                               \
  ".entry k(.param .u64 p) {\n.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<20>;\n"     \
  ".reg .b64 %rd<9>; .reg .f32 %f<9>;\nld.param.u64 %rd1, [p];\n"                          \
  "cvta.to.global.u64 %rd1, %rd1;\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n"     \
  "add.s64 %rd2, %rd1, %rd2;\n"

static const char *const kernels[] = {
    HEAD REGS ".shared .align 16 .b8 s[4096];\nmov.u32 %r2, s;\nshl.b32 %r3, %r1, 4;\n"
              "add.u32 %r3, %r2, %r3;\nst.shared.v4.u32 [%r3], {%r1,%r1,%r1,%r1};\n"
              "bar.sync 0;\nld.shared.v2.u32 {%r4,%r5}, [%r3+8];\nred.shared.add.u32 "
              "[%r2], %r4;\nbar.sync 1, 64;\nst.global.u32 [%rd2], %r5;\nret;\n}\n",
    HEAD REGS "mov.u32 %r4, 0;\nLOOP:\nadd.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, %r1;\n"
              "@%p1 bra LOOP;\nand.b32 %r5, %r4, 3;\nlist: .branchtargets A, B, A, C;\n"
              "brx.idx %r5, list;\nA: add.u32 %r4, %r4, 7;\nbra OUT;\nB: not.b32 %r4, "
              "%r4;\nC: popc.b32 %r4, %r4;\nOUT:\nvote.sync.ballot.b32 %r6, %p1, -1;\n"
              "shfl.sync.bfly.b32 %r7|%p2, %r4, 1, 31, -1;\n@%p2 st.global.u32 [%rd2], "
              "%r7;\nret;\n}\n",
    HEAD REGS ".shared .align 16 .b8 s[4096];\nmov.u32 %r2, s;\nshl.b32 %r3, %r1, 4;\n"
              "add.u32 %r3, %r2, %r3;\ncvt.u64.u32 %rd3, %r3;\nadd.u64 %rd3, %rd3, %rd1;\n"
              "cp.async.cg.shared.global [%r3], [%rd1], 16;\ncp.async.commit_group;\n"
              "cp.async.wait_group 0;\nbar.sync 0;\n"
              "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4,%r5,%r6,%r7}, [%r3];\n"
              "mov.f32 %f0, 0f00000000;\n"
              "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, "
              "{%r4,%r5,%r6,%r7}, {%r4,%r5}, {%f0,%f0,%f0,%f0};\n"
              "ex2.approx.ftz.f32 %f1, %f1;\ncvt.rn.bf16x2.f32 %r8, %f1, %f2;\n"
              "st.global.u32 [%rd2], %r8;\nret;\n}\n",
    HEAD ".global .align 8 .u64 link[2] = {tab, generic(tab)+4};\n"
         ".global .align 4 .b8 tab[8] = {1, 2, 3, 4, 5};\n.const .f32 half = 0f3F000000;\n"
         ".extern .shared .align 16 .b8 dyn[];\n" REGS
         ".local .align 8 .b8 lo[16];\nmov.u64 %rd3, lo;\ncvta.local.u64 %rd3, %rd3;\n"
         "st.u32 [%rd3+4], %r1;\nld.u32 %r2, [%rd3+4];\nld.const.f32 %f1, [half];\n"
         "ld.global.u64 %rd4, [link];\nld.global.u8 %rs1, [%rd4+1];\n"
         "{ .reg .b32 tmp; mov.u32 tmp, dyn; st.shared.f32 [tmp], %f1; }\n"
         "atom.global.cas.b32 %r3, [%rd1], %r1, %r2;\nmul.wide.s16 %r4, %rs1, %rs1;\n"
         "selp.b32 %r4, %r4, %r3, %p1;\ndiv.rn.f32 %f2, %f1, 0f40400000;\n"
         "cvt.rzi.s32.f32 %r5, %f2;\nst.global.v2.u32 [%rd1+16], {%r4, %r5};\nret;\n}\n",
    HEAD ".entry k(.param .align 64 .b8 map[128], .param .u64 p) {\n.reg .pred %p<9>;\n"
         ".reg .b16 %rs<9>; .reg .b32 %r<20>; .reg .b64 %rd<9>;\n"
         ".shared .align 1024 .b8 s[4096];\n.shared .align 8 .b8 bar[8];\n"
         "mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1;\nmov.u32 %r1, %tid.x;\n"
         "setp.ne.u32 %p1, %r1, 0;\nmov.u32 %r2, bar;\n@%p1 bra INIT;\n"
         "prefetch.tensormap [%rd1];\nmbarrier.init.shared.b64 [%r2], 1;\n"
         "fence.mbarrier_init.release.cluster;\nINIT: bar.sync 0;\n@%p1 bra WAIT;\n"
         "mbarrier.arrive.expect_tx.shared.b64 %rd3, [bar], 1024;\n"
         "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
         "[s], [%rd1, {%r1, 3}], [%r2];\n"
         "WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [%r2], 0;\n@!%p2 bra WAIT;\n"
         "@%p1 ret;\nst.shared.u32 [s+8], %r1;\nfence.proxy.async.shared::cta;\n"
         "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {0, -2}], [s];\n"
         "cp.reduce.async.bulk.tensor.2d.global.shared::cta.min.tile.bulk_group [%rd1, "
         "{%r1, 7}], [s];\n"
         "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;\n}\n",
    ".version 8.0\n.target sm_90a\n.address_size 64\n" REGS
    ".shared .align 1024 .b8 s[16384];\nmov.u32 %r2, s;\nshl.b32 %r3, %r1, 7;\n"
    "add.u32 %r3, %r2, %r3;\nst.shared.v4.b32 [%r3], {%r1,%r1,%r1,%r1};\n"
    "fence.proxy.async;\nbar.sync 0;\nshr.u32 %r3, %r2, 4;\ncvt.u64.u32 %rd3, %r3;\n"
    "or.b64 %rd3, %rd3, 0x4000004000010000;\nadd.s64 %rd4, %rd3, 2;\n"
    "setp.lt.u32 %p1, %r2, 7;\nmov.f32 %f1, 0f00000000;\nmov.f32 %f2, %f1;\n"
    "mov.f32 %f3, %f1;\nmov.f32 %f4, %f1;\nwgmma.fence.sync.aligned;\n"
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1,%f2,%f3,%f4}, %rd3, %rd4, "
    "%p1, 1, -1, 0, 1;\nwgmma.commit_group.sync.aligned;\n"
    "{ .reg .b64 a; add.s64 a, %rd3, 4; "
    "wgmma.mma_async.sync.aligned.m64n8k32.f16.e4m3.e5m2 "
    "{%r4,%r5}, {%r1,%r1,%r2,%r2}, a, 0, 1, 1; }\nwgmma.commit_group.sync.aligned;\n"
    "wgmma.wait_group.sync.aligned 1;\nst.global.f32 [%rd2], %f1;\n"
    "wgmma.wait_group.sync.aligned 0;\nst.global.u32 [%rd2+512], %r4;\nret;\n}\n",
    ".version 8.0\n.target sm_90a\n.address_size 64\n.entry k(.param .u64 p) "
    ".reqntid 128, 1, 1 .reqnctapercluster 2, 1, 1 {\n"
    ".reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<20>; .reg .b64 %rd<9>;\n"
    ".shared .align 128 .b8 s[4096]; .shared .align 8 .b8 bar[8];\n"
    "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
    "add.s64 %rd2, %rd1, %rd2; mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.u32 %r3, %r2, "
    "%r3;\n"
    "mov.u32 %r4, %cluster_ctarank; xor.b32 %r5, %r4, 1; setp.eq.u32 %p1, %r1, 0;\n"
    "setmaxnreg.dec.sync.aligned.u32 64;\nst.shared.u32 [%r3], %r1;\n"
    "@%p1 mbarrier.init.shared.b64 [bar], 1;\n@%p1 fence.mbarrier_init.release.cluster;\n"
    "fence.proxy.async;\n"
    "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n"
    "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 528;\n"
    "mapa.shared::cluster.u32 %r6, %r3, %r5; mapa.shared::cluster.u32 %r7, %r2, %r5;\n"
    "mov.u32 %r8, bar; mapa.shared::cluster.u32 %r8, %r8, %r5; mov.u32 %r9, 512;\n"
    "ld.shared::cluster.u32 %r10, [%r6]; add.u32 %r7, %r7, 1024;\n"
    "@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r7], "
    "[s], "
    "%r9, [%r8];\n"
    "setp.eq.and.u32 %p2, %r4, 0, %p1; mov.u16 %rs1, 3; mov.u32 %r11, 16;\n"
    "@%p2 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
    ".multicast::cluster [s+2048], [%rd1], %r11, [bar], %rs1;\n"
    "W: mbarrier.try_wait.parity.shared.b64 %p3, [bar], 0;\n@!%p3 bra W;\n"
    "atom.shared::cluster.add.u32 %r12, [%r6+2560], 1;\n"
    "@%p1 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r8];\n"
    "barrier.cluster.arrive;\nbarrier.cluster.wait;\nsetmaxnreg.inc.sync.aligned.u32 96;\n"
    "griddepcontrol.wait;\nst.global.u32 [%rd2], %r10;\nret;\n}\n",
    HEAD REGS
    ".shared .align 16 .b8 s[64];\nmov.u32 %r2, %ctaid.x;\nsetp.ne.u32 %p1, %r1, 0;\n"
    "mov.u32 %r3, s;\nmul.wide.u32 %rd3, %r2, 4;\nadd.s64 %rd3, %rd1, %rd3;\n"
    "st.global.u32 [%rd3+64], %r2;\nbar.sync 0;\n@%p1 bra OVER;\n"
    "TRY: atom.acquire.gpu.global.cas.b32 %r4, [%rd1], 0, 1;\nsetp.ne.s32 %p2, %r4, 0;\n"
    "@%p2 bra TRY;\nld.global.u32 %r5, [%rd1+16];\nst.global.u32 [%rd1+16], %r2;\n"
    "st.release.gpu.global.u32 [%rd1], 0;\nst.shared.v4.u32 [%r3], {%r2,%r2,%r2,%r2};\n"
    "fence.proxy.async;\n"
    "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1+128], [%r3], 16;\n"
    "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nmembar.gl;\n"
    "red.relaxed.gpu.global.add.u32 [%rd1+8], 1;\nld.volatile.global.u32 %r6, [%rd1+8];\n"
    "fence.acq_rel.gpu;\natom.acq_rel.cluster.global.add.u64 %rd4, [%rd1+32], %rd3;\n"
    "OVER: bar.sync 0;\nld.relaxed.gpu.global.v2.u32 {%r7, %r8}, [%rd1+64];\n"
    "st.relaxed.sys.global.u32 [%rd3+256], %r7;\nret;\n}\n",
};

static const char *const tokens[] = {"%r1",
                                     "%rd2",
                                     "%p1",
                                     "%f1",
                                     "%rs1",
                                     "0",
                                     "-1",
                                     "0x7fffffff",
                                     "18446744073709551615",
                                     "[%rd1]",
                                     "[%r2+4]",
                                     "[s]",
                                     "{%r1,%r2}",
                                     ";",
                                     "{",
                                     "}",
                                     "|%p1",
                                     "!%p2",
                                     "@%p1",
                                     "_",
                                     "L1:",
                                     "0f3f800000",
                                     "%tid.x",
                                     "%clock64",
                                     "%ctaid.x",
                                     ".align",
                                     "exit;",
                                     "trap;",
                                     "bra LOOP;",
                                     "bar.sync 0;",
                                     "bar.arrive 1, 64;",
                                     "ld.global.v4.u32",
                                     "st.shared.b64",
                                     "add.s64",
                                     "setp.lt.f32",
                                     "atom.shared.add.u32",
                                     "cp.async.wait_all;",
                                     "shfl.sync.idx.b32",
                                     ".reg .b32 %q<5>;",
                                     ".shared .b8 zz[100];",
                                     ".local .b32 ll[4];",
                                     ".maxntid 32",
                                     "/*",
                                     "//",
                                     "\"",
                                     "ex2.approx.f32",
                                     "cvt.u64.u32",
                                     "mov.b64",
                                     "wgmma.fence.sync.aligned;",
                                     "wgmma.wait_group.sync.aligned 1;",
                                     "{%f1,%f2,%f3,%f4}",
                                     "m64n16k16",
                                     "barrier.cluster.arrive;",
                                     "barrier.cluster.wait.aligned;",
                                     ".shared::cluster",
                                     "setmaxnreg.inc.sync.aligned.u32 200;",
                                     "@!%p1 ret;"};

typedef struct Fuzz {
  uint64_t seed;
  const char *corpus[MAX_CORPUS];
  int n_corpus;
  char now[MAX_TEXT + 1];
  size_t n;
  const char *keep;
  CUdeviceptr buffer;
  CUtensorMap map; /* 64 × 20 of 16 bits in it, boxes of 64 × 8 */
  long loaded, refused, launched, succeeded;
} Fuzz;

/* splitmix64. */
static size_t
below(Fuzz *f, size_t n)
{
  uint64_t z = f->seed += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return n ? (size_t)(z % n) : 0;
}

/* ---- mutations ---- */

static void
replace(Fuzz *f, size_t at, size_t gone, const char *with, size_t n)
{
  if (at > f->n || gone > f->n - at || f->n - gone + n > MAX_TEXT)
    return;
  memmove(f->now + at + n, f->now + at + gone, f->n - at - gone + 1);
  memcpy(f->now + at, with, n);
  f->n = f->n - gone + n;
}

/* Start of the word at or behind a random place, and its length. */
static size_t
a_word(Fuzz *f, size_t *n)
{
  size_t at = below(f, f->n);
  at += strcspn(f->now + at, " \t\n,");
  at += strspn(f->now + at, " \t\n,");
  *n = strcspn(f->now + at, " \t\n,;");
  return at;
}

static void
put_token(Fuzz *f)
{
  size_t n, at = a_word(f, &n);
  const char *t = tokens[below(f, sizeof tokens / sizeof *tokens)];
  replace(f, at, below(f, 2) ? n : 0, t, strlen(t));
}

/* Another word of the text in place of one. */
static void
swap_words(Fuzz *f)
{
  char word[64];
  size_t n, at = a_word(f, &n), to;
  n = n < sizeof word ? n : sizeof word;
  memcpy(word, f->now + at, n);
  to = a_word(f, &at);
  replace(f, to, at, word, n);
}

static void
change_byte(Fuzz *f)
{
  char c = (char)(' ' + below(f, 95));
  replace(f, below(f, f->n), below(f, 2), &c, 1);
}

static void
change_digit(Fuzz *f)
{
  size_t at = below(f, f->n);
  at += strcspn(f->now + at, "0123456789");
  if (at < f->n)
    f->now[at] = (char)('0' + below(f, 10));
}

static void
drop_line(Fuzz *f)
{
  size_t at = below(f, f->n);
  at += strcspn(f->now + at, "\n");
  if (at < f->n)
    replace(f, at, 1 + strcspn(f->now + at + 1, "\n"), "", 0);
}

static void
drop_modifier(Fuzz *f)
{
  size_t at = below(f, f->n);
  at += strcspn(f->now + at, ".");
  if (at < f->n)
    replace(f, at, 1 + strcspn(f->now + at + 1, ". \n\t;"), "", 0);
}

static void
cut_end(Fuzz *f)
{
  if (!below(f, 20))
    replace(f, f->n - below(f, f->n), f->n, "", 0);
}

typedef void Mutation(Fuzz *);
static Mutation *const mutations[] = {put_token,    swap_words, swap_words,    change_byte,
                                      change_digit, drop_line,  drop_modifier, cut_end};

static void
mutate(Fuzz *f)
{
  const char *from = f->corpus[below(f, (size_t)f->n_corpus)];
  f->n = strlen(from);
  memcpy(f->now, from, f->n + 1);
  for (size_t i = 1 + below(f, 2); i && f->n > 20; i--)
    mutations[below(f, sizeof mutations / sizeof *mutations)](f);
}

/* ---- judgement ---- */

static _Noreturn void
wrong(Fuzz *f, const char *what, CUresult r)
{
  printf("%s (%d):\n%s\n", what, r, f->now);
  exit(1);
}

static void
launch(Fuzz *f, CUfunction k)
{
  uint64_t value[MAX_PARAMS];
  void *params[MAX_PARAMS];
  char text[4];
  const Ast *a = k->kernel->ast;
  for (int i = 0; i < a->params.n; i++)
    if (a->params.n > MAX_PARAMS || a->params.at[i]->bytes > sizeof f->map)
      return;
  for (int i = 0; i < MAX_PARAMS; i++) {
    value[i] = below(f, 3) ? f->buffer + 1024 * below(f, 4) : below(f, 500);
    params[i] = &value[i];
    if (i < a->params.n && a->params.at[i]->bytes > sizeof *value)
      params[i] = &f->map;
  }
  unsigned threads = (unsigned)(1 + below(f, 192)), smem = 32768 * (unsigned)below(f, 2);
  unsigned ctas = 1 + (unsigned)below(f, 2);
  if (a->reqntid[0] && below(f, 8))
    threads = a->reqntid[0];
  if (a->cluster[0] && below(f, 8))
    ctas = a->cluster[0];
  CUresult r = cuLaunchKernel(k, ctas, 1, 1, threads, 1, 1, smem, NULL, params, NULL);
  bool told = attncEmuTakeFindings(text, sizeof text) > 0;
  if (r && r != CUDA_ERROR_INVALID_VALUE && r != CUDA_ERROR_INVALID_CLUSTER_SIZE && !told)
    wrong(f, "a launch fails without a finding", r);
  f->launched++;
  f->succeeded += !r;
}

static void
forget_findings(void)
{
  static char all[1 << 18];
  attncEmuTakeFindings(all, sizeof all);
}

static void
one(Fuzz *f)
{
  char log[600] = "";
  CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *v[] = {log, (void *)(uintptr_t)sizeof log};
  CUmodule m;
  CUresult r = cuModuleLoadDataEx(&m, f->now, 2, o, v);
  f->refused += r != CUDA_SUCCESS;
  if (r && r != CUDA_ERROR_INVALID_IMAGE && strncmp(log, "ptx:", 4))
    wrong(f, "a refusal without a line", r);
  if (r)
    return;
  f->loaded++;
  for (int i = 0; i < m->n_functions; i++)
    launch(f, &m->functions[i]);
  forget_findings();
  cuModuleUnload(m);
}

static void
keep(const Fuzz *f)
{
  FILE *out = f->keep ? fopen(f->keep, "wb") : NULL;
  if (!out)
    return;
  fwrite(f->now, 1, f->n, out);
  fclose(out);
}

static CUresult
encode(Fuzz *f)
{
  const uint64_t dims[] = {64, 20}, strides[] = {128};
  const uint32_t box[] = {64, 8}, steps[] = {1, 1};
  return cuTensorMapEncodeTiled(
      &f->map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, (void *)(uintptr_t)f->buffer, dims,
      strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

static bool
start(Fuzz *f)
{
  CUcontext c;
  char why[200];
  return !attncEmuConfigure("arch=sm_90,fuel=5000,threads=1", why, sizeof why) &&
         !cuInit(0) && !cuDevicePrimaryCtxRetain(&c, 0) && !cuCtxSetCurrent(c) &&
         !cuMemAlloc_v2(&f->buffer, BUFFER) && !cuMemsetD8_v2(f->buffer, 0, BUFFER) &&
         !encode(f);
}

static const char *
read_text(const char *path)
{
  FILE *in = fopen(path, "rb");
  char *text = calloc(1, MAX_TEXT + 1);
  if (in && text && fread(text, 1, MAX_TEXT, in) > 0 && !fclose(in))
    return text;
  fprintf(stderr, "%s cannot be read\n", path);
  exit(2);
}

int
main(int argc, char **argv)
{
  static Fuzz f = {.seed = 1};
  long runs = 20000;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--runs") && i + 1 < argc)
      runs = atol(argv[++i]);
    else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
      f.seed = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--keep") && i + 1 < argc)
      f.keep = argv[++i];
    else if (f.n_corpus < MAX_CORPUS)
      f.corpus[f.n_corpus++] = read_text(argv[i]);
  }
  for (size_t i = 0; !f.n_corpus && i < sizeof kernels / sizeof *kernels; i++)
    f.corpus[i] = kernels[i];
  f.n_corpus = f.n_corpus ? f.n_corpus : (int)(sizeof kernels / sizeof *kernels);
  if (!start(&f))
    return 2;
  for (long i = 0; i < runs; i++) {
    mutate(&f);
    keep(&f);
    one(&f);
  }
  printf("%ld texts: %ld refused, %ld loaded; %ld launches, %ld of them succeeded\n", runs,
         f.refused, f.loaded, f.launched, f.succeeded);
  return !f.succeeded || !f.refused;
}
