#include "cli/table.h"

#include <string.h>

struct Table {
  Arena *arena;
  const char *alignment;
  int columns;
  VEC(const char *) cells;
};

Table *
table_new(Arena *arena, const char *alignment)
{
  Table *t = NEW(arena, Table);
  t->arena = arena;
  t->alignment = alignment;
  t->columns = (int)strlen(alignment);
  return t;
}

void
table_cell(Table *t, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf(t->arena, fmt, ap);
  va_end(ap);
  *vec_push(t->arena, &t->cells) = text;
}

int
text_columns(const char *s)
{
  int n = 0;
  for (; *s; s++)
    n += ((unsigned char)*s & 0xc0) != 0x80;
  return n;
}

static int
width_of(const Table *t, int column)
{
  int width = 0;
  for (int i = column; i < t->cells.n; i += t->columns) {
    int n = text_columns(t->cells.at[i]);
    if (n > width)
      width = n;
  }
  return width;
}

static void
spaces(Str *s, int n)
{
  while (n-- > 0)
    str_put(s, " ");
}

void
table_print(const Table *t, const char *indent, Str *s)
{
  int *width = NEW_N(t->arena, int, t->columns);
  for (int c = 0; c < t->columns; c++)
    width[c] = width_of(t, c);
  for (int i = 0; i < t->cells.n; i++) {
    int c = i % t->columns, pad = width[c] - text_columns(t->cells.at[i]);
    bool last = c == t->columns - 1 || i == t->cells.n - 1;
    if (last && !*t->cells.at[i]) {
      str_put(s, "\n"); /* nothing behind the last word of a line */
      continue;
    }
    str_put(s, c ? "  " : indent);
    spaces(s, t->alignment[c] == 'r' ? pad : 0);
    str_put(s, t->cells.at[i]);
    spaces(s, t->alignment[c] == 'l' && !last ? pad : 0);
    if (last)
      str_put(s, "\n");
  }
}
