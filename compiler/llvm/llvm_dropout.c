/* Dropout, as FlashAttention-2 defines it (docs/dropout.md).
 *
 * Random bytes are drawn in blocks of 16 queries and 32 keys: each lane has 16 of them, one
 * call of Philox 4x32 of 7 rounds, and they are those of just the elements that it has of
 * an accumulator: word w those of columns 8 w on, byte 2 r + e of it row 8 r and the e-th
 * column of the pair.  Four bytes are compared at once, by whole words: a byte above T is
 * one whose highest bit is set and whose others, T from 128 on, are above T - 128; or below
 * 128 one of both.  What is left of a comparison is the highest bit of each byte. */
#include "compiler/llvm/llvm_lower.h"

enum { ROUNDS = 7, BLOCK = 16, BLOCK_WORDS = 4, LANE_SHIFT = 5 };
enum { EACH_BYTE = 0x01010101, LOW_BITS = 0x7f7f7f7f };

/* ---- state ---- */

static V
load64(Lo *lo, V base, int at)
{
  V in = LLVMBuildAdd(lo->b, base, k64(lo, at), "");
  return asm_1(lo, ASM_EFFECT, "ld.global.b64 $0, [$1];", "=l,l", lo->i64, &in, 1);
}

static void
halves(Lo *lo, V x, V *to)
{
  to[0] = LLVMBuildTrunc(lo->b, x, lo->i32, "");
  to[1] = LLVMBuildTrunc(lo->b, LLVMBuildLShr(lo->b, x, k64(lo, 32), ""), lo->i32, "");
}

/* ⌊(1 − p) · 255⌋: 1 − p, rounded to fp32, is a whole number of 2^-24. */
static V
most_byte(Lo *lo)
{
  V p = param_value(lo, PARAM_SCALAR, ATTNC_DROPOUT_P, 0);
  V kept = LLVMBuildFSub(lo->b, kf(lo, 1), p, "");
  kept = LLVMBuildFMul(lo->b, kept, kf(lo, 0x1p24), "");
  V whole = LLVMBuildFPToUI(lo->b, kept, lo->i32, "");
  whole = LLVMBuildMul(lo->b, whole, k32(lo, 255), "");
  return LLVMBuildLShr(lo->b, whole, k32(lo, 24), "");
}

void
lower_drop_state(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  V base = param_value(lo, PARAM_TENSOR, op->list->slot, 0);
  V seed = load64(lo, base, 0), offset = load64(lo, base, 8);
  V head = idx_value64(lo, op->at.b), heads = idx_value64(lo, op->word);
  head = LLVMBuildMul(lo->b, head, heads, "");
  head = LLVMBuildAdd(lo->b, head, idx_value64(lo, op->at.h), "");
  head = LLVMBuildShl(lo->b, head, k64(lo, LANE_SHIFT), "");
  halves(lo, seed, out + DROP_KEY);
  halves(lo, LLVMBuildAdd(lo->b, offset, head, ""), out + DROP_COUNTER);
  V most = most_byte(lo);
  V low = LLVMBuildICmp(lo->b, LLVMIntULT, most, k32(lo, 128), "");
  V from = LLVMBuildSelect(lo->b, low, k32(lo, 127), k32(lo, 255), "");
  from = LLVMBuildSub(lo->b, from, most, "");
  out[DROP_ADDEND] = LLVMBuildMul(lo->b, from, k32(lo, EACH_BYTE), "");
  out[DROP_EITHER] = LLVMBuildSExt(lo->b, low, lo->i32, "");
}

/* ---- Philox 4x32 (Salmon et al., 2011) ---- */

/* The words of a · b: *high is returned. */
static V
product(Lo *lo, uint32_t a, V b, V *low)
{
  V wide = LLVMBuildZExt(lo->b, b, lo->i64, "");
  wide = LLVMBuildMul(lo->b, wide, LLVMConstInt(lo->i64, a, 0), "");
  V part[2];
  halves(lo, wide, part);
  *low = part[0];
  return part[1];
}

static V
xor3(Lo *lo, V a, V b, V c)
{
  return LLVMBuildXor(lo->b, LLVMBuildXor(lo->b, a, b, ""), c, "");
}

static void
philox(Lo *lo, const V *key, V c[BLOCK_WORDS])
{
  const uint32_t by_0 = 0xd2511f53u, by_2 = 0xcd9e8d57u;
  const uint32_t step_0 = 0x9e3779b9u, step_1 = 0xbb67ae85u;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    V k0 = LLVMBuildAdd(lo->b, key[0], k32(lo, (int32_t)(i * step_0)), "");
    V k1 = LLVMBuildAdd(lo->b, key[1], k32(lo, (int32_t)(i * step_1)), "");
    V low_0, low_2, high_0 = product(lo, by_0, c[0], &low_0),
                    high_2 = product(lo, by_2, c[2], &low_2);
    V next_0 = xor3(lo, high_2, c[1], k0), next_2 = xor3(lo, high_0, c[3], k1);
    c[0] = next_0;
    c[1] = low_2;
    c[2] = next_2;
    c[3] = low_0;
  }
}

/* ---- tiles ---- */

/* Where a tile's blocks are: of state and lane the lower half of the counter. */
typedef struct Draw {
  const V *state;
  V low[2];
} Draw;

static Draw
draw_of(Lo *lo, const Op *op, V lane)
{
  Draw d = {.state = lo->vals[op->in[0]->id]};
  V high = LLVMBuildZExt(lo->b, d.state[DROP_COUNTER + 1], lo->i64, "");
  V x = LLVMBuildZExt(lo->b, d.state[DROP_COUNTER], lo->i64, "");
  x = LLVMBuildOr(lo->b, LLVMBuildShl(lo->b, high, k64(lo, 32), ""), x, "");
  x = LLVMBuildAdd(lo->b, x, LLVMBuildZExt(lo->b, lane, lo->i64, ""), "");
  halves(lo, x, d.low);
  return d;
}

/* The words of block (row, col), of 16 queries and 32 keys. */
static void
draw(Lo *lo, const Draw *d, V row, V col, V words[BLOCK_WORDS])
{
  words[0] = d->low[0];
  words[1] = d->low[1];
  words[2] = row;
  words[3] = col;
  philox(lo, d->state + DROP_KEY, words);
}

/* The highest bit of each byte: is it dropped?  Of the sum's and the byte's own both, or
 * one of them: the majority of these two and DROP_EITHER. */
static V
compared(Lo *lo, const Draw *d, V x)
{
  V sum = LLVMBuildAnd(lo->b, x, k32(lo, LOW_BITS), "");
  sum = LLVMBuildAdd(lo->b, sum, d->state[DROP_ADDEND], "");
  V both = LLVMBuildAnd(lo->b, sum, x, ""), one = LLVMBuildOr(lo->b, sum, x, "");
  one = LLVMBuildAnd(lo->b, one, d->state[DROP_EITHER], "");
  return LLVMBuildOr(lo->b, both, one, "");
}

static V
quotient(Lo *lo, V x, int shift)
{
  return LLVMBuildLShr(lo->b, x, k32(lo, shift), "");
}

/* The number of the warp's first block of 16 rows. */
static V
first_block(Lo *lo, const Op *op)
{
  V warp = lane_value(lo, LANE_WARP_M);
  warp = LLVMBuildMul(lo->hb, warp, k32(lo, val_tiles_m(op->out)), "");
  V first = idx_value(lo, op->at.turned ? op->at.k : op->at.q);
  return LLVMBuildAdd(lo->b, quotient(lo, first, 4), warp, "");
}

/* The number of the first block of 16 of the warp's own columns. */
static V
first_column_block(Lo *lo, const Op *op)
{
  V own = first_column(lo, op->out);
  V col = quotient(lo, idx_value(lo, op->at.turned ? op->at.q : op->at.k), 4);
  return own ? LLVMBuildAdd(lo->b, col, quotient(lo, own, 4), "") : col;
}

/* Words of the columns c and c + 1 of 16: of a block's four the first two, or where its
 * first column is not known to be a multiple of 32, perhaps the others. */
static void
words_of_16(Lo *lo, const Draw *d, V row, V col16, V words[2])
{
  V all[BLOCK_WORDS], odd = LLVMBuildAnd(lo->b, col16, k32(lo, 1), "");
  draw(lo, d, row, quotient(lo, col16, 1), all);
  odd = as_bit(lo, odd);
  for (int i = 0; i < 2; i++)
    words[i] = LLVMBuildSelect(lo->b, odd, all[2 + i], all[i], "");
}

static void
drop_fragments(Lo *lo, const Op *op, V *out)
{
  const Val *x = op->out;
  int cols = val_cols(x) / 8;
  bool pairs = op->whole && x->warps_n == 1;
  Draw d = draw_of(lo, op, lane_value(lo, LANE_LANE));
  V row = first_block(lo, op), col = first_column_block(lo, op);
  for (int m = 0; m < val_tiles_m(x); m++)
    for (int c = 0; c < cols; c += pairs ? BLOCK_WORDS : 2) {
      V words[BLOCK_WORDS], r = LLVMBuildAdd(lo->b, row, k32(lo, m), "");
      V at = LLVMBuildAdd(lo->b, col, k32(lo, c / 2), "");
      if (pairs)
        draw(lo, &d, r, quotient(lo, at, 1), words);
      else
        words_of_16(lo, &d, r, at, words);
      for (int i = 0; i < (pairs ? BLOCK_WORDS : 2) && c + i < cols; i++)
        out[m * cols + c + i] = compared(lo, &d, words[i]);
    }
}

/* ---- rows are keys ---- */

/* Of a block of 16 keys and 16 queries a lane has rows g and g + 8 and of each 8 columns
 * 2 q and 2 q + 1: their bytes are drawn by lanes 8 q + g / 2 and 4 further, as those of
 * keys that are even or odd. */
typedef struct Turn {
  V from[2]; /* lanes that have the first and the second column of a pair */
  V digits;  /* prmt's: bytes of this lane's keys, of both of them */
} Turn;

static Turn
turn_of(Lo *lo)
{
  V lane = lane_value(lo, LANE_LANE);
  V from = LLVMBuildShl(lo->hb, LLVMBuildAnd(lo->hb, lane, k32(lo, 3), ""), k32(lo, 3), "");
  from = LLVMBuildAdd(lo->hb, from, LLVMBuildLShr(lo->hb, lane, k32(lo, 3), ""), "");
  V odd = LLVMBuildAnd(lo->hb, LLVMBuildLShr(lo->hb, lane, k32(lo, 2), ""), k32(lo, 1), "");
  odd = LLVMBuildMul(lo->hb, odd, k32(lo, 0x1111), "");
  Turn t = {.digits = LLVMBuildAdd(lo->hb, odd, k32(lo, 0x6240), "")};
  t.from[0] = from;
  t.from[1] = LLVMBuildAdd(lo->hb, from, k32(lo, 4), "");
  return t;
}

static V
permuted(Lo *lo, V a, V b, V digits)
{
  V in[3] = {a, b, digits};
  return asm_1(lo, ASM_PURE, "prmt.b32 $0, $1, $2, $3;", "=r,r,r,r", lo->i32, in, 3);
}

/* Of one half of the block's rows: first column and second of the lower eight, then of the
 * upper eight. */
static V
turned_half(Lo *lo, const Turn *t, V word)
{
  V of[2];
  for (int e = 0; e < 2; e++) {
    V in[2] = {word, t->from[e]};
    of[e] = asm_1(lo, ASM_EFFECT, "shfl.sync.idx.b32 $0, $1, $2, 31, -1;", "=r,r,r",
                  lo->i32, in, 2);
  }
  return permuted(lo, of[0], of[1], t->digits);
}

/* Two keys' blocks in one draw where both are the warp's. */
static void
drop_turned(Lo *lo, const Op *op, V *out)
{
  const Val *x = op->out;
  int cols = val_cols(x) / 8, blocks = val_tiles_m(x);
  bool pairs = op->whole && blocks % 2 == 0;
  Draw d = draw_of(lo, op, lane_value(lo, LANE_LANE));
  Turn t = turn_of(lo);
  V row = first_block(lo, op), col = first_column_block(lo, op);
  for (int c = 0; c < cols; c += 2)
    for (int m = 0; m < blocks; m += pairs ? 2 : 1) {
      V words[BLOCK_WORDS], q16 = LLVMBuildAdd(lo->b, col, k32(lo, c / 2), "");
      V k16 = LLVMBuildAdd(lo->b, row, k32(lo, m), "");
      if (pairs)
        draw(lo, &d, q16, quotient(lo, k16, 1), words);
      else
        words_of_16(lo, &d, q16, k16, words);
      for (int i = 0; i < (pairs ? 2 : 1); i++) {
        V half[2];
        for (int r = 0; r < 2; r++)
          half[r] = turned_half(lo, &t, compared(lo, &d, words[2 * i + r]));
        V *to = &out[(m + i) * cols + c];
        to[0] = permuted(lo, half[0], half[1], k32(lo, 0x5410));
        to[1] = permuted(lo, half[0], half[1], k32(lo, 0x7632));
      }
    }
}

/* ---- one position ---- */

/* One position, of any query and key, the same for the whole warp: its byte becomes the
 * lowest one. */
static void
drop_one(Lo *lo, const Op *op, V *out)
{
  V q = place_row(lo, op, 0), k = idx_value(lo, op->at.k);
  V lane = LLVMBuildShl(lo->b, LLVMBuildAnd(lo->b, q, k32(lo, 7), ""), k32(lo, 2), "");
  V pair = LLVMBuildAnd(lo->b, quotient(lo, k, 1), k32(lo, 3), "");
  Draw d = draw_of(lo, op, LLVMBuildAdd(lo->b, lane, pair, ""));
  V words[BLOCK_WORDS];
  V row = quotient(lo, q, 4), col = quotient(lo, k, 5);
  draw(lo, &d, row, col, words);
  V odd_8 = as_bit(lo, LLVMBuildAnd(lo->b, quotient(lo, k, 3), k32(lo, 1), ""));
  V odd_16 = as_bit(lo, LLVMBuildAnd(lo->b, quotient(lo, k, 4), k32(lo, 1), ""));
  V even = LLVMBuildSelect(lo->b, odd_16, words[2], words[0], "");
  V odd = LLVMBuildSelect(lo->b, odd_16, words[3], words[1], "");
  V word = compared(lo, &d, LLVMBuildSelect(lo->b, odd_8, odd, even, ""));
  V by = LLVMBuildAnd(lo->b, LLVMBuildShl(lo->b, q, k32(lo, 1), ""), k32(lo, 16), "");
  V e = LLVMBuildAnd(lo->b, LLVMBuildShl(lo->b, k, k32(lo, 3), ""), k32(lo, 8), "");
  out[0] = LLVMBuildLShr(lo->b, word, LLVMBuildOr(lo->b, by, e, ""), "");
}

void
lower_drop(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  if (op->at.turned)
    drop_turned(lo, op, out);
  else if (op->out->lay == LAY_FRAG)
    drop_fragments(lo, op, out);
  else
    drop_one(lo, op, out);
}

/* ---- what is made of them ---- */

/* All bits of the highest ones of four bytes, by prmt's digits: 8 and more repeat the sign
 * of byte digit - 8. */
static V
spread(Lo *lo, V drop, int digits)
{
  V in[3] = {drop, drop, k32(lo, digits)};
  return asm_1(lo, ASM_PURE, "prmt.b32 $0, $1, $2, $3;", "=r,r,r,n", lo->i32, in, 3);
}

static V
cleared(Lo *lo, V x, V mask)
{
  return LLVMBuildAnd(lo->b, x, LLVMBuildNot(lo->b, mask, ""), "");
}

/* Registers of 16 bits have both columns of a pair; of 32 one. */
void
lower_keep(Lo *lo, const Op *op)
{
  static const int pair[] = {0x9988, 0xbbaa}, one[] = {0x8888, 0x9999, 0xaaaa, 0xbbbb};
  int n;
  V *out = lower_regs(lo, op->out, &n);
  const V *x = lo->vals[op->in[0]->id], *drop = lo->vals[op->in[1]->id];
  int each = dtype_in(op->out->ty, REG_BYTES) == 2 ? 2 : 4;
  for (int i = 0; i < n; i++) {
    V mask = spread(lo, drop[i / each], each == 2 ? pair[i % 2] : one[i % 4]);
    if (each == 2) {
      out[i] = cleared(lo, x[i], mask);
      continue;
    }
    V bits = LLVMBuildBitCast(lo->b, x[i], lo->i32, "");
    out[i] = LLVMBuildBitCast(lo->b, cleared(lo, bits, mask), lo->f32, "");
  }
}

/* ---- op dropout_mask ---- */

/* The address of the thread's first element, and how many queries and keys there are from
 * it on. */
typedef struct Bytes {
  V at, queries, keys;
} Bytes;

static Bytes
place_of(Lo *lo, const Op *op)
{
  const Lookup *to = op->list;
  V row = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_M),
                       k32(lo, BLOCK * val_tiles_m(op->in[0])), "");
  V lane_row = lane_value(lo, LANE_ROW), key = lane_value(lo, LANE_COL);
  row = LLVMBuildAdd(lo->b, row, lane_row, "");
  row = LLVMBuildAdd(lo->b, row, idx_value(lo, op->at.q), "");
  key = LLVMBuildAdd(lo->b, key, idx_value(lo, op->at.k), "");
  V index[4];
  index[0] = idx_value64(lo, op->at.b);
  index[1] = idx_value64(lo, op->at.h);
  index[2] = to64(lo->b, lo, row);
  index[3] = to64(lo->b, lo, key);
  Bytes p = {.at = param_value(lo, PARAM_TENSOR, to->slot, 0)};
  for (int i = 0; i < to->n_axes; i++) {
    V step = LLVMBuildMul(lo->b, index[i], idx_value64(lo, to->stride[i]), "");
    p.at = LLVMBuildAdd(lo->b, p.at, step, "");
  }
  p.queries = LLVMBuildSub(lo->b, idx_value(lo, to->length[2]), row, "");
  p.keys = LLVMBuildSub(lo->b, idx_value(lo, to->length[3]), key, "");
  return p;
}

/* Byte 2 r + e of a word, inverted, to row 8 r and column e of the pair. */
static void
store_byte(Lo *lo, const Op *op, const Bytes *p, V word, int m, int c, int byte)
{
  int row = BLOCK * m + byte / 2 * 8, col = 8 * c + byte % 2;
  V pitch = idx_value64(lo, op->list->stride[2]);
  V by = LLVMBuildMul(lo->b, pitch, k64(lo, row), "");
  V at = LLVMBuildAdd(lo->b, p->at, by, ""), dropped = quotient(lo, word, 8 * byte + 7);
  V kept = LLVMBuildNot(lo->b, dropped, "");
  V in_rows = LLVMBuildICmp(lo->b, LLVMIntSGT, p->queries, k32(lo, row), "");
  V in_keys = LLVMBuildICmp(lo->b, LLVMIntSGT, p->keys, k32(lo, col), "");
  V in[3];
  in[0] = LLVMBuildAdd(lo->b, at, k64(lo, col), "");
  in[1] = LLVMBuildAnd(lo->b, kept, k32(lo, 1), "");
  in[2] = as_i32(lo, lo->b, LLVMBuildAnd(lo->b, in_rows, in_keys, ""));
  asm_call(lo, ASM_MEMORY,
           "{ .reg .pred p; setp.ne.u32 p, $2, 0; @p st.global.u8 [$0], $1; }", "l,r,r", in,
           3, lo->none, NULL, 0);
}

void
lower_store_keep(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  const V *word = lo->vals[x->id];
  Bytes p = place_of(lo, op);
  int cols = val_cols(x) / 8;
  for (int m = 0; m < val_tiles_m(x); m++)
    for (int c = 0; c < cols; c++)
      for (int byte = 0; byte < 4; byte++)
        store_byte(lo, op, &p, word[m * cols + c], m, c, byte);
}
