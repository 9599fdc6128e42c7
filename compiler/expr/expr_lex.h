/* expr_lex.h: the words of an expression, for expr_lex.c and expr_parse.c. */
#ifndef ATTNC_COMPILER_EXPR_LEX_H
#define ATTNC_COMPILER_EXPR_LEX_H

#include "compiler/expr/expr.h"

typedef enum TokenKind {
  TOKEN_END,
  TOKEN_NAME,
  TOKEN_WHOLE,
  TOKEN_REAL,
  TOKEN_SIGN
} TokenKind;

typedef struct Token {
  TokenKind kind;
  size_t at, n;     /* bytes of the text */
  const char *text; /* 0-terminated */
  int64_t whole;    /* up to 2^32 − 1; from 2^31 on only -2147483648 and 0x… may be */
  bool hex;
  float real;
} Token;

typedef struct Tokens {
  Token *at; /* the last is TOKEN_END */
  int n;
} Tokens;

void expr_fault(Arena *, ExprParse *, ExprError, size_t at, size_t width, const char *help,
                const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* User text as a message may show it: at most 40 bytes, no control characters. */
const char *expr_shown(Arena *, const char *text, size_t n);
/* false: too many, the fault is reported. */
bool expr_lex(Arena *, const char *text, ExprParse *, Tokens *);

#endif
