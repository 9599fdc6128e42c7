#include "emulator/async/bulk.h"
#include "emulator/exec/calls.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"
#include "emulator/exec/undo.h"
#include "emulator/check/undefined.h"

#include <string.h>

static const Alloc *
find(Exec *x, uint64_t addr)
{
  const Alloc *a = x->last;
  if (a && addr - a->base < a->bytes)
    return a;
  int lo = 0, hi = x->launch->n_allocs;
  while (lo < hi) { /* the last one that starts at or below addr */
    int mid = (lo + hi) / 2;
    if (x->launch->allocs[mid].base <= addr)
      lo = mid + 1;
    else
      hi = mid;
  }
  a = lo ? &x->launch->allocs[lo - 1] : NULL;
  if (!a || addr - a->base >= a->bytes)
    return NULL;
  return x->last = a;
}

/* ---- findings ---- */

static Stop
out_of_global(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, int bytes)
{
  const Alloc *near = NULL;
  for (int j = 0; j < x->launch->n_allocs; j++)
    if (x->launch->allocs[j].base <= addr)
      near = &x->launch->allocs[j];
  unsigned long long at = addr;
  if (near && addr - near->base < near->bytes + (1 << 20))
    return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", lane,
                        "%d bytes at 0x%llx: byte %llu of an allocation of %llu", bytes, at,
                        (unsigned long long)(addr - near->base),
                        (unsigned long long)near->bytes);
  return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", lane,
                      "%d bytes at 0x%llx, where nothing is allocated", bytes, at);
}

static Stop
out_of(Exec *x, Warp *w, const Insn *i, int lane, const char *what, uint64_t at, int bytes,
       uint64_t size)
{
  return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", lane,
                      "%d bytes at byte %lld of %llu bytes of %s", bytes, (long long)at,
                      (unsigned long long)size, what);
}

static Stop
misaligned(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, int bytes)
{
  return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                      "address 0x%llx is no multiple of %d", (unsigned long long)addr,
                      bytes);
}

/* ---- one state space ---- */

ShadowAccess
mem_access(const Exec *x, const Warp *w, const Insn *i, uint32_t mask, ShadowOp op,
           int bytes)
{
  return (ShadowAccess){.insn = (int)(i - x->kernel->code),
                        .warp = w->id,
                        .mask = mask,
                        .op = (uint8_t)op,
                        .bytes = (uint8_t)bytes,
                        .order = i->mem.order,
                        .unit = i->mem.bytes};
}

static Stop
check_alignment(Exec *x, Warp *w, const Insn *i, uint32_t mask, const uint64_t *addr,
                int bytes)
{
  for (int l = 0; l < LANES; l++)
    if ((mask >> l & 1) && addr[l] & (uint64_t)(bytes - 1))
      return misaligned(x, w, i, l, addr[l], bytes);
  return GO;
}

/* Lanes that are not in their own CTA's shared memory. */
static Stop
reach_cluster(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
              bool far, const uint64_t *addr, uint8_t **host)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint32_t off[LANES];
    Cta *c = cluster_find(x, w, i, l, addr[l], far, (uint64_t)bytes, &off[l], &s);
    if (!c)
      break;
    host[l] = c->shared + off[l];
    if (op != SHADOW_READ && c->laid_out)
      layout_set(c, off[l], (uint32_t)bytes, LAYOUT_UNKNOWN);
    ShadowAccess a = mem_access(x, w, i, 1u << l, op, bytes);
    a.warp = cta_who(w, c);
    if (shadow_shared(c->shadow, &a, off))
      undefined_read(x, w, c, i, 1u << l, off, bytes);
  }
  return s;
}

/* addr is relative to the shared window; far: of any CTA of the cluster. */
static Stop
reach_shared(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
             bool far, const uint64_t *addr, uint8_t **host)
{
  uint32_t off[LANES];
  uint64_t size = w->cta->shared_bytes, base = w->cta->base;
  Stop s = check_alignment(x, w, i, mask, addr, bytes);
  if (s != GO)
    return s;
  uint32_t others = 0;
  for (int l = 0; l < LANES; l++) {
    uint64_t at = addr[l] - base;
    off[l] = (uint32_t)at;
    if (!(mask >> l & 1))
      continue;
    if (at >= size || size - at < (uint64_t)bytes)
      others |= 1u << l;
    else
      host[l] = w->cta->shared + at;
  }
  if (others) {
    s = reach_cluster(x, w, i, others, op, bytes, far, addr, host);
    mask &= ~others;
    if (s != GO || !mask)
      return s;
  }
  for (uint32_t m = op != SHADOW_READ && w->cta->laid_out ? mask : 0; m; m &= m - 1)
    layout_set(w->cta, off[__builtin_ctz(m)], (uint32_t)bytes, LAYOUT_UNKNOWN);
  ShadowAccess a = mem_access(x, w, i, mask, op, bytes);
  uint32_t unwritten = shadow_shared(w->cta->shadow, &a, off);
  if (unwritten)
    undefined_read(x, w, w->cta, i, unwritten, off, bytes);
  return GO;
}

/* The shadow knows of at most 16 bytes a lane. */
static void
tell_halves(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, const Alloc *m,
            uint64_t *off)
{
  ShadowAccess a = mem_access(x, w, i, mask, op, 16);
  a.one = SHADOW_FIRST_HALF;
  shadow_global(w->cta->shadow, &a, m->shadow, m->base, off);
  for (int l = 0; l < LANES; l++)
    off[l] += 16;
  a.one = SHADOW_SECOND_HALF;
  shadow_global(w->cta->shadow, &a, m->shadow, m->base, off);
}

/* A launch whose writes can be taken back: what is there is kept. */
static Stop
keep_bytes(Exec *x, Warp *w, const Insn *i, int lane, const Alloc *m, uint64_t addr,
           uint64_t bytes)
{
  int unit = x->unit ? x->unit : i->mem.bytes ? i->mem.bytes : 4;
  if (undo_write(x->launch->undo, (int)(m - x->launch->allocs), addr - m->base, bytes,
                 (int)(i - x->kernel->code), unit))
    return GO;
  return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", lane,
                      "the emulator is out of memory");
}

static Stop
check_write(Exec *x, Warp *w, const Insn *i, uint32_t mask, const Alloc *m,
            const uint64_t *addr, uint64_t bytes)
{
  Stop s = GO;
  if (m->read_only)
    return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "read-only",
                        __builtin_ctz(mask), "a write to .const memory");
  for (uint32_t k = x->launch->undo ? mask : 0; k && s == GO; k &= k - 1)
    s = keep_bytes(x, w, i, __builtin_ctz(k), m, addr[__builtin_ctz(k)], bytes);
  return s;
}

static Stop
reach_alloc(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
            const uint64_t *addr, uint8_t **host, const Alloc *m)
{
  uint64_t off[LANES];
  for (int l = 0; l < LANES; l++) {
    off[l] = addr[l] - m->base;
    if (!(mask >> l & 1))
      continue;
    if (m->bytes - off[l] < (uint64_t)bytes)
      return out_of_global(x, w, i, l, addr[l], bytes);
    host[l] = m->host + off[l];
  }
  if (op != SHADOW_READ && op != SHADOW_COPY) {
    Stop s = check_write(x, w, i, mask, m, addr, (uint64_t)bytes);
    if (s != GO)
      return s;
  }
  for (uint32_t k = bulk_writing(w->cta->bulk) ? mask : 0; k; k &= k - 1) {
    int l = __builtin_ctz(k);
    bulk_check_global(x, w, i, l, addr[l], (uint64_t)bytes, op);
  }
  if (m->shadow && bytes == 32) {
    tell_halves(x, w, i, mask, op, m, off);
  } else if (m->shadow) {
    ShadowAccess a = mem_access(x, w, i, mask, op, bytes);
    shadow_global(w->cta->shadow, &a, m->shadow, m->base, off);
  }
  return GO;
}

static Stop
reach_global(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
             const uint64_t *addr, uint8_t **host)
{
  Stop s = check_alignment(x, w, i, mask, addr, bytes);
  while (s == GO && mask) {
    int first = __builtin_ctz(mask);
    const Alloc *m = find(x, addr[first]);
    uint32_t here = 0;
    if (!m)
      return out_of_global(x, w, i, first, addr[first], bytes);
    for (int l = 0; l < LANES; l++)
      here |= (uint32_t)(addr[l] - m->base < m->bytes) << l;
    s = reach_alloc(x, w, i, mask & here, op, bytes, addr, host, m);
    mask &= ~here;
  }
  return s;
}

static Stop
reach_local(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
            const uint64_t *addr, uint8_t **host)
{
  uint64_t each = x->shape.local, size = each;
  Stop s = check_alignment(x, w, i, mask, addr, bytes);
  for (int l = 0; l < LANES && s == GO; l++) {
    if (!(mask >> l & 1))
      continue;
    if (w->calls)
      size = calls_stack(w, l);
    if (addr[l] >= size || size - addr[l] < (uint64_t)bytes)
      return out_of(x, w, i, l, "local memory", addr[l], bytes, size);
    host[l] = w->local + (size_t)l * each + addr[l];
  }
  if (s == GO && w->undefined && w->undefined->local)
    undefined_local(x, w, i, mask, host, bytes, op == SHADOW_READ);
  return s;
}

static Stop
reach_param(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
            const uint64_t *addr, uint8_t **host)
{
  uint64_t size = x->kernel->param_bytes;
  Stop s = check_alignment(x, w, i, mask, addr, bytes);
  if (s == GO && op != SHADOW_READ)
    return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "read-only",
                        __builtin_ctz(mask), "a write to the parameters");
  for (int l = 0; l < LANES && s == GO; l++) {
    if (!(mask >> l & 1))
      continue;
    if (addr[l] >= size || size - addr[l] < (uint64_t)bytes)
      return out_of(x, w, i, l, "parameters", addr[l], bytes, size);
    host[l] = x->launch->params + addr[l];
  }
  return s;
}

static Stop
reach_space(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
            Space space, const uint64_t *addr, uint8_t **host)
{
  if (bytes == 32 && space != SPACE_GLOBAL)
    return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds",
                        __builtin_ctz(mask), "32 bytes at once are in global memory alone");
  switch (space) {
  case SPACE_SHARED:
    return reach_shared(x, w, i, mask, op, bytes, false, addr, host);
  case SPACE_CLUSTER:
    return reach_shared(x, w, i, mask, op, bytes, true, addr, host);
  case SPACE_LOCAL:
    return reach_local(x, w, i, mask, op, bytes, addr, host);
  case SPACE_PARAM:
    return reach_param(x, w, i, mask, op, bytes, addr, host);
  default:
    return reach_global(x, w, i, mask, op, bytes, addr, host);
  }
}

/* ---- generic addresses ---- */

static Stop
reach_generic(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
              const uint64_t *addr, uint8_t **host)
{
  static const struct {
    uint64_t window;
    Space space;
  } windows[] = {{WINDOW_SHARED, SPACE_CLUSTER},
                 {WINDOW_LOCAL, SPACE_LOCAL},
                 {WINDOW_PARAM, SPACE_PARAM}};
  Stop s = GO;
  for (int k = 0; k < 3 && s == GO; k++) {
    uint64_t inside[LANES];
    uint32_t here = 0;
    for (int l = 0; l < LANES; l++) {
      inside[l] = addr[l] - windows[k].window;
      here |= (uint32_t)(inside[l] < WINDOW_SIZE) << l;
    }
    here &= mask;
    if (here)
      s = reach_space(x, w, i, here, op, bytes, windows[k].space, inside, host);
    mask &= ~here;
  }
  return s == GO && mask ? reach_global(x, w, i, mask, op, bytes, addr, host) : s;
}

static void
addresses(const Warp *w, uint32_t row, bool wide, int64_t off, uint64_t *addr)
{
  if (wide)
    for (int l = 0; l < LANES; l++)
      addr[l] = row64(w, row)[l] + (uint64_t)off;
  else
    for (int l = 0; l < LANES; l++)
      addr[l] = row32(w, row)[l] + (uint32_t)off;
}

void
mem_addresses(Warp *w, const Insn *i, uint64_t *addr)
{
  addresses(w, i->a, i->mem.addr64, i->imm, addr);
}

Stop
mem_reach(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes, Reach *r)
{
  addresses(w, i->a, i->mem.addr64, i->imm, r->addr);
  return mem_reach_at(x, w, i, mask, op, bytes, r);
}

Stop
mem_reach_at(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
             Reach *r)
{
  r->space = (Space)i->mem.space;
  for (int l = 0; l < LANES; l++)
    r->host[l] = x->scratch;
  if (r->space == SPACE_GENERIC)
    return reach_generic(x, w, i, mask, op, bytes, r->addr, r->host);
  return reach_space(x, w, i, mask, op, bytes, r->space, r->addr, r->host);
}

Stop
mem_shared(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int bytes,
           uint32_t *off)
{
  return mem_shared_at(x, w, i, mask, op, 0, bytes, off);
}

Stop
mem_shared_at(Exec *x, Warp *w, const Insn *i, uint32_t mask, ShadowOp op, int at,
              int bytes, uint32_t *off)
{
  uint64_t addr[LANES];
  uint8_t *host[LANES];
  addresses(w, i->a, i->mem.addr64, i->imm + at, addr);
  if (i->mem.space == SPACE_GENERIC)
    for (int l = 0; l < LANES; l++)
      addr[l] -= WINDOW_SHARED;
  Stop s = reach_shared(x, w, i, mask, op, bytes, false, addr, host);
  for (int l = 0; l < LANES; l++)
    off[l] = (uint32_t)(addr[l] - w->cta->base);
  return s;
}

/* A partial source is told in pieces of 8, 4, 2, 1 bytes. */
static Stop
reach_part(Exec *x, Warp *w, const Insn *i, int lane, uint32_t bytes, const uint64_t *addr,
           uint8_t **host)
{
  uint64_t at[LANES] = {0};
  uint8_t *piece[LANES];
  uint32_t done = 0;
  for (uint32_t n = 8; n; n /= 2) {
    if (!(bytes & n))
      continue;
    at[lane] = addr[lane] + done;
    Stop s = reach_global(x, w, i, 1u << lane, SHADOW_COPY, (int)n, at, piece);
    if (s != GO)
      return s;
    if (!done)
      host[lane] = piece[lane];
    done += n;
  }
  return GO;
}

Stop
mem_sources(Exec *x, Warp *w, const Insn *i, uint32_t mask, const uint32_t *bytes,
            const uint8_t **host)
{
  uint64_t addr[LANES];
  uint8_t *at[LANES] = {0};
  uint32_t whole = 0, full = i->mem.bytes;
  addresses(w, i->b, true, i->imm2, addr);
  for (int l = 0; l < LANES; l++)
    whole |= (uint32_t)(bytes[l] == full) << l;
  whole &= mask;
  Stop s = whole ? reach_global(x, w, i, whole, SHADOW_COPY, (int)full, addr, at) : GO;
  for (int l = 0; l < LANES && s == GO; l++) {
    if (!(mask & ~whole & 1u << l) || !bytes[l])
      continue;
    if (addr[l] & (full - 1))
      return misaligned(x, w, i, l, addr[l], (int)full);
    s = reach_part(x, w, i, l, bytes[l], addr, at);
  }
  for (int l = 0; l < LANES; l++)
    host[l] = at[l];
  return s;
}

/* ---- many bytes for one lane ---- */

/* FindingLog in pieces of the largest width that fits where they lie.  Reductions are
 * strong, of the device's scope (PTX ISA, "cp.reduce.async.bulk"). */
static void
tell_span(Exec *x, Warp *w, const Insn *i, int lane, const Alloc *m, uint64_t addr,
          uint64_t bytes, ShadowOp op)
{
  uint64_t low = (addr | bytes | 16) & (0 - (addr | bytes | 16)), end = addr + bytes;
  while (addr < end) {
    uint64_t off[LANES] = {0};
    int n = 0;
    for (; n < LANES && addr < end; n++, addr += low)
      off[n] = addr - m->base;
    ShadowAccess a = mem_access(x, w, i, n == LANES ? FULL : (1u << n) - 1, op, (int)low);
    a.one = (uint8_t)(lane + 1);
    a.order = op == SHADOW_ATOMIC ? SHADOW_GPU | SHADOW_BLIND : SHADOW_WEAK;
    a.store = op == SHADOW_ATOMIC || op == SHADOW_WRITE ? bulk_next_store(w) : 0;
    shadow_global(w->cta->shadow, &a, m->shadow, m->base, off);
  }
}

Stop
mem_span(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint64_t bytes,
         ShadowOp op, uint8_t **host)
{
  const Alloc *m = find(x, addr);
  if (!m || m->bytes - (addr - m->base) < bytes)
    return out_of_global(x, w, i, lane, addr, (int)bytes);
  if (m->read_only && op != SHADOW_READ && op != SHADOW_COPY)
    return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "read-only", lane,
                        "a write to .const memory");
  bool writes = op != SHADOW_READ && op != SHADOW_COPY;
  if (writes && x->launch->undo && keep_bytes(x, w, i, lane, m, addr, bytes) != GO)
    return FATAL;
  if (bulk_writing(w->cta->bulk) && !writes)
    bulk_check_global(x, w, i, lane, addr, bytes, op);
  if (m->shadow)
    tell_span(x, w, i, lane, m, addr, bytes, op);
  *host = m->host + (addr - m->base);
  return GO;
}

const uint8_t *
mem_peek(Exec *x, Warp *w, int lane, uint64_t addr, uint64_t *bytes)
{
  uint64_t shared = addr - WINDOW_SHARED - w->cta->base, local = addr - WINDOW_LOCAL;
  uint64_t each = x->shape.local;
  const Alloc *m;
  if (shared < w->cta->shared_bytes) {
    *bytes = w->cta->shared_bytes - shared;
    return w->cta->shared + shared;
  }
  if (local < each) {
    *bytes = each - local;
    return w->local + (size_t)lane * each + local;
  }
  if (!(m = find(x, addr)))
    return NULL;
  *bytes = m->bytes - (addr - m->base);
  return m->host + (addr - m->base);
}

const Alloc *
mem_alloc(Exec *x, uint64_t addr)
{
  return find(x, addr);
}

uint8_t *
mem_host(Exec *x, uint64_t addr)
{
  const Alloc *m = find(x, addr);
  return m ? m->host + (addr - m->base) : NULL;
}

bool
mem_is_const(Exec *x, uint64_t addr)
{
  const Alloc *m = find(x, addr);
  return m && m->read_only;
}

/* ---- ld, st ---- */

static uint64_t
fetch(const uint8_t *p, int bytes, bool sign)
{
  uint64_t v = 0;
  memcpy(&v, p, (size_t)bytes);
  int unused = 64 - 8 * bytes;
  return sign ? (uint64_t)((int64_t)(v << unused) >> unused) : v;
}

static void
load_narrow(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t row, const Reach *r,
            int at)
{
  uint32_t v[LANES], keep = i->ld.keep == 16 ? 0xffff : i->ld.keep == 8 ? 0xff : FULL;
  if (i->mem.bytes == 4)
    for (int l = 0; l < LANES; l++)
      memcpy(&v[l], r->host[l] + at, 4);
  else
    for (int l = 0; l < LANES; l++)
      v[l] = (uint32_t)fetch(r->host[l] + at, i->mem.bytes, i->ld.sign) & keep;
  exec_put32(x, w, row, v, mask);
}

static void
load_wide(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t row, const Reach *r,
          int at)
{
  uint64_t v[LANES];
  if (i->mem.bytes == 8)
    for (int l = 0; l < LANES; l++)
      memcpy(&v[l], r->host[l] + at, 8);
  else
    for (int l = 0; l < LANES; l++)
      v[l] = fetch(r->host[l] + at, i->mem.bytes, i->ld.sign);
  exec_put64(x, w, row, v, mask);
}

void
mem_load(Exec *x, Warp *w, const Insn *i, uint32_t mask, const Reach *r)
{
  const uint32_t *row = x->kernel->lists + i->list;
  for (int e = 0; e < i->mem.n; e++) {
    if (row[e] == ROW_SINK)
      continue;
    if (i->flags & F_WIDE)
      load_wide(x, w, i, mask, row[e], r, e * i->mem.bytes);
    else
      load_narrow(x, w, i, mask, row[e], r, e * i->mem.bytes);
  }
}

Stop
step_ld(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  Stop s = mem_reach(x, w, i, mask, SHADOW_READ, i->mem.bytes * i->mem.n, &r);
  if (s == GO)
    mem_load(x, w, i, mask, &r);
  return s;
}

static const void *
element(const Exec *x, const Warp *w, const Insn *i, int e, int lane)
{
  uint32_t row = x->kernel->lists[i->list + (uint32_t)e];
  return i->flags & F_WIDE ? (const void *)&row64(w, row)[lane]
                           : (const void *)&row32(w, row)[lane];
}

/* After a store: a lane that does not find its value in shared memory met another lane. */
static void
check_lanes(Exec *x, Warp *w, const Insn *i, uint32_t mask, const Reach *r)
{
  size_t n = i->mem.bytes;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    if ((uint64_t)(r->host[l] - w->cta->shared) >= w->cta->shared_bytes)
      continue;
    for (int e = 0; e < i->mem.n; e++) {
      if (memcmp(r->host[l] + (size_t)e * n, element(x, w, i, e, l), n)) {
        report_error(x, w, i, "lane-overlap", l,
                     "lanes of one store write different values to the same byte of shared "
                     "memory, %u: which one stays is not defined",
                     (unsigned)(r->host[l] - w->cta->shared));
        return;
      }
    }
  }
}

void
mem_store_lane(const Exec *x, const Warp *w, const Insn *i, const Reach *r, int lane)
{
  for (int e = 0; e < i->mem.n; e++)
    memcpy(r->host[lane] + e * i->mem.bytes, element(x, w, i, e, lane), i->mem.bytes);
}

/* Lanes whose values are in device memory already. */
static uint32_t
rewrites(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t addr[LANES], bytes = (uint64_t)i->mem.bytes * i->mem.n;
  uint32_t same = 0;
  bool device = i->mem.space == SPACE_GLOBAL || i->mem.space == SPACE_GENERIC;
  if (device)
    addresses(w, i->a, i->mem.addr64, i->imm, addr);
  for (uint32_t m = device ? mask : 0; m; m &= m - 1) {
    int l = __builtin_ctz(m), e = 0;
    const Alloc *at = find(x, addr[l]);
    if (!at || at->bytes - (addr[l] - at->base) < bytes)
      continue;
    const uint8_t *p = at->host + (addr[l] - at->base);
    while (e < i->mem.n &&
           !memcmp(p + e * i->mem.bytes, element(x, w, i, e, l), i->mem.bytes))
      e++;
    same |= (uint32_t)(e == i->mem.n) << l;
  }
  return same;
}

/* With checks=lax CTAs may write the same values to the same place. */
static Stop
reach_stores(Exec *x, Warp *w, const Insn *i, uint32_t mask, Reach *r)
{
  uint32_t same = x->launch->set.lax ? rewrites(x, w, i, mask) : 0;
  int bytes = i->mem.bytes * i->mem.n;
  Stop s = mem_reach(x, w, i, mask & ~same, SHADOW_WRITE, bytes, r);
  if (!same || s != GO)
    return s;
  Reach again;
  s = mem_reach(x, w, i, same, SHADOW_REWRITE, bytes, &again);
  for (uint32_t m = same; m; m &= m - 1)
    r->host[__builtin_ctz(m)] = again.host[__builtin_ctz(m)];
  return s;
}

Stop
step_st(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  const uint32_t *row = x->kernel->lists + i->list;
  size_t n = i->mem.bytes;
  Stop s = reach_stores(x, w, i, mask, &r);
  if (s != GO)
    return s;
  for (int e = 0; e < i->mem.n; e++) {
    if (i->flags & F_WIDE)
      for (int l = 0; l < LANES; l++)
        memcpy(r.host[l] + (size_t)e * n, &row64(w, row[e])[l], n);
    else
      for (int l = 0; l < LANES; l++)
        memcpy(r.host[l] + (size_t)e * n, &row32(w, row[e])[l], n);
  }
  if (x->launch->set.checks && r.space != SPACE_GLOBAL)
    check_lanes(x, w, i, mask, &r);
  if (x->carries)
    undefined_store(x, w, i, mask, r.host);
  return GO;
}

/* A hint may point anywhere. */
Stop
step_prefetch(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)w;
  (void)x;
  (void)i;
  (void)mask;
  return GO;
}
