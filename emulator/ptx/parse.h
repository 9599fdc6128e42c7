/* parse.h: what the parser's files share, each above the next: parse.c (modules, entries),
 * parse_func.c (functions), parse_body.c (the braces of an entry: scopes, registers,
 * statements, operands), parse_decl.c (types, variables, directives), parse_expr.c. */
#ifndef ATTNC_EMULATOR_PARSE_H
#define ATTNC_EMULATOR_PARSE_H

#include "emulator/ptx/lex.h"

typedef struct RegDecl { /* .reg .b32 %r<9>, or one name */
  const char *name;
  int name_len, n; /* n < 0: the name itself */
  Reg *regs;
  struct RegDecl *next;
} RegDecl;

typedef struct Parse {
  Lex lex;
  Ptx *ptx;
  Ast *ast;              /* the entry at hand */
  VEC(RegDecl *) decls;  /* of each scope, newest first */
  VEC(Var *) scope_vars; /* newest variable of each scope */
  int scope;
  int depth;        /* of brackets and signs in a constant */
  bool call;        /* the statement at hand is a call: ( opens a list */
  RegDecl *formals; /* registers that are parameters of the function at hand */
} Parse;

void parse_body(Parse *); /* now is the { of an entry or function */
/* ---- parse_expr.c ---- */
typedef struct Constant {
  TokenKind kind; /* TK_INT, TK_FLOAT32, TK_FLOAT64 */
  bool no_sign;
  uint64_t bits;
} Constant;
/* before: the sign, ! or ~ that was there already, or 0. */
Constant parse_constant(Parse *, char before);
/* + or - and so on, if it is there: 0 else. */
int64_t parse_offset(Parse *);
/* ( … ) of a function or prototype, if it is there. */
void parse_formals(Parse *, Proto *, bool out);
/* Directives between the head and the body. */
void parse_directives(Parse *, Ast *);
/* Now is past .func. */
void parse_function(Parse *, bool is_extern);
/* Now is past .alias. */
void parse_alias(Parse *);
Type parse_type(Parse *, const char *what);
uint32_t parse_align(Parse *); /* now is past .align */
/* [.align n] .type name[dims] [= init]; now is past the space */
Var *parse_var(Parse *, Space, bool is_extern);
Var *parse_find_var(Parse *, const char *name, int n);

#endif
