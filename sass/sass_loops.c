/* sass_loops.c: control flow of machine code: blocks, dominators, natural loops. */
#include "sass/sass.h"

#include "base/err.h"

#include <limits.h>
#include <string.h>

enum { SUCCESSORS = 2 };

/* A straight piece [first, end) of the code, and where it may go on. */
typedef struct Block {
  int first, end;
  int next[SUCCESSORS], n_next;
  int order;  /* in reverse postorder, -1: not reached */
  int above;  /* immediate dominator, a block; -1: none */
  int ways;   /* edges that lead here */
  bool aside; /* a vote of the warp leads around it */
} Block;

typedef struct Flow {
  const CubinKernel *k;
  Arena *arena;
  int sm, n;     /* instructions up to the padding */
  bool low_byte; /* branches have their lowest 8 bits at 16..23 */
  int *at;       /* instruction -> block */
  bool *leads;   /* instruction starts a block */
  Block *b;
  int n_b;
  int *walk, n_walk; /* blocks in reverse postorder */
  bool *in;          /* loop * n_b + block */
} Flow;

/* ---- branches ---- */

#define BRANCH 0x147 /* nine bits: BRA with any form of operand */
enum {
  OP_CALL = 0x944,
  OP_RET = 0x950,
  OP_BSSY = 0x945,
  OP_BSYNC = 0x941,
  OP_EXIT = 0x94d
};

static int
opcode(Instruction x)
{
  return (int)(x.lo & 0xfff);
}

static bool
is_branch(Instruction x)
{
  return (x.lo & 0x1ff) == BRANCH || opcode(x) == OP_CALL;
}

/* Is it done by every thread that comes by?  The guard, bits 12..15, is PT (7, not
 * inverted); a branch has a second predicate at 87..90, and uniform ones at 24..27 and 32.
 */
static bool
unguarded(Instruction x)
{
  return (x.lo >> 12 & 15) == 7;
}

static bool
always(Instruction x)
{
  return unguarded(x) && (x.hi >> 23 & 15) == 7 && !(x.lo >> 24 & 0xff) &&
         !(x.lo >> 32 & 3);
}

/* Bits 34..81, signed: the distance from the next instruction in units of 4 bytes; where
 * branches have a low byte too, these are the bits above it. */
static int64_t
distance(Instruction x, bool low_byte)
{
  uint64_t high = x.lo >> 34 | (x.hi & 0x3ffff) << 30;
  int64_t d = (int64_t)(high << 16) >> 16;
  return low_byte ? d * 256 + (int64_t)(x.lo >> 16 & 0xff) : d;
}

/* The instruction it goes to; n for one outside. */
static int
goes_to(const Flow *f, int i, bool low_byte)
{
  int64_t d = distance(cubin_instruction(f->k, i), low_byte);
  int64_t to = i + 1 + (d >= 0 ? d / 4 : -(-d / 4));
  return d % 4 == 0 && to >= 0 && to < f->n ? (int)to : f->n;
}

/* Every kernel ends with a branch to itself and padding; it tells how branches are written:
 * sm_90 and later keep the lowest byte of the distance at bits 16..23. */
static bool
find_end(Flow *f)
{
  for (int i = 0; i < f->k->n; i++) {
    Instruction x = cubin_instruction(f->k, i);
    if ((x.lo & 0x1ff) != BRANCH || !always(x))
      continue;
    for (int form = 0; form < 2; form++)
      if (distance(x, form) == -4) {
        f->low_byte = form;
        f->n = i + 1;
      }
  }
  return f->n > 0;
}

/* Where BSYNC goes on: the target of the last BSSY before it of the same register. */
static int
joins_at(const Flow *f, int i)
{
  uint64_t reg = cubin_instruction(f->k, i).lo >> 16 & 0xf;
  while (--i >= 0) {
    Instruction x = cubin_instruction(f->k, i);
    if (opcode(x) == OP_BSSY && (x.lo >> 16 & 0xf) == reg)
      return goes_to(f, i, false);
  }
  return f->n;
}

/* ---- blocks ---- */

static bool
ends_block(Instruction x)
{
  int op = opcode(x);
  return is_branch(x) || op == OP_EXIT || op == OP_RET || op == OP_BSYNC;
}

/* Where the instruction may go besides the next one; f->n: nowhere. */
static int
jump(const Flow *f, int i)
{
  Instruction x = cubin_instruction(f->k, i);
  if (is_branch(x))
    return goes_to(f, i, f->low_byte);
  return opcode(x) == OP_BSYNC ? joins_at(f, i) : f->n;
}

static bool
falls_through(Instruction x)
{
  int op = opcode(x);
  if (op == OP_EXIT || op == OP_RET)
    return !unguarded(x);
  return (x.lo & 0x1ff) != BRANCH || !always(x);
}

static void
find_leaders(Flow *f)
{
  f->leads = NEW_N(f->arena, bool, f->n + 1);
  f->leads[0] = true;
  for (int i = 0; i < f->n; i++)
    if (ends_block(cubin_instruction(f->k, i)))
      f->leads[jump(f, i)] = f->leads[i + 1] = true;
}

static void
add_next(Flow *f, Block *b, int instruction)
{
  if (instruction < f->n)
    b->next[b->n_next++] = f->at[instruction];
}

static void
cut_blocks(Flow *f)
{
  f->at = NEW_N(f->arena, int, f->n + 1);
  f->b = NEW_N(f->arena, Block, f->n);
  for (int i = 0; i < f->n; i++) {
    if (f->leads[i])
      f->b[f->n_b++] = (Block){.first = i, .order = -1, .above = -1};
    f->at[i] = f->n_b - 1;
    f->b[f->n_b - 1].end = i + 1;
  }
  for (Block *b = f->b; b < f->b + f->n_b; b++) {
    Instruction x = cubin_instruction(f->k, b->end - 1);
    if (!ends_block(x) || falls_through(x))
      add_next(f, b, b->end);
    if (ends_block(x))
      add_next(f, b, jump(f, b->end - 1));
  }
}

/* ---- dominators (Cooper, Harvey and Kennedy: A Simple, Fast Dominance Algorithm) ---- */

static void
order_blocks(Flow *f)
{
  int *stack = NEW_N(f->arena, int, f->n_b), *next = NEW_N(f->arena, int, f->n_b), top = 0;
  bool *seen = NEW_N(f->arena, bool, f->n_b);
  f->walk = NEW_N(f->arena, int, f->n_b);
  int at = f->n_b;
  stack[top++] = 0;
  seen[0] = true;
  while (top) {
    int b = stack[top - 1];
    if (next[b] < f->b[b].n_next) {
      int to = f->b[b].next[next[b]++];
      if (!seen[to]) {
        seen[to] = true;
        stack[top++] = to;
      }
    } else {
      f->walk[--at] = b;
      top--;
    }
  }
  f->n_walk = f->n_b - at;
  memmove(f->walk, f->walk + at, (size_t)f->n_walk * sizeof *f->walk);
  for (int i = 0; i < f->n_walk; i++)
    f->b[f->walk[i]].order = i;
}

static int
meet(const Flow *f, int a, int b)
{
  while (a != b) {
    while (f->b[a].order > f->b[b].order)
      a = f->b[a].above;
    while (f->b[b].order > f->b[a].order)
      b = f->b[b].above;
  }
  return a;
}

/* One pass; true: something changed. */
static bool
raise_dominators(Flow *f)
{
  bool changed = false;
  f->b[0].above = 0;
  for (int i = 0; i < f->n_walk; i++) {
    int from = f->walk[i];
    for (int s = 0; s < f->b[from].n_next; s++) {
      Block *to = &f->b[f->b[from].next[s]];
      int above = to->above < 0 ? from : meet(f, from, to->above);
      changed = changed || above != to->above;
      to->above = above;
    }
  }
  return changed;
}

static bool
dominates(const Flow *f, int a, int b)
{
  while (f->b[b].order > f->b[a].order)
    b = f->b[b].above;
  return a == b;
}

/* ---- votes ---- */

static bool
votes(const Flow *f, const Block *b)
{
  static const char name[] = "VOTE";
  bool found = false;
  for (int i = b->first; i < b->end && !found; i++) {
    int kind = sass_find(cubin_instruction(f->k, i), f->sm);
    found = !strcmp(sass_name(kind, f->arena), name);
  }
  return found;
}

/* A block that a branch behind a vote leads into or around, and all that is only reached
 * through it.  The way back of a loop leads around nothing. */
static void
set_aside(Flow *f, int from, int first)
{
  int other = f->b[from].next[f->b[from].next[0] == first];
  if (f->b[first].ways != 1 || f->b[other].ways < 2 || dominates(f, other, from))
    return;
  for (int i = 0; i < f->n_walk; i++)
    if (dominates(f, first, f->walk[i]))
      f->b[f->walk[i]].aside = true;
}

static void
find_aside(Flow *f)
{
  for (int i = 0; i < f->n_walk; i++)
    for (int s = 0; s < f->b[f->walk[i]].n_next; s++)
      f->b[f->b[f->walk[i]].next[s]].ways++;
  for (int i = 0; i < f->n_walk; i++) {
    const Block *b = &f->b[f->walk[i]];
    for (int s = 0; s < b->n_next && b->n_next == 2 && votes(f, b); s++)
      set_aside(f, f->walk[i], b->next[s]);
  }
}

/* ---- loops ---- */

/* Adds to the loop's blocks all from which `from` is reached without passing its head. */
static void
fill_loop(Flow *f, bool *in, int head, int from)
{
  bool grew = !in[from];
  in[head] = in[from] = true;
  while (grew) {
    grew = false;
    for (int i = f->n_walk - 1; i >= 0; i--) {
      int b = f->walk[i];
      for (int s = 0; s < f->b[b].n_next && !in[b]; s++)
        if (in[f->b[b].next[s]] && f->b[b].next[s] != head)
          in[b] = grew = true;
    }
  }
}

static bool
same_loop_head(const Flow *f, const SassLoop *l, int head)
{
  return f->at[l->first] == head;
}

static void
back_edge(Flow *f, Sass *s, int from, int head)
{
  int i = 0;
  while (i < s->n_loops && !same_loop_head(f, &s->loops[i], head))
    i++;
  if (i == s->n_loops)
    s->loops[s->n_loops++] = (SassLoop){.first = f->b[head].first};
  SassLoop *l = &s->loops[i];
  if (f->b[from].end - 1 > l->last)
    l->last = f->b[from].end - 1;
  fill_loop(f, f->in + (size_t)i * (size_t)f->n_b, head, from);
}

static int
back_edges(const Flow *f)
{
  int n = 0;
  for (int b = 0; b < f->n_b; b++)
    for (int s = 0; s < f->b[b].n_next && f->b[b].order >= 0; s++)
      n += dominates(f, f->b[b].next[s], b);
  return n;
}

static void
find_loops(Flow *f, Sass *s)
{
  int most = back_edges(f);
  s->loops = NEW_N(f->arena, SassLoop, most + 1);
  f->in = NEW_N(f->arena, bool, (size_t)(most + 1) * (size_t)f->n_b);
  for (int head = 0; head < f->n_b; head++)
    for (int b = 0; b < f->n_b; b++)
      for (int e = 0; e < f->b[b].n_next && f->b[b].order >= 0; e++)
        if (f->b[b].next[e] == head && dominates(f, head, b))
          back_edge(f, s, b, head);
}

/* ---- counts ---- */

static void
count(const Flow *f, int i, SassCounts *c)
{
  c->n[sass_find(cubin_instruction(f->k, i), f->sm)]++;
  c->total++;
}

static void
count_block(const Flow *f, const Block *b, SassCounts *c)
{
  for (int i = b->first; i < b->end; i++)
    count(f, i, c);
}

static bool
in_loop(const Flow *f, int loop, int instruction)
{
  return f->in[(size_t)loop * (size_t)f->n_b + (size_t)f->at[instruction]];
}

/* The fewest instructions from the loop's head to the end of each of its blocks, and the
 * block before it: blocks in reverse postorder, without edges back. */
static void
measure(const Flow *f, int loop, int head, int *cost, int *before)
{
  for (int b = 0; b < f->n_b; b++)
    cost[b] = INT_MAX;
  cost[head] = f->b[head].end - f->b[head].first;
  for (int i = f->b[head].order; i < f->n_walk; i++) {
    int from = f->walk[i];
    for (int s = 0; s < f->b[from].n_next && cost[from] < INT_MAX; s++) {
      int to = f->b[from].next[s];
      const Block *b = &f->b[to];
      int through = cost[from] + b->end - b->first;
      if (b->order <= f->b[from].order || !in_loop(f, loop, b->first) ||
          through >= cost[to])
        continue;
      cost[to] = through;
      before[to] = from;
    }
  }
}

static void
count_path(const Flow *f, int loop, SassLoop *l)
{
  int *cost = NEW_N(f->arena, int, f->n_b), *before = NEW_N(f->arena, int, f->n_b);
  int head = f->at[l->first], last = -1;
  measure(f, loop, head, cost, before);
  for (int b = 0; b < f->n_b; b++)
    for (int s = 0; s < f->b[b].n_next && cost[b] < INT_MAX; s++)
      if (f->b[b].next[s] == head && (last < 0 || cost[b] < cost[last]))
        last = b;
  for (int b = last; b >= 0; b = b == head ? -1 : before[b])
    count_block(f, &f->b[b], &l->path);
}

static void
count_loops(const Flow *f, Sass *s)
{
  for (int i = 0; i < s->n_loops; i++) {
    SassLoop *l = &s->loops[i];
    count_path(f, i, l);
    for (int b = 0; b < f->n_b; b++)
      if (in_loop(f, i, f->b[b].first) && f->b[b].aside)
        l->aside += f->b[b].end - f->b[b].first;
      else if (in_loop(f, i, f->b[b].first))
        count_block(f, &f->b[b], &l->counts);
    for (int other = 0; other < s->n_loops; other++)
      l->depth += in_loop(f, other, l->first);
    l->main = sass_class_total(&l->counts, SASS_TENSOR) > 0;
  }
  for (int i = 0; i < s->n_loops; i++)
    for (int other = 0; other < s->n_loops; other++)
      if (other != i && s->loops[other].main && in_loop(f, i, s->loops[other].first) &&
          s->loops[other].depth > s->loops[i].depth)
        s->loops[i].main = false;
  for (int i = 0; i < s->n_loops; i++)
    s->n_main += s->loops[i].main;
}

/* ---- ways through the kernel ---- */

static int
length(const Block *b)
{
  return b->end - b->first;
}

static bool
leaves(const Flow *f, const Block *b)
{
  return opcode(cubin_instruction(f->k, b->end - 1)) == OP_EXIT;
}

/* From the start to the end of each block; blocks in reverse postorder, without edges back.
 */
static void
from_start(const Flow *f, int *cost)
{
  for (int b = 0; b < f->n_b; b++)
    cost[b] = INT_MAX;
  cost[0] = length(&f->b[0]);
  for (int i = 0; i < f->n_walk; i++) {
    const Block *from = &f->b[f->walk[i]];
    for (int s = 0; s < from->n_next && cost[f->walk[i]] < INT_MAX; s++) {
      const Block *to = &f->b[from->next[s]];
      int through = cost[f->walk[i]] + length(to);
      if (to->order > from->order && through < cost[from->next[s]])
        cost[from->next[s]] = through;
    }
  }
}

/* Behind each block, to an EXIT. */
static void
to_end(const Flow *f, int *cost)
{
  for (int b = 0; b < f->n_b; b++)
    cost[b] = INT_MAX;
  for (int i = f->n_walk - 1; i >= 0; i--) {
    const Block *b = &f->b[f->walk[i]];
    if (leaves(f, b))
      cost[f->walk[i]] = 0;
    for (int s = 0; s < b->n_next; s++) {
      int to = b->next[s];
      if (f->b[to].order > b->order && cost[to] < INT_MAX &&
          cost[to] + length(&f->b[to]) < cost[f->walk[i]])
        cost[f->walk[i]] = cost[to] + length(&f->b[to]);
    }
  }
}

static bool
is_product(int kind, const char *name)
{
  (void)name;
  return sass_class(kind) == SASS_TENSOR;
}

static bool
is_copy(int kind, const char *name)
{
  static const char copy[] = "UTMALDG";
  (void)kind;
  return !strncmp(name, copy, sizeof copy - 1);
}

static bool
block_has(const Flow *f, const Block *b, bool (*is)(int, const char *))
{
  bool found = false;
  for (int i = b->first; i < b->end && !found; i++) {
    int kind = sass_find(cubin_instruction(f->k, i), f->sm);
    found = is(kind, sass_name(kind, f->arena));
  }
  return found;
}

static int
way_by(const Flow *f, bool (*is)(int, const char *))
{
  int *before = NEW_N(f->arena, int, f->n_b), *behind = NEW_N(f->arena, int, f->n_b);
  int least = 0;
  from_start(f, before);
  to_end(f, behind);
  for (int i = 0; i < f->n_walk; i++) {
    int b = f->walk[i];
    if (before[b] == INT_MAX || behind[b] == INT_MAX || !block_has(f, &f->b[b], is))
      continue;
    if (!least || before[b] + behind[b] < least)
      least = before[b] + behind[b];
  }
  return least;
}

attnc_status
sass_read(const CubinKernel *k, int sm, Arena *arena, Sass *out, attnc_error *e)
{
  Flow f = {.k = k, .arena = arena, .sm = sm};
  *out = (Sass){.name = k->name};
  if (!find_end(&f))
    return err_set(e, ATTNC_ERR_INTERNAL, "%s: no branch to itself at the end", k->name);
  for (int i = 0; i < f.n; i++)
    count(&f, i, &out->counts);
  find_leaders(&f);
  cut_blocks(&f);
  order_blocks(&f);
  while (raise_dominators(&f))
    continue;
  find_aside(&f);
  find_loops(&f, out);
  count_loops(&f, out);
  out->by_products = way_by(&f, is_product);
  out->by_copies = way_by(&f, is_copy);
  return ATTNC_OK;
}
