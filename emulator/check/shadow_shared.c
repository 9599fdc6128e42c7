/* The word checks.  Fast cases first: same warp, or everything known up to now. */
#include "emulator/check/shadow_part.h"

#include <stdlib.h>
#include <string.h>

/* One lane's part of an access. */
typedef struct Touch {
  const ShadowAccess *a;
  int lane;
  uint32_t addr;  /* of the word */
  uint32_t bytes; /* mask of 4 */
  uint32_t copy;  /* id, SHADOW_COPY */
} Touch;

static uint32_t
time_of(uint32_t field)
{
  return field & SH_TIME_MAX;
}

static int
warp_of(uint32_t w)
{
  return (int)(w >> 24 & 31);
}

static int
lane_of(const Word *x) /* of an async write */
{
  return (int)((x->r >> 24 & 15) | (x->w & W_ATOMIC ? 16 : 0));
}

static uint16_t
insn_field(int insn)
{
  return (uint16_t)(insn < SH_INSN_MAX ? insn + 1 : SH_INSN_MAX + 1);
}

static int
insn_of(uint16_t field)
{
  return (int)(field & ~R_INFLATED) - 1;
}

static Report
report_of(ShadowKind kind, const Touch *t, int other_insn, int other_warp)
{
  return (Report){.kind = kind,
                  .insn = t->a->insn,
                  .other = other_insn,
                  .warp = t->a->warp,
                  .other_warp = other_warp,
                  .lane = t->lane,
                  .other_cta = -1,
                  .addr = t->addr};
}

static const char *
verb(const Touch *t)
{
  static const char *const verbs[] = {"reads", "writes", "updates", "copies into"};
  return verbs[t->a->op];
}

/* ---- who has read ---- */

static ReaderTimes *
inflated(Shadow *s, const Word *x)
{
  return x->r_insn & R_INFLATED ? &s->times[x->readers] : NULL;
}

static void
forget_readers(Shadow *s, Word *x)
{
  if (x->r_insn & R_INFLATED) {
    s->times[x->readers].next = s->free_times;
    s->free_times = (int32_t)x->readers;
  }
  x->readers = 0;
  x->r_insn = 0;
  x->r &= 0x0f000000;
}

/* Index of a fresh entry; < 0: out of memory. */
static int
new_times(Shadow *s)
{
  if (s->free_times >= 0) {
    int i = s->free_times;
    s->free_times = s->times[i].next;
    return i;
  }
  if (s->n_times == s->cap_times) {
    int cap = s->cap_times ? 2 * s->cap_times : 64;
    ReaderTimes *p = realloc(s->times, (size_t)cap * sizeof *p);
    if (!p)
      return -1;
    s->times = p;
    s->cap_times = cap;
  }
  return s->n_times++;
}

/* Readers at different times, unordered among themselves: a time for each. */
static void
inflate(Shadow *s, Word *x)
{
  int i = new_times(s);
  if (i < 0) {
    shadow_out_of_memory(s);
    return;
  }
  for (int w = 0; w < SH_WARPS; w++)
    s->times[i].at[w] = x->readers >> w & 1 ? time_of(x->r) : 0;
  x->readers = (uint32_t)i;
  x->r_insn |= R_INFLATED;
}

static bool
readers_came_before(const Shadow *s, const Word *x, int warp)
{
  uint32_t t = time_of(x->r);
  if (t <= s->least[warp])
    return true;
  for (uint32_t m = x->readers & ~(1u << warp); m; m &= m - 1)
    if (t > s->known[warp].time[__builtin_ctz(m)])
      return false;
  return true;
}

/* The bytes kept are those that every warp in the set has read: what two warps do to
 * different bytes of a word must not look like a race. */
static void
note_reader(Shadow *s, Word *x, const Touch *t)
{
  int warp = t->a->warp;
  uint32_t me = 1u << warp, old = time_of(x->r), common = x->r >> 28 & t->bytes;
  bool mine = !(x->r_insn & R_INFLATED) && !(x->readers & ~me);
  LaneKey key = shadow_lane_key(s, warp, t->lane);
  x->r_lane =
      mine && x->readers ? shadow_lane_joined(x->r_lane, key, x->r >> 28 == t->bytes) : key;
  if (mine || !common || (!(x->r_insn & R_INFLATED) && readers_came_before(s, x, warp))) {
    uint32_t union_ = mine && old == s->time ? x->r >> 28 : 0;
    forget_readers(s, x);
    x->readers = me;
    common = t->bytes | union_;
  } else if (x->r_insn & R_INFLATED) {
    s->times[x->readers].at[warp] = s->time;
  } else if (old == s->time) {
    x->readers |= me;
  } else {
    inflate(s, x);
    if (x->r_insn & R_INFLATED)
      s->times[x->readers].at[warp] = s->time;
  }
  x->r = common << 28 | (x->r & 0x0f000000) | s->time;
  x->r_insn = (uint16_t)(insn_field(t->a->insn) | (x->r_insn & R_INFLATED));
}

/* A warp that has read bytes of the word, not ordered before `warp`; -1: none. */
static int
unordered_reader(Shadow *s, const Word *x, const Touch *t)
{
  int warp = t->a->warp;
  const ReaderTimes *times = inflated(s, x);
  bool far = warp >= SH_WARPS;
  if (!(x->r >> 28 & t->bytes) || (!far && !times && time_of(x->r) <= s->least[warp]))
    return -1;
  const Known *k = shadow_known_here(s, warp);
  for (int w = 0; w < s->warps; w++) {
    uint32_t at = times ? times->at[w] : x->readers >> w & 1 ? time_of(x->r) : 0;
    if (w != warp && at > k->time[w])
      return w;
  }
  return -1;
}

/* ---- the checks ---- */

static bool
write_came_before(const Shadow *s, const Word *x, int warp)
{
  int by = warp_of(x->w);
  return by == warp || time_of(x->w) <= shadow_known_here(s, warp)->time[by];
}

static void
found_pending(Shadow *s, const Word *x, const Touch *t)
{
  int from = warp_of(x->w), insn = insn_of(x->w_insn), line = shadow_line(s, insn);
  bool waited = shadow_copy_waited(s, from, lane_of(x), time_of(x->w));
  bool reads = t->a->op == SHADOW_READ || t->a->op == SHADOW_ATOMIC;
  Report r = report_of(reads ? SHADOW_ASYNC_READ : SHADOW_ASYNC_OVERWRITE, t, insn, from);
  if (!waited)
    shadow_report(
        s, &r,
        "%s shared memory at byte %u while the cp.async of line %d that fills it is "
        "still in flight: warp %d has not waited for its group",
        verb(t), t->addr, line, from);
  else
    shadow_report(
        s, &r,
        "%s shared memory at byte %u, which the cp.async of line %d fills: warp %d "
        "has waited for it, but no barrier since makes it visible here",
        verb(t), t->addr, line, from);
}

/* The last write of the word against this access. */
static void
check_last_write(Shadow *s, const Word *x, const Touch *t)
{
  int warp = t->a->warp, by = warp_of(x->w);
  if (x->w & W_ASYNC) {
    if (!shadow_copy_visible(s, warp, t->lane, by, lane_of(x), time_of(x->w)))
      found_pending(s, x, t);
    return;
  }
  if (write_came_before(s, x, warp) || !(x->r >> 24 & t->bytes & 15))
    return;
  if ((x->w & W_ATOMIC) && t->a->op == SHADOW_ATOMIC)
    return;
  int insn = insn_of(x->w_insn);
  Report r = report_of(t->a->op == SHADOW_COPY ? SHADOW_ASYNC_OVERWRITE : SHADOW_RACE, t,
                       insn, by);
  shadow_report(s, &r,
                "%s shared memory at byte %u, which warp %d writes at line %d: no barrier "
                "orders the two",
                verb(t), t->addr, by, shadow_line(s, insn));
}

static void
check_readers(Shadow *s, const Word *x, const Touch *t)
{
  int reader = unordered_reader(s, x, t);
  if (reader < 0)
    return;
  int insn = insn_of(x->r_insn);
  Report r = report_of(t->a->op == SHADOW_COPY ? SHADOW_ASYNC_OVERWRITE : SHADOW_RACE, t,
                       insn, reader);
  shadow_report(
      s, &r,
      "%s shared memory at byte %u, which warp %d may still be reading at line %d: no "
      "barrier orders the two",
      verb(t), t->addr, reader, shadow_line(s, insn));
}

static void
read_word(Shadow *s, Word *x, const Touch *t)
{
  if ((x->w & W_ASYNC) || !write_came_before(s, x, t->a->warp))
    check_last_write(s, x, t);
  else
    shadow_lane_reads(s, x, t->a, t->lane, t->addr, t->bytes);
  note_reader(s, x, t);
}

static void
write_word(Shadow *s, Word *x, const Touch *t)
{
  int warp = t->a->warp;
  uint32_t uniform = x->w & W_UNIFORM, bytes = t->bytes;
  LaneKey key = shadow_lane_key(s, warp, t->lane);
  check_last_write(s, x, t);
  check_readers(s, x, t);
  shadow_lane_writes(s, x, t->a, t->lane, t->addr, t->bytes);
  bool neighbours = !(x->w & W_ASYNC) && warp_of(x->w) == warp && time_of(x->w) == s->time;
  if (neighbours && bytes != 15)
    key = shadow_lane_joined(x->w_lane, key, false);
  if (neighbours)
    bytes |= x->r >> 24 & 15;
  forget_readers(s, x);
  x->w_lane = key;
  x->w =
      s->time | (uint32_t)warp << 24 | uniform | (t->a->op == SHADOW_ATOMIC ? W_ATOMIC : 0);
  x->r = bytes << 24;
  x->w_insn = insn_field(t->a->insn);
}

static void
copy_word(Shadow *s, Word *x, const Touch *t)
{
  uint32_t uniform = x->w & W_UNIFORM;
  check_last_write(s, x, t);
  check_readers(s, x, t);
  shadow_lane_writes(s, x, t->a, t->lane, t->addr, t->bytes);
  forget_readers(s, x);
  x->w = t->copy | (uint32_t)t->a->warp << 24 | uniform | W_ASYNC |
         (t->lane & 16 ? W_ATOMIC : 0);
  x->r = (uint32_t)(t->lane & 15) << 24;
  x->w_insn = insn_field(t->a->insn);
}

static void
touch_word(Shadow *s, Word *x, const Touch *t)
{
  if (t->a->op == SHADOW_READ)
    read_word(s, x, t);
  else if (t->a->op == SHADOW_COPY)
    copy_word(s, x, t);
  else
    write_word(s, x, t);
}

/* ---- chunks ---- */

/* The chunk's four words say it from now on. */
static void
part(Shadow *s, Word *chunk, Word *w)
{
  chunk->w &= ~W_UNIFORM;
  for (int i = 0; i < 4; i++) {
    w[i] = *chunk;
    if (i == 0 || !inflated(s, chunk))
      continue;
    int n = new_times(s);
    if (n < 0) {
      shadow_out_of_memory(s);
      w[i].readers = 0;
      w[i].r_insn = 0;
      continue;
    }
    s->times[n] = s->times[chunk->readers];
    w[i].readers = (uint32_t)n;
  }
}

/* All four were written alike: the chunk says it again. */
static void
join(Word *chunk, const Word *w)
{
  *chunk = w[0];
  chunk->w |= W_UNIFORM;
}

static void
touch_chunk(Shadow *s, Word *chunk, Word *w, Touch *t)
{
  t->bytes = 15;
  if (chunk->w & W_UNIFORM) {
    touch_word(s, chunk, t);
    return;
  }
  for (int i = 0; i < 4; i++, t->addr += 4)
    touch_word(s, &w[i], t);
  if (t->a->op != SHADOW_READ)
    join(chunk, w);
}

static void
touch_words(Shadow *s, Word *chunk, Word *w, Touch *t, uint32_t off, int bytes)
{
  if (chunk->w & W_UNIFORM)
    part(s, chunk, w);
  t->addr = off & ~3u;
  if (bytes < 4) {
    t->bytes = ((1u << bytes) - 1) << (off & 3);
    touch_word(s, &w[off / 4 % 4], t);
    return;
  }
  t->bytes = 15;
  for (int i = 0; i < bytes; i += 4, t->addr += 4)
    touch_word(s, &w[t->addr / 4 % 4], t);
}

static void
count(Shadow *s, const ShadowAccess *a, const uint32_t *off)
{
  int phases, ideal;
  shadow_banks(a->mask, a->bytes, off, &phases, &ideal);
  s->counts[a->insn].phases += (uint64_t)phases;
  s->counts[a->insn].ideal += (uint64_t)ideal;
}

/* ---- the usual case, at once: nothing is wrong and nothing is inflated ---- */

typedef struct Fast {
  const Known *known;
  uint32_t time, least, me, warp_field;
  uint16_t insn;
  LaneKey key; /* of this lane */
} Fast;

/* The last write is ordered before this warp.  known has the warp itself up to the end of
 * time, and its own copies as far as all lanes may see them. */
static inline bool
settled(const Fast *f, const Word *x)
{
  uint32_t by = x->w >> 24 & 31,
           most = x->w & W_ASYNC ? f->known->copy[by] : f->known->time[by];
  return (x->w & SH_TIME_MAX) <= most && !(x->r_insn & R_INFLATED);
}

static inline bool
fast_read(const Fast *f, Word *x, uint32_t bytes)
{
  uint32_t at = x->r & SH_TIME_MAX;
  if (!settled(f, x) || shadow_lane_other(x->w_lane, f->key))
    return false;
  if (at == f->time && x->r >> 28 == bytes) {
    x->readers |= f->me;
    x->r_lane = shadow_lane_joined(x->r_lane, f->key, true);
  } else if (at <= f->least) {
    x->readers = f->me;
    x->r_lane = f->key;
    x->r = bytes << 28 | (x->r & 0x0f000000) | f->time;
  } else {
    return false;
  }
  x->r_insn = f->insn;
  return true;
}

static inline bool
fast_write(const Fast *f, Word *x, uint32_t bytes, uint32_t w, uint32_t r)
{
  LaneKey key = f->key;
  if (!settled(f, x) || ((x->r & SH_TIME_MAX) > f->least && (x->readers & ~f->me)) ||
      shadow_lane_other(x->w_lane, key) ||
      (x->readers == f->me && shadow_lane_other(x->r_lane, key)))
    return false;
  uint32_t before = f->warp_field | f->time; /* neighbours in a word, one after another */
  if (bytes != 15 && (x->w & ~(W_UNIFORM | W_ATOMIC)) == before) {
    r |= x->r & 0x0f000000;
    key = shadow_lane_joined(x->w_lane, key, false);
  }
  x->w_lane = key;
  x->w = w | (x->w & W_UNIFORM);
  x->r = r;
  x->readers = 0;
  x->r_insn = 0;
  x->w_insn = f->insn;
  return true;
}

static void
touch_slowly(Shadow *s, Word *chunk, Touch *t, uint32_t off)
{
  Word *w = &s->words[off / 16 * 4];
  t->addr = off;
  if (t->a->bytes == 16)
    touch_chunk(s, chunk, w, t);
  else
    touch_words(s, chunk, w, t, off, t->a->bytes);
}

/* The words of one lane's access: one if the chunk is uniform and touched whole. */
static inline bool
fast_lane(const Fast *f, Word *chunk, Word *words, const Touch *t, ShadowOp op, int width,
          uint32_t off)
{
  bool uniform = chunk->w & W_UNIFORM;
  if (uniform != (width == 16) || width == 8)
    return false;
  Word *x = uniform ? chunk : &words[off / 4];
  uint32_t bytes = width >= 4 ? 15 : ((1u << width) - 1) << (off & 3);
  if (op == SHADOW_READ)
    return fast_read(f, x, bytes);
  if (op == SHADOW_COPY)
    return fast_write(f, x, 15,
                      t->copy | f->warp_field | W_ASYNC | (t->lane & 16 ? W_ATOMIC : 0),
                      (uint32_t)(t->lane & 15) << 24);
  return op == SHADOW_WRITE &&
         fast_write(f, x, bytes, f->time | f->warp_field, bytes << 24);
}

static Fast
fast_of(const Shadow *s, const ShadowAccess *a)
{
  return (Fast){.known = &s->known[a->warp],
                .time = s->time,
                .least = s->least[a->warp],
                .me = 1u << a->warp,
                .warp_field = (uint32_t)a->warp << 24,
                .insn = insn_field(a->insn)};
}

/* What is beside the words: lanes that read undefined values. */
static __attribute__((noinline)) uint32_t
touch_beside(Shadow *s, const ShadowAccess *a, int lane, uint32_t off)
{
  if (s->async)
    shadow_async_touch(s, a, lane, off);
  if (s->touched_far)
    shadow_far_touch(s, a, lane, off);
  return s->carries ? shadow_carried_touch(s, a, lane, off) : 0;
}

/* Written out for each op and width that is common. */
static inline __attribute__((always_inline)) uint32_t
touch_lanes(Shadow *s, const ShadowAccess *a, ShadowOp op, int width, const uint32_t *off)
{
  Touch t = {.a = a};
  if (op == SHADOW_COPY)
    t.copy = shadow_copy_issue(s, a->warp, a->mask);
  Fast f = fast_of(s, a);
  bool fills = op == SHADOW_WRITE || op == SHADOW_COPY;
  bool beside = s->async || s->touched_far || s->carries;
  bool slow = s->ragged >> a->warp & 1;
  uint32_t all = (1u << width) - 1, unwritten = 0;
  for (uint32_t m = a->mask; m; m &= m - 1) {
    t.lane = __builtin_ctz(m);
    f.key = shadow_lane_key(s, a->warp, t.lane);
    uint32_t at = off[t.lane], need = all << at % 16;
    uint16_t *init = &s->init[at / 16];
    Word *chunk = &s->chunks[at / 16];
    if (!*init) /* what is there is of the CTA before */
      *chunk = (Word){.w = W_UNIFORM};
    if (fills)
      *init = (uint16_t)(*init | need);
    else if ((*init & need) != need)
      unwritten |= 1u << t.lane;
    if (beside)
      unwritten |= touch_beside(s, a, t.lane, at);
    if (slow || !fast_lane(&f, chunk, s->words, &t, op, width, at))
      touch_slowly(s, chunk, &t, at);
  }
  return unwritten;
}

uint32_t
shadow_shared(Shadow *s, const ShadowAccess *a, const uint32_t *off)
{
  count(s, a, off);
  if (!s->checks)
    return 0;
  if (a->warp >= SH_WARPS)
    return shadow_far_access(s, a, off);
  shadow_after_arrival(s, a->warp);
  ShadowOp op = (ShadowOp)a->op;
  if (op == SHADOW_READ && a->bytes == 16)
    return touch_lanes(s, a, SHADOW_READ, 16, off);
  if (op == SHADOW_READ && a->bytes == 4)
    return touch_lanes(s, a, SHADOW_READ, 4, off);
  if (op == SHADOW_WRITE && a->bytes == 16)
    return touch_lanes(s, a, SHADOW_WRITE, 16, off);
  if (op == SHADOW_WRITE && a->bytes == 4)
    return touch_lanes(s, a, SHADOW_WRITE, 4, off);
  if (op == SHADOW_COPY && a->bytes == 16)
    return touch_lanes(s, a, SHADOW_COPY, 16, off);
  return touch_lanes(s, a, op, a->bytes, off);
}

/* ---- other CTAs ---- */

bool
shadow_word_far(Shadow *s, const ShadowAccess *a, int lane, uint32_t off)
{
  Touch t = {.a = a, .lane = lane};
  Word *chunk = &s->chunks[off / 16], *w = &s->words[off / 16 * 4];
  uint32_t all = (1u << a->bytes) - 1, need = all << off % 16;
  uint16_t *init = &s->init[off / 16];
  if (!*init)
    *chunk = (Word){.w = W_UNIFORM};
  bool unwritten = a->op != SHADOW_WRITE && (*init & need) != need;
  if (a->op == SHADOW_WRITE)
    *init = (uint16_t)(*init | need);
  if (s->carries && shadow_carried_touch(s, a, lane, off))
    unwritten = true;
  for (uint32_t k = 0; k < 4; k++) {
    Word *x = chunk->w & W_UNIFORM ? chunk : &w[k];
    t.bytes = need >> 4 * k & 15;
    t.addr = off / 16 * 16 + 4 * k;
    if (!t.bytes)
      continue;
    check_last_write(s, x, &t);
    if (a->op != SHADOW_READ)
      check_readers(s, x, &t);
  }
  return unwritten;
}

/* ---- engines ---- */

static void
check_fenced(Shadow *s, const Word *x, const Touch *t)
{
  int by = warp_of(x->w);
  const Known *k = shadow_known_here(s, t->a->warp);
  uint32_t upto = x->w & W_ASYNC ? k->fenced_copy[by] : k->fenced[by];
  if (upto >= time_of(x->w) || ((x->w & W_ASYNC) && s->launch->info.lax))
    return;
  int insn = insn_of(x->w_insn);
  Report r = report_of(SHADOW_PROXY, t, insn, by);
  shadow_report(
      s, &r,
      "%s shared memory at byte %u by an engine; warp %d wrote there at line %d, and no "
      "fence.proxy.async has come since",
      verb(t), t->addr, by, shadow_line(s, insn));
}

void
shadow_word_async(Shadow *s, int insn, int warp, int lane, uint32_t off, bool writes,
                  bool engine)
{
  ShadowAccess a = {
      .insn = insn, .warp = warp, .bytes = 16, .op = writes ? SHADOW_COPY : SHADOW_READ};
  Touch t = {.a = &a, .lane = lane, .addr = off, .bytes = 15};
  Word *chunk = &s->chunks[off / 16], *w = &s->words[off / 16 * 4];
  if (!s->init[off / 16])
    *chunk = (Word){.w = W_UNIFORM};
  if (s->touched_far)
    shadow_far_engine(s, insn, warp, lane, off, writes);
  int n = chunk->w & W_UNIFORM ? 1 : 4;
  for (int i = 0; i < n; i++, t.addr += 4) {
    Word *x = n == 1 ? chunk : &w[i];
    if ((x->w & W_ASYNC) || !write_came_before(s, x, warp))
      check_last_write(s, x, &t);
    if (writes)
      check_readers(s, x, &t);
    if (engine)
      check_fenced(s, x, &t);
    if (writes)
      forget_readers(s, x);
  }
  if (writes)
    *chunk = (Word){.w = W_UNIFORM};
}
