#include "emulator/exec/video.h"

#include "emulator/exec/steps.h"

#include <string.h>

__extension__ typedef __int128 Wide;

static int64_t
extend(uint32_t bits, int n, bool sign)
{
  uint64_t v = n == 32 ? bits : bits & (((uint32_t)1 << n) - 1);
  return sign && v >> (n - 1) ? (int64_t)(v - ((uint64_t)1 << n)) : (int64_t)v;
}

static int
part_bits(int part)
{
  return part == PART_ALL ? 32 : part >= PART_H0 ? 16 : 8;
}

static int
part_at(int part)
{
  return part == PART_ALL ? 0 : part >= PART_H0 ? 16 * (part - PART_H0) : 8 * part;
}

static int64_t
part_of(uint32_t v, int part, bool sign)
{
  return extend(v >> part_at(part), part_bits(part), sign);
}

static Wide
clamp(Wide v, int bits, bool sign)
{
  Wide most = ((Wide)1 << (bits - sign)) - 1, least = sign ? -most - 1 : 0;
  return v > most ? most : v < least ? least : v;
}

static Wide
shifted(int op, int64_t a, int64_t b)
{
  bool wraps = op == V_SHL_WRAP || op == V_SHR_WRAP;
  int n = wraps ? (int)(b & 31) : b > 32 ? 32 : (int)b;
  return op == V_SHL_CLAMP || op == V_SHL_WRAP ? (Wide)a * ((Wide)1 << n) : (Wide)a >> n;
}

static Wide
computed(int op, int64_t a, int64_t b)
{
  switch (op) {
  case V_ADD:
    return a + b;
  case V_SUB:
    return a - b;
  case V_ABSDIFF:
    return a > b ? a - b : b - a;
  case V_AVRG:
    return (a + b + (a + b >= 0)) >> 1;
  case V_MIN:
    return a < b ? a : b;
  case V_MAX:
    return a > b ? a : b;
  case V_EQ:
    return a == b;
  case V_NE:
    return a != b;
  case V_LT:
    return a < b;
  case V_LE:
    return a <= b;
  case V_GT:
    return a > b;
  case V_GE:
    return a >= b;
  default:
    return shifted(op, a, b);
  }
}

static uint32_t
combined(const VideoForm *f, Wide v, uint32_t c)
{
  Wide third = extend(c, 32, f->flags & VIDEO_D_SIGNED);
  switch (f->second) {
  case SECOND_ADD:
    return (uint32_t)(v + third);
  case SECOND_MIN:
    return (uint32_t)(v < third ? v : third);
  case SECOND_MAX:
    return (uint32_t)(v > third ? v : third);
  default:
    return (uint32_t)v;
  }
}

static uint32_t
scalar(const VideoForm *f, uint32_t a, uint32_t b, uint32_t c)
{
  int bits = part_bits(f->d), at = part_at(f->d);
  Wide v = computed(f->op, part_of(a, f->a[0], f->flags & VIDEO_A_SIGNED),
                    part_of(b, f->b[0], f->flags & VIDEO_B_SIGNED));
  if (f->flags & VIDEO_SAT)
    v = clamp(v, bits, f->flags & VIDEO_D_SIGNED);
  if (f->d == PART_ALL)
    return combined(f, v, c);
  uint32_t keep = (((uint32_t)1 << bits) - 1) << at;
  return ((uint32_t)v << at & keep) | (c & ~keep);
}

/* The steps of the ISA's own text, complements included. */
static uint32_t
multiply(const VideoForm *f, uint32_t a, uint32_t b, uint32_t c)
{
  bool minus = f->flags & VIDEO_MINUS, minus_c = f->flags & VIDEO_MINUS_C;
  bool sign = f->flags & (VIDEO_A_SIGNED | VIDEO_B_SIGNED | VIDEO_MINUS | VIDEO_MINUS_C);
  Wide v = (Wide)part_of(a, f->a[0], f->flags & VIDEO_A_SIGNED) *
           part_of(b, f->b[0], f->flags & VIDEO_B_SIGNED);
  int one = minus || minus_c || (f->flags & VIDEO_PLUS_ONE);
  v = minus ? ~v : v;
  v += extend(minus_c && !minus ? ~c : c, 32, sign) + one;
  v >>= f->shift;
  return (uint32_t)(f->flags & VIDEO_SAT ? clamp(v, 32, sign) : v);
}

static uint32_t
several(const VideoForm *f, uint32_t a, uint32_t b, uint32_t c)
{
  int bits = 32 / f->elements;
  uint64_t both = (uint64_t)b << 32 | a;
  uint32_t merged = 0, sum = c, keep = bits == 16 ? 0xffff : 0xff;
  for (int i = 0; i < f->elements; i++) {
    int64_t x = extend((uint32_t)(both >> f->a[i] * bits), bits, f->flags & VIDEO_A_SIGNED);
    int64_t y = extend((uint32_t)(both >> f->b[i] * bits), bits, f->flags & VIDEO_B_SIGNED);
    Wide v = computed(f->op, x, y);
    if (f->flags & VIDEO_SAT)
      v = clamp(v, bits, f->flags & VIDEO_D_SIGNED);
    bool written = f->d >> i & 1;
    sum += written ? (uint32_t)v : 0;
    merged |= written ? ((uint32_t)v & keep) << i * bits : c & keep << i * bits;
  }
  return f->second == SECOND_ADD ? sum : merged;
}

uint32_t
video_run(const VideoForm *f, uint32_t a, uint32_t b, uint32_t c)
{
  return f->elements > 1  ? several(f, a, b, c)
         : f->op == V_MAD ? multiply(f, a, b, c)
                          : scalar(f, a, b, c);
}

Stop
step_video(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *a = row32(w, i->a), *b = row32(w, i->b), *c = row32(w, i->c);
  uint32_t d[LANES];
  for (int l = 0; l < LANES; l++)
    d[l] = video_run(&i->video, a[l], b[l], c[l]);
  exec_put32(x, w, i->d, d, mask);
  return GO;
}
