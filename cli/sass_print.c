#include "cli/sass_print.h"

#include "cli/table.h"

#include "base/err.h"

#include <string.h>

attnc_status
sass_kernels(const Assembled *a, Arena *arena, Sass **out, int *n, attnc_error *e)
{
  Cubin c;
  TRY(cubin_read(a->cubin, a->bytes, arena, &c, e));
  *out = NEW_N(arena, Sass, c.n + 1);
  *n = c.n;
  for (int i = 0; i < c.n; i++)
    TRY(sass_read(&c.kernels[i], c.sm, arena, &(*out)[i], e));
  return ATTNC_OK;
}

static int
address(int instruction)
{
  return instruction * CUBIN_INSTRUCTION;
}

/* ---- text ---- */

void
sass_print_figures(const Assembled *a, Arena *arena, Str *s)
{
  const char *text;
  str_printf(s, "%-10s %d bytes, %d barriers\n", "  stack", a->stack, a->barriers);
  for (int i = 0; (text = ptxas_remark(a->log, i, arena)) != NULL; i++)
    str_printf(s, "%-10s %s\n", i ? "" : "  remarks", text);
  if (!ptxas_remark(a->log, 0, arena))
    str_printf(s, "%-10s none\n", "  remarks");
}

static void
put_row(Table *t, const Sass *s, const char *name, const char *class,
        int (*count)(const SassCounts *, int), int kind)
{
  table_cell(t, "%s", name);
  table_cell(t, "%s", class);
  table_cell(t, "%d", count(&s->counts, kind));
  for (int i = 0; i < s->n_loops; i++)
    if (s->loops[i].main) {
      table_cell(t, "%d", count(&s->loops[i].counts, kind));
      table_cell(t, "%d", count(&s->loops[i].path, kind));
    }
}

static int
count_kind(const SassCounts *c, int kind)
{
  return c->n[kind];
}

static int
count_all(const SassCounts *c, int unused)
{
  (void)unused;
  return c->total;
}

static void
put_head(Table *t, const Sass *s, Arena *arena)
{
  int n = 0;
  const char *const words[] = {"opcode", "class", "kernel"};
  for (int i = 0; i < 3; i++)
    table_cell(t, "%s", words[i]);
  for (int i = 0; i < s->n_loops; i++)
    if (s->loops[i].main) {
      table_cell(t, "%s", arena_printf(arena, "loop %d", ++n));
      table_cell(t, "least");
    }
}

static void
put_loops(const Sass *s, Str *out)
{
  int n = 0;
  for (int i = 0; i < s->n_loops; i++) {
    const SassLoop *l = &s->loops[i];
    if (!l->main)
      continue;
    str_printf(out, "  loop %d: 0x%05x to 0x%05x, depth %d", ++n, address(l->first),
               address(l->last), l->depth);
    if (l->aside)
      str_printf(out, "; besides, %d instructions that a vote leads around", l->aside);
    if (l->path.total < l->counts.total)
      str_printf(out, "; %d the shortest way through", l->path.total);
    str_put(out, "\n");
  }
  if (!n)
    str_put(out, "  no loop has tensor-core instructions\n");
  if (s->by_products)
    str_printf(out, "  from start to end by products: %d the shortest way\n",
               s->by_products);
  if (s->by_copies)
    str_printf(out, "  from start to end by tensor copies: %d the shortest way\n",
               s->by_copies);
}

void
sass_print(const Sass *s, Arena *arena, Str *out)
{
  char *columns = arena_alloc(arena, 2 * (size_t)s->n_main + 4);
  memset(columns, 'r', 2 * (size_t)s->n_main + 3);
  memset(columns, 'l', 2);
  Table *t = table_new(arena, columns);
  int *kinds = NEW_N(arena, int, SASS_KINDS), n = sass_kinds(s, kinds);
  str_printf(out, "\nMachine instructions of %s:\n", s->name);
  put_loops(s, out);
  put_head(t, s, arena);
  for (int i = 0; i < n; i++)
    put_row(t, s, sass_name(kinds[i], arena), sass_class_names[sass_class(kinds[i])],
            count_kind, kinds[i]);
  put_row(t, s, "all", "", count_all, 0);
  table_print(t, "  ", out);
}

/* ---- JSON ---- */

static json_t *
ops_json(const SassCounts *c, Arena *arena)
{
  json_t *j = json_object();
  for (int i = 0; i < SASS_KINDS; i++)
    if (c->n[i])
      json_object_set_new(j, sass_name(i, arena), json_integer(c->n[i]));
  return j;
}

static json_t *
classes_json(const SassCounts *c)
{
  json_t *j = json_object();
  for (int i = 0; i < SASS_CLASSES; i++)
    if (sass_class_total(c, (SassClass)i))
      json_object_set_new(j, sass_class_names[i],
                          json_integer(sass_class_total(c, (SassClass)i)));
  return j;
}

static json_t *
counts_json(const SassCounts *c, Arena *arena)
{
  return json_pack("{s:i, s:o, s:o}", "instructions", c->total, "ops", ops_json(c, arena),
                   "classes", classes_json(c));
}

static json_t *
loop_json(const SassLoop *l, Arena *arena)
{
  json_t *j = json_pack("{s:b, s:i, s:i, s:i, s:i, s:o}", "main", l->main, "depth",
                        l->depth, "first", address(l->first), "last", address(l->last),
                        "aside", l->aside, "least", counts_json(&l->path, arena));
  json_t *counts = counts_json(&l->counts, arena);
  json_object_update(j, counts);
  json_decref(counts);
  return j;
}

static json_t *
kernel_json(const Sass *s, Arena *arena)
{
  json_t *loops = json_array();
  for (int i = 0; i < s->n_loops; i++)
    json_array_append_new(loops, loop_json(&s->loops[i], arena));
  return json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o}", "name", s->name, "instructions",
                   s->counts.total, "by_products", s->by_products, "by_copies",
                   s->by_copies, "ops", ops_json(&s->counts, arena), "classes",
                   classes_json(&s->counts), "loops", loops);
}

json_t *
sass_json(const Assembled *a, const Sass *s, int n, Arena *arena)
{
  json_t *remarks = json_array(), *kernels = json_array();
  const char *text;
  for (int i = 0; (text = ptxas_remark(a->log, i, arena)) != NULL; i++)
    json_array_append_new(remarks, json_string(text));
  for (int i = 0; i < n; i++)
    json_array_append_new(kernels, kernel_json(&s[i], arena));
  return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "registers", a->registers,
                   "spill_stores", a->spill_stores, "spill_loads", a->spill_loads, "stack",
                   a->stack, "shared", a->shared, "barriers", a->barriers, "remarks",
                   remarks, "kernels", kernels);
}
