/* table.h: text in columns.  Cells are copied into the arena; numbers stand right, words
 * left, and the last column is never padded. */
#ifndef ATTNC_CLI_TABLE_H
#define ATTNC_CLI_TABLE_H

#include "base/str.h"

typedef struct Table Table;

/* One character a column: 'l' left, 'r' right. */
Table *table_new(Arena *, const char *alignment);
/* The next cell of the current row; rows fill up by themselves. */
void table_cell(Table *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(const Table *, const char *indent, Str *);
/* Columns that UTF-8 text takes. */
int text_columns(const char *);

#endif
