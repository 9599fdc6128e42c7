/* A program that was compiled against another version's headers than the library has: one
 * compile, one plan, one launch, one verdict, through every struct that crosses the border.
 *
 *   client EMULATOR.so SPEC_LINE…     prints one line a step; 0 if all was as it must be */
#include <attnc/attnc.h>

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { B = 1, H = 4, HK = 2, SQ = 70, SK = 90, D = 32 };
enum { N_Q = B * H * SQ * D, N_K = B * HK * SK * D, N_LSE = B * H * SQ };

static uint16_t q[N_Q], k[N_K], v[N_K], o[N_Q];
static float lse[N_LSE];
static const size_t bytes[] = {sizeof q, sizeof k, sizeof v, sizeof o, sizeof lse};
static void *const memory[] = {q, k, v, o, lse};
static const int heads[] = {H, HK, HK, H}, rows[] = {SQ, SK, SK, SQ};

static struct {
  int (*alloc)(uint64_t *, size_t);
  int (*to_device)(uint64_t, const void *, size_t);
  int (*to_host)(void *, uint64_t, size_t);
  int (*synchronize)(void);
  int (*init)(unsigned);
  int (*retain)(void **, int);
  int (*make_current)(void *);
} cu;

static int
open_driver(const char *path)
{
  const struct {
    const char *name;
    void **at;
  } calls[] = {{"cuMemAlloc_v2", (void **)&cu.alloc},
               {"cuMemcpyHtoD_v2", (void **)&cu.to_device},
               {"cuMemcpyDtoH_v2", (void **)&cu.to_host},
               {"cuCtxSynchronize", (void **)&cu.synchronize},
               {"cuInit", (void **)&cu.init},
               {"cuDevicePrimaryCtxRetain", (void **)&cu.retain},
               {"cuCtxSetCurrent", (void **)&cu.make_current}};
  void *context, *library = dlopen(path, RTLD_NOW);
  for (size_t i = 0; library && i < sizeof calls / sizeof *calls; i++)
    if (!(*calls[i].at = dlsym(library, calls[i].name)))
      return -1;
  return !library || cu.init(0) || cu.retain(&context, 0) || cu.make_current(context);
}

static void
fill(void)
{
  for (int i = 0; i < N_Q; i++)
    q[i] = (uint16_t)(0x3400 + i * 37 % 900); /* 0.25 … 0.5 as fp16 */
  for (int i = 0; i < N_K; i++) {
    k[i] = (uint16_t)(0x3400 + i * 41 % 900);
    v[i] = (uint16_t)(0x3400 + i * 43 % 900);
  }
}

/* Tensors on the host, or copied to the device; the fifth is the LSE. */
static int
tensors(attnc_tensor t[5], int on_device)
{
  for (int i = 0; i < 5; i++) {
    uint64_t at = (uint64_t)(uintptr_t)memory[i];
    if (on_device && (cu.alloc(&at, bytes[i]) || cu.to_device(at, memory[i], bytes[i])))
      return -1;
    t[i] = (attnc_tensor){.data = (void *)(uintptr_t)at};
    if (i < 4) {
      const int64_t stride[5] = {(int64_t)heads[i] * rows[i] * D, D, (int64_t)heads[i] * D,
                                 1, 0};
      memcpy(t[i].stride, stride, sizeof stride);
    }
  }
  return 0;
}

static int
say(const char *step, attnc_status s, const attnc_error *e)
{
  printf("%s: %s%s%s\n", step, attnc_status_name(s), s ? ": " : "", s ? e->message : "");
  return s != ATTNC_OK;
}

static int
whole_call(const char *emulator, const attnc_spec *spec)
{
  attnc_error e = {0};
  attnc_plan *plan = NULL;
  attnc_context *context = NULL;
  attnc_kernel *kernel = NULL;
  attnc_tensor t[5];
  const double scale[] = {0.25};
  const attnc_sizes sizes = {
      .size = sizeof sizes, .b = B, .h = H, .hk = HK, .sq = SQ, .sk = SK};
  const attnc_problem problem = {.size = sizeof problem,
                                 .op = ATTNC_OP_FWD,
                                 .sizes = &sizes,
                                 .tensors = t,
                                 .tensor_size = sizeof *t,
                                 .n_tensors = 5};
  attnc_args args = {.size = sizeof args,
                     .sizes = &sizes,
                     .tensors = t,
                     .tensor_size = sizeof *t,
                     .n_tensors = 5,
                     .n_scalars = 1,
                     .scalars = scale};
  const attnc_schedule how = {.size = sizeof how,
                              .template_name = "fwd_mma",
                              .block_m = 64,
                              .block_n = 32,
                              .options = "q_in_regs=true"};
  const attnc_compile_options with = {.size = sizeof with, .dump = "tile"};
  const attnc_options options = {
      .size = sizeof options, .libcuda = emulator, .cache = 1, .target = "sm_80"};
  attnc_tile_counts tiles = {.size = sizeof tiles};
  attnc_output_verdict of[5];
  attnc_verdict verdict = {
      .size = sizeof verdict, .outputs = of, .output_size = sizeof *of, .n_outputs = 5};
  tensors(t, 0);
  if (say("compile", attnc_compile_with(spec, &problem, "sm_80", &how, &with, &kernel, &e),
          &e) ||
      say("tiles", attnc_tiles(spec, &sizes, 64, 32, &tiles, NULL, 0, &e), &e) ||
      say("context", attnc_context_create(&options, &context, &e), &e) ||
      say("plan", attnc_plan_get_with(context, spec, &problem, &how, &plan, &e), &e))
    return 1;
  printf("dump: %s; %lld full, %lld partial\n",
         attnc_kernel_dump(kernel, "tile") ? "there" : "missing", (long long)tiles.full,
         (long long)tiles.partial);
  printf("slots: o %d lse %d scale %d\n", attnc_plan_slot(plan, "o"),
         attnc_plan_slot(plan, "lse"), attnc_plan_scalar(plan, "softmax_scale"));
  if (tensors(t, 1) || say("launch", attnc_launch(plan, &args, NULL, NULL, &e), &e) ||
      cu.synchronize())
    return 1;
  for (int i = 3; i < 5; i++)
    if (cu.to_host(memory[i], (uint64_t)(uintptr_t)t[i].data, bytes[i]))
      return 1;
  tensors(t, 0);
  if (say("verify", attnc_verify(spec, ATTNC_OP_FWD, &args, &verdict, &e), &e))
    return 1;
  printf("verdict: %s, %lld rows, o %.3g, lse %.3g\n", verdict.pass ? "PASS" : "FAIL",
         (long long)verdict.rows, of[3].max_error, of[4].max_error);
  attnc_plan_release(plan);
  attnc_context_release(context);
  attnc_kernel_release(kernel);
  return !verdict.pass;
}

int
main(int argc, char **argv)
{
  char text[512] = "";
  attnc_spec *spec = NULL;
  if (argc < 3 || open_driver(argv[1]))
    return 2;
  for (int i = 2; i < argc; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", argv[i]);
  fill();
  if (attnc_spec_load(text, strlen(text), "client", &spec, NULL))
    return 3;
  int failed = whole_call(argv[1], spec);
  attnc_spec_release(spec);
  return failed;
}
