#include "emulator/exec/calls.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <stdlib.h>
#include <string.h>

/* ---- frames ---- */

Calls *
calls_new(const Kernel *k)
{
  Calls *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->data = malloc(2 * (size_t)k->most_args * LANES + 16);
  c->inside = calloc((size_t)k->n_functions + 1, sizeof *c->inside);
  if (c->data && c->inside)
    return c;
  calls_free(c);
  return NULL;
}

static void
free_all(Frame *f)
{
  while (f) {
    Frame *next = f->next;
    free_all(f->down);
    free(f->kept);
    free(f);
    f = next;
  }
}

void
calls_free(Calls *c)
{
  if (!c)
    return;
  free_all(c->top);
  free_all(c->free);
  free(c->data);
  free(c->inside);
  free(c);
}

static void
release(Calls *c, Frame *f)
{
  Frame **p = f->up ? &f->up->down : &c->top;
  while (*p != f)
    p = &(*p)->next;
  *p = f->next;
  free(f->kept);
  f->kept = NULL;
  f->next = c->free;
  c->free = f;
}

/* Lanes leave a frame; nobody is in calls from it who is not in it. */
static void
leave(Calls *c, Frame *f, uint32_t mask)
{
  f->lanes &= ~mask;
  f->again &= ~mask;
  if (!f->lanes)
    release(c, f);
}

void
calls_start(Warp *w, const Kernel *k)
{
  Calls *c = w->calls;
  w->frame = NULL;
  w->mixed = false;
  w->meeting = -1;
  if (!c)
    return;
  for (int l = 0; l < LANES; l++)
    for (Frame *f = c->of[l], *up; f; f = up) {
      up = f->up;
      leave(c, f, 1u << l);
    }
  memset(c->of, 0, sizeof c->of);
  memset(c->inside, 0, (size_t)k->n_functions * sizeof *c->inside);
  for (int l = 0; l < LANES; l++)
    c->sp[l] = k->frame;
}

void
calls_exit(Warp *w, uint32_t mask)
{
  Calls *c = w->calls;
  for (; mask; mask &= mask - 1) {
    int l = __builtin_ctz(mask);
    for (Frame *f = c->of[l], *up; f; f = up) {
      up = f->up;
      leave(c, f, 1u << l);
    }
    c->of[l] = NULL;
  }
}

uint32_t
calls_stack(const Warp *w, int lane)
{
  return w->calls->sp[lane];
}

/* ---- who is less far ---- */

static bool
may_meet(const Warp *w, int i)
{
  bool fresh = !w->parked[i].tried;
  int n = 0;
  for (int j = 0; j < w->n_parked; j++)
    if (w->parked[j].pc == w->parked[i].pc) {
      fresh |= !w->parked[j].tried;
      n++;
    }
  return fresh && n > 1;
}

bool
calls_meet(Warp *w)
{
  int i = w->calls ? 0 : w->n_parked;
  while (i < w->n_parked && !may_meet(w, i))
    i++;
  if (i == w->n_parked)
    return false;
  int pc = w->parked[i].pc;
  w->active = 0;
  for (int j = 0; j < w->n_parked;)
    if (w->parked[j].pc == pc) {
      w->active |= w->parked[j].mask;
      w->parked[j] = w->parked[--w->n_parked];
    } else {
      j++;
    }
  w->pc = w->meeting = pc;
  w->mixed = true;
  return true;
}

/* A call or return is of one frame: the others of the group do it later. */
static Stop
part(Warp *w)
{
  uint32_t own;
  Frame *frame = calls_frame(w, w->active, &own);
  exec_park(w, w->pc, w->active & ~own, false);
  w->frame = frame;
  w->active = own;
  w->mixed = false;
  return JUMPED;
}

/* ---- arguments and results ---- */

static uint8_t *
local_of(const Exec *x, const Warp *w, int lane)
{
  return w->local + (size_t)lane * x->shape.local;
}

static size_t
room(uint32_t bytes)
{
  return (bytes + 15) / 16 * 16;
}

/* Where a place is for a lane; the frame starts at row base. */
static uint8_t *
place_at(const Exec *x, const Warp *w, const Place *p, uint32_t base, int lane)
{
  if (p->row == ROW_ZERO)
    return local_of(x, w, lane) + row64(w, base)[lane] + p->at;
  return p->bytes > 4 ? (uint8_t *)&row64(w, p->row)[lane]
                      : (uint8_t *)&row32(w, p->row)[lane];
}

/* What is undefined goes along, behind the data; of a row all or nothing. */
static bool
take_unknown(const Warp *w, const Place *p, int lane, const uint8_t *at, uint8_t *unknown)
{
  if (p->row == ROW_ZERO)
    return undefined_take_local(w, at, p->bytes, unknown);
  bool undefined = !(w->def[p->row] >> lane & 1);
  memset(unknown, undefined ? 0xff : 0, p->bytes);
  return undefined;
}

/* From places into the lanes' data. */
static void
gather(Exec *x, Warp *w, const Insn *i, const Place *p, int n, uint32_t base, uint32_t mask)
{
  Calls *c = w->calls;
  uint8_t *data = c->data;
  c->unknown = false;
  c->from = (Origin){.insn = (int)(i - x->kernel->code), .reg = "an argument or result"};
  for (; n--; data += 2 * room(p->bytes) * LANES, p++)
    for (uint32_t m = p->row == ROW_SINK ? 0 : mask; m; m &= m - 1) {
      int l = __builtin_ctz(m);
      const uint8_t *at = place_at(x, w, p, base, l);
      uint8_t *own = data + 2 * room(p->bytes) * (size_t)l;
      memcpy(own, at, p->bytes);
      c->unknown |= take_unknown(w, p, l, at, own + room(p->bytes));
    }
}

/* And back; a row keeps zeros above a narrow value. */
static void
scatter_one(Exec *x, Warp *w, const Place *p, uint32_t base, int lane, const uint8_t *own)
{
  const Calls *c = w->calls;
  const uint8_t *unknown = own + room(p->bytes);
  uint8_t *at = place_at(x, w, p, base, lane);
  bool wide = p->bytes > 4, undefined = false;
  if (p->row == ROW_ZERO) {
    undefined_give_local(x, w, at, p->bytes, c->unknown ? unknown : NULL, c->from);
  } else {
    if (p->bytes < 4)
      memset(at, 0, 4);
    for (uint32_t k = 0; c->unknown && k < p->bytes; k++)
      undefined |= unknown[k] != 0;
    if (undefined && undefined_of(x, w))
      undefined_put_whole(w, p->row, wide, 1u << lane, 1u << lane, c->from);
    else
      w->def[p->row] |= 1u << lane;
  }
  memcpy(at, own, p->bytes);
}

static void
scatter(Exec *x, Warp *w, const Place *p, int n, uint32_t base, uint32_t mask)
{
  const uint8_t *data = w->calls->data;
  for (; n--; data += 2 * room(p->bytes) * LANES, p++)
    for (uint32_t m = p->row == ROW_SINK ? 0 : mask; m; m &= m - 1) {
      int l = __builtin_ctz(m);
      scatter_one(x, w, p, base, l, data + 2 * room(p->bytes) * (size_t)l);
    }
}

static uint8_t *
datum(const Warp *w, const Place *p, int number, int lane)
{
  uint8_t *data = w->calls->data;
  for (int i = 0; i < number; i++)
    data += 2 * room(p[i].bytes) * LANES;
  return data + 2 * room(p[number].bytes) * (size_t)lane;
}

void
calls_arguments(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const CallSite *site = &x->kernel->sites[i->imm];
  gather(x, w, i, site->in, site->n_in, site->base, mask);
}

uint64_t
calls_argument(const Warp *w, const CallSite *site, int number, int lane)
{
  uint64_t v = 0;
  memcpy(&v, datum(w, site->in, number, lane), site->in[number].bytes);
  return v;
}

void
calls_result(Exec *x, Warp *w, const CallSite *site, const uint32_t *result, uint32_t mask)
{
  for (uint32_t m = site->n_out ? mask : 0; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    memcpy(datum(w, site->out, 0, l), &result[l], 4);
  }
  w->calls->unknown = false;
  scatter(x, w, site->out, site->n_out, site->base, mask);
}

/* ---- registers of a function that a lane is in already ---- */

static size_t
kept_words(const Function *f)
{
  size_t rows = f->end_row - f->row, preds = f->end_pred - f->pred;
  return rows * LANES + rows + 2 * preds;
}

static void
blend_bits(uint32_t *to, const uint32_t *from, size_t n, uint32_t mask)
{
  for (size_t i = 0; i < n; i++)
    to[i] = (to[i] & ~mask) | (from[i] & mask);
}

/* Lanes of all rows of the function, one way or the other. */
static void
blend_rows(const Exec *x, const Warp *w, const Function *f, uint32_t *kept, uint32_t mask,
           bool back)
{
  for (uint32_t r = f->row; r < f->end_row; r++) {
    size_t each = x->kernel->row_wide[r] ? 2 : 1; /* words of a lane */
    uint32_t *row = row32(w, r);
    for (uint32_t m = mask; m; m &= m - 1) {
      size_t at = (size_t)__builtin_ctz(m) * each;
      memcpy(back ? row + at : kept + at, back ? kept + at : row + at, each * 4);
    }
    kept += each * LANES;
    r += (uint32_t)each - 1;
  }
}

static void
keep(const Exec *x, const Warp *w, const Function *f, uint32_t *kept, uint32_t mask)
{
  size_t rows = f->end_row - f->row, preds = f->end_pred - f->pred;
  blend_rows(x, w, f, kept, mask, false);
  kept += rows * LANES;
  blend_bits(kept, w->def + f->row, rows, mask);
  blend_bits(kept + rows, w->pred + f->pred, preds, mask);
  blend_bits(kept + rows + preds, w->pdef + f->pred, preds, mask);
}

/* Nothing is in its registers. */
static void
forget(const Exec *x, Warp *w, const Function *f, uint32_t mask)
{
  if (!x->launch->set.checks)
    return;
  for (uint32_t r = f->row; r < f->end_row; r++)
    if (x->kernel->def0[r])
      w->def[r] |= mask;
    else if (w->undefined)
      undefined_put_whole(w, r, x->kernel->row_wide[r], mask, mask, (Origin){.insn = -1});
    else
      w->def[r] &= ~mask;
  for (uint32_t p = f->pred; p < f->end_pred; p++)
    w->pdef[p] &= ~mask;
}

static void
give_back(const Exec *x, Warp *w, const Function *f, uint32_t *kept, uint32_t mask)
{
  size_t rows = f->end_row - f->row, preds = f->end_pred - f->pred;
  blend_rows(x, w, f, kept, mask, true);
  if (w->undefined)
    forget(x, w, f, mask);
  kept += rows * LANES;
  blend_bits(w->def + f->row, kept, rows, mask);
  blend_bits(w->pred + f->pred, kept + rows, preds, mask);
  blend_bits(w->pdef + f->pred, kept + rows + preds, preds, mask);
}

/* ---- call ---- */

/* The frame of this call, new or with others in it; NULL: out of memory. */
static Frame *
frame_for(Warp *w, const CallSite *site, int function, int back)
{
  Calls *c = w->calls;
  Frame **list = w->frame ? &w->frame->down : &c->top;
  for (Frame *f = *list; f; f = f->next)
    if (f->site == site && f->function == function)
      return f;
  Frame *f = c->free;
  if (f)
    c->free = f->next;
  else if (!(f = malloc(sizeof *f)))
    return NULL;
  *f = (Frame){.up = w->frame,
               .next = *list,
               .site = site,
               .back = back,
               .function = function,
               .depth = w->frame ? w->frame->depth + 1 : 1};
  *list = f;
  return f;
}

static Stop
no_memory(Exec *x, Warp *w, const Insn *i)
{
  return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", -1,
                      "the emulator is out of memory");
}

/* bytes of local memory at the end of what a lane uses; where they start. */
static Stop
grow(Exec *x, Warp *w, const Insn *i, int lane, uint64_t bytes, uint64_t align,
     uint64_t *start)
{
  uint32_t *sp = &w->calls->sp[lane];
  *start = (*sp + align - 1) / align * align;
  if (bytes > x->shape.local || *start + bytes > x->shape.local)
    return report_fatal(x, w, i, CUDA_ERROR_HARDWARE_STACK_ERROR, "stack-overflow", lane,
                        "%llu bytes more on the stack, %u of %u are in use",
                        (unsigned long long)bytes, *sp, x->shape.local);
  memset(local_of(x, w, lane) + *start, 0xff, bytes);
  undefined_give_local(x, w, local_of(x, w, lane) + *start, bytes, NULL, (Origin){0});
  *sp = (uint32_t)(*start + bytes);
  return GO;
}

static Stop
push(Exec *x, Warp *w, const Insn *i, const Function *f, Frame *frame, uint32_t mask)
{
  Calls *c = w->calls;
  uint32_t again = mask & c->inside[frame->function];
  if (again && !frame->kept && !(frame->kept = malloc(kept_words(f) * 4)))
    return no_memory(x, w, i);
  if (again)
    keep(x, w, f, frame->kept, again);
  frame->again |= again;
  frame->lanes |= mask;
  c->inside[frame->function] |= mask;
  forget(x, w, f, mask);
  w->def[f->base] |= mask;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    frame->sp[l] = c->sp[l];
    c->of[l] = frame;
    Stop s = grow(x, w, i, l, f->frame, f->align, &row64(w, f->base)[l]);
    if (s != GO)
      return s;
  }
  return GO;
}

/* The lanes are at the function's first instruction, in its frame. */
static Stop
enter(Exec *x, Warp *w, const Insn *i, int function, uint32_t mask)
{
  const CallSite *site = &x->kernel->sites[i->imm];
  const Function *f = &x->kernel->functions[function];
  Frame *frame = frame_for(w, site, function, w->pc + 1);
  if (!frame)
    return no_memory(x, w, i);
  gather(x, w, i, site->in, site->n_in, site->base, mask);
  Stop s = push(x, w, i, f, frame, mask);
  if (s != GO)
    return s;
  scatter(x, w, f->in, f->n_in, f->base, mask);
  w->frame = frame;
  w->pc = f->entry;
  w->active = mask;
  return GO;
}

/* PTX ISA, call: what is called must be as the prototype says. */
static bool
same_shape(const Place *a, int n_a, const Place *b, int n_b)
{
  bool same = n_a == n_b;
  for (int i = 0; i < n_a && same; i++)
    same = a[i].bytes == b[i].bytes;
  return same;
}

static Stop
find_function(Exec *x, Warp *w, const Insn *i, int lane, int *function)
{
  const Kernel *k = x->kernel;
  const CallSite *site = &k->sites[i->imm];
  uint64_t address = i->mem.addr64 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
  uint64_t n = (address - FUNCTION_BASE) / FUNCTION_STEP;
  *function = -1;
  if (address >= FUNCTION_BASE && address % FUNCTION_STEP == 0 &&
      n < (uint64_t)k->ptx->funcs.n)
    *function = k->function_of[n];
  if (*function < 0)
    return report_fatal(x, w, i, CUDA_ERROR_INVALID_PC, "call-target", lane,
                        "no function is at 0x%llx", (unsigned long long)address);
  const Function *f = &k->functions[*function];
  if (!same_shape(f->in, f->n_in, site->in, site->n_in) ||
      !same_shape(f->out, f->n_out, site->out, site->n_out))
    return report_fatal(x, w, i, CUDA_ERROR_INVALID_PC, "call-target", lane,
                        "%s has other parameters or results than the call", f->ast->name);
  return GO;
}

/* Each function that lanes name has its group. */
static Stop
call_each(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Frame *caller = w->frame;
  int pc = w->pc, which[LANES];
  for (uint32_t m = mask; m; m &= m - 1) {
    Stop s = find_function(x, w, i, __builtin_ctz(m), &which[__builtin_ctz(m)]);
    if (s != GO)
      return s;
  }
  for (uint32_t left = mask; left;) {
    int function = which[__builtin_ctz(left)];
    uint32_t own = 0;
    for (uint32_t m = left; m; m &= m - 1)
      own |= (uint32_t)(which[__builtin_ctz(m)] == function) << __builtin_ctz(m);
    if (own != mask && i->call.uni)
      return report_fatal(
          x, w, i, CUDA_ERROR_LAUNCH_FAILED, "divergent-uni", -1,
          "call.uni goes elsewhere from lanes %08x than from others of %08x", own, mask);
    Stop s = enter(x, w, i, function, own);
    if (s != GO)
      return s;
    exec_park(w, w->pc, own, false);
    w->frame = caller;
    w->pc = pc;
    left &= ~own;
  }
  exec_take(w);
  return JUMPED;
}

Stop
step_call(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  int function = x->kernel->sites[i->imm].function;
  uint32_t rest = w->active & ~mask;
  if (w->mixed)
    return part(w);
  if (rest && i->call.uni)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "divergent-uni", -1,
                        "call.uni is made by lanes %08x of %08x", mask, w->active);
  exec_park(w, w->pc + 1, rest, false);
  if (function < 0)
    return call_each(x, w, i, mask);
  Stop s = enter(x, w, i, function, mask);
  return s == GO ? JUMPED : s;
}

/* ---- ret ---- */

Stop
step_ret(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Calls *c = w->calls;
  if (w->mixed)
    return part(w);
  Frame *frame = w->frame, *up = frame->up;
  const Function *f = &x->kernel->functions[frame->function];
  const CallSite *site = frame->site;
  int back = frame->back;
  uint32_t again = mask & frame->again, rest = w->active & ~mask;
  gather(x, w, i, f->out, f->n_out, f->base, mask);
  if (again)
    give_back(x, w, f, frame->kept, again);
  c->inside[frame->function] &= ~(mask & ~again);
  for (uint32_t m = mask; m; m &= m - 1) {
    c->sp[__builtin_ctz(m)] = frame->sp[__builtin_ctz(m)];
    c->of[__builtin_ctz(m)] = up;
  }
  leave(c, frame, mask);
  scatter(x, w, site->out, site->n_out, site->base, mask);
  w->frame = up;
  if (rest) {
    exec_park(w, back, mask, false);
    w->frame = frame;
    w->active = rest;
    w->pc++;
  } else {
    w->pc = back;
  }
  return JUMPED;
}

/* ---- alloca, stacksave, stackrestore ---- */

static void
put(Exec *x, Warp *w, const Insn *i, const uint64_t *value, uint32_t mask)
{
  uint32_t narrow[LANES];
  for (int l = 0; l < LANES; l++)
    narrow[l] = (uint32_t)value[l];
  if (i->flags & F_WIDE)
    exec_put64(x, w, i->d, value, mask);
  else
    exec_put32(x, w, i->d, narrow, mask);
}

static uint64_t
operand(const Warp *w, const Insn *i, int lane)
{
  return i->flags & F_WIDE ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
}

Stop
step_alloca(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t start[LANES] = {0};
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    Stop s = grow(x, w, i, l, operand(w, i, l), (uint64_t)i->imm, &start[l]);
    if (s != GO)
      return s;
  }
  put(x, w, i, start, mask);
  return GO;
}

/* What was saved is where the lane's stack ended. */
Stop
step_stack(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t sp[LANES];
  uint32_t *own = w->calls->sp;
  for (int l = 0; l < LANES; l++)
    sp[l] = own[l];
  if (!i->stack.restores) {
    put(x, w, i, sp, mask);
    return GO;
  }
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint64_t to = operand(w, i, l);
    if (to > own[l])
      return report_fatal(x, w, i, CUDA_ERROR_HARDWARE_STACK_ERROR, "stack-overflow", l,
                          "the stack of %u bytes does not reach up to %llu", own[l],
                          (unsigned long long)to);
    own[l] = (uint32_t)to;
  }
  return GO;
}
