/* bundle.c: a kernel that was compiled before, launched with libattnc_rt alone: no
 * compiler, no LLVM, no YAML on this machine.
 *
 *   attnc compile specs/llama3_8b_prefill.attn.yaml --arch sm_80,sm_90 -o kernels
 *   cc bundle.c $(pkg-config --cflags --libs attnc_rt) && ./a.out kernels llama3_8b_prefill
 *
 * Takes kernels for bf16 and head_dim 128.  The values are all 1, so that every row of the
 * output must be 1, whatever the scores are. */
#include "device.h"

#include <attnc/attnc_rt.h>

#include <stdint.h>

enum { B = 1, H = 8, HK = 2, S = 96, D = 128, ONE = 0x3f80 /* as bf16 */ };

static uint16_t q[B * H * S * D], k[B * HK * S * D], v[B * HK * S * D], o[B * H * S * D];

/* bshd: the heads of a token lie side by side. */
static attnc_tensor
on_device(const void *data, size_t bytes, int64_t heads)
{
  return (attnc_tensor){(void *)(uintptr_t)device_copy(data, bytes),
                        {S * heads * D, D, heads * D, 1, 0}};
}

static attnc_status
attend(const char *dir, const char *name, const attnc_args *args, attnc_error *e)
{
  attnc_bundle *bundle;
  attnc_plan *plan = NULL;
  attnc_status s = attnc_bundle_open(dir, &bundle, e);
  if (s != ATTNC_OK)
    return s;
  s = attnc_bundle_plan(bundle, name, &plan, e); /* the best kernel for this device */
  if (s == ATTNC_OK)
    s = attnc_launch(plan, args, NULL, NULL, e);
  cu.synchronize();
  attnc_plan_release(plan);
  attnc_bundle_release(bundle);
  return s;
}

int
main(int argc, char **argv)
{
  attnc_error e = {0};
  int wrong = 0;
  if (argc != 3 || device_open())
    return argc != 3 ? 2 : 6;
  for (int i = 0; i < B * HK * S * D; i++) {
    k[i] = (uint16_t)(ONE + i % 61);
    v[i] = ONE;
  }
  for (int i = 0; i < B * H * S * D; i++)
    q[i] = (uint16_t)(ONE + i % 67);
  const attnc_tensor tensors[] = {on_device(q, sizeof q, H), on_device(k, sizeof k, HK),
                                  on_device(v, sizeof v, HK), on_device(o, sizeof o, H)};
  const attnc_args args = {
      .size = sizeof args,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = B, .h = H, .hk = HK, .sq = S, .sk = S},
      .tensors = tensors,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = 4};
  if (attend(argv[1], argv[2], &args, &e) != ATTNC_OK) {
    fprintf(stderr, "%s: %s\n", attnc_status_name(e.status), e.message);
    return 1;
  }
  cu.to_host(o, (DevicePtr)(uintptr_t)tensors[ATTNC_O].data, sizeof o);
  for (int i = 0; i < B * H * S * D; i++)
    wrong += o[i] < ONE - 1 || o[i] > ONE + 1; /* one bf16 step either way */
  printf("%d of %d values are 1: %s\n", B * H * S * D - wrong, B * H * S * D,
         wrong ? "FAIL" : "PASS");
  return wrong != 0;
}
