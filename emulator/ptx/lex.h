/* lex.h: PTX text as tokens.  One token of look-ahead; a token points into the text. */
#ifndef ATTNC_EMULATOR_LEX_H
#define ATTNC_EMULATOR_LEX_H

#include "emulator/ptx/ptx.h"

typedef enum TokenKind {
  TK_END,
  TK_NAME,      /* also %r1, %tid.x and _ */
  TK_DIRECTIVE, /* with its dot */
  TK_INT,
  TK_FLOAT32,
  TK_FLOAT64,
  TK_STRING,
  TK_PUNCT, /* one character */
} TokenKind;

typedef struct Token {
  TokenKind kind;
  const char *p;
  int n, line;
  uint64_t bits;
} Token;

typedef struct Lex {
  Ptx *ptx;
  const char *p, *end;
  int line;
  Token now; /* the token looked at */
} Lex;

void lex_start(Lex *, Ptx *);
void lex_next(Lex *);
bool lex_is(const Lex *, const char *text); /* now: a name, directive or punctuation */
bool lex_take(Lex *, const char *text);     /* and past it */
void lex_need(Lex *, const char *text);     /* or fail */
char *lex_name(Lex *);                      /* a name, copied, and past it */
uint64_t lex_int(Lex *, uint64_t max);
/* now is the first word of a mnemonic: the rest of it, past it. */
const char *lex_mnemonic(Lex *, int *n);
void lex_skip_line(Lex *);      /* the rest of the line */
void lex_skip_braces(Lex *);    /* now is { */
void lex_skip_statement(Lex *); /* to past the next ';' */
_Noreturn void lex_fail(const Lex *, const char *expected);

#endif
