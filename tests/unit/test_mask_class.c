/* Classes of tiles by intervals against brute force over the masks' definitions: none is
 * unsound, and where exactness is promised none is missed. */
#include "compiler/spec/mask_class.h"

#include "tests/unit/mask_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static ExprRange
part(int64_t i, int n, int64_t size)
{
  return (ExprRange){i * n, (i + 1) * n < size ? (i + 1) * n - 1 : size - 1};
}

static void
all_tiles(const KitMask *m, int64_t sq, int64_t sk, int bm, int bn)
{
  Arena *arena = arena_new(0);
  Spec *s = kit_spec(m);
  KitTables tables = kit_tables(s, 2, 2, sq, sk, (uint64_t)(sq * 7 + sk), arena);
  MaskProblem p = mask_problem(s, sq, sk, arena);
  KitCall c = kit_call(s, &tables, sq, sk, arena);
  for (int turn = 0; turn < 3; turn++) {
    c.b = turn == 2;
    c.h = c.hk = turn >= 1;
    p.b = (ExprRange){c.b, c.b};
    p.h = p.hk = (ExprRange){c.h, c.h};
    p.tables = turn ? tables.at : NULL;
    for (int64_t i = 0; i * bm < sq; i++)
      for (int64_t j = 0; j * bn < sk; j++) {
        ExprRange q = part(i, bm, sq), k = part(j, bn, sk);
        int want = kit_class(&c, q, k), got = (int)mask_tile_class(&p, q, k);
        bool all_known = m->exact && (p.tables || !s->tables.n);
        if (got != want && (got != MASK_PARTIAL || all_known))
          fail_msg("%s, sq %d, sk %d: tile %d, %d of %dx%d is %d, not %d", m->name, (int)sq,
                   (int)sk, (int)i, (int)j, bm, bn, want, got);
      }
  }
  attnc_spec_release(s);
  arena_free(arena);
}

static void
tiles_are_what_pairs_are(void **state)
{
  static const int sizes[][2] = {{192, 160}, {110, 150}, {70, 40}, {1, 129}};
  (void)state;
  for (int i = 0; i < kit_masks_n; i++)
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
      all_tiles(&kit_masks[i], sizes[n][0], sizes[n][1], 64, 32);
      all_tiles(&kit_masks[i], sizes[n][0], sizes[n][1], 32, 64);
    }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_are_what_pairs_are)};
  return cmocka_run_group_tests_name("mask_class", tests, NULL, NULL);
}
