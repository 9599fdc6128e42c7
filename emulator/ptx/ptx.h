/* ptx.h: PTX text as data: what the parser makes and the decoder reads.
 *
 * The parser knows the syntax of PTX, not its instructions: a statement is a mnemonic and
 * operands whose names are already resolved (registers, labels, variables).  Everything
 * lives in one arena that belongs to the module; names point into the module's copy of the
 * text. The first error ends it: the message names the line and shows it.  What is not
 * understood is an error, never skipped; only debug information (.file, .loc, .section) is
 * passed over. Refused on purpose: textures. */
#ifndef ATTNC_EMULATOR_PTX_H
#define ATTNC_EMULATOR_PTX_H

#include "base/arena.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

/* id, name, bits, class: b bits, u and s integers, f float, p predicate */
#define PTX_TYPES(X)                                                                       \
  X(PRED, "pred", 1, 'p')                                                                  \
  X(B8, "b8", 8, 'b')                                                                      \
  X(B16, "b16", 16, 'b')                                                                   \
  X(B32, "b32", 32, 'b')                                                                   \
  X(B64, "b64", 64, 'b')                                                                   \
  X(B128, "b128", 128, 'b')                                                                \
  X(U8, "u8", 8, 'u')                                                                      \
  X(U16, "u16", 16, 'u')                                                                   \
  X(U32, "u32", 32, 'u')                                                                   \
  X(U64, "u64", 64, 'u')                                                                   \
  X(S8, "s8", 8, 's')                                                                      \
  X(S16, "s16", 16, 's')                                                                   \
  X(S32, "s32", 32, 's')                                                                   \
  X(S64, "s64", 64, 's')                                                                   \
  X(U16X2, "u16x2", 32, 'u')                                                               \
  X(S16X2, "s16x2", 32, 's')                                                               \
  X(F16, "f16", 16, 'f')                                                                   \
  X(F16X2, "f16x2", 32, 'f')                                                               \
  X(BF16, "bf16", 16, 'f')                                                                 \
  X(E4M3X2, "e4m3x2", 16, 'f')                                                             \
  X(E5M2X2, "e5m2x2", 16, 'f')                                                             \
  X(E2M3X2, "e2m3x2", 16, 'f')                                                             \
  X(E3M2X2, "e3m2x2", 16, 'f')                                                             \
  X(E2M1X2, "e2m1x2", 8, 'f')                                                              \
  X(UE8M0X2, "ue8m0x2", 16, 'f')                                                           \
  X(E4M3X4, "e4m3x4", 32, 'f')                                                             \
  X(E5M2X4, "e5m2x4", 32, 'f')                                                             \
  X(E2M3X4, "e2m3x4", 32, 'f')                                                             \
  X(E3M2X4, "e3m2x4", 32, 'f')                                                             \
  X(E2M1X4, "e2m1x4", 16, 'f')                                                             \
  X(BF16X2, "bf16x2", 32, 'f')                                                             \
  X(TF32, "tf32", 32, 'f')                                                                 \
  X(F32, "f32", 32, 'f')                                                                   \
  X(F32X2, "f32x2", 64, 'f')                                                               \
  X(F64, "f64", 64, 'f')

typedef enum Type {
#define X(id, name, bits, class) T_##id,
  PTX_TYPES(X)
#undef X
      TYPE_COUNT
} Type;

typedef struct TypeInfo {
  const char *name;
  uint8_t bits, class;
} TypeInfo;
extern const TypeInfo type_info[TYPE_COUNT];
int type_find(const char *name, int n); /* without the dot; -1: no such type */

typedef enum Space {
  SPACE_GENERIC,
  SPACE_GLOBAL,
  SPACE_SHARED,
  SPACE_LOCAL,
  SPACE_CONST,
  SPACE_PARAM,
  SPACE_CLUSTER, /* shared memory of any CTA of the cluster */
} Space;

typedef struct Var { /* .global .const .shared .local .param */
  const char *name;
  Space space;
  Type type;
  uint32_t align;
  uint64_t bytes;
  bool is_extern; /* .extern .shared x[]: dynamic shared memory */
  bool managed;   /* .attribute(.managed) */
  bool in_frame;  /* .param of a function or of a body, not of an entry */
  int scope;      /* of the body that declares it */
  int line;
  uint8_t *init; /* the first init_bytes, or NULL; zeros follow */
  uint64_t init_bytes;
  struct Patch *patches;
  uint64_t offset; /* from the start of its space in the kernel or module, once laid out */
  struct Var *next;
} Var;

typedef struct Patch { /* the address of a variable inside an initialiser */
  const char *name;
  uint64_t at, mask; /* mask: the byte of it that is wanted; 0: all */
  uint32_t bytes;
  int64_t add;
  bool generic;
  int line;
  struct Patch *next;
} Patch;

/* Registers.  %r<9> declares nine in a row. */
typedef struct Reg {
  Type type;
  const char *name;
  int row;   /* of the register file or predicate index; -1: never used */
  int named; /* by so many operands */
} Reg;

typedef enum OpndKind {
  O_REG,
  O_INT,     /* bits */
  O_FLOAT32, /* bits: 0fXXXXXXXX */
  O_FLOAT64, /* bits: 0dX…, or a decimal literal */
  O_SPECIAL, /* %tid.x: index into the table of special registers */
  O_VAR,     /* address of a variable, + off */
  O_ADDR,    /* [base + off]: reg, var, or neither */
  O_VEC,     /* { … } */
  O_LABEL,
  O_SINK, /* _ */
  O_FUNC, /* the name of a function */
  O_LIST, /* ( … ): arguments or results of a call */
} OpndKind;

typedef struct Opnd {
  uint8_t kind;
  bool negated; /* !%p */
  Reg *reg;
  Var *var;
  uint64_t bits;
  int64_t off;
  int special;
  const char *label;
  struct Ast *func;
  struct Opnd *at; /* elements; of an address: coordinates */
  int n;
  struct Opnd *second; /* %r | %p */
  bool minus;          /* -%r, and %r.h0: of video instructions alone */
  int n_select;
  const char *select; /* h0; NULL: none */
} Opnd;

typedef struct Stmt {
  int line, scope;
  Reg *guard;
  bool guard_not;
  const char *op; /* "mma.sync.aligned…" */
  int op_len;
  Opnd *opnds;
  int n;
} Stmt;

/* Found by name and scope through one of so many chains. */
enum { LABEL_CHAINS = 4096 };
typedef struct Label {
  const char *name;
  int scope;
  int stmt; /* the next statement */
  int next; /* of its chain: 1 + the index, 0: the last */
} Label;

typedef enum ListKind { LIST_BRANCHES, LIST_CALLS, LIST_PROTO } ListKind;

typedef struct Formal { /* of a function: one of them */
  Var *var;             /* in .param */
  Reg *reg;
} Formal;

typedef struct Proto {
  VEC(Formal) out;
  VEC(Formal) in;
} Proto;

typedef struct Branches { /* .branchtargets, .calltargets, .callprototype */
  ListKind kind;
  const char *name;
  int scope, line;
  const char **labels;
  int n;
  Proto proto;
} Branches;

typedef struct RegSpan {
  Reg *at;
  int n;
} RegSpan;

typedef struct Ast { /* of one .entry or .func */
  const char *name;
  int line, end_line;
  bool is_func, has_body;
  bool used;         /* a function: an entry may call it */
  int number;        /* of a function in its module */
  struct Ast *alias; /* the function that it is another name of */
  VEC(Var *) params; /* of an entry */
  Proto proto;       /* of a function */
  VEC(RegSpan) regs; /* all that the body declares */
  VEC(Var *) locals; /* .local, .shared and .param of the body */
  VEC(Stmt) stmts;
  VEC(Label) labels;
  int label_chains[LABEL_CHAINS]; /* 1 + the index of the latest, 0: empty */
  VEC(Branches) branches;
  VEC(int) scopes;                 /* parent of each; 0 is the body, its own parent */
  uint32_t maxntid[3], reqntid[3]; /* 0: not given */
  uint32_t minnctapersm, maxnreg;
  uint32_t cluster[3]; /* .reqnctapercluster; 0: not given */
  uint32_t max_rank;   /* .maxclusterrank; 0: not given */
  bool explicit_cluster;
} Ast;

typedef struct Ptx {
  Arena *arena;
  uint64_t id;        /* of the module, in this process */
  char *text;         /* our copy */
  const char **lines; /* 1 … n_lines: starts */
  int n_lines;
  int version;    /* 70 is 7.0 */
  int sm;         /* 80 */
  char sm_suffix; /* 'a', 'f' or 0 */
  VEC(Ast *) entries;
  VEC(Ast *) funcs;
  VEC(Var *) vars; /* .global .const .shared of the module */
  jmp_buf *fail;
  bool no_memory;
  char error[512];
} Ptx;

/* Parses text into p (zeroed, with an arena); false: p->error says why. */
bool ptx_parse(Ptx *p, const char *text, size_t n);
Ast *ptx_func(const Ptx *, const char *name, int n); /* NULL: there is none */
/* The label of that scope alone; NULL: it has none. */
const Label *ptx_label(const Ast *, const char *name, int scope);
/* For the parser and the decoder, while p->fail is set. */
_Noreturn void ptx_fail(Ptx *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Copies the text and finds its lines; without a catch point text is NULL when memory is
 * out. */
void ptx_index(Ptx *, const char *text, size_t n);
/* One line of the text, without white space around it. */
const char *ptx_line(const Ptx *p, int line, int *n);

/* Special registers: id, name, bits.  LANE: differs between lanes; WARP: between warps;
 * CTA; TIME: read when executed. */
#define PTX_SPECIALS(X)                                                                    \
  X(TID_X, "%tid.x", 32)                                                                   \
  X(TID_Y, "%tid.y", 32)                                                                   \
  X(TID_Z, "%tid.z", 32)                                                                   \
  X(NTID_X, "%ntid.x", 32)                                                                 \
  X(NTID_Y, "%ntid.y", 32)                                                                 \
  X(NTID_Z, "%ntid.z", 32)                                                                 \
  X(CTAID_X, "%ctaid.x", 32)                                                               \
  X(CTAID_Y, "%ctaid.y", 32)                                                               \
  X(CTAID_Z, "%ctaid.z", 32)                                                               \
  X(NCTAID_X, "%nctaid.x", 32)                                                             \
  X(NCTAID_Y, "%nctaid.y", 32)                                                             \
  X(NCTAID_Z, "%nctaid.z", 32)                                                             \
  X(LANEID, "%laneid", 32)                                                                 \
  X(WARPID, "%warpid", 32)                                                                 \
  X(NWARPID, "%nwarpid", 32)                                                               \
  X(SMID, "%smid", 32)                                                                     \
  X(NSMID, "%nsmid", 32)                                                                   \
  X(GRIDID, "%gridid", 64)                                                                 \
  X(LANEMASK_EQ, "%lanemask_eq", 32)                                                       \
  X(LANEMASK_LE, "%lanemask_le", 32)                                                       \
  X(LANEMASK_LT, "%lanemask_lt", 32)                                                       \
  X(LANEMASK_GE, "%lanemask_ge", 32)                                                       \
  X(LANEMASK_GT, "%lanemask_gt", 32)                                                       \
  X(DYNAMIC_SMEM, "%dynamic_smem_size", 32)                                                \
  X(TOTAL_SMEM, "%total_smem_size", 32)                                                    \
  X(CLUSTERID_X, "%clusterid.x", 32)                                                       \
  X(CLUSTERID_Y, "%clusterid.y", 32)                                                       \
  X(CLUSTERID_Z, "%clusterid.z", 32)                                                       \
  X(NCLUSTERID_X, "%nclusterid.x", 32)                                                     \
  X(NCLUSTERID_Y, "%nclusterid.y", 32)                                                     \
  X(NCLUSTERID_Z, "%nclusterid.z", 32)                                                     \
  X(CLUSTER_CTAID_X, "%cluster_ctaid.x", 32)                                               \
  X(CLUSTER_CTAID_Y, "%cluster_ctaid.y", 32)                                               \
  X(CLUSTER_CTAID_Z, "%cluster_ctaid.z", 32)                                               \
  X(CLUSTER_NCTAID_X, "%cluster_nctaid.x", 32)                                             \
  X(CLUSTER_NCTAID_Y, "%cluster_nctaid.y", 32)                                             \
  X(CLUSTER_NCTAID_Z, "%cluster_nctaid.z", 32)                                             \
  X(CLUSTER_CTARANK, "%cluster_ctarank", 32)                                               \
  X(CLUSTER_NCTARANK, "%cluster_nctarank", 32)                                             \
  X(IS_EXPLICIT_CLUSTER, "%is_explicit_cluster", 1)                                        \
  X(ENVREG0, "%envreg0", 32)                                                               \
  X(ENVREG1, "%envreg1", 32)                                                               \
  X(ENVREG2, "%envreg2", 32)                                                               \
  X(ENVREG3, "%envreg3", 32)                                                               \
  X(ENVREG4, "%envreg4", 32)                                                               \
  X(ENVREG5, "%envreg5", 32)                                                               \
  X(ENVREG6, "%envreg6", 32)                                                               \
  X(ENVREG7, "%envreg7", 32)                                                               \
  X(ENVREG8, "%envreg8", 32)                                                               \
  X(ENVREG9, "%envreg9", 32)                                                               \
  X(ENVREG10, "%envreg10", 32)                                                             \
  X(ENVREG11, "%envreg11", 32)                                                             \
  X(ENVREG12, "%envreg12", 32)                                                             \
  X(ENVREG13, "%envreg13", 32)                                                             \
  X(ENVREG14, "%envreg14", 32)                                                             \
  X(ENVREG15, "%envreg15", 32)                                                             \
  X(ENVREG16, "%envreg16", 32)                                                             \
  X(ENVREG17, "%envreg17", 32)                                                             \
  X(ENVREG18, "%envreg18", 32)                                                             \
  X(ENVREG19, "%envreg19", 32)                                                             \
  X(ENVREG20, "%envreg20", 32)                                                             \
  X(ENVREG21, "%envreg21", 32)                                                             \
  X(ENVREG22, "%envreg22", 32)                                                             \
  X(ENVREG23, "%envreg23", 32)                                                             \
  X(ENVREG24, "%envreg24", 32)                                                             \
  X(ENVREG25, "%envreg25", 32)                                                             \
  X(ENVREG26, "%envreg26", 32)                                                             \
  X(ENVREG27, "%envreg27", 32)                                                             \
  X(ENVREG28, "%envreg28", 32)                                                             \
  X(ENVREG29, "%envreg29", 32)                                                             \
  X(ENVREG30, "%envreg30", 32)                                                             \
  X(ENVREG31, "%envreg31", 32)                                                             \
  X(PM0, "%pm0", 32)                                                                       \
  X(PM1, "%pm1", 32)                                                                       \
  X(PM2, "%pm2", 32)                                                                       \
  X(PM3, "%pm3", 32)                                                                       \
  X(PM4, "%pm4", 32)                                                                       \
  X(PM5, "%pm5", 32)                                                                       \
  X(PM6, "%pm6", 32)                                                                       \
  X(PM7, "%pm7", 32)                                                                       \
  X(PM0_64, "%pm0_64", 64)                                                                 \
  X(PM1_64, "%pm1_64", 64)                                                                 \
  X(PM2_64, "%pm2_64", 64)                                                                 \
  X(PM3_64, "%pm3_64", 64)                                                                 \
  X(PM4_64, "%pm4_64", 64)                                                                 \
  X(PM5_64, "%pm5_64", 64)                                                                 \
  X(PM6_64, "%pm6_64", 64)                                                                 \
  X(PM7_64, "%pm7_64", 64)                                                                 \
  X(AGGR_SMEM, "%aggr_smem_size", 32)                                                      \
  X(RESERVED_BEGIN, "%reserved_smem_offset_begin", 32)                                     \
  X(RESERVED_END, "%reserved_smem_offset_end", 32)                                         \
  X(RESERVED_CAP, "%reserved_smem_offset_cap", 32)                                         \
  X(RESERVED_0, "%reserved_smem_offset_0", 32)                                             \
  X(RESERVED_1, "%reserved_smem_offset_1", 32)                                             \
  X(GRAPH_EXEC, "%current_graph_exec", 64)                                                 \
  X(CLOCK, "%clock", 32)                                                                   \
  X(CLOCK_HI, "%clock_hi", 32)                                                             \
  X(CLOCK64, "%clock64", 64)                                                               \
  X(GLOBALTIMER, "%globaltimer", 64)                                                       \
  X(GLOBALTIMER_LO, "%globaltimer_lo", 32)                                                 \
  X(GLOBALTIMER_HI, "%globaltimer_hi", 32)

typedef enum Special {
#define X(id, name, bits) SR_##id,
  PTX_SPECIALS(X)
#undef X
      SPECIAL_COUNT
} Special;

typedef struct SpecialInfo {
  const char *name;
  uint8_t bits;
} SpecialInfo;
extern const SpecialInfo special_info[SPECIAL_COUNT];

#endif
