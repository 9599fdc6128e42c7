/* How a loop over keys follows from a mask, in words. */
#include "compiler/spec/mask_class.h"

#include <limits.h>
#include <stdlib.h>

static void
put_expr(const Spec *s, const char *before, const Expr *e, Str *out)
{
  str_put(out, before);
  expr_print(s->graph, e, out);
}

static void
put_bound(const char *side, const char *position, int shift, Str *out)
{
  str_printf(out, "not %s %s", side, position);
  if (shift)
    str_printf(out, " %c %d", shift < 0 ? '-' : '+', abs(shift));
  str_put(out, ": a bound of the band\n");
}

static void
put_band(const Spec *s, Str *out)
{
  Band b = spec_band(s);
  const char *position = b.bottom_right ? "q_idx + sk - sq" : "q_idx";
  if (b.lo != INT_MIN)
    put_bound("before", position, b.lo, out);
  if (b.hi != INT_MAX)
    put_bound("behind", position, b.hi, out);
}

static void
put_limits(const Spec *s, Str *out)
{
  if (s->keys.first) {
    put_expr(s, "not before ", s->keys.first, out);
    str_put(out, ": a limit of rows that mask_mod has\n");
  }
  if (s->keys.last) {
    put_expr(s, "not behind ", s->keys.last, out);
    str_put(out, ": a limit of rows that mask_mod has\n");
  }
}

/* What the intervals of a node say nothing of. */
static void
put_unknown(const Spec *s, Str *out)
{
  for (int i = 0; i < s->tables.n; i++) {
    const SpecTable *t = &s->tables.at[i];
    bool read = false, of_f32 = t->dtype != 0;
    for (int j = 0; j < s->mask_mod.lists[0].n; j++) {
      const Expr *e = s->mask_mod.lists[0].at[j];
      read |= e->op == EXPR_OP_LOAD && e->i == i;
    }
    if (!read || (t->monotone && !of_f32))
      continue;
    str_printf(out, "%s: %s\n", t->name,
               of_f32 ? "an element is f32, of which intervals know nothing"
               : spec_mask_indexes_by_element(s, i)
                   ? "not declared monotone, so that its elements may be anything in a "
                     "tile where an index is more than two neighbours"
                   : "not declared monotone, so that its elements may be anything in a "
                     "tile where an index is not one number");
  }
}

/* Whose loop is the user's own. */
static void
put_lists(const Spec *s, Str *out)
{
  str_printf(
      out,
      "the tiles of the blocks of %d queries and %d keys that the call lists, in the "
      "order of its lists: those of full_kv_indices are seen whole, those of "
      "kv_indices %s\n",
      s->block_list.rows[0], s->block_list.rows[1],
      mask_hides_in_blocks(s) ? "by the masks of the spec" : "too: there are no masks");
  str_put(out, "what is listed is the call's: schedules are chosen for a quarter of all "
               "blocks\n");
  put_band(s, out);
  if (!s->mask_mod.n)
    return;
  put_expr(s, "asked of each key: ", s->mask_mod.at[0], out);
  str_put(out, "\n");
}

void
mask_why(const Spec *s, Str *out)
{
  bool one = mask_is_one_range(s);
  if (spec_has_lists(s)) {
    put_lists(s, out);
    return;
  }
  if (mask_is_full(s)) {
    str_put(out, "every key of every row: there is no mask\n");
    return;
  }
  str_put(out, one ? "one range of keys a row, and so one range of tiles a block of rows\n"
                   : "the tiles of one range, each asked by intervals whether it is EMPTY "
                     "or FULL: the keys of a row are not known to be one range\n");
  put_band(s, out);
  put_limits(s, out);
  if (one)
    return;
  put_expr(s, "asked of a tile: ", s->mask_mod.at[0], out);
  str_put(out, "\n");
  put_unknown(s, out);
  if (spec_mask_is_open(s) && !spec_has_lengths(s))
    str_put(out, "with `classes: step` of a schedule, which the cost model may choose, a "
                 "first launch asks each element, and lists the tiles\n");
}
