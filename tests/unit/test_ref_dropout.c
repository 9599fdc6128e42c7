/* The reference of dropout: FlashAttention-2's test vector, attention of weights that are
 * dropped against the sum itself, and what attnc_verify makes of a wrong byte and of a
 * weight that was kept. */
#include <attnc/attnc.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { D = 8, B = 2, H = 4, SQ = 128, SK = 256 };

static attnc_spec *
spec_of(const char *fields)
{
  char text[256] = "attnc: 1\nname: x\ndtype: fp32\nhead_dim: 8\nlayout: bhsd\n"
                   "return_lse: true\n";
  attnc_spec *s = NULL;
  strcat(text, fields);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  return s;
}

typedef struct Asked {
  attnc_sizes n;
  attnc_tensor t[ATTNC_SLOT_COUNT];
  double number[ATTNC_SCALAR_COUNT];
  attnc_args args;
  uint64_t state[2];
} Asked;

static void
ask(Asked *a, int b, int h, int sq, int sk, uint64_t seed, uint64_t offset, double p)
{
  *a = (Asked){.state = {seed, offset}, .number = {NAN, NAN, p}};
  a->n = (attnc_sizes){.size = sizeof a->n, .b = b, .h = h, .hk = h, .sq = sq, .sk = sk};
  a->t[ATTNC_RNG_STATE].data = a->state;
  a->args = (attnc_args){.size = sizeof a->args,
                         .sizes = &a->n,
                         .tensors = a->t,
                         .tensor_size = sizeof *a->t,
                         .n_tensors = ATTNC_SLOT_COUNT,
                         .n_scalars = ATTNC_SCALAR_COUNT,
                         .scalars = a->number};
}

/* ---- op dropout_mask ---- */

static double mask[B * H * SQ * SK];

static void
draw(const attnc_spec *s, Asked *a)
{
  double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_KEEP] = mask};
  assert_int_equal(attnc_reference(s, ATTNC_OP_DROPOUT_MASK, &a->args, NULL, 0, outputs,
                                   ATTNC_SLOT_COUNT, NULL),
                   ATTNC_OK);
}

/* Of batch 1, head 2: a byte is the last that is kept with one share, and dropped with the
 * next. */
static void
flash_attentions_vector(void **state)
{
  static const struct {
    int q, k, byte;
  } vector[] = {{0, 0, 225},  {0, 1, 211},  {8, 0, 76},     {0, 8, 208},
                {0, 16, 174}, {5, 37, 190}, {127, 255, 128}};
  attnc_spec *s = spec_of("dropout: true\n");
  (void)state;
  for (size_t i = 0; i < sizeof vector / sizeof *vector; i++)
    for (int below = 0; below < 2; below++) {
      Asked a;
      ask(&a, B, H, SQ, SK, 1234, 0, 1 - (vector[i].byte - below + 0.5) / 255);
      draw(s, &a);
      size_t at = ((size_t)(1 * H + 2) * SQ + (size_t)vector[i].q) * SK;
      assert_true(mask[at + (size_t)vector[i].k] == (below ? 0 : 1));
    }
  attnc_spec_release(s);
}

static void
a_wrong_byte_is_found(void **state)
{
  static uint8_t keep[B * H * SQ * SK];
  attnc_spec *s = spec_of("dropout: true\n");
  attnc_verdict v = {.size = sizeof v};
  Asked a;
  (void)state;
  ask(&a, B, H, SQ, SK, 7, UINT64_MAX - 3, 0.25);
  draw(s, &a);
  for (size_t i = 0; i < sizeof keep; i++)
    keep[i] = mask[i] != 0;
  a.t[ATTNC_KEEP].data = keep;
  assert_int_equal(attnc_verify(s, ATTNC_OP_DROPOUT_MASK, &a.args, &v, NULL), ATTNC_OK);
  assert_true(v.pass && v.rows == (int64_t)B * H * SQ);
  keep[sizeof keep - 1] ^= 1;
  assert_int_equal(attnc_verify(s, ATTNC_OP_DROPOUT_MASK, &a.args, &v, NULL), ATTNC_OK);
  assert_true(!v.pass && v.b == B - 1 && v.h == H - 1 && v.q == SQ - 1);
  attnc_spec_release(s);
}

/* ---- attention ---- */

enum { FEW_Q = 5, FEW_K = 40 };

typedef struct Attention {
  Asked a;
  float q[H * FEW_Q * D], k[H * FEW_K * D], v[H * FEW_K * D], o[H * FEW_Q * D];
  float lse[H * FEW_Q];
} Attention;

static void
attend(Attention *x, double p)
{
  ask(&x->a, 1, H, FEW_Q, FEW_K, 99, 4, p);
  for (int i = 0; i < H * FEW_Q * D; i++)
    x->q[i] = (float)(i * 37 % 17 - 8) / 8;
  for (int i = 0; i < H * FEW_K * D; i++) {
    x->k[i] = (float)(i * 41 % 19 - 9) / 8;
    x->v[i] = (float)(i * 43 % 23 - 11) / 8;
  }
  x->a.t[ATTNC_Q] = (attnc_tensor){x->q, {(int64_t)H * FEW_Q * D, FEW_Q * D, D, 1}};
  x->a.t[ATTNC_K] = (attnc_tensor){x->k, {(int64_t)H * FEW_K * D, FEW_K * D, D, 1}};
  x->a.t[ATTNC_V] = (attnc_tensor){x->v, {(int64_t)H * FEW_K * D, FEW_K * D, D, 1}};
  x->a.t[ATTNC_O] = (attnc_tensor){x->o, {(int64_t)H * FEW_Q * D, FEW_Q * D, D, 1}};
  x->a.t[ATTNC_LSE].data = x->lse;
}

/* The sum itself; the LSE is returned. */
static double
row_of(const Attention *x, int h, int q, double p, double o[D])
{
  double w[FEW_K], l = 0;
  memset(o, 0, D * sizeof *o);
  for (int j = 0; j < FEW_K; j++) {
    double s = 0;
    for (int i = 0; i < D; i++)
      s += (double)x->q[(h * FEW_Q + q) * D + i] * (double)x->k[(h * FEW_K + j) * D + i];
    w[j] = exp(s / sqrt(D));
    l += w[j];
  }
  for (int j = 0; j < FEW_K; j++)
    for (int i = 0; i < D; i++)
      o[i] += mask[(h * FEW_Q + q) * FEW_K + j] * w[j] / l / (1 - p) *
              (double)x->v[(h * FEW_K + j) * D + i];
  return log(l);
}

static void
weights_are_dropped(void **state)
{
  static double o[H * FEW_Q * D], lse[H * FEW_Q];
  static const double shares[] = {0, 0.25, 0.75};
  double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
  attnc_spec *s = spec_of("dropout: true\n");
  (void)state;
  for (size_t n = 0; n < sizeof shares / sizeof *shares; n++) {
    Attention x;
    attnc_verdict v = {.size = sizeof v};
    attend(&x, shares[n]);
    draw(s, &x.a);
    assert_int_equal(attnc_reference(s, ATTNC_OP_FWD, &x.a.args, NULL, 0, outputs,
                                     ATTNC_SLOT_COUNT, NULL),
                     ATTNC_OK);
    for (int r = 0; r < H * FEW_Q; r++) {
      double want[D];
      assert_true(fabs(lse[r] - row_of(&x, r / FEW_Q, r % FEW_Q, shares[n], want)) < 1e-12);
      for (int i = 0; i < D; i++) {
        assert_true(fabs(o[r * D + i] - want[i]) < 1e-12);
        x.o[r * D + i] = (float)want[i];
      }
      x.lse[r] = (float)lse[r];
    }
    assert_int_equal(attnc_verify(s, ATTNC_OP_FWD, &x.a.args, &v, NULL), ATTNC_OK);
    assert_true(v.pass);
    x.a.state[1] += 32; /* another call's */
    assert_int_equal(attnc_verify(s, ATTNC_OP_FWD, &x.a.args, &v, NULL), ATTNC_OK);
    assert_int_equal(v.pass, shares[n] == 0);
  }
  attnc_spec_release(s);
}

static void
shares_are_refused(void **state)
{
  static const double bad[] = {1, -0.125, 2, INFINITY, 1 - 0x1p-26, NAN};
  attnc_spec *s = spec_of("dropout: true\n");
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_KEEP] = mask};
    attnc_error e;
    Asked a;
    ask(&a, B, H, SQ, SK, 1, 2, bad[i]);
    assert_int_equal(attnc_reference(s, ATTNC_OP_DROPOUT_MASK, &a.args, NULL, 0, outputs,
                                     ATTNC_SLOT_COUNT, &e),
                     ATTNC_ERR_USAGE);
    assert_non_null(strstr(e.message, "dropout_p"));
  }
  attnc_spec_release(s);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flash_attentions_vector),
      cmocka_unit_test(a_wrong_byte_is_found),
      cmocka_unit_test(weights_are_dropped),
      cmocka_unit_test(shares_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
