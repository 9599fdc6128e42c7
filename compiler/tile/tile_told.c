/* Tiles that are told: where one warp walks and others compute, a word that travels with a
 * stage says which tile it holds, whether it is PARTIAL and whether it is the last. */
#include "compiler/tile/tile_prog.h"

enum { WORD_LAST = 1, WORD_PARTIAL = 2, WORD_TILE = 4, WORD_WHOLE = 4 };

/* Behind its flags. */
static int
word_tile(const Walk *w)
{
  return w_has_whole(w) ? 2 * WORD_WHOLE : WORD_TILE;
}

Walk
w_told(const Walk *w)
{
  Walk r = *w;
  r.told = w->test != NULL;
  r.more = i_int(1);
  return r;
}

/* Lists tell of a first tile, too, how much the mask hides of it. */
Idx
w_word(const Walk *w, TileIter j)
{
  Idx partial = i_select(j.partial, WORD_PARTIAL, 0);
  Idx last = i_select(w_ahead(w, j, 1).is, 0, WORD_LAST);
  Idx flags = i_add(partial, last);
  if (w_has_whole(w))
    flags = i_add(flags, i_select(j.whole, WORD_WHOLE, 0));
  return i_add(i_mul(j.n, word_tile(w)), flags);
}

TileIter
t_told(Tb *t, Walk *w, Slot stage, TileIter j)
{
  if (!w->told)
    return j;
  Idx word = t_stage_word(t, stage), flags = i_mod(word, WORD_TILE);
  Idx more = i_not(i_lt(0, i_mod(word, WORD_PARTIAL)));
  j.n = i_div(word, word_tile(w));
  j.k0 = walk_first_key(w, j.n);
  if (j.loop)
    j.partial = i_lt(WORD_LAST, flags);
  if (w_has_whole(w))
    j.whole = i_le(WORD_WHOLE, i_mod(word, 2 * WORD_WHOLE));
  tile_more(t, w, j.loop, more);
  return j;
}
