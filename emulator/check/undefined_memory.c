/* Undefined values that are loaded and stored. */
#include "emulator/exec/ldsm.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 8, ROWS = 32, ROW_BYTES = 16 };

static int
number(const Exec *x, const Insn *i)
{
  return (int)(i - x->kernel->code);
}

/* A bit for each byte becomes 8 bits. */
static uint64_t
spread(uint32_t bytes)
{
  uint64_t v = 0;
  for (int k = 0; k < 8; k++)
    v |= bytes >> k & 1 ? UINT64_C(0xff) << 8 * k : 0;
  return v;
}

static uint32_t
gathered(uint64_t bits)
{
  uint32_t bytes = 0;
  for (int k = 0; k < 8; k++)
    bytes |= (uint32_t)(bits >> 8 * k & 0xff ? 1 : 0) << k;
  return bytes;
}

/* ---- loads ---- */

/* One element of a load; sign and zeros extend what is undefined as they do the value. */
static uint64_t
element(const Insn *i, uint32_t bytes, int e)
{
  int n = i->mem.bytes, unused = 64 - 8 * n;
  uint64_t v = spread(bytes >> e * n & ((1u << n) - 1));
  if (i->ld.sign)
    v = (uint64_t)((int64_t)(v << unused) >> unused);
  return i->ld.keep == 16 ? v & 0xffff : i->ld.keep == 8 ? v & 0xff : v;
}

/* bytes: of each lane's access, those that are undefined. */
static void
loaded(Exec *x, Warp *w, const Insn *i, uint32_t lanes, const uint32_t *bytes, Origin from)
{
  const uint32_t *row = x->kernel->lists + i->list;
  for (int e = 0; e < i->n_d; e++) {
    uint64_t wide[LANES] = {0};
    uint32_t narrow[LANES] = {0};
    for (uint32_t m = lanes; m; m &= m - 1) {
      int l = __builtin_ctz(m);
      wide[l] = element(i, bytes[l], e);
      narrow[l] = (uint32_t)wide[l];
    }
    if (i->flags & F_WIDE)
      undefined_put64(w, row[e], lanes, wide, from);
    else
      undefined_put32(w, row[e], lanes, narrow, from);
  }
}

/* The undefined bytes of the rows take the way of the values. */
static void
move_rows(const Insn *i, const uint8_t *rows, const uint32_t *at, uint32_t *const *to)
{
  if (i->carry == RULE_LDMATRIX)
    ldsm_load(i->ldsm.n, i->ldsm.trans, rows, at, to);
  else if (i->ldsm.trans)
    ldsm_load_bytes_trans(i->ldsm.n, i->ldsm.bits, rows, at, to);
  else
    ldsm_load_bytes(i->ldsm.n, i->ldsm.bits, rows, at, to);
}

static void
loaded_matrix(Exec *x, Warp *w, const Cta *at, const Insn *i, uint32_t lanes,
              const uint32_t *off, int bytes, Origin from)
{
  uint8_t rows[ROWS * ROW_BYTES] = {0};
  uint32_t row[LANES], d[4][LANES], *to[4] = {d[0], d[1], d[2], d[3]};
  for (uint32_t l = 0; l < LANES; l++)
    row[l] = l * ROW_BYTES;
  for (uint32_t m = lanes; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint32_t unwritten = shadow_unwritten(at->shadow, off[l], bytes);
    for (int k = 0; k < bytes; k++)
      rows[l * ROW_BYTES + k] = unwritten >> k & 1 ? 0xff : 0;
  }
  move_rows(i, rows, row, to);
  for (int j = 0; j < i->n_d; j++)
    undefined_put32(w, x->kernel->lists[i->list + (uint32_t)j], FULL, d[j], from);
}

static bool
is_load(const Insn *i)
{
  return i->carry == RULE_LD;
}

/* Rows of elements of six bits are read in two parts, which have no common rule. */
static bool
carries(const Insn *i)
{
  return is_load(i) || i->carry == RULE_LDMATRIX ||
         (i->carry == RULE_LDMATRIX_BYTES && i->ldsm.bits != 6);
}

void
undefined_read(Exec *x, Warp *w, const Cta *at, const Insn *i, uint32_t lanes,
               const uint32_t *off, int bytes)
{
  uint32_t unwritten[LANES] = {0};
  int first = __builtin_ctz(lanes), insn = number(x, i);
  bool carried = undefined_of(x, w) && carries(i);
  Origin from = {.insn = -1};
  for (uint32_t m = lanes; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    unwritten[l] = shadow_unwritten(at->shadow, off[l], bytes);
    if (l == first || !carried)
      from = shadow_origin(at->shadow, insn, off[l], unwritten[l]);
    if (!carried)
      shadow_undefined(at->shadow, insn, cta_who(w, at), 1u << l, &from, "depends on");
  }
  if (!carried)
    return;
  if (is_load(i))
    loaded(x, w, i, lanes, unwritten, from);
  else
    loaded_matrix(x, w, at, i, lanes, off, bytes, from);
}

/* ---- stores ---- */

typedef struct Stored { /* what one lane stores */
  uint32_t bytes;       /* that are undefined, a bit each */
  uint32_t row;         /* of the first of them */
} Stored;

static void
stored(const Exec *x, const Warp *w, const Insn *i, Stored *s)
{
  const uint32_t *row = x->kernel->lists + i->list;
  int n = i->mem.bytes;
  for (int e = 0; e < i->n_s; e++) {
    uint64_t wide[LANES];
    uint32_t narrow[LANES];
    if (i->flags & F_WIDE)
      undefined_bits64(w, row[e], wide);
    else
      undefined_bits32(w, row[e], narrow);
    for (int l = 0; l < LANES; l++) {
      uint64_t bits = i->flags & F_WIDE ? wide[l] : narrow[l];
      uint32_t bytes = gathered(bits) & ((1u << n) - 1);
      if (bytes && !s[l].bytes)
        s[l].row = row[e];
      s[l].bytes |= bytes << e * n;
    }
  }
}

static const Cta *
cta_of(const Exec *x, const uint8_t *host)
{
  for (int k = 0; k < x->n_ctas; k++)
    if ((uint64_t)(host - x->ctas[k].shared) < x->ctas[k].shared_bytes)
      return &x->ctas[k];
  return NULL;
}

static void
keep_local(Exec *x, Warp *w, uint64_t at, uint32_t bytes, Origin from)
{
  struct Undefined *u = w->undefined;
  if (!u->local)
    u->local = calloc((size_t)x->shape.local * LANES + 1, 1);
  if (!u->local) {
    shadow_out_of_memory(w->cta->shadow);
    return;
  }
  for (uint32_t m = bytes; m; m &= m - 1)
    u->local[at + (uint32_t)__builtin_ctz(m)] = 0xff;
  u->local_from = from;
}

static void
store_lane(Exec *x, Warp *w, const Insn *i, int lane, const Stored *s, const uint8_t *host)
{
  Origin from = undefined_origin(x, w, i, s->row);
  const Cta *c = cta_of(x, host);
  uint64_t local = (uint64_t)(host - w->local);
  if (c)
    shadow_carry(c->shadow, (uint32_t)(host - c->shared), s->bytes, from);
  else if (local < (uint64_t)x->shape.local * LANES)
    keep_local(x, w, local, s->bytes, from);
  else
    undefined_use(x, w, i, s->row, 1u << lane, "stores");
}

void
undefined_store(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint8_t *const *host)
{
  Stored s[LANES] = {0};
  x->carries = false;
  stored(x, w, i, s);
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    if (s[l].bytes)
      store_lane(x, w, i, l, &s[l], host[l]);
  }
}

void
undefined_stmatrix(Exec *x, Warp *w, const Insn *i, const uint32_t *off)
{
  uint8_t rows[ROWS * ROW_BYTES] = {0};
  uint32_t at[LANES], bits[4][LANES];
  const uint32_t *a[4] = {bits[0], bits[1], bits[2], bits[3]};
  const uint32_t *list = x->kernel->lists + i->list;
  Origin from = {.insn = -1};
  x->carries = false;
  for (uint32_t l = 0; l < LANES; l++)
    at[l] = l * ROW_BYTES;
  for (int j = 0; j < i->n_s; j++) {
    undefined_bits32(w, list[j], bits[j]);
    if (w->def[list[j]] != FULL)
      from = undefined_origin(x, w, i, list[j]);
  }
  if (i->carry == RULE_STMATRIX)
    ldsm_store(i->ldsm.n, i->ldsm.trans, rows, at, a);
  else
    ldsm_store_bytes_trans(i->ldsm.n, rows, at, a);
  for (int r = 0; r < 8 * i->ldsm.n; r++) {
    uint32_t bytes = 0;
    for (int k = 0; k < ROW_BYTES; k++)
      bytes |= (uint32_t)(rows[r * ROW_BYTES + k] != 0) << k;
    if (bytes)
      shadow_carry(w->cta->shadow, off[r], bytes, from);
  }
}

/* ---- local memory ---- */

bool
undefined_take_local(const Warp *w, const uint8_t *host, size_t n, uint8_t *undefined)
{
  const uint8_t *local = w->undefined ? w->undefined->local : NULL;
  bool any = false;
  memset(undefined, 0, n);
  for (size_t k = 0; local && k < n; k++)
    any |= (undefined[k] = local[(host - w->local) + (ptrdiff_t)k]) != 0;
  return any;
}

void
undefined_give_local(Exec *x, Warp *w, const uint8_t *host, size_t n,
                     const uint8_t *undefined, Origin from)
{
  size_t at = (size_t)(host - w->local);
  if (undefined && undefined_of(x, w) && !w->undefined->local)
    keep_local(x, w, at, 0, from);
  if (!w->undefined || !w->undefined->local)
    return;
  if (undefined)
    memcpy(w->undefined->local + at, undefined, n);
  else
    memset(w->undefined->local + at, 0, n);
}

void
undefined_local(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint8_t *const *host,
                int bytes, bool reads)
{
  uint32_t undefined[LANES] = {0}, lanes = 0;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint8_t *at = w->undefined->local + (host[l] - w->local);
    for (int k = 0; k < bytes; k++)
      undefined[l] |= (uint32_t)(at[k] != 0) << k;
    if (!reads)
      memset(at, 0, (size_t)bytes);
    lanes |= (uint32_t)(undefined[l] != 0) << l;
  }
  if (lanes && reads && is_load(i))
    loaded(x, w, i, lanes, undefined, w->undefined->local_from);
}
