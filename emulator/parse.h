/* parse.h: between parse.c (module: directives, variables, entries) and parse_body.c (the
 * braces of an entry: scopes, registers, statements, operands). */
#ifndef ATTNC_EMULATOR_PARSE_H
#define ATTNC_EMULATOR_PARSE_H

#include "emulator/lex.h"

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
} Parse;

void parse_body(Parse *); /* now is the { of an entry */
Type parse_type(Parse *, const char *what);
uint32_t parse_align(Parse *); /* now is past .align */
/* [.align n] .type name[dims] [= init]; now is past the space */
Var *parse_var(Parse *, Space, bool is_extern);
Var *parse_find_var(Parse *, const char *name, int n);

#endif
