/* cmd_tiles.c: `attnc tiles`: which tiles the masks of specs hide, whether or not any
 * template computes them. */
#include "cli/cli.h"
#include "cli/mask_picture.h"

#include "base/err.h"

#include <stdio.h>

typedef struct TilesOf {
  LoadedSpec spec;
  MaskPicture picture;
  const char *shape;
} TilesOf;

static attnc_status
read_tile(const Cli *c, int *bm, int *bn, attnc_error *e)
{
  const char *text = c->opt.value[OPT_TILE], *p = text;
  int64_t m = 64, n = 64;
  *bm = *bn = 64;
  if (!text)
    return ATTNC_OK;
  if (!str_whole(&p, &m) || *p++ != 'x' || !str_whole(&p, &n) || *p || m < 1 || n < 1 ||
      m > 4096 || n > 4096)
    return err_set(e, ATTNC_ERR_USAGE, "--tile: %.40s is not MxN, each from 1 to 4096",
                   text);
  *bm = (int)m;
  *bn = (int)n;
  return ATTNC_OK;
}

static attnc_status
look(const Cli *c, TilesOf *x, const char *path, attnc_error *e)
{
  attnc_sizes n;
  int bm, bn;
  TRY(read_tile(c, &bm, &bn, e));
  TRY(cli_load(c, path, &x->spec, NULL, e));
  TRY(cli_sizes(c, &x->spec, &n, e));
  Str shape = str_new(c->arena);
  problem_print(&n, &shape);
  x->shape = shape.p;
  TRY(mask_picture_open(&x->picture, c, &x->spec, &n, bm, bn, e));
  return mask_write_svg(&x->picture, e);
}

static attnc_status
print(const TilesOf *x, attnc_error *e)
{
  Str s = str_new(x->picture.c->arena);
  str_printf(&s, "%-10s %s\n%-10s %s\n", "spec", x->spec.info.name, "sizes", x->shape);
  mask_put_counts(&x->picture, &s);
  mask_put_why(&x->picture, &s);
  TRY(mask_put_picture(&x->picture, &s, e));
  cli_print(s.p);
  return ATTNC_OK;
}

static attnc_status
one(Cli *c, const char *path, json_t *list, attnc_error *e)
{
  TilesOf *x = NEW(c->arena, TilesOf);
  attnc_status st = look(c, x, path, e);
  if (st == ATTNC_OK && c->json) {
    json_t *j = mask_json(&x->picture);
    json_object_set_new(j, "name", json_string(x->spec.info.name));
    json_object_set_new(j, "shape", json_string(x->shape));
    json_array_append_new(list, j);
  } else if (st == ATTNC_OK) {
    st = print(x, e);
  }
  mask_picture_close(&x->picture);
  cli_unload(&x->spec);
  return st;
}

int
cmd_tiles(Cli *c)
{
  attnc_error e;
  attnc_status st = ATTNC_OK;
  json_t *list = json_array();
  if (c->opt.n_args > 1 && options_has(&c->opt, OPT_SVG))
    st = err_set(&e, ATTNC_ERR_USAGE, "--svg: one file, but %d specs", c->opt.n_args);
  for (int i = 0; i < c->opt.n_args && st == ATTNC_OK; i++) {
    if (i && !c->json)
      cli_print("\n");
    st = one(c, c->opt.args[i], list, &e);
  }
  if (st != ATTNC_OK) {
    json_decref(list);
    return cli_error(c, &e);
  }
  if (c->json)
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.tiles/1", "specs", list));
  else
    json_decref(list);
  return 0;
}
