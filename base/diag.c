#include "base/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attnc_diags {
  Arena *arena;
  const char *file, *text; /* the current source; text NULL: none */
  size_t text_n;
  attnc_diag at[DIAG_CAP];
  size_t n, dropped, errors;
};

attnc_status
attnc_diags_create(attnc_diags **out)
{
  if (!out)
    return ATTNC_ERR_USAGE;
  attnc_diags *d = calloc(1, sizeof *d);
  Arena *arena = arena_new(0);
  *out = NULL;
  if (!d || !arena) {
    free(d);
    arena_free(arena);
    return ATTNC_ERR_NOMEM;
  }
  d->arena = arena;
  d->file = "";
  *out = d;
  return ATTNC_OK;
}

void
attnc_diags_release(attnc_diags *d)
{
  if (!d)
    return;
  arena_free(d->arena);
  free(d);
}

size_t
attnc_diags_count(const attnc_diags *d)
{
  return d ? d->n : 0;
}

const attnc_diag *
attnc_diags_get(const attnc_diags *d, size_t i)
{
  return d && i < d->n ? &d->at[i] : NULL;
}

size_t
diags_errors(const attnc_diags *d)
{
  return d ? d->errors : 0;
}

void
diags_source(attnc_diags *d, const char *file, const char *text, size_t n)
{
  if (!d)
    return;
  d->file = file ? arena_strdup(d->arena, file) : "";
  d->text = n ? arena_strndup(d->arena, text, n) : NULL;
  d->text_n = d->text ? n : 0;
}

/* A copy of line `line`, from 1, without its end; NULL if there is none. */
static const char *
source_line(attnc_diags *d, int line)
{
  if (!d->text || line < 1)
    return NULL;
  const char *p = d->text, *end = p + d->text_n;
  for (int i = 1; i < line && p; i++) {
    p = memchr(p, '\n', (size_t)(end - p));
    p = p ? p + 1 : NULL;
  }
  if (!p)
    return NULL;
  const char *stop = memchr(p, '\n', (size_t)(end - p));
  if (!stop)
    stop = end;
  if (stop > p && stop[-1] == '\r')
    stop--;
  return arena_strndup(d->arena, p, (size_t)(stop - p));
}

/* Messages quote what the user wrote: no control character may reach a terminal. */
static char *
plain(char *text)
{
  for (char *p = text; p && *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      *p = '?';
  return text;
}

static void
add(attnc_diags *d, int error, Place at, int code, const char *help, const char *fmt,
    va_list args)
{
  if (!d)
    return;
  d->errors += (size_t)error;
  const char *message = d->n < DIAG_CAP ? plain(arena_vprintf(d->arena, fmt, args)) : NULL;
  if (!message) {
    d->dropped++;
    return;
  }
  d->at[d->n++] = (attnc_diag){
      .error = error,
      .code = code,
      .file = d->file ? d->file : "",
      .line = at.line,
      .col = at.line ? at.col : 0,
      .message = message,
      .source = source_line(d, at.line),
      .width = at.width > 1 ? at.width : 1,
      .help = help ? plain(arena_strdup(d->arena, help)) : NULL,
  };
}

void
diags_error(attnc_diags *d, Place at, int code, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  add(d, 1, at, code, help, fmt, args);
  va_end(args);
}

void
diags_warning(attnc_diags *d, Place at, int code, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  add(d, 0, at, code, help, fmt, args);
  va_end(args);
}

/* ---- printing ---- */

/* Counts all that is put and keeps what fits, as snprintf does. */
typedef struct Out {
  char *buf;
  size_t cap, n;
  bool color;
} Out;

static void
putn(Out *o, const char *text, size_t n)
{
  for (size_t i = 0; i < n; i++, o->n++)
    if (o->n + 1 < o->cap)
      o->buf[o->n] = text[i];
}

static void
put(Out *o, const char *text)
{
  putn(o, text, strlen(text));
}

static void
put_int(Out *o, const char *fmt, int value)
{
  char text[48];
  snprintf(text, sizeof text, fmt, value);
  put(o, text);
}

static void
repeat(Out *o, char c, int n)
{
  for (int i = 0; i < n; i++)
    putn(o, &c, 1);
}

/* SGR parameters of ECMA-48; NULL ends the colour. */
static void
color(Out *o, const char *sgr)
{
  if (!o->color)
    return;
  put(o, "\033[");
  put(o, sgr ? sgr : "0");
  put(o, "m");
}

/* The character at s as a terminal shows it: tabs to the next multiple of 8, and nothing
 * that could steer the terminal. */
typedef struct Glyph {
  const char *show;
  int bytes, cells; /* of the source, on the terminal */
} Glyph;

static Glyph
glyph_at(const char *s, int cell)
{
  unsigned char c = (unsigned char)*s;
  int n = str_utf8(s);
  if (c == '\t')
    return (Glyph){" ", 1, 8 - cell % 8};
  if (c < 0x20 || c == 0x7f || n == 0)
    return (Glyph){"?", 1, 1};
  if (c == 0xc2 && (unsigned char)s[1] < 0xa0)
    return (Glyph){"?", 2, 1};
  return (Glyph){s, n, 1};
}

/* Where column `col`, in characters from 1, is on the terminal, from 0; the line's end for
 * columns past it. */
static int
cell_of(const char *line, int col)
{
  int cell = 0;
  for (int i = 1; i < col && *line; i++) {
    Glyph g = glyph_at(line, cell);
    line += g.bytes;
    cell += g.cells;
  }
  return cell;
}

/* Of longer lines the part around the caret is shown. */
enum { LINE_CELLS = 96 };

static void
put_cells(Out *o, const char *line, int from, int to)
{
  int cell = 0;
  for (Glyph g; *line && cell < to; line += g.bytes, cell += g.cells) {
    g = glyph_at(line, cell);
    int first = cell > from ? cell : from;
    int last = cell + g.cells < to ? cell + g.cells : to;
    for (int i = first; i < last; i++)
      putn(o, g.show, *g.show == *line ? (size_t)g.bytes : 1);
  }
  put(o, *line ? "...\n" : "\n");
}

static void
put_source(Out *o, const attnc_diag *d)
{
  int start = cell_of(d->source, d->col), end = cell_of(d->source, d->col + d->width);
  int from = start < LINE_CELLS - 16 ? 0 : start - LINE_CELLS / 2, to = from + LINE_CELLS;
  const char *cut = from ? "..." : "";
  put_int(o, "%5d | ", d->line);
  put(o, cut);
  put_cells(o, d->source, from, to);
  put(o, "      | ");
  repeat(o, ' ', (int)strlen(cut) + start - from);
  color(o, "1;32");
  put(o, "^");
  repeat(o, '~', (end < to ? end : to) - start - 1);
  color(o, NULL);
  put(o, "\n");
}

static void
put_place(Out *o, const attnc_diag *d)
{
  color(o, "1");
  if (*d->file) {
    put(o, d->file);
    put(o, ":");
  }
  if (d->line) {
    put_int(o, "%d:", d->line);
    put_int(o, "%d:", d->col);
  }
  if (*d->file || d->line)
    put(o, " ");
  color(o, NULL);
}

static void
put_diag(Out *o, const attnc_diag *d)
{
  put_place(o, d);
  color(o, d->error ? "1;31" : "1;35");
  put_int(o, d->error ? "error[A%04d]: " : "warning[A%04d]: ", d->code);
  color(o, NULL);
  put(o, d->message);
  put(o, "\n");
  if (d->source && d->col)
    put_source(o, d);
  if (d->help) {
    color(o, "1;36");
    put(o, "      help: ");
    color(o, NULL);
    put(o, d->help);
    put(o, "\n");
  }
}

size_t
attnc_diags_format(const attnc_diags *d, int with_color, char *buf, size_t n)
{
  Out o = {.buf = buf, .cap = buf ? n : 0, .color = with_color != 0};
  for (size_t i = 0; d && i < d->n; i++)
    put_diag(&o, &d->at[i]);
  if (d && d->dropped)
    put_int(&o, "and %d more\n", (int)d->dropped);
  if (buf && n)
    buf[o.n < n ? o.n : n - 1] = 0;
  return o.n;
}
