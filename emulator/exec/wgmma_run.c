/* What a product of a warpgroup reads, by its descriptors, and its sums for one warp. */
#include "emulator/check/layout.h"
#include "emulator/exec/mma_part.h"
#include "emulator/exec/product.h"
#include "emulator/check/undefined.h"

#include <string.h>

enum { PIECE = 16, PIECES = 512 };

/* PTX ISA, "Matrix-descriptor": bytes. */
typedef struct Desc {
  uint32_t start, leading, stride;
  uint32_t base;  /* line of 128 bytes where the pattern starts, of eight */
  uint32_t width; /* bytes of a row of the pattern; 16: no swizzle */
  uint32_t mask;  /* of the line's number, onto the number of the piece in it */
} Desc;

static Desc
desc_of(uint64_t d)
{
  static const uint8_t widths[4] = {16, 128, 64, 32};
  uint32_t width = widths[d >> 62];
  return (Desc){.start = (uint32_t)(d & 0x3fff) << 4,
                .leading = (uint32_t)(d >> 16 & 0x3fff) << 4,
                .stride = (uint32_t)(d >> 32 & 0x3fff) << 4,
                .base = (uint32_t)(d >> 49 & 7),
                .width = width,
                .mask = width / PIECE - 1};
}

/* Piece p of row r, K-major: rows of 32 bytes of k, eight rows to a pattern. */
static uint32_t
at_k_major(const Desc *d, uint32_t r, uint32_t p)
{
  return d->start + r % 8 * d->width + r / 8 * d->stride +
         p * (d->mask ? PIECE : d->leading);
}

/* Piece p (eight elements) of row k, MN-major. */
static uint32_t
at_mn_major(const Desc *d, uint32_t k, uint32_t p)
{
  uint32_t across = d->width / PIECE;
  if (!d->mask)
    return d->start + p * d->stride + k % 8 * PIECE + k / 8 * d->leading;
  return d->start + p % across * PIECE + p / across * d->leading + k % 8 * d->width +
         k / 8 * d->stride;
}

static uint32_t
swizzled(const Desc *d, uint32_t at)
{
  return at ^ (((at >> 7) - d->base) & d->mask) << 4;
}

/* Which pieces of an operand: `rows` rows from row0 on, K-major; or of all rows of k,
 * `rows` / 8 pieces. */
typedef struct Tile {
  uint64_t desc;
  bool mn;
  uint32_t row0, rows, k;
} Tile;

/* Eight rows later the pattern is the same where the stride is a multiple of its size. */
static int
offsets(const Tile *t, uint32_t *off)
{
  Desc d = desc_of(t->desc);
  uint32_t n = 0, outer = t->mn ? t->k : t->rows, inner = t->mn ? t->rows / 8 : 2;
  uint32_t step = t->mn && !d.mask ? d.leading : d.stride;
  bool periodic = step % (128 * (d.mask + 1)) == 0 || !d.mask;
  for (uint32_t o = 0; o < outer; o++)
    for (uint32_t p = 0; p < inner; p++, n++)
      if (o >= 8 && periodic)
        off[n] = off[n - 8 * inner] + step;
      else
        off[n] = swizzled(&d, t->mn ? at_mn_major(&d, o, p + t->row0 / 8)
                                    : at_k_major(&d, o + t->row0, p)) -
                 SHARED_BASE;
  return (int)n;
}

/* A producer that says how it swizzled must have done it as the descriptor has it. */
static void
check_layout(Exec *x, Warp *w, const Insn *i, const Tile *t, const uint32_t *off, int n)
{
  static const uint8_t swizzles[4] = {0, 3, 2, 1}; /* CUtensorMapSwizzle */
  static const char *const names[4] = {"none", "32B", "64B", "128B"};
  int due = swizzles[t->desc >> 62];
  if (!w->cta->laid_out)
    return;
  for (int j = 0; j < n; j++) {
    int is = layout_at(w->cta, off[j]);
    if (is == LAYOUT_UNKNOWN || is == due)
      continue;
    report_error(
        x, w, i, "wgmma-swizzle", -1,
        "a descriptor of swizzle %s reads byte %u of shared memory, which a tensor "
        "copy wrote with swizzle %s",
        names[due], off[j], is < 4 ? names[is] : "of another kind");
    return;
  }
}

/* PTX ISA, "Matrix-descriptor": the bits between the fields are 0, and the start lies in
 * the first line of the pattern, which the base offset names. */
static void
check_desc(Exec *x, Warp *w, const Insn *i, uint64_t desc)
{
  const uint64_t reserved = 0x3ff1c000c000c000u;
  Desc d = desc_of(desc);
  if (desc & reserved)
    report_error(x, w, i, "wgmma-descriptor", -1,
                 "the descriptor 0x%llx has bits 0x%llx, which are 0 in every descriptor",
                 (unsigned long long)desc, (unsigned long long)(desc & reserved));
  else if (((d.start >> 7) - d.base) & d.mask)
    report_error(x, w, i, "wgmma-descriptor", -1,
                 "the descriptor 0x%llx starts in line %u of its swizzle's pattern",
                 (unsigned long long)desc, ((d.start >> 7) - d.base) & d.mask);
}

/* Piece j, with these bytes undefined, is of row j / 2, or of eight rows of two bytes. */
static void
note_undefined(Exec *x, Warp *w, const WgmmaOp *op, const Tile *t, int j, uint32_t off,
               uint32_t bytes, UndefinedTile *u)
{
  u->from = shadow_origin(w->cta->shadow, (int)(op->insn - x->kernel->code), off, bytes);
  if (!t->mn) {
    u->bit[j / 2 / 64] |= UINT64_C(1) << j / 2 % 64;
    return;
  }
  for (uint32_t e = 0, row = (uint32_t)j % (t->rows / 8) * 8; e < 8; e++, row++)
    if (bytes >> 2 * e & 3)
      u->bit[row / 64] |= UINT64_C(1) << row % 64;
}

static bool
check_tile(Exec *x, Warp *w, const WgmmaOp *op, const Tile *t, UndefinedTile *u)
{
  uint32_t off[PIECES], size = w->cta->shared_bytes;
  int n = offsets(t, off), insn = (int)(op->insn - x->kernel->code);
  for (int j = 0; j < n; j++)
    if (off[j] >= size || size - off[j] < PIECE) {
      report_fatal(x, w, op->insn, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", -1,
                   "the descriptor 0x%llx reaches byte %d of %u bytes of shared memory",
                   (unsigned long long)t->desc, (int)off[j], size);
      return false;
    }
  if (!x->launch->set.checks)
    return true;
  check_desc(x, w, op->insn, t->desc);
  check_layout(x, w, op->insn, t, off, n);
  for (int j = 0; j < n; j++) {
    uint32_t bytes = shadow_wgmma_read(w->cta->shadow, insn, w->id, off[j], op->group);
    if (bytes)
      note_undefined(x, w, op, t, j, off[j], bytes, u);
  }
  return true;
}

static Tile
tile_a(const Warp *w, const WgmmaOp *op)
{
  const WgmmaForm *f = &op->insn->wgmma;
  return (Tile){op->a, f->trans_a, (uint32_t)(w->id & 3) * MMA_M, MMA_M, f->k};
}

static Tile
tile_b(const WgmmaOp *op)
{
  const WgmmaForm *f = &op->insn->wgmma;
  return (Tile){op->b, f->trans_b, 0, f->n, f->k};
}

bool
wgmma_check(Exec *x, Warp *w, const WgmmaOp *op, UndefinedTile *a, UndefinedTile *b)
{
  Tile rows = tile_a(w, op), columns = tile_b(op);
  return (op->insn->wgmma.a_regs || check_tile(x, w, op, &rows, a)) &&
         check_tile(x, w, op, &columns, b);
}

/* The pieces, one behind another. */
static void
read_tile(const Cta *c, const Tile *t, uint8_t *out)
{
  uint32_t off[PIECES];
  int n = offsets(t, off);
  for (int j = 0; j < n; j++)
    memcpy(out + PIECE * j, c->shared + off[j], PIECE);
}

/* ---- A ---- */

/* n elements as MmaWide wants them, with the signs in flip turned. */
static void
unpack(uint8_t type, int n, const uint8_t *raw, uint32_t flip, uint32_t *out)
{
  uint16_t h[MMA_M * MMA_K];
  int up = type == MMA_BF16 ? 16 : type == MMA_E5M2 ? 8 : 0;
  if (type == MMA_TF32) {
    memcpy(out, raw, (size_t)n * 4);
    for (int j = 0; j < n; j++)
      out[j] = (out[j] & 0xffffe000) ^ flip;
  } else if (type == MMA_E4M3 || type == MMA_E5M2) {
    for (int j = 0; j < n; j++)
      out[j] = (uint32_t)raw[j] << up ^ flip;
  } else {
    memcpy(h, raw, (size_t)n * sizeof *h);
    for (int j = 0; j < n; j++)
      out[j] = (uint32_t)h[j] << up ^ flip;
  }
}

static uint32_t
sign_of(uint8_t type)
{
  return type == MMA_E4M3 ? 0x80 : type == MMA_F16 || type == MMA_E5M2 ? 0x8000 : 1u << 31;
}

/* The fragment as 32 bytes a row, PTX ISA, "Register Fragments": register r of lane 4g + t
 * is row g, or g + 8 if r is odd, bytes 4t … 4t + 3 of the first or the second half. */
static void
fragment(const Exec *x, const Warp *w, const Insn *i, uint8_t *raw)
{
  const uint32_t *list = x->kernel->lists + i->list + i->wgmma.regs;
  for (int r = 0; r < 4; r++)
    for (int l = 0; l < LANES; l++)
      memcpy(raw + 32 * (l / 4 + r % 2 * 8) + r / 2 * 16 + l % 4 * 4, row32(w, list[r]) + l,
             4);
}

/* As in memory, K-major: 32 bytes a row. */
static void
raw_a(const Exec *x, const Warp *w, const WgmmaOp *op, uint8_t *raw)
{
  Tile t = tile_a(w, op);
  if (op->insn->wgmma.a_regs)
    fragment(x, w, op->insn, raw);
  else
    read_tile(w->cta, &t, raw);
}

static void
get_a(const Exec *x, const Warp *w, const WgmmaOp *op, uint32_t *a)
{
  const WgmmaForm *f = &op->insn->wgmma;
  uint8_t raw[MMA_M * 32];
  raw_a(x, w, op, raw);
  uint32_t flip = f->negate ? sign_of(f->a) : 0, rows[WIDE_K * MMA_M];
  unpack(f->a, f->k * MMA_M, raw, flip, f->trans_a ? a : rows);
  for (int k = 0; !f->trans_a && k < f->k; k++)
    for (int m = 0; m < MMA_M; m++)
      a[k * MMA_M + m] = rows[m * f->k + k];
}

static void
run_whole(const Exec *x, const Warp *w, const WgmmaOp *op, const uint8_t *b,
          uint32_t **rows)
{
  const WgmmaForm *f = &op->insn->wgmma;
  uint8_t a[MMA_M * 32];
  raw_a(x, w, op, a);
  for (int j = 0; op->zero && j < f->regs; j++)
    memset(rows[j], 0, LANES * sizeof *rows[j]);
  product_whole(f->a == MMA_S8, f->b == MMA_S8, f->satfinite, f->n, a, b, rows);
}

static void
run_floats(const Exec *x, const Warp *w, const WgmmaOp *op, const uint8_t *b,
           uint32_t **rows)
{
  const WgmmaForm *f = &op->insn->wgmma;
  uint32_t a[WIDE_K * MMA_M];
  get_a(x, w, op, a);
  MmaWide m = {.ta = f->a,
               .tb = f->b,
               .cd = f->d,
               .n = f->n,
               .k = f->k,
               .fraction = f->k == WIDE_K ? 13 : 25,
               .zero = op->zero,
               .rows = f->trans_b,
               .cut = f->k == WIDE_K,
               .a = a,
               .b = b,
               .cd_rows = rows};
  mma_wide(&m, x->launch->set.fast_mma);
}

void
wgmma_run(Exec *x, Warp *w, WgmmaOp *op)
{
  const WgmmaForm *f = &op->insn->wgmma;
  const uint32_t *list = x->kernel->lists + op->insn->list;
  uint32_t *rows[128];
  uint8_t b[PIECES * PIECE];
  Tile t = tile_b(op);
  op->done = true;
  read_tile(w->cta, &t, b);
  for (int j = 0; j < f->regs; j++)
    rows[j] = w->wgmma->hold + (size_t)list[j] * LANES;
  (f->d == MMA_S32 ? run_whole : run_floats)(x, w, op, b, rows);
}
