/* attnc_tiles: the classes of all tiles of a problem, by evaluating on the CPU the very
 * index expressions that the kernel's loops are made of. */
#include "compiler/sched.h"
#include "compiler/spec/mask_class.h"
#include "compiler/spec/signature.h"
#include "compiler/tile/tile_prog.h"

#include "base/err.h"

#include <string.h>

typedef struct Picture {
  Arena *arena;
  jmp_buf fail;
  attnc_error *err;
  Tb *tb;
  attnc_tile_counts *out;
  char *map;
} Picture;

static int64_t
leaf(void *user, const Node *n)
{
  (void)n; /* the only leaf is the block index: every size is known */
  return *(const int64_t *)user;
}

/* A block that sees no key still walks one wholly masked tile, which is EMPTY. */
static bool
sees_nothing(const Picture *p, const Walk *w, int64_t i)
{
  return idx_eval(w->end, leaf, &i) <= idx_eval(w->start, leaf, &i) ||
         p->out->kv_tiles == 0;
}

/* Row `i` of the map.  A walk's tiles begin with its first key; each is drawn in the column
 * where it begins. */
static void
picture_row(Picture *p, const Walk *w, int64_t i)
{
  attnc_tile_counts *c = p->out;
  char *row = p->map ? p->map + i * c->kv_tiles : NULL;
  int64_t seen = 0, column = idx_eval(w->start, leaf, &i) / w->bn;
  if (row)
    memset(row, ' ', (size_t)c->kv_tiles);
  if (sees_nothing(p, w, i)) {
    c->visited++;
    c->empty += c->kv_tiles;
    return;
  }
  const TileSpan *s = &w->tiles;
  int64_t lo = idx_eval(s->lo, leaf, &i), hi = idx_eval(s->hi, leaf, &i);
  int64_t full_lo = idx_eval(s->full_lo, leaf, &i),
          full_hi = idx_eval(s->full_hi, leaf, &i);
  for (int64_t j = lo; j < hi && column + j < c->kv_tiles; j++, seen++) {
    bool full = full_lo <= j && j < full_hi;
    if (row)
      row[column + j] = full ? '#' : '+';
    *(full ? &c->full : &c->partial) += 1;
  }
  c->visited += hi - lo;
  c->empty += c->kv_tiles - seen;
}

static MaskClass
class_of(void *user, ExprRange q, ExprRange k)
{
  return mask_tile_class(user, q, k);
}

/* Of batch 0 and head 0; what tables hold is not known. */
static void
draw_expressions(Picture *p, const Spec *spec, const attnc_sizes *n, int bm, int bn)
{
  MaskProblem x = mask_problem(spec, n->sq, n->sk, p->arena);
  mask_tiles(class_of, &x, n->sq, n->sk, bm, bn, p->out, p->map);
}

static void
draw(Picture *p, const Spec *spec, const attnc_sizes *n, int bm, int bn)
{
  if (spec->mask_mod.n || spec_has_lists(spec)) {
    draw_expressions(p, spec, n, bm, bn);
    return;
  }
  Mask m = {.band = spec_band(spec), .sq = i_int(n->sq), .sk = i_int(n->sk)};
  p->tb = tile_new(p->arena, &p->fail, p->err, NULL, 1);
  WalkRows rows = {.q0 = i_mul(i_cta(p->tb, 0), bm), .n = bm};
  Walk w = w_keys(p->tb, &m, &rows, bn);
  for (int64_t i = 0; i < p->out->q_tiles; i++)
    picture_row(p, &w, i);
}

static attnc_status
counts_give(attnc_tile_counts *out, const attnc_tile_counts *counts, attnc_error *err)
{
  return struct_give(out, counts, sizeof *counts, SIZE_UPTO(attnc_tile_counts, visited),
                     "attnc_tile_counts", err);
}

static attnc_status
check_map(const attnc_tile_counts *n, const char *map, size_t map_bytes, attnc_error *err)
{
  int64_t need = n->q_tiles * n->kv_tiles;
  if (!map || (uint64_t)need <= map_bytes)
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_USAGE, "the map needs %lld bytes", (long long)need);
}

attnc_status
attnc_tiles(const attnc_spec *spec, const attnc_sizes *sizes, int bm, int bn,
            attnc_tile_counts *out, char *map, size_t map_bytes, attnc_error *err)
{
  attnc_sizes n;
  attnc_tile_counts counts = {.size = sizeof counts};
  if (!spec || bm < 1 || bn < 1)
    return err_set(err, ATTNC_ERR_USAGE, "attnc_tiles: %s",
                   spec ? "a tile has at least one row and one key" : "the spec is NULL");
  TRY(sizes_take(&n, sizes, err));
  const SizeRules rules = {.most = CALL_MAX_SIZE, .group = spec->group_size, .hints = true};
  TRY(sizes_check(&n, &rules, err));
  const Signature *call = spec->call[ATTNC_OP_FWD];
  TRY(sizes_check_had(&n, call->tensors, call->n_tensors, err));
  n.sk += spec->shared_prefix ? n.sp : 0;
  counts.q_tiles = (n.sq + bm - 1) / bm;
  counts.kv_tiles = (n.sk + bn - 1) / bn;
  TRY(counts_give(out, &counts, err));
  TRY(check_map(&counts, map, map_bytes, err));
  Picture p = {.arena = arena_new(0), .err = err, .out = &counts, .map = map};
  if (!p.arena)
    return err_set(err, ATTNC_ERR_NOMEM, "tiles of a problem");
  attnc_status s = ATTNC_OK;
  if (setjmp(p.fail)) {
    s = err_set(err, ATTNC_ERR_NOMEM, "tiles of a problem");
  } else {
    arena_catch(p.arena, &p.fail);
    draw(&p, spec, &n, bm, bn);
  }
  arena_free(p.arena);
  return s == ATTNC_OK ? counts_give(out, &counts, err) : s;
}
