/* hello.c: attention from a spec in the program's text: compiled when it runs (or found in
 * the cache), launched on device 0, compared with the fp64 reference.
 *
 *   cc hello.c $(pkg-config --cflags --libs attnc) && ./a.out
 *   ATTNC_LIBCUDA=libattnc-emu.so ./a.out       without a GPU */
#include "device.h"

#include <attnc/attnc.h>

#include <stdint.h>
#include <string.h>

enum { B = 1, H = 8, HK = 2, S = 256, D = 64, N = B * H * S * D };
enum { TENSORS = ATTNC_LSE + 1 }; /* of this call: q, k, v, o and lse */

/* [attention] */
static const char text[] =
    "attnc: 1\nname: hello\ndtype: bf16\nhead_dim: 64\ncausal: true\n";

static attnc_status
attend(const attnc_args *args, attnc_error *e)
{
  attnc_problem problem = {.size = sizeof problem, .sizes = args->sizes};
  attnc_spec *spec = NULL;
  attnc_context *context = NULL;
  attnc_plan *plan = NULL;
  attnc_status s = attnc_spec_load(text, strlen(text), "hello", &spec, NULL);
  if (s == ATTNC_OK)
    s = attnc_context_create(NULL, &context, e);
  if (s == ATTNC_OK)
    s = attnc_plan_get(context, spec, &problem, &plan, e); /* compiled once, then found */
  if (s == ATTNC_OK)
    s = attnc_launch(plan, args, NULL, NULL, e); /* no compile, no lock, no allocation */
  cu.synchronize();
  attnc_plan_release(plan); /* an engine keeps all three */
  attnc_context_release(context);
  attnc_spec_release(spec);
  return s;
}
/* [/attention] */

/* A tensor in memory at `data`, rows of a head one after another. */
static attnc_tensor
tensor(void *data, int heads)
{
  return (attnc_tensor){data, {(int64_t)heads * S * D, (int64_t)S * D, D, 1, 0}};
}

/* Something between -1 and 1, as bf16: the upper half of an fp32. */
static uint16_t
some_bf16(uint32_t *state)
{
  *state = *state * 1664525 + 1013904223;
  float x = (float)(*state >> 8) / (1 << 23) - 1;
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static uint16_t q[N], k[B * HK * S * D], v[B * HK * S * D], o[N];
static float lse[B * H * S];

/* Tensors in host memory, and the same on the device. */
static int
make_tensors(attnc_tensor host[TENSORS], attnc_tensor device[TENSORS])
{
  const size_t bytes[TENSORS] = {sizeof q, sizeof k, sizeof v, sizeof o, sizeof lse};
  uint32_t state = 1;
  for (size_t i = 0; i < N; i++)
    q[i] = some_bf16(&state);
  for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
    k[i] = some_bf16(&state);
    v[i] = some_bf16(&state);
  }
  host[ATTNC_Q] = tensor(q, H);
  host[ATTNC_K] = tensor(k, HK);
  host[ATTNC_V] = tensor(v, HK);
  host[ATTNC_O] = tensor(o, H);
  host[ATTNC_LSE] = (attnc_tensor){lse, {0}};
  for (int i = 0; i < TENSORS; i++) {
    device[i] = host[i];
    device[i].data = (void *)(uintptr_t)device_copy(host[i].data, bytes[i]);
    if (!device[i].data)
      return -1;
  }
  return 0;
}

static int
report(const char *what, attnc_status status, const attnc_error *e)
{
  fprintf(stderr, "%s: %s: %s\n", what, attnc_status_string(status), e->message);
  return 1;
}

static int
compare(const attnc_args *host)
{
  attnc_spec *spec;
  attnc_error e = {0};
  attnc_output_verdict outputs[TENSORS];
  attnc_verdict verdict = {.size = sizeof verdict,
                           .outputs = outputs,
                           .output_size = sizeof *outputs,
                           .n_outputs = TENSORS};
  attnc_status status = attnc_spec_load(text, strlen(text), "hello", &spec, NULL);
  if (status != ATTNC_OK)
    return report("spec", status, &e);
  status = attnc_verify(spec, ATTNC_OP_FWD, host, &verdict, &e);
  attnc_spec_release(spec);
  if (status != ATTNC_OK && status != ATTNC_ERR_CHECK)
    return report("verify", status, &e);
  printf("largest error %.2g, %lld rows: %s\n", outputs[ATTNC_O].max_error,
         (long long)verdict.rows, verdict.pass ? "PASS" : "FAIL");
  return !verdict.pass;
}

int
main(void)
{
  attnc_error e = {0};
  attnc_sizes sizes = {.size = sizeof sizes, .b = B, .h = H, .hk = HK, .sq = S, .sk = S};
  attnc_tensor host[TENSORS], device[TENSORS];
  if (device_open() || make_tensors(host, device))
    return 6;
  attnc_args args = {.size = sizeof args,
                     .sizes = &sizes,
                     .tensors = device,
                     .tensor_size = sizeof *device,
                     .n_tensors = TENSORS};
  attnc_status status = attend(&args, &e);
  if (status != ATTNC_OK)
    return report("attention", status, &e);
  cu.to_host(o, (DevicePtr)(uintptr_t)device[ATTNC_O].data, sizeof o);
  cu.to_host(lse, (DevicePtr)(uintptr_t)device[ATTNC_LSE].data, sizeof lse);
  args.tensors = host;
  return compare(&args);
}
