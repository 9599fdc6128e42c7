#include "cli/mask_picture.h"

#include "base/err.h"
#include "base/file.h"

#include <string.h>

enum {
  PICTURE_ROWS = 32,
  PICTURE_COLS = 64,
  MOST_PAIRS = 1 << 23, /* that are tried: a second or two */
  MOST_TILES = 1 << 20  /* of a map: a megabyte */
};

/* ---- counting ---- */

/* Of a sequence, those of a prefix that all share among them. */
static int64_t
keys_of(const MaskPicture *p)
{
  return p->tables.sizes.sp + p->tables.sizes.sk;
}

static attnc_status
count(const MaskPicture *p, int bm, int bn, bool exact, attnc_tile_counts *out, char **map,
      attnc_error *e)
{
  const attnc_tile_choice x = {
      .size = sizeof x, .block_m = bm, .block_n = bn, .b = p->b, .h = p->h, .exact = exact};
  const attnc_sizes *n = &p->tables.sizes;
  int64_t tiles = ((n->sq + bm - 1) / bm) * ((keys_of(p) + bn - 1) / bn);
  const attnc_args args = tensors_args((Tensors *)(uintptr_t)&p->tables);
  *out = (attnc_tile_counts){.size = sizeof *out};
  *map = tiles <= MOST_TILES ? arena_alloc(p->c->arena, (size_t)tiles + 1) : NULL;
  return attnc_tiles_of(p->spec->spec, &args, &x, out, *map, *map ? (size_t)tiles : 0, e);
}

static attnc_status
fill(MaskPicture *p, attnc_error *e)
{
  const attnc_sizes *n = &p->tables.sizes;
  TRY(count(p, p->bm, p->bn, false, &p->decided, &p->map, e));
  p->has_truth = n->sq * keys_of(p) <= MOST_PAIRS;
  if (p->has_truth)
    TRY(count(p, p->bm, p->bn, true, &p->truth, &p->true_map, e));
  return ATTNC_OK;
}

attnc_status
mask_picture_open(MaskPicture *p, const Cli *c, const LoadedSpec *spec,
                  const attnc_sizes *n, int bm, int bn, attnc_error *e)
{
  int64_t seed;
  *p = (MaskPicture){.c = c, .spec = spec, .bm = bm, .bn = bn};
  TRY(options_int(&c->opt, OPT_BATCH, 0, 0, n->b - 1, &p->b, e));
  TRY(options_int(&c->opt, OPT_HEAD, 0, 0, n->h - 1, &p->h, e));
  TRY(options_int(&c->opt, OPT_SEED, 1, 0, INT64_MAX, &seed, e));
  TRY(tensors_tables(&spec->info.call, n, c->opt.value[OPT_SEQLENS], (uint64_t)seed,
                     &p->tables, e));
  attnc_status st = fill(p, e);
  if (st != ATTNC_OK)
    mask_picture_close(p);
  return st;
}

void
mask_picture_close(MaskPicture *p)
{
  tensors_free(&p->tables);
}

/* ---- text ---- */

static double
share(int64_t part, int64_t of)
{
  return of ? 100.0 * (double)part / (double)of : 100.0;
}

static void
put_sums(const char *name, const attnc_tile_counts *n, const MaskPicture *p, Str *s)
{
  str_printf(s,
             "%-10s %lld x %lld of %dx%d: %lld empty, %lld partial, %lld full; %lld are "
             "computed (%.0f %%)\n",
             name, (long long)n->q_tiles, (long long)n->kv_tiles, p->bm, p->bn,
             (long long)n->empty, (long long)n->partial, (long long)n->full,
             (long long)n->visited, share(n->visited, n->q_tiles * n->kv_tiles));
}

bool
mask_picture_exact(MaskPicture *p)
{
  if (!p->has_truth)
    return false;
  p->decided = p->truth;
  p->map = p->true_map;
  return true;
}

void
mask_put_counts(const MaskPicture *p, Str *s)
{
  put_sums("tiles", &p->decided, p, s);
  if (!p->has_truth)
    return;
  put_sums("  in truth", &p->truth, p, s);
  str_printf(s,
             "  found    %.1f %% of the empty ones, %.1f %% of the full ones; computed are "
             "%.3g x those that must be\n",
             share(p->decided.empty, p->truth.empty), share(p->decided.full, p->truth.full),
             share(p->decided.visited, p->truth.visited) / 100);
}

void
mask_put_why(const MaskPicture *p, Str *s)
{
  const char *name = "loop";
  for (const char *at = attnc_spec_why(p->spec->spec); *at; name = "") {
    size_t n = strcspn(at, "\n");
    str_printf(s, "%-10s %.*s\n", name, (int)n, at);
    at += n + (at[n] == '\n');
  }
}

static int
zoom(int64_t tiles, int room)
{
  return tiles > room ? (int)((tiles + room - 1) / room) : 1;
}

/* A tile as it is decided, and what that misses. */
static char
character(char decided, char truth)
{
  if (decided == ' ')
    return '.';
  if (decided == '#')
    return '#';
  return truth == ' ' ? 'o' : truth == '#' ? 'x' : '+';
}

attnc_status
mask_put_picture(const MaskPicture *p, Str *s, attnc_error *e)
{
  attnc_tile_counts n = p->decided, truth;
  int bm = p->bm * zoom(n.q_tiles, PICTURE_ROWS),
      bn = p->bn * zoom(n.kv_tiles, PICTURE_COLS);
  char *map, *true_map = NULL;
  bool missed = false;
  TRY(count(p, bm, bn, false, &n, &map, e));
  if (p->has_truth)
    TRY(count(p, bm, bn, true, &truth, &true_map, e));
  for (int64_t i = 0; i < n.q_tiles * n.kv_tiles; i++) {
    map[i] = character(map[i], true_map ? true_map[i] : map[i]);
    missed |= map[i] == 'o' || map[i] == 'x';
  }
  str_printf(s,
             "\nMask, %d queries by %d keys a character (. empty, + partial, # full%s):\n",
             bm, bn, missed ? "; not known: o empty, x full" : "");
  for (int64_t i = 0; i < n.q_tiles; i++)
    str_printf(s, "  %.*s\n", (int)n.kv_tiles, map + i * n.kv_tiles);
  return ATTNC_OK;
}

/* ---- JSON ---- */

static json_t *
counts_json(const attnc_tile_counts *n)
{
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "q_tiles", (json_int_t)n->q_tiles,
                   "kv_tiles", (json_int_t)n->kv_tiles, "empty", (json_int_t)n->empty,
                   "partial", (json_int_t)n->partial, "full", (json_int_t)n->full,
                   "visited", (json_int_t)n->visited);
}

static json_t *
rows_json(const attnc_tile_counts *n, const char *map)
{
  json_t *rows = json_array();
  for (int64_t i = 0; map && i < n->q_tiles; i++)
    json_array_append_new(rows, json_stringn(map + i * n->kv_tiles, (size_t)n->kv_tiles));
  return rows;
}

json_t *
mask_json(const MaskPicture *p)
{
  json_t *j = json_pack("{s:i, s:i, s:I, s:I, s:o, s:s}", "block_m", p->bm, "block_n",
                        p->bn, "b", (json_int_t)p->b, "h", (json_int_t)p->h, "decided",
                        counts_json(&p->decided), "why", attnc_spec_why(p->spec->spec));
  if (p->has_truth)
    json_object_set_new(j, "truth", counts_json(&p->truth));
  if (p->map)
    json_object_set_new(j, "rows", rows_json(&p->decided, p->map));
  return j;
}

/* ---- SVG ---- */

static const struct {
  char of;
  const char *fill, *name;
} colors[] = {{'.', "#ffffff", "empty"},
              {'+', "#9ecae1", "partial"},
              {'#', "#08519c", "full"},
              {'o', "#fdd0a2", "empty, not known"},
              {'x', "#a63603", "full, not known"}};
enum { N_COLORS = sizeof colors / sizeof *colors, CELL = 8, LEGEND = 24 };

static const char *
fill_of(char of)
{
  int i = 0;
  while (i < N_COLORS - 1 && colors[i].of != of)
    i++;
  return colors[i].fill;
}

/* Tiles of one kind side by side are one rectangle. */
static void
put_row(const MaskPicture *p, int64_t i, Str *s)
{
  int64_t n = p->decided.kv_tiles, end;
  const char *map = p->map + i * n, *truth = p->true_map ? p->true_map + i * n : map;
  for (int64_t j = 0; j < n; j = end) {
    char its = character(map[j], truth[j]);
    for (end = j + 1; end < n && character(map[end], truth[end]) == its;)
      end++;
    if (its != '.')
      str_printf(s,
                 "<rect x=\"%lld\" y=\"%lld\" width=\"%lld\" height=\"%d\" fill=\"%s\"/>\n",
                 (long long)j * CELL, (long long)i * CELL, (long long)(end - j) * CELL,
                 CELL, fill_of(its));
  }
}

static void
put_legend(int64_t below, Str *s)
{
  int64_t x = 0;
  for (int i = 0; i < N_COLORS; i++) {
    str_printf(s,
               "<rect x=\"%lld\" y=\"%lld\" width=\"10\" height=\"10\" fill=\"%s\" "
               "stroke=\"#666666\" stroke-width=\"0.5\"/>\n"
               "<text x=\"%lld\" y=\"%lld\" font-family=\"sans-serif\" font-size=\"10\">%s"
               "</text>\n",
               (long long)x, (long long)below + 8, colors[i].fill, (long long)x + 14,
               (long long)below + 17, colors[i].name);
    x += 24 + 6 * (int64_t)strlen(colors[i].name);
  }
}

attnc_status
mask_write_svg(const MaskPicture *p, attnc_error *e)
{
  const char *path = p->c->opt.value[OPT_SVG];
  if (!path)
    return ATTNC_OK;
  if (!p->map)
    return err_set(e, ATTNC_ERR_USAGE, "--svg: %lld tiles are more than a picture shows",
                   (long long)(p->decided.q_tiles * p->decided.kv_tiles));
  int64_t w = p->decided.kv_tiles * CELL, h = p->decided.q_tiles * CELL;
  Str s = str_new(p->c->arena);
  str_printf(&s,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-1 -1 %lld %lld\" "
             "width=\"%lld\">\n<title>%s: %d queries by %d keys a tile</title>\n"
             "<rect x=\"0\" y=\"0\" width=\"%lld\" height=\"%lld\" fill=\"#ffffff\" "
             "stroke=\"#666666\" stroke-width=\"0.5\"/>\n",
             (long long)(w > 360 ? w : 360) + 2, (long long)h + LEGEND + 2,
             (long long)(w > 360 ? w : 360) + 2, p->spec->info.name, p->bm, p->bn,
             (long long)w, (long long)h);
  for (int64_t i = 0; i < p->decided.q_tiles; i++)
    put_row(p, i, &s);
  put_legend(h, &s);
  str_put(&s, "</svg>\n");
  return file_write_stream(path, s.p, s.n, e);
}
