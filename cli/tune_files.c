/* tune_files.c: the candidates of sweeps as rows (RFC 4180) and as pictures. */
#include "cli/tune.h"

#include "base/err.h"
#include "base/file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

static const char columns[] = "spec,shape,device,target,unit,verdict,is_default,resumed,"
                              "value,spread,samples,registers,spilled_bytes,max_error,"
                              "bound,cost,template,block_m,block_n,num_stages,num_warps,"
                              "options,reason\r\n";

/* Quoted where it has to be. */
static void
put_text(Str *s, const char *text)
{
  if (!text[strcspn(text, ",\"\r\n")]) {
    str_put(s, text);
    return;
  }
  str_put(s, "\"");
  for (; *text; text++) {
    if (*text == '"')
      str_put(s, "\"");
    str_putn(s, text, 1);
  }
  str_put(s, "\"");
}

static void
put_number(Str *s, double v)
{
  if (!isnan(v))
    str_printf(s, "%.9g", v);
  str_put(s, ",");
}

static const char *
text_of(const json_t *j, const char *key)
{
  const char *text = json_string_value(json_object_get(j, key));
  return text ? text : "";
}

static void
put_measured(Str *s, const attnc_tuned *x)
{
  bool ok = tune_is_measured(x);
  put_number(s, ok ? x->value : NAN);
  put_number(s, ok ? x->spread : NAN);
  put_number(s, ok ? (double)x->samples : (double)NAN);
  put_number(s, ok ? (double)x->registers : (double)NAN);
  put_number(s, ok ? (double)x->spilled_bytes : (double)NAN);
  put_number(s, ok ? x->max_error : NAN);
  put_number(s, ok ? x->bound : NAN);
  put_number(s, x->cost);
}

static void
put_candidate(Str *s, const TuneItem *t, size_t i)
{
  const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
  const attnc_schedule *how = x->schedule;
  const json_t *told = json_array_get(json_object_get(t->json, "candidates"), i);
  const char *const texts[] = {t->spec->info.name,         t->shape,
                               text_of(t->json, "device"), text_of(t->json, "target"),
                               text_of(t->json, "unit"),   text_of(told, "verdict"),
                               x->is_default ? "1" : "0",  x->resumed ? "1" : "0"};
  for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
    put_text(s, texts[k]);
    str_put(s, ",");
  }
  put_measured(s, x);
  str_printf(s, "%s,%d,%d,%d,%d,", how->template_name, how->block_m, how->block_n,
             how->num_stages, how->num_warps);
  put_text(s, how->options ? how->options : "");
  str_put(s, ",");
  put_text(s, x->reason ? x->reason : "");
  str_put(s, "\r\n");
}

static attnc_status
write_csv(const Cli *c, const TuneList *l, const char *path, attnc_error *e)
{
  Str s = str_new(c->arena);
  str_put(&s, columns);
  for (int i = 0; i < l->items.n; i++)
    for (size_t k = 0; k < attnc_tuning_count(l->items.at[i].tuning); k++)
      if (!attnc_tuning_get(l->items.at[i].tuning, k)->injected)
        put_candidate(&s, &l->items.at[i], k);
  return file_write_stream(path, s.p, s.n, e);
}

/* ---- pictures ---- */

enum {
  WIDTH = 960,
  TOP = 40, /* the heading of a sweep */
  LEFT = 70,
  HEAT = 420, /* room of the map and of the curve */
  CURVE_LEFT = 560,
  CURVE = 360,
  HEIGHT = 320, /* of both */
  SWEEP = TOP + HEIGHT + 60,
  MAX_SIDES = 64
};
#define WORST 3.0 /* ratios above are drawn as this */

/* A sweep's measured candidates in the order of the cost model, and the best value. */
typedef struct Sweep {
  const attnc_tuned **at;
  int n;
  double best;
} Sweep;

static int
by_cost(const void *a, const void *b)
{
  const attnc_tuned *x = *(const attnc_tuned *const *)a,
                    *y = *(const attnc_tuned *const *)b;
  double p = isnan(x->cost) ? INFINITY : x->cost, q = isnan(y->cost) ? INFINITY : y->cost;
  if (p < q || p > q)
    return p < q ? -1 : 1;
  return x->value < y->value ? -1 : x->value > y->value;
}

static Sweep
sweep_of(const TuneItem *t, Arena *arena)
{
  size_t n = attnc_tuning_count(t->tuning);
  Sweep s = {.at = NEW_N(arena, const attnc_tuned *, n + 1), .best = INFINITY};
  for (size_t i = 0; i < n; i++) {
    const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
    if (!tune_is_measured(x) || x->injected)
      continue;
    s.at[s.n++] = x;
    s.best = x->value < s.best ? x->value : s.best;
  }
  qsort(s.at, (size_t)s.n, sizeof *s.at, by_cost);
  return s;
}

static int
int_order(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

/* The different values of block_m or block_n, rising. */
static int
sides(const Sweep *s, bool of_m, int v[MAX_SIDES])
{
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    int side = of_m ? s->at[i]->schedule->block_m : s->at[i]->schedule->block_n, k = 0;
    while (k < n && v[k] != side)
      k++;
    if (k == n && n < MAX_SIDES)
      v[n++] = side;
  }
  qsort(v, (size_t)n, sizeof *v, int_order);
  return n;
}

/* The best of those with these blocks, as a ratio to the best of all; 0: there is none. */
static double
ratio_at(const Sweep *s, int m, int n)
{
  double least = INFINITY;
  for (int i = 0; i < s->n; i++)
    if (s->at[i]->schedule->block_m == m && s->at[i]->schedule->block_n == n)
      least = fmin(least, s->at[i]->value);
  return least < INFINITY ? least / s->best : 0;
}

/* Dark is fast: from a dark blue at 1 to a light yellow at WORST, in the order of
 * lightness.
 */
static void
put_color(Str *s, double ratio)
{
  static const int from[3] = {33, 60, 120}, to[3] = {253, 244, 190};
  double t = log(fmin(ratio, WORST)) / log(WORST);
  str_put(s, "#");
  for (int i = 0; i < 3; i++)
    str_printf(s, "%02x", (unsigned)lround(from[i] + (to[i] - from[i]) * t));
}

static void put_label(Str *, double x, double y, const char *anchor, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static void
put_label(Str *s, double x, double y, const char *anchor, const char *fmt, ...)
{
  char text[256];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  str_printf(s, "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">", x, y, anchor);
  for (const char *p = text; *p; p++) {
    if (*p == '<' || *p == '&')
      str_put(s, *p == '<' ? "&lt;" : "&amp;");
    else
      str_putn(s, p, 1);
  }
  str_put(s, "</text>\n");
}

static void
put_cell(Str *s, double ratio, double x, double y, double w, double h)
{
  str_printf(s, "<rect class=\"cell\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"",
             x, y, w, h);
  put_color(s, ratio);
  str_put(s, "\"/>\n");
  str_printf(s, "<g fill=\"%s\">", ratio < 1.6 ? "#ffffff" : "#222222");
  put_label(s, x + w / 2, y + h / 2 + 4, "middle", "%.2f", ratio);
  str_put(s, "</g>\n");
}

/* block_m rises upwards, block_n to the right. */
static void
put_heat(Str *s, const Sweep *v, double y)
{
  int ms[MAX_SIDES], ns[MAX_SIDES], n_ms = sides(v, true, ms), n_ns = sides(v, false, ns);
  if (!n_ms)
    return;
  double w = (double)HEAT / n_ns, h = (double)HEIGHT / n_ms;
  for (int i = 0; i < n_ms; i++) {
    put_label(s, LEFT - 6, y + HEIGHT - h * (i + 0.5) + 4, "end", "%d", ms[i]);
    for (int k = 0; k < n_ns; k++) {
      double ratio = ratio_at(v, ms[i], ns[k]);
      if (ratio > 0)
        put_cell(s, ratio, LEFT + w * k, y + HEIGHT - h * (i + 1), w, h);
    }
  }
  for (int k = 0; k < n_ns; k++)
    put_label(s, LEFT + w * (k + 0.5), y + HEIGHT + 16, "middle", "%d", ns[k]);
  put_label(s, LEFT + HEAT / 2.0, y + HEIGHT + 36, "middle", "block_n");
  put_label(s, LEFT - 6, y - 6, "end", "block_m");
}

static double
height_of(double ratio)
{
  return HEIGHT * (fmin(ratio, WORST) - 1) / (WORST - 1);
}

/* A point a candidate, in the order of the cost model, and the best of those before. */
static void
put_curve(Str *s, const Sweep *v, double y)
{
  double step = v->n > 1 ? (double)CURVE / (v->n - 1) : 0, base = y + HEIGHT,
         best = INFINITY;
  str_printf(s, "<path d=\"M%d %g V%g H%d\" fill=\"none\" stroke=\"#888888\"/>\n",
             CURVE_LEFT, y, base, CURVE_LEFT + CURVE);
  for (double r = 1; r <= WORST; r += 0.5)
    put_label(s, CURVE_LEFT - 6, base - height_of(r) + 4, "end", "%.1f", r);
  str_put(s, "<polyline fill=\"none\" stroke=\"#d0642a\" points=\"");
  for (int i = 0; i < v->n; i++) {
    best = fmin(best, v->at[i]->value / v->best);
    str_printf(s, "%g,%g ", CURVE_LEFT + step * i, base - height_of(best));
  }
  str_put(s, "\"/>\n");
  for (int i = 0; i < v->n; i++)
    str_printf(s, "<circle cx=\"%g\" cy=\"%g\" r=\"3\" fill=\"%s\"/>\n",
               CURVE_LEFT + step * i, base - height_of(v->at[i]->value / v->best),
               v->at[i]->is_default ? "#d0642a" : "#213c78");
  put_label(s, CURVE_LEFT + CURVE / 2.0, base + 16, "middle",
            "candidates, as the cost model orders them");
  put_label(s, CURVE_LEFT + CURVE / 2.0, base + 36, "middle",
            "orange: the default, and the best so far");
}

static attnc_status
write_svg(const Cli *c, const TuneList *l, const char *path, attnc_error *e)
{
  Str s = str_new(c->arena);
  str_printf(&s,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
             "font-family=\"sans-serif\" font-size=\"12\">\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
             WIDTH, SWEEP * l->items.n + 20);
  for (int i = 0; i < l->items.n; i++) {
    const TuneItem *t = &l->items.at[i];
    const Sweep v = sweep_of(t, c->arena);
    double y = (double)SWEEP * i;
    put_label(&s, 8, y + 20, "start", "%s, %s, %s on %s: best %.6g %s, others by its ratio",
              t->spec->info.name, t->shape, text_of(t->json, "target"),
              text_of(t->json, "device"), v.n ? v.best : 0, text_of(t->json, "unit"));
    put_heat(&s, &v, y + TOP);
    put_curve(&s, &v, y + TOP);
  }
  str_put(&s, "</svg>\n");
  return file_write_stream(path, s.p, s.n, e);
}

attnc_status
tune_write_files(const Cli *c, const TuneList *l, attnc_error *e)
{
  const char *csv = c->opt.value[OPT_CSV], *svg = c->opt.value[OPT_SWEEP_SVG];
  if (csv)
    TRY(write_csv(c, l, csv, e));
  return svg ? write_svg(c, l, svg, e) : ATTNC_OK;
}
