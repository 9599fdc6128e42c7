/* attnc_tiles_of: classes of the tiles of a call's mask, as loops decide and as they are.
 */
#include "reference/ref.h"

#include "compiler/spec/mask_class.h"

#include "base/err.h"

#include <math.h>

/* ---- as loops decide ---- */

static MaskClass
decided(void *user, ExprRange q, ExprRange k)
{
  return mask_tile_class(user, q, k);
}

/* A table without data is longer than any index: nothing of it is known. */
static void
decide(Ref *r, int64_t b, int64_t h, const attnc_tile_choice *x, attnc_tile_counts *c,
       char *map)
{
  MaskProblem p = mask_problem(r->spec, r->seq.sq, r->seq.sk, r->arena);
  int64_t hk = h / (r->n.h / r->n.hk);
  p.b = (ExprRange){b, b};
  p.h = (ExprRange){h, h};
  p.hk = (ExprRange){hk, hk};
  p.tables = r->tables;
  mask_tiles(decided, &p, r->seq.sq, r->seq.sk, x->block_m, x->block_n, c, map);
}

/* ---- as they are ---- */

typedef struct Pairs {
  Ref *ref;
  int64_t b, h;
} Pairs;

static MaskClass
tried(void *user, ExprRange q, ExprRange k)
{
  const Pairs *p = user;
  bool any = false, all = true;
  for (int64_t i = q.lo; i <= q.hi; i++)
    for (int64_t j = k.lo; j <= k.hi && (all || !any); j++) {
      bool seen = ref_sees(p->ref, p->b, p->h, i, j);
      any |= seen;
      all &= seen;
    }
  return all ? MASK_FULL : any ? MASK_PARTIAL : MASK_EMPTY;
}

/* ---- arguments ---- */

static bool
reads_number(const Spec *s, int i)
{
  const ExprList *list = s->mask_mod.n ? &s->mask_mod.lists[0] : NULL;
  for (int k = 0; list && k < list->n; k++)
    if (list->at[k]->op == EXPR_OP_SCALAR && list->at[k]->i == i)
      return true;
  return false;
}

/* What the mask reads: there, or of no account. */
static attnc_status
check_reads(const Ref *r, bool exact, attnc_error *err)
{
  for (int i = 0; i < r->spec->tables.n; i++)
    if (exact && spec_mask_reads(r->spec, i) && !r->tables[i].data &&
        !ref_table_is_empty(r, i))
      return err_set(err, ATTNC_ERR_USAGE, "tiles: tensor %s is missing",
                     r->spec->tables.at[i].name);
  for (int i = 0; i < r->spec->numbers.n; i++)
    if (exact && reads_number(r->spec, i) && isnan(r->numbers[i]))
      return err_set(err, ATTNC_ERR_USAGE, "tiles: the number %s is missing",
                     r->spec->numbers.at[i].name);
  return ATTNC_OK;
}

static attnc_status
take_choice(attnc_tile_choice *x, const attnc_tile_choice *from, const attnc_sizes *n,
            attnc_error *err)
{
  TRY(struct_take(x, sizeof *x, from, SIZE_UPTO(attnc_tile_choice, exact),
                  "attnc_tile_choice", err));
  if (x->block_m < 1 || x->block_n < 1)
    return err_set(err, ATTNC_ERR_USAGE, "tiles: a tile has at least one row and one key");
  if (x->b < 0 || x->b >= n->b || x->h < 0 || x->h >= n->h)
    return err_set(err, ATTNC_ERR_USAGE, "tiles: there is no batch %lld or no head %lld",
                   (long long)x->b, (long long)x->h);
  return x->exact == 0 || x->exact == 1
             ? ATTNC_OK
             : err_set(err, ATTNC_ERR_USAGE, "tiles: exact is 0 or 1, not %d", x->exact);
}

static attnc_status
take_map(const Ref *r, const attnc_tile_choice *x, attnc_tile_counts *c, const char *map,
         size_t map_bytes, attnc_error *err)
{
  *c = (attnc_tile_counts){.size = sizeof *c,
                           .q_tiles = (r->seq.sq + x->block_m - 1) / x->block_m,
                           .kv_tiles = (r->seq.sk + x->block_n - 1) / x->block_n};
  if (map && (uint64_t)(c->q_tiles * c->kv_tiles) > map_bytes)
    return err_set(err, ATTNC_ERR_USAGE, "the map needs %lld bytes",
                   (long long)(c->q_tiles * c->kv_tiles));
  return ATTNC_OK;
}

static attnc_status
count(Ref *r, const attnc_tile_choice *x, attnc_tile_counts *c, char *map, attnc_error *err)
{
  jmp_buf full;
  Pairs pairs = {r, x->b, x->h};
  r->arena = arena_new(0);
  if (!r->arena)
    return err_set(err, ATTNC_ERR_NOMEM, "tiles of a call");
  if (setjmp(full)) {
    arena_free(r->arena);
    return err_set(err, ATTNC_ERR_NOMEM, "tiles of a call");
  }
  arena_catch(r->arena, &full);
  attnc_status st = ATTNC_OK;
  if (!x->exact)
    decide(r, x->b, x->h, x, c, map);
  else if (ref_exprs_open(r) && ref_lists_open(r))
    mask_tiles(tried, &pairs, r->seq.sq, r->seq.sk, x->block_m, x->block_n, c, map);
  else
    st = err_set(err, ATTNC_ERR_NOMEM, "tiles of a call");
  arena_free(r->arena);
  return st;
}

attnc_status
attnc_tiles_of(const attnc_spec *spec, const attnc_args *args,
               const attnc_tile_choice *choice, attnc_tile_counts *out, char *map,
               size_t map_bytes, attnc_error *err)
{
  Ref r;
  attnc_tile_choice x;
  attnc_tile_counts c;
  err_clear(err);
  TRY(ref_open(&r, spec, ATTNC_OP_FWD, args, REF_NOTHING, err));
  TRY(take_choice(&x, choice, &r.n, err));
  ref_enter(&r, x.b);
  TRY(check_reads(&r, x.exact, err));
  TRY(take_map(&r, &x, &c, map, map_bytes, err));
  TRY(struct_give(out, &c, sizeof c, SIZE_UPTO(attnc_tile_counts, visited),
                  "attnc_tile_counts", err));
  TRY(count(&r, &x, &c, map, err));
  return struct_give(out, &c, sizeof c, SIZE_UPTO(attnc_tile_counts, visited),
                     "attnc_tile_counts", err);
}
